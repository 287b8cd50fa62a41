"""A connector that uses the host's HTTP meets every trouble without a word from its author."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr
from werkzeug.wrappers import Request, Response

from syncline.errors import AuthError, ConnectorError, RateLimitError, TransientError
from syncline.model import Account, Event, Identifier, Page, RawRecord, event_id
from syncline.sdk import ConnectorConfig, Context, Http, SimulatorOptions, Source
from syncline.sdk.http import json_of
from syncline.testing.contract import SourceContract
from syncline.testing.simulator import VendorSimulator

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


class Vendor(VendorSimulator):
    """Hands out facts, three a page, to whoever has a token of today."""

    name = "vendor"
    routes = (("POST", "/token", "token"), ("GET", "/me", "me"), ("GET", "/facts", "facts"))

    def __init__(self, facts: int) -> None:
        super().__init__(SimulatorOptions())
        self.session = 1
        self.begin(facts)

    def begin(self, facts: int) -> None:
        """As on the first day."""
        self.known = [f"f{number}" for number in range(facts)]
        self.empty_page = self.same_token = self.broken = False

    def before(self, request: Request) -> Response | None:
        allowed = request.path == "/token" or request.headers.get("Authorization") == f"Bearer t{self.session}"
        return None if allowed else Response(status=401)

    def expire_sessions(self) -> None:
        self.session += 1

    def token(self, request: Request) -> Response:
        if request.form.get("secret") != "open sesame":
            return Response(status=401)
        return Response(f'{{"token": "t{self.session}"}}', content_type="application/json")

    def me(self, request: Request) -> Response:
        return Response('{"id": "a1", "name": "Acme"}', content_type="application/json")

    def facts(self, request: Request) -> Response:
        if self.broken:
            return Response("{")
        asked = request.args.get("after", "0")
        start = int(asked.rstrip("e"))
        if self.empty_page and start == 3 and not asked.endswith("e"):
            return _page([], "3e")
        found = self.known[start : start + 3]
        following = str(start + 3) if start + 3 < len(self.known) else None
        return _page(found, asked if self.same_token and following else following)


def _page(facts: list[str], after: str | None) -> Response:
    text = f'{{"facts": {facts}, "after": {after!r}}}'.replace("'", '"').replace("None", "null")
    return Response(text, content_type="application/json")


class HttpConfig(ConnectorConfig):
    """`secret` is what a token is given for, `base_url` where the vendor is."""

    secret: SecretStr
    base_url: str = "https://api.vendor.example"


class HttpSource(Source[HttpConfig]):
    kind = "over-http"
    config_model = HttpConfig
    streams = ("facts",)

    def __init__(self, config: HttpConfig, context: Context) -> None:
        super().__init__(config, context)
        context.http.configure(base_url=config.base_url)
        self._token = ""

    def check(self) -> Account:
        me = self._get("/me")
        return Account(me["id"], me["name"], {})

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        after: str | None = cursor or "0"
        while after is not None:
            answer = self._get(f"/facts?after={after}")
            if answer["after"] == after:
                raise TransientError("the same page again", where=stream)
            facts = [RawRecord(stream, fact, {"id": fact}) for fact in answer["facts"]]
            position, after = after, answer["after"]
            yield Page(facts, after or position)

    def normalize(self, raw: RawRecord) -> Iterator[Event]:
        yield Event(event_id("vendor", raw.key), "email_open", NOW, (Identifier("email", f"{raw.key}@x.example"),))

    def _get(self, path: str) -> Any:
        if not self._token:
            self._log_in()
        try:
            return self._once(path)
        except AuthError:
            self._log_in()
        return self._once(path)

    def _once(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        return json_of(self.context.http.request("GET", path, headers=headers), path)

    def _log_in(self) -> None:
        form = {"secret": self.config.secret.get_secret_value()}
        self._token = json_of(self.context.http.request("POST", "/token", data=form), "token")["token"]


@pytest.fixture(autouse=True, scope="module")
def _vendors() -> Iterator[None]:
    with Vendor(8) as TestHttpSource.vendor, Vendor(0) as TestHttpSource.empty:
        yield


class TestHttpSource(SourceContract):
    connector: ClassVar[type[HttpSource]] = HttpSource
    vendor: ClassVar[Vendor]
    empty: ClassVar[Vendor]

    def setup_method(self) -> None:
        self.vendor.begin(8)

    def connect(self, word: str = "open sesame", vendor: Vendor | None = None) -> Any:
        config = HttpConfig(secret=SecretStr(word), base_url=(vendor or self.vendor).url)
        return self.connector(config, Context("acme", Http("acme", sleep=lambda _: None), lambda: NOW, {}))

    def connect_refused(self) -> Any:
        return self.connect("open barley")

    def connect_empty(self) -> Any:
        return self.connect(vendor=self.empty)

    def happen(self) -> None:
        self.vendor.known.append("new")

    def break_reading(self) -> None:
        self.vendor.broken = True

    def empty_page(self) -> None:
        self.vendor.empty_page = True

    def repeat_page_token(self) -> None:
        self.vendor.same_token = True

    def end_session(self) -> None:
        self.vendor.expire_sessions()


class KnocksAgain(HttpSource):
    def _once(self, path: str) -> Any:
        try:
            return super()._once(path)
        except RateLimitError:
            raise
        except TransientError:
            return super()._once(path)


class KnocksAgainWhenThereAreTooMany(HttpSource):
    def _once(self, path: str) -> Any:
        try:
            return super()._once(path)
        except RateLimitError as error:
            if error.retry_after is not None:
                raise
            return super()._once(path)


class GivesUpForGood(HttpSource):
    """Whatever is wrong, it is the record's fault."""

    def _once(self, path: str) -> Any:
        try:
            return super()._once(path)
        except RateLimitError:
            raise
        except TransientError as error:
            raise ConnectorError(str(error)) from error


