"""The connector keeps the contract that every source keeps, on a file and on a real MariaDB."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.contract import SourceContract
from syncline.testing.population import EPOCH
from syncline_mailpoet import MailPoetConfig, MailPoetSource
from syncline_mailpoet.simulator import MailPoetSimulator

from .conftest import execute
from .gate import Gate, packet

NO_TOKENS = "pages are asked for by the last row's id; there is no token"
NO_EMPTY_PAGE = "a page holds the next rows there are (LIMIT), so an empty one is the end"
NEVER_SAYS = "a MariaDB that is full does not say for how long; that it is RateLimitError, test_mailpoet_errors.py says"
NO_LOG_IN = "an SQLite file has no log-in and no server; TestMailPoetOnMariaDB says it"


class _Site:
    """What both kinds of database have in common."""

    server: dict[str, str] | None = None

    def begin(self):
        self.simulator = self._simulate(people=60)
        someone, other, third = self.simulator.emails[:3]
        self.simulator.bounce(someone)
        self.simulator.unsubscribe(other)
        self.simulator.submit_form(third)
        self.empty = self._simulate(people=0, prefix="wp_9_")

    def end(self):
        self.simulator.stop()
        self.empty.stop()

    def _simulate(self, people, **more):
        simulator = MailPoetSimulator(SimulatorOptions(people=people, seed=3, clock=EPOCH), server=self.server, **more)
        simulator.start()
        return simulator

    def source(self, **settings):
        given = {**self.simulator.settings, "page_size": 25, **settings}
        given.pop("plugin")
        context = Context("blog", Http("blog"), self.simulator.now, {}, Path())
        return MailPoetSource(MailPoetConfig.model_validate(given), context)

    def happen(self):
        self.simulator.advance(timedelta(hours=2))
        self.simulator.click(self.simulator.emails[0])

    def happen_both_ways(self):
        return self.webhook()

    def break_reading(self):
        self.simulator.break_reading()

    def webhook(self):
        return self.simulator.webhook(self.simulator.click(self.simulator.emails[1]))

    def webhook_with(self, body):
        return self.simulator.signed(body)


class TestMailPoetInAFile(_Site, SourceContract):
    exempt: ClassVar = {
        "test_a_page_token_that_comes_again_is_an_error": NO_TOKENS,
        "test_an_empty_page_does_not_end_a_read": NO_EMPTY_PAGE,
        "test_a_session_that_ends_is_renewed": NO_LOG_IN,
        "test_withdrawn_access_is_an_auth_error": NO_LOG_IN,
        "test_an_outage_is_weather": NO_LOG_IN,
        "test_a_request_to_slow_down_says_for_how_long": NEVER_SAYS,
        "test_trouble_is_not_tried_again": NO_LOG_IN,
    }

    def setup_method(self):
        self.refusing = Gate()
        self.refusing.says = packet(1045, "#28000Access denied for user 'reader'@'localhost' (using password: YES)")
        self.begin()

    def teardown_method(self):
        self.end()
        self.refusing.close()

    def connect(self):
        return self.source()

    def connect_refused(self):
        """A file cannot refuse; this is what a server says, byte by byte."""
        return self.source(file=None, host=self.refusing.host, user="reader", password="not-this-one", name="wordpress")

    def connect_empty(self):
        return self.source(**{name: self.empty.settings[name] for name in ("file", "prefix")})

    def be_down(self):
        """Nothing to break that a clause of this class would ask for."""


class TestMailPoetOnMariaDB(_Site, SourceContract):
    """As a user who may only SELECT, through a gate that can be shut."""

    exempt: ClassVar = {
        "test_a_page_token_that_comes_again_is_an_error": NO_TOKENS,
        "test_an_empty_page_does_not_end_a_read": NO_EMPTY_PAGE,
        "test_a_request_to_slow_down_says_for_how_long": NEVER_SAYS,
    }

    @pytest.fixture(autouse=True)
    def _database(self, mariadb):
        self.server = mariadb
        self.reader = f"r_{mariadb['name'][-12:]}"
        execute(f"CREATE USER {self.reader}@'127.0.0.1' IDENTIFIED BY 'reader-word'")
        execute(f"GRANT SELECT ON {mariadb['name']}.* TO {self.reader}@'127.0.0.1'")
        self.gate = Gate()
        self.begin()
        yield
        self.end()
        self.gate.close()
        execute(f"DROP USER IF EXISTS {self.reader}@'127.0.0.1'")

    def connect(self, **settings):
        return self.source(**{"host": self.gate.host, "user": self.reader, "password": "reader-word", **settings})

    def connect_refused(self):
        return self.connect(password="not-this-one")

    def connect_empty(self):
        return self.connect(prefix=self.empty.prefix)

    def be_down(self):
        self.gate.says = "nothing"

    def ask_to_slow_down(self, retry_after):
        self.gate.says = packet(1040, "#08004Too many connections")

    def failed_calls(self):
        return self.gate.turned_away

    def withdraw_access(self):
        execute(f"DROP USER {self.reader}@'127.0.0.1'")

    def end_session(self):
        execute(f"KILL USER {self.reader}@'127.0.0.1'")
