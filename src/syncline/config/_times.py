"""When a sync runs, as it stands in connectors.yaml: a cron expression and a time zone."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, WithJsonSchema

from syncline.model.cron import Cron

__all__ = ["CronText", "TimeZone"]


def _cron(value: Any) -> Cron:
    if isinstance(value, Cron):
        return value
    if not isinstance(value, str):
        raise ValueError("must be text such as '0 3 * * *'; put it in quotes")  # noqa: TRY004  # pydantic collects ValueErrors
    return Cron.parse(value)


def _zone(value: Any) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError, TypeError):
        raise ValueError(f"is no time zone; write an IANA name such as {_like(value)}") from None


def _like(value: Any) -> str:
    """Names near the one that is none: `Rome` and `europe/rome` are meant for Europe/Rome."""
    wanted = value.casefold().replace(" ", "_") if isinstance(value, str) else ""
    cities: dict[str, str] = {}
    for name in sorted(available_timezones()):
        cities[name.casefold()] = name
        cities.setdefault(name.rpartition("/")[2].casefold(), name)
    near = [cities[key] for key in get_close_matches(wanted, cities, n=3, cutoff=0.8)]
    return " or ".join(dict.fromkeys(near)) or "Europe/Rome or UTC"


_CRON_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^\s*(@[A-Za-z]+|[^\s@]+(\s+[^\s@]+){4})\s*$",
    "examples": ["0 3 * * *", "*/15 8-18 * * mon-fri"],
}
CronText = Annotated[Cron, BeforeValidator(_cron), WithJsonSchema(_CRON_SCHEMA)]
TimeZone = Annotated[
    ZoneInfo, BeforeValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Rome", "UTC"]})
]
