"""A JSON Schema of connectors.yaml, for editors: every key, its valid values and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from syncline.config.models import Config

__all__ = ["json_schema"]

Schema = dict[str, Any]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLACEHOLDER: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_AS_PLACEHOLDER: Final = 'a secret: write "${NAME}" and set that environment variable'


def json_schema(config_models: Mapping[str, type[BaseModel]]) -> Schema:
    """The schema (2020-12) with each connection's keys as its plugin's model (`config_models`, by kind) has them."""
    schema = _walk(Config.model_json_schema(by_alias=True), _tidy)
    definitions: Schema = schema.setdefault("$defs", {})
    definitions["ConnectionConfig"] = _connection(config_models)
    for kind, model in sorted(config_models.items()):
        definitions |= _definitions(kind, model)
    return {"$schema": _DIALECT, **schema, "title": "syncline connectors.yaml"}


def _connection(config_models: Mapping[str, type[BaseModel]]) -> Schema:
    kinds = sorted(config_models)
    return {
        "type": "object",
        "description": "a configured use of a plugin, with the plugin's own settings",
        "properties": {"plugin": {"enum": kinds, "description": "the kind of connector"}},
        "required": ["plugin"],
        "allOf": [
            {
                "if": {"properties": {"plugin": {"const": kind}}, "required": ["plugin"]},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
            for kind in kinds
        ],
    }


def _definitions(kind: str, model: type[BaseModel]) -> Schema:
    """A plugin's settings as definitions of their own, under names that cannot meet another plugin's."""
    schema = _walk(model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{kind}.{{model}}"), _tidy)
    schema = _walk(schema, _from_environment)
    inner = {f"{kind}.{name}": definition for name, definition in schema.pop("$defs", {}).items()}
    schema.setdefault("properties", {})["plugin"] = {"const": kind, "description": "the kind of connector"}
    schema["properties"]["simulated"] = {"type": "boolean", "description": "the plugin's simulator stands in"}
    return {kind: _complete_unless_simulated(schema), **inner}


def _complete_unless_simulated(schema: Schema) -> Schema:
    """A simulator brings the settings that are missing."""
    required = schema.pop("required", [])
    simulated = {"properties": {"simulated": {"const": True}}, "required": ["simulated"]}
    return {**schema, "if": simulated, "else": {"required": required}} if required else schema


_NAMED: Final = ("properties", "$defs", "patternProperties")
_NESTED: Final = ("items", "prefixItems", "additionalProperties", "propertyNames", "anyOf", "allOf", "oneOf", "not")


def _walk(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """The schema with every schema inside it changed, from the inside out."""
    if isinstance(schema, bool):
        return schema
    if isinstance(schema, list):
        return [_walk(item, change) for item in schema]
    return change({key: _part(key, value, change) for key, value in schema.items()})


def _part(key: str, value: Any, change: Callable[[Schema], Schema]) -> Any:
    if key in _NAMED:
        return {name: _walk(inner, change) for name, inner in value.items()}
    return _walk(value, change) if key in _NESTED else value


def _tidy(schema: Schema) -> Schema:
    """Secrets say how they are written; the titles pydantic makes from names say nothing."""
    schema = {key: value for key, value in schema.items() if key != "title"}
    if schema.get("format") == "password":
        told = schema.get("description")
        schema = {"type": "string", "description": f"{told}; {_AS_PLACEHOLDER}" if told else _AS_PLACEHOLDER}
        schema["pattern"] = f"^\\s*{_PLACEHOLDER}\\s*$"
    return schema


def _from_environment(schema: Schema) -> Schema:
    """A number or a truth of a connection may come from the environment as well."""
    if schema.get("type") not in ("integer", "number", "boolean"):
        return schema
    return {**schema, "type": [schema["type"], "string"], "pattern": _PLACEHOLDER}
