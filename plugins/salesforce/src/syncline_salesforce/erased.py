"""Records that left the recycle bin before we read again: queryAll shows them no more, getDeleted still names them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from syncline.errors import ConnectorError, CursorExpiredError
from syncline.model import RemoteRecord, RemoteRef
from syncline_salesforce.client import Client
from syncline_salesforce.payloads import DeletedRecord, DeletedRecords
from syncline_salesforce.values import parse_datetime, quoted

__all__ = ["SWEEP_EVERY", "erased"]

SWEEP_EVERY: Final = timedelta(days=1)
"""Deletions come with the changes; those for good may wait a day, so that an idle read stays one call."""

_REMEMBERED: Final = timedelta(days=15)  # getDeleted's look-back (vendor sheet §7.2)
_TOO_MUCH_OR_TOO_OLD: Final = ("EXCEEDED_ID_LIMIT", "INVALID_REPLICATION_DATE")  # (vendor sheet §7.2)
_IDS_A_QUERY: Final = 200  # of 18 characters and some: well below the 16,384 of an address (vendor sheet §4)


def erased(client: Client, object: str, since: datetime, until: datetime) -> tuple[list[RemoteRecord], datetime]:
    """Tombstones of what was deleted in between and cannot be queried any more, and the time up to which that is all.

    CursorExpiredError when `since` is further back than the vendor remembers (15 days), or when more was deleted than
    it lists: only a whole read tells then.
    """
    if until - since > _REMEMBERED:
        raise CursorExpiredError(f"{object}: last read {(until - since).days} days ago; deletions are known for 15")
    listed = _listed(client, object, since, until)
    if parse_datetime(listed.earliest) > since:
        raise CursorExpiredError(f"{object}: deletions before {listed.earliest} are no longer known")
    found: list[RemoteRecord] = []
    for start in range(0, len(listed.records), _IDS_A_QUERY):
        part = listed.records[start : start + _IDS_A_QUERY]
        shown = _still_shown(client, object, part)
        found += [_tombstone(object, gone) for gone in part if gone.id[:15] not in shown]
    return found, min(until, parse_datetime(listed.latest))


def _listed(client: Client, object: str, since: datetime, until: datetime) -> DeletedRecords:
    try:
        return client.deleted(object, since, until)
    except ConnectorError as error:
        # Asked again tomorrow it would be refused again: the span only grows.
        if error.message.startswith(_TOO_MUCH_OR_TOO_OLD):
            raise CursorExpiredError(f"{object}: deletions cannot be listed: {error.message}") from error
        raise


def _still_shown(client: Client, object: str, deleted: Sequence[DeletedRecord]) -> set[str]:
    """Those in the recycle bin come with the changes, and say there what they were merged into."""
    ids = ", ".join(quoted(gone.id) for gone in deleted)
    query = f"SELECT Id FROM {object} WHERE Id IN ({ids})"  # noqa: S608  # values are quoted
    page = client.query(query, deleted=True)
    rows = list(page.records)
    while not page.done and page.next_url:
        page = client.query_more(page.next_url)
        rows += page.records
    return {row["Id"][:15] for row in rows}


def _tombstone(object: str, gone: DeletedRecord) -> RemoteRecord:
    return RemoteRecord(
        ref=RemoteRef(object, gone.id),
        fields={},
        changed_at=parse_datetime(gone.deleted),
        changed_by="unknown",
        deleted=True,
    )
