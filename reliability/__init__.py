"""The reliability suite: each promise of the design measured against simulated CRMs, and printed as a figure.

`python -m reliability` runs it; README.md beside this file says how a line is added.
"""
