"""The Zoho sink keeps the contract of every sink, against its simulated account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from syncline.model import FieldSpec, RemoteRef, Value
from syncline.sdk import Context, Http, SimulatorOptions, WebhookRequest
from syncline.testing.contract import SinkContract, fields_of_every_kind
from syncline.testing.simulator import Fault
from syncline_zoho import ZohoConfig, ZohoSink
from syncline_zoho.simulator import ZohoSimulator

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
KEY = FieldSpec("Leads", "Syncline_Key", "text", "Key", max_length=64, unique=True)
NOTIFY = {"notify_url": "https://hooks.sync.example/zoho/secret-path", "notify_token": "only-zoho-knows"}


class TestZohoSink(SinkContract):
    """Exempt is only what Zoho does not offer: it signs nothing."""

    exempt: ClassVar[Mapping[str, str]] = {
        "test_each_field_tells_who_edited_it": "a timeline costs a call for each record, so it is read only where "
        "`field_history` asks for it; TestZohoSinkWithHistory does",
        "test_webhook_rejects_tampering": "no signature is offered; a notice proves itself by its token, and is only a "
        "reason to read what changed",
        "test_webhook_rejects_an_old_timestamp": "no time is signed: who has heard a notice has its token, and can "
        "write any time beside it",
    }
    object = "Leads"
    match = "Syncline_Key"
    text_field = "Description"
    always: ClassVar[Mapping[str, Value]] = {"Last_Name": "Rossi", "Company": "Acquario S.p.A."}
    segment = "Lead caldo"
    other_field = "City"
    opt_out_field = "Email_Opt_Out"
    history: ClassVar[int] = 0
    format_fields = fields_of_every_kind("Leads", "Kit_{}".format)

    def setup_method(self) -> None:
        self._opened: list[Any] = []
        self.crm, self.keep = self._start()
        sink = self.connect()
        sink.prepare([KEY, *sink.task_fields], [self.segment])
        self.crm.page_size = 7

    def _start(self) -> tuple[ZohoSimulator, dict[str, str]]:
        simulator = ZohoSimulator(SimulatorOptions(people=0, clock=NOW.isoformat()))
        simulator.start()
        self._opened.append(simulator)
        return simulator, {}

    def teardown_method(self) -> None:
        for opened in reversed(self._opened):
            opened.close() if isinstance(opened, Http) else opened.stop()

    def connect(self, keep: dict[str, str] | None = None, **settings: Any) -> ZohoSink:
        simulated = {name: value for name, value in self.crm.settings.items() if name != "plugin"}
        config = ZohoConfig.model_validate({**simulated, **NOTIFY, "field_history": self.history, **settings})
        http = Http("crm", sleep=lambda _: None)
        self._opened.append(http)
        return ZohoSink(config, Context("crm", http, self.crm.now, self.keep if keep is None else keep))

    def connect_refused(self) -> ZohoSink:
        return self.connect(refresh_token="1000.no-longer.valid")

    def connect_unprepared(self) -> ZohoSink:
        self.crm, self.keep = self._start()
        return self.connect()

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        self.crm.human_edit(ref.object, ref.id, **fields)

    def remove(self, ref: RemoteRef) -> None:
        self.crm.delete_record(ref.object, ref.id)

    def finish_task(self, ref: RemoteRef) -> None:
        self.crm.human_edit(ref.object, ref.id, Status="Completed")

    def task_is_open(self, ref: RemoteRef) -> bool:
        return any(row["id"] == ref.id and row["Status"] != "Completed" for row in self.crm.rows("Tasks"))

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        return RemoteRef("Contacts", self.crm.convert_lead(ref.id))

    def break_calls(self) -> None:
        self.crm.faults = [Fault("status", times=None, status=503)]

    def lose_connection(self, *, after: bool) -> None:
        """Before or after one of the calls that write: the connection is closed without an answer."""
        self.crm.faults = [Fault("drop_after" if after else "drop_before", on="P* /crm/v8/[LT]*")]

    def end_session(self) -> None:
        self.crm.expire_sessions()

    def write_calls(self) -> int:
        return self.crm.counters().get("write_calls", 0)

    def webhook(self) -> WebhookRequest:
        self.crm.human_create(self.object, Last_Name="Notice", Company="Acme")
        return self.crm.notices()[-1]


class TestZohoSinkWithHistory(TestZohoSink):
    """Asking the timelines who changed which field."""

    exempt: ClassVar = {name: why for name, why in TestZohoSink.exempt.items() if "each_field" not in name}
    test_each_field_tells_who_edited_it = SinkContract.test_each_field_tells_who_edited_it
    history = 100


class TestZohoSinkOfAnotherTemper(TestZohoSink):
    """What could not be verified, the other way round: the connector keeps the contract all the same."""

    def setup_method(self) -> None:
        super().setup_method()
        self._turn()

    def connect_unprepared(self) -> ZohoSink:
        sink = super().connect_unprepared()
        self._turn()
        return sink

    def _turn(self) -> None:
        switches, rules = self.crm.switches, self.crm.crm.rules
        switches.limit_code, switches.not_modified, switches.coql_most = "RATE_LIMIT_EXCEEDED", 204, 2_000
        switches.offset_tokens = switches.converted_shown = switches.tags_as_words = True
        rules.refuse_unknown_fields = rules.refuse_read_only = rules.accept_z = True
        rules.layout_rules = rules.picklists_enforced = False
        rules.converted_code = "INVALID_DATA"
