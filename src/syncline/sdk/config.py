"""The base of every plugin's settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["ConnectorConfig"]


class ConnectorConfig(BaseModel):
    """Settings of one connection, as they stand in connectors.yaml.

    Unknown keys are refused and inputs are hidden in errors: pydantic would otherwise print the secret whose key is
    misspelt. Secrets are `SecretStr`. Every vendor address is a setting with a default (`base_url`, `login_url`, …).
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )
