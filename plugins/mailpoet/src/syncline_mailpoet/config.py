"""The settings of a MailPoet connection: what stands in wp-config.php, and what to call the site."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from syncline.model.duration import parse_duration
from syncline.sdk import ConnectorConfig

__all__ = ["Address", "FormType", "MailPoetConfig"]

FormType = Literal["newsletter_signup", "contact", "demo_request", "trial_signup", "other"]
SubscriberSource = Literal[
    "form", "imported", "administrator", "api", "wordpress_user", "woocommerce_user", "woocommerce_checkout", "unknown"
]

_PREFIX: Final = re.compile(r"[A-Za-z0-9_$]*")
_SITE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_PORT: Final = 3306
_HIGHEST_PORT: Final = 65_535


class Address(NamedTuple):
    """Where the server listens: a host and a port, or a socket file."""

    host: str
    port: int
    socket: str | None


def _duration(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError("a duration carries its unit; write it like 30d or 10m")  # noqa: TRY004  # pydantic wants it
    return parse_duration(value) if isinstance(value, str) else value


def _form_key(value: Any) -> Any:
    """YAML reads `3: demo_request` with a number for a key."""
    return {str(key): kind for key, kind in value.items()} if isinstance(value, Mapping) else value


_Duration = Annotated[timedelta, BeforeValidator(_duration), Field(gt=timedelta(0))]


class MailPoetConfig(ConnectorConfig):
    """The site's name, and its database: `host`, `user`, `password`, `name` and `prefix` as in wp-config.php.

    `file` takes the place of the first four for the simulator, which needs no server.
    """

    site: str
    """What the site is called here, such as its domain. Every id of its events begins with it: never change it."""

    host: str = "localhost"
    """DB_HOST as it stands in wp-config.php: `db.example`, `db.example:3307` or `localhost:/run/mysqld/mysqld.sock`."""

    user: str | None = None
    """A user who may only SELECT (README.md), rather than DB_USER."""

    password: SecretStr | None = None
    name: str | None = None
    """DB_NAME."""

    prefix: str = "wp_"
    """$table_prefix. On a multisite each blog has its own: `wp_2_`; make it a connection of its own."""

    ca: Path | None = None
    """The certificate of the authority that vouches for the server (PEM). Without it nobody does; then an
    unverified encryption is used if the server offers one."""

    file: Path | None = None
    """An SQLite file as the simulator writes it; for nothing else."""

    settling: _Duration = timedelta(minutes=10)
    """How long a transaction may take on the site: rows become visible in another order than they were numbered."""

    machine_window: _Duration = timedelta(days=30)
    """For how long an open that was a machine's may turn out to be a person's, in the same row."""

    page_size: Annotated[int, Field(ge=1, le=50_000)] = 5_000
    """Rows a statement brings."""

    forms: Annotated[Mapping[str, FormType], BeforeValidator(_form_key)] = {}
    """Id or name of a form → what it is; those not named are `newsletter_signup`."""

    signups: tuple[SubscriberSource, ...] = ("api", "woocommerce_checkout")
    """Whose joining of a list is a sign-up, by where the subscriber came from. MailPoet's own forms always are."""

    page_views: bool = False
    """Whether a later `last_page_view_at` is a visit. MailPoet keeps the time of the last one only, and no address."""

    webhook_secret: SecretStr | None = None
    """Shared with the must-use plugin in `wordpress/`; without it every webhook is refused."""

    webhook_window: _Duration = timedelta(minutes=5)
    """How old, or how far ahead, a webhook may be."""

    @field_validator("site")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not _SITE.fullmatch(value):
            raise ValueError("a site is named by letters, digits, dots, dashes and slashes, such as blog.example")
        return value

    @field_validator("prefix")
    @classmethod
    def _is_a_prefix(cls, value: str) -> str:
        if not _PREFIX.fullmatch(value):
            raise ValueError("a table prefix has letters, digits, _ and $ only; copy $table_prefix from wp-config.php")
        if value.endswith("mailpoet_"):
            raise ValueError("only WordPress's own prefix, without mailpoet_; copy $table_prefix from wp-config.php")
        return value

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        _address(value)
        return value

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        server = {"user": self.user, "password": self.password, "name": self.name}
        if self.file is not None:
            if given := [name for name, value in server.items() if value is not None]:
                raise ValueError(f"give either file or {', '.join(given)}; a real site has no file")
        elif missing := [name for name, value in server.items() if value is None]:
            raise ValueError(
                f"{', '.join(missing)} is missing; wp-config.php has them as DB_USER, DB_PASSWORD, DB_NAME"
            )
        return self

    @property
    def address(self) -> Address:
        return _address(self.host)


def _address(host: str) -> Address:
    """As WordPress reads DB_HOST: a port or a socket may follow the host, an IPv6 address is in brackets."""
    name, port = host, ""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":")
    elif host.count(":") == 1:
        name, port = host.split(":")
    if port.startswith("/"):
        return Address(name or "localhost", _PORT, port)
    if port and not (port.isdecimal() and 0 < int(port) <= _HIGHEST_PORT):
        raise ValueError("after the colon comes a port or the path of a socket, as in DB_HOST of wp-config.php")
    return Address(name or "localhost", int(port or _PORT), None)
