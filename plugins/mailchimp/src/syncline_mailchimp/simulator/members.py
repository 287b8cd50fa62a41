"""Members as they are written: what is asked for is done, also what nobody should ask for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from syncline_mailchimp.simulator.audience import AudienceRoutes
from syncline_mailchimp.simulator.problems import RefusedError, invalid, refusing
from syncline_mailchimp.simulator.queries import body_of
from syncline_mailchimp.simulator.world import LIST_ID, Subscriber, subscriber_hash

__all__ = ["MemberWriting"]

_STATUSES: Final = ("subscribed", "unsubscribed", "cleaned", "pending", "transactional")
_LONGEST: Final = 255
_MOST_AT_ONCE: Final = 500


class MemberWriting(AudienceRoutes):
    """POST, PUT, PATCH and DELETE of members, and batch subscribe.

    A `status` that is sent is taken: whoever asks to subscribe an unsubscribed person subscribes her (recorded 2021).
    """

    @refusing
    def patch_member(self, request: Request, list_id: str, subscriber: str) -> Response:
        """Changes a member that is there; 404 for everybody else."""
        self.count("write_calls")
        one, body = self._find(list_id, subscriber), body_of(request)
        self._meet_trouble(one)
        return self._written(request, self._save(one, body))

    @refusing
    def put_member(self, request: Request, list_id: str, subscriber: str) -> Response:
        """Changes a member, or makes one with `status_if_new`."""
        self.count("write_calls")
        self._require(list_id == LIST_ID)
        body = body_of(request)
        key = self.world.contacts.get(subscriber, subscriber)
        if key not in self.world.subscribers:
            _refuse_status(body.get("status_if_new"), "status_if_new")
            return self._written(request, self._make(body, body["status_if_new"]))
        return self._written(request, self._save(self.world.subscribers[key], body))

    @refusing
    def post_member(self, request: Request, list_id: str) -> Response:
        self.count("write_calls")
        self._require(list_id == LIST_ID)
        body = body_of(request)
        _refuse_status(body.get("status"), "status")
        before = self.world.subscribers.get(subscriber_hash(str(body.get("email_address", ""))))
        if before is not None and before.status != "archived":
            detail = f"{before.email} is already a list member. Use PUT to insert or update list members."
            raise RefusedError(400, "Member Exists", detail)
        return self._written(request, self._make(body, body["status"]))

    @refusing
    def delete_member(self, request: Request, list_id: str, subscriber: str) -> Response:
        """Archives. Who is archived, cleaned or pending cannot be (recorded 2021)."""
        self.count("write_calls")
        one = self._find(list_id, subscriber)
        if one.status in ("archived", "cleaned", "pending"):
            detail = (
                "This list member cannot be removed. Can not archive a contact that is bounced, pending or archived"
            )
            raise RefusedError(405, "Method Not Allowed", detail)
        self.archive(one.email, self.now(), by="api")
        return Response(status=204)

    @refusing
    def delete_permanent(self, request: Request, list_id: str, subscriber: str) -> Response:
        """204; the member's activity vanishes from the reports too (Fivetran docs). Only the hash is accepted."""
        self.count("write_calls")
        found = self._find(list_id, subscriber)
        self._require(found.hash == subscriber)
        self.erase(found.email)
        return Response(status=204)

    @refusing
    def batch_subscribe(self, request: Request, list_id: str) -> Response:
        """Up to 500 members in one call, and the most dangerous one: it makes new members, and changes consent."""
        self.count("write_calls")
        self._require(list_id == LIST_ID)
        body = body_of(request)
        rows = body.get("members")
        if not isinstance(rows, list) or len(rows) > _MOST_AT_ONCE:
            raise invalid("members", f"This value should be a list of at most {_MOST_AT_ONCE}.")
        answer: dict[str, list[Any]] = {"new_members": [], "updated_members": [], "errors": []}
        for row in rows:
            self._subscribe_row(row, bool(body.get("update_existing")), answer)
        counted = {
            "total_created": len(answer["new_members"]),
            "total_updated": len(answer["updated_members"]),
            "error_count": len(answer["errors"]),
        }
        return self._answered(request, "batch-subscribe", {**answer, **counted, "_links": []})

    def _subscribe_row(self, row: Mapping[str, Any], update_existing: bool, answer: dict[str, list[Any]]) -> None:
        email = str(row.get("email_address", ""))
        known = self.world.subscribers.get(subscriber_hash(email))
        try:
            if known is None:
                status = row.get("status") or (None if self.switches.batch_needs_status else "subscribed")
                _refuse_status(status, "status")
                answer["new_members"].append(self._member(self._make(row, str(status))))
            elif update_existing:
                answer["updated_members"].append(self._member(self._save(known, row)))
            else:
                raise RefusedError(400, "Member Exists", f"{email} is already a list member")  # noqa: TRY301  # told below
        except RefusedError as refusal:
            _, title, detail, fields = refusal.parts
            code = "ERROR_CONTACT_EXISTS" if title == "Member Exists" else "ERROR_GENERIC"
            error = {"email_address": email, "error": detail, "error_code": code}
            answer["errors"].append({**error, **({"field": fields[0]["field"]} if fields else {})})

    # What a write does

    def _written(self, request: Request, one: Subscriber) -> Response:
        return self._answered(request, "member", self._member(one))

    def _meet_trouble(self, one: Subscriber) -> None:
        trouble = self.trouble_with(one.contact_id, one.hash, one.email)
        if trouble == "refuse":
            detail = "Your merge fields were invalid."
            raise RefusedError(400, "Invalid Resource", detail, [{"field": "FNAME", "message": "refused on purpose"}])
        if trouble == "lock":  # how Mailchimp would say it nobody has written down
            raise RefusedError(503, "Service Unavailable", "The contact is being changed; try again.")

    def _make(self, body: Mapping[str, Any], status: str) -> Subscriber:
        email = str(body.get("email_address", ""))
        if "@" not in email or email.endswith("@example.com"):
            raise RefusedError(
                400, "Invalid Resource", f"{email} looks fake or invalid, please enter a real email address."
            )
        values = self._valid_fields(body.get("merge_fields"))
        self.subscribe(email, self.now(), by="api", status=status)
        return self._set_fields(self.world.subscribers[subscriber_hash(email)], values)

    def _save(self, one: Subscriber, body: Mapping[str, Any]) -> Subscriber:
        """Everything a body says, or nothing of it."""
        status, email = body.get("status"), body.get("email_address", one.email)
        if status is not None:
            self._check_change(one, status)
        values = self._valid_fields(body.get("merge_fields"))
        if subscriber_hash(email) != one.hash:
            if subscriber_hash(email) in self.world.subscribers:
                detail = f"{email} is already a list member. Use PUT to insert or update list members."
                raise RefusedError(400, "Member Exists", detail)
            self.change_email(one.email, email, self.now(), by="api")
        if status is not None and status != one.status:
            changes = {"status": status, "reason": "N/A (Unsubscribed by admin)" if status == "unsubscribed" else None}
            self.change_member(email, self.now(), by="api", **changes)
        return self._set_fields(self.world.subscribers[subscriber_hash(email)], values)

    def _check_change(self, one: Subscriber, status: Any) -> None:
        _refuse_status(status, "status")
        left = one.status == "cleaned" or (one.status == "unsubscribed" and one.reason != "N/A (Unsubscribed by admin)")
        if self.switches.keep_compliance and left and status in ("subscribed", "pending"):
            detail = (
                f"{one.email} is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be"
                " subscribed."
            )
            raise RefusedError(400, "Member In Compliance State", detail)

    def _set_fields(self, one: Subscriber, values: Mapping[str, Any]) -> Subscriber:
        """Nothing changes, not even last_changed, when every value is there already (recorded 2021)."""
        now = self._merge_values(one)
        if any(now[tag] != value for tag, value in values.items()):
            self.change_fields(one.email, self.now(), values, by="api")
        return self.world.subscribers[one.hash]

    def _valid_fields(self, values: Any) -> dict[str, Any]:
        """Values as they are kept. Tags that the audience has not got are ignored in silence (recorded 2021)."""
        if not isinstance(values or {}, Mapping):
            raise invalid("merge_fields", "Schema describes object, something else found instead")
        known = {tag: value for tag, value in (values or {}).items() if tag in self.merge_fields}
        kept, problems = {}, []
        for tag, value in known.items():
            try:
                kept[tag] = (
                    "" if value in ("", None) else _kept(self.merge_fields[tag], value, self.switches.cut_long_text)
                )
            except ValueError as error:
                problems.append({"field": tag, "message": str(error)})
        if problems:
            raise RefusedError(400, "Invalid Resource", "Your merge fields were invalid.", problems)
        return kept


def _kept(field: Mapping[str, Any], value: Any, cut: bool) -> Any:
    kind = field["type"]
    if kind == "number":
        return _number(value)
    if kind == "address":
        return _address(value)
    text = str(value)
    if kind == "date":
        return _date(text)
    if kind in ("radio", "dropdown") and text not in field["options"].get("choices", ()):
        raise ValueError("Please choose one of the options")
    if len(text) > _LONGEST and not cut:
        raise ValueError(f"Value must be {_LONGEST} characters or fewer")
    return text[:_LONGEST]


def _number(value: Any) -> int | float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("Please enter a number") from None
    return int(number) if number.is_integer() else number


def _address(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not {"addr1", "city", "state", "zip"} <= set(value):
        raise ValueError("Please enter a complete address")
    return value


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise ValueError("Please enter a date") from None


def _refuse_status(status: Any, name: str) -> None:
    if status not in _STATUSES:
        raise invalid(name, f"This value should be one of: {', '.join(_STATUSES)}.")
