"""`syncline dead-letters`: what a CRM refused, and what a person does about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from syncline.cli import show
from syncline.cli.common import DEFAULT, AsJson, ConfigPath, finish, print_json, with_host
from syncline.errors import ConfigError, did_you_mean
from syncline.host import Host
from syncline.model import Field, Value, from_microseconds, microseconds
from syncline.store import dead_letters as stored
from syncline.store.dead_letters import DeadLetter
from syncline.store.values import dump_json
from syncline.sync.merge import coerce

__all__ = ["app"]

app = typer.Typer(invoke_without_command=True, help="Writes a CRM refused: list, show, edit, replay, discard.")

Letter = Annotated[str, typer.Argument(metavar="ID", help="the letter's id, as `syncline dead-letters` shows it")]
_WORDS: Final = ("subject", "body", "due", "priority", "owner")
"""What of a task may be edited."""


@app.callback()
def _default(context: typer.Context, config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """List them, as `list` does."""
    if context.invoked_subcommand is None:
        list_letters(config, as_json=as_json)


@app.command("list")
def list_letters(
    config: ConfigPath = DEFAULT,
    connection: Annotated[str | None, typer.Option(help="only this CRM's")] = None,
    as_json: AsJson = False,
) -> None:
    """All of them, the latest first. Each is tried again, with fresh values, on every run."""
    with Host.load(config, only=()) as host, host.database.read() as opened:
        found = stored.dead_letters(opened, _known(host, connection))
        now = host.now()
    if as_json:
        print_json([_as_json(letter) for letter in found])
        return
    columns = ["id", "state", "write", "person or task", "reason", "attempts", "age"]
    data = [
        [d.id, d.state, _what(d), d.key, d.reason or "accepted with the values you gave", d.attempts, _age(d, now)]
        for d in found
    ]
    show.blocks(Console(), f"Dead letters: {len(found)}", columns, data)


@app.command("show")
def show_letter(letter: Letter, config: ConfigPath = DEFAULT, as_json: AsJson = False) -> None:
    """One of them whole: what was to be written, what the CRM said, how often, since when."""
    with Host.load(config, only=()) as host, host.database.read() as opened:
        found = _find(stored.dead_letters(opened), letter)
    if as_json:
        print_json(_as_json(found))
        return
    pairs = [[name, value] for name, value in _as_json(found).items() if name not in ("fields", "edited")]
    fields = [[f"  {name}", _shown(found, name, value)] for name, value in found.fields.items()]
    for name, value in [*pairs, *fields]:
        Console().print(f"{name:<12}  {value}", soft_wrap=True, markup=False, highlight=False)


@app.command("edit")
def edit_letter(
    letter: Letter,
    values: Annotated[
        list[str], typer.Argument(metavar="FIELD=VALUE…", help="what to write instead; FIELD= empties it")
    ],
    config: ConfigPath = DEFAULT,
) -> None:
    """Give a refused write other values. They hold from the next run on, for as long as ours stay what they are."""
    with Host.load(config, only=()) as host, host.database.write() as opened:
        found = _find(stored.dead_letters(opened), letter)
        edited = stored.edit(opened, found, dict(_assignment(found, text) for text in values))
    given = ", ".join(f"{name} = {dump_json(item.value)!r}" for name, item in edited.overrides.items())
    _say(f"{edited.id}: from the next run on {given}. `syncline dead-letters replay {edited.id}` tries at once")


@app.command("discard")
def discard_letter(
    letters: Annotated[list[str], typer.Argument(metavar="ID…", help="the letters' ids")], config: ConfigPath = DEFAULT
) -> None:
    """Do not try just these writes again. When something else is to be written to the record, that is tried."""
    with Host.load(config, only=()) as host, host.database.write() as opened:
        known = stored.dead_letters(opened)
        for found in [_find(known, letter) for letter in letters]:
            stored.discard(opened, found)
            _say(f"{found.id}: not tried again; `syncline dead-letters replay {found.id}` takes it up again")


@app.command("replay")
def replay_letters(
    letters: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="the letters' ids")] = None,
    every: Annotated[bool, typer.Option("--all", help="all that are open")] = False,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Try them now: a run for just these people, with the values of today. Discarded ones are taken up again."""
    if bool(letters) == every:
        raise ConfigError("say which: ids as `syncline dead-letters` shows them, or --all")
    finish(with_host(config, lambda host: host.run(people=_revived(host, letters))), as_json)


