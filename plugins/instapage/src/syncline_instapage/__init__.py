"""Instapage as a source: form submissions, by polling its public API and by webhook."""

from syncline_instapage.config import InstapageConfig, PageRule
from syncline_instapage.source import InstapageSource

__all__ = ["InstapageConfig", "InstapageSource", "PageRule"]
