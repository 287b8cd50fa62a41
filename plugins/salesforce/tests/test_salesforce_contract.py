"""The Salesforce sink keeps the contract of every sink, against its simulated org."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from syncline.model import FieldSpec, RemoteRef, Value
from syncline.sdk import Context, Http, SimulatorOptions
from syncline.testing.contract import SinkContract, fields_of_every_kind
from syncline.testing.simulator import Fault
from syncline_salesforce import SalesforceConfig, SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator
from syncline_salesforce.simulator.tokens import CLIENT_ID

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)
KEY = FieldSpec("Lead", "Syncline_Key__c", "text", "Key", max_length=64, unique=True)
REQUEST_LIMIT = "TotalRequests Limit exceeded."


class TestSalesforceSink(SinkContract):
    """Nothing is exempt: in this org field history is on, and the opt-out field shown to us."""

    object = "Lead"
    match = "Syncline_Key__c"
    text_field = "Description"
    other_field = "Title"
    opt_out_field = "HasOptedOutOfEmail"
    always: ClassVar[Mapping[str, Value]] = {"LastName": "Rossi", "Company": "Acquario S.p.A."}
    segment = "Lead caldo"
    format_fields = fields_of_every_kind("Lead", "Kit_{}__c".format)

    def setup_method(self) -> None:
        self._opened: list[Any] = []
        self.org = self._start()
        sink = self.connect()
        sink.prepare([KEY, *sink.task_fields], [self.segment])
        self.org.page_size = 2

    def _start(self) -> SalesforceSimulator:
        simulator = SalesforceSimulator(SimulatorOptions(people=0, clock=NOW.isoformat()))
        simulator.start()
        simulator.org.track("Lead", "Description", "Title")
        simulator.org.show("Lead", "HasOptedOutOfEmail")
        self._opened.append(simulator)
        return simulator

    def teardown_method(self) -> None:
        for opened in reversed(self._opened):
            opened.close() if isinstance(opened, Http) else opened.stop()

    def connect(self, **settings: Any) -> SalesforceSink:
        simulated = {name: value for name, value in self.org.settings.items() if name != "plugin"}
        config = SalesforceConfig.model_validate({**simulated, **settings})
        http = Http("crm", sleep=lambda _: None)
        self._opened.append(http)
        return SalesforceSink(config, Context("crm", http, self.org.now, {}))

    def connect_refused(self) -> SalesforceSink:
        return self.connect(login={"client_id": CLIENT_ID, "client_secret": "no-longer-valid", "domain": "acme"})

    def connect_unprepared(self) -> SalesforceSink:
        self.org = self._start()
        return self.connect()

    def edit(self, ref: RemoteRef, fields: Mapping[str, Value]) -> None:
        self.org.human_edit(ref.object, ref.id, **fields)

    def remove(self, ref: RemoteRef) -> None:
        self.org.delete_record(ref.object, ref.id)

    def finish_task(self, ref: RemoteRef) -> None:
        self.org.human_edit("Task", ref.id, Status="Completed")

    def task_is_open(self, ref: RemoteRef) -> bool:
        return any(row["Id"] == ref.id and not row["IsClosed"] for row in self.org.rows("Task"))

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        return RemoteRef("Contact", self.org.convert_lead(ref.id))

    def break_calls(self) -> None:
        self.org.faults = [Fault("status", times=None, status=503)]

    def lose_connection(self, *, after: bool) -> None:
        """The connection is closed before the server answers; only the simulator knows whether it had read on."""
        self.org.faults = [Fault("drop_after" if after else "drop_before", on="* */composite/*")]

    def ask_to_slow_down(self, retry_after: timedelta | None) -> None:
        headers = {"Retry-After": str(int(retry_after.total_seconds()))} if retry_after else {}
        self.org.faults = [Fault("status", times=None, status=429, headers=headers)]

    def end_session(self) -> None:
        self.org.expire_sessions()

    def write_calls(self) -> int:
        return self.org.counters().get("write_calls", 0)


class TestSalesforceSinkWithMerges(TestSalesforceSink):
    """A merge instead of a conversion, in an org that keeps no field history."""

    exempt: ClassVar[Mapping[str, str]] = {
        "test_each_field_tells_who_edited_it": "the history of leads is switched off in this org: only of the whole "
        "record is it known who changed it last",
    }

    def _start(self) -> SalesforceSimulator:
        simulator = super()._start()
        simulator.org.track("Lead")
        return simulator

    def succeed(self, ref: RemoteRef) -> RemoteRef:
        survivor = self.org.human_create(ref.object, LastName="Bianchi", Company="Acme")
        self.org.merge(ref.object, survivor, ref.id)
        return RemoteRef(ref.object, survivor)
