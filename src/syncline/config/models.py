"""What may stand in connectors.yaml. Every description is also the editor's tooltip and part of the messages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from syncline.config._messages import Misplaced
from syncline.config._times import CronText, TimeZone
from syncline.errors import did_you_mean
from syncline.model import Origin
from syncline.model.duration import parse_duration

__all__ = [
    "ALERT_KINDS",
    "OWN_SETTINGS",
    "TASK_TEXTS",
    "ActionConfig",
    "AlertKind",
    "Alerts",
    "BudgetConfig",
    "Classify",
    "ClassifyRules",
    "Config",
    "ConnectionConfig",
    "ConsentConfig",
    "CreateIf",
    "FieldMapping",
    "Guard",
    "Identity",
    "Origin",
    "PurposeConfig",
    "ScoreConfig",
    "SegmentList",
    "Server",
    "Simulation",
    "SyncConfig",
    "TaskConfig",
    "When",
    "WriteWhen",
]

TaskTextName = Literal["alert_it", "alert_en", "hand_off_it", "hand_off_en", "senior_outreach_it", "senior_outreach_en"]
TASK_TEXTS: Final[tuple[str, ...]] = get_args(TaskTextName)
"""The task texts that are shipped."""

_WORD: Final = r"[^\W\d][\w-]*"
_OWN_ATTRIBUTES: Final = ("email", "key", "last_event", "last_event_at")
"""What `person.` knows beside the profile; nobody can write these."""


# Values


def _name(text: str) -> str:
    if not re.fullmatch(_WORD, text):
        raise ValueError("not a name; use letters, digits, _ and -, and start with a letter")
    return text


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a duration such as 15m, 24h or 30d")  # noqa: TRY004  # pydantic collects ValueErrors
    if (found := parse_duration(value)) <= timedelta(0):
        raise ValueError("must be longer than nothing, such as 15m, 24h or 30d")
    return found


def _not_a_truth(value: Any) -> Any:
    """Pydantic takes true for 1; here it is a mistake."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true/false")  # noqa: TRY004  # pydantic collects ValueErrors
    return value


def _scalar(value: Any) -> str | int | bool | Decimal | None:
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, str | int | Decimal | None):
        return value
    raise ValueError("must be text, a number, or true/false")


_DURATION_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*[smhdwSMHDW]\s*)+$",
    "examples": ["15m", "24h", "30d", "2w"],
}
Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, Field(min_length=1)]
PurposeName = Text
"""As the sources call it, such as `email_marketing` or `list:Newsletter`."""
_PURPOSE: Final = "what it is written for, one of `consent.purposes`; without it nobody is asked"
_OWNER: Final = "ours (we write), theirs (we only read) or shared (with a policy)"
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema(_DURATION_SCHEMA),
]
Count = Annotated[int, Field(ge=0), BeforeValidator(_not_a_truth)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_not_a_truth)]
Number = Annotated[Decimal, BeforeValidator(_not_a_truth), WithJsonSchema({"type": "number"})]
Scalar = Annotated[
    str | int | bool | Decimal | None,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]


class _Model(BaseModel):
    """Unknown keys are refused, nothing can be changed afterwards, and inputs never appear in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


# Where a field comes from

_ORIGIN: Final = re.compile(rf"(score|segment|person)\.({_WORD})(?:\.({_WORD}))?")
_PARTS: Final = ("band", "reason")


_ORIGINS: Final = "score.NAME, score.NAME.band, score.NAME.reason, segment.NAME or person.ATTRIBUTE"


def _origin(value: Any) -> Origin:
    if isinstance(value, Origin):
        return value
    found = Origin.parse(value) if isinstance(value, str) else None
    if found is not None:
        return found
    room, name, part = [*str(value).split("."), "", "", ""][:3]
    if part and name and room in ("score", "segment", "person"):
        known = did_you_mean(part, _PARTS) if room == "score" else f"a {room} has no parts"
        raise ValueError(f"unknown part; {known}")
    raise ValueError(f"must say where the value comes from: {_ORIGINS}")


def _attribute(value: str) -> str:
    room, _, name = value.partition(".")
    if room != "person" or not re.fullmatch(_WORD, name):
        raise ValueError("must be person.ATTRIBUTE, the attribute that takes the CRM's value")
    if name in _OWN_ATTRIBUTES:
        raise ValueError(f"cannot be read from a CRM: {', '.join(_OWN_ATTRIBUTES)} are ours; choose another attribute")
    return value


OriginText = Annotated[
    Origin,
    BeforeValidator(_origin),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(score\.[^.]+(\.(band|reason))?|segment\.[^.]+|person\.[^.]+)$",
            "examples": ["score.interesse", "score.interesse.band", "segment.lead_caldo", "person.email"],
        }
    ),
]
AttributeText = Annotated[
    str,
    AfterValidator(_attribute),
    WithJsonSchema({"type": "string", "pattern": r"^person\.[^.]+$", "examples": ["person.stage"]}),
]


# Connections, classification, identity, scores


class BudgetConfig(_Model):
    """How much of a connection's day we may use."""

    calls_per_day: Positive = Field(
        description="calls of all kinds, of all processes, in a day of UTC; what is left over waits for the next run"
    )


