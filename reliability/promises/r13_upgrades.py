"""R13: a plugin's next version that would break stored configurations, cursors, events or mappings is refused.

Every shipped connector is changed in each breaking way, and held by the contract kit against the format that its
package has pinned; then in each way that only adds.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from reliability.lines import Case, Line, Size
from reliability.upgrades import ADDITIONS, Change, breaks_of

__all__ = ["FULL", "NAME", "PROMISE", "SMALL", "run"]

NAME: Final = "R13"
PROMISE: Final = "a plugin upgrade cannot silently break stored mappings or cursors"
SMALL: Final[Size] = {"breaks": 8, "sources": 0}
FULL: Final[Size] = {"breaks": 1_000, "sources": 1}

_CLAUSE: Final = "test_what_is_stored_outlives_an_upgrade"
_SINKS: Final = {"salesforce": "TestSalesforceSink", "hubspot": "TestHubspotSink", "zoho": "TestZohoSink"}
_BESIDE: Final = {
    "salesforce": (("mailchimp", "TestMailchimp"), ("mailchimp", "TestMailchimpAsSink"), ("files", "TestFilesSource")),
    "hubspot": (("mailpoet", "TestMailPoetInAFile"),),
    "zoho": (("unbounce", "TestUnbounce"), ("instapage", "TestInstapage")),
}
"""The other connectors, shared out among the lines."""


def run(case: Case) -> Iterator[Line]:
    """No store is needed, as what is stored is in format.json; so on the second one a few breaks will do."""
    kind = case.crm.kind
    beside = _BESIDE[kind] if case.size["sources"] and case.stores.kind == "sqlite" else ()
    breaks = case.size["breaks"] if case.stores.kind == "sqlite" else min(case.size["breaks"], SMALL["breaks"])
    for plugin, suite in ((kind, _SINKS[kind]), *beside):
        chance = random.Random(case.seed)
        figures, trouble = _held(plugin, suite, chance, breaks)
        line = case.line(NAME, figures, trouble)
        yield Line(NAME, plugin, line.store, line.figures, line.seed, line.trouble)


def _held(plugin: str, suite: str, chance: random.Random, most: int) -> tuple[dict[str, Any], list[str]]:
    kit = getattr(importlib.import_module(f"plugins.{plugin}.tests.test_{plugin}_contract"), suite)
    breaks = breaks_of(kit)
    breaks = chance.sample(breaks, min(most, len(breaks)))
    refused = [change for change in breaks if _verdict(kit, plugin, change)]
    allowed = [change for change in ADDITIONS if not _verdict(kit, plugin, change)]
    missed = [f"{suite}: accepted in silence: {change.name}" for change in breaks if change not in refused]
    missed += [
        f"{suite}: refused, although it only adds: {change.name}" for change in ADDITIONS if change not in allowed
    ]
    figures = {
        "kit": kit._kit,
        "breaks refused": f"{len(refused)} of {len(breaks)}",
        "additions allowed": f"{len(allowed)} of {len(ADDITIONS)}",
    }
    return figures, missed


def _verdict(kit: type[Any], plugin: str, change: Change) -> str:
    """What the clause says against the connector after this change; nothing when it holds."""
    upgraded: list[str] = []  # the version before prepares the account
    pinned = Path("plugins", plugin, "tests", "format.json").resolve()

    class Next(kit):  # type: ignore[misc]  # the suite of a package, loaded by its name
        format = 1

        def connect(self, *arguments: Any, **settings: Any) -> Any:
            """The next version, with the settings of before."""
            made = super().connect(*arguments, **settings)
            if upgraded:
                made.__class__ = change.of(type(made))
            return made

        def format_file(self) -> Path:
            return pinned

    Next.__name__ = kit.__name__
    suite = Next()
    suite.setup_method()
    upgraded.append(change.name)
    try:
        getattr(suite, _CLAUSE)()
    except AssertionError as error:
        return str(error)
    finally:
        suite.teardown_method()
    return ""
