"""A task's words, due time and priority, from a template and an explained score."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Final, Literal, cast

from ruamel.yaml import YAML

from syncline.errors import ConfigError, Problem, did_you_mean
from syncline.scoring.model import Model
from syncline.scoring.result import Contribution, ScoreResult

__all__ = [
    "PLACEHOLDERS",
    "Priority",
    "TaskContent",
    "TaskText",
    "check_template",
    "priority_of",
    "render",
    "text",
    "threshold",
]

Priority = Literal["low", "normal", "high", "urgent"]

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "name": "name",
    "first_name": "first_name",
    "last_name": "last_name",
    "company": "company",
    "email": "email",
    "did": "did",
    "by": "by",
    "score": "score",
    "band": "band",
    "nome": "name",
    "cognome": "last_name",
    "azienda": "company",
    "fatto": "did",
    "entro": "by",
    "punteggio": "score",
    "fascia": "band",
}
"""What may stand between braces in a task's text, in English and in Italian → what it means."""

_AND: Final = {"it": " e ", "en": " and "}
_HOURS: Final = {"it": ("un'ora", "{n} ore"), "en": ("one hour", "{n} hours")}
_MINUTES: Final = {"it": ("un minuto", "{n} minuti"), "en": ("one minute", "{n} minutes")}
_DAYS: Final = {"it": ("un giorno", "{n} giorni"), "en": ("one day", "{n} days")}
_TOLD: Final = 3  # things a person did that a task names


@dataclass(frozen=True, slots=True)
class TaskText:
    """A template in one language. `nothing` stands for {did} when the score names no deed."""

    language: str
    subject: str
    body: str
    nothing: str


@dataclass(frozen=True, slots=True)
class TaskContent:
    subject: str
    body: str
    due: datetime
    priority: Priority


@cache
def text(name: str) -> TaskText:
    """A shipped text by name: `alert_it`, `hand_off_en`."""
    folder = resources.files("syncline.actions.texts")
    known = sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))
    if name not in known:
        raise ConfigError(problems=[Problem((), f"unknown task text {name!r}; {did_you_mean(name, known)}")])
    data = YAML(typ="safe").load(folder.joinpath(f"{name}.yaml").read_text("utf-8"))
    return TaskText(data["language"], data["subject"], data["body"], data["nothing"])


def check_template(template: str) -> str | None:
    """What is wrong with a template, for a person; None when nothing is."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        return f"{error}; write {{{{ and }}}} for braces that are meant as such"
    for _, name, specification, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS:
            return f"unknown placeholder {{{name}}}; {did_you_mean(name, PLACEHOLDERS)}"
        if specification or conversion:
            return f"placeholder {{{name}}} takes no format"
    return None


def render(
    words: TaskText,
    person: Mapping[str, str],
    score: ScoreResult | None,
    *,
    as_of: datetime,
    due: timedelta,
    priority: Priority,
) -> TaskContent:
    """The task for `person` (attributes by name). `due` counts from `as_of`."""
    name = " ".join(filter(None, (person.get("first_name"), person.get("last_name")))) or person.get("email", "?")
    meanings = {
        "name": name,
        "first_name": person.get("first_name", ""),
        "last_name": person.get("last_name", ""),
        "company": person.get("company", ""),
        "email": person.get("email", ""),
        "did": _did(score.contributions if score else (), words),
        "by": _duration(due, words.language),
        "score": f"{score.value:f}" if score else "",
        "band": (score.band if score else None) or "",
    }
    values = {placeholder: meanings[meaning] for placeholder, meaning in PLACEHOLDERS.items()}
    return TaskContent(words.subject.format(**values), words.body.format(**values), as_of + due, priority)


def _did(contributions: Sequence[Contribution], words: TaskText) -> str:
    """The deeds that weighed most, in the words the model gives them."""
    told = [c for c in contributions if c.amount > 0 and words.language in c.says]
    told.sort(key=lambda contribution: -contribution.amount)  # stable: equal amounts stay in the model's order
    phrases = list(dict.fromkeys(c.says[words.language] for c in told))[:_TOLD]
    if not phrases:
        return words.nothing
    *first, last = phrases
    return ", ".join(first) + _AND.get(words.language, ", ") + last if first else last


def _duration(value: timedelta, language: str) -> str:
    minutes = int(value.total_seconds() // 60)
    if minutes % (24 * 60) == 0 and minutes:
        count, forms = minutes // (24 * 60), _DAYS
    elif minutes % 60 == 0 and minutes:
        count, forms = minutes // 60, _HOURS
    else:
        count, forms = minutes, _MINUTES
    one, many = forms.get(language, forms["en"])
    return one if count == 1 else many.format(n=count)


def threshold(model: Model, score: str, rule: str) -> Decimal:
    """Where the priority `normal` begins for an action on `rule`: at the band of `score` that it names.

    A rule about anything else (`segment:keen`, another score's band) counts from the highest band; 0 without bands.
    """
    named = [band.at_least for band in model.bands if rule == f"band:{score}.{band.name}"]
    return max(named or [band.at_least for band in model.bands], default=Decimal(0))


def priority_of(value: Decimal, at_least: Decimal) -> Priority:
    """Grows with the score: from the alert's threshold normal, from 1.5 times it high, from twice it urgent.

    With the threshold of 80 that is 80 normal, 120 high, 160 urgent, as the practice guide has it. A threshold of 0 or
    less has no multiples: everything is normal.
    """
    if at_least <= 0:
        return "normal"
    steps = ((Decimal(2), "urgent"), (Decimal("1.5"), "high"), (Decimal(1), "normal"))
    return cast(Priority, next((name for factor, name in steps if value >= at_least * factor), "low"))
