"""R4: idle runs. The vendor counts, not we; and time moves on between the runs, by minutes or by days."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from reliability.lines import Case, Line
from reliability.world import open_world

NAME: Final = "R4"
PROMISE: Final = "no change, no write call"
SMALL: Final = {"people": 40, "idle": 4}
FULL: Final = {"people": 2000, "idle": 100}

_WRITTEN: Final = ("write_calls", "write_credits", "upserts", "tasks", "members")


def run(case: Case) -> Iterator[Line]:
    chance = random.Random(case.seed)
    trouble: list[str] = []
    with open_world(case.folder, case.crm, case.stores, case.size["people"], case.seed) as world:
        world.until_quiet()
        before = world.simulator.counters()
        for number in range(case.size["idle"]):
            world.later(timedelta(minutes=chance.choice((1, 15, 60, 24 * 60, 3 * 24 * 60))))
            report = world.run()
            if report.error is not None:
                trouble.append(f"idle run {number + 1}: {report.error}")
        after = world.simulator.counters()
        written = {name: after.get(name, 0) - before.get(name, 0) for name in _WRITTEN if name in after}
        trouble += [f"{name}: {by} more" for name, by in written.items() if by]
        difference = world.compare()
        trouble += difference.told
    figures = {"idle runs": case.size["idle"], "people": case.size["people"], "write calls": written["write_calls"]}
    yield case.line(NAME, figures, trouble)
