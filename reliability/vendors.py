"""The three CRMs in one vocabulary: what a simulator holds of people, tasks and memberships, by its own books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CRMS", "SEGMENT", "Crm", "Record", "Task"]

SEGMENT: Final = "Hot leads"


@dataclass(frozen=True, slots=True)
class Record:
    """A living record of a person. `emails` are in lower case; `band` is empty for none."""

    id: str
    key: str
    emails: tuple[str, ...]
    score: float | None
    band: str
    hot: bool


@dataclass(frozen=True, slots=True)
class Task:
    """A task of ours: its key, the record it is about, and what it says."""

    key: str
    about: str
    subject: str
    due: str


@dataclass(frozen=True, slots=True)
class Crm:
    """How one CRM calls things, and where its simulator keeps them.

    `batch` is how many records one call carries (the sink's own limits say so, with their source).
    """

    kind: str
    batch: int
    objects: tuple[str, ...]
    match: str
    task_object: str
    fields: Mapping[str, str]
    """Our word → the CRM's field."""
    records: Callable[[Crm, Any], list[Record]]
    tasks: Callable[[Crm, Any], list[Task]]
    members: Callable[[Any], Counter[str]]
    """Record id → how often it is in the segment."""
    writes: Mapping[str, tuple[str, ...]]
    """Operation → the addresses (`METHOD path`, as in the fault language) of the calls that carry it out."""
    counted: tuple[str, ...]
    """The simulator's counters that grow with what is made, not with what is asked for."""
    operation: Callable[[Any], str]
    """The operation that a request to the simulator carries out: upsert, task, add or remove; empty for none."""


def _salesforce_records(crm: Crm, simulator: Any) -> list[Record]:
    rows = [row for name in crm.objects for row in simulator.rows(name) if not row.get("IsConverted")]
    return [_record(crm, row, row["Id"], (row.get("Email"),)) for row in rows]


def _salesforce_tasks(_: Crm, simulator: Any) -> list[Task]:
    return [
        Task(row["Syncline_Key__c"], row["WhoId"], row["Subject"], row["ReminderDateTime"])
        for row in simulator.rows("Task")
    ]


def _salesforce_members(simulator: Any) -> Counter[str]:
    return Counter(row.get("LeadId") or row.get("ContactId") for row in simulator.rows("CampaignMember"))


def _salesforce_operation(request: Any) -> str:
    """Tasks and campaign members go to one address; the records in the body say which they are."""
    if "/composite/sobjects" not in request.path:
        return ""
    if request.method == "POST":
        return "add" if b'"CampaignMember"' in request.get_data() else "task"
    return {"PATCH": "upsert", "DELETE": "remove"}.get(str(request.method), "")


def _hubspot_records(crm: Crm, simulator: Any) -> list[Record]:
    found = []
    for row in simulator.rows("contacts"):
        emails = (row.get("email"), *(row.get("hs_additional_emails") or "").split(";"))
        found.append(_record(crm, row, row["hs_object_id"], emails))
    return found


def _hubspot_tasks(_: Crm, simulator: Any) -> list[Task]:
    tasks = []
    for row in simulator.portal.tables["tasks"].values():
        held, [about] = row["properties"], row["associations"]
        tasks.append(Task(held["syncline_task_key"], about["id"], held["hs_task_subject"], held["hs_timestamp"]))
    return tasks


def _hubspot_members(simulator: Any) -> Counter[str]:
    return Counter(simulator.members_of(SEGMENT))


def _hubspot_operation(request: Any) -> str:
    path = request.path
    if "/contacts/batch/up" in path:  # upsert, update
        return "upsert"
    if path.endswith("/tasks/batch/create"):
        return "task"
    return str(path.rpartition("/")[2]) if "/memberships/" in path else ""


def _zoho_records(crm: Crm, simulator: Any) -> list[Record]:
    rows = [row for name in crm.objects for row in simulator.rows(name) if not row.get("Converted__s")]
    return [_record(crm, row, row["id"], (row.get("Email"),)) for row in rows]


def _zoho_tasks(_: Crm, simulator: Any) -> list[Task]:
    tasks = []
    for row in simulator.rows("Tasks"):
        about = row.get("Who_Id") or row.get("What_Id")
        tasks.append(Task(row["Syncline_Key"], about["id"], row["Subject"], row["Due_Date"]))
    return tasks


def _zoho_members(simulator: Any) -> Counter[str]:
    rows = [row for name in ("Leads", "Contacts") for row in simulator.rows(name)]
    tagged = [row for row in rows if not row.get("Converted__s")]
    return Counter(row["id"] for row in tagged for tag in row["Tag"] if tag["name"] == SEGMENT)


def _zoho_operation(request: Any) -> str:
    path: list[str] = ["", *str(request.path).split("/")]
    module, last = path[-2:]
    if last in ("add_tags", "remove_tags"):
        return last.removesuffix("_tags")
    if request.method not in ("POST", "PUT"):
        return ""
    if last == "Tasks":
        return "task"
    return "upsert" if last in ("Leads", "Contacts") or module in ("Leads", "Contacts") else ""


def _record(crm: Crm, row: Mapping[str, Any], id: str, emails: tuple[str | None, ...]) -> Record:
    score, hot = row.get(crm.fields["score"]), row.get(crm.fields["hot"])
    return Record(
        id=id,
        key=row.get(crm.match) or "",
        emails=tuple(email.lower() for email in emails if email),
        score=None if score in (None, "") else float(score),
        band=row.get(crm.fields["band"]) or "",
        hot=hot is True or hot == "true",
    )


CRMS: Final[Mapping[str, Crm]] = {
    "salesforce": Crm(
        kind="salesforce",
        batch=200,
        objects=("Lead", "Contact"),
        match="Syncline_Key__c",
        task_object="Task",
        fields={
            "score": "Lead_Score__c",
            "band": "Lead_Band__c",
            "hot": "Hot_Lead__c",
            "address": "Email",
            "first_name": "FirstName",
            "last_name": "LastName",
            "company": "Company",
        },
        records=_salesforce_records,
        tasks=_salesforce_tasks,
        members=_salesforce_members,
        writes={
            "upsert": ("PATCH */composite/sobjects*",),
            "task": ("POST */composite/sobjects",),
            "add": ("POST */composite/sobjects",),
            "remove": ("DELETE */composite/sobjects",),
        },
        counted=("tasks", "members"),
        operation=_salesforce_operation,
    ),
    "hubspot": Crm(
        kind="hubspot",
        batch=100,
        objects=("contacts",),
        match="syncline_key",
        task_object="tasks",
        fields={
            "score": "lead_score",
            "band": "lead_band",
            "hot": "hot_lead",
            "address": "email",
            "first_name": "firstname",
            "last_name": "lastname",
            "company": "company",
        },
        records=_hubspot_records,
        tasks=_hubspot_tasks,
        members=_hubspot_members,
        writes={
            "upsert": ("POST */contacts/batch/up*",),
            "task": ("POST */tasks/batch/create",),
            "add": ("PUT */memberships/add",),
            "remove": ("PUT */memberships/remove",),
        },
        counted=("tasks", "members"),
        operation=_hubspot_operation,
    ),
    "zoho": Crm(
        kind="zoho",
        batch=100,
        objects=("Leads", "Contacts"),
        match="Syncline_Key",
        task_object="Tasks",
        fields={
            "score": "Lead_Score",
            "band": "Lead_Band",
            "hot": "Hot_Lead",
            "address": "Email",
            "first_name": "First_Name",
            "last_name": "Last_Name",
            "company": "Company",
        },
        records=_zoho_records,
        tasks=_zoho_tasks,
        members=_zoho_members,
        writes={
            "upsert": ("P* */crm/v8/Leads", "P* */crm/v8/Contacts", "POST */crm/v8/*/upsert"),
            "task": ("POST */crm/v8/Tasks",),
            "add": ("POST */actions/add_tags",),
            "remove": ("POST */actions/remove_tags",),
        },
        counted=("tasks",),  # tagging a tagged record is counted too
        operation=_zoho_operation,
    ),
}
