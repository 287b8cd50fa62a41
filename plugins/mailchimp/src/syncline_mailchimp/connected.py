"""What the source and the sink share: the account they are connected to."""

from __future__ import annotations

from typing import ClassVar

from syncline.model import Account
from syncline.sdk import Connector, Context
from syncline_mailchimp.batches import Batches
from syncline_mailchimp.client import MailchimpClient
from syncline_mailchimp.config import MailchimpConfig

__all__ = ["Connected"]


class Connected(Connector[MailchimpConfig]):
    """A connector with a client, and the cheapest call that proves the credentials."""

    kind: ClassVar[str] = "mailchimp"
    config_model = MailchimpConfig

    def __init__(self, config: MailchimpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._client = MailchimpClient(config, context.http)
        self._batches = Batches(self._client, context, config.batch_wait)

    def check(self) -> Account:
        root = self._client.root()
        details = {"role": root.role, "timezone": root.account_timezone}
        return Account(
            root.account_id, root.account_name, {k: v for k, v in details.items() if v}, self._client.answered_at
        )
