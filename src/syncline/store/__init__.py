"""The state database and the event log."""
