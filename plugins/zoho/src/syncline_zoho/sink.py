"""The Zoho CRM sink: leads, contacts, tasks and tags."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final

from syncline.errors import ConfigError, ConnectorError, ContractError, SchemaDriftError, did_you_mean
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
from syncline_zoho.channels import Watch, raw_record
from syncline_zoho.client import Client
from syncline_zoho.closing import close_tasks
from syncline_zoho.config import ZohoConfig
from syncline_zoho.opting_out import never_in_again
from syncline_zoho.payloads import FieldsPage, LayoutsPage, Modules, Orgs
from syncline_zoho.preparing import Preparation
from syncline_zoho.reading import Reader
from syncline_zoho.saving import MOST, Automation, refuse_drift, upsert
from syncline_zoho.segments import MOST_MEMBERS, Segments
from syncline_zoho.tasks import TASKS, create_tasks, key_spec
from syncline_zoho.values import Column, column_of

__all__ = ["ZohoSink"]

_PEOPLE: Final = ("Leads", "Contacts", "Accounts")


class ZohoSink(Sink[ZohoConfig]):
    """Writes by id or by a unique field, 100 records a call. There is no bulk: see the README for the sums."""

    kind: ClassVar[str] = "zoho"
    config_model: ClassVar[type[ZohoConfig]] = ZohoConfig
    limits: ClassVar[Limits] = Limits(
        upsert_batch=MOST,  # upsert records, Zoho CRM API v8, read 2026-11
        task_batch=MOST,  # insert records, the same
        member_batch=MOST_MEMBERS,  # add tags, the same; the limits page says 500
        members_by_object=True,  # tags belong to a module: add_tags names one in its address (sheet §6)
        calls_per_day=None,  # credits, not calls: 5,000 (free), from 50,000 on (paid) in 24 hours
        credit_rows={"upsert": 10, "task": 10, "member": 50},  # API limits, the same; a started one counts whole
    )

    def __init__(self, config: ZohoConfig, context: Context) -> None:
        super().__init__(config, context)
        self.task_fields: Sequence[FieldSpec] = (key_spec(config.key_field),)
        self.client = Client(config, context)
        self._automation = Automation(config.triggers, config.cadences)
        self._segments = Segments(self.client)
        self._watch = Watch(self.client, config.notify_url, config.notify_token)
        self._described: dict[str, Mapping[str, Column]] = {}

    def check(self) -> Account:
        orgs = self.client.read("GET", "org").read(Orgs).org
        if not orgs:
            raise ConnectorError("the account does not tell its name", where=self.context.connection)
        org = orgs[0]
        details = {
            "user": self.client.user_id(),
            "data_center": self.config.data_center,
            "api_version": self.config.api_version,
        }
        if org.time_zone:
            details["time_zone"] = org.time_zone
        if self.client.credits_left is not None:
            details["api_credits_left"] = str(self.client.credits_left)
        server_time = self.client.server_time()
        if self._watch.wanted:
            details["notifications"] = self._watch.state()
        return Account(org.zgid or org.id, org.company_name or org.id, details, server_time)

    # Reading

    def describe(self, object: str) -> Sequence[Field]:
        return [column.field for column in self._describe(object).values()]

    def _describe(self, object: str) -> Mapping[str, Column]:
        """The fields as they are now, and as they are remembered until the next time."""
        params = {"module": object}
        try:
            found = self.client.read("GET", "settings/fields", params=params).read(FieldsPage)
        except ConfigError as error:
            if not error.message.startswith("INVALID_MODULE"):
                raise
            raise self._unknown(object) from error
        layouts = self.client.read("GET", "settings/layouts", params=params).read(LayoutsPage)
        columns = {meta.api_name: column_of(meta, layouts.required) for meta in found.fields}
        if not columns:
            raise ConfigError(f"{object} has no fields that we may see", where=self.context.connection)
        self._described[object] = columns
        return columns

    def _columns(self, object: str, names: Sequence[str]) -> Mapping[str, Column]:
        """As last described; anew when that does not cover what is asked for."""
        known = self._described.get(object, {})
        return known if known and known.keys() >= set(names) else self._describe(object)

    def _unknown(self, object: str) -> ConfigError:
        found = self.client.read("GET", "settings/modules").read(Modules).modules
        names = [m.api_name for m in found if m.api_supported]
        # An account has a hundred modules: the nearest few help, the list would not.
        near = dict.fromkeys((*difflib.get_close_matches(object, names, n=5, cutoff=0.4), *_PEOPLE))
        return ConfigError(
            f"there is no module {object!r}; {did_you_mean(object, near)}", where=self.context.connection
        )

    def changes(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        return Reader(self.client, object, fields, self._columns(object, fields), self.config.field_history).read(
            cursor
        )

    def receive(self, request: WebhookRequest) -> Sequence[RawRecord]:
        """A notice that records changed, proven by its token alone: Zoho signs nothing."""
        return [raw_record(request, self.config.notify_token)]

    # Writing

    def upsert(self, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        if not writes:
            return []
        _refuse_misuse(object, writes)
        names = list({name for write in writes for name in write.fields})
        columns = self._columns(object, names)
        refuse_drift(object, writes, columns)
        allowed, found = never_in_again(self.client, object, writes)
        if allowed:
            done = upsert(self.client, object, allowed, self._automation, columns, partial(self._describe, object))
            found |= {outcome.key: outcome for outcome in done}
        return [found[write.key] for write in writes]

    def create_tasks(self, tasks: Sequence[TaskWrite]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, tasks, TASKS)
        if not tasks:
            return []
        if len({task.key for task in tasks}) < len(tasks):
            raise ContractError("two tasks of one call have the same key", where=TASKS)
        self._refuse_doubling()
        return create_tasks(self.client, tasks, self.config.key_field, self.config.task_owner, self._automation)

    def close_tasks(self, tasks: Sequence[TaskRef]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, tasks, TASKS)
        return close_tasks(self.client, tasks, self.config.task_withdrawn_status, self._automation) if tasks else []

    def _refuse_doubling(self) -> None:
        """Once a run, before the first task: without a unique key a repeated call would create them again."""
        name = self.config.key_field
        column = self._columns(TASKS, [name]).get(name)
        if column is None or not column.field.writable or not column.field.unique:
            problem = "is not there" if column is None else "is not unique and writable"
            text = f"{name} {problem}, so a task could be created twice; `syncline prepare` creates it"
            raise SchemaDriftError(text, field=name, where=TASKS)

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        _refuse_more_than(MOST_MEMBERS, add, segment)
        _refuse_more_than(MOST_MEMBERS, remove, segment)
        return self._segments.set_members(segment, add, remove)

    # Preparing

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        return self._preparation().missing(needed, segments)

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        return self._preparation().prepare(needed, segments)

    def _preparation(self) -> Preparation:
        return Preparation(self.client, self._segments, self._watch, self.describe)


def _refuse_misuse(object: str, writes: Sequence[Write]) -> None:
    """Before any network: what the vendor would refuse, or worse, accept."""
    _refuse_more_than(MOST, writes, object)
    fields = {w.match[0] for w in writes}
    if len(fields) > 1:
        raise ContractError(f"writes of one call match on one field, not on {sorted(fields)}", where=object)
    field = fields.pop()
    if field == "Id" and any({"Id", "id"} & w.fields.keys() for w in writes):
        raise ContractError("Id says which record is meant; it cannot be written", where=object)
    if any(not w.match[1] for w in writes):
        raise ContractError(f"a write matches on an empty {field}", where=object)
    doubled = [k for k, n in Counter(w.match[1].casefold() for w in writes).items() if n > 1]
    if doubled:
        raise ContractError(f"{field} {doubled[0]!r} is written more than once in one call", where=object)
    if len({w.key for w in writes}) < len(writes):
        raise ContractError("two writes of one call have the same key", where=object)


def _refuse_more_than(most: int, batch: Sequence[object], object: str) -> None:
    if len(batch) > most:
        raise ContractError(f"{len(batch)} in one call; at most {most}", where=object)
