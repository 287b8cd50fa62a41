"""Every query the connector sends, read by a SOQL parser that is not ours (@jetstreamapp/soql-parser-js)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from syncline.model import FieldSpec, Member, RemoteRef, TaskWrite, Write
from syncline_salesforce import SalesforceSink
from syncline_salesforce.simulator import SalesforceSimulator

PARSER = Path(__file__).parents[3] / "tests" / "node" / "node_modules" / "@jetstreamapp" / "soql-parser-js"
SCRIPT = """
const { parseQuery } = require(process.argv[1]);
const queries = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const read = (query) => {
  try { const found = parseQuery(query); return { object: found.sObject, fields: found.fields.length }; }
  catch (error) { return { error: String(error.message) }; }
};
console.log(JSON.stringify(queries.map(read)));
"""
AWKWARD = 'd\'Amico \\ "x"\nline %_ 日本'


def parsed(queries: Sequence[str]) -> list[dict[str, Any]]:
    """What the parser says of each query; skips where there is no Node, or the package is not installed."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    if not PARSER.is_dir():
        pytest.skip("Node: @jetstreamapp/soql-parser-js is not installed (npm install --prefix tests/node)")
    done = subprocess.run(
        [node, "-e", SCRIPT, str(PARSER)], input=json.dumps(list(queries)), capture_output=True, text=True, check=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def listen(sink: SalesforceSink, heard: list[str]) -> SalesforceSink:
    """Note every query this sink sends, whichever way it goes."""

    def note(response: Any, **_: Any) -> None:
        request = response.request
        heard.extend(parse_qs(urlsplit(request.url).query).get("q", []))
        if request.method == "POST" and request.url.endswith("/jobs/query"):
            heard.append(json.loads(request.body)["query"])

    sink.context.http.session.hooks["response"].append(note)
    return sink


def test_every_query_is_soql(open_sink: Callable[..., SalesforceSink], org: SalesforceSimulator) -> None:
    heard: list[str] = []
    sink, many = listen(open_sink(), heard), listen(open_sink(bulk_query_from=1), heard)
    segment = f"Segment {AWKWARD}"
    key = FieldSpec("Lead", "Syncline_Key__c", "text", "Key", max_length=64, unique=True)
    sink.check()
    sink.prepare([key, *sink.task_fields], [segment])
    for row in org.org.tables["FieldPermissions"].values():
        row["PermissionsEdit"] = False
    sink.prepare([key, *sink.task_fields], [segment])
    org.page_size = 7
    cursors: list[str | None] = [None]
    for _ in range(3):
        pages = [page.cursor for page in sink.changes("Lead", ["Email", "Syncline_Key__c"], cursors[-1])]
        cursors += pages
        org.advance(timedelta(hours=25))
        org.delete_record("Lead", org.rows("Lead")[0]["Id"])
    half_way = next(cursor for cursor in cursors if cursor and "at" in json.loads(cursor))
    list(sink.changes("Lead", ["Email"], half_way))
    for name in ("Lead", "Contact", "Account"):
        list(many.changes(name, [], None))
    written = sink.upsert("Lead", [Write("w", ("Syncline_Key__c", AWKWARD), {"LastName": AWKWARD, "Company": "C"})])
    ref = written[0].ref or RemoteRef("Lead", "")
    sink.create_tasks([TaskWrite(AWKWARD, ref, "Call", "", org.now(), "high")])
    sink.set_members(segment, [Member("m", ref)], [])
    sink.set_members(segment, [], [Member("m", ref)])
    said = dict(zip(heard, parsed(heard), strict=True))
    assert {query: answer["error"] for query, answer in said.items() if "error" in answer} == {}
    assert {answer["object"] for answer in said.values()} >= {
        "Lead", "Contact", "Account", "Campaign", "CampaignMember", "Organization", "PermissionSet", "FieldPermissions",
    }  # fmt: skip


def test_the_parser_refuses_what_is_no_soql() -> None:
    """Otherwise the test above would hold of anything."""
    wrong = ["SELECT Id FROM Lead WHERE Name = 'd'Amico'", "SELECT FROM Lead", "SELECT Id Lead", "DELETE FROM Lead"]
    assert ["error" in answer for answer in parsed([*wrong, "SELECT Id FROM Lead"])] == [True] * 4 + [False]
