"""The pytest plugin says what became of the clauses, and finds cassettes by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import syncline.testing
from syncline.testing import cassettes, memory, pytest_plugin
from syncline.testing.contract import SourceContract

pytest_plugins = ["pytester"]

PLUGIN = "syncline.testing.pytest_plugin"
LOADED = (requests, cassettes, memory)
"""Here already, so that runs within this process need not load them, and cannot forget them."""
HEAVY = ("vcr", "requests", "pydantic", "werkzeug", "sqlalchemy", "duckdb", "syncline.sdk", "syncline.testing.contract")

SUITE = """
from datetime import UTC, datetime

from syncline.model import Page
from syncline.sdk import Context, Http
from syncline.testing import MemorySource, MemoryWorld, SourceContract
from syncline.testing.memory import MemoryConfig

NOW = datetime(2026, 6, 1, 8, tzinfo=UTC)


class Forgetful(MemorySource):
    def read(self, stream, cursor):
        for page in super().read(stream, cursor):
            yield Page(page.records[1:], page.cursor)


class TestForgetful(SourceContract):
    exempt = {"test_webhook_rejects_an_old_timestamp": "nobody replays a memory"}

    def setup_method(self):
        self.world = MemoryWorld()
        for number in range(3):
            self.happen(number)

    def connect(self):
        source = type("Bound", (Forgetful,), {"world": self.world})
        return source(MemoryConfig(), Context("memory", Http("memory"), lambda: NOW, {}))

    def happen(self, number=9):
        self.world.happened(f"f{number}", "page_visit", NOW, email="a@x.example")

    def test_something_of_our_own(self):
        assert True


class TestNothing:
    def test_nothing(self):
        assert True
"""
CHOSEN = "test_every_stream or test_new_facts or old_timestamp or empty_page or session or our_own or TestNothing"
READ = "    def read("
CASSETTE = """
from pathlib import Path

import pytest
import requests

@pytest.fixture
def cassette_folder():
    return Path(__file__).parent / "tapes"

def test_replayed(cassette):
    with cassette("hello/world"):
        assert requests.get("http://127.0.0.1:9/hello").text == "world"
"""
TAPE = """\
# provenance: synthetic, by hand, 2026-06-01
interactions:
- request:
    body: null
    headers: {}
    method: GET
    uri: http://simulator.invalid/hello
  response:
    body: {string: world}
    headers: {}
    status: {code: 200, message: OK}
version: 1
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for runs that load this plugin by name, and of the installed ones only that with the workers."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(f"[pytest]\naddopts = -p no:cacheprovider -p xdist -p {PLUGIN}\n")
    return pytester


def summary(result: pytest.RunResult) -> list[str]:
    lines = result.outlines
    start = next(n for n, line in enumerate(lines) if "connector contracts" in line)
    end = next(n for n, line in enumerate(lines[start + 1 :], start + 1) if line.startswith("==="))
    return lines[start + 1 : end]


WANTED = [
    "test_suite.py::TestForgetful (source: 1 held, 1 exempt, 2 not applied, 1 broken)",
    "  broken: test_new_facts_are_found_from_the_last_cursor",
    "  exempt: test_webhook_rejects_an_old_timestamp: nobody replays a memory",
    "  not applied: test_an_empty_page_does_not_end_a_read: give `empty_page` to hold the connector to this clause,"
    " or exempt it",
    "  not applied: test_a_session_that_ends_is_renewed: give `end_session` to hold the connector to this clause,"
    " or exempt it",
]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "with workers"])
def test_the_summary_says_what_became_of_every_clause(run: pytest.Pytester, workers: tuple[str, ...]) -> None:
    run.makepyfile(test_suite=SUITE)
    result = run.runpytest("-k", CHOSEN, *workers)
    assert sorted(summary(result)) == sorted(WANTED)
    result.assert_outcomes(passed=3, failed=1, skipped=3)


def test_clauses_with_the_same_reason_stand_in_one_line(run: pytest.Pytester) -> None:
    run.makepyfile(test_suite=SUITE.replace("(MemorySource)", "(MemorySource)").replace("Forgetful,", "NoHooks,"))
    source = "class NoHooks(Forgetful):\n    receive = None\n\n\nclass TestForgetful"
    path = run.path / "test_suite.py"
    path.write_text(path.read_text("utf-8").replace("class TestForgetful", source), "utf-8")
    lines = summary(run.runpytest("-k", "webhook"))
    assert "  not applied: 7 clauses: the connector has no `receive`" in lines


