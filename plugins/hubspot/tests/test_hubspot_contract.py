"""The HubSpot sink keeps the contract of every sink, against its simulated account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from syncline.model import FieldSpec, RemoteRef, Value
from syncline.sdk import Context, Http, SimulatorOptions, WebhookRequest
from syncline.testing.contract import SinkContract, fields_of_every_kind
from syncline.testing.simulator import Fault
from syncline_hubspot import HubspotConfig, HubspotSink
from syncline_hubspot.simulator import HubspotSimulator
from syncline_hubspot.simulator.tokens import CLIENT_ID, CLIENT_SECRET
from syncline_hubspot.values import printed

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
URL = "https://bridge.example/hooks/crm?x=1"
KEY = FieldSpec("contacts", "syncline_key", "text", "Key", max_length=64, unique=True)


class TestHubspotSink(SinkContract):
    """Nothing is exempt. Logged in as an OAuth app, by the addresses of 2026-09."""

    object = "contacts"
    match = "syncline_key"
    text_field = "message"
    other_field = "jobtitle"
    opt_out_field = "hs_email_optout"
    always: ClassVar[Mapping[str, Value]] = {"lastname": "Rossi"}
    segment = "Lead caldo"
    format_fields = fields_of_every_kind("contacts", "kit_{}".format)
    settings: ClassVar[Mapping[str, Any]] = {}

    def setup_method(self) -> None:
        self._opened: list[Any] = []
        self.portal = self._start()
        sink = self.connect()
        sink.prepare([KEY, *sink.task_fields], [self.segment])

    def _start(self) -> HubspotSimulator:
        simulator = HubspotSimulator(SimulatorOptions(people=0, clock=NOW.isoformat()))
        simulator.start()
        self._opened.append(simulator)
        return simulator

    def teardown_method(self) -> None:
        for opened in reversed(self._opened):
            opened.close() if isinstance(opened, Http) else opened.stop()

    def account(self) -> Mapping[str, Any]:
        return self.portal.settings

    def connect(self, **settings: Any) -> HubspotSink:
        simulated = {name: value for name, value in self.account().items() if name != "plugin"}
        config = HubspotConfig.model_validate({**simulated, **self.settings, **settings})
        http = Http("crm", sleep=lambda _: None)
        self._opened.append(http)
        return HubspotSink(config, Context("crm", http, self.portal.now, {}))

    def connect_refused(self) -> HubspotSink:
        login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": "no-longer-valid"}
        return self.connect(login=login)

    def connect_unprepared(self) -> HubspotSink:
        self.portal = self._start()
        return self.connect()

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        """Opting out is of an address."""
        address = {"email": f"{ref.id}@kit.example"} if self.opt_out_field in fields else {}
        if address:
            self.portal.human_edit(ref.object, ref.id, **address)
        self.portal.human_edit(ref.object, ref.id, **{name: printed(value) for name, value in fields.items()})

    def remove(self, ref: RemoteRef) -> None:
        self.portal.delete_record(ref.object, ref.id)

    def finish_task(self, ref: RemoteRef) -> None:
        self.portal.human_edit(ref.object, ref.id, hs_task_status="COMPLETED")

    def task_is_open(self, ref: RemoteRef) -> bool:
        open_now = (row for row in self.portal.rows("tasks") if row["hs_task_status"] != "COMPLETED")
        return ref.id in {row["hs_object_id"] for row in open_now}

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        other = self.portal.human_create(ref.object, lastname="Bianchi")
        return RemoteRef(ref.object, self.portal.merge(ref.object, other, ref.id))

    def break_calls(self) -> None:
        self.portal.faults = [Fault("html", times=None, status=502)]

    def lose_connection(self, *, after: bool) -> None:
        """The connection is closed before the server answers; only the simulator knows whether it had read on."""
        self.portal.faults = [Fault("drop_after" if after else "drop_before", on="* */batch/*")]

    def ask_to_slow_down(self, retry_after: timedelta | None) -> None:
        seconds = retry_after.total_seconds() if retry_after else 0.0
        self.portal.faults = [Fault("too_many", times=None, seconds=seconds)]

    def end_session(self) -> None:
        self.portal.expire_sessions()

    def write_calls(self) -> int:
        return self.portal.counters().get("write_calls", 0)

    def webhook(self) -> WebhookRequest:
        self.portal.human_create("contacts", lastname="Verdi")
        return self.portal.notices.requests(URL)[0]

    def webhook_with(self, body: bytes) -> WebhookRequest:
        return self.portal.notices.signed_body(URL, body)


class TestHubspotSinkByKey(TestHubspotSink):
    """With a service key, by the addresses of v3, and with a merge that keeps the winner's id."""

    settings: ClassVar[Mapping[str, Any]] = {"api": "v3"}

    def setup_method(self) -> None:
        super().setup_method()
        self.portal.portal.merge_keeps_winner = True

    def account(self) -> Mapping[str, Any]:
        return self.portal.key_settings

    def connect_refused(self) -> HubspotSink:
        return self.connect(login={"token": "pat-eu1-no-longer-valid"})


class TestHubspotSinkOfMarch(TestHubspotSink):
    """By the addresses of 2026-03, which answer a mixed batch with 207."""

    settings: ClassVar[Mapping[str, Any]] = {"api": "2026-03"}
