"""From what a plugin says to canonical events: classified, cleansed, without repeats and machines. Pure."""

from syncline.events.classify import Classifier, ClassifyRules, derived_ids
from syncline.events.cleanse import cleanse
from syncline.events.clicks import Click, scanner_clicks
from syncline.events.repeats import RULES, RepeatRule, Visit, page_of, repeats, submission_of

__all__ = [
    "RULES",
    "Classifier",
    "ClassifyRules",
    "Click",
    "RepeatRule",
    "Visit",
    "cleanse",
    "derived_ids",
    "page_of",
    "repeats",
    "scanner_clicks",
    "submission_of",
]
