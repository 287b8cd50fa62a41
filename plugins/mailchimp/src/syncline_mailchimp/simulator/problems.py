"""How Mailchimp says no: the titles of its error glossary, and one exception that ends a request with a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from syncline_mailchimp.simulator.account import Account

__all__ = ["TRIGGERS", "RefusedError", "bad_request", "invalid", "not_found", "refusing"]

TRIGGERS: Final[Mapping[str, tuple[int, str, str]]] = {  # names from the vendor's error glossary
    "APIKeyMissing": (401, "API Key Missing", "Your request did not include an API key."),
    "TooManyRequests": (429, "TooManyRequests", "You have exceeded the limit of 10 simultaneous connections."),
    "InvalidMethodOverride": (
        422,
        "InvalidMethodOverride",
        "You can only use the X-HTTP-Method-Override header with the POST method.",
    ),
    "InternalServerError": (
        500,
        "InternalServerError",
        "A deep, internal error has occurred during the processing of your request. Please contact support.",
    ),
    # Only APIKeyMissing is documented as a value of X-Trigger-Error; these follow the glossary's titles, unverified:
    "APIKeyInvalid": (
        401,
        "API Key Invalid",
        "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
    ),
    "Forbidden": (403, "Forbidden", "Your user level does not allow access to this endpoint."),
    "UserDisabled": (403, "User Disabled", "This account has been deactivated."),
    "BadRequest": (400, "Bad Request", "Your request could not be processed."),
    "ResourceNestingTooDeep": (414, "Resource Nesting Too Deep", "The sub-resource requested is nested too deeply."),
}


class RefusedError(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, title: str, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(title)
        self.parts = (status, title, detail, errors)


def refusing(handler: Callable[..., Response]) -> Callable[..., Response]:
    """A handler whose refusals become problem documents."""

    @wraps(handler)
    def checked(self: Account, request: Request, **arguments: Any) -> Response:
        try:
            return handler(self, request, **arguments)
        except RefusedError as refusal:
            return self.problem(*refusal.parts)

    return checked


def invalid(name: str, message: str) -> RefusedError:
    detail = "The resource submitted could not be validated. For field-specific details, see the 'errors' array."
    return RefusedError(400, "Invalid Resource", detail, [{"field": name, "message": message}])


def bad_request(detail: str) -> RefusedError:
    return RefusedError(400, "Bad Request", detail)


def not_found() -> RefusedError:
    return RefusedError(404, "Resource Not Found", "The requested resource could not be found.")
