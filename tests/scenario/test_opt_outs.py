"""Opt-outs flow to every other connected system, and never back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from syncline.errors import ContractError, TransientError
from syncline.model import Write
from syncline.store.values import load
from syncline.sync import asking
from syncline.sync.opt_outs import hold_one_way
from syncline.sync.plan import FieldChange

ANNA = "anna@acme.example"
BERT = "bert@acme.example"
PURPOSE = "email_marketing"


@pytest.fixture
def two(each_lab: Any) -> Any:
    """Two CRMs that hold an opt-out from e-mail marketing; the score is for that, the name is not."""
    return with_two(each_lab)


@pytest.fixture
def both(lab: Any) -> Any:
    """The same on SQLite."""
    return with_two(lab)


def with_two(lab: Any) -> Any:
    lab.data["consent"] = {"purposes": {PURPOSE: {"basis": "legitimate_interest"}}}
    lab.fields["Score"]["purpose"] = lab.fields["Why"]["purpose"] = PURPOSE
    lab.fields["OptedOut"] = {"consent": PURPOSE}
    lab.add_second_crm()
    return lab


def opted_out(lab: Any, email: str = ANNA) -> tuple[Any, Any]:
    """What the two CRMs hold."""
    found = []
    for world in (lab.world, lab.second):
        [ref] = lab.records(email, world)
        found.append(world.get(ref)["OptedOut"])
    return found[0], found[1]


def tick(lab: Any, world: Any, value: bool = True, email: str = ANNA, **who: Any) -> None:
    [ref] = lab.records(email, world)
    world.edit(ref, {"OptedOut": value}, **who)


def runs(lab: Any, count: int = 2) -> list[Any]:
    reports = []
    for _ in range(count):
        lab.later()
        reports.append(lab.run())
    return reports


def quiet(lab: Any) -> bool:
    """The next runs write nothing."""
    return all(sink.write_calls == 0 for report in runs(lab, 3) for sink in report.sinks.values())


def test_a_tick_in_one_crm_is_in_the_other_after_one_run(two: Any) -> None:
    lab = two
    lab.points(ANNA, 50)
    lab.run()
    assert opted_out(lab) == (None, None)
    lab.later()
    tick(lab, lab.world)
    lab.points(ANNA, 10)
    report = lab.run()
    assert opted_out(lab) == (True, True)
    assert (report.sinks["crm"].opt_outs, report.sinks["other"].opt_outs) == (0, 1)
    assert [sink.withheld for sink in report.sinks.values()] == [{f"{PURPOSE} was withdrawn": 2}] * 2
    assert quiet(lab)


def test_an_opt_out_the_crm_held_before_we_came_counts_at_once(both: Any) -> None:
    lab = both
    lab.world.put("Lead", {"Email": ANNA, "OptedOut": True})
    lab.points(ANNA, 50)
    lab.run()
    assert opted_out(lab) == (True, True)
    assert all(world.get(lab.records(ANNA, world)[0])["Score"] is None for world in (lab.world, lab.second))


def test_an_unsubscribe_reaches_every_crm_and_new_records_carry_it(both: Any) -> None:
    lab = both
    lab.data["consent"]["unsubscribes"] = [PURPOSE]
    lab.points(ANNA, 50)
    lab.says(ANNA, "email_unsubscribe")
    report = lab.run()
    assert opted_out(lab) == (True, True)
    assert [sink.opt_outs for sink in report.sinks.values()] == [1, 1]
    assert quiet(lab)


def test_our_own_tick_is_no_new_statement(two: Any) -> None:
    """Who ticked first takes it back, and it is taken back: what we passed on does not hold it in place."""
    lab = two
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 3)
    assert [row["connection"] for row in lab.rows("consent") if ">" not in row["connection"]] == ["crm.OptedOut"]
    tick(lab, lab.world, False)
    lab.points(ANNA, 10)
    runs(lab, 1)
    assert opted_out(lab) == (False, True)  # nobody is ever subscribed again by us
    assert lab.held(ANNA)["Score"] == 60
    assert quiet(lab)


def test_a_tick_we_set_is_set_again_where_somebody_takes_it_away(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 2)
    tick(lab, lab.second, False)
    runs(lab, 1)
    assert opted_out(lab) == (True, True)
    assert quiet(lab)


def test_each_side_takes_back_only_its_own_word(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    lab.later()
    tick(lab, lab.world)
    tick(lab, lab.second)
    runs(lab, 1)
    tick(lab, lab.world, False)
    runs(lab, 1)
    assert opted_out(lab) == (True, True)  # the other says so still, and it comes back
    tick(lab, lab.second, False)
    lab.points(ANNA, 10)
    runs(lab, 2)
    assert lab.held(ANNA)["Score"] == 60


def test_false_is_no_grant(both: Any) -> None:
    lab = both
    lab.data["consent"]["purposes"][PURPOSE]["basis"] = "consent"
    lab.world.put("Lead", {"Email": ANNA, "OptedOut": False})
    lab.points(ANNA, 50)
    report = lab.run()
    assert report.sinks["crm"].withheld == {f"no consent for {PURPOSE}": 2}


def test_a_rep_who_ticks_again_means_it(both: Any) -> None:
    """The tick we had set is taken away, the first side takes back its word, and then the rep sets it by hand."""
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 2)
    tick(lab, lab.world, False)
    tick(lab, lab.second, False)
    runs(lab, 1)
    assert opted_out(lab) == (False, False)
    tick(lab, lab.second)
    runs(lab, 1)
    assert opted_out(lab) == (True, True)


def test_an_opt_out_outlives_the_record_that_held_it(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 1)
    lab.world.delete(lab.ref(ANNA))
    lab.points(ANNA, 10)
    report = runs(lab, 2)[-1]
    assert report.sinks["other"].withheld == {f"{PURPOSE} was withdrawn": 2}


@pytest.mark.parametrize("carried", [True, False], ids=["the contact has it too", "the contact has lost it"])
def test_a_conversion_loses_no_opt_out(both: Any, carried: bool) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 1)
    contact = lab.world.convert(lab.ref(ANNA))
    if not carried:
        lab.world.edit(contact, {"OptedOut": False})
    runs(lab, 1)
    assert opted_out(lab) == (True, True)
    runs(lab, 1)
    tick(lab, lab.world, False)  # a rep, on the contact: that is the same side
    lab.points(ANNA, 10)
    runs(lab, 1)
    assert opted_out(lab) == (False, True)
    assert lab.held(ANNA)["Score"] == 60
    assert quiet(lab)


def test_our_tick_stays_ours_through_a_conversion(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.second)
    runs(lab, 2)
    lab.later()
    lab.world.convert(lab.ref(ANNA))
    runs(lab, 2)
    tick(lab, lab.second, False)
    lab.points(ANNA, 10)
    runs(lab, 1)
    assert lab.held(ANNA)["Score"] == 60  # the contact's tick was the lead's, and that was ours


def test_an_answer_that_is_lost_leaves_the_tick_ours(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    lab.later()
    tick(lab, lab.world)
    lab.second.fail_call("upsert", TransientError("the line is cut"), times=3, applied=True)
    lab.run()
    runs(lab, 2)
    assert opted_out(lab) == (True, True)
    tick(lab, lab.world, False)
    lab.points(ANNA, 10)
    runs(lab, 1)
    assert lab.held(ANNA)["Score"] == 60


def test_of_several_candidates_one_opt_out_is_enough(both: Any) -> None:
    """Which of the two leads Anna is, a person decides. Until then nobody mails her."""
    lab = both
    lab.world.put("Lead", {"Email": ANNA, "OptedOut": True})
    lab.world.put("Lead", {"Email": ANNA})
    lab.points(ANNA, 50)
    report = lab.run()
    assert report.sinks["crm"].conflicts == 1
    [ref] = lab.records(ANNA, lab.second)
    assert lab.second.get(ref)["Score"] is None
    assert lab.second.get(ref)["OptedOut"] is True


def test_a_lost_opt_out_field_holds_back_its_purpose_there(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    lab.world.drop_field("Lead", "OptedOut")
    lab.points(ANNA, 10)
    [report] = runs(lab, 1)
    reason = "nobody can tell whether email_marketing was withdrawn there: Lead.OptedOut is gone"
    assert report.sinks["crm"].withheld == {reason: 2}
    assert report.sinks["other"].updated == 1
    assert any("Lead.OptedOut" in line for line in report.sinks["crm"].parked)


def test_a_read_only_opt_out_is_read_and_not_passed_on(both: Any) -> None:
    lab = both
    lab.world.objects["Lead"]["OptedOut"] = replace(lab.world.objects["Lead"]["OptedOut"], writable=False)
    lab.points(ANNA, 50)
    lab.points(BERT, 50)
    lab.run()
    tick(lab, lab.world)
    tick(lab, lab.second, email=BERT)
    [report] = runs(lab, 1)
    assert opted_out(lab) == (True, True)
    assert opted_out(lab, BERT) == (None, True)
    assert any("opt-outs are read there, and cannot be passed on" in line for line in report.sinks["crm"].parked)


def test_a_guard_may_count_opt_outs(both: Any) -> None:
    lab = both
    lab.sync["guard"] = {"opt_outs": 1}
    emails = lab.crowd(3)
    lab.run()
    for email in emails:
        tick(lab, lab.second, email=email)
    [report] = runs(lab, 1)
    assert "2 opt_outs" in str(report.sinks["crm"].error) or "3 opt_outs" in str(report.sinks["crm"].error)


# Never back


def test_a_re_subscription_cannot_leave(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were any part of us ever to plan one, the delivery stops before the call: shown by planning one by force."""
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    lab.later()
    tick(lab, lab.world)
    lab.run()

    def wrong(self: Any, mapped: Any, person: Any, held: Any = None) -> Any:
        return FieldChange(mapped.name, True, False) if mapped.consent else None

    monkeypatch.setattr(asking.Asking, "opt_out", wrong)
    [report] = runs(lab, 1)
    assert all("An opt-out is only ever set" in str(sink.error) for sink in report.sinks.values())
    assert opted_out(lab) == (True, True)


