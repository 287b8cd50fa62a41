"""Where each operation lives in each family of HubSpot's API (vendor sheet §1).

The client library knows the paths of v3 only. The position of the version differs from row to row, so this is a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from syncline.errors import ContractError
from syncline_hubspot.config import Api

__all__ = ["ACCOUNT", "DATED", "INTROSPECT", "TOKEN_INFO", "UNSUBSCRIBE", "path_of"]

ACCOUNT: Final = "/account-info/v3/details"
TOKEN_INFO: Final = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105  # an address
"""What a token that does not end belongs to; the same address in every family."""
INTROSPECT: Final = "/introspect"
"""Behind the address of the token endpoint."""

UNSUBSCRIBE: Final = "/communication-preferences/v4/statuses/{subscriberIdString}/unsubscribe-all"
"""Read 2026-11 for v4 and 2026-03; the library knows v3 only, which cannot do it."""

DATED: Final[Mapping[str, str]] = {
    "/crm/v3/objects/{objectType}": "/crm/objects/{version}/{objectType}",
    "/crm/v3/objects/{objectType}/batch/create": "/crm/objects/{version}/{objectType}/batch/create",
    "/crm/v3/objects/{objectType}/batch/read": "/crm/objects/{version}/{objectType}/batch/read",
    "/crm/v3/objects/{objectType}/batch/update": "/crm/objects/{version}/{objectType}/batch/update",
    "/crm/v3/objects/{objectType}/batch/upsert": "/crm/objects/{version}/{objectType}/batch/upsert",
    "/crm/v3/objects/{objectType}/search": "/crm/objects/{version}/{objectType}/search",
    "/crm/v3/properties/{objectType}": "/crm/properties/{version}/{objectType}",
    "/crm/v3/properties/{objectType}/batch/create": "/crm/properties/{version}/{objectType}/batch/create",
    "/crm/v3/properties/{objectType}/groups": "/crm/properties/{version}/{objectType}/groups",
    "/crm/v3/properties/{objectType}/groups/{groupName}": "/crm/properties/{version}/{objectType}/groups/{groupName}",
    "/crm/v3/lists/": "/crm/lists/{version}",
    "/crm/v3/lists/object-type-id/{objectTypeId}/name/{listName}": (
        "/crm/lists/{version}/object-type-id/{objectTypeId}/name/{listName}"
    ),
    "/crm/v3/lists/{listId}/memberships/add": "/crm/lists/{version}/{listId}/memberships/add",
    "/crm/v3/lists/{listId}/memberships/remove": "/crm/lists/{version}/{listId}/memberships/remove",
    "/crm/v3/lists/{listId}/memberships/add-and-remove": "/crm/lists/{version}/{listId}/memberships/add-and-remove",
    # Known for 2026-03 only (vendor sheet §1; hubspot-sdk 0.1.0a9): it serves the later family too.
    ACCOUNT: "/account-info/2026-03/details",
    UNSUBSCRIBE: "/communication-preferences/{version}/statuses/{subscriberIdString}/unsubscribe-all",
    "/crm-object-schemas/v3/schemas/{objectType}": "/crm-object-schemas/2026-03/schemas/{objectType}",
}
"""Path of v3 as the library writes it → path of the dated families."""


def path_of(path: str, api: Api) -> str:
    """The path of this family. ContractError for an operation that is not in the table."""
    if path not in DATED:
        raise ContractError(f"{path} is not in the table of HubSpot's paths; add it there for every family")
    return path if api == "v3" else DATED[path].replace("{version}", api)
