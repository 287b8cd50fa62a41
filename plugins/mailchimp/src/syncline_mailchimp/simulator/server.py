"""Mailchimp, simulated: as strict as the vendor sheet says, for everything this connector and mailchimp-marketing use.

What nobody could verify is in `Switches`; what the vendor documents is not optional.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from syncline_mailchimp.simulator.batches import BatchRoutes
from syncline_mailchimp.simulator.reports import ReportRoutes
from syncline_mailchimp.simulator.tags import TagRoutes
from syncline_mailchimp.simulator.webhooks import WebhookRoutes

__all__ = ["MailchimpSimulator"]

_MEMBERS = "/3.0/lists/<list_id>/members"
_MEMBER = f"{_MEMBERS}/<subscriber>"
_SEGMENTS = "/3.0/lists/<list_id>/segments"
_WEBHOOKS = "/3.0/lists/<list_id>/webhooks"
_REPORT = "/3.0/reports/<campaign_id>"


class MailchimpSimulator(BatchRoutes, WebhookRoutes, TagRoutes, ReportRoutes):
    """One Mailchimp account with one audience."""

    routes: ClassVar[Sequence[tuple[str, str, str]]] = (
        ("GET", "/oauth2/metadata", "get_metadata"),
        ("GET", "/3.0/", "get_root"),
        ("GET", "/3.0/ping", "get_ping"),
        ("GET", "/3.0/lists", "get_lists"),
        ("GET", "/3.0/lists/<list_id>", "get_list"),
        ("POST", "/3.0/lists/<list_id>", "batch_subscribe"),
        ("GET", _MEMBERS, "get_members"),
        ("POST", _MEMBERS, "post_member"),
        ("GET", _MEMBER, "get_member"),
        ("PATCH", _MEMBER, "patch_member"),
        ("PUT", _MEMBER, "put_member"),
        ("DELETE", _MEMBER, "delete_member"),
        ("POST", f"{_MEMBER}/actions/delete-permanent", "delete_permanent"),
        ("GET", f"{_MEMBER}/tags", "get_member_tags"),
        ("POST", f"{_MEMBER}/tags", "post_member_tags"),
        ("GET", "/3.0/lists/<list_id>/merge-fields", "get_merge_fields"),
        ("POST", "/3.0/lists/<list_id>/merge-fields", "post_merge_field"),
        ("GET", "/3.0/lists/<list_id>/tag-search", "search_tags"),
        ("GET", _SEGMENTS, "get_segments"),
        ("POST", _SEGMENTS, "post_segment"),
        ("POST", f"{_SEGMENTS}/<segment_id>", "change_segment"),
        ("GET", f"{_SEGMENTS}/<segment_id>/members", "get_segment_members"),
        ("GET", _WEBHOOKS, "get_webhooks"),
        ("POST", _WEBHOOKS, "post_webhook"),
        ("GET", f"{_WEBHOOKS}/<webhook_id>", "get_webhook"),
        ("PATCH", f"{_WEBHOOKS}/<webhook_id>", "patch_webhook"),
        ("DELETE", f"{_WEBHOOKS}/<webhook_id>", "delete_webhook"),
        ("GET", "/3.0/batches", "get_batches"),
        ("POST", "/3.0/batches", "post_batch"),
        ("GET", "/3.0/batches/<batch_id>", "get_batch"),
        ("DELETE", "/3.0/batches/<batch_id>", "delete_batch"),
        ("GET", "/batch-results/<batch_id>/<until>.tar.gz", "get_batch_results"),
        ("GET", "/3.0/campaigns", "get_campaigns"),
        ("GET", "/3.0/campaigns/<campaign_id>", "get_campaign"),
        ("GET", "/3.0/reports", "get_reports"),
        ("GET", _REPORT, "get_report"),
        ("GET", f"{_REPORT}/email-activity", "get_email_activity"),
        ("GET", f"{_REPORT}/open-details", "get_open_details"),
        ("GET", f"{_REPORT}/unsubscribed", "get_unsubscribed"),
        ("GET", "/3.0/automations", "get_automations"),
        ("GET", "/3.0/automations/<workflow_id>/emails", "get_automation_emails"),
    )
