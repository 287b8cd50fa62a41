"""The connector keeps the contracts of every source and of every sink."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from syncline.model import RemoteRef, Value
from syncline.sdk import Context, Http, SimulatorOptions, WebhookRequest
from syncline.testing.contract import SinkContract, SourceContract, fields_of_every_kind
from syncline.testing.population import EPOCH, simulated_now
from syncline.testing.simulator import Fault
from syncline_mailchimp import MailchimpConfig, MailchimpConnector
from syncline_mailchimp.simulator import MailchimpSimulator
from syncline_mailchimp.simulator.webhooks import signed

HOOK = "https://hooks.example.com/in/newsletter"
SECRET = "whsec_0123456789abcdef0123456789abcdef01234567"
WRONG_KEY = "feedfeedfeedfeedfeedfeedfeedfeed-us1"


class _Account:
    """A simulated account, and connectors to it."""

    people = 60

    def setup_method(self) -> None:
        self._running: list[MailchimpSimulator] = []
        self.simulator = self._start(self.people)
        self.simulator.add_webhook(HOOK)["secret"] = SECRET

    def _start(self, people: int) -> MailchimpSimulator:
        simulator = MailchimpSimulator(SimulatorOptions(people=people, seed=3, clock=EPOCH))
        simulator.start()
        self._running.append(simulator)
        return simulator

    def teardown_method(self) -> None:
        for simulator in self._running:
            simulator.stop()

    def connect(self, **settings: Any) -> MailchimpConnector:
        given = {**self.simulator.settings, "page_size": 25, "signing_secret": SECRET, **settings}
        given.pop("plugin")
        context = Context("newsletter", Http("newsletter", sleep=lambda _: None), self.simulator.now, {})
        return MailchimpConnector(MailchimpConfig.model_validate(given), context)

    def connect_refused(self) -> MailchimpConnector:
        return self.connect(api_key=WRONG_KEY)

    def webhook(self) -> WebhookRequest:
        someone = next(one for one in self.simulator.world.subscribers.values() if one.status == "subscribed")
        self.simulator.unsubscribe(someone.email, None, self.simulator.now())
        [request] = self.simulator.due_webhooks()
        self.simulator.change_member(someone.email, self.simulator.now(), status="subscribed", reason=None)
        self.simulator.due_webhooks()
        return request

    def webhook_with(self, body: bytes) -> WebhookRequest:
        now = self.simulator.now()
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-mailchimp-signature": signed(SECRET, body, now),
        }
        return WebhookRequest("POST", "/in/newsletter", "", headers, body, now, HOOK)

    def end_session(self) -> None:
        self.simulator.expire_sessions()


class TestMailchimp(_Account, SourceContract):
    exempt: ClassVar[Mapping[str, str]] = {
        "test_an_empty_page_does_not_end_a_read": "pages are counted, not chained: an empty one before the announced "
        "total means that rows are missing, and the read fails rather than lose them",
    }

    def connect_empty(self) -> MailchimpConnector:
        self.simulator = self._start(0)
        return self.connect()

    def repeat_page_token(self) -> None:
        self.simulator.stuck = True

    def happen(self) -> None:
        self.simulator.advance(timedelta(hours=2))
        someone = next(iter(self.simulator.world.subscribers.values()))
        at = self.simulator.now() - timedelta(minutes=1)
        self.simulator.add_activity(someone.email, self.simulator.campaigns[-1], "open", at)

    def happen_both_ways(self) -> WebhookRequest:
        """The report and the webhook are a second apart, and the webhook knows neither title nor reason."""
        someone = next(one for one in self.simulator.world.subscribers.values() if one.status == "subscribed")
        at = simulated_now() - timedelta(minutes=3, seconds=20)
        self.simulator.unsubscribe(someone.email, self.simulator.campaigns[-1], at, "too many")
        [request] = self.simulator.due_webhooks()
        return request

    def break_reading(self) -> None:
        self.simulator.faults.append(Fault("truncated", times=None))


class TestMailchimpAsSink(_Account, SinkContract):
    exempt: ClassVar[Mapping[str, str]] = {
        "test_upsert_creates_once_and_then_updates": "whoever is not in the audience has not agreed to be: nobody is "
        "ever added",
        "test_our_own_write_is_known_as_ours": "Mailchimp does not say who changed a member",
        "test_changes_tell_who_edited": "Mailchimp does not say who changed a member",
        "test_each_field_tells_who_edited_it": "Mailchimp keeps no history of fields",
        "test_a_webhook_is_a_notice": "a connection that is read too gets events from its webhooks, not notices",
        "test_webhook_records_are_plain": "they are of the streams that poll the same facts, not of the object written",
        "test_a_record_that_lives_on_names_its_successor": "Mailchimp merges no members, and a new address keeps the "
        "contact id",
    }

    people = 5
    object = "member"
    match = "EMAIL"
    text_field = "COMPANY"
    opt_out_field = "unsubscribed"
    segment = "Lead caldo"
    format_fields = fields_of_every_kind("member", lambda word: f"KIT_{word.upper()}")
    creates = False

    def setup_method(self) -> None:
        super().setup_method()
        self.connect().prepare([], [self.segment])

    def match_value(self, key: str) -> str:
        return f"{key}@kit.example"

    def existing(self, key: str) -> RemoteRef:
        self.simulator.subscribe(self.match_value(key), self.simulator.now() - timedelta(days=1))
        return RemoteRef(self.object, self._somebody_called(key))

    def _somebody_called(self, key: str) -> str:
        people = self.simulator.world.subscribers.values()
        return next(one.contact_id for one in people if one.email == self.match_value(key))

    def _email(self, ref: RemoteRef) -> str:
        return self.simulator.world.subscribers[self.simulator.world.contacts[ref.id]].email

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        if fields.get(self.opt_out_field):
            self.simulator.unsubscribe(self._email(ref), None, self.simulator.now())
        else:
            self.simulator.change_fields(self._email(ref), self.simulator.now(), fields)

    def remove(self, ref: RemoteRef) -> None:
        self.simulator.archive(self._email(ref), self.simulator.now())

    def connect_unprepared(self) -> MailchimpConnector:
        self.simulator = self._start(0)
        self.__dict__.pop("_there", None)
        return self.connect()

    def break_calls(self) -> None:
        self.simulator.faults = [Fault("status", times=None, status=503)]

    def lose_connection(self, *, after: bool) -> None:
        self.simulator.faults = [Fault("drop_after" if after else "drop_before", on="PATCH *")]

    def write_calls(self) -> int:
        return self.simulator.counters().get("write_calls", 0)
