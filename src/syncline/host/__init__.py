"""Plugin loading, wiring, locks: what turns a connectors.yaml into runs."""

from syncline.host.host import Host

__all__ = ["Host"]
