"""`syncline conflicts`: what waits for a person to decide, and deciding it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.console import Console

from syncline.cli import show
from syncline.cli.common import DEFAULT, AsJson, ConfigPath, print_json
from syncline.errors import ConfigError
from syncline.host import Host
from syncline.model import RemoteRef, from_microseconds
from syncline.store.crm import MirrorRecord
from syncline.store.decisions import Case, Choice
from syncline.store.values import dump_json
from syncline.sync.queue import Question, Waiting, find

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True, help="What waits for a person to decide: list, decide.")

_WRITERS: Final = {"person": "a person", "system": "another system", "us": "us", "unknown": "somebody"}


@app.callback()
def _default(context: typer.Context, config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """List it, as `list` does."""
    if context.invoked_subcommand is None:
        list_conflicts(config, as_json=as_json)


@app.command("list")
def list_conflicts(config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """Fields both sides changed (`ask`), with both values; people with several candidates. The oldest come first."""
    with Host.load(config, only=()) as host:
        found = host.waiting()
    data = [_field(found, case) for case in found.fields] + [_record(question) for question in found.records]
    if as_json:
        print_json(data)
        return
    columns = ["id", "connection", "person", "question", "there", "here", "candidates", "since"]
    rows = [[_cell(item.get(column)) for column in columns] for item in data]
    show.blocks(Console(), f"Conflicts: {len(rows)}", columns, rows)
    if rows:
        _say("decide with `syncline conflicts decide ID` and --ours, --theirs, --value, --record or --none")


@app.command("decide")
def decide(
    question: Annotated[str, typer.Argument(metavar="ID", help="the id that `syncline conflicts` shows")],
    config: ConfigPath = DEFAULT,
    ours: Annotated[bool, typer.Option("--ours", help="the field gets our value")] = False,
    theirs: Annotated[bool, typer.Option("--theirs", help="the field keeps what stands there")] = False,
    value: Annotated[str | None, typer.Option("--value", metavar="TEXT", help="both sides get this value")] = None,
    record: Annotated[
        str | None, typer.Option("--record", metavar="OBJECT/ID", help="the person is this record")
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="none of the candidates is this person")] = False,
    alike: Annotated[
        bool, typer.Option("--all-alike", help="the same for every open question about the same field there")
    ] = False,
) -> None:
    """Decide one question. Nothing is written to a CRM now: the next run does, or asks anew if a value has changed."""
    if sum((ours, theirs, value is not None, record is not None, none)) != 1:
        raise ConfigError("say what you decide with one of --ours, --theirs, --value, --record and --none")
    with Host.load(config, only=()) as host:
        found = find(host.waiting(), question)
        if isinstance(found, Case):
            _decide_field(host, found, _choice(ours=ours, theirs=theirs, value=value), value, alike=alike)
        else:
            _decide_record(host, found, record, none=none, alike=alike)


def _choice(*, ours: bool, theirs: bool, value: str | None) -> Choice:
    for choice, given in (("ours", ours), ("theirs", theirs), ("value", value is not None)):
        if given:
            return choice  # type: ignore[return-value]  # one of the literals above
    raise ConfigError("this question is about a field: decide with --ours, --theirs or --value")


def _decide_field(host: Host, case: Case, choice: Choice, value: str | None, *, alike: bool) -> None:
    decided = host.decide_field(case, choice, value, alike=alike)
    field = f"{case.connection} {case.ref.object}.{case.field}"
    said = {"ours": "our value", "theirs": "what stands there", "value": repr(value)}[choice]
    many = "1 question" if len(decided) == 1 else f"{len(decided)} questions"
    _say(f"{field}: {said}, for {many}. The next run does it, where neither value has changed by then")


def _decide_record(host: Host, question: Question, record: str | None, *, none: bool, alike: bool) -> None:
    if record is None and not none:
        raise ConfigError("this question is about which record a person is: decide with --record OBJECT/ID or --none")
    if alike:
        raise ConfigError("--all-alike is for fields: which record a person is, is decided one by one")
    ref = None if record is None else _ref(record)
    host.decide_record(question, ref)
    who = f"{question.connection}: {', '.join(question.person.emails) or question.person.key}"
    said = "is none of the candidates" if ref is None else f"is {ref.object}/{ref.id}"
    _say(f"{who} {said}. The next run goes by it")


def _ref(text: str) -> RemoteRef:
    object_name, separator, id_ = text.partition("/")
    if not (separator and object_name and id_):
        raise ConfigError(f"{text!r} names no record; write OBJECT/ID, such as Lead/00Q5e00000AbCdE")
    return RemoteRef(object_name, id_)


# What is shown


def _field(found: Waiting, case: Case) -> dict[str, Any]:
    person = found.people[case.person_id]
    return {
        "id": case.id,
        "kind": "field",
        "connection": case.connection,
        "person": _whom(person.emails, person.key),
        "key": person.key,
        "question": f"both sides changed {case.ref.object}/{case.ref.id} {case.field}",
        "object": case.ref.object,
        "record": case.ref.id,
        "field": case.field,
        "there": {
            "value": dump_json(case.theirs),
            "by": case.edit.by,
            "who": case.edit.who,
            "at": case.edit.at.isoformat() if case.edit.at else None,
        },
        "here": {"value": dump_json(case.ours), "at": _time(case.ours_us)},
        "since": _time(case.since_us),
    }


def _record(question: Question) -> dict[str, Any]:
    person = question.person
    return {
        "id": question.id,
        "kind": "record",
        "connection": question.connection,
        "person": _whom(person.emails, person.key),
        "key": person.key,
        "question": question.conflict.reason,
        "candidates": [_candidate(item) for item in question.candidates],
        "since": _time(question.conflict.since_us),
    }


def _candidate(item: MirrorRecord) -> dict[str, Any]:
    record = item.record
    return {
        "record": f"{record.ref.object}/{record.ref.id}",
        "key": item.key,
        "fields": {name: dump_json(value) for name, value in record.fields.items()},
        "by": record.changed_by,
        "who": record.changed_who,
        "at": record.changed_at.isoformat() if record.changed_at else None,
    }


def _whom(emails: tuple[str, ...], key: str) -> str:
    return ", ".join(emails) or key


def _time(at_us: int | None) -> str | None:
    return from_microseconds(at_us).isoformat() if at_us else None


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        by = "".join(f", {word}" for word in (_writer(value), value.get("at")) if word)
        return f"{_shown(value['value'])}{by}"
    if isinstance(value, list):
        return "   ".join(item["record"] for item in value)
    return value


def _writer(value: dict[str, Any]) -> str | None:
    return value.get("who") or _WRITERS.get(value.get("by", ""))


def _shown(value: object) -> str:
    return "(empty)" if value in (None, "") else repr(value)


def _say(text: str) -> None:
    print(text)  # noqa: T201  # the result
