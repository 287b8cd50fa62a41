"""What fails alone, what ends a read, and what joins late: pages share groups of the cursor (vendor sheet §1, §3)."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from syncline.errors import AuthError, ConnectorError, TransientError
from syncline.testing.population import simulated_now
from syncline.testing.simulator import Fault
from syncline_unbounce.cursor import Cursor, group_of

NOW = simulated_now()
FORBIDDEN = {"message": "Forbidden", "documentation": "https://api.unbounce.com/doc"}


def _leads_of(simulator, *pages):
    return {lead.id for page in pages for lead in simulator.world.pages[page].leads}


def _mates(simulator, monkeypatch):
    """Two pages with leads in one group of the cursor, the one read first ahead."""
    pages = sorted(id_ for id_, row in simulator.world.pages.items() if row.leads)[:2]
    monkeypatch.setattr("syncline_unbounce.reading.group_of", lambda page: "0" if page in pages else group_of(page))
    return list(pages)


def _failing(source, cursor=None):
    """Read until it fails: the keys, the last cursor, the error."""
    found, error = set(), None
    read = source.read("leads", cursor)
    while error is None:
        try:
            page = next(read)
        except ConnectorError as trouble:
            error = trouble
        else:
            found |= {raw.key for raw in page.records}
            cursor = page.cursor
    return found, cursor, error


def _forbid(simulator, page):
    simulator.faults = [Fault("status", on=f"*/pages/{page}/leads", status=403, body=FORBIDDEN, times=None)]


# Refusals


@pytest.mark.parametrize("login", ["settings", "oauth_settings"])
def test_a_refusal_of_one_page_does_not_pause_the_connection(simulator, connect, login):
    """403 is also "not allowed to do this" (vendor sheet §1): whether it is the page alone, one more call tells."""
    refused = next(id_ for id_, row in simulator.world.pages.items() if row.leads)
    _forbid(simulator, refused)
    found, _, error = _failing(connect(simulator, getattr(simulator, login)))
    assert found == _leads_of(simulator, *(set(simulator.world.pages) - {refused}))
    assert not isinstance(error, AuthError)
    assert refused in str(error)
    assert "403" in str(error)


def test_a_key_that_is_revoked_while_we_read_ends_the_read_at_once(simulator, connect):
    source = connect(simulator, page_size=1)
    read = source.read("leads", None)
    next(read)
    simulator.faults = [Fault("status", status=403, body=FORBIDDEN, times=None)]
    before = source.context.http.metrics.total
    with pytest.raises(AuthError):
        list(read)
    assert source.context.http.metrics.total - before == 2


# Pages of one group


@pytest.mark.parametrize("which", [0, 1], ids=["the first fails", "the second fails"])
def test_a_page_that_always_fails_keeps_none_of_its_group_from_being_read(simulator, connect, monkeypatch, which):
    mates = _mates(simulator, monkeypatch)
    broken = mates.pop(which)
    simulator.faults = [Fault("status", on=f"*/pages/{broken}/leads", status=422, times=None)]
    found, cursor, _ = _failing(connect(simulator))
    assert found == _leads_of(simulator, *(set(simulator.world.pages) - {broken}))
    for number in range(4):
        simulator.advance(timedelta(hours=1))
        late = simulator.submit(
            mates[0], {"email": f"n{number}@example.com"}, at=simulator.now() - timedelta(minutes=2)
        )
        found, cursor, _ = _failing(connect(simulator), cursor)
        assert late in found
    simulator.faults = []
    records = [raw for page in connect(simulator).read("leads", cursor) for raw in page.records]
    assert {raw.key for raw in records} >= _leads_of(simulator, broken)


@pytest.mark.parametrize("after", range(1, 9))
def test_a_page_that_fails_on_its_way_goes_on_where_it_failed(simulator, connect, pull, monkeypatch, after):
    """And loses nothing of its group, whichever of its calls fails."""
    _mates(simulator, monkeypatch)
    numbers = count(1)
    source = connect(simulator, page_size=7)
    call = source._client._listing

    def failing(path, name, query):
        if path.endswith("/leads") and next(numbers) == after:
            raise TransientError("weather")
        return call(path, name, query)

    monkeypatch.setattr(source._client, "_listing", failing)
    found, cursor, error = _failing(source)
    assert error.message == "weather"
    monkeypatch.setattr(source._client, "_listing", call)
    records, _ = pull(source, cursor)
    assert found | {raw.key for raw in records} == _leads_of(simulator, *simulator.world.pages)


def test_progress_in_a_large_page_outlives_a_failure(simulator, connect, pull):
    page = simulator.add_page("Large", "/large", at=NOW - timedelta(days=60))
    for minutes in range(200):
        simulator.submit(page, {"email": f"n{minutes}@example.com"}, at=NOW - timedelta(minutes=500 - minutes))
    source = connect(simulator, page_size=10)
    simulator.faults = [Fault("status", on=f"*/pages/{page}/leads", status=500, after=15, times=1)]
    _, cursor, _ = _failing(source)
    records, _ = pull(source, cursor)
    assert 0 < sum(raw.payload["lead"]["page_id"] == page for raw in records) < 100


# Pages that join


def test_a_page_that_comes_to_be_covered_is_read_from_its_start(simulator, connect, pull, monkeypatch):
    """By other settings or other rights. It may share its group with pages that were read up to now."""
    monkeypatch.setattr("syncline_unbounce.reading.group_of", lambda page: "0")
    one, cursor = pull(connect(simulator, sub_accounts="1552433"))
    simulator.advance(timedelta(hours=1))
    both, _ = pull(connect(simulator), cursor)
    assert {raw.key for raw in [*one, *both]} == _leads_of(simulator, *simulator.world.pages)


def test_a_new_page_does_not_have_its_group_read_again(simulator, connect, pull, monkeypatch):
    monkeypatch.setattr("syncline_unbounce.reading.group_of", lambda page: "0")
    _, cursor = pull(connect(simulator))
    simulator.advance(timedelta(hours=1))
    page = simulator.add_page("New", "/new", at=simulator.now() - timedelta(minutes=30))
    lead = simulator.submit(page, {"email": "new@example.com"}, at=simulator.now() - timedelta(minutes=5))
    records, cursor = pull(connect(simulator), cursor)
    assert [raw.key for raw in records] == [lead]
    assert list(Cursor.read(cursor, where="").groups) == ["0"]


def test_a_page_with_nothing_where_something_should_be_is_read_all_the_same(simulator, connect, pull):
    """Optional fields are left out, the contract says; one that is null must not keep all pages from being read."""
    page = next(id_ for id_, row in simulator.world.pages.items() if row.leads)
    listed = {"id": page, "name": None, "url": None, "sub_account_id": None, "tests": None, "created_at": None}
    body = {"pages": [listed], "metadata": {"count": None}}
    simulator.faults = [Fault("status", on="*/pages", status=200, body=body, times=None)]
    records, _ = pull(connect(simulator))
    assert {raw.key for raw in records} == _leads_of(simulator, page)
