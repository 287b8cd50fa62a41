"""The unbounce connector."""