@pytest.mark.parametrize("value", [False, None, "false", 0])
def test_only_true_passes_the_last_look(both: Any, value: Any) -> None:
    with both.host() as host:
        [target, _] = host.targets()
    hold_one_way(target, [Write("k", ("Id", "1"), {"OptedOut": True, "Score": 5})])
    with pytest.raises(ContractError, match="OptedOut"):
        hold_one_way(target, [Write("k", ("Id", "1"), {"OptedOut": value})])


def test_undo_takes_no_opt_out_back(both: Any) -> None:
    lab = both
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    [report] = runs(lab, 1)
    lab.later()
    with lab.host() as host:
        taken = host.undo(report.run_id)
    assert opted_out(lab) == (True, True)
    kept = [kept.reason for sink in taken.sinks.values() for kept in sink.kept]
    assert "an opt-out is never taken back" in kept


# A connection that is a source as well


@pytest.fixture
def newsletter(lab: Any) -> Any:
    """A CRM, and a newsletter that tells of consent and holds an opt-out: as Mailchimp does."""
    lab.data["consent"] = {"purposes": {PURPOSE: {"basis": "legitimate_interest"}}, "unsubscribes": [PURPOSE]}
    lab.fields["Score"]["purpose"] = PURPOSE
    lab.fields["OptedOut"] = {"consent": PURPOSE}
    lab.data["connections"]["letter"] = {"plugin": "second-newsletter"}
    lab.data["syncs"].append(
        {"name": "letter", "to": "letter", "object": "Contact", "match": "Key", "first_run": "whole",
         "fields": {"OptedOut": {"consent": PURPOSE}}}
    )  # fmt: skip
    lab.second.put("Contact", {"Email": ANNA})
    return lab


