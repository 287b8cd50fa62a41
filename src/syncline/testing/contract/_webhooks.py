"""The clauses about webhooks, for sources and for sinks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

from syncline.errors import WebhookRejectedError
from syncline.model import RawRecord
from syncline.sdk import Receives, WebhookRequest
from syncline.testing.contract._config import secrets_of
from syncline.testing.contract._expect import expect, expect_raised, lacks, not_given, offers
from syncline.testing.contract._format import KeepsFormat

__all__ = ["TakesWebhooks", "as_json"]

_LATER: Final = timedelta(days=1)
_WRONG: Final = "not-the-secret"
_GARBAGE: Final = (
    b"",
    b"{",
    b"null",
    b"17",
    b"[]",
    b"{}",
    b'[{"id": null}]',
    b'{"data": [1, [2]], "events": "x"}',
    b"a=b&a=c&%ff",
    b"\xff\xfe\x00\x01",
    b"[" * 5_000,
    b'{"n": ' + b"9" * 5_000 + b"}",
)


class TakesWebhooks(KeepsFormat):
    """Skipped as a whole by connectors that have no `receive`."""

    # What the author gives

    def webhook(self) -> WebhookRequest:
        """A request as the vendor would send it to this connection."""
        raise NotImplementedError

    def webhook_with(self, body: bytes) -> WebhookRequest:
        """The same request with another body, signed as the vendor would sign that. By default nothing is signed."""
        return replace(self.webhook(), body=body)

    # Clauses

    def test_webhook_rejects_tampering(self) -> None:
        """Verify first. Another body is refused; so is any other change, unless it makes no difference."""
        connector, true = self._receiving(), self.webhook()
        expected = list(connector.receive(true))
        for what, forged in _other_bodies(true).items():
            expect_raised(WebhookRejectedError, partial(connector.receive, forged), f"{what}: receive() raises")
        for what, forged in _other_parts(true).items():
            found = _or_refused(connector, forged, what)
            expect(found in ([], expected), f"{what}: it is taken for another message: {found}")
        bare = replace(true, headers={})
        expect_raised(WebhookRejectedError, partial(connector.receive, bare), "no headers: receive() raises")

    def test_webhook_rejects_a_missing_or_wrong_secret(self) -> None:
        """Whether it signs or stands in the address: who does not know it is refused."""
        connector, true = self._receiving(), self.webhook()
        stranger = type(connector)(_with_other_secrets(connector.config), connector.context)
        receive = partial(stranger.receive, true)
        expect_raised(WebhookRejectedError, receive, "a request made with another secret: receive() raises")
        for what, request in self._without_the_secret(connector, true):
            expect_raised(WebhookRejectedError, partial(connector.receive, request), f"{what}: receive() raises")

    def _without_the_secret(self, connector: Any, true: WebhookRequest) -> Iterator[tuple[str, WebhookRequest]]:
        secrets = [secret for _, secret in secrets_of(connector.config)]
        for what, instead in (("no secret", ""), ("a wrong secret", _WRONG)):
            without = _replaced(true, secrets, instead)
            if without != true:
                yield what, without
            if not instead:
                yield "nothing but the body", replace(without, headers={}, query="", path="/", url="")

    def test_webhook_rejects_an_old_timestamp(self) -> None:
        """What was signed a day ago is a replay by somebody who listened."""
        connector, true = self._receiving(), self.webhook()
        late = replace(true, received_at=true.received_at + _LATER)
        expect_raised(WebhookRejectedError, partial(connector.receive, late), "signed a day ago: receive() raises")

    def test_a_repeated_webhook_brings_the_same_again(self) -> None:
        """Vendors send twice when they are in doubt: the same keys, and hence nothing new."""
        receivers, true = (self._receiving(), self._receiving()), self.webhook()
        again = replace(true, received_at=true.received_at + timedelta(seconds=1))
        first, second = (self._meaning(r, request) for r, request in zip(receivers, (true, again), strict=True))
        expect(first == second, f"the same request means something else the second time: {first}, then {second}")

    def test_a_webhook_of_garbage_harms_nobody(self) -> None:
        """It is refused, brings nothing, or brings a record that `normalize` can refuse; it never breaks the server."""
        connector = self._receiving()
        for body in _GARBAGE:
            self._harmless(connector, replace(self.webhook(), body=body), body)
        if type(self).webhook_with is TakesWebhooks.webhook_with and self._signs(connector):
            not_given("webhook_with", "unsigned garbage is refused; for the signed kind")
        for body in _GARBAGE:
            self._harmless(connector, self.webhook_with(body), body)

    def _harmless(self, connector: Any, request: WebhookRequest, body: bytes) -> None:
        found = _or_refused(connector, request, f"the body {body[:40]!r}")
        for raw in found:
            self._holds_together(connector, raw, body)

    def _signs(self, connector: Any) -> bool:
        true = self.webhook()
        try:
            connector.receive(replace(true, body=true.body + b" "))
        except WebhookRejectedError:
            return True
        return False

    def test_receive_is_pure(self) -> None:
        """It calls nobody, keeps nothing, asks no clock but `received_at`: the vendor waits for our answer."""
        asked: list[str] = []
        connector, true = self._receiving(), self.webhook()
        context = connector.context

        def clock() -> datetime:
            asked.append("the clock")
            now: datetime = context.clock()
            return now

        keep, calls = dict(context.keep), context.http.metrics.total
        made = type(connector)(connector.config, replace(context, clock=clock))
        asked.clear()
        with self._watched() as network:
            first, second = list(made.receive(true)), list(made.receive(true))
        expect(not asked, "receive() asked the host's clock; a replay window counts from `received_at`")
        expect(not network.sent and context.http.metrics.total == calls, "receive() made a call")
        expect(dict(context.keep) == keep, "receive() kept something")
        expect(first == second, "the same request brought other records the second time")

    def test_webhook_records_are_plain(self) -> None:
        """They carry a stream and the vendor's own key, and can be stored as JSON."""
        connector = self._receiving()
        for raw in connector.receive(self.webhook()):
            expect(isinstance(raw.key, str) and raw.key, f"{raw.stream}: a record without a key of its own")
            self._of_a_known_stream(connector, raw)
            expect(as_json(raw.payload) == raw.payload, f"{raw.stream} {raw.key}: the payload is not plain JSON")

    # What the kits below say

    def _meaning(self, connector: Any, request: WebhookRequest) -> Sequence[Any]:
        """What a request comes down to."""
        raise NotImplementedError

    def _of_a_known_stream(self, connector: Any, raw: RawRecord) -> None:
        raise NotImplementedError

    def _holds_together(self, connector: Any, raw: RawRecord, body: bytes) -> None:
        raise NotImplementedError

    def _receiving(self) -> Any:
        connector = self.connect()
        return connector if offers(connector, Receives) else lacks("receive")


