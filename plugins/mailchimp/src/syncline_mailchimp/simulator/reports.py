"""Campaigns, their reports with all details, and classic automations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from werkzeug.wrappers import Request, Response

from syncline_mailchimp.simulator.account import Account
from syncline_mailchimp.simulator.problems import TRIGGERS, refusing
from syncline_mailchimp.simulator.queries import choice, moment_of, text_of
from syncline_mailchimp.simulator.world import LIST_ID, Act, Campaign, newest

__all__ = ["ReportRoutes"]


class ReportRoutes(Account):
    """Everything below /campaigns, /reports and /automations."""

    @refusing
    def get_campaigns(self, request: Request) -> Response:
        choice(request, "status", "save paused schedule sending sent")
        choice(request, "sort_field", "create_time send_time")
        since, before = moment_of(request, "since_send_time"), moment_of(request, "before_send_time")
        found = [c for c in self.world.sent if self._is_after(c.sent, since) and (before is None or c.sent < before)]
        if request.args.get("status", "sent") != "sent" or request.args.get("list_id", LIST_ID) != LIST_ID:
            found = []
        if request.args.get("sort_dir") == "DESC":
            found.reverse()
        return self._listing(request, "campaigns", found, self._campaign)

    @refusing
    def get_campaign(self, request: Request, campaign_id: str) -> Response:
        return self._answered(request, "campaign", self._campaign(self._sent(campaign_id)))

    @refusing
    def get_reports(self, request: Request) -> Response:
        since, before = moment_of(request, "since_send_time"), moment_of(request, "before_send_time")
        known = self.world.campaigns.values() if self.switches.automations_in_reports else self.world.sent
        found = [c for c in known if self._is_after(c.sent, since) and (before is None or c.sent < before)]
        return self._listing(request, "reports", found, self._report)

    @refusing
    def get_report(self, request: Request, campaign_id: str) -> Response:
        return self._answered(request, "report", self._report(self._sent(campaign_id)))

    @refusing
    def get_email_activity(self, request: Request, campaign_id: str) -> Response:
        """Pages over recipients, most of them with nothing, by hash: in no order of time."""
        campaign = self._sent(campaign_id)
        if "." in request.args.get("since", ""):  # airbyte issue 37434
            return self.problem(*TRIGGERS["InternalServerError"])
        since = moment_of(request, "since")
        recipients: Sequence[str] = campaign.recipients
        if since and self.switches.hide_idle_recipients:
            recipients = [r for r in recipients if self._acts(campaign, r, since)]
        if self.switches.shuffle_recipients:
            recipients = self.random.sample(recipients, len(recipients))
        return self._listing(
            request,
            "email-activity",
            recipients,
            lambda who: self._activity(campaign, who, since),
            "emails",
            campaign_id=campaign.id,
        )

    @refusing
    def get_open_details(self, request: Request, campaign_id: str) -> Response:
        campaign, since = self._sent(campaign_id), moment_of(request, "since")
        choice(request, "sort_field", "opens_count")
        openers = [who for who in campaign.openers if since is None or self._opens(campaign, who, since)]
        if "sort_field" in request.args:
            openers.sort(
                key=lambda who: len(self._opens(campaign, who, since)), reverse=request.args.get("sort_dir") == "DESC"
            )
        totals = self._report(campaign)["opens"]
        return self._listing(
            request,
            "open-details",
            openers,
            lambda who: self._opener(campaign, who, since),
            "members",
            campaign_id=campaign.id,
            total_opens=totals["opens_total"],
            total_proxy_excluded_opens=totals["proxy_excluded_opens"],
        )

    @refusing
    def get_unsubscribed(self, request: Request, campaign_id: str) -> Response:
        campaign = self._sent(campaign_id)
        return self._listing(
            request,
            "unsubscribed",
            list(campaign.left),
            lambda who: self._unsubscribe(campaign, who),
            "unsubscribes",
            campaign_id=campaign.id,
        )

    @refusing
    def get_automations(self, request: Request) -> Response:
        return self._listing(request, "automations", [self.world.welcome], self._automation)

    @refusing
    def get_automation_emails(self, request: Request, workflow_id: str) -> Response:
        self._require(workflow_id == self.world.welcome.workflow)
        rows = [self._automation_email(self.world.welcome)]
        return self._answered(request, "emails", {"emails": rows, "total_items": 1, "_links": []})

    # Answers

    def _acts(self, campaign: Campaign, who: str, since: datetime | None) -> list[Act]:
        return [act for act in campaign.acts.get(who, ()) if self._is_after(act.at, since)]

    def _opens(self, campaign: Campaign, who: str, since: datetime | None) -> list[Act]:
        return [act for act in self._acts(campaign, who, since) if act.action == "open"]

    def _campaign(self, campaign: Campaign) -> dict[str, Any]:
        return {
            "id": campaign.id,
            "web_id": 4_700_000 + campaign.number,
            "type": "regular",
            "create_time": text_of(campaign.sent),
            "status": "sent",
            "emails_sent": len(campaign.recipients),
            "send_time": text_of(campaign.sent),
            "content_type": "html",
            "recipients": {
                "list_id": LIST_ID,
                "list_is_active": True,
                "list_name": "Newsletter",
                "recipient_count": len(campaign.recipients),
            },
            "settings": {
                "subject_line": campaign.title,
                "title": campaign.title,
                "from_name": "Example Co",
                "reply_to": "news@example.com",
            },
            "report_summary": {"opens": len(campaign.all("open")), "clicks": len(campaign.all("click"))},
            "_links": [],
        }

    def _report(self, campaign: Campaign) -> dict[str, Any]:
        if "report" not in campaign.kept:
            campaign.kept["report"] = self._totalled(campaign)
        report: dict[str, Any] = campaign.kept["report"]
        return report

    def _totalled(self, campaign: Campaign) -> dict[str, Any]:
        opens, clicks, bounces = (campaign.all(action) for action in ("open", "click", "bounce"))
        sent = len(campaign.recipients)
        openers = sum(any(a.action == "open" for a in acts) for acts in campaign.acts.values())
        people = sum(any(a.action == "open" and not a.proxy for a in acts) for acts in campaign.acts.values())
        clickers = sum(any(a.action == "click" for a in acts) for acts in campaign.acts.values())
        return {
            "id": campaign.id,
            "campaign_title": campaign.title,
            "type": "automation-email" if campaign.workflow else "regular",
            "list_id": LIST_ID,
            "list_is_active": True,
            "list_name": "Newsletter",
            "subject_line": campaign.title,
            "preview_text": "",
            "emails_sent": sent,
            "abuse_reports": 0,
            "unsubscribed": len(campaign.left),
            "send_time": text_of(campaign.sent),
            "bounces": {
                "hard_bounces": sum(act.kind == "hard" for act in bounces),
                "soft_bounces": sum(act.kind == "soft" for act in bounces),
                "syntax_errors": 0,
            },
            "forwards": {"forwards_count": 0, "forwards_opens": 0},
            "opens": {
                "opens_total": len(opens),
                "proxy_excluded_opens": sum(not act.proxy for act in opens),
                "unique_opens": openers,
                "proxy_excluded_unique_opens": people,
                "open_rate": openers / sent if sent else 0,
                "proxy_excluded_open_rate": people / sent if sent else 0,
                "last_open": text_of(newest(opens)),
            },
            "clicks": {
                "clicks_total": len(clicks),
                "unique_clicks": len({(who, a.url) for who, acts in campaign.acts.items() for a in acts if a.url}),
                "unique_subscriber_clicks": clickers,
                "click_rate": clickers / sent if sent else 0,
                "last_click": text_of(newest(clicks)),
            },
            "_links": [],
        }

    def _about(self, campaign: Campaign, who: str) -> dict[str, Any]:
        return {
            "campaign_id": campaign.id,
            "list_id": LIST_ID,
            "list_is_active": True,
            "email_id": who,
            "email_address": self.world.subscribers[who].email,
        }

    def _activity(self, campaign: Campaign, who: str, since: datetime | None) -> dict[str, Any]:
        return {
            **self._about(campaign, who),
            "activity": [activity_item(act) for act in self._acts(campaign, who, since)[::-1]],
            "_links": [],
        }

    def _opener(self, campaign: Campaign, who: str, since: datetime | None) -> dict[str, Any]:
        opens, all_opens = self._opens(campaign, who, since), self._opens(campaign, who, None)
        return {
            **self._about(campaign, who),
            "merge_fields": self._merge_values(self.world.subscribers[who]),
            "vip": False,
            "contact_status": self.world.subscribers[who].status,
            "opens_count": len(all_opens),
            "proxy_excluded_opens_count": sum(not act.proxy for act in all_opens),
            "opens": [{"timestamp": text_of(act.at), "is_proxy_open": act.proxy} for act in opens],
            "_links": [],
        }

    def _unsubscribe(self, campaign: Campaign, who: str) -> dict[str, Any]:
        moment, reason = campaign.left[who]
        return {
            **self._about(campaign, who),
            "merge_fields": self._merge_values(self.world.subscribers[who]),
            "vip": False,
            "timestamp": text_of(moment),
            "reason": reason,
            "_links": [],
        }

    def _automation(self, email: Campaign) -> dict[str, Any]:
        return {
            "id": email.workflow,
            "create_time": text_of(email.sent),
            "start_time": text_of(email.sent),
            "status": "sending",
            "emails_sent": len(email.recipients),
            "recipients": {"list_id": LIST_ID},
            "_links": [],
        }

    def _automation_email(self, email: Campaign) -> dict[str, Any]:
        return {
            "id": email.id,
            "workflow_id": email.workflow,
            "position": 1,
            "status": "sending",
            "emails_sent": len(email.recipients),
            "send_time": text_of(email.sent),
            "_links": [],
        }


def activity_item(act: Act) -> dict[str, Any]:
    more = {"url": act.url} if act.url else {"type": act.kind} if act.kind else {}
    return {"action": act.action, **more, "timestamp": text_of(act.at), "ip": act.ip}
