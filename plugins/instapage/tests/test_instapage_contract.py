"""The connector keeps the contract that every source keeps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.contract import SourceContract
from syncline.testing.population import EPOCH
from syncline.testing.simulator import Fault
from syncline_instapage import InstapageConfig, InstapageSource
from syncline_instapage.simulator import InstapageSimulator, Switches
from syncline_instapage.simulator.world import DEMO


class TestInstapage(SourceContract):
    exempt: ClassVar[Mapping[str, str]] = {
        "test_webhook_rejects_tampering": "Instapage signs nothing; a secret in the address proves the sender, not the"
        " body (test_instapage_webhook.py has what is refused)",
        "test_webhook_rejects_an_old_timestamp": "no time is signed: whoever knows the secret can write any",
        "test_a_session_that_ends_is_renewed": "a personal token has no sessions",
    }

    def setup_method(self):
        self.simulator = InstapageSimulator(SimulatorOptions(people=400, seed=3, clock=EPOCH))
        self.simulator.start()

    def teardown_method(self):
        self.simulator.stop()

    def connect(self, **settings):
        given = {**self.simulator.settings, "page_visits": True, "window": "45d", **settings}
        given.pop("plugin")
        context = Context("leads", Http("leads", sleep=lambda _: None), self.simulator.now, {})
        return InstapageSource(InstapageConfig.model_validate(given), context)

    def connect_refused(self):
        return self.connect(token="feedfeedfeedfeedfeedfeed")

    def happen(self):
        self.simulator.advance(timedelta(hours=2))
        at = self.simulator.now() - timedelta(minutes=3)
        self.simulator.submit(DEMO, {"Enter Email Address": "new@example.com"}, at)

    def break_reading(self):
        self.simulator.faults = [Fault("truncated", times=None)]

    def webhook(self):
        return self.simulator.webhook(next(iter(self.simulator.submissions)))

    def happen_both_ways(self):
        at = self.simulator.now() - timedelta(hours=1)
        answers = {"Enter Email Address": "Both@Example.com", "neighborhood ": "Isola", "First Name": "Ada"}
        return self.simulator.webhook(self.simulator.submit(DEMO, answers, at), style="php", swapped=True)

    def connect_empty(self):
        for submission in list(self.simulator.submissions):
            self.simulator.vanish(submission)
        return self.connect()

    def empty_page(self):
        self.simulator.switches = Switches(empty_answers=True)

    def repeat_page_token(self):
        self.simulator.switches = Switches(same_token=True)
