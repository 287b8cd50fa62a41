"""The settings of an Instapage connection: the token, the webhook's secret, and what labels and pages mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from syncline.errors import did_you_mean
from syncline.model.duration import parse_duration
from syncline.sdk import ConnectorConfig
from syncline_instapage.labels import DEFAULT_LABELS

__all__ = ["FormType", "InstapageConfig", "PageRule"]

FormType = Literal["newsletter_signup", "contact", "demo_request", "trial_signup", "other"]

_SHORTEST_SECRET: Final = 16
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9_]*")


def _duration(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("a duration carries its unit; write it like 90d or 10m")  # noqa: TRY004  # pydantic wants it
    return parse_duration(value) if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """One of them may stand without brackets."""
    return (value,) if isinstance(value, str | int) else value


def _texts(value: Any) -> Any:
    """YAML reads 9483867 as a number; ids and labels are text."""
    listed = _listed(value)
    if isinstance(listed, list | tuple):
        return tuple(str(item) if type(item) is int else item for item in listed)
    return listed


_Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]
_Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
_Workspaces = Annotated[tuple[int, ...], BeforeValidator(_listed)]
_Labels = Mapping[str, _Texts]


def _check_attributes(labels: _Labels) -> _Labels:
    for name in labels:
        if not _ATTRIBUTE.fullmatch(name):
            raise ValueError(
                f"{name!r} is no attribute; {did_you_mean(name, DEFAULT_LABELS)}, or a name of your own such as budget"
            )
    return labels


class PageRule(BaseModel):
    """What the pages that fit mean. Whatever is given of `id`, `title` and `url` has to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: _Texts = Field(default=(), description="Page ids. The only sign that both ways in always give alike.")
    title: _Texts = Field(default=(), description="Patterns of the page's title; letter case does not matter.")
    url: _Texts = Field(default=(), description="Patterns of the address, such as */demo*; case does not matter.")
    form_type: FormType | None = Field(default=None, description="What submitting a form there is.")
    content_type: str | None = Field(
        default=None, description="The form stands before this kind of content, and is a content_download too."
    )
    content_id: str | None = Field(default=None, description="Which content; default: instapage:<page id>.")
    page_type: str | None = Field(default=None, description="For page_visits: what kind of page it is.")
    labels: _Labels = Field(default={}, description="`labels` for these pages; the others stand in behind them.")

    @field_validator("labels")
    @classmethod
    def _attributes(cls, labels: _Labels) -> _Labels:
        return _check_attributes(labels)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.id or self.title or self.url):
            raise ValueError("say which pages: give `id`, `title` or `url`")
        if not (self.form_type or self.content_type or self.page_type or self.labels):
            raise ValueError("say what they mean: give `form_type`, `content_type`, `page_type` or `labels`")
        if self.content_id and not self.content_type:
            raise ValueError("`content_id` needs `content_type`, such as whitepaper")
        return self


class InstapageConfig(ConnectorConfig):
    """A personal API token, and what the forms' labels and pages mean."""

    token: SecretStr
    """The personal API token. It can do what its owner may, in every workspace, and dies with the owner's account."""

    workspaces: _Workspaces = ()
    """Workspace ids; none given: all that the token's owner can see, at the cost of one more call a read."""

    base_url: str = "https://api.instapage.com/v1"
    """Where the public API is; a simulator's address in tests."""

    horizon: _Duration = timedelta(days=90)
    """How far back the first read goes."""

    lookback: _Duration = timedelta(minutes=10)
    """How far a read overlaps the one before."""

    settle: _Duration = timedelta(seconds=30)
    """Submissions younger than this are left for the next read."""

    reread: _Duration = timedelta(hours=24)
    """This often, this much is read again, deleted pages included, for submissions that show up late."""

    window: _Duration = timedelta(days=30)
    """A long range is read in pieces of this length; each is safe once it is complete."""

    calls_per_minute: Annotated[int, Field(ge=1)] = 180
    """Our own pace. Instapage allows 200 per token and address, and may throttle earlier (reference, 2026-08)."""

    submissions_verb: Literal["POST", "GET"] = "POST"
    """How submissions are asked for. GET (a page number, no filter: everything each time) is one third party's word."""

    webhook_secret: SecretStr | None = None
    """What a webhook has to carry; Instapage signs nothing. Without it every webhook is refused."""

    webhook_secret_in: Literal["query", "path", "header", "field"] = "query"  # noqa: S105  # a place
    """Where: a parameter of the address, its last part, a header that a proxy adds, or a hidden field of the form."""

    webhook_secret_name: str = "key"  # noqa: S105  # the parameter's name
    """The name of that parameter, header or field."""

    labels: Mapping[str, _Texts] = {}
    """Attribute of the person → labels of form fields, first one first. What is given replaces that default."""

    identifiers: Mapping[str, _Texts] = {}
    """Namespace (`ga:client`) → labels of hidden fields that hold the person's id there."""

    keep_fields: _Texts = ()
    """Labels whose answers stand in the event. None by default: events are kept for long and hold no names."""

    ignore_fields: _Texts = ()
    """Labels that only one of the ways in carries; they are left out of the event and of its id."""

    variant: Literal["none", "letter", "custom_name"] = "none"
    """Which of a variation's two names this account's webhooks send (unverified); it is then told of both ways in."""

    page_visits: bool = False
    """A submission is also a visit of its page."""

    pages: tuple[PageRule, ...] = ()
    """What pages mean; the first that fits counts. What is not said here is left to `classify` (by page id)."""

    @field_validator("workspaces")
    @classmethod
    def _each_once(cls, workspaces: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(workspaces))

    @field_validator("labels")
    @classmethod
    def _attributes(cls, labels: _Labels) -> _Labels:
        return _check_attributes(labels)

    @field_validator("identifiers")
    @classmethod
    def _namespaces(cls, identifiers: _Labels) -> _Labels:
        for namespace in identifiers:
            if namespace == "email" or ":" not in namespace:
                raise ValueError(f"{namespace!r} is no namespace; write <system>:<scope>, such as ga:client")
        return identifiers

    @field_validator("webhook_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        value = None if secret is None else secret.get_secret_value()  # an empty one is false
        if value is not None and len(value) < _SHORTEST_SECRET and "${" not in value:
            raise ValueError(
                f"webhook_secret is too short to be one; give {_SHORTEST_SECRET} random characters or more"
            )
        return secret

    @model_validator(mode="after")
    def _lookback_within(self) -> Self:
        if self.window <= self.lookback:
            raise ValueError("`window` must be longer than `lookback`")
        return self
