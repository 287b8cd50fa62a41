"""Cassettes replay what was recorded, and nothing else."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest
from vcr.errors import CannotOverwriteExistingCassetteException
from werkzeug.wrappers import Request, Response

from syncline.sdk import Http
from syncline.testing.cassettes import CassetteError, Provenance, provenance_of, use_cassette
from syncline.testing.redact import Redactor
from syncline.testing.simulator import VendorSimulator

DAY = date(2026, 6, 1)


class EchoSimulator(VendorSimulator):
    name = "echo"
    routes: ClassVar = [
        ("POST", "/echo", "echo"),
        ("POST", "/token", "token"),
        ("GET", "/page", "page"),
        ("GET", "/tick", "tick"),
        ("GET", "/moved", "moved"),
    ]

    def echo(self, request: Request) -> Response:
        return Response(request.get_data(), content_type="application/json")

    def token(self, request: Request) -> Response:
        body = {"access_token": 'to"ken-1', "instance_url": self.url, "signature": "sig=", "issued": "1"}
        return Response(json.dumps(body), content_type="application/json", headers={"Set-Cookie": "sid=cookie-1"})

    def page(self, request: Request) -> Response:
        link = {"next": f"{self.url}/page?cursor=2", "here": request.args.to_dict()}
        headers = {"X-Request-Id": "r-1", "Server-Timing": "db;dur=3", "Sforce-Limit-Info": "api-usage=1/10"}
        return Response(json.dumps(link), content_type="application/json", headers=headers)

    def moved(self, request: Request) -> Response:
        links = (
            '<https://api.vendor.example/people?name=Lovelace&page=2>; rel="next", </people?name=Lovelace>; rel="prev"'
        )
        response = Response(status=201, headers={"Link": links, "Location": "/people/ada@acme.example?name=Lovelace"})
        response.autocorrect_location_header = False
        return response

    def tick(self, request: Request) -> Response:
        self.count("ticks")
        return Response(str(self.counters()["ticks"]))


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return tmp_path / "echo" / "case.yaml"


def record(tape: Path, *calls: tuple[str, str, dict[str, object]]) -> list[str]:
    with EchoSimulator() as simulator, use_cassette(tape, record=True, today=DAY):
        return play(simulator.url, *calls)


def play(url: str, *calls: tuple[str, str, dict[str, object]]) -> list[str]:
    http = Http("test", base_url=url)
    answers = [http.request(method, path, **arguments).text for method, path, arguments in calls]
    http.session.close()
    return answers


def test_replay_needs_no_server_and_no_fixed_port(tape: Path) -> None:
    call = ("POST", "/echo", {"json": {"b": 1, "a": "è"}})
    recorded = record(tape, call)
    with use_cassette(tape):
        assert play("http://127.0.0.1:9", call) == recorded


def test_bodies_match_whatever_the_order_of_their_keys(tape: Path) -> None:
    calls = ("POST", "/echo", {"json": {"b": 1, "a": 2}}), ("POST", "/echo", {"data": {"x": 1, "y": 2}})
    recorded = record(tape, *calls)
    turned = ("POST", "/echo", {"json": {"a": 2, "b": 1}}), ("POST", "/echo", {"data": {"y": 2, "x": 1}})
    with use_cassette(tape):
        assert play("http://localhost:9", *turned) == recorded


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(("POST", "/echo", {"json": {"a": 3}}), id="other value in the body"),
        pytest.param(("POST", "/echo?x=1", {"json": {"a": 2}}), id="other query"),
        pytest.param(("POST", "/token", {"json": {"a": 2}}), id="other path"),
        pytest.param(("PUT", "/echo", {"json": {"a": 2}}), id="other method"),
        pytest.param(("POST", "https://vendor.example/echo", {"json": {"a": 2}}), id="other host"),
    ],
)
def test_a_wrong_request_is_refused(tape: Path, call: tuple[str, str, dict[str, object]]) -> None:
    record(tape, ("POST", "/echo", {"json": {"a": 2}}))
    with pytest.raises(CannotOverwriteExistingCassetteException), use_cassette(tape):
        play("http://127.0.0.1:9", call)


def test_what_was_never_played_fails(tape: Path) -> None:
    record(tape, ("GET", "/page?b=2&a=1", {}), ("GET", "/tick", {}))
    with (
        pytest.raises(CassetteError, match=r"never played:\n  2\. GET http://simulator\.invalid/tick"),
        use_cassette(tape),
    ):
        play("http://127.0.0.1:9", ("GET", "/page?a=1&b=2", {}))


def test_a_failing_test_is_not_masked_by_leftovers(tape: Path) -> None:
    record(tape, ("GET", "/tick", {}))
    with pytest.raises(ZeroDivisionError), use_cassette(tape):
        raise ZeroDivisionError


def test_the_same_request_again_plays_the_next_answer(tape: Path) -> None:
    calls = [("GET", "/tick", {})] * 3
    record(tape, *calls)
    with use_cassette(tape):
        assert play("http://127.0.0.1:9", *calls) == ["1", "2", "3"]
    with pytest.raises(CannotOverwriteExistingCassetteException), use_cassette(tape):
        play("http://127.0.0.1:9", *calls, calls[0])


def test_no_secret_and_no_unlisted_header_reaches_the_file(tape: Path) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "r-77", "client_secret": "c-77", "code": "code-77"}
    with EchoSimulator() as simulator, use_cassette(tape, record=True, today=DAY):
        http = Http("test", base_url=simulator.url.replace("//", "//user:pass-77@"))
        http.session.headers["Authorization"] = "Bearer a-77"
        live = http.request("POST", "/token", data=form).json()
        http.request(
            "POST",
            "/echo",
            json={"apiKey": "k-77", "tokenKey": "t-77", "deep": [{"password": 'p"77'}], "text": '{"secret":"s-77"}'},
        )
        http.request("GET", "/page?api_key=q-77")
    text = tape.read_text()
    assert live["access_token"] == 'to"ken-1'
    assert not [secret for secret in ("-77", '"77', "ken-1", "sig=", "cookie-1", "Bearer") if secret in text]
    assert "Server-Timing" not in text
    assert "api-usage=1/10" in text
    assert simulator.name not in text.splitlines()[0]


def test_a_redacted_recording_has_no_people_in_its_headers(tape: Path) -> None:
    with EchoSimulator() as simulator, use_cassette(tape, record=True, today=DAY, redactor=Redactor()):
        play(simulator.url, ("GET", "/moved?name=Lovelace", {}))
    text = tape.read_text()
    assert not [word for word in ("Lovelace", "ada", "acme") if word in text]
    assert "/people/redacted-" in text
    assert 'rel="next"' in text.replace("\\", "")


def test_replay_hides_the_port_in_answers_too(tape: Path) -> None:
    record(tape, ("GET", "/page", {}), ("GET", "/page?cursor=2", {}))
    with use_cassette(tape):
        http = Http("test", base_url="http://127.0.0.1:9")
        first = http.request("GET", "/page")
        assert first.headers["X-Request-Id"] == "r-1"
        http.request("GET", first.json()["next"])


def test_a_recording_says_where_it_comes_from(tape: Path) -> None:
    record(tape, ("GET", "/tick", {}))
    assert provenance_of(tape) == Provenance("synthetic", "a simulator on loopback", DAY)
    assert tape.read_text().startswith("# provenance: synthetic, a simulator on loopback, 2026-06-01\n")


@pytest.mark.parametrize(
    "first",
    [
        "interactions: []",
        "# provenance: invented, me, 2026-06-01",
        "# provenance: edited, , 2026-06-01",
        "# provenance: recorded, x, 2026-13-01",
    ],
)
def test_a_cassette_that_hides_its_birth_is_refused(tmp_path: Path, first: str) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(f"{first}\ninteractions: []\nversion: 1\n")
    with pytest.raises(CassetteError, match=r"case\.yaml:1: "), use_cassette(path):
        pytest.fail("unreachable")


def test_a_missing_cassette_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match=r"no cassette at .*record=True"), use_cassette(tmp_path / "none.yaml"):
        pytest.fail("unreachable")


def test_an_empty_recording_is_refused(tape: Path) -> None:
    with pytest.raises(CassetteError, match="nothing was sent"), use_cassette(tape, record=True):
        assert not tape.exists()
    assert not tape.exists()
