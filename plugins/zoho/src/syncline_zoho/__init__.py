"""Zoho CRM for syncline: leads and contacts written, changes read back, tasks, and segments as tags."""

from syncline_zoho.config import ZohoConfig
from syncline_zoho.sink import ZohoSink

__all__ = ["ZohoConfig", "ZohoSink"]
