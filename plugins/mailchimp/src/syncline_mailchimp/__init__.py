"""Mailchimp: members, opens, clicks, bounces and unsubscribes by polling and webhooks; merge fields and tags back."""

from syncline_mailchimp.config import MailchimpConfig
from syncline_mailchimp.connector import MailchimpConnector
from syncline_mailchimp.sink import MailchimpSink
from syncline_mailchimp.source import MailchimpSource

__all__ = ["MailchimpConfig", "MailchimpConnector", "MailchimpSink", "MailchimpSource"]
