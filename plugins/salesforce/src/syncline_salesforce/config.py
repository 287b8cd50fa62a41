"""The settings of one Salesforce connection."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag

from syncline.sdk import ConnectorConfig

__all__ = ["ClientCredentials", "JwtBearer", "Login", "RefreshToken", "SalesforceConfig"]


class _Login(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    client_id: str
    """The consumer key of the app that we log in with."""


class ClientCredentials(_Login):
    """The client credentials flow of an External Client App; it works on the My Domain host only."""

    client_secret: SecretStr
    """The app's consumer secret."""
    domain: str
    """My Domain: `acme` for https://acme.my.salesforce.com, or a whole host name."""

    @property
    def default_url(self) -> str:
        return f"https://{self.domain}" if "." in self.domain else f"https://{self.domain}.my.salesforce.com"


class JwtBearer(_Login):
    """The JWT bearer flow: a certificate instead of a secret, and a user who approved the app."""

    username: str
    """The user we act as; an administrator has approved the app for this user."""
    private_key: SecretStr
    """The RSA key in PEM form whose certificate the app knows."""
    sandbox: bool = False
    """Whether the org is a sandbox, which logs in at test.salesforce.com."""

    @property
    def default_url(self) -> str:
        return f"https://{'test' if self.sandbox else 'login'}.salesforce.com"


class RefreshToken(_Login):
    """A refresh token from a person's authorization; a rotated one is kept by the host."""

    client_secret: SecretStr | None = None
    """The app's consumer secret, if the app asks for it."""
    refresh_token: SecretStr
    """What the authorization gave; from then on the host keeps whatever replaces it."""

    @property
    def default_url(self) -> str:
        return "https://login.salesforce.com"


def _flow(value: Any) -> str:
    """Which flow a `login:` is meant for, so that a mistake is explained in that flow's terms."""
    names = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    if "refresh_token" in names:
        return "refresh_token"
    return "jwt" if "private_key" in names or "username" in names else "client_credentials"


Login = Annotated[
    Annotated[ClientCredentials, Tag("client_credentials")]
    | Annotated[JwtBearer, Tag("jwt")]
    | Annotated[RefreshToken, Tag("refresh_token")],
    Discriminator(_flow),
]


class SalesforceConfig(ConnectorConfig):
    """What a connection to Salesforce needs. Only `login` has no default."""

    login: Login
    """How we log in: the client credentials flow, the JWT bearer flow, or a refresh token."""
    login_url: str | None = None
    """Where tokens come from; by default what the login flow needs. Data calls go where the token says."""
    api_version: str = Field(default="66.0", pattern=r"^\d{2}\.0$")
    """The version of the REST API that is called."""
    key_field: str = Field(default="Syncline_Key__c", pattern=r"^[A-Za-z]\w*__c$")
    """The unique external id field that holds our key, on tasks too."""
    bulk_from: int | None = Field(default=20_000, gt=200)
    """From this many writes of one object on the Bulk API is used; null switches it off, and so do the next two."""
    bulk_query_from: int | None = Field(default=20_000, gt=0)
    """An object with this many records is read the first time by a bulk query; null switches it off."""
    assignment_rules: bool = False
    """Whether lead assignment rules run on leads we create."""
    allow_duplicates: bool = False
    """Whether a record is saved although a duplicate rule would warn of it."""
    task_owner: str | None = None
    """A user id that owns our tasks; null leaves it to Salesforce, which takes the user we log in as."""
    task_withdrawn_status: str | None = None
    """The closed status of tasks that an undone run takes back; by default one that is called cancelled or withdrawn,
    else the first closed one."""
    system_users: tuple[str, ...] = ()
    """Ids of users behind which no person sits, such as other integrations: what they change is no person's edit."""
    permission_set: str = "Syncline"
    """The permission set through which `prepare` makes new fields writable for us."""

    @property
    def token_url(self) -> str:
        base = self.login_url or self.login.default_url
        return f"{base.rstrip('/')}/services/oauth2/token"
