"""The mailpoet connector."""
