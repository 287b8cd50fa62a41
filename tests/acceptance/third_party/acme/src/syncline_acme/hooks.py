"""What this package gives the host."""

from syncline.sdk import hookimpl
from syncline_acme.sink import AcmeSink
from syncline_acme.source import AcmeSource

__all__ = ["connectors"]


@hookimpl
def connectors():
    return [AcmeSource, AcmeSink]
