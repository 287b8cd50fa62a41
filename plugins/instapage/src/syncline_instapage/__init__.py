"""The instapage connector."""
