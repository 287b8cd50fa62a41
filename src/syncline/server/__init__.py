"""The receiver of webhooks: one address a connection. It only receives; runs settle what has come in."""

from syncline.server.serve import serve

__all__ = ["serve"]
