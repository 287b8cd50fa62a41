"""syncline connector: events from CSV, JSON Lines and Parquet files."""

from syncline_files.config import FilesConfig
from syncline_files.source import FilesSource

__all__ = ["FilesConfig", "FilesSource"]
