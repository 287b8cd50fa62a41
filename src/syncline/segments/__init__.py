"""Segments: predicates over signals, scores and other segments; who enters and who leaves."""

from syncline.segments.parse import parse_segments
from syncline.segments.predicates import Predicate, Segment
from syncline.segments.transitions import Standing, bands_step, step

__all__ = ["Predicate", "Segment", "Standing", "bands_step", "parse_segments", "step"]
