"""Signals, score models, and the plain-Python evaluator: pure, as of a time that is always passed in."""
