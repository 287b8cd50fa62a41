"""Mailchimp both ways: what people did there, and what we think of them written back."""

from __future__ import annotations

from syncline_mailchimp.sink import MailchimpSink
from syncline_mailchimp.source import MailchimpSource

__all__ = ["MailchimpConnector"]


class MailchimpConnector(MailchimpSource, MailchimpSink):
    """A source and a sink over one login, one client and one rate."""
