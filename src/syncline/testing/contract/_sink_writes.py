"""The clauses about what a write says: fields, records, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from syncline.errors import ConfigError, SchemaDriftError
from syncline.model import Field, RemoteRef, Status, Value, Write
from syncline.testing.contract._expect import expect, expect_raised, not_given
from syncline.testing.contract._sink_hooks import SinkHooks, id_of

__all__ = ["WritesRecords"]

_AWKWARD: Final = (
    'D\'Amico "x", y; z',
    "two\nlines\\n and a\ttab",
    "=1+1",
    "#N/A",
    "null",
    "Zo\u00eb \u00dftra\u00dfe \u65e5\u672c \U0001f388",
    "<b>&amp;</b> %20 {{x}}",
)


class WritesRecords(SinkHooks):
    """A write changes what it says, and nothing else."""

    def test_describe_tells_the_fields(self) -> None:
        fields = {field.name: field for field in self.connect().describe(self.object)}
        match, text = fields.get(self.match), fields.get(self.text_field)
        expect(match and match.unique, f"{self.match} is not described as unique")
        expect(match and (match.writable or not self.creates), f"{self.match} is not described as writable")
        expect(text and text.kind == "text" and text.writable, f"{self.text_field} is not described as writable text")

    def test_an_unknown_object_is_a_configuration_error(self) -> None:
        error = expect_raised(ConfigError, lambda: self.connect().describe("NoSuchThing"), "describe() raises")
        expect(self.object in str(error), f"the error does not list what there is: {error}")

    def test_upsert_creates_once_and_then_updates(self) -> None:
        first, again = self._upsert("k1", "one")[0], self._upsert("k1", "two")[0]
        expect(first.status is Status.CREATED and first.ref, f"a new key is created; the outcome is {first}")
        expect(again.ref == first.ref, f"the same key found another record: {first.ref}, then {again.ref}")
        expect(again.status is not Status.CREATED and again.ok, f"the second time it is updated; it says {again}")
        expect(self._text(first) == "two", f"{self.text_field} holds {self._text(first)!r}, not 'two'")

    def test_outcomes_come_one_for_each_write_in_order(self) -> None:
        keys = ["k3", "k1", "k2"]
        outcomes = self.connect().upsert(self.object, [self._new(key, key) for key in keys])
        expect([o.key for o in outcomes] == keys, f"wrote {keys}, outcomes for {[o.key for o in outcomes]}")

    def test_a_bad_record_is_refused_alone(self) -> None:
        """Trouble with one record is its outcome, with a reason; its neighbours are written."""
        good = [self._upsert(key, "old")[0] for key in ("k1", "k2")]
        ids = [id_of(good[0]), "nobody-has-this-id", id_of(good[1])]
        writes = [Write(f"w{n}", ("Id", i), {self.text_field: "new"}) for n, i in enumerate(ids)]
        outcomes = self.connect().upsert(self.object, writes)
        expect([o.ok for o in outcomes] == [True, False, True], f"only the middle one is bad; {outcomes}")
        expect(outcomes[1].reason, "a refused record has a reason")
        expect([self._text(o) for o in good] == ["new", "new"], "its neighbours were not written")

    def test_good_and_bad_by_our_key_keep_their_order(self) -> None:
        """Where the vendor refuses a whole call for one record (ConnectorError), halves of it find the bad one."""
        writes = [self._new("k3", "new"), self.bad_write("k1"), self._new("k2", "new")]
        outcomes = self._bisected(writes)
        expect([o.key for o in outcomes] == [w.key for w in writes], f"wrote {writes}, outcomes {outcomes}")
        expect([o.ok for o in outcomes] == [True, False, True], f"only the middle one is bad; {outcomes}")
        expect(outcomes[1].reason, "a refused record has a reason")
        held = [self._text(outcome) for outcome in (outcomes[0], outcomes[2])]
        expect(held == ["new", "new"], f"its neighbours hold {held}, not what was written")

    def test_an_unknown_record_is_never_created(self) -> None:
        """A write by Id updates, or is refused; so does every write of a sink that never creates."""
        self._upsert("k1", "old")
        before = self._living()
        writes = [Write("w1", ("Id", "nobody-has-this-id"), {**self.always, self.text_field: "x"})]
        if not self.creates:
            writes = [self._write("w2", "x")]
        for outcome in self._bisected(writes):
            expect(not outcome.ok and outcome.reason, f"nobody has this {writes[0].match[0]}; the outcome is {outcome}")
        expect(self._living() == before, "a record was created all the same")

    def test_text_comes_back_as_it_was_written(self) -> None:
        """Whatever people type: quotes, line ends, other scripts, what a spreadsheet would take for a formula."""
        for number, text in enumerate(_AWKWARD):
            outcome = self._upsert(f"k{number}", text)[0]
            expect(outcome.ok, f"{text!r} is refused: {outcome.reason}")
            held = self._text(outcome)
            expect(held == text, f"wrote {text!r}, and it holds {held!r}")

    def test_a_read_only_field_is_refused_by_name(self) -> None:
        """As drift, or as that record's outcome; it is never left out in silence."""
        names = sorted((f.name for f in self.connect().describe(self.object) if _closed(f)), key="Id".__eq__)
        if not names:
            pytest.skip(f"every field of {self.object} is writable")
        closed = names[0]
        written = self._upsert("k1", "old")[0]
        write = Write("k1", ("Id", id_of(written)), {self.text_field: "new", closed: "x"})
        try:
            outcome = self.connect().upsert(self.object, [write])[0]
        except SchemaDriftError as error:
            expect(error.field == closed, f"{closed} is read-only; the error names {error.field!r}")
        else:
            told = outcome.status is Status.REJECTED and closed in str(outcome.reason)
            expect(told, f"{closed} is read-only; the outcome is {outcome}")
        expect(self._text(written) == "old", "the rest of a refused write was written")

    def test_an_absent_field_is_left_alone(self) -> None:
        written = self._upsert("k1", "kept")[0]
        fields: dict[str, Value] = {self.match: self.match_value("k1")} if self.creates else {}
        self.connect().upsert(self.object, [Write("k1", ("Id", id_of(written)), fields)])
        expect(self._text(written) == "kept", f"a field that was not in the write became {self._text(written)!r}")

    def test_none_clears_a_field(self) -> None:
        written = self._upsert("k1", "something")[0]
        self.connect().upsert(self.object, [Write("k1", ("Id", id_of(written)), {self.text_field: None})])
        expect(self._text(written) is None, f"after writing None it holds {self._text(written)!r}")

    def test_a_missing_field_is_drift_and_named(self) -> None:
        write = replace(self._new("k1", "x"), fields={**self.always, "No_Such_Field": "x"})
        error = expect_raised(SchemaDriftError, lambda: self.connect().upsert(self.object, [write]), "upsert() raises")
        expect(getattr(error, "field", None) == "No_Such_Field", f"it names {getattr(error, 'field', None)!r}")

    def test_nobody_is_opted_in_again(self) -> None:
        """Who wants no more e-mail is left alone, whatever we think we know: a write may opt out, never back in."""
        if not self.opt_out_field:
            not_given("opt_out_field")
        held = [self._upsert(key, "old")[0] for key in ("k1", "k2")]
        for outcome in held:
            self.edit(RemoteRef(self.object, id_of(outcome)), {self.opt_out_field: True})
        writes = [
            Write(f"w{n}", ("Id", id_of(outcome)), {self.text_field: "new", self.opt_out_field: wanted})
            for n, (outcome, wanted) in enumerate(zip(held, (False, None), strict=True))
        ]
        for outcome in self._bisected(writes):
            told = outcome.status is Status.REJECTED and self.opt_out_field in str(outcome.reason)
            expect(told, f"it would opt somebody in again, and is refused with the field's name; it says {outcome}")
        for outcome in held:
            still = self._field(outcome, self.opt_out_field)
            expect(still is True, f"{self.opt_out_field} was True because a person said so, and now it is {still!r}")


def _closed(field: Field) -> bool:
    return not field.writable and field.kind == "text"
