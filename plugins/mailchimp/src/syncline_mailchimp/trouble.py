"""One campaign or audience that fails does not starve the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from syncline.errors import AuthError, ConnectorError, RateLimitError
from syncline_mailchimp.errors import GoneError

__all__ = ["Trouble"]

_log = logging.getLogger(__name__)


class Trouble:
    """Lets one campaign or audience fail alone, its mark where it was: `end` raises the first error there was."""

    def __init__(self) -> None:
        self.first: ConnectorError | None = None

    @contextmanager
    def apart(self) -> Iterator[None]:
        try:
            yield
        except GoneError as error:  # deleted since it was listed: there is nothing left to miss
            _log.warning("%s; it is skipped", error)
        except (AuthError, RateLimitError):  # of the whole connection: the next call would fare no better
            raise
        except ConnectorError as error:
            _log.warning("%s; the others are read", error)
            self.first = self.first or error

    def end(self) -> None:
        if self.first is not None:
            raise self.first