class ConnectionConfig(_Model):
    """A configured use of a plugin. `settings` are as written (with `${NAME}`); the plugin's own model checks them."""

    name: str
    plugin: Text = Field(description="the kind of connector; `syncline plugins` lists them")
    simulated: StrictBool = Field(default=False, description="true: the plugin's simulator stands in for the vendor")
    budget: BudgetConfig | None = Field(default=None, description="how much of its day we may use")
    settings: Mapping[str, Any] = Field(default_factory=dict, repr=False)


OWN_SETTINGS: Final = ("plugin", "simulated", "budget")
"""What stands in a connection beside the plugin's own settings."""


def _connections(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: _connection(name, entry) for name, entry in value.items()}


def _connection(name: str, entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    ours = {key: entry[key] for key in OWN_SETTINGS if key in entry}
    return {"name": name, "settings": {key: value for key, value in entry.items() if key not in ours}, **ours}


Globs = tuple[Text, ...]
_Table = Mapping[str, Globs]


class ClassifyRules(_Model):
    """Which pages, forms and files mean what: each value with its URL patterns (`*` is anything) or vendor ids."""

    page_type: _Table = Field(default={}, description="page type → URL patterns, such as pricing: ['*/pricing*']")
    form_type: _Table = Field(default={}, description="form type → URL patterns or the vendor's form ids")
    content_type: _Table = Field(default={}, description="content type → URL patterns of downloads")
    video: Globs = Field(default=(), description="URL patterns of videos")
    clicks_count_as: tuple[Literal["page_visit", "content_download", "video_view"], ...] = Field(
        default=(), description="which facts an e-mail click on such a URL also states"
    )


class Classify(ClassifyRules):
    """The general tables, and those of single connections."""

    connections: Mapping[str, ClassifyRules] = Field(
        default={}, description="connection → the same tables; a table given there replaces the general one"
    )

    def of(self, connection: str) -> ClassifyRules:
        """The tables that hold for one connection."""
        own = self.connections.get(connection)
        tables = {name: getattr(self, name) for name in ClassifyRules.model_fields}
        if own is not None:
            tables |= {name: getattr(own, name) for name in own.model_fields_set}
        return ClassifyRules.model_construct(**tables)


class Identity(_Model):
    """Which identifiers say nothing about who somebody is."""

    blocked: Mapping[str, Globs] = Field(
        default={"email": ("noreply@*", "no-reply@*")},
        description="namespace → patterns of identifiers that belong to nobody",
    )
    max_emails: Positive = Field(default=5, description="more addresses than this are never joined into one person")


def _model_ref(value: Any) -> Any:
    if isinstance(value, str | Mapping) and value:
        return value
    raise ValueError("must be a model's name, a path to its YAML file, or the model itself (a mapping)")


ModelRef = Annotated[
    str | Mapping[str, Any], BeforeValidator(_model_ref), WithJsonSchema({"type": ["string", "object"]})
]


class ScoreConfig(_Model):
    """A score and the model that computes it."""

    model: ModelRef = Field(
        description="a shipped model's name, a name from `models`, a path to a YAML file, or the model itself"
    )


# Actions


class When(_Model):
    """The transition an action follows: into or out of a segment, or a band of a score."""

    enters: Text | None = Field(default=None, description="a segment, or SCORE.BAND")
    leaves: Text | None = Field(default=None, description="a segment, or SCORE.BAND")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.enters is None) == (self.leaves is None):
            raise ValueError("give either 'enters' or 'leaves': a segment, or SCORE.BAND")
        return self

    @property
    def transition(self) -> Literal["enters", "leaves"]:
        return "leaves" if self.enters is None else "enters"

    @property
    def subject(self) -> str:
        """The segment, or SCORE.BAND."""
        return self.enters or self.leaves or ""

    @property
    def rule(self) -> str:
        """`segment:lead_caldo` or `band:interesse.caldo`, the name under which a person's standing is kept."""
        return f"band:{self.subject}" if "." in self.subject else f"segment:{self.subject}"

    @property
    def score(self) -> str | None:
        """The score whose band this is about."""
        return self.subject.partition(".")[0] if "." in self.subject else None


