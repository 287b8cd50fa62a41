"""The command line. stdout is the result, stderr the log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

import typer
from rich.console import Console

from syncline import __version__
from syncline.cli import (
    alerts,
    browse,
    conflicts,
    dead_letters,
    demo,
    logs,
    metrics,
    one,
    progress,
    runs,
    show,
    status,
    tracing,
    undo,
)
from syncline.cli.common import DEFAULT, AsJson, AsOf, ConfigPath, finish, print_json, utc, with_host
from syncline.config.schema import json_schema
from syncline.errors import (
    AuthError,
    BusyError,
    ConfigError,
    ConnectorError,
    GuardError,
    SchemaDriftError,
    StoreError,
    SynclineError,
)
from syncline.host import Host
from syncline.host.drift import compare, shapes
from syncline.host.plugins import Plugins
from syncline.host.scaffold import write_package
from syncline.server import serve as run_server
from syncline.sync.guards import parse_allow
from syncline.sync.report import Report
from syncline.sync.stop import Stopped

__all__ = ["app", "main"]

EXIT_REJECTED: Final = 1
EXIT_CONFIG: Final = 2
EXIT_STOPPED: Final = 3
EXIT_PAUSED: Final = 4
EXIT_BUSY: Final = 5
EXIT_BUG: Final = 70
_WORST_FIRST: Final = (EXIT_CONFIG, EXIT_PAUSED, EXIT_STOPPED, EXIT_REJECTED)
_INTERRUPTED: Final = 130  # what shells say of a program ended by Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="Marketing events in, people scored and explained, CRM fields written back safely.",
)
app.add_typer(status.app)
app.add_typer(runs.app, name="runs")
app.add_typer(alerts.app, name="alerts")
app.add_typer(metrics.app)
app.add_typer(browse.app)
app.add_typer(conflicts.app, name="conflicts")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(undo.app)

Person = Annotated[str | None, typer.Option("--person", help="only this person: e-mail address, vendor id, or our key")]
Sync = Annotated[str | None, typer.Option("--sync", help="only this sync")]


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)  # noqa: T201  # the result
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log every call")] = False,
    log_format: Annotated[
        logs.LogFormat, typer.Option("--log-format", help="of the log: auto is text on a terminal, else JSON lines")
    ] = "auto",
    version: Annotated[  # noqa: ARG001  # its callback prints it
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    logs.configure(log_format, verbose=verbose)
    tracing.configure(os.environ)


@app.command()
def plan(
    config: ConfigPath = DEFAULT,
    sync: Sync = None,
    person: Person = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="show every record, not only the first 20")] = False,
    go_ahead: Annotated[
        bool, typer.Option("--go-ahead", help="what a run would write in the next stage of a first run")
    ] = False,
) -> None:
    """Show what `run` would write, record by record and field by field, and what it will cost. Writes nothing."""

    def call(host: Host) -> Report:
        return host.plan(sync=sync, person=person, as_of=utc(as_of), go_ahead=go_ahead)

    if person is not None:
        one.walk(config, call, person, as_json=as_json)
    result = with_host(config, call)
    if not as_json:
        show.changes(Console(), result, limit=sys.maxsize if every else 20)
    finish(result, as_json)


@app.command()
def run(
    config: ConfigPath = DEFAULT,
    sync: Sync = None,
    person: Person = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
    once: Annotated[bool, typer.Option("--once", help="one pass, then exit: for cron (what it does anyway)")] = True,  # noqa: ARG001
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="let this run do more than the guard: creates, or creates=6000,tasks=30"),
    ] = None,
    go_ahead: Annotated[
        bool, typer.Option("--go-ahead", help="let a first run into a CRM go on to its next stage")
    ] = False,
) -> None:
    """Pull, score, and write what `plan` shows."""
    more = parse_allow(allow or ())

    def call(host: Host) -> Report:
        return host.run(sync=sync, person=person, as_of=utc(as_of), allow=more, go_ahead=go_ahead)

    if person is not None:
        one.walk(config, call, person, as_json=as_json)
    finish(with_host(config, call), as_json)


@app.command()
def pull(
    source: Annotated[str | None, typer.Argument(help="only this connection")] = None,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Read the sources: raw records become events. Nothing is scored or written to a CRM."""
    only = [source] if source else Host.load(config, only=()).source_names()
    finish(with_host(config, lambda host: host.pull(source), only=only), as_json)


@app.command()
def replay(
    source: Annotated[str, typer.Argument(help="the connection whose records are normalized again")],
    config: ConfigPath = DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="every raw record still kept, not only the quarantined")] = False,
    as_json: AsJson = False,
) -> None:
    """Try quarantined records again; with --all, apply a corrected `classify` table to everything still kept."""
    finish(with_host(config, lambda host: host.replay(source, everything=every), only=[source]), as_json)


