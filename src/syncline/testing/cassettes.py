"""Recorded HTTP, replayed: small, honest about its birth, and unforgiving.

The first line of every cassette says where it comes from:

    # provenance: recorded|synthetic|edited, <source>, <date>

A request is played back when method, address and canonical body agree. A request the cassette does not know fails, and
so does an interaction that was never played: both mean that the client no longer does what was recorded.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import vcr  # type: ignore[import-untyped]  # vcrpy ships no types
from vcr.cassette import Cassette  # type: ignore[import-untyped]
from vcr.persisters.filesystem import CassetteNotFoundError  # type: ignore[import-untyped]
from vcr.request import Request  # type: ignore[import-untyped]
from vcr.serialize import deserialize, serialize  # type: ignore[import-untyped]

from syncline.testing.redact import Redactor

__all__ = ["CassetteError", "Provenance", "provenance_of", "use_cassette"]

logging.getLogger("vcr").setLevel(logging.WARNING)  # at INFO it logs whole responses before they are scrubbed

SCRUBBED: Final = "SCRUBBED"
LOOPBACK: Final = "http://simulator.invalid"
"""Stands for whatever loopback address and port a simulator listened on, in addresses and in bodies."""

_REQUEST_HEADERS: Final = frozenset(
    {"accept", "content-type", "if-match", "if-modified-since", "if-none-match", "prefer"}
)
_RESPONSE_HEADERS: Final = frozenset(
    {"content-type", "date", "etag", "last-modified", "link", "location", "retry-after"}
)
_VENDOR_HEADERS: Final = re.compile(
    r"sforce-.*|.*(?:request|correlation)-id|.*rate-?limit.*|.*-total(?:pages)?", re.IGNORECASE
)
"""What vendors say beside the answer: their id of the call, their limits, their counts."""

_SECRET_NAMES: Final = (
    "(?:(?:access|refresh|id|auth|csrf)[_-]?)?token(?:[_-]?key)?|client[_-]?secret|(?:client[_-]?)?assertion|api[_-]?key"  # noqa: S105  # names of secrets
    "|consumer[_-]?(?:key|secret)|(?:secret|private)[_-]?key|(?:[a-z-]+[_-])?signature|password|secret"
    "|authorization|code[_-]?verifier"
)
_SECRETS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf'(?P<before>"(?:{_SECRET_NAMES})"\s*:\s*")(?:[^"\\]|\\.)+',  # JSON, also when it is cut off
        rf'(?P<before>\\"(?:{_SECRET_NAMES})\\"\s*:\s*\\")[^"\\]+',  # JSON inside a JSON text
        rf"(?P<before>(?<![\w-])(?:{_SECRET_NAMES})=)[^&\s\"'<>\\]+",  # forms, and addresses anywhere
        rf"(?P<before><(?:\w+:)?(?:{_SECRET_NAMES}|sessionId)>)[^<]+",  # XML
    )
)
_LOOPBACK_ADDRESS: Final = re.compile(r"https?:(\\?/\\?/)(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?(?![\w.])")
_PROVENANCE: Final = re.compile(r"# provenance: (recorded|synthetic|edited), (\S.*), (\d{4}-\d{2}-\d{2})")


class CassetteError(AssertionError):
    """A cassette that cannot be trusted, or a client that does not do what was recorded."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a cassette comes from: recorded from the real thing, made up (synthetic), or recorded and then edited."""

    birth: Literal["recorded", "synthetic", "edited"]
    source: str
    date: date

    def __str__(self) -> str:
        return f"# provenance: {self.birth}, {self.source}, {self.date.isoformat()}"


@contextmanager
def use_cassette(
    path: Path,
    *,
    record: bool = False,
    source: str | None = None,
    today: date | None = None,
    redactor: Redactor | None = None,
) -> Iterator[Cassette]:
    """Replay `path` for all HTTP inside the block; with `record`, make it anew from what is really sent.

    Open sessions inside the block: connections opened before it are not intercepted. `source` and `today` go into the
    first line of a new recording (default: the hosts that answered, and today); what answered on loopback is
    synthetic. With a `redactor` a recording keeps nothing personal.

    CassetteError when the file is missing or does not say where it comes from, when an interaction is never played, or
    when a recording would be empty. vcrpy's own error says how an unknown request differs.
    """
    if not record:
        provenance_of(path)
    tape = _Tape(record=record, source=source, today=today or datetime.now(UTC).date())
    with _recorder(tape, redactor).use_cassette(path) as cassette:
        yield cassette
    if record and not len(cassette):
        raise CassetteError(f"nothing was sent, so nothing was recorded: {path}")
    if not record:
        _refuse_leftovers(path, cassette)


def provenance_of(path: Path) -> Provenance:
    """What the first line of a cassette says; CassetteError when it does not say it."""
    if not path.is_file():
        raise CassetteError(f"no cassette at {path}; make one with use_cassette(path, record=True)")
    with path.open(encoding="utf-8") as lines:
        first = lines.readline().rstrip("\n")
    found = _PROVENANCE.fullmatch(first)
    if found is None:
        raise CassetteError(
            f"{path}:1: the first line must be '# provenance: recorded|synthetic|edited, <source>, <yyyy-mm-dd>';"
            f" it is {first[:80]!r}"
        )
    birth, source, day = found.groups()
    try:
        return Provenance(birth, source, date.fromisoformat(day))  # type: ignore[arg-type]  # the pattern lists them
    except ValueError as error:
        raise CassetteError(f"{path}:1: {day} is not a date") from error


