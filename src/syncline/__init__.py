"""syncline: marketing events in, people scored and explained, CRM fields written back safely."""

__version__ = "0.1.0"