class TaskConfig(_Model):
    """A task for a sales person."""

    to: Text | tuple[Text, ...] = Field(
        description="the connection whose CRM gets the task; a list: each of them gets it"
    )
    text: TaskTextName | None = Field(default=None, description="a shipped text; subject and body override its parts")
    subject: Text | None = Field(default=None, description="what the task is called; {name} and others are filled in")
    body: str | None = Field(default=None, description="what stands in the task; {name} and others are filled in")
    due: Duration = Field(
        default=timedelta(hours=24),
        description="how long after the transition it is due",
        json_schema_extra={"default": "24h"},
    )
    priority: Literal["from_score", "low", "normal", "high", "urgent"] = Field(
        default="normal", description="how urgent; from_score: the higher the score, the more urgent"
    )
    score: Text | None = Field(default=None, description="the score that is told, and that sets the priority")
    owner: Text | None = Field(default=None, description="the CRM's user id; without it the CRM decides")
    purpose: PurposeName | None = Field(default=None, description=_PURPOSE)

    @property
    def connections(self) -> tuple[str, ...]:
        """The connections whose CRMs get the task."""
        return (self.to,) if isinstance(self.to, str) else self.to

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if not self.connections:
            raise Misplaced(("to",), "names no connection; give one, or a list of them: [crm, second_crm]")
        return self

    @model_validator(mode="after")
    def _has_words(self) -> Self:
        if self.text is None and self.subject is None:
            raise ValueError(f"has no words; give 'subject', or 'text' with one of: {', '.join(TASK_TEXTS)}")
        return self


_LATER: Final = "this kind of action does not exist yet; there is: task"


class ActionConfig(_Model):
    """What follows from a transition."""

    unknown_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(("alert", "digest", "field", "list"), _LATER)

    name: Text | None = Field(default=None, description="what it is called; else made from `when` and `to`")
    when: When = Field(description="the transition it follows: {enters: SEGMENT} or {leaves: SCORE.BAND}")
    task: TaskConfig = Field(description="the task to create: {to: CONNECTION, text: alert_it, …}")

    @property
    def label(self) -> str:
        """Its name, given or derived: `enters_lead_caldo_crm`. Part of every task's key, so it must stay the same."""
        return self.name or "_".join((self.when.transition, self.when.subject, *self.task.connections))


# Syncs


class WriteWhen(_Model):
    """What makes a score's new value worth a call."""

    moves: Annotated[Number, Field(gt=0)] | None = Field(default=None, description="it has moved by this much")
    or_: Literal["band"] | None = Field(default=None, alias="or", description="or its band has changed")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.moves is None and self.or_ is None:
            raise ValueError("says nothing; write {moves: 5}, {or: band} or both")
        return self


_BY_OWNER: Final[list[dict[str, Any]]] = [
    {
        "properties": {"owner": {"const": "ours"}, "policy": False, "to": False, "consent": False},
        "required": ["owner", "from"],
    },
    {
        "properties": {
            "owner": {"const": "theirs"},
            "policy": False,
            "from": False,
            "default": False,
            "write_when": False,
            "purpose": False,
            "consent": False,
        },
        "required": ["owner", "to"],
    },
    {
        "properties": {"owner": {"const": "shared"}, "to": False, "consent": False},
        "required": ["owner", "from", "policy"],
    },
    {
        "properties": dict.fromkeys(("owner", "from", "to", "policy", "default", "write_when", "purpose"), False),
        "required": ["consent"],
    },
]


