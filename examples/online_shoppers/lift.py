"""Did the bands know? Which share of the sessions of each band ended in a purchase.

../../.venv/bin/python lift.py
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syncline import Host

__all__ = ["BANDS", "BandLift", "lift", "purchases", "table"]

BANDS: Final = ("high", "medium", "low")
_FILE: Final = Path(__file__).with_name("online_shoppers_intention.csv.gz")


@dataclass(frozen=True, slots=True)
class BandLift:
    """One band: how many sessions it has, which share of them bought, and how that compares with all sessions."""

    band: str
    sessions: int
    buying: float
    times_average: float


def purchases(path: Path = _FILE) -> Mapping[str, bool]:
    """Line of the session → whether it ended in a purchase."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as file:
        return {str(number): row["Revenue"] == "TRUE" for number, row in enumerate(csv.DictReader(file), start=2)}


def lift(bands: Mapping[str, str | None], bought: Mapping[str, bool]) -> Sequence[BandLift]:
    """One line for each band that has sessions, the best band first."""
    found = {session: bands.get(session) or "none" for session in bought}
    order = [*BANDS, *sorted({*found.values()} - {*BANDS})]
    average = sum(bought.values()) / len(bought)
    members = {band: [bought[session] for session, b in found.items() if b == band] for band in order}
    return [_line(band, outcomes, average) for band, outcomes in members.items() if outcomes]


def table(lines: Sequence[BandLift]) -> str:
    """The lines as a table for people."""
    rows = [f"{'band':8} {'sessions':>9} {'buying':>8} {'lift':>6}"]
    rows += [f"{x.band:8} {x.sessions:9,} {x.buying:8.1%} {x.times_average:6.2f}" for x in lines]
    return "\n".join(rows)


def _line(band: str, outcomes: Sequence[bool], average: float) -> BandLift:
    share = sum(outcomes) / len(outcomes)
    return BandLift(band, len(outcomes), share, share / average)


def main() -> None:
    """Prepare the simulated CRM, run once, and hold the bands against what happened."""
    with Host.load(Path(__file__).with_name("connectors.yaml")) as host:
        host.prepare("crm")
        crm = host.run().sinks["crm"]
        bands = {who: band for who, _, band in host.scores("engagement", "shop:visitor")}
    print(
        f"CRM: {crm.created:,} created, {crm.updated:,} updated, {crm.unchanged:,} unchanged, {crm.write_calls} calls"
    )
    print(table(lift(bands, purchases())))


if __name__ == "__main__":
    main()
