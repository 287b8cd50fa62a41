"""What each section of docs/write-a-source.md adds, held against the simulator of the package that it begins with."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest
from pydantic import SecretStr, ValidationError, model_validator
from werkzeug.wrappers import Request, Response

from syncline.config import Config, KindInfo, load
from syncline.errors import AuthError, ConfigError, RecordError, TransientError
from syncline.events.repeats import submission_of
from syncline.host.scaffold import write_package
from syncline.model import Event, Identifier, RawRecord
from syncline.sdk import ConnectorConfig, Context, Http, SimulatorOptions
from syncline.testing.population import EPOCH
from syncline.testing.simulator import Fault

PAGE = Path(__file__).parents[3] / "docs" / "write-a-source.md"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Every block of the page, one after the other, as one module."""
    write_package("source", "shop", tmp_path / "syncline-shop")
    monkeypatch.syspath_prepend(tmp_path / "syncline-shop" / "src")
    made = ModuleType("page")
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile("\n".join(code), "page", "exec", dont_inherit=True), made.__dict__)  # noqa: S102  # what it is about
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == "syncline_shop"]:
        del sys.modules[name]


@pytest.fixture
def shop(page: Any) -> Iterator[Any]:
    """The vendor of the page, with what it supposes besides: `since`, and sessions with a refresh token for one use."""

    class Shop(page.ShopSimulator):  # type: ignore[misc]  # a class made at run time
        routes = (*page.ShopSimulator.routes, ("POST", "/token", "renew"))

        def __init__(self, options: SimulatorOptions) -> None:
            self.access, self.refresh = "none yet", "r0"
            super().__init__(options)

        def before(self, request: Request) -> Response | None:
            if request.path == "/token" or request.headers.get("Authorization") == f"Bearer {self.access}":
                return None
            found: Response | None = super().before(request)
            return found

        def renew(self, request: Request) -> Response:
            if request.form["refresh_token"] != self.refresh:
                return Response(status=401)
            self.access, self.refresh = f"a{self.refresh[1:]}", f"r{int(self.refresh[1:]) + 1}"
            return Response(json.dumps({"access_token": self.access, "refresh_token": self.refresh}))

        def facts(self, request: Request) -> Response:
            since = request.args.get("since")
            if since is None:
                found: Response = super().facts(request)
                return found
            late = [f for f in self.table("facts").values() if f["at"] >= since]
            return Response(json.dumps({"facts": late, "next": None}))

    with Shop(SimulatorOptions(people=12, clock=EPOCH)) as simulator:
        yield simulator


@pytest.fixture
def connect(page: Any, shop: Any) -> Iterator[Callable[..., Any]]:
    opened = []

    def connected(kind: str, keep: dict[str, str] | None = None, **settings: Any) -> Any:
        given = {"token": shop.settings["token"], "base_url": shop.url, **settings}
        source = getattr(page, kind)
        http = Http("visits", sleep=lambda _: None)
        opened.append(http)
        return source(source.config_model(**given), Context("visits", http, shop.now, {} if keep is None else keep))

    yield connected
    for http in opened:
        http.close()


def keys(source: Any, cursor: str | None = None) -> list[str]:
    return [raw.key for page in source.read("facts", cursor) for raw in page.records]


def events(source: Any) -> list[Event]:
    return [event for page in source.read("facts", None) for raw in page.records for event in source.normalize(raw)]


def last_cursor(source: Any, cursor: str | None = None) -> str | None:
    cursors: list[str | None] = [page.cursor for page in source.read("facts", cursor)]
    return cursors[-1]


def test_thirty_lines_read_everything_and_say_who_it_is(connect: Callable[..., Any]) -> None:
    source = connect("ShopSource")
    assert source.check().name
    assert len(keys(source)) == 4
    assert {event.id for event in events(source)} == {event.id for event in events(connect("ShopSource"))}
    with pytest.raises(AuthError):
        connect("ShopSource", token="withdrawn").check()


def test_thirty_lines_take_trouble_for_weather(connect: Callable[..., Any], shop: Any) -> None:
    for fault in (Fault("html", times=None), Fault("truncated", times=None), Fault("drop_before", times=None)):
        shop.faults = [fault]
        with pytest.raises(TransientError):
            keys(connect("ShopSource"))


def test_with_pages_and_a_cursor_the_next_read_brings_what_is_new(connect: Callable[..., Any], shop: Any) -> None:
    source = connect("ShopInPages")
    source.page_size = 3
    assert [len(page.records) for page in source.read("facts", None)] == [3, 1]
    cursor = last_cursor(source)
    new = shop.add_fact("ada@x.example", "https://www.example.com/")
    assert keys(source, cursor) == [new["id"]]


