"""MailPoet as a source: subscribers, opens, clicks, unsubscribes, forms and bounces, read from WordPress's database."""

from syncline_mailpoet.config import MailPoetConfig
from syncline_mailpoet.source import MailPoetSource

__all__ = ["MailPoetConfig", "MailPoetSource"]
