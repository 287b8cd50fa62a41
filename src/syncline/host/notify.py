"""Telling people through Apprise: e-mail, chat, pager, whatever its addresses name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import SecretStr

from syncline.errors import ConfigError

__all__ = ["Notify", "by_apprise"]

_log = logging.getLogger("syncline.alerts")

Notify = Callable[[str, str], bool]
"""Takes title and text; whether at least one address has taken them. May raise: it is tried again on the next run."""


def by_apprise(addresses: Sequence[SecretStr]) -> Notify:
    """ConfigError when the extra `alerts` is not installed, or an address is none that Apprise knows.

    An address is never shown: it holds what allows to send there.
    """
    try:
        import apprise
    except ImportError as error:
        raise ConfigError(
            f"alerts need the library {error.name}, which is not installed: pip install 'syncline[alerts]'"
        ) from error
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # what it logs holds addresses; we say what came of it
    targets = [_target(apprise, number, address.get_secret_value()) for number, address in enumerate(addresses)]

    def tell(title: str, text: str) -> bool:
        taken = [target.notify(body=text, title=title, body_format="text") for target in targets]
        for number, done in enumerate(taken):
            if not done:
                _log.error("alerts.to[%d] has not taken a message; `syncline alerts test` tries it", number)
        return any(taken)

    return tell


def _target(apprise: Any, number: int, address: str) -> Any:
    """One address by itself: so one that fails keeps no other from being told, and can be named."""
    target = apprise.Apprise(asset=apprise.AppriseAsset(app_id="syncline", app_desc="syncline", async_mode=False))
    if not target.add(address):
        raise ConfigError(
            "is no address that Apprise knows; give one like mailto://…, slack://…, json://… "
            "(github.com/caronc/apprise has them all)",
            where=f"alerts.to[{number}]",
        )
    return target
