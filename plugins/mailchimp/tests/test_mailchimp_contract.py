"""The connector keeps the contract that every source keeps."""

from __future__ import annotations

from datetime import timedelta

from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.contract import SourceContract
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_mailchimp import MailchimpConfig, MailchimpSource
from syncline_mailchimp.simulator import MailchimpSimulator


class TestMailchimp(SourceContract):
    def setup_method(self):
        self.now = simulated_now()
        self.simulator = MailchimpSimulator(SimulatorOptions(people=60, seed=3, clock=EPOCH))
        self.simulator.start()

    def teardown_method(self):
        self.simulator.stop()

    def connect(self, **settings):
        given = {**self.simulator.settings, "page_size": 25, **settings}
        given.pop("plugin")
        context = Context("newsletter", Http("newsletter"), lambda: self.now, {})
        return MailchimpSource(MailchimpConfig.model_validate(given), context)

    def connect_refused(self):
        return self.connect(api_key="feedfeedfeedfeedfeedfeedfeedfeed-us1")

    def happen(self):
        self.now += timedelta(hours=2)
        someone = next(iter(self.simulator.world.subscribers.values()))
        self.simulator.add_activity(
            someone.email, self.simulator.campaigns[-1], "open", self.now - timedelta(minutes=1)
        )

    def break_reading(self):
        self.simulator.faults.append(Fault("truncated", times=None))
