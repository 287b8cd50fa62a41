"""The bodies of answers, as the vendor's schemas and examples have them; see `server` for which are likely only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from syncline_unbounce.simulator.world import ACCOUNT, SUB_ACCOUNTS, LeadRow, PageRow

__all__ = ["account", "domain", "host_of", "lead", "link", "metadata", "page", "sub_account", "text_of"]


def account() -> dict[str, Any]:
    path = f"/accounts/{ACCOUNT}"
    related = {"sub_accounts": link(f"{path}/sub_accounts"), "pages": link(f"{path}/pages")}
    return {"id": ACCOUNT, "name": "Example Co", "state": "active", "metadata": metadata(path, related)}


def sub_account(id_: str) -> dict[str, Any]:
    path = f"/sub_accounts/{id_}"
    related = {name: link(f"{path}/{name}") for name in ("domains", "page_groups", "pages")}
    return {"id": id_, "account_id": ACCOUNT, "name": SUB_ACCOUNTS[id_], "metadata": metadata(path, related)}


def domain(name: str) -> dict[str, Any]:
    path = f"/domains/{name}"
    related = {"pages": link(f"{path}/pages")}
    return {"id": name, "name": name, "metadata": metadata(path, related)}


def page(row: PageRow, submits: int | None) -> dict[str, Any]:
    """With statistics, if `submits` says how many submissions they count."""
    path = f"/pages/{row.id}"
    related = {name: link(f"{path}/{name}") for name in ("form_fields", "leads")}
    related["sub_account"] = link(f"/sub_accounts/{row.sub_account}")
    body = {
        "id": row.id,
        "name": row.name,
        "url": row.url,
        "domain": host_of(row),
        "state": row.state,
        "sub_account_id": row.sub_account,
        "created_at": text_of(row.created_at),
        "last_published_at": text_of(row.published_at),
        "integrations": [],
        "integrations_count": 0,
        "integrations_errors_count": 0,
        "variants_count": 2,
        "metadata": metadata(path, related),
    }
    return body if submits is None else {**body, "tests": {"current": _statistics(row.id, submits)}}


def _statistics(page: str, counted: int) -> dict[str, Any]:
    visits = counted * 9 + 3
    return {
        "id": page,
        "champion": "a",
        "has_results": False,
        "winner": "",
        "losers": "",
        "visits": visits,
        "visitors": visits - 2,
        "clicks": 0,
        "form_submits": counted,
        "conversions": counted,
        "conversion_rate": round(100 * counted / (visits - 2), 2),
        "conversion_rate_delta": 0.0,
    }


def lead(row: LeadRow, sub_account: str) -> dict[str, Any]:
    related = {
        "page": link(f"/pages/{row.page}"),
        "sub_account": link(f"/sub_accounts/{sub_account}"),
    }
    return {
        "id": row.id,
        "page_id": row.page,
        "variant_id": row.variant,
        "created_at": text_of(row.created_at),
        "submitter_ip": row.ip,
        "form_data": dict(row.form_data),
        "extra_data": dict(row.extra_data),
        "metadata": metadata(f"/leads/{row.id}", related),
    }


def metadata(path: str, related: Mapping[str, str] | None = None, count: int | None = None) -> dict[str, Any]:
    counted = {} if count is None else {"count": count}
    return {
        **counted,
        "location": link(path),
        "documentation": "https://developer.unbounce.com/api_reference/",
        "related": dict(related or {}),
    }


def link(path: str) -> str:
    return f"https://api.unbounce.com{path}"


def host_of(row: PageRow) -> str:
    return row.url.partition("//")[2].partition("/")[0]


def text_of(moment: datetime) -> str:
    """`2015-12-16T01:03:52.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
