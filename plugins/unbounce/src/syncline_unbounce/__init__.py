"""Unbounce as a source: what people submit on landing pages, pop-ups and sticky bars, by polling and by webhook."""

from syncline_unbounce.config import UnbounceConfig
from syncline_unbounce.source import UnbounceSource

__all__ = ["UnbounceConfig", "UnbounceSource"]
