"""Talks to the API v0.4: logs in, walks listings, and turns bad answers into errors. It neither waits nor retries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import requests
from pydantic import BaseModel, ValidationError

from syncline.errors import ConnectorError, TransientError
from syncline.sdk import Context, Throttle
from syncline.sdk.http import json_of
from syncline_unbounce.config import UnbounceConfig
from syncline_unbounce.errors import refuse
from syncline_unbounce.login import login_for
from syncline_unbounce.payloads import Account, Listing, PageEntity, Row, moment_of, moment_text, problems

__all__ = ["ACCEPT", "Stretch", "UnbounceClient"]

P = TypeVar("P", bound=BaseModel)

ACCEPT: Final = "application/vnd.unbounce.api.v0.4+json"
"""The only version there is (vendor's API contract v0.4)."""

_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_STEP_BACK: Final = timedelta(seconds=1)
"""Whether `from` includes its own moment, and how exactly it is taken, is not known: we begin a little earlier."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some rows of a listing, oldest first, and from when on the others are."""

    rows: list[Row]
    since: datetime | None


class UnbounceClient:
    """The calls this connector makes, one method each."""

    def __init__(self, config: UnbounceConfig, context: Context) -> None:
        self._config = config
        self._http = context.http
        self._login = login_for(config, context)
        self.answered_at: datetime | None = None
        """The vendor's own clock when it gave its last answer, if it told."""

        throttle = Throttle(
            per_second=config.calls_per_minute / 60, concurrency=4, rate_limit_pause=timedelta(seconds=20)
        )
        context.http.configure(base_url=config.base_url.rstrip("/"), throttle=throttle)

    def accounts(self) -> list[Account]:
        """The accounts we may see. (`/users/self` would be nearer, but is refused to API keys.)"""
        listing = self._listing("/accounts", "accounts", {})
        return [self._valid(Account, row, "/accounts") for row in listing.rows]

    def pages(self) -> Iterator[PageEntity]:
        """Every page there is, unpublished ones included, each once, with its statistics."""
        for stretch in self._walk("/pages", "pages", None, None, {"with_stats": "true"}):
            yield from (self._valid(PageEntity, row, "/pages") for row in stretch.rows)

    def leads(self, page: str, since: datetime | None, until: datetime) -> Iterator[Stretch]:
        """A page's leads created after `since` and before `until`, oldest first, each once."""
        return self._walk(f"/pages/{page}/leads", "leads", since, until, {})

    def _walk(
        self, path: str, name: str, since: datetime | None, until: datetime | None, more: Mapping[str, str]
    ) -> Iterator[Stretch]:
        """A whole listing in stretches of one call each.

        The walk goes by time, not by offset: rows that disappear meanwhile would pull others forward past an offset.
        Only among rows of the same second an offset is used, with half a page's overlap for the same reason.
        """
        known: set[Any] = set()
        offset, ended = 0, False
        while not ended:
            listing = self._listing(path, name, self._window(since, until, offset) | dict(more))
            rows, full = listing.rows, len(listing.rows) >= self._config.page_size
            fresh = [row for row in rows if row.get("id") not in known]
            if (full and not fresh and offset) or _strayed(rows, since):
                raise TransientError("the same rows came again where others should be", where=self._where(path))
            ended = not rows or not (full or (fresh and (listing.metadata.count or 0) > offset + len(rows)))
            reached = _reached(rows)
            if reached is not None and (since is None or reached > since):
                since, offset = reached, 0
                known = {row.get("id") for row in rows if _not_before(row, reached)}
            else:
                offset += max(1, len(rows) // 2)
                known.update(row.get("id") for row in fresh)
            yield Stretch(fresh, since)

    def _window(self, since: datetime | None, until: datetime | None, offset: int) -> dict[str, str]:
        ends = {"from": since, "to": until}
        window = {name: moment_text(moment) for name, moment in ends.items() if moment is not None}
        return {**window, "sort_order": "asc", "offset": str(offset), "limit": str(self._config.page_size)}

    # One call

    def _listing(self, path: str, name: str, query: Mapping[str, str]) -> Listing:
        response = self._get(path, query)
        body = json_of(response, self._where(path))
        found = body if isinstance(body, dict) else {}
        return self._valid(Listing, {"rows": found.get(name), "metadata": found.get("metadata") or {}}, path)

    def _get(self, path: str, query: Mapping[str, str]) -> requests.Response:
        credentials = self._login.credentials()
        response = self._call(path, query, credentials)
        # 403 is also what a token gets that has become too old; once renewed, it is a refusal.
        if response.status_code in _REFUSED and (others := self._login.renewed(credentials)) is not None:
            response = self._call(path, query, others)
        self.answered_at = _clock(response)
        refuse(response, where=self._where(path))
        return response

    def _call(self, path: str, query: Mapping[str, str], credentials: Mapping[str, Any]) -> requests.Response:
        headers = {"Accept": ACCEPT, **credentials.get("headers", {})}
        return self._http.request(
            "GET",
            path,
            params=dict(query),
            headers=headers,
            auth=credentials.get("auth"),
            raise_for_status=False,
            allow_redirects=False,
        )

    def _valid(self, model: type[P], body: Mapping[str, Any], path: str) -> P:
        try:
            return model.model_validate(body)
        except ValidationError as error:
            message = f"the answer is not what the API documents ({problems(error)}); is base_url Unbounce's?"
            raise ConnectorError(message, where=self._where(path)) from error

    def _where(self, path: str) -> str:
        return f"{self._http.connection}: GET {path}"


def _reached(rows: list[Row]) -> datetime | None:
    """From when on to go on: a little before the newest row."""
    moments = [moment for row in rows if (moment := moment_of(row)) is not None]
    return max(moments) - _STEP_BACK if moments else None


def _strayed(rows: list[Row], since: datetime | None) -> bool:
    """Whether rows came that are older than was asked for; how exactly `from` is taken is left open."""
    return since is not None and any(not _not_before(row, since - _STEP_BACK) for row in rows)


def _not_before(row: Row, moment: datetime) -> bool:
    created = moment_of(row)
    return created is None or created >= moment


def _clock(response: requests.Response) -> datetime | None:
    """The vendor's own time, if the answer tells it in full."""
    try:
        moment = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
