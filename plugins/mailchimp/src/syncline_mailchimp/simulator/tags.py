"""Tags (which Mailchimp also calls static segments) and merge fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from werkzeug.wrappers import Request, Response

from syncline_mailchimp.simulator.members import MemberWriting
from syncline_mailchimp.simulator.problems import RefusedError, bad_request, invalid, not_found, refusing
from syncline_mailchimp.simulator.queries import body_of, choice, moment_of, text_of
from syncline_mailchimp.simulator.world import LIST_ID, Subscriber, subscriber_hash

__all__ = ["TagRoutes"]

_TAG: Final = re.compile(r"[A-Z0-9_]{1,10}")
_TYPES: Final = "text number address phone date url imageurl radio dropdown birthday zip".split()
_MOST_AT_ONCE: Final = 500


class TagRoutes(MemberWriting):
    """Segments, the tags of one member, the search for tags, and the fields of the audience."""

    # Merge fields

    @refusing
    def get_merge_fields(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        rows = list(self.merge_fields.values())
        return self._listing(request, "merge-fields", rows, self._merge_field, "merge_fields", list_id=list_id)

    @refusing
    def post_merge_field(self, request: Request, list_id: str) -> Response:
        """A tag has at most ten characters; without one Mailchimp makes it up."""
        self._require(list_id == LIST_ID)
        body = body_of(request)
        if not body.get("name") or body.get("type") not in _TYPES:
            raise invalid("type" if body.get("name") else "name", "This value should not be blank.")
        number = 1 + max((row["merge_id"] for row in self.merge_fields.values()), default=0)
        tag = str(body.get("tag") or f"MMERGE{number}").upper()
        if not _TAG.fullmatch(tag):
            raise invalid("tag", "Merge Max Length is 10 characters.")
        if tag in self.merge_fields or tag == "EMAIL":
            raise RefusedError(
                400, "Invalid Resource", f'A Merge Field with the tag "{tag}" already exists for this list.'
            )
        row: dict[str, Any] = {"merge_id": number, "tag": tag, "name": body["name"], "type": body["type"]}
        row["options"] = body.get("options", {})
        row.update({name: body[name] for name in body if name in ("required", "public", "help_text")})
        self.merge_fields[tag] = row
        return self._answered(request, "merge-field", self._merge_field(row))

    def _merge_field(self, row: dict[str, Any]) -> dict[str, Any]:
        defaults = {"required": False, "default_value": "", "public": False, "help_text": ""}
        return {**defaults, "display_order": row["merge_id"] + 1, **row, "list_id": LIST_ID, "_links": []}

    def drop_merge_field(self, tag: str) -> None:
        """An admin deletes a field of the audience, and all its values."""
        del self.merge_fields[tag]

    # Segments

    @refusing
    def get_segments(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        choice(request, "type", "saved static fuzzy")
        since = moment_of(request, "since_created_at")
        wanted = request.args.get("type")
        rows = [row for row in self.segments.values() if wanted in (None, row["type"]) and since is None]
        return self._listing(request, "segments", rows, self._segment, list_id=list_id)

    @refusing
    def post_segment(self, request: Request, list_id: str) -> Response:
        """With `static_segment` it is a tag; addresses in it that are no members are ignored."""
        self._require(list_id == LIST_ID)
        body = body_of(request)
        name = body.get("name")
        if not name or any(row["name"] == name for row in self.segments.values()):
            raise bad_request("Segment name is missing, or a segment of this name exists already.")
        row = self._new_segment(str(name), "static" if "static_segment" in body else "saved")
        self._put_into(row, body.get("static_segment", []))
        return self._answered(request, "segment", self._segment(row))

    @refusing
    def change_segment(self, request: Request, list_id: str, segment_id: str) -> Response:
        """Batch add and remove: at most 500 addresses each; who is no member is ignored."""
        self.count("write_calls")
        row, body = self._static(list_id, segment_id), body_of(request)
        lists = [body.get(name, []) for name in ("members_to_add", "members_to_remove")]
        if any(len(emails) > _MOST_AT_ONCE for emails in lists):
            raise bad_request(f"At most {_MOST_AT_ONCE} members can be sent.")
        added, refused = self._put_into(row, lists[0])
        removed = self._take_from(row, lists[1])
        errors = self._segment_errors(row, lists[0], added, refused)
        answer = {
            "members_added": [self._segment_member(one) for one in added],
            "members_removed": [self._segment_member(one) for one in removed],
            "errors": errors,
            "total_added": len(added),
            "total_removed": len(removed),
            "error_count": len(errors),
            "_links": [],
        }
        return self._answered(request, "segment-change", answer)

    def _segment_errors(
        self, row: dict[str, Any], asked: Sequence[str], added: Sequence[Subscriber], refused: Sequence[str]
    ) -> list[dict[str, Any]]:
        new = {one.hash for one in added}
        there = [email for email in asked if (one := self._by_email(email)) and one.hash not in new]
        errors = [{"email_addresses": list(refused), "error": "refused on purpose"}] if refused else []
        if self.switches.tag_errors_for_members and there:
            errors.append({"email_addresses": there, "error": "Email addresses are already in the segment"})
        return errors

    @refusing
    def get_segment_members(self, request: Request, list_id: str, segment_id: str) -> Response:
        """Without `include_…` only the subscribed."""
        row = self._static(list_id, segment_id)
        shown = {"subscribed"} | {
            status
            for status in ("unsubscribed", "cleaned", "transactional")
            if request.args.get(f"include_{status}") == "true"
        }
        people = [self.world.subscribers[who] for c in row["members"] if (who := self.world.contacts.get(c))]
        rows = [one for one in people if one.status in shown]
        return self._listing(request, "segment-members", rows, self._segment_member, "members")

    def _segment_member(self, one: Subscriber) -> dict[str, Any]:
        """As a member, but without its contact id and tags (contract 3.0.55)."""
        without = ("contact_id", "full_name", "web_id", "tags", "tags_count", "source", "unsubscribe_reason")
        return {name: value for name, value in self._member(one).items() if name not in without}

    def _static(self, list_id: str, segment_id: str) -> dict[str, Any]:
        self._require(list_id == LIST_ID)
        row = self.segments.get(segment_id)
        if row is None or row["type"] != "static":
            raise not_found()
        return row

    def _new_segment(self, name: str, kind: str) -> dict[str, Any]:
        number = 4_788_452 + 4 * len(self.segments)
        row: dict[str, Any] = {
            "id": number,
            "name": name,
            "type": kind,
            "created_at": text_of(self.now()),
            "members": {},
        }
        self.segments[str(number)] = row
        return row

    def _segment(self, row: dict[str, Any]) -> dict[str, Any]:
        """`member_count` counts the subscribed."""
        people = [self.world.subscribers[who] for c in row["members"] if (who := self.world.contacts.get(c))]
        return {
            "id": row["id"],
            "name": row["name"],
            "member_count": sum(one.status == "subscribed" for one in people),
            "type": row["type"],
            "created_at": row["created_at"],
            "updated_at": row["created_at"],
            "list_id": LIST_ID,
            "_links": [],
        }

    def _put_into(self, row: dict[str, Any], emails: Sequence[str]) -> tuple[list[Subscriber], list[str]]:
        """Who came in newly, and whose membership a fault refuses."""
        added, refused = [], []
        for email in emails:
            one = self._by_email(email)
            if one is None or one.status == "archived" or one.contact_id in row["members"]:
                continue
            if self.trouble_with(one.contact_id, one.hash, one.email):
                refused.append(email)
                continue
            self._tag(row, one)
            added.append(one)
        return added, refused

    def _take_from(self, row: dict[str, Any], emails: Sequence[str]) -> list[Subscriber]:
        removed = []
        for email in emails:
            one = self._by_email(email)
            if one is not None and one.contact_id in row["members"]:
                self._untag(row, one)
                removed.append(one)
        return removed

    def _by_email(self, email: str) -> Subscriber | None:
        return self.world.subscribers.get(subscriber_hash(email))

    def _tag(self, row: dict[str, Any], one: Subscriber) -> None:
        row["members"][one.contact_id] = text_of(self.now())
        self._touched(row, one)

    def _untag(self, row: dict[str, Any], one: Subscriber) -> None:
        del row["members"][one.contact_id]
        self._touched(row, one)

    def _touched(self, row: dict[str, Any], one: Subscriber) -> None:
        """`last_changed` moves on tags too (vendor sheet §8)."""
        self.segments.save(str(row["id"]))
        self.change_member(one.email, self.now(), by="api")

    # Tags

    @refusing
    def get_member_tags(self, request: Request, list_id: str, subscriber: str) -> Response:
        one = self._find(list_id, subscriber)
        rows = self._tags_of(one)
        render = lambda row: {"id": row["id"], "name": row["name"], "date_added": row["members"][one.contact_id]}  # noqa: E731
        return self._listing(request, "tags", rows, render)

    @refusing
    def post_member_tags(self, request: Request, list_id: str, subscriber: str) -> Response:
        """Only the hash is accepted (contract). A tag that is not there is made."""
        self.count("write_calls")
        one = self._find(list_id, subscriber)
        self._require(one.hash == subscriber)
        tags = body_of(request).get("tags")
        if not isinstance(tags, list) or any({"name", "status"} - set(tag) for tag in tags):
            raise invalid("tags", "This value should be a list of names and statuses.")
        self._meet_trouble(one)
        for tag in tags:
            self._set_tag(one, str(tag["name"]), tag["status"] == "active")
        return Response(status=204)

    def _set_tag(self, one: Subscriber, name: str, active: bool) -> None:
        row = next((row for row in self.segments.values() if row["name"] == name), None)
        if row is None:
            if not active:
                return
            row = self._new_segment(name, "static")
        if active != (one.contact_id in row["members"]):
            (self._tag if active else self._untag)(row, one)

    @refusing
    def search_tags(self, request: Request, list_id: str) -> Response:
        """By the beginning of the name."""
        self._require(list_id == LIST_ID)
        begins = request.args.get("name", "").lower()
        rows = [
            {"id": row["id"], "name": row["name"]}
            for row in self.segments.values()
            if row["type"] == "static" and row["name"].lower().startswith(begins)
        ]
        return self._answered(request, "tag-search", {"tags": rows, "total_items": len(rows)})
