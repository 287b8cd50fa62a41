"""The connector keeps the contract that every source keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.contract import SourceContract
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_unbounce import UnbounceConfig, UnbounceSource
from syncline_unbounce.simulator import Switches, UnbounceSimulator


class TestUnbounce(SourceContract):
    exempt: ClassVar = {
        "test_webhook_rejects_tampering": "no signature is offered; the secrets are in the URL and in a header",
        "test_webhook_rejects_an_old_timestamp": "nothing is signed; a late repetition is the same event, and no harm",
        "test_an_empty_page_does_not_end_a_read": "there are no page tokens: an answer without rows is the end",
        "test_a_session_that_ends_is_renewed": "an API key has no sessions; the class below has them",
    }

    def setup_method(self):
        self.simulator = UnbounceSimulator(SimulatorOptions(people=120, seed=3, clock=EPOCH))
        self.simulator.start()

        self.empty = UnbounceSimulator(SimulatorOptions(people=0, seed=3, clock=EPOCH))
        self.empty.start()

    def teardown_method(self):
        self.simulator.stop()
        self.empty.stop()

    def connect_empty(self):
        return self.connect(base_url=self.empty.url)

    def repeat_page_token(self):
        self.simulator.switches = Switches(ignores_from=True)

    def happen_both_ways(self):
        self.happen()
        return self.simulator.webhook(self.lead)

    def connect(self, **settings):
        given = {**self.simulator.settings, "page_size": 5, **settings}
        given.pop("plugin")
        http = Http("landing", sleep=lambda _: None)
        return UnbounceSource(UnbounceConfig.model_validate(given), Context("landing", http, self.simulator.now, {}))

    def connect_refused(self):
        return self.connect(login={"api_key": "nobody's key"})

    def happen(self):
        self.simulator.advance(timedelta(hours=2))
        page = next(iter(self.simulator.world.pages))
        self.lead = self.simulator.submit(
            page, {"email": "new@example.com"}, at=self.simulator.now() - timedelta(minutes=1)
        )

    def break_reading(self):
        self.simulator.faults = [Fault("truncated", times=None)]

    def webhook(self):
        page = next(iter(self.simulator.world.pages))
        lead = self.simulator.submit(page, {"email": "new@example.com"}, at=simulated_now())
        return self.simulator.webhook(lead)


class TestUnbounceByOAuth(TestUnbounce):
    """The same by tokens, which end after ten minutes."""

    exempt: ClassVar = {name: why for name, why in TestUnbounce.exempt.items() if "session" not in name}
    test_a_session_that_ends_is_renewed = SourceContract.test_a_session_that_ends_is_renewed

    def setup_method(self):
        super().setup_method()
        self.kept = {}

    def connect(self, **settings):
        given = {**self.simulator.oauth_settings, "page_size": 5, **settings}
        if given["base_url"] == self.empty.url:
            return super().connect(**settings)
        given.pop("plugin")
        http = Http("landing", sleep=lambda _: None)
        return UnbounceSource(
            UnbounceConfig.model_validate(given), Context("landing", http, self.simulator.now, self.kept)
        )

    def connect_refused(self):
        login = {**self.simulator.oauth_settings["login"], "refresh_token": "nobody's token"}
        return self.connect(login=login)

    def end_session(self):
        self.simulator.expire_sessions()
