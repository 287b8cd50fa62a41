"""Bulk API 2.0 queries: a whole object in a handful of calls, where a page of a query holds 2,000 rows."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Iterator
from typing import Final

from syncline.errors import ConnectorError, TransientError
from syncline_salesforce.client import Client

__all__ = ["ROWS_AT_ONCE", "bulk_rows"]

ROWS_AT_ONCE: Final = 10_000
"""Rows of one answer; what is held in memory. The vendor would give more."""

_log = logging.getLogger("syncline.salesforce")

_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 20.0
_PATIENCE: Final = 3600.0


def bulk_rows(client: Client, object: str, soql: str, pause: Callable[[float], None]) -> Iterator[list[dict[str, str]]]:
    """The rows of a query, deleted ones included, some thousand at a time. Cells are text, empty for no value.

    TransientError when the job does not come to its end, or brings fewer rows than it says it found.
    """
    job = client.create_query_job(object, soql, deleted=True).id
    found = _wait(client, object, job, pause)
    locator, read = "", 0
    while True:
        text, locator = client.query_results(job, locator, ROWS_AT_ONCE)
        rows = _rows(text, job)
        read += len(rows)
        yield rows
        if not locator:
            break
    if read < found:
        raise TransientError(f"query {job} found {found} rows and brought {read}", where=object)
    _tidy_up(client, job)


def _wait(client: Client, object: str, job: str, pause: Callable[[float], None]) -> int:
    """How many rows the query has found. Looking again is a step of the vendor's protocol, not a retry."""
    waited, length = 0.0, _FIRST_PAUSE
    while waited < _PATIENCE:
        pause(length)
        waited += length
        found = client.look_at_query_job(object, job)
        if found.state == "JobComplete":
            return found.processed
        if found.final:
            raise TransientError(
                f"query {job} ended as {found.state}: {found.error or 'no reason given'}", where=object
            )
        length = min(length * 1.5, _LONGEST_PAUSE)
    raise TransientError(f"query {job} is not done after {int(_PATIENCE // 60)} minutes", where=object)


def _rows(text: str, job: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TransientError(f"the results of query {job} cannot be read: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise TransientError(f"the results of query {job} break off in the middle of a row")
    return rows


def _tidy_up(client: Client, job: str) -> None:
    """The rows are in hand, so trouble here is none: the vendor drops jobs after seven days by itself."""
    try:
        client.delete_query_job(job)
    except ConnectorError as error:
        _log.info("query %s stays until the vendor drops it: %s", job, error)
