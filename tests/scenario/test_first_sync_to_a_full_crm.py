"""First sync to a CRM that already holds everybody, their addresses in other letter case: nobody is there twice.

Stage by stage, with a look before every go-ahead, as the page on first runs tells it. They are 2,000, to be quick;
`FULL_CRM=5000` makes them more.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Final

_NEW: Final = 40


def test_first_sync_to_a_crm_that_holds_everybody_in_other_letter_case(lab: Any) -> None:
    full = int(os.environ.get("FULL_CRM", "2000"))
    spelt = (str.title, str.upper, str.lower)
    lab.sync["first_run"] = "staged"
    lab.sync["guard"] = {"tasks": None}
    emails = lab.crowd(full, points=50)
    for number, email in enumerate(emails):
        lab.world.put("Contact" if number % 7 == 0 else "Lead", {"Email": spelt[number % 3](email), "Company": "Acme"})
    for number in range(_NEW):
        lab.points(f"new{number:02d}@acme.example", 90)

    looked = lab.sink().rollout
    assert looked.stage == "match"
    assert (looked.match.by_email, looked.match.absent, looked.match.ambiguous) == (full, _NEW, 0)
    assert looked.match.other_case == sum(number % 3 != 2 for number in range(full))
    assert lab.world.counters["write_calls"] == 0

    updated = lab.sink(go_ahead=True)
    assert (updated.updated, updated.created, updated.rejected) == (full, 0, 0)
    assert updated.rollout.held == {"creates": _NEW, "tasks": _NEW, "members": _NEW}

    created = lab.sink(go_ahead=True)
    assert (created.updated, created.created, created.tasks, created.members) == (0, _NEW, _NEW, _NEW)
    assert [row["stage"] for row in lab.rows("rollout")] == ["whole"]

    shown = Counter(
        str(lab.world.get(ref)["Email"]).lower() for name in ("Lead", "Contact") for ref in lab.world.refs(name)
    )
    assert set(shown.values()) == {1}, "doubles"
    assert len(shown) == full + _NEW
    assert len(lab.rows("link")) == full + _NEW, "everybody is linked"
    assert lab.sink().changes == []