def test_with_a_lookback_late_facts_are_found(connect: Callable[..., Any], shop: Any) -> None:
    source = connect("ShopByTime")
    cursor = last_cursor(source)
    late = shop.add_fact("ada@x.example", "https://www.example.com/")
    shop.table("facts")[late["id"]] = {**late, "at": (shop.now() - timedelta(minutes=30)).isoformat()}
    assert keys(source, cursor) == [late["id"]]


@pytest.mark.parametrize(
    "wrong",
    [{"email": None}, {"at": "yesterday"}, {"at": "2026-06-01T08:00:00"}],
    ids=["no address", "no time", "no time zone"],
)
def test_a_record_that_cannot_be_used_is_refused_alone(connect: Callable[..., Any], wrong: dict[str, Any]) -> None:
    good = {"id": "f1", "at": "2026-06-01T10:00:00+02:00", "email": " Ada@X.example", "url": "/prezzi", "new": 1}
    source = connect("ShopChecked")
    [event] = source.normalize(RawRecord("facts", "f1", good))
    assert (event.occurred_at, event.identifiers[0].value) == (datetime(2026, 6, 1, 8, tzinfo=UTC), "ada@x.example")
    with pytest.raises(RecordError):
        list(source.normalize(RawRecord("facts", "f1", {**good, **wrong})))


def test_people_are_known_by_address_and_number_and_have_a_profile(connect: Callable[..., Any]) -> None:
    fact = {"id": "f1", "at": "2026-06-01T08:00:00Z", "email": "ada@x.example", "customer": "7", "name": "Ada Rossi"}
    [event] = connect("ShopKnowsPeople").normalize(RawRecord("facts", "f1", fact))
    assert event.identifiers == (Identifier("email", "ada@x.example"), Identifier("shop:customer", "7"))
    assert event.profile == {"first_name": "Ada", "last_name": "Rossi"}


def test_forms_tell_two_submissions_apart_and_keep_no_answer(page: Any) -> None:
    """`submission_of` is what the host goes by."""
    at = datetime(2026, 6, 1, tzinfo=UTC)
    asked = {"budget": "10k", "message": "call me"}
    first, again, other = (
        page.submission(number, at, "ada@x.example", {**asked, "message": message})
        for number, message in (("1", "call me"), ("2", "call me"), ("3", "do not call me"))
    )
    assert submission_of(first.properties) == submission_of(again.properties)
    assert submission_of(first.properties) not in (None, submission_of(other.properties))
    assert "call me" not in str(other.properties)
    assert submission_of({"form_id": "contact"}) is None, "without fields nothing is a repetition"


def test_a_session_that_ends_is_renewed_and_its_refresh_token_is_kept(connect: Callable[..., Any], shop: Any) -> None:
    keep: dict[str, str] = {}
    first = keys(connect("ShopWithSessions", keep, token="r0"))
    assert keep == {"access": "a0", "refresh": "r1"}
    shop.access = "ended"
    assert keys(connect("ShopWithSessions", keep, token="r0")) == first
    assert keep["refresh"] == "r2"
    shop.access, shop.refresh = "ended", "revoked"
    with pytest.raises(AuthError):
        keys(connect("ShopWithSessions", keep, token="r0"))


def test_settings_that_exclude_each_other_are_explained_in_the_terms_of_the_way_that_was_meant(page: Any) -> None:
    assert page.ShopLoginConfig(login={"token": "t"}).login.token.get_secret_value() == "t"
    with pytest.raises(ValidationError) as caught:
        page.ShopLoginConfig(login={"client_id": "app"})
    assert [e["loc"][-1] for e in caught.value.errors(include_input=False)] == ["refresh_token"]
    with pytest.raises(ValidationError) as caught:
        page.ShopLoginConfig()
    assert [e["type"] for e in caught.value.errors(include_input=False)] == ["missing"]


class EitherOr(ConnectorConfig):
    """What the page advises against: `token` or `client_id`, and a rule about them."""

    token: SecretStr | None = None
    client_id: str | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.token is None) == (self.client_id is None):
            raise ValueError("give either token or client_id")
        return self


def test_a_simulated_connection_may_leave_out_a_required_model_but_not_break_a_rule(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "connectors.yaml"
    path.write_text("version: 1\nconnections: {visits: {plugin: shop, simulated: true}}\n", "utf-8")

    def loaded(model: type[ConnectorConfig]) -> Config:
        kind = KindInfo(is_source=True, is_sink=False, creates_tasks=False, keeps_segments=False, config_model=model)
        return load(path, env={}, kinds={"shop": kind})

    assert loaded(page.ShopLoginConfig).connections["visits"].simulated
    with pytest.raises(ConfigError, match="give either token or client_id"):
        loaded(EitherOr)