@app.command()
def explain(
    person: Annotated[str, typer.Argument(help="an e-mail address, a vendor's id, or our key as the CRM shows it")],
    config: ConfigPath = DEFAULT,
    segment: Annotated[str | None, typer.Option(help="why the person is in this segment, or is not")] = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Say why a person has their scores, line by line; the lines sum to the score."""
    with Host.load(config, only=()) as host:
        found = host.explain(person, segment=segment, as_of=utc(as_of))
    if as_json:
        print_json(found.to_json())
    else:
        show.explanation(Console(), found)


@app.command()
def scores(
    name: Annotated[str, typer.Argument(help="the score's name")],
    config: ConfigPath = DEFAULT,
    namespace: Annotated[str, typer.Option(help="the identifier people are listed by")] = "email",
) -> None:
    """Everyone's score as the last run stored it, as JSON lines."""
    with Host.load(config, only=()) as host:
        for identifier, value, band in host.scores(name, namespace):
            print(json.dumps({namespace: identifier, name: str(value), "band": band}))  # noqa: T201  # the result


@app.command()
def prepare(
    sink: Annotated[str, typer.Argument(help="the CRM's connection")],
    config: ConfigPath = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", help="create it, after showing it")] = False,
) -> None:
    """Show which fields and keys the syncs need in the CRM and lack; with --yes, create them."""
    with Host.load(config) as host:
        missing = host.missing(sink)
        for line in missing or ["nothing is missing"]:
            print(line)  # noqa: T201  # the result
        if missing and yes:
            for line in host.prepare(sink):
                print(line)  # noqa: T201  # the result
        elif missing:
            print(f"`syncline prepare {sink} --yes` creates it")  # noqa: T201  # the result


@app.command()
def reset(
    sink: Annotated[str, typer.Argument(help="the CRM's connection")],
    config: ConfigPath = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", help="do it")] = False,
) -> None:
    """Forget what we know of a CRM's records, because the connection now reaches another CRM. Nothing there changes."""
    if not yes:
        print(f"`syncline reset {sink} --yes` forgets links, mirror and acknowledged values of {sink}")  # noqa: T201
        return
    with Host.load(config, only=()) as host:
        host.reset(sink)
    print(f"{sink}: forgotten; the next run matches everybody anew")  # noqa: T201  # the result


@app.command()
def check(
    config: ConfigPath = DEFAULT,
    live: Annotated[
        bool, typer.Option("--live", help="also log in everywhere and hold every mapping against the CRM")
    ] = False,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", help="take this mapped field, such as Lead.Lead_Score__c, as it has become"),
    ] = None,
) -> None:
    """Check the configuration; with --live, also credentials and mappings. Nothing is written there."""
    with Host.load(config) as host:
        for mapping in accept or ():
            host.accept(mapping)
        print(f"{config}: {len(host.config.connections)} connections, {len(host.config.syncs)} syncs: fine")  # noqa: T201
        codes = [code for name in host.config.connections for code in _check_live(host, name)] if live else []
    if codes:
        raise typer.Exit(min(codes, key=_WORST_FIRST.index))


def _check_live(host: Host, name: str) -> Iterator[int]:
    """Say what is behind one connection, and what is wrong there: an exit code for each trouble."""
    try:
        account = host.account(name)
        details = "".join(f", {key}: {value}" for key, value in account.details.items())
        print(f"{name}: {account.name} ({account.id}){details}")  # noqa: T201  # the result
        mappings = host.preflight(name)
    except ConnectorError as error:
        place = "" if str(error).startswith(f"{name}:") else f"{name}: "
        logs.complain(f"{place}{error}")
        yield exit_code_of(error)
        return
    for mapping, reason in mappings.items():
        told = "ok" if reason is None else f"parked: {show.short(reason)}"
        print(f"{name}: {mapping}: {told}")  # noqa: T201  # the result
        if reason is not None:
            yield EXIT_STOPPED


@app.command(name="demo")
def run_demo(
    config: ConfigPath = DEFAULT,
    people: Annotated[int | None, typer.Option(min=1, help="how many people the simulated vendors know")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="another seed, other people")] = None,
    as_json: AsJson = False,
) -> None:
    """The whole path on simulated vendors: pull, score, prepare the CRM, plan, write, and a table of what was done."""
    with demo.load(config, people, seed) as host:
        with progress.choose() as shown:
            host.progress = shown
            result = demo.run(host)
        following = demo.following(host, config)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        demo.print_summary(Console(), result, following)
    raise typer.Exit(result.exit_code)


@app.command()
def simulate(
    vendors: Annotated[list[str] | None, typer.Argument(help="kinds of connectors; all that can be simulated")] = None,
    people: Annotated[int, typer.Option(min=1, help="how many people they know")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="another seed, other people")] = 1,
    clock: Annotated[
        datetime | None, typer.Option(help="their present (UTC), which then stands still; the real one without it")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="where they keep their state; in memory without it")] = None,
    faults: Annotated[Path | None, typer.Option(help="a YAML file of faults to inject")] = None,
) -> None:
    """Start simulated vendors and print the connections that reach them; until interrupted."""
    demo.simulate(vendors or [], people=people, seed=seed, clock=utc(clock), folder=folder, faults=faults)


