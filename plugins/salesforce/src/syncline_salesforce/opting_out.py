"""Opting out of e-mail: a write may say it, and never take it back.

`HasOptedOutOfEmail` is a checkbox of leads and contacts, often hidden until an administrator shows it to our user. Only
True is ever sent: whoever opts out there stays so, also when it happens while we are writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from syncline.model import Outcome, Status, Write
from syncline_salesforce.client import Client
from syncline_salesforce.values import quoted

__all__ = ["OPT_OUT", "never_in_again"]

OPT_OUT: Final = "HasOptedOutOfEmail"
_VALUES_A_QUERY: Final = 100  # of keys as long as 64 characters: within the 16,384 of an address (vendor sheet §4)


def never_in_again(client: Client, object: str, writes: Sequence[Write]) -> tuple[list[Write], dict[str, Outcome]]:
    """The writes that may be sent, and the refusals of the others by our key. No call unless one says False or None."""
    doubtful = [w for w in writes if OPT_OUT in w.fields and w.fields[OPT_OUT] is not True]
    if not doubtful:
        return list(writes), {}
    out = _opted_out(client, object, doubtful)
    refused = {w.key: _refusal(w) for w in doubtful if _folded(w.match[0], w.match[1]) in out}
    return [_without(w) for w in writes if w.key not in refused], refused


def _opted_out(client: Client, object: str, writes: Sequence[Write]) -> set[str]:
    """What those who have opted out are matched by."""
    field, found = writes[0].match[0], set()
    for start in range(0, len(writes), _VALUES_A_QUERY):
        values = ", ".join(quoted(w.match[1]) for w in writes[start : start + _VALUES_A_QUERY])
        query = f"SELECT {field} FROM {object} WHERE {field} IN ({values}) AND {OPT_OUT} = TRUE"  # noqa: S608  # quoted
        found |= {_folded(field, row[field]) for row in client.query_all(query)}
    return found


def _folded(field: str, value: str) -> str:
    return value[:15] if field == "Id" else value.casefold()


def _without(write: Write) -> Write:
    """Not opted out is how a record begins, so there is nothing to send."""
    if write.fields.get(OPT_OUT, True) is True:
        return write
    return replace(write, fields={name: value for name, value in write.fields.items() if name != OPT_OUT})


def _refusal(write: Write) -> Outcome:
    reason = f"{OPT_OUT}: this person has opted out of e-mail in Salesforce; a sync never opts anybody in again"
    return Outcome(write.key, Status.REJECTED, reason=reason, code="OPTED_OUT")
