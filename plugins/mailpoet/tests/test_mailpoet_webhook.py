"""A click that the must-use plugin tells of is the click that SQL finds."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from syncline.errors import WebhookRejectedError
from syncline_mailpoet.simulator import UNSUBSCRIBE
from syncline_mailpoet.webhook import SIGNATURE, TIMESTAMP, signature

PLUGIN = Path(__file__).parents[1] / "wordpress" / "syncline-clicks.php"


@pytest.fixture
def site(simulate):
    return simulate()


def test_the_record_is_the_one_that_sql_reads(site, connect, pull):
    """So the host's inbox knows it already, whichever comes first."""
    request = site.webhook(site.click(site.emails[0]))
    source = connect(site)
    (told,) = source.receive(request)
    read = next(r for r in pull(source, "clicks")[0] if r.payload["id"] == told.payload["id"])
    assert told == read


def test_every_repeat_is_one_event(site, connect, pull, events):
    source, who = connect(site), site.emails[0]
    url = site.site.links(site.newsletter())[0]
    told = []
    for _ in range(3):
        site.advance(timedelta(minutes=10))
        told += source.receive(site.webhook(site.click(who, url=url)))
    number = told[0].payload["id"]
    read = [r for r in pull(source, "clicks")[0] if r.payload["id"] == number]
    by_webhook, by_sql = events(source, told), events(source, read)
    assert by_webhook.keys() == by_sql.keys()
    times = [event.occurred_at for event in by_webhook.values()]
    assert [after - before for before, after in itertools.pairwise(times)] == [timedelta(minutes=10)] * 2


def test_in_any_order_nothing_is_doubled_or_lost(site, connect, pull, events):
    source, who = connect(site), site.emails[0]
    url = site.site.links(site.newsletter())[0]
    requests = [site.webhook(site.click(who, url=url)) for _ in range(4)]
    read, _ = pull(source, "clicks")
    whole = events(source, read).keys()
    told = [record for request in requests for record in source.receive(request)]
    for order in (told + read, read + told, told[::-1] + read, [told[2], *read, told[0], told[2]]):
        assert events(source, order).keys() == whole


def test_two_clicks_at_once_may_tell_the_same_count(site, connect, events):
    """The plugin reads the row after it was written: a parallel click may have counted it up already."""
    source, who = connect(site), site.emails[0]
    url = site.site.links(site.newsletter())[0]
    site.click(who, url=url)
    row = site.click(who, url=url)
    both = [record for _ in range(2) for record in source.receive(site.webhook(row))]
    assert len(events(source, both)) == row["count"]


def test_the_click_that_unsubscribes_is_no_click_here_either(site, connect):
    source = connect(site)
    (record,) = source.receive(site.webhook(site.click(site.emails[0], url=UNSUBSCRIBE)))
    assert list(source.normalize(record)) == []


@pytest.mark.parametrize("late", [timedelta(minutes=-4), timedelta(), timedelta(minutes=4)])
def test_within_the_window_it_is_taken(site, connect, late):
    request = site.webhook(site.click(site.emails[0]))
    assert connect(site).receive(replace(request, received_at=request.received_at + late))


@pytest.mark.parametrize("late", [timedelta(minutes=-6), timedelta(minutes=6), timedelta(days=365)])
def test_outside_the_window_it_is_a_replay(site, connect, late):
    request = site.webhook(site.click(site.emails[0]))
    with pytest.raises(WebhookRejectedError, match="s ago; accepted are"):
        connect(site).receive(replace(request, received_at=request.received_at + late))


def test_the_time_is_signed_too(site, connect):
    request = site.webhook(site.click(site.emails[0]))
    later = request.received_at + timedelta(hours=1)
    headers = {**request.headers, TIMESTAMP: str(int(later.timestamp()))}
    with pytest.raises(WebhookRejectedError, match="SYNCLINE_SECRET"):
        connect(site).receive(replace(request, headers=headers, received_at=later))


