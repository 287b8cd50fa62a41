"""Which audience an object is: `member`, or `member:<audience id>` where a connection has several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from syncline.errors import ConfigError, did_you_mean

__all__ = ["audience_of", "object_of"]

_OBJECT: Final = "member"


def object_of(audience: str, audiences: Sequence[str]) -> str:
    """What the members of an audience are called."""
    return _OBJECT if len(audiences) == 1 else f"{_OBJECT}:{audience}"


def audience_of(object: str, audiences: Sequence[str], *, where: str) -> str:
    """ConfigError when there is no such object, or when `member` could be several."""
    if object == _OBJECT and len(audiences) == 1:
        return audiences[0]
    kind, _, audience = object.partition(":")
    if kind == _OBJECT and audience in audiences:
        return audience
    known = [object_of(audience, audiences) for audience in audiences]
    if object == _OBJECT:
        raise ConfigError(f"this connection has several audiences; write one of: {', '.join(known)}", where=where)
    raise ConfigError(f"there is no object {object!r}; {did_you_mean(object, known)}", where=where)
