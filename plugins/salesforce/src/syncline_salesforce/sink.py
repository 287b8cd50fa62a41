"""The Salesforce sink: leads, contacts, tasks and campaign members."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, Final
from urllib.parse import quote

from syncline.errors import ConfigError, ConnectorError, ContractError, SchemaDriftError, did_you_mean
from syncline.model import Account, ChangePage, Field, FieldSpec, Limits, Member, Outcome, TaskRef, TaskWrite, Write
from syncline.sdk import Context, Sink
from syncline.sdk.http import purpose
from syncline_salesforce.bulk import BYTES_PER_JOB, bulk_upsert
from syncline_salesforce.client import Client
from syncline_salesforce.closing import close_tasks, closed_status
from syncline_salesforce.config import SalesforceConfig
from syncline_salesforce.errors import translated
from syncline_salesforce.field_history import history_of
from syncline_salesforce.opting_out import never_in_again
from syncline_salesforce.payloads import GlobalDescribe, ObjectDescribe
from syncline_salesforce.preparing import Preparation
from syncline_salesforce.reading import Bulk, Described, read_changes
from syncline_salesforce.saving import MOST, NO_ASSIGNMENT, upsert_records
from syncline_salesforce.segments import Campaigns
from syncline_salesforce.tasks import create_tasks, key_spec
from syncline_salesforce.values import field_of

__all__ = ["SalesforceSink"]

_BULK_ROWS: Final = 50_000


class SalesforceSink(Sink[SalesforceConfig]):
    """Writes by Id or by an external id, 200 records a call; in bulk from `bulk_from` on."""

    kind: ClassVar[str] = "salesforce"
    config_model: ClassVar[type[SalesforceConfig]] = SalesforceConfig
    limits: ClassVar[Limits] = Limits(
        upsert_batch=MOST,  # sObject Collections, REST guide v67, read 2026-11; one call whatever its size
        task_batch=MOST,
        member_batch=MOST,
        bulk_from=20_000,  # 100 calls of Collections; a job costs bulk_calls
        bulk_batch=_BULK_ROWS,  # a job takes 100 MB of CSV: 2 kB a row
        bulk_calls=4,  # create, upload, close, delete; the looks and the results are reads
        calls_per_day=None,  # depends on edition and licences: 15,000 (Developer) … see README; `check` reads it
    )

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        super().__init__(config, context)
        # The contract's limits are the class's; this connection may have its own threshold.
        self.__dict__["limits"] = replace(type(self).limits, bulk_from=_bulk_from(config))
        self.task_fields: Sequence[FieldSpec] = (key_spec(config.key_field),)
        self.client = Client(config, context)
        self._campaigns = Campaigns(self.client)
        self._described: dict[str, Described] = {}
        self._closed_status: str | None = None

    def check(self) -> Account:
        rows = self.client.query_all("SELECT Id, Name, OrganizationType, IsSandbox FROM Organization LIMIT 1")
        if not rows:
            raise ConnectorError("the org does not tell its name", where=self.context.connection)
        token, org = self.client.token, rows[0]
        details = {
            "user": token.user_id,
            "instance": token.instance_url,
            "edition": str(org["OrganizationType"]),
            "sandbox": "yes" if org["IsSandbox"] else "no",
            "api_version": self.config.api_version,
        }
        if usage := self.client.usage():
            details["api_calls_today"] = usage
        return Account(org["Id"], str(org["Name"]), details, self.client.server_time())

    # Reading

    def describe(self, object: str) -> Sequence[Field]:
        try:
            with purpose("read"):  # also where the host is writing
                answer = self.client.rest("GET", f"sobjects/{quote(object, safe='')}/describe")
        except ConnectorError as error:
            if not error.message.startswith("NOT_FOUND"):
                raise
            raise self._unknown(object) from error
        with translated(f"{self.context.connection}: describe {object}"):
            described = ObjectDescribe.model_validate(answer)
        found = Described([field_of(f) for f in described.fields], history_of(described.children))
        self._described[object] = found
        return found.fields

    def _unknown(self, object: str) -> ConfigError:
        answer = self.client.call("describe", lambda s: s.describe())
        with translated(f"{self.context.connection}: describe"):
            names = [o.name for o in GlobalDescribe.model_validate(answer).sobjects]
        # An org has a thousand objects: the nearest few help, the list would not.
        near = difflib.get_close_matches(object, names, n=10, cutoff=0.4) or ["Lead", "Contact", "Account"]
        return ConfigError(
            f"there is no object {object!r}; {did_you_mean(object, near)}", where=self.context.connection
        )

    def changes(self, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[ChangePage]:
        bulk = Bulk(self.config.bulk_query_from, self.context.http.pause)
        programs = self.config.system_users
        return read_changes(self.client, object, fields, cursor, lambda: self._types(object, fields), bulk, programs)

    def _types(self, object: str, fields: Sequence[str]) -> Described:
        """As last described; anew when that does not cover what is asked for."""
        known = self._described.get(object, Described(()))
        if not {f.name for f in known.fields}.issuperset(fields):
            self.describe(object)
        return self._described.get(object, known)

    # Writing

    def upsert(self, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        if not writes:
            return []
        self._refuse_misuse(object, writes)
        allowed, refused = never_in_again(self.client, object, writes)
        if not allowed:
            return [refused[w.key] for w in writes]
        if len(writes) <= MOST:
            outcomes = upsert_records(self.client, object, allowed, self._headers(writes[0]))
        else:
            outcomes = bulk_upsert(self.client, object, allowed, self.context.http.pause, BYTES_PER_JOB)
        found = refused | {outcome.key: outcome for outcome in outcomes}
        return [found[w.key] for w in writes]

    def _headers(self, write: Write) -> dict[str, str]:
        """Rules are for new leads: on an update they would take a lead away from who works on it."""
        creating = write.match[0] != "Id"
        headers = {"Sforce-Auto-Assign": "TRUE"} if self.config.assignment_rules and creating else {**NO_ASSIGNMENT}
        if self.config.allow_duplicates:
            headers["Sforce-Duplicate-Rule-Header"] = "allowSave=true"
        return headers

    def _refuse_misuse(self, object: str, writes: Sequence[Write]) -> None:
        """Before any network: what the vendor would refuse, or worse, accept."""
        most = self.limits.bulk_batch if self.limits.bulk_from is not None else MOST
        _refuse_more_than(most, writes, object)
        fields = {w.match[0] for w in writes}
        if len(fields) > 1:
            raise ContractError(f"writes of one call match on one field, not on {sorted(fields)}", where=object)
        field = fields.pop()
        if field == "Id" and any("Id" in w.fields for w in writes):
            raise ContractError("Id says which record is meant; it cannot be written", where=object)
        if any(not w.match[1] for w in writes):
            raise ContractError(f"a write matches on an empty {field}", where=object)
        keys = Counter(w.match[1][:15] if field == "Id" else w.match[1].casefold() for w in writes)
        doubled = [k for k, n in keys.items() if n > 1]
        if doubled:
            raise ContractError(f"{field} {doubled[0]!r} is written more than once in one call", where=object)
        if len({w.key for w in writes}) < len(writes):
            raise ContractError("two writes of one call have the same key", where=object)

    def create_tasks(self, tasks: Sequence[TaskWrite]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, tasks, "Task")
        if not tasks:
            return []
        self._refuse_doubling()
        return create_tasks(self.client, tasks, self.config.key_field, self.config.task_owner)

    def _refuse_doubling(self) -> None:
        """Once a run, before the first task: without a unique key a repeated call would create them again."""
        name = self.config.key_field
        field = {f.name: f for f in self._types("Task", ["Subject"]).fields}.get(name)
        if field is not None and not field.unique:
            raise SchemaDriftError(f"{name} is not unique, so a task could be created twice", field=name, where="Task")

    def close_tasks(self, tasks: Sequence[TaskRef]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, tasks, "Task")
        if not tasks:
            return []
        if self._closed_status is None:
            self._closed_status = closed_status(self.client, self.config.task_withdrawn_status)
        return close_tasks(self.client, tasks, self._closed_status)

    def set_members(self, segment: str, add: Sequence[Member], remove: Sequence[Member]) -> Sequence[Outcome]:
        _refuse_more_than(MOST, add, segment)
        _refuse_more_than(MOST, remove, segment)
        return self._campaigns.set_members(segment, add, remove)

    # Preparing

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        return self._preparation().missing(needed, segments)

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> Sequence[str]:
        return self._preparation().prepare(needed, segments)

    def _preparation(self) -> Preparation:
        return Preparation(self.client, self._campaigns, self.describe, self.config.permission_set)


def _bulk_from(config: SalesforceConfig) -> int | None:
    """Never, where a setting asks for what a bulk job cannot do: else the size of a run would decide what happens.

    A job knows no duplicate rule header, and runs assignment rules only by their id (Bulk API 2.0 guide, create a job,
    request headers; read 2026-11).
    """
    return None if config.assignment_rules or config.allow_duplicates else config.bulk_from


def _refuse_more_than(most: int, batch: Sequence[object], object: str) -> None:
    if len(batch) > most:
        raise ContractError(f"{len(batch)} in one call; at most {most}", where=object)
