"""A refresh token that changed survives a kill at any moment: with what it grew out of it is kept in one value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncline.sdk import Context, Http
from syncline.store.database import Database
from syncline.store.keep import Keep
from syncline_salesforce.config import SalesforceConfig
from syncline_salesforce.login import fetch_token
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.tokens import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN


class KilledAfter(Keep):
    """A keep whose process dies right after the first assignment."""

    def __setitem__(self, name: str, value: str) -> None:
        super().__setitem__(name, value)
        raise KeyboardInterrupt


@pytest.fixture
def org() -> Iterator[SalesforceSimulator]:
    simulator = SalesforceSimulator()
    simulator.tokens.rotate = True
    simulator.start()
    yield simulator
    simulator.stop()


def log_in(org: SalesforceSimulator, keep: Keep) -> None:
    login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}
    config = SalesforceConfig.model_validate({"login": login, "login_url": org.url})
    http = Http("crm", sleep=lambda _: None)
    try:
        fetch_token(config, Context("crm", http, org.now, keep))
    finally:
        http.close()


def test_a_kill_right_after_the_new_token_was_kept_loses_nothing(org: SalesforceSimulator, tmp_path: Path) -> None:
    store = Database(f"sqlite:///{tmp_path}/state.db")
    with pytest.raises(KeyboardInterrupt):
        log_in(org, KilledAfter(store, "crm"))
    log_in(org, Keep(store, "crm"))
    assert len(Keep(store, "crm")) == 1
    store.close()
