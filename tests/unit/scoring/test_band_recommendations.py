"""What a band recommends is checked as strictly as what it scores."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.errors import ConfigError
from syncline.scoring.model import parse_model


def model(**band: Any) -> dict[str, Any]:
    bands = [{"name": "hot", "at_least": 80, **band}]
    return {"model": "m", "score": [{"name": "one", "add": 1}], "bands": bands}


@pytest.mark.parametrize(
    ("band", "said"),
    [
        ({"tell": {"who": "sales"}}, "unknown key 'who': did you mean 'whom'?"),
        ({"tell": {"when": "dayly"}}, "did you mean 'daily'?"),
        ({"actions": [{"taks": {}}]}, "unknown key 'taks': did you mean 'task'?"),
        ({"actions": [{"task": {"template": "alert_it"}}]}, "unknown key 'template'"),
        ({"actions": [{"task": {"priority": "urgnet"}}]}, "did you mean 'urgent'?"),
        ({"actions": [{"task": {"due": "soon"}}]}, "due: "),
        ({"actions": [{"task": {}, "list": "news"}]}, "an action is one thing"),
        ({"actions": [{"list": 3}]}, "list is a text"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else None,
)
def test_a_typo_in_a_bands_recommendation_is_refused_with_the_nearest(band: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_model(model(**band), name="m")
    assert said in str(caught.value)


def test_a_recommendation_is_kept_as_it_stands() -> None:
    actions = [{"task": {"text": "alert_it", "due": "2h", "priority": "from_score"}}, {"list": "newsletter"}]
    [band] = parse_model(model(tell={"whom": "sales", "when": "daily"}, actions=actions), name="m").bands
    assert (band.tell["whom"], list(band.actions)) == ("sales", actions)
