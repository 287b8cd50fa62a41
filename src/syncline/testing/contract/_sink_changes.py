"""The clauses about changes: what happened there, and who did it."""

from __future__ import annotations

from dataclasses import replace

from syncline.model import Edit, RemoteRecord, RemoteRef, Write
from syncline.testing.contract._expect import expect, not_given
from syncline.testing.contract._sink_hooks import SinkHooks, id_of

__all__ = ["TellsChanges"]


class TellsChanges(SinkHooks):
    """Everything that changed is told, with who changed it."""

    def test_changes_bring_every_record_with_every_field(self) -> None:
        refs = {self._upsert(key, text)[0].ref for key, text in (("k1", "x"), ("k2", None))}
        found = {record.ref: record for record in self._changes()[0]}
        expect(refs <= set(found), f"not found: {sorted(str(ref) for ref in refs - set(found))}")
        lacking = [r.ref.id for r in found.values() if not r.deleted and {self.match, self.text_field} - set(r.fields)]
        expect(not lacking, f"fields that were asked for are absent (empty ones are None): {lacking[:5]}")

    def test_changes_tell_the_addresses(self) -> None:
        """Whether they are asked for or not: a person is found by address before we have a key there."""
        name = self.email_field or self._described_email()
        address = self.match_value("k1") if name == self.match else "Kit.Person@acquario.example"
        own = {} if name == self.match else {name: address}
        write = self._new("k1", "x")
        [outcome] = self.connect().upsert(self.object, [replace(write, fields={**write.fields, **own})])
        told = [record.emails for record in self._changes()[0] if record.ref == outcome.ref]
        found = {email.casefold() for email in (told[-1] if told else ())}
        expect(address.casefold() in found, f"{name} holds {address}; the addresses are said to be {sorted(found)}")

    def _described_email(self) -> str:
        for field in self.connect().describe(self.object):
            if field.name.casefold() in ("email", "email_address") and (field.writable or field.name == self.match):
                return field.name
        return not_given("email_field")

    def test_changes_go_on_from_any_of_their_cursors(self) -> None:
        """After a crash the host reads on from the last cursor it stored; nothing that came later may be missing."""
        _, start = self._changes()
        for number in range(5):
            self._upsert(f"k{number}", "x")
        pages = list(self.connect().changes(self.object, [self.match, self.text_field], start))
        for number, page in enumerate(pages):
            later = {record.ref for after in pages[number + 1 :] for record in after.records}
            if page.cursor is not None:
                found = {record.ref for record in self._changes(page.cursor)[0]}
                missing = sorted(str(ref) for ref in later - found)
                expect(not missing, f"from {page.cursor!r} on, {missing[:5]} are missing")

    def test_a_persons_edit_is_found_and_is_not_ours(self) -> None:
        written = self._upsert("k1", "ours")[0]
        _, cursor = self._changes()
        self.edit(RemoteRef(self.object, id_of(written)), {self.text_field: "theirs"})
        edited = {record.ref: record for record in self._changes(cursor)[0]}.get(RemoteRef(self.object, id_of(written)))
        if edited is None:
            raise AssertionError("an edit after the cursor was not found")
        expect(edited.fields[self.text_field] == "theirs", f"it holds {edited.fields[self.text_field]!r}")
        expect(edited.changed_by != "us", "a person's edit is taken for ours: it would be overwritten")
        expect(edited.changed_at is not None and edited.changed_at.tzinfo, "changed_at is not an aware time")

    def test_our_own_write_is_known_as_ours(self) -> None:
        written = self._upsert("k1", "ours")[0]
        _, cursor = self._changes()
        self._upsert("k1", "ours again")
        for since in (None, cursor):
            echo = [record for record in self._changes(since)[0] if record.ref == written.ref]
            told = echo[-1].changed_by if echo else "nobody: it is not among the changes"
            expect(told == "us", f"our own write is said to be from {told}")

    def test_a_deletion_is_a_tombstone(self) -> None:
        written = self._upsert("k1", "x")[0]
        _, cursor = self._changes()
        self.remove(RemoteRef(self.object, id_of(written)))
        grave = [record for record in self._changes(cursor)[0] if record.ref == written.ref]
        expect(grave and grave[-1].deleted, "a deletion after the cursor brought no tombstone")
        expect(sum(r.deleted for r in grave) == 1, f"a deletion is one tombstone, not {sum(r.deleted for r in grave)}")
        expect(written.ref not in self._living(), "whoever reads everything still finds the deleted record alive")
        expect(not grave[-1].fields, "a tombstone holds no fields")

    def test_a_record_that_lives_on_names_its_successor(self) -> None:
        """After a conversion or a merge the host follows to the survivor; else the person would be lost, or be two."""
        written = self._upsert("k1", "x")[0]
        _, cursor = self._changes()
        survivor = self.succeed(RemoteRef(self.object, id_of(written)))
        told = [record.successor for record in self._changes(cursor)[0] if record.ref == written.ref]
        expect(told and told[-1] == survivor, f"it lives on as {survivor}; changes() says {told[-1:]}")

    def test_changes_tell_who_edited(self) -> None:
        """A person, by name or id: whoever decides between two values wants to know whom to ask."""
        ref = RemoteRef(self.object, id_of(self._upsert("k1", "ours")[0]))
        _, cursor = self._changes()
        self.edit(ref, {self.text_field: "theirs"})
        edited = self._latest(ref, cursor)
        told = edited.changed_by in ("person", "us")  # whoever takes it for ours is told so by a clause of its own
        expect(told, f"a person edited it; it is said to be from {edited.changed_by}")
        expect(edited.changed_who, "changed_who is empty: nobody knows which person")

    def test_each_field_tells_who_edited_it(self) -> None:
        """One record, one field by a person and one by us, whoever of the two came last."""
        name, other = self.text_field, self.other_field or not_given("other_field")
        refs = {key: RemoteRef(self.object, id_of(self._upsert(key, "old")[0])) for key in ("k1", "k2")}
        _, cursor = self._changes()
        self._ours(refs["k1"], other)
        self.edit(refs["k1"], {name: "theirs"})
        self.edit(refs["k2"], {name: "theirs"})
        self._ours(refs["k2"], other)
        for key, last in (("k1", "a person"), ("k2", "we")):
            record = self._latest(refs[key], cursor, (self.match, name, other))
            self._told(record.edit(name), "person", f"{name}, edited by a person ({last} came last)")
            self._told(record.edit(other), "us", f"{other}, written by us ({last} came last)")

    def _ours(self, ref: RemoteRef, name: str) -> None:
        [outcome] = self.connect().upsert(self.object, [Write("w", ("Id", ref.id), {name: "ours"})])
        expect(outcome.ok, f"{name} could not be written: {outcome}")

    def _told(self, edit: Edit, by: str, what: str) -> None:
        expect(edit.by == by, f"{what}, is said to be from {edit.by}")
        expect(edit.at is not None and edit.at.tzinfo, f"{what}, has no aware time: {edit.at}")

    def _latest(self, ref: RemoteRef, cursor: str | None, fields: tuple[str, ...] = ()) -> RemoteRecord:
        found = [record for record in self._changes(cursor, fields)[0] if record.ref == ref]
        expect(found, f"{ref} was changed after the cursor and is not among the changes")
        return found[-1]
