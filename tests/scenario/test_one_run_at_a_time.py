"""One run at a time, for as long as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from syncline.errors import BusyError, ConfigError
from syncline.host import host as host_module
from syncline.host.lease import LEASE_TIME
from syncline.model import Outcome, Write, microseconds
from syncline.store import schema
from syncline.testing.memory import MemorySink, MemorySource


@pytest.mark.parametrize("command", ["run", "plan", "pull"])
def test_nothing_else_runs_beside_a_run(each_lab: Any, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    lab = each_lab
    lab.crowd(2)
    upsert = MemorySink.upsert
    refused: list[BusyError] = []

    def meanwhile(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        with lab.host() as second, pytest.raises(BusyError) as caught:
            getattr(second, command)()
        refused.append(caught.value)
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", meanwhile)
    assert lab.run().status == "done"
    assert len(refused) == 1
    assert len(lab.world.refs("Lead")) == 2


def test_a_run_whose_lease_was_taken_over_stops_before_the_next_batch(
    lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.limits = type(lab.limits)(upsert_batch=2, task_batch=2, member_batch=2)
    lab.crowd(6)
    upsert = MemorySink.upsert

    def taken_over(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        with lab.host() as other, other.database.write() as connection:
            connection.execute(update(schema.lease).values(owner="elsewhere:1:abcd"))
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", taken_over)
    with pytest.raises(BusyError, match="taken over"):
        lab.run()
    assert len(lab.world.refs("Lead")) == 2, "what was sent is recorded, nothing more is sent"
    assert len(lab.rows("acknowledged")) == 2


@pytest.mark.parametrize("reading", ["source", "CRM"])
def test_a_lease_is_renewed_while_much_is_read(lab: Any, monkeypatch: pytest.MonkeyPatch, reading: str) -> None:
    """Each page takes almost as long as a holder is believed that says nothing."""
    lab.world.page_size = 5
    moment = [lab.now]
    monkeypatch.setattr(host_module, "_wall_clock", lambda: moment[0])
    connector, method = (MemorySource, "read") if reading == "source" else (MemorySink, "changes")
    whole = getattr(connector, method)
    expiries: list[int] = []

    def slowly(*arguments: Any) -> Any:
        for page in whole(*arguments):
            [lease] = lab.rows("lease")
            expiries.append(lease["expires_us"] - microseconds(moment[0]))
            moment[0] += LEASE_TIME - timedelta(seconds=1)
            yield page

    monkeypatch.setattr(connector, method, slowly)
    lab.crowd(20)
    if reading == "CRM":
        for number in range(20):
            lab.world.put("Lead", {"Email": f"x{number}@acme.example"})
    assert lab.run().status == "done"
    assert len(expiries) >= 4
    assert min(expiries) > 0


def test_the_lease_is_told_in_wall_clock_time_not_in_simulated_time(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.now = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
    lab.crowd(1)
    seen = []
    upsert = MemorySink.upsert

    def watched(self: MemorySink, object: str, writes: Sequence[Write]) -> Sequence[Outcome]:
        seen.extend(lab.rows("lease"))
        return upsert(self, object, writes)

    monkeypatch.setattr(MemorySink, "upsert", watched)
    lab.run()
    assert seen[0]["expires_us"] > microseconds(lab.now + timedelta(days=365))


def test_an_unknown_source_or_sync_is_an_error_and_not_an_empty_run(lab: Any) -> None:
    with lab.host() as host:
        with pytest.raises(ConfigError, match="shopp"):
            host.pull("shopp")
        with pytest.raises(ConfigError, match="shop"):
            host.pull("crm")
        with pytest.raises(ConfigError, match="leeds"):
            host.plan(sync="leeds")
        with pytest.raises(ConfigError, match="leads"):
            host.run(sync="leeds")
