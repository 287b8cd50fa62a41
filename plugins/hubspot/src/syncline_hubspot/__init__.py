"""HubSpot for syncline: contacts written and read back, tasks, lists, and notices of changes."""

from syncline_hubspot.config import HubspotConfig
from syncline_hubspot.sink import HubspotSink

__all__ = ["HubspotConfig", "HubspotSink"]
