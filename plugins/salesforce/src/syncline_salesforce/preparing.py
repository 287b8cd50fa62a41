"""What an org needs before the first sync: custom fields that our user may write, and campaigns.

Fields made through Tooling are visible to nobody until field-level security grants it (vendor sheet §8), so each gets a
FieldPermissions record on a permission set of ours. The body of the Tooling call could not be verified against an org.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from syncline.errors import ConfigError, ConnectorError
from syncline.model import Field, FieldSpec
from syncline_salesforce.client import Client
from syncline_salesforce.opting_out import OPT_OUT
from syncline_salesforce.segments import Campaigns
from syncline_salesforce.values import quoted

__all__ = ["Preparation", "metadata_of"]

_LONGEST_TEXT: Final = 255
_PRECISION: Final = 18


def metadata_of(spec: FieldSpec) -> dict[str, Any]:
    """The Metadata of a Tooling CustomField."""
    if spec.kind == "number":
        base: dict[str, Any] = {"type": "Number", "precision": _PRECISION, "scale": spec.scale or 0}
    elif spec.kind == "boolean":
        base = {"type": "Checkbox", "defaultValue": "false"}
    elif spec.kind in ("date", "datetime"):
        base = {"type": "Date" if spec.kind == "date" else "DateTime"}
    elif (spec.max_length or _LONGEST_TEXT) > _LONGEST_TEXT:
        base = {"type": "LongTextArea", "length": spec.max_length, "visibleLines": 3}
    else:
        base = {"type": "Text", "length": spec.max_length or _LONGEST_TEXT}
    unique = {"unique": True, "externalId": True, "caseSensitive": False} if spec.unique else {}
    return {"label": spec.label or spec.name, **base, **({k: unique[k] for k in unique} if unique else {})}


class Preparation:
    """Says what is missing, and creates it."""

    def __init__(
        self,
        client: Client,
        campaigns: Campaigns,
        describe: Callable[[str], Sequence[Field]],
        permission_set: str,
    ) -> None:
        self._client = client
        self._campaigns = campaigns
        self._describe = describe
        self._permission_set = permission_set

    def missing(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> list[str]:
        """One line for each thing that `prepare` would create or grant."""
        lines = [_line(spec, known) for spec, known in self._lacking(needed)]
        return lines + [f"campaign {name!r}" for name in self._absent(segments)]

    def prepare(self, needed: Sequence[FieldSpec], segments: Sequence[str]) -> list[str]:
        """Create and grant; a line for each thing done."""
        lacking = self._lacking(needed)
        for spec, known in lacking:
            if known is not None and known.writable:
                raise ConfigError(
                    f"{_line(spec, known)}. Setup: Object Manager, {spec.object}, Fields, {spec.name}, Edit"
                )
            if not spec.name.endswith("__c") and spec.name != OPT_OUT:
                raise ConfigError(
                    f"{spec.object}.{spec.name} does not exist and cannot be created: custom fields end in __c"
                )
        done = self._fields(lacking) if lacking else []
        for name in self._absent(segments):
            self._create_campaign(name)
            done.append(f"created campaign {name!r}")
        return done

    def _lacking(self, needed: Sequence[FieldSpec]) -> list[tuple[FieldSpec, Field | None]]:
        """The fields that are not there, that we may not write, or that should hold our key and could hold it twice."""
        known: dict[str, dict[str, Field]] = {}
        found: list[tuple[FieldSpec, Field | None]] = []
        for spec in dict.fromkeys(needed):
            object = _shown_on(spec.object)
            if object not in known:
                known[object] = {f.name: f for f in self._describe(object)}
            field = known[object].get(spec.name)
            if field is None or not field.writable or (spec.unique and not field.unique):
                found.append((spec, field))
        return found

    def _absent(self, segments: Sequence[str]) -> list[str]:
        if not segments:
            return []
        there = self._campaigns.find(segments)
        return [name for name in dict.fromkeys(segments) if name not in there]

    def _fields(self, lacking: Sequence[tuple[FieldSpec, Field | None]]) -> list[str]:
        permission_set = self._permission_set_id()
        done = []
        for spec, known in lacking:
            created = known is None and spec.name != OPT_OUT and self._create_field(spec)
            self._grant(permission_set, spec)
            verb = "created" if created else "granted access to"
            done.append(f"{verb} field {spec.object}.{spec.name}")
        return done

    def _create_field(self, spec: FieldSpec) -> bool:
        """False when it had been there all along, hidden from us."""
        body = {"FullName": f"{spec.object}.{spec.name}", "Metadata": metadata_of(spec)}
        try:
            self._client.tooling("POST", "sobjects/CustomField", body)
        except ConnectorError as error:
            if "DUPLICATE_DEVELOPER_NAME" in error.message:
                return False
            raise
        return True

    def _grant(self, permission_set: str, spec: FieldSpec) -> None:
        object = _shown_on(spec.object)
        body = {
            "ParentId": permission_set,
            "SobjectType": object,
            "Field": f"{object}.{spec.name}",
            "PermissionsRead": True,
            "PermissionsEdit": True,
        }
        if self._create("FieldPermissions", body, unless="DUPLICATE_VALUE") is None:
            self._widen(permission_set, str(body["Field"]))

    def _widen(self, permission_set: str, field: str) -> None:
        """Our permission set has the field, but perhaps for reading only."""
        where = f"ParentId = {quoted(permission_set)} AND Field = {quoted(field)}"
        for row in self._client.query_all(f"SELECT Id FROM FieldPermissions WHERE {where}"):  # noqa: S608  # quoted
            body = json.dumps({"PermissionsRead": True, "PermissionsEdit": True})
            self._client.rest("PATCH", f"sobjects/FieldPermissions/{row['Id']}", body)

    def _permission_set_id(self) -> str:
        """Our permission set, created and assigned to us where needed."""
        name = quoted(self._permission_set)
        rows = self._client.query_all(f"SELECT Id FROM PermissionSet WHERE Name = {name}")  # noqa: S608  # it is quoted
        if rows:
            id = str(rows[0]["Id"])
        else:
            id = self._create("PermissionSet", {"Name": self._permission_set, "Label": self._permission_set}) or ""
        assignment = {"AssigneeId": self._client.token.user_id, "PermissionSetId": id}
        self._create("PermissionSetAssignment", assignment, unless="DUPLICATE_VALUE")
        return id

    def _create_campaign(self, name: str) -> None:
        """Its member statuses are the org's defaults."""
        self._create("Campaign", {"Name": name, "IsActive": True})

    def _create(self, object: str, body: Mapping[str, Any], *, unless: str | None = None) -> str | None:
        """The new id; None when the code `unless` says that it was there."""
        try:
            answer = self._client.rest("POST", f"sobjects/{object}", json.dumps(body))
        except ConnectorError as error:
            if unless is not None and error.message.startswith(unless):
                return None
            raise
        return str(answer["id"])


def _shown_on(object: str) -> str:
    """Fields of Activity are described, and granted, on Task."""
    return "Task" if object == "Activity" else object


def _line(spec: FieldSpec, known: Field | None) -> str:
    if known is not None and known.writable:
        return f"field {spec.object}.{spec.name} is there, but not unique: two records could hold one key"
    if known is not None or spec.name == OPT_OUT:
        may = "it is hidden from us" if known is None else "we may read it, not write it"
        return f"access to field {spec.object}.{spec.name}: {may}"
    kind = f"{spec.kind}, unique external id" if spec.unique else spec.kind
    custom = "" if spec.name.endswith("__c") else "; cannot be created, custom fields end in __c"
    return f"field {spec.object}.{spec.name} ({kind}), with access for the user we log in as{custom}"