class FieldMapping(_Model):
    """A CRM field: where its value comes from or goes to, and who owns it."""

    model_config = ConfigDict(json_schema_extra={"anyOf": _BY_OWNER})  # type: ignore[dict-item]

    owner: Literal["ours", "theirs", "shared"] | None = Field(default=None, description=_OWNER)
    origin: OriginText | None = Field(default=None, alias="from", description=f"what we write: {_ORIGINS}")
    to: AttributeText | None = Field(default=None, description="where what we read goes: person.ATTRIBUTE")
    policy: Literal["newest", "only_if_empty", "human_wins", "ask"] | None = Field(
        default=None, description="who wins when both sides changed a shared field"
    )
    default: Scalar = Field(default=None, description="written when we know no value")
    write_when: WriteWhen | None = Field(default=None, description="keeps small moves of a score from costing calls")
    purpose: PurposeName | None = Field(default=None, description=_PURPOSE)
    consent: PurposeName | None = Field(
        default=None, description="the field is the CRM's opt-out from this purpose: read, and only ever ticked by us"
    )

    @property
    def attribute(self) -> str | None:
        """The person attribute that takes the CRM's value, for fields that are theirs."""
        return None if self.to is None else self.to.partition(".")[2]

    @model_validator(mode="after")
    def _fits_its_owner(self) -> Self:
        if self.consent is not None:
            return self._as_opt_out()
        if self.owner is None:
            raise Misplaced(("owner",), f"missing: {_OWNER}")
        if self.owner == "theirs":
            return self._as_theirs()
        if self.to is not None:
            raise Misplaced(("to",), f"only goes with owner: theirs; a field that is {self.owner} has 'from'")
        if self.origin is None:
            raise ValueError(f"owner: {self.owner} needs 'from': {_ORIGINS}")
        if self.owner == "ours" and self.policy is not None:
            raise Misplaced(("policy",), "only goes with owner: shared; what is ours, we always write")
        if self.owner == "shared" and self.policy is None:
            raise ValueError("owner: shared needs 'policy': newest, only_if_empty, human_wins or ask")
        if self.write_when is not None and (self.origin.room, self.origin.part) != ("score", "value"):
            raise Misplaced(("write_when",), "only goes with the number of a score, from: score.NAME")
        return self

    def _as_theirs(self) -> Self:
        for key, value in (
            ("from", self.origin),
            ("policy", self.policy),
            ("write_when", self.write_when),
            ("purpose", self.purpose),
        ):
            if value is not None:
                raise Misplaced((key,), "does not go with owner: theirs, which we only read; it has 'to' only")
        if self.default is not None:
            raise Misplaced(("default",), "does not go with owner: theirs, which we only read; it has 'to' only")
        if self.to is None:
            raise ValueError("owner: theirs needs 'to': person.ATTRIBUTE")
        return self

    def _as_opt_out(self) -> Self:
        """Nobody owns it: whoever opts out may tick it, and we tick it for those who did so elsewhere."""
        for key in ("owner", "from", "to", "policy", "default", "write_when", "purpose"):
            if getattr(self, "origin" if key == "from" else key) is not None:
                raise Misplaced((key,), "does not go with 'consent': an opt-out is read, and only ever ticked by us")
        return self


class CreateIf(_Model):
    """Who is worth a new record."""

    score: Text | None = Field(default=None, description="the score that decides, with `at_least`")
    at_least: Number | None = Field(default=None, description="the lowest value of the score that is created")
    identifier: Text = Field(
        default="email", description="the identifier somebody must have to be created, so that they are found again"
    )

    @model_validator(mode="after")
    def _score_with_its_value(self) -> Self:
        if (self.score is None) != (self.at_least is None):
            raise ValueError("'score' and 'at_least' go together: {score: NAME, at_least: 20}")
        return self


class Guard(_Model):
    """The most one run may do before it stops and asks; null: no limit."""

    creates: Count | None = Field(default=5000, description="new records")
    clears: Count | None = Field(default=100, description="fields that held a value and would be emptied")
    tasks: Count | None = Field(default=1000, description="new tasks")
    removes: Count | None = Field(default=100, description="memberships that would end")
    opt_outs: Count | None = Field(default=None, description="opt-outs that would be passed on")
    overwrites: Count | None = Field(default=500, description="fields whose value was not ours and would be another")


class SegmentList(_Model):
    """Where a segment is kept, and what for."""

    name: Text = Field(description="the CRM's campaign, list or tag")
    purpose: PurposeName | None = Field(default=None, description=_PURPOSE)


