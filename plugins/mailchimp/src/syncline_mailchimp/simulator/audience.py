"""The audience and its members, as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any

from werkzeug.wrappers import Request, Response

from syncline.testing.simulator import Table
from syncline_mailchimp.simulator.account import Account
from syncline_mailchimp.simulator.problems import invalid, refusing
from syncline_mailchimp.simulator.queries import choice, moment_of, text_of
from syncline_mailchimp.simulator.world import LIST_ID, Subscriber

__all__ = ["AudienceRoutes"]


class AudienceRoutes(Account):
    """Reading below /lists."""

    @refusing
    def get_lists(self, request: Request) -> Response:
        return self._listing(request, "lists", [self._list()], lambda row: row)

    @refusing
    def get_list(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        return self._answered(request, "list", self._list())

    @refusing
    def get_members(self, request: Request, list_id: str) -> Response:
        self._require(list_id == LIST_ID)
        choice(request, "status", "subscribed unsubscribed cleaned pending transactional archived")
        choice(request, "sort_field", "timestamp_opt timestamp_signup last_changed")
        found = list(self._filtered_members(request))
        if "sort_field" in request.args:
            found.sort(key=_sorting(request.args["sort_field"]), reverse=request.args.get("sort_dir") == "DESC")
        return self._listing(request, "members", found, self._member, list_id=list_id)

    def _filtered_members(self, request: Request) -> Iterator[Subscriber]:
        since, before = moment_of(request, "since_last_changed"), moment_of(request, "before_last_changed")
        opt_since, opt_before = moment_of(request, "since_timestamp_opt"), moment_of(request, "before_timestamp_opt")
        left_since = moment_of(request, "unsubscribed_since")
        status = request.args.get("status")
        if left_since and status != "unsubscribed":
            raise invalid("unsubscribed_since", "may only be used with status=unsubscribed")
        for one in self.world.subscribers.values():
            if (
                self._is_listed(one.status, status)
                and self._is_after(one.changed, since)
                and (before is None or one.changed < before)
                and self._is_after(one.opted_in, opt_since)
                and (opt_before is None or one.opted_in < opt_before)
                and self._is_after(one.changed, left_since)
            ):
                yield one

    def _is_listed(self, status: str, wanted: str | None) -> bool:
        return status == wanted if wanted else not (self.switches.hide_archived and status == "archived")

    @refusing
    def get_member(self, request: Request, list_id: str, subscriber: str) -> Response:
        return self._answered(request, "member", self._member(self._find(list_id, subscriber)))

    def _list(self) -> dict[str, Any]:
        return {
            "id": LIST_ID,
            "web_id": 40_001,
            "name": "Newsletter",
            "date_created": text_of(self.world.base.replace(year=2020)),
            "double_optin": True,
            "stats": {"member_count": self._subscribed()},
            "_links": [],
        }

    def _member(self, one: Subscriber) -> dict[str, Any]:
        tags = self._tags_of(one)
        return {
            "id": one.hash,
            "email_address": one.email,
            "unique_email_id": one.hash[:10],
            "contact_id": one.contact_id,
            "full_name": f"{one.first_name} {one.last_name}",
            "web_id": 100_000 + one.number,
            "email_type": "html",
            "status": one.status,
            **({"unsubscribe_reason": one.reason} if one.reason else {}),
            "consents_to_one_to_one_messaging": True,
            "merge_fields": self._merge_values(one),
            "interests": {},
            "stats": {"avg_open_rate": 0, "avg_click_rate": 0},
            "ip_signup": "198.51.100.7" if one.signed_up else "",
            "timestamp_signup": text_of(one.signed_up),
            "ip_opt": "198.51.100.7",
            "timestamp_opt": text_of(one.opted_in),
            "member_rating": 2,
            "last_changed": text_of(one.changed),
            "language": ("it", "en", "")[one.number % 3],
            "vip": False,
            "email_client": "",
            "location": {
                "latitude": 0,
                "longitude": 0,
                "gmtoff": 0,
                "dstoff": 0,
                "country_code": ("IT", "GB", "")[one.number % 3],
                "timezone": "",
                "region": "",
            },
            "source": one.source,
            "tags_count": len(tags),
            "tags": [{"id": tag["id"], "name": tag["name"]} for tag in tags[:50]],
            "list_id": LIST_ID,
            "_links": [],
        }

    def _tags_of(self, one: Subscriber) -> list[dict[str, Any]]:
        return [tag for tag in self.segments.values() if one.contact_id in tag["members"]]

    @cached_property
    def segments(self) -> Table:
        """Tags and saved segments by id; `members` are contact ids → the time they were added."""
        return self.table("segments")


def _sorting(name: str) -> Callable[[Subscriber], datetime]:
    attribute = {"last_changed": "changed", "timestamp_opt": "opted_in", "timestamp_signup": "opted_in"}[name]
    return attrgetter(attribute)
