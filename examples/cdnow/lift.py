"""Did the bands know? What customers bought in the 39 weeks after they were scored, band by band.

    ../../.venv/bin/python lift.py

The score is as of 1997-09-30 and sees what was bought until then; the rest of the file is the outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from syncline import Host

__all__ = ["AS_OF", "BANDS", "WEEKS", "BandLift", "lift", "purchases_after", "table"]

AS_OF: Final = date(1997, 9, 30)
WEEKS: Final = 39
BANDS: Final = ("high", "medium", "low")
_FILE: Final = Path(__file__).with_name("CDNOW_sample.txt")


@dataclass(frozen=True, slots=True)
class BandLift:
    """One band: how many customers it has, which share of them bought again, and how often each did on average."""

    band: str
    customers: int
    buying_again: float
    purchases_each: float


def purchases_after(path: Path = _FILE, day: date = AS_OF, weeks: int = WEEKS) -> Mapping[str, int]:
    """Customer → purchases in the weeks after `day`; 0 for those who bought nothing more."""
    counts: Counter[str] = Counter()
    for line in path.read_text(encoding="ascii").splitlines():
        customer, _sample, bought_on, _units, _dollars = line.split()
        bought = datetime.strptime(bought_on, "%Y%m%d").date()  # noqa: DTZ007  # a day, not a moment
        counts[customer] += day < bought <= day + timedelta(weeks=weeks)
    return counts


def lift(bands: Mapping[str, str | None], purchases: Mapping[str, int]) -> Sequence[BandLift]:
    """One line for each band that has customers, the best band first."""
    found = {customer: bands.get(customer) or "none" for customer in purchases}
    order = [*BANDS, *sorted({*found.values()} - {*BANDS})]
    members = {band: [purchases[customer] for customer, b in found.items() if b == band] for band in order}
    return [_line(band, counts) for band, counts in members.items() if counts]


def table(lines: Sequence[BandLift]) -> str:
    """The lines as a table for people."""
    rows = [f"{'band':8} {'customers':>9} {'buying again':>13} {'purchases each':>15}"]
    rows += [f"{x.band:8} {x.customers:9,} {x.buying_again:13.1%} {x.purchases_each:15.2f}" for x in lines]
    return "\n".join(rows)


def _line(band: str, purchases: Sequence[int]) -> BandLift:
    again = sum(count > 0 for count in purchases)
    return BandLift(band, len(purchases), again / len(purchases), sum(purchases) / len(purchases))


def main() -> None:
    """Prepare the simulated CRM, run once, and hold the bands against what happened."""
    with Host.load(Path(__file__).with_name("connectors.yaml")) as host:
        host.prepare("crm")
        crm = host.run().sinks["crm"]
        bands = {who: band for who, _, band in host.scores("loyalty", "cdnow:customer")}
    print(
        f"CRM: {crm.created:,} created, {crm.updated:,} updated, {crm.unchanged:,} unchanged, {crm.write_calls} calls"
    )
    print(table(lift(bands, purchases_after())))


if __name__ == "__main__":
    main()
