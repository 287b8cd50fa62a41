"""Every field an answer may have, and the `fields` and `exclude_fields` that choose among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from werkzeug.wrappers import Request

from syncline_mailchimp.simulator.problems import bad_request

__all__ = ["PARAMETERS", "SHAPES", "selected"]


def _names(prefix: str, text: str) -> frozenset[str]:
    return frozenset({prefix, *(f"{prefix}.{name}" for name in text.split())})


_MEMBER: Final = (
    "id email_address unique_email_id contact_id full_name web_id email_type status unsubscribe_reason"
    " consents_to_one_to_one_messaging merge_fields interests stats stats.avg_open_rate stats.avg_click_rate ip_signup"
    " timestamp_signup ip_opt timestamp_opt member_rating last_changed language vip email_client location"
    " location.latitude location.longitude location.gmtoff location.dstoff location.country_code location.timezone"
    " location.region source tags_count tags tags.id tags.name list_id _links"
)
_REPORT: Final = (
    "id campaign_title type list_id list_is_active list_name subject_line preview_text emails_sent abuse_reports"
    " unsubscribed send_time bounces bounces.hard_bounces bounces.soft_bounces bounces.syntax_errors forwards"
    " forwards.forwards_count forwards.forwards_opens opens opens.opens_total opens.unique_opens opens.open_rate"
    " opens.last_open opens.proxy_excluded_opens opens.proxy_excluded_unique_opens opens.proxy_excluded_open_rate"
    " clicks clicks.clicks_total clicks.unique_clicks clicks.unique_subscriber_clicks clicks.click_rate"
    " clicks.last_click _links"
)
_CAMPAIGN: Final = (
    "id web_id parent_campaign_id type create_time status emails_sent send_time content_type recipients"
    " recipients.list_id recipients.list_is_active recipients.list_name recipients.recipient_count settings"
    " settings.subject_line settings.title settings.from_name settings.reply_to report_summary _links"
)
_PERSON: Final = "campaign_id list_id list_is_active email_id email_address _links"
_SEGMENT: Final = "id name member_count type created_at updated_at list_id _links"
_MERGE_FIELD: Final = (
    "merge_id tag name type required default_value public display_order options options.choices options.size"
    " options.date_format help_text list_id _links"
)
_BATCH: Final = (
    "id status total_operations finished_operations errored_operations submitted_at completed_at"
    " response_body_url _links"
)
_WEBHOOK: Final = (
    "id url events events.subscribe events.unsubscribe events.profile events.cleaned events.upemail events.campaign"
    " sources sources.user sources.admin sources.api list_id signing_enabled signing_secret _links"
)
_TOP: Final = frozenset({"total_items", "_links"})
SHAPES: Final[Mapping[str, frozenset[str]]] = {
    "root": frozenset("account_id account_name email username role account_timezone total_subscribers _links".split()),
    "ping": frozenset({"health_status"}),
    "list": frozenset("id web_id name date_created double_optin stats stats.member_count _links".split()),
    "lists": _TOP | _names("lists", "id web_id name date_created double_optin stats stats.member_count _links"),
    "member": frozenset(_MEMBER.split()),
    "members": _TOP | {"list_id"} | _names("members", _MEMBER),
    "report": frozenset(_REPORT.split()),
    "reports": _TOP | _names("reports", _REPORT),
    "campaign": frozenset(_CAMPAIGN.split()),
    "campaigns": _TOP | _names("campaigns", _CAMPAIGN),
    "email-activity": _TOP
    | {"campaign_id"}
    | _names("emails", f"{_PERSON} activity activity.action activity.type activity.timestamp activity.url activity.ip"),
    "open-details": _TOP
    | {"campaign_id", "total_opens", "total_proxy_excluded_opens"}
    | _names(
        "members",
        f"{_PERSON} merge_fields vip contact_status opens_count proxy_excluded_opens_count opens opens.timestamp"
        " opens.is_proxy_open",
    ),
    "unsubscribed": _TOP | {"campaign_id"} | _names("unsubscribes", f"{_PERSON} merge_fields vip timestamp reason"),
    "automations": _TOP
    | _names("automations", "id create_time start_time status emails_sent recipients recipients.list_id _links"),
    "merge-field": frozenset(_MERGE_FIELD.split()),
    "merge-fields": _TOP | {"list_id"} | _names("merge_fields", _MERGE_FIELD),
    "segment": frozenset(_SEGMENT.split()),
    "segments": _TOP | {"list_id"} | _names("segments", _SEGMENT),
    "segment-members": _TOP | _names("members", _MEMBER),
    "segment-change": frozenset(
        "members_added members_removed errors total_added total_removed error_count _links".split()
    ),
    "tags": _TOP | _names("tags", "id name date_added"),
    "tag-search": frozenset({"total_items", "tags", "tags.id", "tags.name"}),
    "batch-subscribe": frozenset(
        "new_members updated_members errors total_created total_updated error_count _links".split()
    ),
    "batch": frozenset(_BATCH.split()),
    "batches": _TOP | _names("batches", _BATCH),
    "webhook": frozenset(_WEBHOOK.split()),
    "webhooks": _TOP | {"list_id"} | _names("webhooks", _WEBHOOK),
    "emails": _TOP | _names("emails", "id workflow_id position status emails_sent send_time _links"),
}
"""Every field an answer may have: naming another in `fields` or `exclude_fields` is an error (vendor docs, Methods)."""

PARAMETERS: Final = frozenset(
    "fields exclude_fields count offset status since_last_changed before_last_changed since_timestamp_opt"
    " before_timestamp_opt unsubscribed_since unique_email_id sort_field sort_dir since since_send_time"
    " before_send_time since_create_time before_create_time list_id type email_type name skip_merge_validation"
    " skip_duplicate_check include_cleaned include_transactional include_unsubscribed required".split()
)


def selected(request: Request, known: frozenset[str], body: dict[str, Any]) -> Any:
    wanted, unwanted = (_asked(request, name, known) for name in ("fields", "exclude_fields"))
    if wanted and unwanted:
        raise bad_request("fields and exclude_fields are mutually exclusive.")
    return _pick(body, wanted) if wanted else _drop(body, unwanted)


_Tree = dict[str, Any]
"""Names → what is asked for below them; an empty tree asks for the whole."""


def _asked(request: Request, name: str, known: frozenset[str]) -> _Tree:
    tree: _Tree = {}
    for path in filter(None, request.args.get(name, "").split(",")):
        if path not in known:
            raise bad_request(f"{name}: {path} is not a field of this resource.")
        branch = tree
        for part in path.split("."):
            branch = branch.setdefault(part, {})
    return tree


def _pick(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_pick(item, tree) for item in value] if tree else value
    if not tree or not isinstance(value, dict):
        return value
    return {key: _pick(value[key], below) for key, below in tree.items() if key in value}


def _drop(value: Any, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_drop(item, tree) for item in value] if tree else value
    if not tree or not isinstance(value, dict):
        return value
    return {key: _drop(item, tree.get(key, {})) for key, item in value.items() if tree.get(key) != {}}
