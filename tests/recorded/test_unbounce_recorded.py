"""Recorded Unbounce traffic through the connector's parsing, file by file.

The recordings are other projects' (see their PROVENANCE.md); they stay outside the repository. `VERDICTS` says of every
file what becomes of it, so that a new file, or a changed reading, shows.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import jsonschema
import pytest

from syncline.errors import RecordError
from syncline.sdk import Context, Http, SimulatorOptions, WebhookRequest
from syncline.testing.population import EPOCH, simulated_now
from syncline_unbounce import UnbounceConfig, UnbounceSource
from syncline_unbounce.simulator import UnbounceSimulator

RECORDED = Path(__file__).parents[3] / "shared" / "recorded" / "unbounce"

pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="recorded Unbounce traffic (shared/recorded/unbounce) is not here"
)

READ_WITHOUT_ADDRESS = "read whole; its one field holds no address, so normalize refuses the record"
SCHEMA = "a third party's schema of the webhook: recorded and simulated calls follow it"

VERDICTS: dict[str, str] = {
    "webhook_form_post.json": READ_WITHOUT_ADDRESS,
    "webhook_schemas/form_post.schema.json": SCHEMA,
}

SECRET = "a secret in the header"


def test_every_recording_has_a_verdict():
    found = {path.relative_to(RECORDED).as_posix() for path in RECORDED.rglob("*.json")}
    assert found == set(VERDICTS)


def test_every_recorded_exchange_is_looked_at():
    assert len(_exchanges()) == 1


def test_the_recorded_webhook_is_read_whole():
    ((request, exchange),) = _exchanges()
    (raw,) = _source().receive(request)
    decoded = dict(exchange["decoded"])
    assert raw.payload["webhook"] == {
        **{name: decoded[name] for name in ("page_id", "page_name", "page_url", "variant")},
        "data": json.loads(decoded["data.json"]),
    }
    assert len(raw.key) == 32


def test_the_recorded_webhook_without_an_address_is_refused_by_normalize_with_what_to_do():
    """Its only field is `userfield1`, "asdfasdf": the verdict on the record itself."""
    ((request, _),) = _exchanges()
    (raw,) = _source().receive(request)
    with pytest.raises(RecordError, match=r"page 7648177d-.* 'Wayfaring': no e-mail address.*userfield1"):
        list(_source().normalize(raw))


def test_with_an_address_in_that_field_the_recorded_webhook_is_an_event():
    """Edited: the value of `userfield1`, in all three places; nothing else."""
    ((request, _),) = _exchanges("wayfarer@example.com")
    (raw,) = _source().receive(request)
    (event,) = _source().normalize(raw)
    assert event.occurred_at == datetime(2017, 11, 15, 11, 45, tzinfo=UTC)
    assert event.identifiers[0].value == "wayfarer@example.com"
    assert event.properties == {
        "form_id": "https://unbouncepages.com/wayfaring-147",
        "page_id": "7648177d-7323-4330-b4f9-9951a52138b6",
        "variant": "a",
    }


def test_data_xml_of_the_recording_says_the_same_as_its_data_json():
    """The vendor sent both: so the two readers agree on what the vendor itself made of one submission."""
    ((request, exchange),) = _exchanges("wayfarer@example.com")
    xml = dict(parse_qsl(request.body.decode()))["data.xml"]
    told_by_xml = _source().receive(_request(xml.encode(), "application/xml"))
    told_by_json = _source().receive(
        _request(dict(parse_qsl(request.body.decode()))["data.json"].encode(), "application/json")
    )
    told = _source().receive(request)
    assert told[0].key == told_by_xml[0].key == told_by_json[0].key
    events = [list(_source().normalize(raw)) for (raw,) in (told, told_by_xml, told_by_json)]
    assert events[0] == events[1] == events[2]
    assert exchange["method"] == "POST"


def test_the_simulator_posts_what_was_recorded():
    """The same keys in the same order, and byte for byte the same encoding of the same submission."""
    ((request, exchange),) = _exchanges("wayfarer@example.com")
    with UnbounceSimulator(SimulatorOptions(people=0, clock=EPOCH)) as simulator:
        at = datetime(2017, 11, 15, 11, 45, 31, tzinfo=UTC)
        page = simulator.add_page("Wayfaring", "/wayfaring-147", at=at - timedelta(days=1))
        call = simulator.webhook(simulator.submit(page, {"userfield1": "wayfarer@example.com"}, at=at))
        ours = call.body.decode()
        for old, new in (
            (page, "7648177d-7323-4330-b4f9-9951a52138b6"),
            ("go.example.com", "unbouncepages.com"),
            ("192.0.2.77", "192.0.2.20"),
        ):
            ours = ours.replace(old, new)
    assert ours == request.body.decode()
    assert call.headers["content-type"] == exchange["headers"]["Content-Type"]


@pytest.mark.parametrize("which", ["recorded", "simulated"])
def test_webhooks_follow_the_third_partys_schema(which):
    """It has the keys in camel case, and `data.json` parsed."""
    schema = json.loads((RECORDED / "webhook_schemas" / "form_post.schema.json").read_text(encoding="utf-8"))
    schema.pop("$schema")  # its dialect is the registry's own; the keywords in it are JSON Schema's
    validator = jsonschema.Draft4Validator(schema)
    body = _in_camel_case(_body(which))
    validator.validate(body)
    assert not validator.is_valid({**body, "data.json": "not parsed"}), "the schema would take anything"


def _body(which):
    if which == "recorded":
        return _exchanges()[0][0].body
    with UnbounceSimulator(SimulatorOptions(people=60, clock=EPOCH)) as simulator:
        return simulator.webhook(next(page for page in simulator.world.pages.values()).leads[0].id).body


def _in_camel_case(body):
    names = {"page_id": "pageId", "page_name": "pageName", "page_url": "pageUrl", "variant": "variant"}
    fields = dict(parse_qsl(body.decode()))
    return {theirs: fields[ours] for ours, theirs in names.items()} | {"data.json": json.loads(fields["data.json"])}


def _exchanges(value="asdfasdf"):
    """Every recorded request, with the form's one value replaced."""
    document = json.loads((RECORDED / "webhook_form_post.json").read_text(encoding="utf-8"))
    return [
        (_request(_with_value(one["raw_body"], value), one["headers"]["Content-Type"], one["method"]), one)
        for one in document
    ]


def _with_value(body, value):
    return body.replace("asdfasdf", value.replace("@", "%40")).encode()


def _request(body, content_type, method="POST"):
    headers = {"content-type": content_type, "x-syncline-secret": SECRET}
    return WebhookRequest(method, "/hooks/landing", "", headers, body, simulated_now())


def _source():
    config = UnbounceConfig.model_validate({"login": {"api_key": "k"}, "webhook_secret": SECRET})
    return UnbounceSource(config, Context("recorded", Http("recorded"), simulated_now, {}))
