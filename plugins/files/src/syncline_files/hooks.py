"""What this package gives the host."""