@app.command()
def serve(
    config: ConfigPath = DEFAULT,
    host: Annotated[
        str, typer.Option("--host", help="the address to listen on; 0.0.0.0: all of this machine")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="the port to listen on; 0: any free one")
    ] = 8080,
    no_schedule: Annotated[bool, typer.Option("--no-schedule", help="only receive webhooks, run nothing")] = False,
    no_webhooks: Annotated[bool, typer.Option("--no-webhooks", help="only run syncs, receive nothing")] = False,
) -> None:
    """Receive webhooks and run the syncs on their schedules, until stopped. Webhooks wait for the next run."""
    with contextlib.ExitStack() as stack:
        known = stack.enter_context(Host.load(config, only=()))
        runs = stack.enter_context(Host.load(config)) if known.timetable and not no_schedule else None
        receives = stack.enter_context(Host.load(config, only=() if no_webhooks else known.receiving_names()))
        run_server(receives, host, port, ready=_print_lines, scheduled=runs, webhooks=not no_webhooks)


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201  # the result


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List the installed connectors: kind, package, version, and what each can do."""
    found = Plugins.load()
    data = [[row.kind, row.role, row.package, row.version, " ".join(row.capabilities)] for row in found.rows()]
    columns = ["kind", "role", "package", "version", "can"]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in data])
    else:
        show.rows(Console(), "Connectors", columns, data)
    for broken in found.broken:
        logs.complain(str(broken))


@app.command()
def new(
    role: Annotated[
        Literal["source", "sink"], typer.Argument(help="where events come from, or where fields are written")
    ],
    name: Annotated[str, typer.Argument(help="the connector's kind: lower-case letters, digits, '-'")],
    folder: Annotated[Path | None, typer.Option(help="where to; default: syncline-NAME here")] = None,
) -> None:
    """Write a connector package that runs: with settings, client, a simulator of its own, and its contract tests."""
    target = folder or Path(f"syncline-{name}")
    for path in write_package(role, name, target):
        print(path)  # noqa: T201  # the result
    print(f"Next: cd {shlex.quote(str(target))} && pip install -e '.[test]' && pytest; then README.md there")  # noqa: T201


@app.command()
def drift(
    fresh: Annotated[Path, typer.Argument(help="a new recording: a cassette, or a folder of them")],
    kept: Annotated[
        Path | None, typer.Option(help="what to hold it against; default: the folder of its name in cassettes/")
    ] = None,
) -> None:
    """Say how a vendor's answers in a fresh recording differ in shape from those that are kept; exit code 3 if so."""
    known, found = shapes(kept or Path("cassettes") / fresh.name), shapes(fresh)
    both = known.keys() & found.keys()
    if not both:
        raise ConfigError(
            f"{fresh} has no call in common with what is kept, so nothing was compared; name it with --kept"
        )
    differences = compare(known, found)
    for difference in differences:
        print(difference)  # noqa: T201  # the result
    new = len(found) - len(both)
    print(f"{len(both)} calls compared, {new} not kept so far; differences: {len(differences)}")  # noqa: T201  # the result
    raise typer.Exit(EXIT_STOPPED if differences else 0)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option(help="write it here: .syncline/connectors.schema.json suits editors")
    ] = None,
) -> None:
    """The JSON Schema of connectors.yaml, the settings of the installed connectors included."""
    found = Plugins.load()
    text = json.dumps(json_schema({kind: found.connector(kind).config_model for kind in found.kinds}), indent=2)
    if out is None:
        print(text)  # noqa: T201  # the result
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", "utf-8")


def exit_code_of(error: SynclineError) -> int:
    """What happens next decides, as in `syncline.errors`."""
    for kind, code in (
        (ConfigError, EXIT_CONFIG),
        (StoreError, EXIT_CONFIG),
        (AuthError, EXIT_PAUSED),
        (BusyError, EXIT_BUSY),
        (GuardError, EXIT_STOPPED),
        (SchemaDriftError, EXIT_STOPPED),
        (ConnectorError, EXIT_REJECTED),
    ):
        if isinstance(error, kind):
            return code
    return EXIT_REJECTED


def _interrupted() -> NoReturn:
    logs.complain("interrupted; what was done so far is recorded, the next run goes on from there")
    sys.exit(_INTERRUPTED)


def main() -> None:
    """The entry point: errors of ours in a sentence, anything else is our bug."""
    try:
        app()
    except SystemExit as left:
        if left.code != _INTERRUPTED:
            raise
        _interrupted()  # typer has caught the interruption, and said nothing
    except SynclineError as error:
        code = exit_code_of(error)
        logs.complain(str(error), exit_code=code)
        sys.exit(code)
    except (KeyboardInterrupt, Stopped):
        _interrupted()
    except Exception:
        logging.getLogger("syncline").exception("this is a bug of syncline; what was done so far is recorded")
        sys.exit(EXIT_BUG)
