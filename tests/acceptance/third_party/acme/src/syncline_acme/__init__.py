"""Connectors for Acme."""
