"""R12: people allow and forbid, in every system at once, in any order, twice, late, while we write; and we listen.

Every write is held, as it goes out, against a book of what people have said that is not ours. In the end every opt-out
must be everywhere, and what is allowed must have arrived: whoever writes nothing would keep the first half as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from reliability.lines import Case, Line
from reliability.permissions import Town, open_town

NAME: Final = "R12"
PROMISE: Final = "no write without consent for its purpose; no one is ever re-subscribed"
SINKS: Final = ("memory", "salesforce", "hubspot", "zoho")
SMALL: Final = {"people": 20, "rounds": 3}
FULL: Final = {"people": 200, "rounds": 25}

_CYCLES: Final = 3
"""Until all is quiet: what a webhook brought late is read, passed on, and read back."""


def run(case: Case) -> Iterator[Line]:
    trouble: list[str] = []
    counted: Counter[str] = Counter()
    vendor = None if case.sink == "memory" else case.crm
    with open_town(case.folder, case.stores, case.size["people"], case.seed, vendor=vendor) as town:
        town.run()
        for number in range(case.size["rounds"]):
            town.stir()
            if town.chance.random() < 0.5:
                town.trouble()
            town.run(hooks=town.chance.choice((0, 2, 6)))
            if number % 3 == 2 or number + 1 == case.size["rounds"]:
                wrong, counted = _settled(town)
                trouble += [f"round {number + 1}: {text}" for text in wrong]
        trouble += town.broken
    figures = {
        "people": case.size["people"],
        "rounds": case.size["rounds"],
        "writes that ask": town.seen["writes that ask"],
        "webhooks": town.seen["webhooks"],
        "merged": len(town.merged),
        "opted out": counted["opted out"],
        "without a purpose": sum("does not allow" in text for text in town.broken),
        "re-subscriptions": sum("subscribed again" in text for text in town.broken),
    }
    if not counted["opted out"] or not counted["written to"] or not town.seen["writes that ask"]:
        trouble.append(f"nothing was shown: {dict(counted)}, {dict(town.seen)}")
    yield case.line(NAME, figures, trouble[:20])


def _settled(town: Town) -> tuple[list[str], Counter[str]]:
    for _ in range(_CYCLES):
        town.run()
    return town.compare()
