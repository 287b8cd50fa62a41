"""The command line. stdout is the result, stderr the log."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import typer
from rich.console import Console

from syncline import __version__
from syncline.cli import browse, demo, progress, show
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
from syncline.server import serve as receive_webhooks
from syncline.sync.report import Report

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
app.add_typer(browse.app)

ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="the connectors.yaml to use")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON instead of tables")]
AsOf = Annotated[datetime | None, typer.Option("--as-of", help="score as of this time (UTC), instead of now")]
Person = Annotated[str | None, typer.Option("--person", help="only this person: e-mail address, vendor id, or our key")]
Sync = Annotated[str | None, typer.Option("--sync", help="only this sync")]
DEFAULT: Final = Path("connectors.yaml")


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)  # noqa: T201  # the result
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log every call")] = False,
    version: Annotated[  # noqa: ARG001  # its callback prints it
        bool, typer.Option("--version", help="print the version", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("urllib3").setLevel(logging.WARNING)


@app.command()
def plan(
    config: ConfigPath = DEFAULT,
    sync: Sync = None,
    person: Person = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
    every: Annotated[bool, typer.Option("--all", help="show every record, not only the first 20")] = False,
) -> None:
    """Show what `run` would write, record by record and field by field, and what it will cost. Writes nothing."""
    result = _with_host(config, lambda host: host.plan(sync=sync, person=person, as_of=_utc(as_of)))
    if not as_json:
        show.changes(Console(), result, limit=sys.maxsize if every else 20)
    _finish(result, as_json)


@app.command()
def run(
    config: ConfigPath = DEFAULT,
    sync: Sync = None,
    person: Person = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
    once: Annotated[bool, typer.Option("--once", help="one pass, then exit: for cron (what it does anyway)")] = True,  # noqa: ARG001
) -> None:
    """Pull, score, and write what `plan` shows."""
    result = _with_host(config, lambda host: host.run(sync=sync, person=person, as_of=_utc(as_of)))
    _finish(result, as_json)


@app.command()
def pull(
    source: Annotated[str | None, typer.Argument(help="only this connection")] = None,
    config: ConfigPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Read the sources: raw records become events. Nothing is scored or written to a CRM."""
    only = [source] if source else Host.load(config, only=()).source_names()
    _finish(_with_host(config, lambda host: host.pull(source), only=only), as_json)


@app.command()
def replay(
    source: Annotated[str, typer.Argument(help="the connection whose records are normalized again")],
    config: ConfigPath = DEFAULT,
    every: Annotated[bool, typer.Option("--all", help="every raw record still kept, not only the quarantined")] = False,
    as_json: AsJson = False,
) -> None:
    """Try quarantined records again; with --all, apply a corrected `classify` table to everything still kept."""
    _finish(_with_host(config, lambda host: host.replay(source, everything=every), only=[source]), as_json)


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
        found = host.explain(person, segment=segment, as_of=_utc(as_of))
    if as_json:
        _print_json(found.to_json())
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
) -> None:
    """Check the configuration; with --live, also credentials and mappings."""
    with Host.load(config) as host:
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
        parked = [found for target in host.preflight(name) for found in target.parked]
    except ConnectorError as error:
        place = "" if str(error).startswith(f"{name}:") else f"{name}: "
        print(f"{place}{error}", file=sys.stderr)  # noqa: T201  # the log
        yield exit_code_of(error)
        return
    for found in parked:
        print(f"{name}: {found.object}.{found.field}: {show.short(found.reason)}")  # noqa: T201  # the result
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
        _print_json(result.model_dump(mode="json"))
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
    demo.simulate(vendors or [], people=people, seed=seed, clock=_utc(clock), folder=folder, faults=faults)


@app.command()
def serve(
    config: ConfigPath = DEFAULT,
    host: Annotated[
        str, typer.Option("--host", help="the address to listen on; 0.0.0.0: all of this machine")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="the port to listen on; 0: any free one")
    ] = 8080,
) -> None:
    """Receive webhooks, one address a connection, until stopped. What comes in waits for the next run."""
    with Host.load(config, only=()) as known:
        only = known.receiving_names()
    with Host.load(config, only=only) as opened:
        receive_webhooks(opened, host, port, ready=_print_lines)


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
        _print_json([dict(zip(columns, row, strict=True)) for row in data])
    else:
        show.rows(Console(), "Connectors", columns, data)
    for broken in found.broken:
        print(broken, file=sys.stderr)  # noqa: T201  # the log


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


def _with_host(config: Path, call: Callable[[Host], Report], only: Sequence[str] | None = None) -> Report:
    with Host.load(config, only=only) as host, progress.choose() as shown:
        host.progress = shown
        return call(host)


def _finish(result: Report, as_json: bool) -> None:
    if as_json:
        _print_json(result.model_dump(mode="json"))
    else:
        show.report(Console(), result)
    raise typer.Exit(result.exit_code)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201  # the result


def _utc(moment: datetime | None) -> datetime | None:
    """A time typed without a zone is UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
    print("interrupted; what was done so far is recorded, the next run goes on from there", file=sys.stderr)  # noqa: T201  # the log
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
        print(error, file=sys.stderr)  # noqa: T201  # the log
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        _interrupted()
    except Exception:
        logging.getLogger("syncline").exception("this is a bug of syncline; what was done so far is recorded")
        sys.exit(EXIT_BUG)
