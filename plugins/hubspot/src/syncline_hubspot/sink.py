"""The HubSpot sink: contacts and other records, tasks, lists, and notices of changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import ClassVar, Final

from syncline.errors import ConfigError, ContractError, did_you_mean
from syncline.model import (
    Account,
    ChangePage,
    Field,
    FieldSpec,
    Limits,
    Member,
    Outcome,
    RawRecord,
    TaskRef,
    TaskWrite,
    Write,
)
from syncline.sdk import Context, Sink, WebhookRequest
from syncline.sdk.http import Throttle
from syncline_hubspot.client import Client
from syncline_hubspot.closing import close_tasks
from syncline_hubspot.config import HubspotConfig
from syncline_hubspot.errors import RefusedError
from syncline_hubspot.opting_out import offered, with_opt_outs
from syncline_hubspot.preparing import Preparation
from syncline_hubspot.reading import read_changes
from syncline_hubspot.saving import MOST, upsert_records
from syncline_hubspot.segments import MOST_MEMBERS, Lists
from syncline_hubspot.tasks import TASKS, create_tasks, key_spec
from syncline_hubspot.values import field_of
from syncline_hubspot.webhooks import OBJECT_TYPES, records_of, verify

__all__ = ["HubspotSink"]

_READ_TIMEOUT: Final = timedelta(seconds=60)
"""HubSpot's edge gives up on the origin by then (524, vendor sheet §4)."""


class HubspotSink(Sink[HubspotConfig]):
    """Writes by Id or by a unique property, 100 records a call."""

    kind: ClassVar[str] = "hubspot"
    config_model: ClassVar[type[HubspotConfig]] = HubspotConfig
    limits: ClassVar[Limits] = Limits(
        upsert_batch=MOST,  # developers.hubspot.com, CRM objects, batch limits; read 2026-11
        task_batch=MOST,
        member_batch=MOST_MEMBERS,  # our own, the vendor's could not be verified
        calls_per_day=None,  # 250,000 (Free, Starter) to 1,000,000 by edition, none for marketplace apps; see README
    )

    def __init__(self, config: HubspotConfig, context: Context) -> None:
        super().__init__(config, context)
        context.http.configure(throttle=Throttle(per_second=config.calls_per_second, read_timeout=_READ_TIMEOUT))
        self.task_fields: Sequence[FieldSpec] = (key_spec(config.task_key_field),)
        self.client = Client(config, context)
        self._lists = Lists(self.client)
        self._described: dict[str, Sequence[Field]] = {}

    def check(self) -> Account:
        portal = self.client.account()
        details = {
            "type": portal.account_type,
            "time_zone": portal.time_zone,
            "currency": portal.currency,
            "data_location": portal.data_location,
            "ui": portal.ui_domain,
            "api": self.config.api,
        }
        told = {name: value for name, value in details.items() if value}
        return Account(str(portal.portal_id), f"HubSpot portal {portal.portal_id}", told, self.client.server_time())

    # Reading

    def describe(self, object: str) -> Sequence[Field]:
        try:
            found = self.client.definitions(object).results
        except RefusedError as error:
            if error.status != 404 and "infer object type" not in error.message:
                raise
            hint = did_you_mean(object, OBJECT_TYPES.values())
            raise ConfigError(
                f"there is no object {object!r}; {hint}; or a custom object by its full name (p123_car) or id (2-456)",
                where=self.context.connection,
            ) from error
        required = self.client.required(object)
        self._described[object] = [offered(object, field_of(p, required=p.name in required)) for p in found]
        return self._described[object]

    def changes(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        return read_changes(self.client, object, fields, cursor, lambda: self._types(object, fields))

    def _types(self, object: str, fields: Sequence[str] = ()) -> Sequence[Field]:
        """As last described; anew when that does not cover what is asked for."""
        known = self._described.get(object, ())
        return known if known and {f.name for f in known}.issuperset(fields) else self.describe(object)

    # Writing

    def upsert(self, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        if not writes:
            return []
        _refuse_misuse(object, writes)
        return with_opt_outs(
            self.client, object, writes, lambda ws: upsert_records(self.client, object, ws, lambda: self._types(object))
        )

    def create_tasks(self, tasks: Sequence[TaskWrite]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, tasks, TASKS)
        if not tasks:
            return []
        return create_tasks(
            self.client,
            tasks,
            self.config.task_key_field,
            kind=self.config.task_type,
            owner=self.config.task_owner,
        )

    def close_tasks(self, tasks: Sequence[TaskRef]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, tasks, TASKS)
        return close_tasks(self.client, tasks)

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        _refuse_more_than(MOST_MEMBERS, (*add, *remove), segment)
        return self._lists.set_members(segment, add, remove)

    # Preparing

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        return self._preparation().missing(needed, segments)

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        return self._preparation().prepare(needed, segments)

    def _preparation(self) -> Preparation:
        return Preparation(self.client, self._lists, self.describe, self.context.http.pause, self.config.property_group)

    # Notices

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        verify(request, self.config.webhook_secret)
        return records_of(request)


def _refuse_misuse(object: str, writes: Sequence[Write]) -> None:
    """Before any network: what the vendor would refuse whole, or worse, accept."""
    _refuse_more_than(MOST, writes, object)
    fields = {w.match[0] for w in writes}
    if len(fields) > 1:
        raise ContractError(f"writes of one call match on one field, not on {sorted(fields)}", where=object)
    field = fields.pop()
    if any(not w.match[1] for w in writes):
        raise ContractError(f"a write matches on an empty {field}", where=object)
    values = Counter(w.match[1].casefold() for w in writes)
    doubled = [value for value, count in values.items() if count > 1]
    if doubled:
        raise ContractError(f"{field} {doubled[0]!r} is written more than once in one call", where=object)
    if len({w.key for w in writes}) < len(writes):
        raise ContractError("two writes of one call have the same key", where=object)


def _refuse_more_than(most: int, batch: Sequence[object], object: str) -> None:
    if len(batch) > most:
        raise ContractError(f"{len(batch)} in one call; at most {most}", where=object)
