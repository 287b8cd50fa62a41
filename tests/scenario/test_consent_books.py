"""The book of consent: filled from events, from the log of before, by replay; asked by `undo`, shown by `explain`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete
from sqlalchemy import event as listening
from sqlalchemy.engine import Engine

from syncline.model import RawRecord
from syncline.store import schema
from syncline.store.database import Database
from syncline.testing.memory import MemorySource

ANNA = "anna@acme.example"


def ask(lab: Any) -> None:
    lab.data["consent"] = {"purposes": {"email_marketing": {"basis": "consent"}}}
    lab.sync["purpose"] = "email_marketing"


def grant(lab: Any, granted: bool = True, **more: Any) -> None:
    lab.says(ANNA, "consent_change", purpose="email_marketing", granted=granted, **more)


def test_what_was_in_the_log_before_anybody_asked_counts(lab: Any) -> None:
    """A store from before consent was kept: its log says who granted."""
    lab.data["syncs"] = []
    lab.data["actions"] = []
    lab.points(ANNA, 90)
    grant(lab)
    lab.run()
    database = Database(f"sqlite:///{lab.folder}/state.db")
    with database.write() as connection:
        connection.execute(delete(schema.consent))
    database.close()
    lab.data["syncs"] = type(lab)(lab.folder, lab.data["store"]).data["syncs"]
    ask(lab)
    assert lab.sink().created == 1
    assert [row["granted"] for row in lab.rows("consent")] == [True]


def test_a_replay_says_what_the_mended_plugin_says(lab: Any, monkeypatch: Any) -> None:
    """The plugin took every word for a withdrawal. After it was mended, the same records are read again."""
    ask(lab)
    normalize = MemorySource.normalize

    def broken(self: Any, raw: RawRecord) -> Any:
        properties = {**raw.payload["properties"], "granted": False}
        broken_raw = RawRecord(raw.stream, raw.key, {**raw.payload, "properties": properties})
        return normalize(self, broken_raw if raw.payload["type"] == "consent_change" else raw)

    lab.points(ANNA, 90)
    grant(lab, hours=2)
    grant(lab)
    with monkeypatch.context() as patch:
        patch.setattr(MemorySource, "normalize", broken)
        lab.run()
    assert [row["granted"] for row in lab.rows("consent")] == [False]
    with lab.host() as host:
        host.replay("shop", everything=True)
    assert [row["granted"] for row in lab.rows("consent")] == [True]
    assert lab.sink().created == 1


def test_undo_brings_nobody_back_into_a_list_who_withdrew(lab: Any) -> None:
    ask(lab)
    lab.points(ANNA, 90)
    grant(lab)
    lab.run()
    lab.later()
    grant(lab, granted=False)
    ended = lab.run()
    assert lab.world.segments["Hot leads"] == set()
    lab.later()
    with lab.host() as host:
        report = host.undo(ended.run_id)
    assert lab.world.segments["Hot leads"] == set()
    assert report.sinks["crm"].withheld == {"email_marketing was withdrawn": 1}


def test_explain_says_who_said_what(lab: Any) -> None:
    ask(lab)
    lab.fields["OptedOut"] = {"consent": "email_marketing"}
    lab.points(ANNA, 90)
    grant(lab)
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ANNA), {"OptedOut": True}, at=lab.now)
    lab.run()
    with lab.host() as host:
        found = host.explain(ANNA).to_json()["consent"]["email_marketing"]
    assert found["allowed"] is False
    assert found["because"] == "email_marketing was withdrawn"
    assert [(side["side"], side["granted"]) for side in found["sides"]] == [("crm.OptedOut", False), ("shop", True)]
    assert found["sides"][0]["at"] == lab.now.isoformat()


def test_a_plan_asks_and_keeps_nothing(lab: Any) -> None:
    ask(lab)
    lab.fields["OptedOut"] = {"consent": "email_marketing"}
    lab.world.put("Lead", {"Email": ANNA, "OptedOut": True})
    lab.points(ANNA, 90)
    grant(lab)
    plan = lab.plan().sinks["crm"]
    assert (plan.updated, plan.withheld["email_marketing was withdrawn"] > 1) == (0, True)
    assert [row["connection"] for row in lab.rows("consent")] == ["shop"]


def test_a_run_over_many_asks_the_book_in_a_few_statements(lab: Any) -> None:
    """Consent costs a batch of 2,000 people a handful of statements, however many they are."""
    ask(lab)
    lab.fields["OptedOut"] = {"consent": "email_marketing"}
    statements: list[str] = []

    def count(*args: Any) -> None:
        if "FROM consent" in " ".join(args[2].split()):
            statements.append(args[2])

    emails = lab.crowd(300)
    for email in emails:
        lab.says(email, "consent_change", purpose="email_marketing", granted=True)
    lab.run()
    listening.listen(Engine, "before_cursor_execute", count)
    try:
        lab.later()
        lab.run()
    finally:
        listening.remove(Engine, "before_cursor_execute", count)
    assert 1 <= len(statements) <= 3
