"""Every promise measured, one line for each CRM and store; exit code 1 when one does not hold."""

from __future__ import annotations

import argparse
import sys

from reliability.suite import CRM_NAMES, STORE_NAMES, Order, promises, suite


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reliability", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", default="full", help="small, full, or knobs: `full,kills=50`, `people=500` (default: full)"
    )
    parser.add_argument("--seed", type=int, help="repeats the choices of an earlier run; default: a new one, printed")
    parser.add_argument("--store", choices=(*STORE_NAMES, "both"), default="both")
    parser.add_argument("--only", default="", help="such as R1,R4; " + ", ".join(p.NAME for p in promises()))
    parser.add_argument("--sink", choices=(*CRM_NAMES, "all"), default="all")
    parser.add_argument("--jobs", type=int, default=2, help="so many lines at a time (default: 2)")
    given = parser.parse_args()
    try:
        order = Order.of(given.size, given.seed, given.store, given.only, given.sink, given.jobs)
    except ValueError as error:
        parser.error(str(error))
    return suite(order)


if __name__ == "__main__":
    sys.exit(main())
