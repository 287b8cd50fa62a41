"""A CRM that is one JSON file: {"version": n, "contacts": {id: {"fields", "version", "at", "by"}}}."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from syncline.errors import ConfigError, SchemaDriftError, did_you_mean
from syncline.model import Account, ChangePage, Field, Limits, Outcome, RemoteRecord, RemoteRef, Status
from syncline.sdk import ConnectorConfig, Sink

__all__ = ["AcmeCrmConfig", "AcmeSink"]

FIELDS = {
    f.name: f
    for f in (
        Field("Id", "text", writable=False, unique=True),
        Field("Ref", "text", unique=True),
        Field("Email", "text"),
        Field("Score", "number", scale=2),
    )
}


class AcmeCrmConfig(ConnectorConfig):
    file: Path


class AcmeSink(Sink[AcmeCrmConfig]):
    kind = "acme-crm"
    config_model = AcmeCrmConfig
    limits = Limits(upsert_batch=50, task_batch=1, member_batch=1)

    def check(self):
        return Account(str(self.config.file), "Acme CRM", {})

    def describe(self, object):
        if object != "Contact":
            raise ConfigError(f"no object {object!r}; {did_you_mean(object, ['Contact'])}")
        return tuple(FIELDS.values())

    def changes(self, object, fields, cursor):
        crm = self._load()
        new = [(i, row) for i, row in crm["contacts"].items() if row["version"] > int(cursor or 0)]
        yield ChangePage([self._record(i, row, fields) for i, row in new], str(crm["version"]))

    def upsert(self, object, writes):
        crm = self._load()
        if unknown := {name for write in writes for name in write.fields} - set(FIELDS):
            raise SchemaDriftError(did_you_mean(min(unknown), FIELDS), field=min(unknown), where=object)
        outcomes = [self._write(crm, write) for write in writes]
        self.config.file.write_text(json.dumps(crm, default=str))
        return outcomes

    def _write(self, crm, write):
        name, value = write.match
        found = next((i for i, row in crm["contacts"].items() if row["fields"].get(name) == value), None)
        if found is None and name == "Id":
            return Outcome(write.key, Status.REJECTED, None, f"no contact {value}", "NOT_FOUND")
        crm["version"] += 1
        i = found or f"C{crm['version']}"
        old = crm["contacts"][i]["fields"] if found else {"Id": i, name: value}
        kept = {"fields": {**old, **write.fields}, "version": crm["version"], "by": "us"}
        crm["contacts"][i] = {**kept, "at": self.context.clock().isoformat()}
        return Outcome(write.key, Status.UPDATED if found else Status.CREATED, RemoteRef("Contact", i))

    def _record(self, i, row, names):
        values = {n: row["fields"].get(n) for n in names}
        if values.get("Score") is not None:
            values["Score"] = Decimal(values["Score"])
        email = row["fields"].get("Email")
        at = datetime.fromisoformat(row["at"])
        return RemoteRecord(RemoteRef("Contact", i), values, (email,) if email else (), at, row["by"])

    def _load(self):
        return json.loads(self.config.file.read_text())
