"""Mailchimp as a source: members, opens, clicks, bounces and unsubscribes, by polling the Marketing API 3.0."""

from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.source import MailchimpSource

__all__ = ["MailchimpConfig", "MailchimpSource"]
