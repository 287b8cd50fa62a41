"""Field history: a row for every change of a tracked field, as the history objects of the org show it.

Their fields are those of the object reference (StandardObjectNameHistory, read 2026-11). An object whose history is
switched off is not there, and its describe names no child `Histories`; as described it is in the recording of a Lead
describe (CumulusCI). Unverified: the row `created`, and the key prefixes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from syncline_salesforce.simulator.schema import FieldDef

__all__ = ["HISTORIES", "child_relationship", "history_rows"]

HISTORIES: Final[Mapping[str, tuple[str, str]]] = {
    "Lead": ("LeadHistory", "LeadId"),
    "Contact": ("ContactHistory", "ContactId"),
}
"""Object → its history object, and the field there that names the record."""


def history_rows(
    object: str,
    fields: Mapping[str, FieldDef],
    tracked: frozenset[str],
    before: Mapping[str, Any] | None,
    row: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """What a change leaves behind, but for the ids. Of long texts only that they changed is kept."""
    common = {
        "IsDeleted": False,
        HISTORIES[object][1]: row["Id"],
        "CreatedById": row["LastModifiedById"],
        "CreatedDate": row["SystemModstamp"],
    }
    if before is None:
        yield {**common, "Field": "created", "DataType": "Text", "OldValue": None, "NewValue": None}
        return
    for name in sorted(tracked):
        if before.get(name) != row.get(name):
            field = fields[name]
            long = field.type == "textarea" and field.length > 255
            old, new = (None, None) if long else (before.get(name), row.get(name))
            yield {
                **common,
                "Field": name.removesuffix("Id") if field.type == "reference" else name,
                "DataType": field.type,
                "OldValue": old,
                "NewValue": new,
            }


def child_relationship(object: str) -> dict[str, Any]:
    """As a describe lists it."""
    child, field = HISTORIES[object]
    return {
        "cascadeDelete": True,
        "childSObject": child,
        "deprecatedAndHidden": False,
        "field": field,
        "junctionIdListNames": [],
        "junctionReferenceTo": [],
        "relationshipName": "Histories",
        "restrictedDelete": False,
    }
