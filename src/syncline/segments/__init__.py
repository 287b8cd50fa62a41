"""Segments: predicates over signals, scores and other segments; who enters and who leaves."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from syncline.scoring.predicates import Predicate, Segment
from syncline.segments.parse import parse_segments
from syncline.segments.transitions import Standing, bands_step, step

__all__ = ["Predicate", "Segment", "Standing", "bands_step", "examples", "parse_segments", "step"]


def examples() -> Mapping[str, Any]:
    """The segments that ship, ready for `parse_segments`."""
    text = resources.files(__name__).joinpath("examples.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found
