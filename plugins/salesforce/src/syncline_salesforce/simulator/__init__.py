"""A Salesforce org on loopback, strict to the vendor sheet."""

from syncline_salesforce.simulator.server import SalesforceSimulator

__all__ = ["SalesforceSimulator"]