_ONE_SCHEDULE: Final[dict[str, Any]] = {
    "not": {"required": ["every", "cron"]},
    "dependentRequired": {"time_zone": ["cron"]},
}


class SyncConfig(_Model):
    """What is written to one object of one CRM, and read back."""

    model_config = ConfigDict(json_schema_extra=_ONE_SCHEDULE)

    name: Name = Field(description="what the sync is called")
    to: Text = Field(description="the connection that is written to")
    object: Text = Field(description="the CRM's object, such as Lead")
    also: tuple[Text, ...] = Field(default=(), description="more objects: people found there are written there")
    match: Text = Field(description="the CRM field that holds our key, such as Syncline_Key__c")
    when_missing: Literal["create", "skip"] = Field(default="skip", description="what to do with people the CRM lacks")
    when_deleted: Literal["leave", "create"] = Field(
        default="leave", description="what to do with people whose record was deleted: leave it at that, or create anew"
    )
    create_if: CreateIf | None = Field(default=None, description="which people are worth a new record")
    every: Duration | None = Field(default=None, description="how often `syncline serve` runs it, such as 15m")
    cron: CronText | None = Field(
        default=None, description="when `syncline serve` runs it, such as '0 3 * * *', in place of `every`"
    )
    time_zone: TimeZone | None = Field(
        default=None, description="whose clock `cron` means, such as Europe/Rome; UTC without it"
    )
    fields: Mapping[Text, FieldMapping] = Field(default={}, description="CRM field → {from or to, owner, …}")
    purpose: PurposeName | None = Field(
        default=None, description="what the sync's fields and segments are written for, where they do not say"
    )
    segments: Mapping[str, Text | SegmentList] = Field(
        default={}, description="our segment → the CRM's campaign, list or tag; or {name: …, purpose: …}"
    )
    guard: Guard = Field(default=Guard(), description="the most one run may do before it stops and asks")
    first_run: Literal["staged", "whole"] = Field(
        default="staged", description="how a CRM that was never written to begins: step by step, or all at once"
    )

    @property
    def objects(self) -> tuple[str, ...]:
        """Where people may be found; the first is where missing ones are created."""
        return (self.object, *self.also)

    @property
    def lists(self) -> dict[str, SegmentList]:
        """Segment → where it is kept, and what for."""
        return {
            segment: SegmentList(name=kept, purpose=self.purpose)
            if isinstance(kept, str)
            else SegmentList(name=kept.name, purpose=kept.purpose or self.purpose)
            for segment, kept in self.segments.items()
        }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.fields and not self.segments:
            raise ValueError("writes nothing; give 'fields', 'segments' or both")
        if self.create_if is not None and self.when_missing == "skip":
            raise Misplaced(("create_if",), "has no effect; add when_missing: create")
        if self.when_deleted == "create" and self.when_missing == "skip":
            raise Misplaced(("when_deleted",), "has no effect; add when_missing: create")
        if len({name.casefold() for name in self.objects}) < len(self.objects):
            raise Misplaced(("also",), "names an object twice; 'object' itself need not be there")
        return self

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.every is not None and self.cron is not None:
            raise Misplaced(("cron",), "does not go with 'every'; keep one of the two")
        if self.time_zone is not None and self.cron is None:
            raise Misplaced(("time_zone",), "only goes with 'cron'; 'every' needs none")
        return self


# Consent


class PurposeConfig(_Model):
    """A purpose, and what it rests on."""

    basis: Literal["consent", "legitimate_interest"] = Field(
        description="consent (nothing without a grant) or legitimate_interest (until somebody objects)"
    )


class ConsentConfig(_Model):
    """What things are written for, and what people have to say about it."""

    purposes: Mapping[PurposeName, PurposeConfig] = Field(default={}, description="purpose → {basis: …}")
    unsubscribes: tuple[PurposeName, ...] | None = Field(
        default=None,
        description="purposes that an e-mail's unsubscribe link withdraws; without it, all whose basis is consent",
    )

    @property
    def unsubscribed(self) -> tuple[str, ...]:
        """What an unsubscribe link withdraws."""
        if self.unsubscribes is not None:
            return self.unsubscribes
        return tuple(name for name, purpose in self.purposes.items() if purpose.basis == "consent")


# The whole


def _version(value: Any) -> Any:
    if isinstance(value, bool) or value not in (1, "1"):
        raise ValueError("this syncline reads version 1; write version: 1")
    return 1


