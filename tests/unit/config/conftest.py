"""Connector kinds like the real ones, and a way to load a connectors.yaml from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Discriminator, Field, SecretStr, Tag, model_validator

from syncline.config import KindInfo, Loaded, load_all
from syncline.errors import ConfigError
from syncline.sdk import ConnectorConfig

ENV = {
    "MC_KEY": "from-the-environment-us1",
    "SF_ID": "an-id",
    "SF_SECRET": "from-the-environment-too",
    "EMPTY": "",
    "DB_PASSWORD": "the-database-password",
}


class NewsletterConfig(ConnectorConfig):
    api_key: SecretStr
    audience: str
    page_size: int = Field(default=100, ge=1)
    regions: Literal["eu", "us"] | None = None
    tokens: dict[str, SecretStr] = Field(default={})


class AppLogin(ConnectorConfig):
    client_id: str
    client_secret: SecretStr


class UserLogin(ConnectorConfig):
    username: str
    password: SecretStr


def _flow(value: Any) -> str:
    return "password" if isinstance(value, dict) and "username" in value else "app"


class CrmConfig(ConnectorConfig):
    login: Annotated[
        Annotated[AppLogin, Tag("app")] | Annotated[UserLogin, Tag("password")],
        Discriminator(_flow),
    ]
    base_url: str | None = None
    timeout: int | None = None

    @model_validator(mode="after")
    def _https(self) -> CrmConfig:
        if self.base_url is not None and not self.base_url.startswith("http"):
            raise ValueError(f"base_url must be an http address, not {self.base_url}")
        return self


class FilesConfig(ConnectorConfig):
    path: str


def _kind(model: type[BaseModel], *abilities: str) -> KindInfo:
    names = ("is_source", "is_sink", "creates_tasks", "keeps_segments")
    return KindInfo(**{name: name in abilities for name in names}, config_model=model)


KINDS: Mapping[str, KindInfo] = {
    "mailchimp": _kind(NewsletterConfig, "is_source"),
    "salesforce": _kind(CrmConfig, "is_sink", "creates_tasks", "keeps_segments"),
    "sheet": _kind(FilesConfig, "is_sink"),
}


@pytest.fixture
def kinds() -> Mapping[str, KindInfo]:
    return KINDS


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    """Loads a text as `connectors.yaml` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def load(text: str, **options: Any) -> Loaded:
        Path("connectors.yaml").write_text(text, encoding="utf-8")
        return load_all(Path("connectors.yaml"), **{"env": ENV, "kinds": KINDS, **options})

    return load


@pytest.fixture
def complaint(load_text: Callable[..., Loaded]) -> Callable[..., str]:
    """What a person is told about a text that cannot be loaded."""

    def told(text: str, **options: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            load_text(text, **options)
        return str(caught.value)

    return told
