"""What may be said aloud: text without e-mail addresses and without what stands behind a question mark."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["masked"]

_ADDRESS: Final = re.compile(r"[\w.+'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_QUERY: Final = re.compile(r"\?[^\s\"'<>]{0,2000}=[^\s\"'<>]*")


def masked(text: str) -> str:
    """`text` with e-mail addresses as `(address)` and query strings as `?…`."""
    return _ADDRESS.sub("(address)", _QUERY.sub("?…", text))
