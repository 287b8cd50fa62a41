"""What a sink's stored mappings, links, cursors, tasks and segments depend on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from syncline.model import Field, FieldSpec
from syncline.sdk import CreatesTasks, KeepsSegments, Prepares
from syncline.testing.contract._expect import expect_done, offers
from syncline.testing.contract._format_shape import misread, refused, sample_cursors, shape_of

__all__ = ["broken_segments", "broken_sink", "fields_of_every_kind", "segments_format", "sink_format"]

Format = dict[str, Any]

_QUOTED: Final = re.compile(r"""['"‘“`](.+)['"’”`]""")


def fields_of_every_kind(object: str, name: Callable[[str], str]) -> tuple[FieldSpec, ...]:
    """One field for each kind of value that a sync may write; `name` makes a name that the CRM takes out of a word."""
    return (
        FieldSpec(object, name("text"), "text", "Kit text", max_length=40),
        FieldSpec(object, name("area"), "text", "Kit area", max_length=1_000),
        FieldSpec(object, name("count"), "number", "Kit count"),
        FieldSpec(object, name("amount"), "number", "Kit amount", scale=2),
        FieldSpec(object, name("flag"), "boolean", "Kit flag"),
        FieldSpec(object, name("day"), "date", "Kit day"),
        FieldSpec(object, name("moment"), "datetime", "Kit moment"),
    )


def sink_format(kit: Any) -> Format:
    """The fields as described, after `prepare`, and a sample of each kind of cursor."""
    sink = kit.connect()
    specs = tuple(sink.task_fields) if offers(sink, CreatesTasks) else ()
    if offers(sink, Prepares):
        needed = [*kit.format_fields, *specs]
        expect_done(lambda: sink.prepare(needed, []), "what syncs need can be prepared, and is then described")
    kit._upsert("k1", "x")
    pages = list(kit._pages(None))
    objects: Format = {
        kit.object: {
            "fields": _fields(sink, kit.object),
            "cursors": sample_cursors(page.cursor for page in pages),
            "ids": sorted({shape_of(record.ref.id) for page in pages for record in page.records}),
        }
    }
    tasks = [{"object": s.object, "name": s.name, "kind": s.kind, "unique": s.unique} for s in specs]
    return {"objects": objects, "task_fields": tasks}


def _fields(sink: Any, object: str) -> Format:
    return {field.name: _said(field) for field in sorted(sink.describe(object), key=lambda f: f.name)}


def _said(field: Field) -> Format:
    found: Format = {"kind": field.kind}
    if not field.writable:
        found["writable"] = False
    if field.unique:
        found["unique"] = True
    return found | {n: getattr(field, n) for n in ("max_length", "scale") if getattr(field, n) is not None}


def segments_format(kit: Any) -> Format:
    """What a segment is called over there, as `missing` says it of an account that lacks it. It leaves the account."""
    sink = kit.connect()
    if not kit.segment or not offers(sink, KeepsSegments) or not offers(sink, Prepares):
        return {}
    told = kit.connect_unprepared().missing([], [kit.segment])
    about = [line for line in told if kit.segment.casefold() in line.casefold()]
    return {kit.segment: sorted(_name_in(line) for line in about or told)}


def _name_in(line: str) -> str:
    quoted = _QUOTED.search(line)
    return quoted[1] if quoted else line


def broken_sink(kit: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each thing of `before` that is no longer good."""
    for name, pinned in before["objects"].items():
        found = now["objects"].get(name, {"fields": {}})
        yield from _broken_fields(name, pinned["fields"], found["fields"])
        if not set(pinned.get("ids", ())) <= set(found.get("ids", ())):
            told = f"{_some(found.get('ids', ()))}, and looked like {_some(pinned['ids'])}"
            yield f"the ids of {name} look like {told}: every stored link to a record is lost"
    for spec in before["task_fields"]:
        if spec not in now["task_fields"]:
            told = "the tasks that are there are not found by it, and are created a second time"
            yield f"tasks keep their key no longer in {spec['object']}.{spec['name']} (unique {spec['kind']}): {told}"
    yield from _broken_cursors(kit, before)


def _broken_fields(object: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name, old in before.items():
        place, new = f"{object}.{name}", now.get(name)
        if new is None:
            yield f"field {place} is not described any longer: mappings of it are parked as drift"
            continue
        if new["kind"] != old["kind"]:
            told = f"is described as {new['kind']}, and was {old['kind']}"
            yield f"field {place} {told}: mappings of it are parked, or every record is written anew"
        for right, lost in (("writable", "can no longer be written"), ("unique", "finds no record any longer")):
            default = right == "writable"
            if old.get(right, default) and not new.get(right, default):
                yield f"field {place} {lost}: mappings of it, or those that match by it, are parked as drift"
        for size in ("max_length", "scale"):
            if size in new and (size not in old or new[size] < old[size]):
                told = f"{size} is {new[size]}, and was {old.get(size, 'not set')}"
                yield f"field {place} holds less ({told}): what was written is cut, or refused"


def _broken_cursors(kit: Any, before: Mapping[str, Any]) -> Iterator[str]:
    """Each is still taken, and a write of now is found from it."""
    written = kit._upsert("k9", "later")[0].ref
    for cursor in before["objects"].get(kit.object, {}).get("cursors", ()):
        try:
            found = {record.ref for page in kit._pages(cursor) for record in page.records}
        except Exception as error:  # noqa: BLE001  # whatever is raised, the stored cursor is of no use
            yield refused(kit.object, cursor, error)
            continue
        if written not in found:
            yield misread(kit.object, cursor)


def broken_segments(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for segment, names in before.items():
        if segment in now and now[segment] != names:
            told = "those who are in it now stay in the old one, and are added to a new one"
            yield f"segment {segment!r} is {_some(now[segment])} in the CRM, and was {_some(names)}: {told}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