_STORES: Final = ("sqlite:///", "postgresql+psycopg://")


def _store(value: str) -> str:
    if not value.startswith(_STORES):
        raise ValueError(
            "must be the address of a database: sqlite:///FOLDER/FILE.db or postgresql+psycopg://USER@HOST/DATABASE"
        )
    return value


class Simulation(_Model):
    """The world that simulated connections share."""

    people: Positive = Field(default=1000, description="how many people the vendors know")
    seed: Count = Field(default=1, description="another seed, other people")
    clock: AwareDatetime = Field(
        default=datetime(2026, 6, 1, 8, tzinfo=UTC),
        description="the simulated present; written down, it also holds for connections that are real, and for scores",
    )


def _public(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^/?#\s@]+(/[^?#\s]*)?", value):
        raise ValueError("must be the address vendors call, such as https://hooks.example.com, without a query")
    return value.rstrip("/")


class Server(_Model):
    """What `syncline serve` takes in, and how much of it."""

    public_url: (
        Annotated[str, BeforeValidator(_public), WithJsonSchema({"type": "string", "pattern": "^https?://[^/?#]+"})]
        | None
    ) = Field(default=None, description="the address vendors call, where a proxy stands before us")
    trusted_proxies: tuple[Text, ...] = Field(
        default=(), description="addresses of proxies whose X-Forwarded-For is believed"
    )
    max_body_bytes: Positive = Field(default=1_048_576, description="a larger body is refused (413)")
    per_second: Positive = Field(default=500, description="requests of one connection; more are put off (429)")
    per_client_per_second: Positive = Field(
        default=400, description="requests of one client address; more are put off (429)"
    )


AlertKind = Literal[
    "credentials",
    "settings",
    "guard",
    "drift",
    "weather",
    "refused",
    "plugin",
    "paused",
    "dead_letters",
    "failed",
    "killed",
    "schedule",
]
ALERT_KINDS: Final[tuple[AlertKind, ...]] = get_args(AlertKind)
"""The troubles that somebody can be told of."""


class Alerts(_Model):
    """Who is told of trouble: when it begins, and when it is over."""

    to: tuple[SecretStr, ...] = Field(
        default=(), description="addresses as Apprise has them, each in an environment variable: ['${APPRISE_URL}']"
    )
    on: tuple[AlertKind, ...] = Field(default=ALERT_KINDS, description="which kinds of trouble; all without it")


class Config(_Model):
    """connectors.yaml."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="the version of this format, 1")
    store: Annotated[str, AfterValidator(_store)] = Field(
        default="sqlite:///.syncline/state.db",
        repr=False,
        description="the state database: sqlite:///FILE or postgresql+psycopg://…; may contain ${NAME}",
    )
    raw_retention: Duration = Field(
        default=timedelta(days=30),
        description="how long raw records are kept for replay",
        json_schema_extra={"default": "30d"},
    )
    connections: Annotated[Mapping[Name, ConnectionConfig], BeforeValidator(_connections)] = Field(
        description="name → {plugin: KIND, and the plugin's own settings}"
    )
    simulation: Simulation = Field(default=Simulation(), description="the world of connections that are simulated")
    server: Server = Field(default=Server(), description="what `syncline serve` takes in, and how much of it")
    alerts: Alerts = Field(default=Alerts(), description="who is told of trouble, and of which")
    classify: Classify = Field(default=Classify(), description="which page is the pricing page, and the like")
    identity: Identity = Field(default=Identity(), description="which identifiers say nothing about who somebody is")
    consent: ConsentConfig = Field(
        default=ConsentConfig(), description="what things are written for, and what people have to say about it"
    )
    models: Mapping[Name, Text] = Field(default={}, description="name → path of a scoring model's YAML file")
    scores: Mapping[Name, ScoreConfig] = Field(default={}, description="name → {model: …}")
    segments: Mapping[Name, Any] = Field(default={}, description="name → predicate: {all: […]}, {any: […]}, {not: …}")
    actions: tuple[ActionConfig, ...] = Field(default=(), description="what follows from a transition")
    syncs: tuple[SyncConfig, ...] = Field(default=(), description="what is written where")

    def task_score(self, action: ActionConfig) -> str | None:
        """The score an action tells of: its own, that of its band, or the only one there is."""
        alone = next(iter(self.scores)) if len(self.scores) == 1 else None
        return action.task.score or action.when.score or alone
