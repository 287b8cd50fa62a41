"""The calls of one connection, made by hubspot-api-client over the host's HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from hubspot import HubSpot
from hubspot.crm import lists, objects, properties
from pydantic import BaseModel

from syncline.errors import AuthError, RateLimitError, TransientError
from syncline.sdk import Context
from syncline.sdk.http import json_of, purpose
from syncline_hubspot.config import HubspotConfig
from syncline_hubspot.errors import RefusedError, SessionExpiredError, error_of, translated
from syncline_hubspot.library import Answer, Library
from syncline_hubspot.login import Pass, fetch_pass, fingerprint, told_app, who_we_are
from syncline_hubspot.paths import ACCOUNT, UNSUBSCRIBE
from syncline_hubspot.payloads import (
    AccountDetails,
    BatchAnswer,
    FoundList,
    Membership,
    ObjectSchema,
    Page,
    PropertyList,
)

__all__ = ["CONTACT_TYPE", "Client"]

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

CONTACT_TYPE = "0-1"
"""The object type id of contacts (vendor sheet §9)."""

_KEPT = "app_id"


class Client:
    """Every method raises our errors only, and answers with our models."""

    def __init__(self, config: HubspotConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._library = Library(
            context.http,
            base_url=config.base_url,
            api=config.api,
            searches_per_second=config.searches_per_second,
        )
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._app: str | None = None
        self._app_asked = False
        self._last = threading.local()

    def server_time(self) -> datetime:
        """The Date of this thread's last answer, else our clock."""
        text = getattr(self._last, "date", None)
        try:
            return parsedate_to_datetime(text).astimezone(UTC) if text else self._context.clock()
        except ValueError:
            return self._context.clock()

    def our_time(self) -> datetime:
        """The host's clock."""
        return self._context.clock()

    # Sessions

    def _current(self) -> _Session:
        """The session, renewed when its time has come: whoever comes second finds the new one."""
        with self._lock:
            if self._session is None or self._session.due(self._context.clock()):
                self._session = self._log_in()
            return self._session

    def _renewed(self, expired: _Session) -> _Session:
        with self._lock:
            if self._session is None or self._session is expired:
                self._session = None
                self._session = self._log_in()
            return self._session

    def _log_in(self) -> _Session:
        found = fetch_pass(self._config, self._context, self._library)
        return _Session(found, self._library.client(found.token))

    def call(self, what: str, work: Callable[[HubSpot], Any]) -> requests.Response:
        """The answer to `work`. A session that has ended is renewed once: a 401 has carried out nothing."""
        where = f"{self._context.connection}: {what}"
        session = self._current()
        try:
            return self._once(where, session, work)
        except SessionExpiredError as error:
            if session.found.renew_at is None:
                raise AuthError(_refused(error), where=where, request_id=error.request_id) from error
            session = self._renewed(session)
        try:
            return self._once(where, session, work)
        except SessionExpiredError as error:
            raise AuthError(_refused(error), where=where, request_id=error.request_id) from error

    def _once(self, where: str, session: _Session, work: Callable[[HubSpot], Any]) -> requests.Response:
        try:
            with translated(where):
                answer = work(session.client)
            response: requests.Response = answer.response if isinstance(answer, Answer) else answer
            if response.status_code >= 300:
                raise error_of(response, where=where)
        except RateLimitError as error:
            # The host's HTTP holds for a second after a 429 without Retry-After; the policy asks for more.
            if error.retry_after is not None:
                self._context.http.slow_down(error.retry_after)
            raise
        self._last.date = response.headers.get("Date")
        return response

    def _asked(self, what: str, model: type[M], work: Callable[[HubSpot], Any]) -> M:
        """The answer's JSON as our model."""
        response = self.call(what, work)
        where = f"{self._context.connection}: {what}"
        with translated(where):
            return model.model_validate(json_of(response, where))

    def _read(self, what: str, model: type[M], work: Callable[[HubSpot], Any]) -> M:
        """`_asked`, counted as a read also where it is a step of a write."""
        with purpose("read"):
            return self._asked(what, model, work)

    # The account

    def account(self) -> AccountDetails:
        options = {"method": "GET", "path": self._library.path(ACCOUNT)}
        return self._read("account", AccountDetails, lambda h: h.api_request(dict(options)))

    def app(self) -> str | None:
        """The id of the app we write as, which HubSpot puts beside every value; None when nobody tells.

        As configured, as kept, or asked once. Who is refused this answer learns it from what we create.
        """
        if self._config.app_id is not None:
            return str(self._config.app_id)
        if self._app is None:
            self._app = self._kept_app()
        if self._app is None and not self._app_asked:
            response = who_we_are(self._config, self._library, self._current().found.token)
            if response.status_code == 429 or response.status_code >= 500:
                raise error_of(response, where=f"{self._context.connection}: the app of the token")
            self._app_asked = True
            self._keep_app(told_app(response))
        return self._app

    def note_app(self, source: str | None, id: str | None) -> None:
        """Learn it from a record that we have just created: its source is the integration that did."""
        if self._app is None and source == "INTEGRATION" and id:
            self._keep_app(id)

    def _kept_app(self) -> str | None:
        try:
            kept = json.loads(self._context.keep.get(_KEPT, "{}"))
        except ValueError:
            return None
        known = isinstance(kept, dict) and kept.get("for") == fingerprint(self._config)
        return str(kept["app"]) if known else None

    def _keep_app(self, app: str | None) -> None:
        self._app = app
        if app is not None:
            self._context.keep[_KEPT] = json.dumps({"app": app, "for": fingerprint(self._config)})

    # Records

    def upsert(self, object: str, inputs: Sequence[objects.SimplePublicObjectBatchInputUpsert]) -> BatchAnswer:
        """One call, at most 100 inputs."""
        body = objects.BatchInputSimplePublicObjectBatchInputUpsert(inputs=list(inputs))
        return self._asked(
            f"{object}: upsert",
            BatchAnswer,
            lambda h: h.crm.objects.batch_api.upsert(object, body, _preload_content=False),
        )

    def update(self, object: str, inputs: Sequence[objects.SimplePublicObjectBatchInput]) -> BatchAnswer:
        """One call, at most 100 inputs."""
        body = objects.BatchInputSimplePublicObjectBatchInput(inputs=list(inputs))
        return self._asked(
            f"{object}: update",
            BatchAnswer,
            lambda h: h.crm.objects.batch_api.update(object, body, _preload_content=False),
        )

    def create(self, object: str, inputs: Sequence[objects.SimplePublicObjectBatchInputForCreate]) -> BatchAnswer:
        """One call, at most 100 inputs."""
        body = objects.BatchInputSimplePublicObjectBatchInputForCreate(inputs=list(inputs))
        return self._asked(
            f"{object}: create",
            BatchAnswer,
            lambda h: h.crm.objects.batch_api.create(object, body, _preload_content=False),
        )

    def read(
        self,
        object: str,
        ids: Sequence[str],
        fields: Sequence[str],
        history: Sequence[str] = (),
        id_property: str | None = None,
    ) -> BatchAnswer:
        """Records by id, or by the value of a unique property; those that are not there are left out.

        TransientError when a record is left out for another reason: taken for gone, its change would never be read.
        """
        body = objects.BatchReadInputSimplePublicObjectId(
            inputs=[objects.SimplePublicObjectId(id=id) for id in ids],
            properties=list(fields),
            properties_with_history=list(history),
            id_property=id_property,
        )
        what = f"{object}: read"
        answer = self._read(
            what, BatchAnswer, lambda h: h.crm.objects.batch_api.read(object, body, _preload_content=False)
        )
        other = next((p for p in answer.errors if p.category != "OBJECT_NOT_FOUND"), None)
        if other is not None:
            where = f"{self._context.connection}: {what}"
            raise TransientError(f"not every record was answered: {other.category}: {other.message}", where=where)
        return answer

    def page(
        self,
        object: str,
        *,
        fields: Sequence[str],
        history: Sequence[str] = (),
        limit: int,
        after: str | None,
        archived: bool = False,
    ) -> Page:
        """One page of all records there are, in the order of their ids."""
        # The library would print a bool as Python does.
        arguments: dict[str, Any] = {"limit": limit, "archived": str(archived).lower(), "properties": list(fields)}
        if history:
            arguments["properties_with_history"] = list(history)
        if after is not None:
            arguments["after"] = after
        return self._read(
            f"{object}: list",
            Page,
            lambda h: h.crm.objects.basic_api.get_page(object, **arguments, _preload_content=False),
        )

    def search(
        self, object: str, filters: Sequence[Mapping[str, str]], sort: str, fields: Sequence[str], limit: int
    ) -> Page:
        """The first page of what a search finds, `sort` ascending."""
        body = objects.PublicObjectSearchRequest(
            filter_groups=[objects.FilterGroup(filters=[objects.Filter(**f) for f in filters])],
            sorts=[{"propertyName": sort, "direction": "ASCENDING"}],
            properties=list(fields),
            limit=limit,
        )
        return self._read(
            f"{object}: search",
            Page,
            lambda h: h.crm.objects.search_api.do_search(object, body, _preload_content=False),
        )

    # Communication preferences

    def unsubscribe(self, address: str) -> None:
        """No more marketing e-mail to this address. Said again it changes nothing."""
        path = self._library.path(UNSUBSCRIBE).replace("{subscriberIdString}", quote(address, safe=""))
        options = {"method": "POST", "path": path, "qs": {"channel": "EMAIL"}}
        self.call("unsubscribe from all", lambda h: h.api_request(dict(options)))

    # Properties

    def definitions(self, object: str) -> PropertyList:
        return self._read(
            f"{object}: properties",
            PropertyList,
            lambda h: h.crm.properties.core_api.get_all(object, _preload_content=False),
        )

    def required(self, object: str) -> frozenset[str]:
        """The properties that the account demands of every new record; none where we may not ask."""
        try:
            schema = self._read(
                f"{object}: schema",
                ObjectSchema,
                lambda h: h.crm.schemas.core_api.get_by_id(object, _preload_content=False),
            )
        except (AuthError, RefusedError):
            # Of another scope, and not to be had in every edition. A record that lacks one is refused by name.
            return frozenset()
        return frozenset(schema.required)

    def has_group(self, object: str, name: str) -> bool:
        try:
            with purpose("read"):
                self.call(
                    f"{object}: group {name}",
                    lambda h: h.crm.properties.groups_api.get_by_name(object, name, _preload_content=False),
                )
        except RefusedError as error:
            if error.status == 404:
                return False
            raise
        return True

    def create_group(self, object: str, name: str, label: str) -> None:
        """A group that is there already is as good."""
        body = properties.PropertyGroupCreate(name=name, label=label, display_order=-1)
        try:
            self.call(
                f"{object}: create group {name}",
                lambda h: h.crm.properties.groups_api.create(object, body, _preload_content=False),
            )
        except RefusedError as error:
            if error.status != 409:
                raise

    def create_properties(self, object: str, inputs: Sequence[properties.PropertyCreate]) -> None:
        """One call; those that are there already are as good. RefusedError for any other refusal."""
        body = properties.BatchInputPropertyCreate(inputs=list(inputs))
        what = f"{object}: create properties"
        answer = self._asked(
            what,
            _Refusals,
            lambda h: h.crm.properties.batch_api.create(object, body, _preload_content=False),
        )
        for problem in answer.errors:
            if problem.category != "OBJECT_ALREADY_EXISTS":
                raise RefusedError(problem.message, status=207, category=problem.category, where=what)

    # Lists

    def find_list(self, name: str) -> FoundList | None:
        """The list of contacts with this name."""
        try:
            return self._read(
                f"list {name!r}",
                FoundList,
                lambda h: h.crm.lists.lists_api.get_by_name(name, CONTACT_TYPE, _preload_content=False),
            )
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def create_list(self, name: str) -> None:
        """A list of contacts that is filled by hand, or by us."""
        body = lists.ListCreateRequest(name=name, object_type_id=CONTACT_TYPE, processing_type="MANUAL")
        self.call(f"create list {name!r}", lambda h: h.crm.lists.lists_api.create(body, _preload_content=False))

    def change_members(self, list_id: str, add: Sequence[str], remove: Sequence[str]) -> Membership:
        """One call, for both ways too."""
        body = lists.MembershipChangeRequest(record_ids_to_add=list(add), record_ids_to_remove=list(remove))

        def change(hubspot: HubSpot) -> Any:
            memberships = hubspot.crm.lists.memberships_api
            if not remove:
                return memberships.add(list_id, list(add), _preload_content=False)
            if not add:
                return memberships.remove(list_id, list(remove), _preload_content=False)
            return memberships.add_and_remove(list_id, body, _preload_content=False)

        return self._asked(f"members of list {list_id}", Membership, change)


class _Refusals(BatchAnswer):
    """A batch whose results nobody looks at."""

    results: tuple[Any, ...] = ()


class _Session:
    """A token and the library object that uses it."""

    def __init__(self, found: Pass, client: HubSpot) -> None:
        self.found = found
        self.client = client

    def due(self, now: datetime) -> bool:
        return self.found.renew_at is not None and now >= self.found.renew_at


def _refused(error: SessionExpiredError) -> str:
    return f"{error.message}. The token is not accepted; check the settings under login:."
