"""What a source hands over: raw records, and the cursor after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = ["Account", "Page", "RawRecord"]


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One vendor record, as it came. `key` is the vendor's own id within the stream; `payload` is plain JSON."""

    stream: str
    key: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Some records and the opaque cursor after them. Both are stored in one transaction.

    `cursor` None leaves the stored cursor as it is: for pages in the middle of a range that is only safe as a whole.
    `total` is how many records the whole read will bring, if the vendor says so (for progress only).
    """

    records: Sequence[RawRecord]
    cursor: str | None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are logged in as, and whatever a person needs to recognise the account. Never a secret."""

    id: str
    name: str
    details: Mapping[str, str]
    server_time: datetime | None = None