def _refuse_leftovers(path: Path, cassette: Cassette) -> None:
    left = [
        f"  {number + 1}. {request.method} {request.uri}"
        for number, request in enumerate(cassette.requests)
        if not cassette.play_counts[number]
    ]
    if left:
        raise CassetteError(f"{path}: never played:\n" + "\n".join(left))


class _Tape:
    """Reads and writes one cassette file, provenance line included. (vcrpy calls this a persister.)"""

    def __init__(self, *, record: bool, source: str | None, today: date) -> None:
        self.record = record
        self._source = source
        self._today = today

    def load_cassette(self, cassette_path: Path, serializer: Any) -> Any:
        if self.record:
            raise CassetteNotFoundError  # a recording replaces what was there
        return deserialize(Path(cassette_path).read_text(encoding="utf-8"), serializer)

    def save_cassette(self, cassette_path: Path, cassette_dict: dict[str, Any], serializer: Any) -> None:
        path = Path(cassette_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        first = self._provenance(cassette_dict["requests"])
        path.write_text(f"{first}\n{serialize(cassette_dict, serializer)}", encoding="utf-8")

    def _provenance(self, requests: list[Request]) -> Provenance:
        hosts = sorted({f"{request.scheme}://{request.host}" for request in requests})
        if hosts == [LOOPBACK]:
            return Provenance("synthetic", self._source or "a simulator on loopback", self._today)
        return Provenance("recorded", self._source or " ".join(hosts), self._today)


def _recorder(tape: _Tape, redactor: Redactor | None) -> vcr.VCR:
    recorder = vcr.VCR(
        record_mode=vcr.mode.ALL if tape.record else vcr.mode.NONE,
        match_on=("method", "address", "canonical_body"),
        before_record_request=partial(_clean_request, redactor=redactor),
        before_record_response=partial(_clean_response, redactor=redactor),
        decode_compressed_response=True,
        record_on_exception=False,  # a test that failed half way must not leave half a cassette
    )
    recorder.register_persister(tape)
    recorder.register_matcher("address", _same_address)
    recorder.register_matcher("canonical_body", _same_body)
    return recorder


def _same_address(sent: Request, recorded: Request) -> None:
    if sent.uri != recorded.uri:
        raise AssertionError(f"sent {sent.uri}, recorded {recorded.uri}")


def _same_body(sent: Request, recorded: Request) -> None:
    if sent.body != recorded.body:
        raise AssertionError(f"sent {sent.body!r}, recorded {recorded.body!r}")


def _clean_request(request: Request, redactor: Redactor | None = None) -> Request:
    """The request as it is kept and compared; cleaning twice changes nothing."""
    request.uri = _clean_address(request.uri)
    request.headers = {n: v for n, v in request.headers.items() if _allowed(n, _REQUEST_HEADERS)}
    content_type = str(request.headers.get("Content-Type", ""))
    request.body = _canonical_body(request.body, content_type)
    if redactor is not None:
        request.uri = redactor.text(request.uri)
        request.body = request.body and redactor.sent(request.body, content_type)
    return request


def _clean_response(response: dict[str, Any], redactor: Redactor | None = None) -> dict[str, Any]:
    response["headers"] = {
        name: [_scrub(value) for value in values]
        for name, values in response["headers"].items()
        if _allowed(name, _RESPONSE_HEADERS)
    }
    if redactor is not None:
        response["headers"] = {n: [redactor.header(v) for v in values] for n, values in response["headers"].items()}
    body = response["body"]
    if body.get("string"):
        body["string"] = _scrub_bytes(body["string"])
    if redactor is not None and body.get("string"):
        content_type = " ".join(response["headers"].get("Content-Type", response["headers"].get("content-type", [])))
        body["string"] = redactor.body(body["string"], content_type)
    return response


def _allowed(name: str, names: frozenset[str]) -> bool:
    return name.lower() in names or _VENDOR_HEADERS.fullmatch(name) is not None


def _clean_address(address: str) -> str:
    """Without credentials and port, the query sorted, loopback under its one name."""
    parts = urlsplit(_scrub(address))
    query = urlencode(sorted(parse_qsl(parts.query, keep_blank_values=True)))
    host = parts.hostname or ""
    return urlunsplit((parts.scheme, f"[{host}]" if ":" in host else host, parts.path, query, ""))


def _canonical_body(body: Any, content_type: str) -> bytes | None:
    if not body:
        return None
    raw = body if isinstance(body, bytes | bytearray) else body.read() if hasattr(body, "read") else b"".join(body)
    cleaned = _scrub_bytes(bytes(raw))
    try:
        if "json" in content_type:
            return json.dumps(json.loads(cleaned), sort_keys=True, ensure_ascii=False).encode()
        if "x-www-form-urlencoded" in content_type:
            return _canonical_form(cleaned.decode()).encode()
    except ValueError:  # it is not what its header says: compared as it is
        return cleaned
    return cleaned


def _canonical_form(body: str) -> str:
    fields = sorted(parse_qsl(body, keep_blank_values=True))
    if any(name == "grant_type" for name, _ in fields):  # only there is `code` a secret; elsewhere it names an error
        fields = [(name, SCRUBBED if name == "code" else value) for name, value in fields]
    return urlencode(fields)


def _scrub_bytes(body: bytes) -> bytes:
    try:
        return _scrub(body.decode()).encode()
    except UnicodeDecodeError:
        return body


def _scrub(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<before>{SCRUBBED}", text)
    return _LOOPBACK_ADDRESS.sub(r"http:\1simulator.invalid", text)
