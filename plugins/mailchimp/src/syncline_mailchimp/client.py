"""Talks to the Marketing API: logs in, pages, and turns bad answers into errors. It neither waits nor retries.

Nothing here can subscribe anybody: about a member only `MemberFields` is sent, to a member that is there (PATCH), and
the one status that it can name is `unsubscribed`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import IO, Any, Final, TypeVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, ValidationError

from syncline.errors import AuthError, ConfigError, ConnectorError, TransientError
from syncline.sdk import Http, Throttle
from syncline.sdk.http import json_of, purpose, transient_when_broken
from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.errors import GoneError, refuse
from syncline_mailchimp.payloads import (
    Automation,
    AutomationEmail,
    Batch,
    Listing,
    Member,
    MemberFields,
    MergeField,
    Metadata,
    Report,
    Root,
    Row,
    Tag,
    TagChange,
    moment_text,
)

__all__ = ["MailchimpClient", "fields_parameter", "listing_of", "member_path", "no_audience"]

P = TypeVar("P", bound=BaseModel)
Apart = Callable[[], AbstractContextManager[None]]
"""Keeps trouble inside it from the rest."""

# Only what we use is asked for: answers stay small, and stay equal while nothing we use changes.
_REPORT: Final = (
    "id list_id campaign_title subject_line send_time emails_sent unsubscribed opens clicks bounces".split()
)
_MEMBER: Final = (
    "id contact_id list_id email_address status merge_fields language location.country_code"
    " timestamp_signup timestamp_opt last_changed source"
)
_ROWS: Final[Mapping[str, tuple[str, str]]] = {
    "members": (
        "members",
        _MEMBER,
    ),
    "open-details": ("members", "email_id email_address list_id opens"),
    "email-activity": ("emails", "email_id email_address list_id activity"),
    "unsubscribed": ("unsubscribes", "email_id email_address list_id timestamp reason"),
    "reports": ("reports", " ".join(_REPORT)),
    "automations": ("automations", "id recipients.list_id"),
    "merge-fields": ("merge_fields", "tag name type required options"),
    "segments": ("segments", "id name type member_count"),
    "tags": ("tags", "id name"),
}
"""Last part of the path → where its rows are, and the fields of a row."""

_PIECE: Final = 1 << 16
NO_PARAMETERS: Final[Mapping[str, str]] = {}
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
        for rows in self.pages("/reports", "id", parameters={"since_send_time": moment_text(sent_since)}):
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

    def pages(
        self,
        path: str,
        id_field: str,
        fields: str | None = None,
        *,
        parameters: Mapping[str, str] = NO_PARAMETERS,
        exact: bool = False,
    ) -> Iterator[list[Row]]:
        """All rows of a listing, page by page; TransientError when they are fewer than were announced at the start.

        Rows that leave the listing meanwhile pull the rest forward past our offset: we step back by as many.
        Rows may come twice. `fields` are those of a row, when not the usual ones. With `exact`, numbers with a fraction
        are Decimal.
        """
        announced: int | None = None
        total, offset, steps_back = 0, 0, 0
        seen: set[Any] = set()
        while announced is None or offset < total:
            page = self._page(path, offset, fields, parameters, exact=exact)
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

    def _page(
        self, path: str, offset: int, fields: str | None, parameters: Mapping[str, str], *, exact: bool
    ) -> Listing:
        rows, usual = _ROWS[path.rpartition("/")[2]]
        query = {
            "fields": _asked(rows, fields or usual),
            "count": str(self._config.page_size),
            "offset": str(offset),
            **parameters,
        }
        body = self._json(self._get(path, query), path, exact=exact)
        return self._valid(Listing, {"rows": body.get(rows), "total_items": body.get("total_items")}, path)

    # Members

    def merge_fields(self, audience: str) -> list[MergeField]:
        path = f"/lists/{audience}/merge-fields"
        return [self._valid(MergeField, row, path) for rows in self.pages(path, "tag") for row in rows]

    def create_merge_field(self, audience: str, field: Mapping[str, Any]) -> None:
        self._call("POST", f"/lists/{audience}/merge-fields", body=field)

    def members(self, audience: str, fields: str, parameters: Mapping[str, str]) -> Iterator[list[Member]]:
        """The members of an audience that meet `parameters`, page by page; ConfigError when there is no audience."""
        path = f"/lists/{audience}/members"
        try:
            for rows in self.pages(path, "id", fields, parameters=parameters, exact=True):
                yield [self._valid(Member, row, path) for row in rows]
        except GoneError as error:
            raise no_audience(audience, where=self._where(path)) from error

    def member(self, audience: str, name: str, fields: str, model: type[P]) -> P:
        """One member, by contact id, hash or address."""
        path = member_path(audience, name)
        return self._parse(model, self._get(path, {"fields": ",".join(fields.split())}), path)

    def change_member(self, audience: str, name: str, fields: MemberFields) -> Member:
        """Change a member that is there; GoneError for everybody else: nobody is created."""
        path = member_path(audience, name)
        return self._parse(Member, self._call("PATCH", path, body=fields.body()), path)

    # Tags

    def tags(self, audience: str) -> list[Tag]:
        path = f"/lists/{audience}/segments"
        pages = self.pages(path, "id", parameters={"type": "static"})
        return [self._valid(Tag, row, path) for rows in pages for row in rows]

    def tag_ids(self, audience: str, subscriber: str) -> set[int]:
        """All tags of one member."""
        path = f"{member_path(audience, subscriber)}/tags"
        return {self._valid(Tag, row, path).id for rows in self.pages(path, "id") for row in rows}

    def create_tag(self, audience: str, name: str) -> None:
        self._call("POST", f"/lists/{audience}/segments", body={"name": name, "static_segment": []})

    def change_tag(self, audience: str, tag: int, add: Sequence[str], remove: Sequence[str]) -> TagChange:
        """Put members in and take others out, by address; at most 500 each. Who is no member is ignored."""
        path = f"/lists/{audience}/segments/{tag}"
        body = {"members_to_add": list(add), "members_to_remove": list(remove)}
        return self._parse(TagChange, self._call("POST", path, body=body), path)

    # Batch operations

    def start_batch(self, operations: Sequence[Mapping[str, Any]]) -> Batch:
        """Hand in operations, to be carried out in the background."""
        reading = all(operation["method"] == "GET" for operation in operations)
        answer = self._call("POST", "/batches", body={"operations": list(operations)}, reading=reading)
        return self._parse(Batch, answer, "/batches")

    def batch(self, batch: str) -> Batch:
        return self._parse(Batch, self._get(f"/batches/{batch}", {}), f"/batches/{batch}")

    def stop_batch(self, batch: str) -> None:
        self._call("DELETE", f"/batches/{batch}", reading=True)

    def download(self, url: str, to: IO[bytes]) -> bool:
        """Bring an archive; False when its address is no longer valid.

        Without our credentials: the permission is in the address, and the storage refuses who shows two.
        """
        where = f"{self._http.connection}: GET the results of a batch"
        with purpose("read"):
            response = self._http.request("GET", url, raise_for_status=False, stream=True)
        with contextlib.closing(response), transient_when_broken(where):
            if response.status_code in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                return False
            refuse(response, where=where)
            for piece in response.iter_content(_PIECE):
                to.write(piece)
        return True

    # One call

    def _get(self, path: str, query: Mapping[str, str]) -> requests.Response:
        return self._call("GET", path, query)

    def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        reading: bool = False,
    ) -> requests.Response:
        if not self._located:
            self._locate()
        with purpose("read") if reading or method == "GET" else contextlib.nullcontext():
            response = self._http.request(
                method,
                path,
                params=dict(query or {}),
                json=body,
                raise_for_status=False,
                allow_redirects=False,
                **self._credentials(),
            )
        self.answered_at = _clock(response)
        refuse(response, where=self._where(path, method))
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

    def _json(self, response: requests.Response, path: str, *, exact: bool = False) -> dict[str, Any]:
        body = json_of(response, self._where(path), exact=exact)
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

    def _where(self, path: str, method: str = "GET") -> str:
        return f"{self._http.connection}: {method} {path}"


def no_audience(audience: str, *, where: str) -> ConfigError:
    """What a 404 for a whole audience means."""
    return ConfigError(
        f"the account has no audience {audience!r}; its id is in Mailchimp under Audience → Settings →"
        " Audience name and defaults",
        where=where,
    )


def listing_of(path: str, body: Any) -> Listing:
    """A page of the listing at `path` that came by other means; ValueError when it is not one."""
    rows = _ROWS[path.rpartition("/")[2]][0]
    body = body if isinstance(body, dict) else {}
    return Listing.model_validate({"rows": body.get(rows), "total_items": body.get("total_items")})


def fields_parameter(path: str) -> str:
    """The `fields` of the listing at `path`, for who pages by other means."""
    return _asked(*_ROWS[path.rpartition("/")[2]])


def _asked(rows: str, fields: str) -> str:
    return ",".join([f"{rows}.{field}" for field in fields.split()] + ["total_items"])


def member_path(audience: str, name: str) -> str:
    """Of one member, by contact id, hash or address."""
    return f"/lists/{audience}/members/{quote(name, safe='')}"


def _clock(response: requests.Response) -> datetime | None:
    """The vendor's own time, if the answer tells it in full."""
    try:
        moment = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
