"""What a source's stored cursors, raw records and events depend on, by samples of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from syncline.errors import RecordError
from syncline.model import RawRecord
from syncline.sdk import Polls, Receives
from syncline.testing.contract._expect import offers
from syncline.testing.contract._format_shape import misread, refused, sample_cursors

__all__ = ["broken_source", "source_format"]

Format = dict[str, Any]

_DOUBLED: Final = "every fact of before is stored a second time, and scores twice"


def source_format(kit: Any) -> Format:
    """A sample of each kind of record and cursor, as the account of `kit` gives them now."""
    source = kit.connect()
    streams = {}
    for stream in source.streams if offers(source, Polls) else ():
        pages = list(source.read(stream, None))
        records = [raw for page in pages for raw in page.records]
        cursors = sample_cursors(page.cursor for page in pages)
        streams[stream] = {"cursors": cursors, "records": _samples(source, records)}
    told = source.receive(kit.webhook()) if offers(source, Receives) else ()
    return {"streams": streams, "webhooks": _samples(source, told)}


def _samples(source: Any, records: Sequence[RawRecord]) -> list[Format]:
    """Of the records that bring the same types of events, the one of middle size: neither bare nor odd."""
    found: dict[tuple[str, ...], list[tuple[int, str, Format]]] = {}
    for raw in records:
        events = _events(source, raw)
        if events:
            sample = {"stream": raw.stream, "key": raw.key, "events": events, "payload": _plain(raw.payload)}
            size = len(json.dumps(sample["payload"]))
            found.setdefault(tuple(sorted(set(events.values()))), []).append((size, raw.key, sample))
    return [sorted(group, key=lambda one: one[:2])[len(group) // 2][2] for _, group in sorted(found.items())]


def _plain(payload: Any) -> Any:
    """As it is when it comes back from the store."""
    return json.loads(json.dumps(payload))


def _events(source: Any, raw: RawRecord) -> dict[str, str]:
    """Event id → type; none for a record that is quarantined."""
    try:
        return {event.id: event.type for event in source.normalize(raw)}
    except RecordError:
        return {}


def broken_source(kit: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing of `before` that is no longer good."""
    source = kit.connect()
    kept = {}
    for stream, pinned in before["streams"].items():
        if stream in now["streams"]:
            kept[stream] = pinned["cursors"]
            yield from _broken_records(source, stream, pinned["records"])
        else:
            there = ", ".join(now["streams"]) or "none"
            told = "what is stored of it belongs to nothing, and under a new name all is read again from the start"
            yield f"stream {stream!r} is gone (there are: {there}): {told}"
    for sample in before["webhooks"]:
        yield from _broken_replay(source, "webhook", sample)
    yield from _broken_cursors(kit, kept)


def _broken_records(source: Any, stream: str, samples: Sequence[Format]) -> Iterator[str]:
    """Both ways to a stored fact: what is stored is replayed, and what is over there is read again."""
    by_key = {raw.key: raw for page in source.read(stream, None) for raw in page.records}
    by_payload = {json.dumps(_plain(raw.payload), sort_keys=True): raw.key for raw in by_key.values()}
    for sample in samples:
        yield from _broken_replay(source, f"stream {stream!r}", sample)
        key = sample["key"]
        if key in by_key:
            yield from _other_ids(f"stream {stream!r}, record {key} read again", sample, _events(source, by_key[key]))
            continue
        renamed = by_payload.get(json.dumps(sample["payload"], sort_keys=True))
        if renamed is None:
            told = "so nothing can be compared. If only the simulated account has changed, take the sample out"
            yield f"stream {stream!r}: the record {key} is no longer read from the account of the test, {told}"
        else:
            yield f"stream {stream!r}: the record {key} is now called {renamed}: every raw record is stored anew"


def _broken_replay(source: Any, where: str, sample: Format) -> Iterator[str]:
    raw = RawRecord(sample["stream"], sample["key"], sample["payload"])
    try:
        events = {event.id: event.type for event in source.normalize(raw)}
    except Exception as error:  # noqa: BLE001  # a crash on a stored record is the same to whoever upgrades
        told = f"{type(error).__name__} ({error})"
        yield f"{where}: the stored record {raw.key} is no longer understood: {told}; its replay loses those events"
        return
    yield from _other_ids(f"{where}, stored record {raw.key}", sample, events)


def _other_ids(where: str, sample: Format, events: Mapping[str, str]) -> Iterator[str]:
    gone = {id: type for id, type in sample["events"].items() if events.get(id) != type}
    if gone:
        was, became = (", ".join(f"{type} {id}" for id, type in some.items()) for some in (gone, events))
        yield f"{where}: {was} became {became or 'nothing'}: {_DOUBLED}"


def _broken_cursors(kit: Any, kept: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each is still taken, and what happens from now on is found from it."""
    known = {stream: {raw.key for raw in kit._records(kit.connect(), stream)} for stream in kept}
    kit.happen()
    for stream, cursors in kept.items():
        new = {raw.key for raw in kit._records(kit.connect(), stream)} - known[stream]
        for cursor in cursors:
            try:
                found = {raw.key for raw in kit._records(kit.connect(), stream, cursor)}
            except Exception as error:  # noqa: BLE001  # whatever is raised, the stored cursor is of no use
                yield refused(f"stream {stream!r}", cursor, error)
                continue
            if not new <= found:
                yield misread(f"stream {stream!r}", cursor)
