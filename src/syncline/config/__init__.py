"""connectors.yaml → validated models, with messages that name file, line and key."""

from syncline.config.document import Document
from syncline.config.load import KindInfo, Loaded, ParsesModels, Rooms, load, load_all, read, settings
from syncline.config.models import (
    ActionConfig,
    Classify,
    ClassifyRules,
    Config,
    ConnectionConfig,
    CreateIf,
    FieldMapping,
    Guard,
    Identity,
    Origin,
    ScoreConfig,
    SyncConfig,
    TaskConfig,
    When,
    WriteWhen,
)

__all__ = [
    "ActionConfig",
    "Classify",
    "ClassifyRules",
    "Config",
    "ConnectionConfig",
    "CreateIf",
    "Document",
    "FieldMapping",
    "Guard",
    "Identity",
    "KindInfo",
    "Loaded",
    "Origin",
    "ParsesModels",
    "Rooms",
    "ScoreConfig",
    "SyncConfig",
    "TaskConfig",
    "When",
    "WriteWhen",
    "load",
    "load_all",
    "read",
    "settings",
]
