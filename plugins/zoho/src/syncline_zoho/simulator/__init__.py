"""A Zoho CRM account on loopback, strict to the vendor sheet."""

from syncline_zoho.simulator.server import Switches, ZohoSimulator

__all__ = ["Switches", "ZohoSimulator"]
