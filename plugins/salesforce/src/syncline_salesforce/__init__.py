"""Salesforce for syncline: leads and contacts written, changes read back, tasks and campaign members."""

from syncline_salesforce.config import SalesforceConfig
from syncline_salesforce.sink import SalesforceSink

__all__ = ["SalesforceConfig", "SalesforceSink"]