@pytest.mark.parametrize("given", ["", "sha256=", "sha256=\u00e9", "0" * 64])
def test_a_wrong_signature_is_refused(site, connect, given):
    request = site.webhook(site.click(site.emails[0]))
    with pytest.raises(WebhookRejectedError, match="signature") as caught:
        connect(site).receive(replace(request, headers={**request.headers, SIGNATURE: given}))
    assert site.webhook_secret not in str(caught.value)


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "9" * 40, "\u0661\u0662"])
def test_a_time_that_is_none_is_refused(site, connect, stamp):
    request = site.webhook(site.click(site.emails[0]))
    signed = {TIMESTAMP: stamp, SIGNATURE: signature(site.webhook_secret, stamp, request.body)}
    with pytest.raises(WebhookRejectedError, match=r"timestamp|s ago"):
        connect(site).receive(replace(request, headers=signed))


def test_another_sites_webhook_is_refused(site, simulate, connect):
    other = simulate(site="shop.example")
    with pytest.raises(WebhookRejectedError, match=r"SYNCLINE_SITE"):
        connect(site).receive(other.webhook(other.click(other.emails[0])))


def test_another_blogs_webhook_is_refused(site, simulate, connect):
    """All blogs of a multisite have one wp-config.php, and each its own rows under the same numbers."""
    blog = simulate(prefix="wp_2_")
    with pytest.raises(WebhookRejectedError, match="another blog"):
        connect(site).receive(blog.webhook(blog.click(blog.emails[0])))


def test_without_a_secret_nobody_is_trusted(site, connect):
    request = site.webhook(site.click(site.emails[0]), secret="")
    with pytest.raises(WebhookRejectedError, match="webhook_secret is not set"):
        connect(site, webhook_secret=None).receive(request)
    with pytest.raises(WebhookRejectedError, match="webhook_secret is not set"):
        connect(site, webhook_secret="").receive(request)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"event":"deleted"}', b"\xff"])
def test_signed_nonsense_is_refused(site, connect, body):
    request = site.webhook(site.click(site.emails[0]))
    stamp = request.headers[TIMESTAMP]
    headers = {**request.headers, SIGNATURE: signature(site.webhook_secret, stamp, body)}
    with pytest.raises(WebhookRejectedError, match="not a click"):
        connect(site).receive(replace(request, headers=headers, body=body))


# The plugin that a site's owner pastes


def test_the_plugin_and_the_connector_speak_of_the_same(site):
    php = PLUGIN.read_text("utf-8")
    body = json.loads(site.webhook(site.click(site.emails[0])).body)
    for header in (SIGNATURE, TIMESTAMP):
        assert header in {found.lower() for found in re.findall(r"'(X-[A-Za-z-]+)'", php)}
    for name in body:
        assert f"'{name}' =>" in php
    selected = php.partition('"SELECT ')[2].partition("FROM")[0]
    for column in body["click"]:
        assert re.search(rf"(\b|`){column}\b", selected), column
    assert f"'event' => '{body['event']}'" in php
    assert "'sha256=' . hash_hmac('sha256', $time . '.' . $body, SYNCLINE_SECRET)" in php


def test_the_plugin_leaves_the_readers_redirect_alone():
    """Without PHP this much can be said: before `shutdown` it asks and sends nothing, and nothing escapes it."""
    php = re.sub(r"(?m)^\s*(//|\*|/\*).*$", "", PLUGIN.read_text("utf-8"))
    for opening, closing in ("()", "[]", "{}"):
        assert php.count(opening) == php.count(closing)
    hook = php.partition("function syncline_link_clicked(")[2].partition("\nfunction ")[0]
    before, _, after = hook.partition("add_action('shutdown'")
    assert not re.search(r"wpdb|wp_remote|getId|syncline_(click|send)", before)
    tried, _, caught = after.partition("catch (\\Throwable")
    assert "syncline_click(" in tried
    assert "syncline_send(" in tried
    assert "getMessage" not in caught, "a message may hold an address"
    assert "'blocking' => false" in php
