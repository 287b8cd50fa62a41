"""Batch operations: many calls handed in as one, waited for, and their results read from an archive.

The id of a batch is kept, so that whoever is killed while waiting goes on waiting for the same one. The archive goes to
a temporary file and is read result by result: memory does not grow with it.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryFile
from typing import IO, Any, Final, TextIO

from pydantic import ValidationError

from syncline.errors import TransientError
from syncline.sdk import Context
from syncline_mailchimp.client import MailchimpClient
from syncline_mailchimp.errors import GoneError
from syncline_mailchimp.payloads import BatchResult

__all__ = ["Batches", "Job", "results_in"]

_FIRST_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 60.0
_ADDRESSES: Final = 3
"""How many addresses of one archive we ask for; each is valid for ten minutes."""
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that was handed in, and what we noted about it."""

    name: str
    id: str
    about: Mapping[str, str]


class Batches:
    """One connection's batches, at most one under each name."""

    def __init__(self, client: MailchimpClient, context: Context, wait: timedelta) -> None:
        self._client = client
        self._context = context
        self._wait = wait

    def kept(self, name: str) -> Job | None:
        """The batch of this name whose results were never read to the end."""
        text = self._context.keep.get(f"batch:{name}")
        if not text:
            return None
        note = json.loads(text)
        return Job(name, note["id"], note["about"])

    def start(self, name: str, operations: Sequence[Mapping[str, Any]], about: Mapping[str, str]) -> Job:
        batch = self._client.start_batch(operations)
        self._context.keep[f"batch:{name}"] = json.dumps({"id": batch.id, "about": dict(about)})
        return Job(name, batch.id, about)

    def stop(self, job: Job) -> None:
        """What of it is not carried out yet will not be."""
        with contextlib.suppress(GoneError):  # carried out more than a week ago, or stopped before
            self._client.stop_batch(job.id)
        self._forget(job)

    def results(self, job: Job) -> Iterator[BatchResult]:
        """Every result, in no good order; one operation may have several, a page each.

        TransientError when the batch takes longer than we wait: the next call waits on. The batch is forgotten when
        all results were taken, or when the vendor no longer knows it.
        """
        try:
            with TemporaryFile() as archive:
                self._fetch(job, archive)
                yield from self._read(job, archive)
        except GoneError as error:
            self._forget(job)
            raise TransientError(f"batch {job.id} has expired; it is handed in anew", where=self._where) from error
        self._forget(job)

    def _fetch(self, job: Job, archive: IO[bytes]) -> None:
        for _ in range(_ADDRESSES):
            url = self._finished(job)
            archive.seek(0)
            archive.truncate()
            if self._client.download(url, archive):
                archive.seek(0)
                return
        raise TransientError(f"the results of batch {job.id} cannot be fetched", where=self._where)

    def _finished(self, job: Job) -> str:
        """Wait until it is; where the archive is then."""
        pause, waited = _FIRST_PAUSE_S, 0.0
        while True:
            batch = self._client.batch(job.id)
            if batch.status == "finished" and batch.response_body_url:
                return batch.response_body_url
            if waited >= self._wait.total_seconds():
                raise TransientError(
                    f"batch {job.id} is {batch.status} after {waited:.0f} s; the next attempt waits on",
                    where=self._where,
                )
            self._context.http.pause(pause)
            waited, pause = waited + pause, min(pause * 1.5, _LONGEST_PAUSE_S)

    def _read(self, job: Job, archive: IO[bytes]) -> Iterator[BatchResult]:
        try:
            yield from results_in(archive)
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
            self._note_damage(job)
            raise TransientError(
                f"the archive of batch {job.id} is damaged ({type(error).__name__})", where=self._where
            ) from None  # the error could hold a piece of the archive

    def _note_damage(self, job: Job) -> None:
        """Once it may have been the way here; twice it is the archive, and the batch is handed in anew."""
        note = json.loads(self._context.keep.get(f"batch:{job.name}") or "{}")
        if note.get("damaged"):
            self._forget(job)
        elif note:
            self._context.keep[f"batch:{job.name}"] = json.dumps({**note, "damaged": True})

    def _forget(self, job: Job) -> None:
        self._context.keep.pop(f"batch:{job.name}", None)

    @property
    def _where(self) -> str:
        return f"{self._context.connection}: /batches"


def results_in(archive: IO[bytes]) -> Iterator[BatchResult]:
    """The results in a gzipped tar: JSON arrays in files, some of them empty, with directories among them.

    ValueError (or what tarfile and zlib raise) when it is damaged.
    """
    with tarfile.open(fileobj=archive, mode="r:gz") as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.isfile() else None
            if file is not None:
                for item in _items(codecs.getreader("utf-8")(file)):
                    yield _result(item)


def _result(item: Any) -> BatchResult:
    try:
        return BatchResult.model_validate(item)
    except ValidationError as error:
        raise ValueError("a result is not what the vendor documents") from error


def _items(text: TextIO | codecs.StreamReader) -> Iterator[Any]:
    """The items of a JSON array, one at a time; an empty file has none."""
    decoder = json.JSONDecoder()
    rest = text.read(_PIECE).lstrip()
    if not rest:
        return
    if not rest.startswith("["):
        raise ValueError("not a JSON array")
    rest = rest[1:]
    while not (rest := rest.lstrip(" \t\r\n,")).startswith("]"):
        try:
            item, end = decoder.raw_decode(rest)
        except ValueError:
            more = text.read(max(_PIECE, len(rest)))  # twice as much each time, or a long item is read for ever
            if not more:
                raise
            rest += more
            continue
        yield item
        rest = rest[end:]
