"""docs/configuration.md knows every setting, and its example is one that loads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from syncline.config import load, models
from syncline.host.plugins import Plugins
from syncline.host.wiring import kinds, rooms

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
NOT_WRITTEN = {"ConnectionConfig.name", "ConnectionConfig.settings"}  # the key, and all that the plugin knows


def _settings() -> Iterator[str]:
    for name in models.__all__:
        model = getattr(models, name)
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from (f"{name}.{field.alias or key}" for key, field in model.model_fields.items())


@pytest.mark.parametrize("setting", [setting for setting in _settings() if setting not in NOT_WRITTEN])
def test_every_setting_is_documented(setting: str) -> None:
    key = setting.partition(".")[2]
    assert re.search(rf"`{key}`|`[^`]*\b{key}: [^`]*`|\{{{key}:|, {key}:", PAGE), f"{setting} is not in the page"


def test_the_example_loads(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    (tmp_path / "connectors.yaml").write_text(example[1], encoding="utf-8")
    env = {"MAILCHIMP_API_KEY": "0123-us1", "SF_CLIENT_ID": "id", "SF_CLIENT_SECRET": "secret"}
    config = load(tmp_path / "connectors.yaml", env=env, kinds=kinds(Plugins.load()), rooms=rooms())
    assert [sync.name for sync in config.syncs] == ["leads"]
