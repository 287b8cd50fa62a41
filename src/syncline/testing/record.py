"""Records a connector's reads against a real account: `python -m syncline.testing.record KIND`.

Nothing is written there: the account is checked, and of each stream or object the first pages are read. What comes
back is redacted (`syncline.testing.redact`) before it is kept. Settings come from the environment, a nested one with
two underscores, lists and mappings as JSON:

    SYNCLINE_ACME_API_KEY=… SYNCLINE_ACME_LOGIN__CLIENT_ID=… python -m syncline.testing.record acme
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from syncline.errors import ConfigError, ConnectorError, did_you_mean
from syncline.sdk import Connector, Context, Http, Polls, Sink
from syncline.testing.cassettes import CassetteError, use_cassette
from syncline.testing.redact import Redactor

__all__ = ["main", "record", "settings_of"]


def record(connector: Connector[Any], folder: Path, *, objects: Sequence[str] = (), pages: int = 1) -> list[Path]:
    """One cassette for each thing that can be read: the account, every stream, every object; which were written.

    ConnectorError where the vendor refuses; what was recorded before stays.
    """
    redactor = Redactor()
    written = []
    for name, read in _reads(connector, objects, pages):
        path = folder / f"{name}.yaml"
        connector.context.http.close()  # connections opened before a cassette are not recorded
        with use_cassette(path, record=True, redactor=redactor):
            read()
        written.append(path)
    return written


def _reads(connector: Connector[Any], objects: Sequence[str], pages: int) -> Iterable[tuple[str, Any]]:
    yield "account/check", connector.check
    if isinstance(connector, Polls):
        for stream in getattr(connector, "streams", ()):
            yield f"{stream}/read", lambda stream=stream: _first(connector.read(stream, None), pages)
    if isinstance(connector, Sink):
        for name in objects:
            yield f"{name}/describe", lambda name=name: connector.describe(name)
            yield f"{name}/changes", lambda name=name: _first(connector.changes(name, [], None), pages)


def _first(pages: Iterable[Any], count: int) -> list[Any]:
    return list(itertools.islice(pages, count))


def settings_of(kind: str, model: type[Any], env: Mapping[str, str]) -> Any:
    """The connector's settings from the environment; ConfigError names the variables that are missing or wrong."""
    prefix = f"SYNCLINE_{kind}_".upper().replace("-", "_")
    found: dict[str, Any] = {}
    for name, text in env.items():
        if name.startswith(prefix):
            *outer, last = name.removeprefix(prefix).lower().split("__")
            place = found
            for key in outer:
                place = place.setdefault(key, {})
                if not isinstance(place, dict):
                    raise ConfigError(f"the environment says two things of {kind}: {name}, and what is above it")
            place[last] = _setting(text)
    try:
        return model.model_validate(found)
    except ValidationError as error:
        told = "; ".join(
            f"{prefix}{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError(f"the environment does not say how to reach {kind}: {told}") from None


def _setting(text: str) -> Any:
    """A list or a mapping as JSON; a secret may begin like one, and is a text all the same."""
    if text.startswith(("[", "{")):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text


def connector_class(kind: str) -> type[Connector[Any]]:
    """The installed connector of this kind; ConfigError lists those there are, and packages that cannot be used."""
    known: dict[str, type[Connector[Any]]] = {}
    broken = []
    for entry in entry_points(group="syncline"):
        try:
            known |= {connector.kind: connector for connector in entry.load().connectors()}
        except Exception as error:  # noqa: BLE001  # a plugin's import may raise anything at all
            broken.append(f"; plugin {entry.name!r} cannot be used: {type(error).__name__}: {error}")
    if kind not in known:
        raise ConfigError(f"no installed plugin provides {kind!r}; {did_you_mean(kind, known)}{''.join(broken)}")
    return known[kind]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything was recorded."""
    parser = argparse.ArgumentParser(prog="python -m syncline.testing.record", description=__doc__)
    parser.add_argument("kind", help="the connector's kind")
    parser.add_argument("--out", type=Path, default=None, help="folder; default .syncline/recorded/KIND")
    parser.add_argument(
        "--object", action="append", default=[], dest="objects", help="a CRM object to read; repeatable"
    )
    parser.add_argument("--pages", type=int, default=1, help="pages of each stream or object")
    chosen = parser.parse_args(arguments)
    folder = chosen.out or Path(".syncline/recorded") / chosen.kind
    try:
        kind = connector_class(chosen.kind)
        settings = settings_of(chosen.kind, kind.config_model, os.environ)
        http = Http(chosen.kind)
        connector = kind(settings, Context(chosen.kind, http, lambda: datetime.now(UTC), {}))
        for path in record(connector, folder, objects=chosen.objects, pages=chosen.pages):
            sys.stdout.write(f"{path}\n")
    except (ConnectorError, ConfigError, CassetteError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"read them before you share them; `syncline drift {folder}` compares them with those kept\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
