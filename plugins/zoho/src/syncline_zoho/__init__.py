"""The zoho connector."""