class ForgetsWhenItMayComeBack(HttpSource):
    def _once(self, path: str) -> Any:
        try:
            return super()._once(path)
        except RateLimitError:
            raise
        except TransientError as error:
            raise TransientError(str(error)) from error


class HearsNoRequestToSlowDown(HttpSource):
    def _once(self, path: str) -> Any:
        try:
            return super()._once(path)
        except RateLimitError as error:
            raise TransientError(str(error), retry_after=error.retry_after) from error


class TakesRefusalsForWeather(HttpSource):
    def _get(self, path: str) -> Any:
        try:
            return super()._get(path)
        except AuthError as error:
            if "/token" in str(error) and "facts" not in path:
                raise
            raise TransientError(str(error)) from error


class LogsInOnce(HttpSource):
    def _get(self, path: str) -> Any:
        if not self._token:
            self._log_in()
        return self._once(path)


class AsksForEver(HttpSource):
    """For the page that should follow, without handing over a page meanwhile."""

    def _get(self, path: str) -> Any:
        answer = super()._get(path)
        while "facts" in answer and answer["after"] == path.rpartition("=")[2]:
            answer = super()._get(path)
        return answer


class LeavesAPoolBehind(HttpSource):
    done: ClassVar = threading.Event()

    def read(self, stream: str, cursor: str | None) -> Iterator[Page]:
        threading.Thread(target=self.done.wait, name="pool-of-two", daemon=True).start()
        yield from super().read(stream, cursor)


class PhonesHome(HttpSource):
    def check(self) -> Account:
        self.context.http.request("GET", "https://telemetry.vendor.example/hello")
        return super().check()


BREAKS = {
    KnocksAgain: "test_trouble_is_not_tried_again",
    KnocksAgainWhenThereAreTooMany: "test_trouble_is_not_tried_again",
    GivesUpForGood: "test_an_outage_is_weather",
    ForgetsWhenItMayComeBack: "test_an_outage_is_weather",
    HearsNoRequestToSlowDown: "test_a_request_to_slow_down_says_for_how_long",
    TakesRefusalsForWeather: "test_withdrawn_access_is_an_auth_error",
    LogsInOnce: "test_a_session_that_ends_is_renewed",
    AsksForEver: "test_a_page_token_that_comes_again_is_an_error",
    LeavesAPoolBehind: "test_nothing_sleeps_and_no_thread_stays",
}


def held(kit: type[Any], clause: str) -> str:
    """Nothing when the clause holds, else what it said, or why it was skipped."""
    suite = kit()
    suite.setup_method()
    try:
        getattr(suite, clause)()
    except AssertionError as error:
        return f"broken: {error}"
    except pytest.skip.Exception as skipped:
        return f"skipped: {skipped}"
    return ""


def kit_for(connector: type[Any]) -> type[Any]:
    return type(f"Kit{connector.__name__}", (TestHttpSource,), {"connector": connector})


@pytest.mark.parametrize(("connector", "clause"), BREAKS.items(), ids=[c.__name__ for c in BREAKS])
def test_exactly_the_broken_clause_fails(connector: type[Any], clause: str) -> None:
    clauses = [name for name in dir(TestHttpSource) if name.startswith("test_")]
    said = {name: held(kit_for(connector), name) for name in clauses}
    assert [name for name, words in said.items() if words.startswith("broken")] == [clause], said[clause]


def test_only_webhooks_are_skipped() -> None:
    clauses = [name for name in dir(TestHttpSource) if name.startswith("test_")]
    skipped = {words for name in clauses if (words := held(TestHttpSource, name))}
    webhooks, unpinned = "skipped: the connector has no `receive`", "skipped: nothing is pinned of `source "
    assert {words for words in skipped if not words.startswith(unpinned)} == {webhooks}


class TakesTheTimeTheVendorAsksFor(HttpSource):
    def _once(self, path: str) -> Any:
        self.context.http.pause(0.001)
        return super()._once(path)


def test_who_waits_through_the_host_does_not_sleep() -> None:
    assert not held(kit_for(TakesTheTimeTheVendorAsksFor), "test_nothing_sleeps_and_no_thread_stays")


def test_a_simulator_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(vendor: Vendor, request: Request) -> Response:
        asleep.append(request.path)
        time.sleep(0.001)
        return answer(vendor, request)

    asleep: list[str] = []
    answer = Vendor.me
    monkeypatch.setattr(Vendor, "me", slowly)
    assert not held(TestHttpSource, "test_nothing_sleeps_and_no_thread_stays")
    assert asleep


def test_an_address_that_no_setting_moves_is_named() -> None:
    """And the call is not made."""
    said = held(kit_for(PhonesHome), "test_every_address_can_be_set")
    assert "no setting moves: telemetry.vendor.example" in said
    assert not held(TestHttpSource, "test_every_address_can_be_set")
