"""Asked before a record is planned: may this be written to this person, and has somebody to be told of an opt-out?"""

from __future__ import annotations

from syncline.store.profiles import Profile
from syncline.sync.fields import Held
from syncline.sync.plan import FieldChange, TargetPlan
from syncline.sync.target import FieldMap, Target

__all__ = ["Asking"]


class Asking:
    """Asks for the records of one CRM; what is refused is counted in `plan`."""

    def __init__(self, target: Target, plan: TargetPlan) -> None:
        self._plan = plan
        self._purposes = target.purposes

    @property
    def writes(self) -> bool:
        """Whether anything but opt-outs is written here."""
        return bool(self._purposes)

    def refusal(self, person: Profile) -> str | None:
        """Why nothing at all may be written to this person here; None when something may, or nothing asks."""
        refusals = {self._plan.consents.refusal(person.person_id, purpose) for purpose in self._purposes}
        return None if None in refusals else min(filter(None, refusals), default=None)

    def opt_out(self, mapped: FieldMap, person: Profile, held: Held | None = None) -> FieldChange | None:
        """The tick for somebody who has opted out elsewhere: the only change that such a field ever gets from us."""
        if mapped.consent is None or not mapped.written or (held is not None and held.unread(mapped.name)):
            return None
        before = held.remote(mapped.name) if held is not None else None
        if before is True or not self._plan.consents.withdrawn(person.person_id, mapped.consent):
            return None
        return FieldChange(mapped.name, before, True)
