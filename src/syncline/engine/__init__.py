"""Engines evaluate a program over the whole log; they agree with the reference evaluator to the last decimal."""
