"""Opting out of e-mail: a write may say it, and never take it back.

`Email_Opt_Out` is a checkbox of leads and contacts. Only True is ever sent: whoever opts out there stays so, also when
it happens while we are writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from syncline.model import Outcome, Status, Write
from syncline_zoho.client import Client
from syncline_zoho.payloads import RecordsPage
from syncline_zoho.saving import MOST_IDS

__all__ = ["OPT_OUT", "never_in_again"]

OPT_OUT: Final = "Email_Opt_Out"
_LEADS: Final = "Leads"


def never_in_again(client: Client, object: str, writes: Sequence[Write]) -> tuple[list[Write], dict[str, Outcome]]:
    """The writes that may be sent, and the refusals of the others by our key. No call unless one says False or None."""
    doubtful = [w for w in writes if w.fields.get(OPT_OUT, True) is not True]
    if not doubtful:
        return list(writes), {}
    out = _opted_out(client, object, doubtful)
    refused = {w.key: _refusal(w) for w in doubtful if w.match[1].casefold() in out}
    return [_without(w) for w in writes if w.key not in refused], refused


def _opted_out(client: Client, object: str, writes: Sequence[Write]) -> set[str]:
    """What those who have opted out are matched by, in lower case."""
    field, values = writes[0].match[0], [w.match[1] for w in writes]
    found: set[str] = set()
    for start in range(0, len(values), MOST_IDS):
        some = values[start : start + MOST_IDS]
        page = _by_id(client, object, some) if field == "Id" else _by_key(client, object, field, some)
        name = "id" if field == "Id" else field
        found |= {str(row[name]).casefold() for row in page.data if row.get(OPT_OUT) is True and row.get(name)}
    return found


def _by_id(client: Client, object: str, ids: Sequence[str]) -> RecordsPage:
    known = [id for id in ids if id.isdigit()]  # another one is refused by the write itself
    if not known:
        return RecordsPage()
    params = {"fields": OPT_OUT, "ids": ",".join(known), "per_page": 200}
    if object == _LEADS:
        params["converted"] = "both"
    return client.read("GET", object, params=params).read(RecordsPage)


def _by_key(client: Client, object: str, field: str, keys: Sequence[str]) -> RecordsPage:
    listed = ", ".join(f"'{_escaped(key)}'" for key in keys)
    return client.query(f"select {field}, {OPT_OUT} from {object} where {field} in ({listed}) limit 200")  # noqa: S608  # escaped


def _escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace("'", "\\'")


def _without(write: Write) -> Write:
    """Not opted out is how a record begins, so there is nothing to send."""
    if write.fields.get(OPT_OUT, True) is True:
        return write
    return replace(write, fields={name: value for name, value in write.fields.items() if name != OPT_OUT})


def _refusal(write: Write) -> Outcome:
    reason = f"{OPT_OUT}: this person has opted out of e-mail in Zoho; a sync never opts anybody in again"
    return Outcome(write.key, Status.REJECTED, reason=reason, code="OPTED_OUT")
