"""Who changed which field of a CRM record last: from what the CRM tells, and from what stood there before.

In the mirror an edit by `us` says one thing only: what stands there is what the CRM made of our last write. Without a
time, it is a write that we have not read back yet. And one by a `system` is one that the CRM tells of the field itself:
of a record only the last writer is told, and behind a system's change a person's may hide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from syncline.model import Edit, RemoteRecord, RemoteRef, Value, alike, same

__all__ = ["as_written", "edit_of", "emptied", "told_apart"]


def edit_of(record: RemoteRecord, name: str) -> Edit:
    """Who changed a field of a mirrored record last, as far as anybody knows."""
    return record.edits.get(name) or _of_record(record)


def told_apart(told: RemoteRecord, known: RemoteRecord | None, seen_at: datetime | None = None) -> RemoteRecord:
    """The record as read, with a writer for every field of which more is known than who changed the record last.

    A field that did not change keeps its writer, whoever changed another one. `seen_at`: nothing was changed after it,
    whatever the CRM's clock says.
    """
    if told.deleted:
        return told if known is None else replace(told, edits=_emptied_before(known))
    told = replace(told, changed_at=_not_after(told.changed_at, seen_at))
    said = {name: replace(e, at=_not_after(e.at, seen_at)) for name, e in told.edits.items()}
    if known is None or known.deleted:
        return _noting(told, said)
    edits = {name: _writer(name, told, said.get(name), known) for name in told.fields}
    return _noting(told, {name: edit for name, edit in edits.items() if edit is not None})


def as_written(ref: RemoteRef, fields: Mapping[str, Value], known: RemoteRecord | None) -> RemoteRecord:
    """The record after a write that the CRM accepted: what stood there with ours laid over it."""
    ours = dict.fromkeys(fields, Edit(None, "us"))
    if known is None:
        return RemoteRecord(ref, fields, changed_by="us")
    record = RemoteRecord(ref, {**known.fields, **fields}, changed_at=known.changed_at, changed_by="us")
    before = {name: edit_of(known, name) for name in known.fields if not _as_ever(name, known)}
    return _noting(record, {**before, **ours})


def emptied(record: RemoteRecord, name: str) -> Edit | None:
    """Who emptied a field, as far as anybody knows; None where it holds something, or nothing as ever."""
    edit = record.edits.get(name)
    return edit if edit is not None and edit.by != "us" and same(record.fields.get(name), None) else None


def _emptied_before(known: RemoteRecord) -> dict[str, Edit]:
    """What somebody had emptied in a record that is gone: it may live on as another one, in which it is empty too."""
    if known.deleted:
        return dict(known.edits)
    return {name: edit for name in known.fields if (edit := emptied(known, name)) is not None}


def _writer(name: str, told: RemoteRecord, said: Edit | None, known: RemoteRecord) -> Edit | None:
    """None: nothing stands there, as ever."""
    if said is None and same(told.fields[name], None) and _as_ever(name, known):
        return None
    before = edit_of(known, name) if name in known.fields else None
    if before is not None and same(known.fields[name], told.fields[name]):
        return _unchanged(told, said, before)
    latest = said or _of_record(told)
    if before is None or not _awaited(before):
        return latest if latest.by != "us" else _unaccounted(latest, field_told=said is not None)
    # Somebody may have changed another field since; what looks like our value spelt differently is our value.
    spelt = said is None and alike(told.fields[name], known.fields[name])
    return Edit(told.changed_at, "us") if spelt else latest


def _unchanged(told: RemoteRecord, said: Edit | None, before: Edit) -> Edit:
    if _awaited(before) and (said is None or said.by == "us"):
        return said or replace(before, at=told.changed_at)
    if said is None or (said.by, said.who) == (before.by, before.who):
        return before  # also its time: one from the future would else be later at every look
    return said if said.by != "us" or before.by == "us" else _unaccounted(said, field_told=True)


def _as_ever(name: str, record: RemoteRecord) -> bool:
    """Whether nothing stands in a field, and nobody is known to have emptied it."""
    return name not in record.edits and same(record.fields.get(name), None)


def _of_record(record: RemoteRecord) -> Edit:
    """What is known of a field where the CRM tells only who changed the record last."""
    by = "unknown" if record.changed_by == "system" else record.changed_by
    return Edit(record.changed_at, by, record.changed_who)


def _awaited(edit: Edit) -> bool:
    """Whether it is our own write, of which the CRM has not told yet."""
    return edit.by == "us" and edit.at is None


def _unaccounted(edit: Edit, *, field_told: bool) -> Edit:
    """A change under our own name that we did not make just now.

    Told of the field, it is an old value of ours come back (a restored backup), or a write whose answer was lost. Told
    of the record only, somebody may have changed the field before we changed another one.
    """
    return replace(edit, by="system" if field_told else "unknown")


def _noting(record: RemoteRecord, edits: Mapping[str, Edit]) -> RemoteRecord:
    """Only what says something else than the record as a whole: most records change as one, and there are many.

    But who emptied a field is always noted: a field that nobody ever filled looks the same.
    """
    whole = _of_record(record)
    noted = {name: e for name, e in edits.items() if e != whole or same(record.fields.get(name), None)}
    return replace(record, edits=noted)


def _not_after(at: datetime | None, limit: datetime | None) -> datetime | None:
    return at if at is None or limit is None else min(at, limit)
