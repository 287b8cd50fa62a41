"""The timelines of records: who changed which fields, and when.

They live as long as the process; an account that is started again has forgotten all but the creation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from syncline_zoho.simulator.schema import MODULE_IDS

__all__ = ["History"]

_NOBODYS: Final = frozenset({"Modified_By", "Modified_Time", "Full_Name", "id"})


class History:
    """What changed, record by record."""

    def __init__(self, users: Mapping[str, tuple[str, str]]) -> None:
        self._users = users
        self._entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.automated = False
        """From now on what is changed is changed by a workflow rule."""

    def note(self, module: str, before: Mapping[str, Any], after: Mapping[str, Any], by: str) -> None:
        """One entry for one write; none when it changed nothing."""
        names = [name for name in after if name not in _NOBODYS and before.get(name) != after[name]]
        if names:
            changes = [
                {
                    "api_name": name,
                    "id": str(number),
                    "_value": {"new": _text(after[name]), "old": _text(before.get(name))},
                }
                for number, name in enumerate(names, 1)
            ]
            entries = self._entries.setdefault((module, after["id"]), [])
            entries.append(self._entry(module, after, "updated", by, after["Modified_Time"], changes))

    def of(self, module: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The entries of a record, newest first; its creation is the last."""
        born = self._entry(module, row, "added", row["Created_By"]["id"], row["Created_Time"], None)
        return [*reversed(self._entries.get((module, row["id"]), [])), born]

    def _entry(
        self, module: str, row: Mapping[str, Any], action: str, by: str, at: str, changes: list[dict[str, Any]] | None
    ) -> dict[str, Any]:
        rule = {"type": "workflow", "rule": {"id": "5725767000000700001", "name": "Big Deal Rule"}}
        return {
            "id": f"{row['id']}{len(self._entries.get((module, row['id']), ())):04d}",
            "action": action,
            "audited_time": at,
            "done_by": {"id": by, "name": self._users[by][0]},
            "record": {
                "id": row["id"],
                "name": row.get("Full_Name"),
                "module": {"api_name": module, "id": MODULE_IDS[module]},
            },
            "related_record": None,
            "automation_details": rule if self.automated and action == "updated" else None,
            "field_history": changes,
            "source": "crm_ui",
            "extension": None,
            "type": None,
        }


def _text(value: Any) -> str | None:
    """The wire shows texts; of a look-up its name."""
    if isinstance(value, dict):
        return value.get("name")
    return None if value is None else str(value)
