"""Events from a JSON file: a list of {"id", "at", "who", "did", "page"}, oldest first."""

import json
from datetime import UTC, datetime
from pathlib import Path

from syncline.errors import RecordError, TransientError
from syncline.model import Account, Event, Identifier, Page, RawRecord, event_id
from syncline.sdk import ConnectorConfig, Source

__all__ = ["AcmeConfig", "AcmeSource"]

TYPES = {"visited": "page_visit", "opened": "email_open", "clicked": "email_click"}


class AcmeConfig(ConnectorConfig):
    file: Path
    page_size: int = 100


class AcmeSource(Source[AcmeConfig]):
    kind = "acme"
    config_model = AcmeConfig
    streams = ("visits",)

    def check(self):
        return Account(str(self.config.file), "Acme events", {"records": str(len(self._load()))})

    def read(self, stream, cursor):
        records, start = self._load(), int(cursor or 0)
        for at in range(start, len(records), self.config.page_size):
            page = records[at : at + self.config.page_size]
            yield Page([RawRecord(stream, str(r["id"]), r) for r in page], str(at + len(page)), len(records))

    def normalize(self, raw):
        item = raw.payload
        if item.get("did") not in TYPES:
            raise RecordError(f"{raw.key}: nobody here knows what {item.get('did')!r} means")
        yield Event(
            id=event_id("acme", raw.key),
            type=TYPES[item["did"]],
            occurred_at=datetime.fromtimestamp(item["at"], UTC),
            identifiers=(Identifier("email", item["who"]),),
            properties={"url": item["page"]} if "page" in item else {},
        )

    def _load(self):
        try:
            return json.loads(self.config.file.read_text())
        except (OSError, ValueError) as error:
            raise TransientError(f"{self.config.file.name}: {error}", where=self.context.connection) from error
