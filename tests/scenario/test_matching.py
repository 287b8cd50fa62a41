"""Who is who in the CRM: found by our key or by an address, never guessed, followed wherever the record goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from syncline.errors import TransientError
from syncline.store import crm, events, people

ADA = "ada@acme.example"
EVE = "eve@acme.example"


def test_day_one_finds_people_by_address_in_any_letter_case(each_lab: Any) -> None:
    lab = each_lab
    lead = lab.world.put("Lead", {"Email": "  ADA@Acme.Example "})
    contact = lab.world.put("Contact", {"Email": "Eve@ACME.example"})
    lab.points(ADA, 50)
    lab.points(EVE, 90)
    keys = lab.keys()
    sink = lab.sink()
    assert (sink.created, sink.updated, sink.tasks, sink.members) == (0, 2, 1, 1)
    assert lab.world.get(lead)["Key"] == keys[ADA]
    assert lab.world.get(contact)["Key"] == keys[EVE]
    assert lab.world.segments["Hot leads"] == {contact}
    assert lab.sink().changes == []


def test_a_key_that_is_there_already_finds_the_record_whatever_its_address(lab: Any) -> None:
    """As after a restored store, or a write whose answer was lost."""
    lab.points(ADA, 50)
    key = lab.keys()[ADA]
    ref = lab.world.put("Lead", {"Email": "married@new.example", "Key": key})
    other = lab.world.put("Lead", {"Email": ADA})
    sink = lab.sink()
    assert (sink.created, sink.updated) == (0, 1)
    assert lab.world.get(ref)["Score"] == 50
    assert lab.world.get(other)["Score"] is None


def test_a_converted_lead_is_found_as_its_contact(lab: Any) -> None:
    lead = lab.world.put("Lead", {"Email": ADA})
    contact = lab.world.convert(lead)
    lab.points(ADA, 50)
    sink = lab.sink()
    assert (sink.created, sink.updated) == (0, 1)
    assert lab.world.get(contact)["Score"] == 50


def test_a_link_follows_a_conversion_and_the_member_is_added_once(each_lab: Any) -> None:
    lab = each_lab
    lab.points(ADA, 90)
    lab.run()
    lead = lab.ref(ADA)
    assert lab.world.segments["Hot leads"] == {lead}
    contact = lab.world.convert(lead)
    lab.later()
    lab.points(ADA, 5)
    planned, sink = lab.plan().sinks["crm"], lab.sink()
    assert (sink.created, sink.updated, sink.members, sink.tasks) == (0, 1, 1, 0)
    assert (planned.updated, planned.members) == (1, 1)
    assert lab.world.get(contact)["Score"] == 95
    assert lab.world.segments["Hot leads"] == {contact}
    assert lab.world.refs("Lead") == []
    quiet = lab.sink()
    assert (quiet.members, quiet.changes) == (0, [])


def test_a_merged_record_is_followed_to_its_survivor(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    survivor = lab.world.put("Lead", {"Email": "ada@home.example", "LastName": "King"})
    lab.world.merge(lab.ref(ADA), survivor)
    lab.later()
    lab.points(ADA, 5)
    sink = lab.sink()
    assert (sink.created, sink.updated) == (0, 1)
    held = lab.world.get(survivor)
    assert (held["Score"], held["Key"], held["LastName"]) == (55, lab.keys()[ADA], "King")


def test_a_chain_of_merges_and_a_conversion_is_followed_to_its_end(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    first = lab.ref(ADA)
    second, third = (lab.world.put("Lead", {"Email": f"{n}@acme.example"}) for n in ("b", "c"))
    lab.world.merge(first, second)
    lab.world.merge(second, third)
    contact = lab.world.convert(third)
    lab.points(ADA, 5)
    lab.run()
    assert lab.world.get(contact)["Score"] == 55


def test_two_people_whose_records_were_merged_wait_for_a_decision(each_lab: Any) -> None:
    """One record cannot carry two keys and two scores; neither may it stop everybody else."""
    lab = each_lab
    emails = lab.crowd(4)
    lab.run()
    lab.world.merge(lab.ref(emails[0]), lab.ref(emails[1]))
    lab.later()
    for email in emails:
        lab.points(email, 10)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.updated, sink.created, sink.conflicts) == ("done", 3, 0, 1)
    [conflict] = lab.conflicts()
    assert "another person's" in conflict.reason
    assert lab.held(emails[1])["Key"] == lab.keys()[emails[1]]
    assert lab.sink().changes == []


def test_two_leads_converted_into_one_contact_wait_for_a_decision(lab: Any) -> None:
    emails = lab.crowd(2)
    lab.run()
    contact = lab.world.convert(lab.ref(emails[0]))
    lab.world.merge(lab.ref(emails[1]), contact)
    lab.points(emails[0], 1)
    report = lab.run()
    assert (report.sinks["crm"].updated, report.sinks["crm"].conflicts) == (1, 1)


def test_a_deleted_record_is_not_created_again(each_lab: Any) -> None:
    lab = each_lab
    lab.points(ADA, 90)
    lab.run()
    lab.world.delete(lab.ref(ADA))
    for _ in range(2):
        lab.later()
        lab.points(ADA, 5)
        report = lab.run()
        assert report.status == "done"
        assert report.sinks["crm"].skipped == {"deleted in the CRM": 1}
    assert lab.records(ADA) == []


def test_a_record_deleted_while_its_cursor_expired_is_not_created_again(lab: Any) -> None:
    """The CRM no longer tells of old deletions; a full read shows who is left."""
    emails = lab.crowd(3)
    lab.run()
    lab.world.delete(lab.ref(emails[0]))
    lab.world.expire_cursors()
    lab.later()
    for email in emails:
        lab.points(email, 5)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.updated, sink.created, sink.rejected) == ("done", 2, 0, 0)
    assert sink.skipped == {"deleted in the CRM": 1}


def test_a_record_that_comes_back_from_the_bin_is_written_again(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.run()
    ref, held = lab.ref(ADA), lab.held(ADA)
    lab.world.delete(ref)
    lab.run()
    lab.world._rows[ref].deleted = False
    lab.world.edit(ref, held)
    lab.points(ADA, 5)
    assert lab.sink().updated == 1
    assert lab.held(ADA)["Score"] == 55


def test_several_candidates_are_a_conflict_until_a_person_resolves_it(each_lab: Any) -> None:
    lab = each_lab
    one, two = (lab.world.put(name, {"Email": ADA}) for name in ("Lead", "Contact"))
    lab.points(ADA, 90)
    report = lab.run()
    sink = report.sinks["crm"]
    assert (report.status, sink.conflicts, sink.created, sink.updated, sink.tasks) == ("done", 1, 0, 0, 0)
    [conflict] = lab.conflicts()
    assert set(conflict.candidates) == {one, two}
    assert conflict.reason == "2 records have this email"
    assert lab.world.counters["write_calls"] == 0
    lab.later()
    lab.world.delete(one)
    sink = lab.sink()
    assert (sink.conflicts, sink.updated, sink.tasks, sink.members) == (0, 1, 1, 1)
    assert lab.conflicts() == []


@pytest.mark.parametrize("how", ["merge", "retype", "delete both"])
def test_a_conflict_disappears_however_it_was_resolved(lab: Any, how: str) -> None:
    one, two = (lab.world.put("Lead", {"Email": ADA}) for _ in range(2))
    lab.points(ADA, 50)
    assert lab.sink().conflicts == 1
    if how == "merge":
        lab.world.merge(one, two)
    elif how == "retype":
        lab.world.edit(one, {"Email": "another@acme.example"})
    else:
        lab.world.delete(one)
        lab.world.delete(two)
    sink = lab.sink()
    assert (sink.conflicts, lab.conflicts()) == (0, [])
    assert (sink.created, sink.updated) == ((1, 0) if how == "delete both" else (0, 1))


def test_a_record_that_is_another_persons_is_a_conflict(lab: Any) -> None:
    """Sales retyped the address of Ada's record into Eve's, whom we then meet."""
    lab.points(ADA, 50)
    lab.run()
    ref = lab.ref(ADA)
    lab.world.edit(ref, {"Email": EVE})
    lab.points(EVE, 90)
    sink = lab.sink()
    assert (sink.conflicts, sink.created) == (1, 0)
    [conflict] = lab.conflicts()
    assert (conflict.candidates, conflict.reason) == ((ref,), "the record with this email is another person's")
    assert lab.world.get(ref)["Key"] == lab.keys()[ADA]
    assert lab.world.get(ref)["Score"] == 50


def test_two_people_found_in_one_run_never_share_a_record(lab: Any) -> None:
    lab.world.email_fields = ("Email", "Company")
    ref = lab.world.put("Lead", {"Email": ADA, "Company": EVE})
    lab.points(ADA, 50)
    lab.points(EVE, 60)
    sink = lab.sink()
    assert (sink.updated, sink.conflicts, sink.created) == (1, 1, 0)
    assert lab.world.get(ref)["Key"] in lab.keys().values()


def test_a_lead_converted_to_where_no_sync_looks_is_not_created_again(make_world: Callable[..., Any]) -> None:
    """Only leads are synced; the person is in the CRM all the same. Salesforce keeps the address on such a lead."""
    host = make_world(("    also: [Contact]\n", ""), people=90).host()
    host.prepare("crm")
    simulator = host.simulation.running["crm"]
    converted = {row["Email"].lower() for row in simulator.rows("Lead") if row["IsConverted"]}
    report = host.run()
    assert report.sinks["crm"].skipped["now a Contact, where no sync looks"] == len(converted) > 0
    open_leads = {str(row["Email"]).lower() for row in simulator.rows("Lead") if not row["IsConverted"]}
    assert not open_leads & converted


def test_a_deleted_duplicate_is_followed_to_the_record_that_was_kept(lab: Any) -> None:
    """Sales kept the other one of two records; nobody told the CRM that they were the same."""
    lab.points(ADA, 50)
    lab.run()
    kept = lab.world.put("Contact", {"Email": ADA.upper(), "LastName": "King"})
    lab.world.delete(next(ref for ref in lab.records(ADA) if ref != kept))
    lab.points(ADA, 5)
    sink = lab.sink()
    assert (sink.created, sink.updated) == (0, 1)
    assert lab.world.get(kept)["Score"] == 55


def test_a_mapping_with_another_field_reads_anew_and_misses_no_deletion(lab: Any) -> None:
    emails = lab.crowd(2)
    lab.run()
    lab.world.delete(lab.ref(emails[0]))
    lab.fields["FirstName"] = {"from": "person.first_name", "owner": "shared", "policy": "only_if_empty"}
    lab.points(emails[0], 5)
    report = lab.run()
    assert (report.status, report.sinks["crm"].skipped) == ("done", {"deleted in the CRM": 1})


def test_a_read_that_breaks_off_takes_nothing_for_deleted(lab: Any) -> None:
    lab.world.page_size = 2
    emails = lab.crowd(7)
    lab.run()
    lab.world.expire_cursors()
    lab.world.fail_call("changes", TransientError("out of reach"), after=2, times=None)
    assert lab.run().exit_code == 1
    lab.world.heal()
    for email in emails:
        lab.points(email, 5)
    sink = lab.sink()
    assert (sink.updated, sink.skipped) == (7, {})


def test_people_who_turn_out_to_be_one_keep_one_record(each_lab: Any) -> None:
    """The record of the one who goes stays theirs: found by the merged person's key, it adopts the survivor's."""
    lab = each_lab
    lab.points(ADA, 50)
    lab.run()
    ref, old = lab.ref(ADA), lab.keys()[ADA]
    lab.points(EVE, 40)
    keys = lab.keys()
    assert keys[EVE] != old
    with lab.host() as host:
        merge_people(host, gone=host.person(ADA), survivor=host.person(EVE))
    sink = lab.sink()
    assert (sink.created, sink.updated, sink.conflicts) == (0, 1, 0)
    assert lab.world.get(ref)["Key"] == keys[EVE]
    assert lab.sink().changes == []


def test_a_merged_persons_key_finds_the_record_even_without_a_link(lab: Any) -> None:
    lab.points(ADA, 50)
    old = lab.keys()[ADA]
    ref = lab.world.put("Lead", {"Email": "someone@else.example", "Key": old})
    lab.points(EVE, 40)
    keys = lab.keys()
    with lab.host() as host:
        merge_people(host, gone=host.person(ADA), survivor=host.person(EVE))
    sink = lab.sink()
    assert (sink.created, sink.updated) == (0, 1)
    assert lab.world.get(ref)["Key"] == keys[EVE]


def merge_people(host: Any, *, gone: int, survivor: int) -> None:
    """Two people turn out to be one, as the ingest does it when an event names both."""
    with host.database.write() as connection:
        people.merge(connection, [(gone, survivor)])
        events.move_to_people(connection, [(gone, survivor)])


# Where a record goes, and what goes with it


def past(lab: Any, email: str = ADA) -> list[tuple[str, str]]:
    with lab.host() as host:
        told = host.explain(email).to_json()
    return [(f"{link['object']}/{link['id']}", link["why"]) for link in told["past"]]


def test_a_record_that_carries_another_living_persons_key_is_a_conflict(each_lab: Any) -> None:
    """Somebody typed Eve's address into a record that was Ada's once, and still bears her key."""
    lab = each_lab
    lab.points(ADA, 50)
    key = lab.keys()[ADA]
    ref = lab.world.put("Lead", {"Email": EVE, "Key": key})
    old = lab.world.put("Contact", {"Email": ADA, "Key": None})
    lab.points(EVE, 90)
    with lab.host() as host, host.database.write() as connection:
        crm.put_links(connection, "crm", [crm.Link(host.person(ADA), old, "decided")], 1)
    sink = lab.sink()
    assert (sink.conflicts, sink.created) == (1, 0)
    [conflict] = lab.conflicts()
    assert (conflict.reason, conflict.candidates) == ("the record with this email carries another person's key", (ref,))
    assert (lab.world.get(ref)["Key"], lab.world.get(ref)["Score"]) == (key, None)


def test_a_key_of_somebody_who_became_this_person_is_no_conflict(lab: Any) -> None:
    lab.points(ADA, 50)
    lab.points(EVE, 40)
    keys = lab.keys()
    ref = lab.world.put("Lead", {"Email": EVE, "Key": keys[ADA]})
    with lab.host() as host:
        merge_people(host, gone=host.person(ADA), survivor=host.person(EVE))
    assert lab.sink().conflicts == 0
    assert lab.world.get(ref)["Key"] == keys[EVE]


def test_the_history_of_a_person_says_which_records_they_were(each_lab: Any) -> None:
    lab = each_lab
    lab.points(ADA, 50)
    lab.run()
    lead = lab.ref(ADA)
    contact = lab.world.convert(lead)
    lab.later()
    lab.run()
    survivor = lab.world.put("Contact", {"Email": "ada@home.example"})
    lab.world.merge(contact, survivor)
    lab.later()
    lab.run()
    assert past(lab) == [
        (f"Lead/{lead.id}", f"converted to Contact/{contact.id}"),
        (f"Contact/{contact.id}", f"merged into Contact/{survivor.id}"),
    ]
    lab.run()
    assert len(past(lab)) == 2, "and it stands there once"


@pytest.mark.parametrize("when_deleted", ["leave", "create"])
def test_a_deleted_person_comes_back_only_where_the_sync_says_so(lab: Any, when_deleted: str) -> None:
    lab.sync["when_deleted"] = when_deleted
    lab.points(ADA, 90)
    lab.run()
    ref = lab.ref(ADA)
    lab.world.delete(ref)
    lab.later()
    for _ in range(2):
        report = lab.run()
    if when_deleted == "leave":
        assert (lab.records(ADA), past(lab)) == ([], [])
        assert report.sinks["crm"].skipped == {"deleted in the CRM": 1}
        return
    held = lab.held(ADA)
    assert (held["Score"], held["Key"]) == (90, lab.keys()[ADA])
    assert past(lab) == [(f"Lead/{ref.id}", "deleted")]
    assert lab.world.segments["Hot leads"] == {lab.ref(ADA)}
    lab.later()
    assert lab.sink().changes == []


def test_a_deleted_person_comes_back_by_the_rules_for_missing_ones(lab: Any) -> None:
    lab.sync["when_deleted"] = "create"
    lab.sync["create_if"] = {"score": "interest", "at_least": 70}
    lab.points(ADA, 90)
    lab.run()
    lab.world.delete(lab.ref(ADA))
    lab.points(ADA, -50)
    assert lab.sink().skipped == {"not in the CRM, and interest is below 70 (create_if)": 1}


def test_a_person_whose_lead_went_where_no_sync_looks_does_not_come_back_as_a_lead(lab: Any) -> None:
    lab.sync["when_deleted"] = "create"
    lab.sync["also"] = []
    lab.points(ADA, 90)
    lab.run()
    lab.world.convert(lab.ref(ADA))
    sink = lab.sink()
    assert (sink.created, sink.skipped) == (0, {"now a Contact, where no sync looks": 1})


def _shared(lab: Any, policy: str) -> None:
    lab.fields["LastName"] = {"from": "person.last_name", "owner": "shared", "policy": policy}


def test_our_value_stays_ours_when_the_lead_is_converted(lab: Any) -> None:
    _shared(lab, "human_wins")
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    contact = lab.world.convert(lab.ref(ADA))
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    assert lab.world.get(contact)["LastName"] == "Lovelace"


@pytest.mark.parametrize("typed", ["King", "Byron"], ids=["another value", "the same value"])
@pytest.mark.parametrize("policy", ["human_wins", "only_if_empty", "ask"])
def test_what_a_person_typed_into_the_survivor_stands_after_a_merge(lab: Any, policy: str, typed: str) -> None:
    _shared(lab, policy)
    lab.points(ADA, 50, last_name="Byron")
    survivor = lab.world.put("Lead", {"Email": "ada@home.example", "LastName": typed})
    lab.run()
    lab.later()
    lab.world.merge(lab.ref(ADA), survivor)
    lab.later()
    lab.points(ADA, 1, last_name="Lovelace")
    for _ in range(3):
        lab.run()
        lab.later()
    assert (lab.world.get(survivor)["LastName"], lab.world.get(survivor)["Score"]) == (typed, 51)


def test_an_open_question_goes_with_the_record_and_keeps_its_date(each_lab: Any) -> None:
    lab = each_lab
    _shared(lab, "ask")
    lab.points(ADA, 50, last_name="Byron")
    lab.run()
    lab.later()
    lab.world.edit(lab.ref(ADA), {"LastName": "King"})
    lab.points(ADA, 1, last_name="Lovelace")
    lab.run()
    [before] = lab.rows("undecided")
    contact = lab.world.convert(lab.ref(ADA))
    lab.later()
    lab.run()
    [after] = lab.rows("undecided")
    assert (after["object"], after["remote_id"]) == ("Contact", contact.id)
    assert (after["theirs"], after["ours"], after["since_us"]) == (before["theirs"], before["ours"], before["since_us"])
    assert lab.world.get(contact)["LastName"] == "King"


def test_open_tasks_stay_where_they_are_when_a_lead_is_converted(lab: Any) -> None:
    lab.points(ADA, 90)
    lab.run()
    [task] = lab.world.open_tasks()
    lab.world.convert(lab.ref(ADA))
    lab.later()
    lab.points(ADA, 1)
    lab.run()
    assert lab.world.open_tasks() == [task]


def test_a_lead_converted_while_we_write_leaves_no_dead_letter_behind(each_lab: Any) -> None:
    lab = each_lab
    emails = lab.crowd(3, points=90)
    lab.run()
    lead = lab.ref(emails[0])
    lab.later()
    for email in emails:
        lab.points(email, 5)
    call, converted = lab.world.call, []

    def convert_first(method: str, *given: Any, **more: Any) -> Any:
        if method == "upsert" and not converted:
            converted.append(lab.world.convert(lead))
        return call(method, *given, **more)

    lab.world.call = convert_first
    report = lab.run()
    assert (report.status, report.sinks["crm"].rejected) == ("rejected", 1)
    assert [letter.object for letter in lab.dead_letters().values()] == ["Lead"]
    lab.later()
    report = lab.run()
    assert (report.status, report.sinks["crm"].updated, lab.dead_letters()) == ("done", 1, {})
    assert lab.world.get(converted[0])["Score"] == 95
