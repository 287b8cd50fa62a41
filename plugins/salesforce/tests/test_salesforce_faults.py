"""The fault language, in Salesforce's words: what each fault looks like to the host."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from syncline.errors import RateLimitError
from syncline.model import Status, Write
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator


def leads(count: int) -> list[Write]:
    fields = {"LastName": "R", "Company": "C"}
    return [
        Write(f"p{n}", ("Syncline_Key__c", f"key-{n}"), {**fields, "Email": f"p{n}@x.example"}) for n in range(count)
    ]


@pytest.mark.parametrize("count", [4, 204], ids=["collections", "bulk"])
def test_single_records_are_refused_or_locked(sink: SalesforceSink, org: SalesforceSimulator, count: int) -> None:
    org.faults = [Fault("refuse", key="p1@*", times=None), Fault("lock", key="key-2", times=1)]
    outcomes = sink.upsert("Lead", leads(count))
    told = {o.key: (o.status, o.code) for o in outcomes if o.status is not Status.CREATED}
    assert told == {
        "p1": (Status.REJECTED, "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
        "p2": (Status.RETRY, "UNABLE_TO_LOCK_ROW"),
    }
    assert sink.upsert("Lead", [leads(3)[2]])[0].status is Status.CREATED


def test_too_many_and_used_up_are_told_apart(
    open_sink: Callable[..., SalesforceSink], sink: SalesforceSink, org: SalesforceSimulator
) -> None:
    """Soon again, or not today: a run goes on after the one and stops at the other."""
    waits = []
    for fault in (Fault("too_many", on="PATCH *"), Fault("quota", on="PATCH *", seconds=3600)):
        org.faults = [fault]
        with pytest.raises(RateLimitError) as caught:
            open_sink().upsert("Lead", leads(1))
        waits.append(caught.value.retry_after)
    soon, long = waits
    assert soon is None or soon < timedelta(minutes=5)
    assert long is not None
    assert long > timedelta(minutes=5)


def test_a_session_that_ends_in_the_middle_is_renewed(sink: SalesforceSink, org: SalesforceSimulator) -> None:
    sink.check()
    org.faults = [Fault("expiry", on="PATCH *")]
    assert [o.status for o in sink.upsert("Lead", leads(2))] == [Status.CREATED] * 2
