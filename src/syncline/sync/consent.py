"""What people allow: kept as events come in, put together for a plan, asked before every write.

What a connection's events say is kept by `keep`, the last word of each side. What a CRM's opt-out field says is read as
it stands (`syncline.sync.opt_outs`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from syncline.people.consent import STATING, ConsentRules, Said, stated, told
from syncline.store import consents
from syncline.store.database import Database
from syncline.store.events import EventRow, StoredEvent
from syncline.store.keep import Keep
from syncline.sync.match import Matches
from syncline.sync.opt_outs import Accepted, OptOuts, read_opt_outs
from syncline.sync.target import Target

__all__ = ["Consents", "catch_up", "hear", "keep"]

_BOOK: Final = "consent."  # no connection has such a name

# Kept as events come in


def keep(
    connection: Connection,
    name: str,
    rows: Iterable[EventRow],
    merged: Mapping[int, int],
    previous: Iterable[StoredEvent] = (),
) -> None:
    """Keep what new events of one connection say, once the log has them.

    `merged` are people who turned out to be others. Of people whose `previous` events were replaced, what the
    connection says is read from the log again.
    """
    consents.merge(connection, list(merged.items()))
    again = {merged.get(e.row.person_id, e.row.person_id) for e in previous if e.row.type in STATING}
    consents.forget(connection, name, again)
    if again:
        _put(connection, (said for said in _logged(connection, again) if said.side == name))
    found = (
        stated(row.person_id, row.type, row.t_us, row.id, json.loads(row.properties), name)
        for row in rows
        if row.type in STATING
    )
    _put(connection, filter(None, found))


def catch_up(database: Database) -> None:
    """Once in the life of a store: keep what events said that were in the log before anybody kept it."""
    done = Keep(database, _BOOK)
    if "from_log" in done:
        return
    with database.write() as connection:
        _put(connection, _logged(connection, None))
    done["from_log"] = "done"


def _logged(connection: Connection, people: Collection[int] | None) -> Iterable[Said]:
    found = consents.stating(connection, STATING, people)
    return filter(None, (stated(e.person, e.type, e.t_us, e.id, e.properties, e.connection) for e in found))


def _put(connection: Connection, statements: Iterable[Said]) -> None:
    found = list(statements)
    consents.put_latest(connection, found)
    grants = ((said.person, said.purpose, told(said.side), said.at_us) for said in found if said.granted)
    consents.end_told(connection, grants)


# Put together for a plan


@dataclass(frozen=True, slots=True)
class Consents:
    """What some people allow. A write without a purpose asks nobody."""

    rules: ConsentRules = field(default_factory=ConsentRules)
    said: Mapping[int, Sequence[Said]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    """Purpose → why nobody can know here whether it was withdrawn."""

    def refusal(self, person: int, purpose: str | None) -> str | None:
        """Why nothing may be written to this person for this purpose; None when it may."""
        if purpose is None:
            return None
        return self.unread.get(purpose) or self.rules.refusal(purpose, self.said.get(person, ()))

    def withdrawn(self, person: int, purpose: str) -> bool:
        """Whether any side has withdrawn it."""
        return any(not said.granted for said in self.rules.sides(purpose, self.said.get(person, ())))

    def at(self, target: Target) -> Consents:
        """As they are for one CRM: where its opt-out field is gone, what it would have said is not known."""
        return replace(self, unread=target.unread_purposes)


def hear(
    connection: Connection,
    rules: ConsentRules,
    people: Collection[int],
    places: Iterable[tuple[Target, Matches, Accepted]],
    as_of: datetime,
) -> tuple[Consents, dict[str, OptOuts]]:
    """What these people allow, and by connection what the opt-out fields say there that is not kept yet.

    `places` are the CRMs, with who was found there and what came over to their records that was ours.
    """
    if not rules.purposes:
        return Consents(rules), {}
    said: defaultdict[int, list[Said]] = defaultdict(list)
    for row in consents.of(connection, people):
        said[row[0]].append(Said(*row))
    found = {place[0].connection: read_opt_outs(*place, said, as_of) for place in places}
    for heard in found.values():
        for one in heard.lifted:
            said[one.person].remove(one)
        for one in (*heard.said, *heard.guessed):
            said[one.person].append(one)
    return Consents(rules, said), found
