"""syncline connector."""