def echo(lab: Any, granted: bool = False) -> None:
    """What the newsletter then tells as a source: that she is no longer subscribed, or is again."""
    lab.says(ANNA, "consent_change", world=lab.second, purpose=PURPOSE, granted=granted)


def test_a_newsletter_gets_the_opt_out_and_nothing_else(newsletter: Any) -> None:
    lab = newsletter
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    [report] = runs(lab, 1)
    [ref] = lab.records(ANNA, lab.second)
    assert {k: v for k, v in lab.second.get(ref).items() if v is not None} == {
        "Id": ref.id, "Email": ANNA, "OptedOut": True
    }  # fmt: skip
    assert report.sinks["letter"].opt_outs == 1
    assert quiet(lab)


def test_the_echo_from_a_source_does_not_outlast_the_original(newsletter: Any) -> None:
    lab = newsletter
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 1)
    lab.later()
    echo(lab)
    runs(lab, 1)
    tick(lab, lab.world, False)
    lab.points(ANNA, 10)
    runs(lab, 1)
    assert lab.held(ANNA)["Score"] == 60
    assert lab.held(ANNA)["OptedOut"] is False
    [ref] = lab.records(ANNA, lab.second)
    assert lab.second.get(ref)["OptedOut"] is True  # there, she must say so herself


def test_who_came_back_and_left_again_left_herself(newsletter: Any) -> None:
    lab = newsletter
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 1)
    lab.later()
    echo(lab)
    lab.later()
    echo(lab, granted=True)
    [ref] = lab.records(ANNA, lab.second)
    lab.second.edit(ref, {"OptedOut": False})
    tick(lab, lab.world, False)
    runs(lab, 1)
    assert opted_out_of(lab) == (False, False)
    lab.later()
    echo(lab)
    runs(lab, 1)
    assert lab.held(ANNA)["OptedOut"] is True


def opted_out_of(lab: Any) -> tuple[Any, Any]:
    [ref] = lab.records(ANNA, lab.second)
    return lab.held(ANNA)["OptedOut"], lab.second.get(ref)["OptedOut"]


def test_who_left_the_newsletter_before_we_told_it_left_herself(newsletter: Any) -> None:
    """Late news: she had left there before the CRM's tick was passed on, and the CRM takes only its own word back."""
    lab = newsletter
    lab.points(ANNA, 50)
    lab.run()
    tick(lab, lab.world)
    runs(lab, 1)
    lab.says(ANNA, "email_unsubscribe", world=lab.second, hours=5)
    tick(lab, lab.world, False)
    lab.points(ANNA, 10)
    runs(lab, 1)
    assert lab.held(ANNA)["OptedOut"] is True
    assert lab.held(ANNA)["Score"] == 50


def test_payloads_only_ever_say_true(both: Any) -> None:
    """Through all of it: nothing but true was ever in a row of ours."""
    lab = both
    emails = lab.crowd(5)
    lab.run()
    for number, email in enumerate(emails):
        tick(lab, lab.world if number % 2 else lab.second, email=email)
    runs(lab, 2)
    for email in emails[:2]:
        tick(lab, lab.world, False, email=email)
    runs(lab, 2)
    sent = [load(row["payload"]).get("fields", {}) for row in lab.rows("outbox")]
    assert {fields["OptedOut"] for fields in sent if "OptedOut" in fields} == {True}
