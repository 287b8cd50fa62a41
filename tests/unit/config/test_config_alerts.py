"""Who is told: addresses are secrets, and whoever only looks needs none of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.config import ALERT_KINDS, Loaded
from syncline.errors import ConfigError

FILE = "version: 1\nconnections: {}\nalerts: {to: [ADDRESS]}\n"


def test_an_address_is_never_shown(load_text: Callable[..., Loaded]) -> None:
    loaded = load_text(FILE.replace("ADDRESS", '"${MC_KEY}"'))
    assert "from-the-environment" not in repr(loaded.config) + str(loaded.config.alerts)
    assert loaded.config.alerts.to[0].get_secret_value() == "from-the-environment-us1"
    assert loaded.config.alerts.on == ALERT_KINDS


@pytest.mark.parametrize("address", ["json://user:hunter2@host", '"slack://hunter2/${MC_KEY}"'])
def test_an_address_must_not_stand_in_the_file(load_text: Callable[..., Loaded], address: str) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.to\[0\]: a secret must not stand in this file") as caught:
        load_text(FILE.replace("ADDRESS", address))
    assert "hunter2" not in str(caught.value)


def test_a_variable_that_is_not_set_matters_to_those_who_run_and_not_to_those_who_look(
    load_text: Callable[..., Loaded],
) -> None:
    text = FILE.replace("ADDRESS", '"${NOT_SET}"')
    with pytest.raises(ConfigError, match=r"alerts\.to\[0\]: environment variable NOT_SET is not set"):
        load_text(text)
    assert load_text(text, only=()).config.alerts.on == ALERT_KINDS


def test_an_unknown_kind_lists_the_known_ones(load_text: Callable[..., Loaded]) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.on\[0\]: .*did you mean 'failed'"):
        load_text("version: 1\nconnections: {}\nalerts: {on: [failt]}\n")
