"""Talks to the Marketing API: logs in, pages, and turns bad answers into errors. It neither waits nor retries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import requests
from pydantic import BaseModel, ValidationError

from syncline.errors import AuthError, ConnectorError, TransientError
from syncline.sdk import Http, Throttle
from syncline.sdk.http import purpose
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.errors import refuse
from syncline_mailchimp.payloads import (
    Automation,
    AutomationEmail,
    Listing,
    Metadata,
    Report,
    Root,
    Row,
    moment_text,
)

__all__ = ["MailchimpClient"]

P = TypeVar("P", bound=BaseModel)
Apart = Callable[[], AbstractContextManager[None]]
"""Keeps trouble inside it from the rest."""

# Only what we use is asked for: answers stay small, and stay equal while nothing we use changes.
_REPORT: Final = "id list_id campaign_title subject_line send_time unsubscribed opens clicks bounces".split()
_ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "members": (
        "members",
        "id list_id email_address status merge_fields language location.country_code"
        " timestamp_signup timestamp_opt last_changed source",
    ),
    "open-details": ("members", "email_id email_address list_id opens"),
    "email-activity": ("emails", "email_id email_address list_id activity"),
    "unsubscribed": ("unsubscribes", "email_id email_address list_id timestamp reason"),
    "reports": ("reports", " ".join(_REPORT)),
    "automations": ("automations", "id recipients.list_id"),
}
"""Last part of the path → where its rows are, and the fields of a row."""

_STEPS_BACK: Final = 20
"""How often one listing may shrink while it is read before we give up."""


class MailchimpClient:
    """The calls this connector makes, one method each."""

    def __init__(self, config: MailchimpConfig, http: Http) -> None:
        self._config = config
        self._http = http
        self._located = config.api_url is not None
        self.answered_at: datetime | None = None
        """The vendor's own clock when it gave its last answer, if it told."""

        http.configure(base_url=config.api_url, throttle=Throttle(concurrency=config.concurrency))

    def root(self) -> Root:
        """Who we are. With its slash: `/3.0` alone redirects to plain http."""
        return self._parse(Root, self._get("/", {}), "/")

    def reports(self, audiences: Collection[str], sent_since: datetime, apart: Apart) -> Iterator[Report]:
        """The totals of every campaign sent to these audiences since then, and of all their automations' e-mails.

        One call brings a thousand reports, so this is both the list of campaigns and the probe whether they moved.
        What concerns one campaign or automation only is done `apart`: trouble with it leaves out just that one.
        """
        known: set[Any] = set()
        for rows in self.pages("/reports", "id", since_send_time=moment_text(sent_since)):
            known.update(row.get("id") for row in rows)
            for row in rows:
                with apart():
                    report = self._valid(Report, row, "/reports")
                    if report.list_id in audiences:
                        yield report
        if self._config.automations:
            with apart():
                for campaign in self._automation_emails(audiences, apart):
                    with apart():
                        if campaign not in known:
                            yield self._report(campaign)

    def _report(self, campaign: str) -> Report:
        path = f"/reports/{campaign}"
        return self._parse(Report, self._get(path, {"fields": ",".join(_REPORT)}), path)

    def _automation_emails(self, audiences: Collection[str], apart: Apart) -> Iterator[str]:
        """The campaign ids of all e-mails of classic automations that were ever sent."""
        for rows in self.pages("/automations", "id"):
            for workflow in (self._valid(Automation, row, "/automations") for row in rows):
                if workflow.recipients.list_id in audiences:
                    with apart():
                        yield from (email.id for email in self._emails(workflow.id) if email.emails_sent)

    def _emails(self, workflow: str) -> list[AutomationEmail]:
        """The e-mails of a classic automation; this listing has no pages (contract 3.0.55)."""
        path = f"/automations/{workflow}/emails"
        body = self._json(self._get(path, {}), path)
        listing = self._valid(Listing, {"rows": body.get("emails"), "total_items": body.get("total_items")}, path)
        return [self._valid(AutomationEmail, row, path) for row in listing.rows]

    def pages(self, path: str, id_field: str, **parameters: str) -> Iterator[list[Row]]:
        """All rows of a listing, page by page; TransientError when they are fewer than were announced at the start.

        Rows that leave the listing meanwhile pull the rest forward past our offset: we step back by as many.
        Rows may come twice.
        """
        announced: int | None = None
        total, offset, steps_back = 0, 0, 0
        seen: set[Any] = set()
        while announced is None or offset < total:
            page = self._page(path, offset, parameters)
            announced = page.total_items if announced is None else announced
            if page.total_items < total and steps_back < _STEPS_BACK:
                steps_back += 1
                offset, total = max(0, offset - (total - page.total_items)), page.total_items
                continue
            total, offset = page.total_items, offset + len(page.rows)
            seen.update(row.get(id_field) for row in page.rows)
            if page.rows:
                yield page.rows
            elif offset < total:
                break
        if len(seen) < (announced or 0):
            raise TransientError(f"paging brought {len(seen)} of {announced} rows", where=self._where(path))

    def _page(self, path: str, offset: int, parameters: Mapping[str, str]) -> Listing:
        rows, fields = _ROWS[path.rpartition("/")[2]]
        query = {
            "fields": ",".join([f"{rows}.{field}" for field in fields.split()] + ["total_items"]),
            "count": str(self._config.page_size),
            "offset": str(offset),
            **parameters,
        }
        response = self._get(path, query)
        body = self._json(response, path)
        return self._valid(Listing, {"rows": body.get(rows), "total_items": body.get("total_items")}, path)

    # One call

    def _get(self, path: str, query: Mapping[str, str]) -> requests.Response:
        if not self._located:
            self._locate()
        response = self._http.request(
            "GET",
            path,
            params=dict(query),
            raise_for_status=False,
            allow_redirects=False,
            **self._credentials(),
        )
        self.answered_at = _clock(response)
        refuse(response, where=self._where(path))
        return response

    def _credentials(self) -> dict[str, Any]:
        if self._config.api_key is not None:
            return {"auth": ("syncline", self._config.api_key.get_secret_value())}  # any user name will do
        token = self._config.access_token.get_secret_value() if self._config.access_token else ""
        return {"headers": {"Authorization": f"Bearer {token}"}}

    def _locate(self) -> None:
        """Ask the OAuth metadata for the API's address, once."""
        token = self._config.access_token.get_secret_value() if self._config.access_token else ""
        url = f"{self._config.oauth_base_url.rstrip('/')}/oauth2/metadata"
        with purpose("auth"):
            response = self._http.request(
                "GET",
                url,
                headers={"Authorization": f"OAuth {token}"},
                raise_for_status=False,
                allow_redirects=False,
            )
        refuse(response, where=self._where("/oauth2/metadata"))
        metadata = self._parse(Metadata, response, "/oauth2/metadata")
        if metadata.api_endpoint is None:  # the status is 200 even when the token is dead (singer tap-mailchimp)
            raise AuthError(
                f"the access token is refused ({metadata.error or 'no api_endpoint'}); tokens do not expire, so access"
                " was revoked: authorise again",
                where=self._where("/oauth2/metadata"),
            )
        self._http.configure(base_url=f"{metadata.api_endpoint.rstrip('/')}/3.0")
        self._located = True

    # What came back

    def _parse(self, model: type[P], response: requests.Response, path: str) -> P:
        return self._valid(model, self._json(response, path), path)

    def _json(self, response: requests.Response, path: str) -> dict[str, Any]:
        try:
            body = response.json()
        except requests.JSONDecodeError as error:
            raise TransientError(
                f"the answer is not JSON but {response.headers.get('Content-Type', 'of no type')}, or was cut off",
                where=self._where(path),
                request_id=response.headers.get("X-Request-Id"),
            ) from error
        return body if isinstance(body, dict) else {}

    def _valid(self, model: type[P], body: Mapping[str, Any], path: str) -> P:
        try:
            return model.model_validate(body)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)
            )
            raise ConnectorError(
                f"the answer is not what the API documents ({problems}); is base_url Mailchimp's?",
                where=self._where(path),
            ) from error

    def _where(self, path: str) -> str:
        return f"{self._http.connection}: GET {path}"


def _clock(response: requests.Response) -> datetime | None:
    """The vendor's own time, if the answer tells it in full."""
    try:
        moment = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
