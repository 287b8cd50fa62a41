"""A secret is never printed: not under its own key, not under a misspelt one, not in any place it strayed to."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.config import Loaded, load_all
from syncline.errors import ConfigError

CANARY = "canary-4d1f9a-us1"

PLACES = {
    "under its key": "news: {plugin: mailchimp, audience: x, api_key: SECRET}",
    "under a misspelt key": "news: {plugin: mailchimp, audience: x, api_kee: SECRET}",
    "under another setting": "news: {plugin: mailchimp, audience: x, page_size: SECRET, api_key: '${MC_KEY}'}",
    "where one of a few words stands": "news: {plugin: mailchimp, audience: x, regions: SECRET, api_key: '${MC_KEY}'}",
    "as a list": "news: {plugin: mailchimp, audience: x, api_key: [SECRET]}",
    "as a mapping": "news: {plugin: mailchimp, audience: x, api_key: {value: SECRET}}",
    "in a mapping of secrets": "news: {plugin: mailchimp, audience: x, api_key: '${MC_KEY}', tokens: {a: SECRET}}",
    "in a login": "crm: {plugin: salesforce, login: {client_id: x, client_secret: SECRET}}",
    "misspelt in a login": "crm: {plugin: salesforce, login: {client_id: x, client_secert: SECRET}}",
    "in the other login": "crm: {plugin: salesforce, login: {username: x, passwort: SECRET}}",
    "instead of a login": "crm: {plugin: salesforce, login: SECRET}",
    "instead of a connection": "crm: SECRET",
    "after a tag": "news: {plugin: mailchimp, audience: x, api_key: !SECRET y}",
    "as an alias": "news: {plugin: mailchimp, audience: x, api_key: *SECRET }",
    "as an anchor": "news: {plugin: mailchimp, audience: x, api_key: &SECRET }",
    "in a broken line": "news: {plugin: mailchimp, audience: x, api_key: SECRET",
    "in a broken quote": "news: {plugin: mailchimp, audience: x, api_key: 'SECRET",
    "twice": "news: {plugin: mailchimp, audience: x, api_key: SECRET, api_key: SECRET}",
    "in a variable's place": "news: {plugin: mailchimp, audience: x, api_key: '${SECRET}'}",
    "beside a variable": "news: {plugin: mailchimp, audience: x, api_key: 'SECRET${MC_KEY}'}",
}
WITH_PUNCTUATION = ("after a tag", "as an alias", "as an anchor", "in a broken quote", "in a variable's place")


def _everything_printed(caught: pytest.ExceptionInfo[ConfigError]) -> str:
    error = caught.value
    chain = [error.__cause__, error.__context__]
    return "\n".join((str(error), repr(error), repr(error.problems), *traceback.format_exception(error), repr(chain)))


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_a_secret_in_the_file_is_refused_and_not_printed(load_text: Callable[..., Loaded], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"version: 1\nconnections:\n  {place.replace('SECRET', CANARY)}\n")
    assert "canary" not in _everything_printed(caught)


@pytest.mark.parametrize("name", [name for name in PLACES if name not in WITH_PUNCTUATION])
def test_a_secret_from_the_environment_is_not_printed(load_text: Callable[..., Loaded], name: str) -> None:
    place = PLACES[name].replace("'SECRET", "'${CANARY}").replace("SECRET", "'${CANARY}'")
    try:
        shown = repr(load_text(f"version: 1\nconnections:\n  {place}\n", env={"CANARY": CANARY, "MC_KEY": "k"}))
    except ConfigError as error:
        shown = f"{error}\n{error!r}\n{error.problems}\n{error.__cause__!r}\n{error.__context__!r}"
    assert "canary" not in shown


def test_a_plugin_that_repeats_its_input_cannot_print_what_came_from_the_environment(
    complaint: Callable[..., str],
) -> None:
    text = (
        "version: 1\n"
        "connections:\n"
        "  crm: {plugin: salesforce, base_url: '${ADDRESS}', login: {client_id: x, client_secret: '${SF_SECRET}'}}\n"
    )
    told = complaint(text, env={"ADDRESS": CANARY, "SF_SECRET": "another"})
    assert told == "connectors.yaml:3: connections.crm: base_url must be an http address, not ${ADDRESS}"


def test_the_password_of_the_store_is_neither_printed_nor_taken_literally(load_text: Callable[..., Loaded]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"version: 1\nconnections: {{}}\nstore: postgresql+psycopg://user:{CANARY}@host/db\n")
    assert "canary" not in _everything_printed(caught)
    loaded = load_text("version: 1\nconnections: {}\nstore: postgresql+psycopg://user:${DB_PASSWORD}@host/db\n")
    assert loaded.config.store == "postgresql+psycopg://user:the-database-password@host/db"
    assert "the-database-password" not in f"{loaded!r}{loaded.config}{loaded.document!r}"


def test_literal_secrets_may_be_allowed_and_still_are_not_printed(load_text: Callable[..., Loaded]) -> None:
    text = f"version: 1\nconnections:\n  {PLACES['under its key'].replace('SECRET', CANARY)}\n"
    loaded = load_text(text, allow_literal_secrets=True)
    assert loaded.settings["news"].api_key.get_secret_value() == CANARY  # type: ignore[attr-defined]
    assert "canary" not in f"{loaded!r}{loaded.config}{loaded.settings}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(min_size=1, max_size=12), secret=st.from_regex(r"[A-Za-z0-9+/=_.-]{12,40}", fullmatch=True))
def test_no_secret_under_any_key_is_printed(tmp_path: Path, kinds: dict[str, object], key: str, secret: str) -> None:
    """JSON is YAML, so any text can be a key and any text a value."""
    secret = f"canary{secret}"
    connection = {"plugin": "mailchimp", "audience": "x", "api_key": secret, key: secret}
    path = tmp_path / "connectors.yaml"
    path.write_text(json.dumps({"version": 1, "connections": {"news": connection, "x": {key: secret}}}))
    with pytest.raises(ConfigError) as caught:
        load_all(path, env={}, kinds=kinds)  # type: ignore[arg-type]
    if key != "plugin":  # a plugin's name is told, so that it can be corrected
        assert secret not in _everything_printed(caught)