def test_runs_without_connectors_say_nothing_about_them(run: pytest.Pytester) -> None:
    run.makepyfile(test_suite="def test_nothing():\n    assert True\n")
    result = run.runpytest()
    result.stdout.no_fnmatch_line("*connector contracts*")
    result.assert_outcomes(passed=1)


def test_a_cassette_is_replayed_from_the_folder_of_the_tests_choice(run: pytest.Pytester) -> None:
    run.makepyfile(test_tape=CASSETTE)
    tape = run.path / "tapes" / "hello" / "world.yaml"
    tape.parent.mkdir(parents=True)
    tape.write_text(TAPE, "utf-8")
    run.runpytest().assert_outcomes(passed=1)
    tape.unlink()
    result = run.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CassetteError: no cassette at *world.yaml*"])


def test_a_cassette_is_recorded_when_asked_for(run: pytest.Pytester) -> None:
    """Against a server of this process, and then replayed without it."""
    run.makepyfile(
        test_tape=f"""
        import pytest, requests
        from werkzeug.serving import make_server
        from werkzeug.wrappers import Response
        import threading

        {"def test_recorded(cassette, request):"}
            server = make_server("127.0.0.1", 0, Response("world"))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            if not request.config.getoption("--record-cassettes"):
                server.shutdown(); thread.join(); server.server_close()
            with cassette("hello"):
                assert requests.get(f"http://127.0.0.1:{{server.server_port}}/hello").text == "world"
            if request.config.getoption("--record-cassettes"):
                server.shutdown(); thread.join(); server.server_close()
        """
    )
    run.runpytest("--record-cassettes").assert_outcomes(passed=1)
    assert (run.path / "cassettes" / "hello.yaml").read_text("utf-8").startswith("# provenance: synthetic, ")
    run.runpytest().assert_outcomes(passed=1)


def test_without_its_library_a_cassette_says_what_to_install(run: pytest.Pytester) -> None:
    run.makepyfile(test_tape=CASSETTE)
    run.makeconftest("import sys\nsys.modules['vcr'] = None\nsys.modules.pop('syncline.testing.cassettes')\n")
    result = run.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cassettes need vcr, which is not installed: pip install vcrpy*"])


def test_a_format_is_pinned_when_asked_for_and_then_held(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_suite=SUITE.replace("page.records[1:]", "page.records").replace(READ, f"    receive = None\n\n{READ}")
    )
    clause = ("-k", "test_what_is_stored")
    assert any("not applied: test_what_is_stored" in line for line in summary(run.runpytest(*clause)))
    run.runpytest(*clause, "--update-formats").assert_outcomes(passed=1)
    path = run.path / "format.json"
    pinned = json.loads(path.read_text("utf-8"))
    run.runpytest(*clause).assert_outcomes(passed=1)
    streams = pinned["source memory-source"]["streams"]
    streams["facts"] = streams.pop("events")
    path.write_text(json.dumps(pinned), "utf-8")
    result = run.runpytest(*clause)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stream 'facts' is gone (there are: events)*"])


def test_formats_are_not_pinned_by_several_workers(run: pytest.Pytester) -> None:
    run.makepyfile(test_suite=SUITE)
    result = run.runpytest("--update-formats", "-n", "2")
    assert "leave -n out" in "\n".join(result.errlines)


def test_starting_pytest_loads_nothing_heavy() -> None:
    code = f"import sys, {PLUGIN}; print([name for name in {HEAVY!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_kit_is_imported_by_its_short_name_too() -> None:
    assert syncline.testing.SourceContract is SourceContract
    assert {getattr(syncline.testing, name) for name in syncline.testing.__all__}
    with pytest.raises(AttributeError, match="SauceContract"):
        syncline.testing.SauceContract  # noqa: B018  # the asking is the test


def test_the_plugin_stands_where_the_package_says() -> None:
    assert f"{PLUGIN.replace('.', '/')}.py" in Path(pytest_plugin.__file__).as_posix()
