"""Takes what is personal out of recorded traffic and leaves its shape.

What may stay is listed, not what must go: a vendor's answer holds whatever people typed into it. Keys, types, numbers,
times and opaque ids stay, and what stands under a key that is known to be structural; every other text becomes a
pseudonym, the same one for the same text within one recording.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from typing import Any, Final

__all__ = ["Redactor"]

_STRUCTURAL: Final = re.compile(
    r"(?i:id|uuid|type|kind|status|state|code|category|subcategory|severity|version|locale|currency|timezone|role"
    r"|object|module|operation|action|event|format|method|sort_?by|sort_?order|api_?name|data_?type|json_?type"
    r"|field_?type|error_?code|sqlstate|tag|(?:soap|xsd)_?type|relationshipName|links?|documentation|rel|schema)"
    r"|[a-z_]+(?:_id|_ids|_at|_type|_code|_status|_count)|[a-z]+[A-Za-z]*(?:Id|Ids|At|Type|Code|Status|Count)"
)
_PERSONAL: Final = re.compile(
    r"(?i)birth|geo|latitude|longitude|zip|postal|phone|mobile|fax|^ip|_ip$|ip_?address|salary"
)
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?")
_NUMBER: Final = re.compile(r"[+-]?\d{1,6}(\.\d+)?|[+-]?\d{1,9}\.\d+")
_OPAQUE: Final = re.compile(
    r"(?=.*[a-fA-F])(?=.*\d)[0-9a-fA-F]{8,64}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|(?:\d\w\w|a\d\w)[0-9A-Za-z]{12}(?:[0-9A-Za-z]{3})?"
    r"|1\d{9}(?:\d{3})?|\d{16,20}",
    re.ASCII,
)
"""Digits alone are an id where they are longer than any telephone number, or a time since 1970."""
_EMAIL: Final = re.compile(r"[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
_ADDRESS_OF_A_MACHINE: Final = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_WEB: Final = re.compile(r"(https?://[^/\s\"?#]+[^\s\"?#]*)[?#][^\s\"<>]*")
_HERE: Final = re.compile(r"((?:^|<)/[^\s\"?#<>]*)[?#][^\s\"<>]*")  # an address without its host


class Redactor:
    """One recording's pseudonyms. They cannot be turned back: the key they are made with is thrown away."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def body(self, body: bytes, content_type: str) -> bytes:
        """A body without what is personal. One that is not JSON keeps its kind and size only, a table its header."""
        if not body:
            return body
        try:
            return json.dumps(self.value(json.loads(body)), ensure_ascii=False).encode()
        except ValueError:
            pass
        if "csv" in content_type:
            header, _, rest = body.decode("utf-8", "replace").partition("\n")
            return f"{header}\n# {rest.count(chr(10))} rows left out\n".encode()
        kind = content_type.partition(";")[0] or "something"
        return f"({len(body)} bytes of {kind}, left out)".encode()

    def sent(self, body: bytes, content_type: str) -> bytes:
        """What we sent: JSON like any other; a form or a query keeps all but addresses."""
        if "json" in content_type:
            return self.body(body, content_type)
        return self.text(body.decode("utf-8", "replace")).encode()

    def value(self, value: Any, key: str = "") -> Any:
        """A JSON value, all the way down; `key` is what it stands under."""
        if isinstance(value, dict):
            return {self.text(name): self.value(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, key) for inner in value]
        if isinstance(value, bool) or value is None or value == "":
            return value
        if isinstance(value, str):
            return self._text(value, key)
        return 0 if _PERSONAL.search(key) else value

    def text(self, text: str) -> str:
        """Running text, an address say: without e-mail addresses and those of machines, and without queries."""
        text = _EMAIL.sub(lambda found: self._email(found[0]), text)
        text = _ADDRESS_OF_A_MACHINE.sub("192.0.2.1", text)
        return _WEB.sub(r"\1", text)

    def header(self, text: str) -> str:
        """A header of an answer. Some hold an address (`Location`, `Link`), and that need not be a whole one."""
        return _HERE.sub(r"\1", self.text(text))

    def _text(self, text: str, key: str) -> str:
        if _PERSONAL.search(key):
            return self._pseudonym(text)
        if _EMAIL.fullmatch(text):
            return self._email(text)
        if any(pattern.fullmatch(text) for pattern in (_TIME, _NUMBER, _OPAQUE)) or text in ("true", "false"):
            return text
        return self.text(text) if _STRUCTURAL.fullmatch(key) else self._pseudonym(text)

    def _email(self, text: str) -> str:
        return f"{self._pseudonym(text.lower())}@redacted.example"

    def _pseudonym(self, text: str) -> str:
        return f"redacted-{hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:8]}"
