"""The last question before a write: has somebody withdrawn since it was planned?

A run may take an hour, and a webhook comes in a second. What webhooks have brought since the sources were read waits in
the inbox for the next run, but the withdrawals in it count at once. They are only looked at here, nothing is settled:
in the middle of a delivery nobody may turn out to be somebody else.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from syncline.errors import RecordError
from syncline.model import Event, microseconds
from syncline.people import ConsentRules, IdentifierFilter, IdentityRules, Said
from syncline.people.consent import stated
from syncline.sdk import Receives, Source
from syncline.store import consents, inbox
from syncline.store import people as register
from syncline.store.runs import OutboxRow
from syncline.store.values import dump, load
from syncline.sync.consent import Consents
from syncline.sync.followups import task_purpose
from syncline.sync.plan import BY_ID
from syncline.sync.target import Target

__all__ = ["Gate", "Sifted"]

_log = logging.getLogger(__name__)

_AT_ONCE = 1000  # waiting records looked at in one go


@dataclass(slots=True)
class Sifted:
    """A batch after the question. `trimmed` are those of `ready` that lost some of their fields."""

    ready: list[OutboxRow] = field(default_factory=list)
    trimmed: list[OutboxRow] = field(default_factory=list)
    withheld: list[tuple[OutboxRow, str]] = field(default_factory=list)
    """Each with its reason."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Reason → fields, tasks and memberships that are left out."""


class Gate:
    """Asks for one run, for all its CRMs: what it has once heard it does not look up again.

    `restoring`: the run takes another one back. Only who would come back into a list is asked then.
    """

    def __init__(
        self,
        rules: ConsentRules,
        sources: Mapping[str, Source[Any]],
        identity: IdentityRules | None = None,
        *,
        restoring: bool = False,
    ) -> None:
        self._rules = rules
        self._asked = ("add",) if restoring else ("upsert", "task", "add")
        self._sources = {name: source for name, source in sources.items() if isinstance(source, Receives)}
        self._filter = IdentifierFilter(identity or IdentityRules())
        self._seen: dict[str, int] = {}
        self._heard: defaultdict[int, list[Said]] = defaultdict(list)

    def sift(self, connection: Connection, target: Target, rows: Sequence[OutboxRow]) -> Sifted:
        """These rows of one CRM, without what their people do not allow any more. Reads only."""
        asking = [row for row in rows if row.operation in self._asked] if self._rules.purposes else []
        asked = {row.id: _purposes(target, row) for row in asking}
        people = {row.person_id for row in rows if any(asked.get(row.id, {}).values())}
        if not people:
            return Sifted(ready=list(rows))
        consents_now = self._consents(connection, target, people)
        sifted = Sifted()
        for row in rows:
            refused = {
                part: reason
                for part, purposes in asked.get(row.id, {}).items()
                for purpose in sorted(purposes)
                if (reason := consents_now.refusal(row.person_id, purpose)) is not None
            }
            _put(sifted, target, row, refused)
        return sifted

    def _consents(self, connection: Connection, target: Target, people: set[int]) -> Consents:
        self._look(connection)
        said: defaultdict[int, list[Said]] = defaultdict(list)
        for row in consents.of(connection, people):
            said[row[0]].append(Said(*row))
        for person in people & self._heard.keys():
            said[person] += self._heard[person]
        return Consents(self._rules, said).at(target)

    # What waits in the inbox

    def _look(self, connection: Connection) -> None:
        """Take note of the withdrawals that came in since the last look."""
        for name, source in self._sources.items():
            while rows := inbox.waiting(connection, name, _AT_ONCE, after=self._seen.get(name, 0)):
                self._seen[name] = rows[-1].id
                for event in (event for row in rows for event in _events(name, source, row.record)):
                    self._note(connection, name, event)

    def _note(self, connection: Connection, name: str, event: Event) -> None:
        at_us, id_ = microseconds(event.occurred_at), bytes.fromhex(event.id)
        said = stated(0, event.type, at_us, id_, event.properties, name)
        if said is None or said.granted:
            return  # a grant can wait for the next run
        try:
            names = self._filter.clean(event.identifiers, Counter())
        except RecordError:
            return  # it names nobody; the next run says so
        for person, _ in register.owners(connection, [(i.namespace, i.value) for i in names]).values():
            self._heard[person].append(said._replace(person=person))


def _events(name: str, source: Source[Any], record: Any) -> Iterator[Event]:
    try:
        yield from source.normalize(record)
    except Exception as error:  # noqa: BLE001  # the next run quarantines it, or names the plugin's mistake
        _log.debug("%s/%s cannot be read yet: %s", name, record.stream, error)


def _purposes(target: Target, row: OutboxRow) -> dict[str, frozenset[str]]:
    """What of a row asks for consent, and for which purposes. Ending something asks nobody."""
    if row.operation == "upsert":
        purposes = {mapped.name: mapped.purpose for mapped in target.fields}
        named = {name: purposes.get(name) for name in load(row.payload)["fields"]}
        return {name: frozenset({purpose}) for name, purpose in named.items() if purpose is not None}
    if row.operation == "task":
        purpose = task_purpose(row.payload)
        return {} if purpose is None else {"": frozenset({purpose})}
    if row.operation == "add":
        return {"": target.list_purposes.get(row.object, frozenset())}
    return {}


def _put(sifted: Sifted, target: Target, row: OutboxRow, refused: Mapping[str, str]) -> None:
    """A task or a membership is refused whole, a new record too: the next plan says what is left of it."""
    if not refused:
        sifted.ready.append(row)
        return
    sifted.reasons.update(refused.values())
    payload = load(row.payload)
    fields = {name: value for name, value in payload.get("fields", {}).items() if name not in refused}
    if row.operation != "upsert" or row.match != BY_ID or not fields.keys() - {target.match}:
        sifted.withheld.append((row, min(refused.values())))
        return
    rest = replace(row, payload=dump({**payload, "fields": fields}))
    sifted.ready.append(rest)
    sifted.trimmed.append(rest)
