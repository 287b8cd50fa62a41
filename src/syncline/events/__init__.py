"""From what a plugin says to canonical events: classified, cleansed, without repeats and machines. Pure."""

from syncline.events.classify import Classifier, ClassifyRules, derived_ids
from syncline.events.cleanse import cleanse
from syncline.events.clicks import Click, scanner_clicks
from syncline.events.visits import Visit, page_of, repeats

__all__ = [
    "Classifier",
    "ClassifyRules",
    "Click",
    "Visit",
    "cleanse",
    "derived_ids",
    "page_of",
    "repeats",
    "scanner_clicks",
]
