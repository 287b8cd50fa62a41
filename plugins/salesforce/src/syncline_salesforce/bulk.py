"""Bulk API 2.0: tens of thousands of writes at the cost of a handful of calls.

Rows come back in another order and are matched by the column the writes match on. CSV rules: Bulk API 2.0 guide,
"Prepare CSV files" (empty cell = left alone, `#N/A` = cleared), read 2026-11.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from syncline.errors import ConnectorError, SchemaDriftError, TransientError
from syncline.model import Outcome, RemoteRef, Status, Write
from syncline_salesforce.client import Client
from syncline_salesforce.errors import drifted_field, problem_of_cell
from syncline_salesforce.payloads import BulkJob, SaveProblem
from syncline_salesforce.saving import lost_race, problem_outcome
from syncline_salesforce.values import cell, long_id

__all__ = ["BYTES_PER_JOB", "bulk_upsert", "render"]

BYTES_PER_JOB: Final = 95_000_000
"""Raw CSV per job: 150 MB after base64, so 100 MB raw (Bulk API 2.0 limits, read 2026-11), less some margin."""

_log = logging.getLogger("syncline.salesforce")

_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 20.0
_PATIENCE: Final = 3600.0


def bulk_upsert(
    client: Client, object: str, writes: Sequence[Write], pause: Callable[[float], None], bytes_per_job: int
) -> Sequence[Outcome]:
    """One Outcome per Write, same order. Safe to repeat: a job that was lost sight of is overtaken by the same rows."""
    found: dict[str, Outcome] = {w.key: o for w in writes if (o := _unsendable(w)) is not None}
    sendable = [w for w in writes if w.key not in found]
    for part in _parts(sendable, bytes_per_job):
        found |= _one_job(client, object, part, pause)
    return [found[w.key] for w in writes]


def _unsendable(write: Write) -> Outcome | None:
    texts = {n: v for n, v in write.fields.items() if isinstance(v, str)}
    nothing = next((n for n, v in texts.items() if v == "#N/A"), None)
    broken = next((n for n, v in texts.items() if not _is_utf8(v)), None)
    if nothing is None and broken is None:
        return None
    reason = f"{nothing}: the text '#N/A' means 'no value' in a bulk job; it cannot be written that way"
    if broken is not None:
        reason = f"{broken}: half a character (a lone surrogate) cannot be written as UTF-8"
    return Outcome(write.key, Status.REJECTED, reason=reason, code="UNSENDABLE_VALUE")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parts(writes: Sequence[Write], most: int) -> Iterator[list[Write]]:
    part: list[Write] = []
    size = 0
    for write in writes:
        length = sum(2 * len(cell(v).encode()) + 3 for v in write.fields.values()) + len(write.match[1]) + 8
        if part and size + length > most:
            yield part
            part, size = [], 0
        part.append(write)
        size += length
    if part:
        yield part


def render(writes: Sequence[Write]) -> str:
    """The CSV of the writes: a column for every field any of them has, empty where a write leaves it alone."""
    field = writes[0].match[0]
    names = sorted({n for w in writes for n in w.fields} - {field})
    lines = [[field, *names]]
    lines += [[w.match[1], *(cell(w.fields[n]) if n in w.fields else "" for n in names)] for w in writes]
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def _quoted(text: str) -> str:
    """Quoted where it must be. The csv module would leave a lone carriage return bare, which ends the row."""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]|^\s|\s$', text) else text


def _one_job(
    client: Client, object: str, writes: Sequence[Write], pause: Callable[[float], None]
) -> dict[str, Outcome]:
    field = writes[0].match[0]
    operation = "update" if field == "Id" else "upsert"
    job = client.create_job(object, operation, None if field == "Id" else field)
    client.upload(object, job.id, render(writes))
    client.close_job(object, job.id)
    done = _wait(client, object, job.id, pause)
    _raise_on_refusal(done, object)
    outcomes = _outcomes(client, object, done, writes)
    _tidy_up(client, job.id)
    return outcomes


def _tidy_up(client: Client, job: str) -> None:
    """Outcomes are in hand, so trouble here is none: the vendor drops jobs after seven days by itself."""
    try:
        client.delete_job(job)
    except ConnectorError as error:
        _log.info("bulk job %s stays until the vendor drops it: %s", job, error)


def _wait(client: Client, object: str, job: str, pause: Callable[[float], None]) -> BulkJob:
    """Looking again is a step of the vendor's protocol, not a retry; the host's sleep does the waiting."""
    waited, length = 0.0, _FIRST_PAUSE
    while waited < _PATIENCE:
        pause(length)
        waited += length
        found = client.look_at_job(object, job)
        if found.final:
            return found
        length = min(length * 1.5, _LONGEST_PAUSE)
    # Left alone it would write these values whenever it gets to it, over what somebody has typed by then.
    client.abort_job(object, job)
    raise TransientError(f"bulk job {job} is not done after {int(_PATIENCE // 60)} minutes", where=object)


def _raise_on_refusal(job: BulkJob, object: str) -> None:
    """A job that fails before its first row is about the file, not about a row.

    One that a person aborted is not tried again now: its rows come with the next run.
    """
    if job.state in ("JobComplete", "Aborted") or job.processed:
        return
    message = job.error or f"the job ended as {job.state}"
    field = drifted_field("INVALID_FIELD", message)
    if field is not None:
        raise SchemaDriftError(f"bulk job {job.id}: {message}", field=field, where=object)
    if message.startswith("InvalidBatch"):
        # The id stands apart: the host tells by the message whether the halves of a batch are refused alike.
        raise ConnectorError(f"bulk job: {message}", where=object, request_id=job.id)
    raise TransientError(f"bulk job {job.id}: {message}", where=object)


def _outcomes(client: Client, object: str, job: BulkJob, writes: Sequence[Write]) -> dict[str, Outcome]:
    """Results repeat our own columns as we sent them, so a row is found by the cell it matched on."""
    column = writes[0].match[0]
    sent = {_matched(column, w.match[1]): w for w in writes}
    found: dict[str, Outcome] = {}
    if job.processed:
        for row in _rows(client.job_results(job.id, "successfulResults"), column):
            if write := sent.get(_matched(column, row[column])):
                status = Status.CREATED if row["sf__Created"] == "true" else Status.UPDATED
                found[write.key] = Outcome(write.key, status, RemoteRef(object, long_id(row["sf__Id"])))
    if job.failed:
        for row in _rows(client.job_results(job.id, "failedResults"), column):
            if write := sent.get(_matched(column, row[column])):
                found[write.key] = _failed(write, problem_of_cell(row["sf__Error"]))
    return found | {w.key: _not_reached(w, job) for w in writes if w.key not in found}


def _matched(column: str, cell: str) -> str:
    """What a row is found by: an id by its first 15 characters, which say everything."""
    return cell[:15] if column == "Id" else cell


def _failed(write: Write, problem: SaveProblem) -> Outcome:
    if lost_race(write, problem):
        return Outcome(write.key, Status.RETRY, reason=problem.reason, code=problem.code)
    return problem_outcome(write.key, problem)


def _not_reached(write: Write, job: BulkJob) -> Outcome:
    """Rows in neither list are the unprocessed ones: they come again."""
    reason = f"bulk job {job.id} ended as {job.state} before this row: {job.error or 'no reason given'}"
    return Outcome(write.key, Status.RETRY, reason=reason, code="UNPROCESSED")


def _rows(text: str, column: str) -> Iterator[Mapping[str, str]]:
    """The rows of a result; cells may hold quotes and line ends, so the text is not cut into lines first.

    TransientError when it breaks off: the beginning of a key may be another key.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if column not in row or None in row or None in row.values():
                raise TransientError(f"line {reader.line_num} of the results is not a whole row", where="bulk results")
            yield row
    except csv.Error as error:
        raise TransientError(f"the results cannot be read: {error}", where="bulk results") from error
