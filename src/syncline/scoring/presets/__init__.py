"""The score models that ship, as plain YAML."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from syncline.errors import ConfigError, did_you_mean

__all__ = ["names", "preset"]


def names() -> tuple[str, ...]:
    """The names of all presets."""
    files = (path.name for path in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml")))


def preset(name: str) -> Mapping[str, Any]:
    """The preset of that name, ready for `parse_model`."""
    if name not in names():
        raise ConfigError(f"unknown preset {name!r}: {did_you_mean(name, names())}")
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found