def _revived(host: Host, letters: Sequence[str] | None) -> list[int]:
    with host.database.write() as opened:
        known = stored.dead_letters(opened)
        wanted = [_find(known, letter) for letter in letters or ()] or [d for d in known if d.state == "open"]
        for found in wanted:
            if found.discarded is not None:
                stored.revive(opened, found)
    return sorted({found.person_id for found in wanted})


def _known(host: Host, name: str | None) -> str | None:
    if name is not None and name not in host.config.connections:
        raise ConfigError(f"there is no connection {name!r}; {did_you_mean(name, host.config.connections)}")
    return name


def _find(known: Sequence[DeadLetter], letter: str) -> DeadLetter:
    for found in known:
        if found.id == letter:
            return found
    raise ConfigError(f"there is no dead letter {letter!r}; {did_you_mean(letter, [found.id for found in known])}")


def _assignment(letter: DeadLetter, text: str) -> tuple[str, Value]:
    """`FIELD=VALUE`, as the kind of value that stands there."""
    name, separator, value = text.partition("=")
    known = _editable(letter)
    if not separator or name not in known:
        raise ConfigError(f"{text!r} is no FIELD=VALUE of this write; {did_you_mean(name, known)}")
    if value == "":
        return name, None
    try:
        return name, _like(known[name], value)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _editable(letter: DeadLetter) -> Mapping[str, Value]:
    if letter.operation == "upsert":
        return {name: value for name, value in letter.fields.items() if value != letter.key}
    if letter.operation == "task":
        return {name: value for name, value in letter.fields.items() if name in _WORDS}
    raise ConfigError("a membership has no values to edit: mend the list in the CRM, or discard the letter")


def _like(sample: Value, text: str) -> Value:
    kind = "text"
    if isinstance(sample, bool):
        kind = "boolean"
    elif isinstance(sample, int | Decimal):
        kind = "number"
    elif isinstance(sample, datetime):
        kind = "datetime"
    return coerce(text, Field("", kind))  # type: ignore[arg-type]  # one of the kinds


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "state": letter.state,
        "connection": letter.connection,
        "operation": letter.operation,
        "object": letter.object,
        "key": letter.key,
        "reason": letter.reason,
        "code": letter.code,
        "attempts": letter.attempts,
        "first": from_microseconds(letter.first_us).isoformat(),
        "last": from_microseconds(letter.last_us).isoformat(),
        "run": letter.run_id,
        "fields": {name: dump_json(value) for name, value in letter.fields.items()},
        "edited": {name: dump_json(item.value) for name, item in letter.overrides.items()},
    }


def _shown(letter: DeadLetter, name: str, value: Value) -> str:
    override = letter.overrides.get(name)
    before = "(empty)" if value is None else str(dump_json(value))
    return before if override is None else f"{before}   you gave: {dump_json(override.value)}"


def _what(letter: DeadLetter) -> str:
    words = {"upsert": "record", "add": "into list", "remove": "out of list"}
    return f"{letter.connection}: {words.get(letter.operation, letter.operation)} {letter.object}".strip()


def _age(letter: DeadLetter, now: datetime) -> str:
    hours = max(0, microseconds(now) - letter.first_us) // 3_600_000_000
    return f"{hours // 24} d" if hours >= 48 else f"{hours} h"


def _say(text: str) -> None:
    print(text)  # noqa: T201  # the result
