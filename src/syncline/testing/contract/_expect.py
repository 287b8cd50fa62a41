"""How a clause says what it expects, and what it found instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import pytest

from syncline.errors import ConnectorError

__all__ = ["expect", "expect_done", "expect_raised", "lacks", "not_given", "offers"]

T = TypeVar("T")
K = TypeVar("K", bound=ConnectorError)


def expect(condition: object, message: str) -> None:
    """Hold the connector to something; AssertionError with `message` otherwise."""
    if not condition:
        raise AssertionError(message)


def expect_done(action: Callable[[], T], message: str) -> T:
    """The result of `action`, which may not raise an error of a connector."""
    try:
        return action()
    except ConnectorError as error:
        raise AssertionError(f"{message}; it raised {type(error).__name__} ({error})") from error


def expect_raised(kind: type[K], action: Callable[[], object], message: str) -> K:
    """The error of this kind that `action` raises; any other, or none, breaks the clause."""
    try:
        action()
    except kind as error:
        return error
    except Exception as error:
        raise AssertionError(f"{message} {kind.__name__}; it raised {type(error).__name__} ({error})") from error
    raise AssertionError(f"{message} {kind.__name__}; nothing was raised")


def offers(connector: object, protocol: type[Any]) -> bool:
    """Whether a connector has the methods of an optional protocol."""
    return isinstance(connector, protocol)


def lacks(method: str) -> NoReturn:
    """Skip a clause about a method that the connector does not have."""
    pytest.skip(f"the connector has no `{method}`")


def not_given(hook: str, why: str = "") -> NoReturn:
    """Skip a clause, visibly, that cannot be applied until the test says how."""
    pytest.skip(f"{why + ': ' if why else ''}give `{hook}` to hold the connector to this clause, or exempt it")