def as_json(payload: Mapping[str, Any]) -> Any:
    """The payload as it comes back from JSON; None when it cannot be written."""
    try:
        return json.loads(json.dumps(payload))
    except (TypeError, ValueError):
        return None


def _or_refused(connector: Any, request: WebhookRequest, what: str) -> list[RawRecord]:
    """What a request brings; nothing when it is refused, and AssertionError when `receive` breaks on it."""
    try:
        return list(connector.receive(request))
    except WebhookRejectedError:
        return []
    except Exception as error:
        raise AssertionError(
            f"{what}: receive() raised {type(error).__name__} ({error}); bad requests are a WebhookRejectedError"
        ) from error


def _other_bodies(true: WebhookRequest) -> dict[str, WebhookRequest]:
    middle = len(true.body) // 2
    changed = true.body[:middle] + bytes([true.body[middle] ^ 1]) + true.body[middle + 1 :]
    return {
        "a blank more at the end of the body": replace(true, body=true.body + b" "),
        "one letter of the body changed": replace(true, body=changed),
        "no body": replace(true, body=b""),
    }


def _other_parts(true: WebhookRequest) -> dict[str, WebhookRequest]:
    found = {
        "another method": replace(true, method="PUT"),
        "another path": replace(true, path=true.path + "x", url=true.url.replace(true.path, true.path + "x", 1)),
        "another query": replace(true, query="x=1", url=f"{true.url.partition('?')[0]}?x=1" if true.url else ""),
        "another host": replace(true, url=true.url.replace("://", "://x", 1)),
    }
    for name, value in true.headers.items():
        rest = {other: kept for other, kept in true.headers.items() if other != name}
        found[f"without the header {name}"] = replace(true, headers=rest)
        found[f"another {name}"] = replace(true, headers={**true.headers, name: _altered(value)})
        found[f"a {name} that is not ASCII"] = replace(true, headers={**true.headers, name: value + "\u00e9"})
    return found


def _altered(value: str) -> str:
    """Another value of the same kind: the last letter or digit is another one."""
    last = value[-1:] or "x"
    return value[:-1] + ("0" if last != "0" else "1")


def _replaced(true: WebhookRequest, secrets: Sequence[str], instead: str) -> WebhookRequest:
    def clean(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            for form in (secret, quote(secret, safe="")):
                text = text.replace(form, instead)
        return text

    return replace(
        true,
        path=clean(true.path),
        query=clean(true.query),
        url=clean(true.url),
        headers={name: clean(value) for name, value in true.headers.items()},
        body=clean(true.body.decode("latin-1")).encode("latin-1"),
    )


def _with_other_secrets(value: Any) -> Any:
    """The same settings, as somebody has them who guesses the secrets."""
    if isinstance(value, SecretStr):
        return SecretStr(f"{_WRONG}-{len(value)}") if value.get_secret_value() else value
    if isinstance(value, BaseModel):
        parts = {name: getattr(value, name) for name in type(value).model_fields}
        return value.model_copy(update={name: _with_other_secrets(part) for name, part in parts.items()})
    if isinstance(value, Mapping):
        return {name: _with_other_secrets(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_other_secrets(part) for part in value)
    return value
