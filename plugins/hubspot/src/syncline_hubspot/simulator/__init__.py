"""A HubSpot account on loopback, strict to the vendor sheet."""

from syncline_hubspot.simulator.server import HubspotSimulator

__all__ = ["HubspotSimulator"]
