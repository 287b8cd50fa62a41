"""What stored configurations depend on: each setting's name, type, whether it is required, and its default.

A secret's default is never told, only that there is one. What a validator written in Python refuses is not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

__all__ = ["broken_settings", "settings_format"]

Tree = Mapping[str, Any]

_HIDDEN: Final = "(hidden)"
_NO_MORE_THAN: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_NO_LESS_THAN: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LIMITS: Final = (*_NO_MORE_THAN, *_NO_LESS_THAN, "pattern", "multipleOf")
_WIDER: Final = {("integer", "number")}
_PLAIN: Final = {
    "string": "text",
    "array": "list",
    "object": "mapping",
    "null": "nothing",
    "boolean": "true or false",
    "integer": "an integer",
}


def settings_format(model: type[BaseModel]) -> dict[str, Any]:
    """The settings and the models within them, without their words."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    within = {name: _node(given) for name, given in sorted(schema.get("$defs", {}).items())}
    return {"settings": _settings(schema), "models": within}


def _settings(schema: Tree) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    return {name: _setting(given, name in required) for name, given in schema.get("properties", {}).items()}


def _setting(given: Tree, required: bool) -> dict[str, Any]:
    node = _node(given)
    if required:
        return node | {"required": True}
    if "default" not in given:
        return node
    kept = given["default"] is None or not _is_secret(given)
    return node | {"default": given["default"] if kept else _HIDDEN}


def _is_secret(given: Tree) -> bool:
    return given.get("format") == "password" or any(_is_secret(one) for one in _alternatives(given))


def _alternatives(given: Tree) -> Sequence[Tree]:
    found: Sequence[Tree] = given.get("anyOf") or given.get("oneOf") or ()
    return found


def _node(given: Tree) -> dict[str, Any]:
    """One type: a model's name, several alternatives, or a plain type with its limits and what it is made of."""
    if "$ref" in given:
        return {"model": given["$ref"].rpartition("/")[2]}
    if _alternatives(given):
        return {"any": [_node(one) for one in _alternatives(given)]}
    node: dict[str, Any] = {"type": _type(given)}
    if "properties" in given:
        node["settings"] = _settings(given)
    if "enum" in given or "const" in given:
        node["one_of"] = list(given.get("enum", [given.get("const")]))
    for key, inside in (("items", "of"), ("additionalProperties", "of")):
        if isinstance(given.get(key), Mapping):
            node[inside] = _node(given[key])
    if "prefixItems" in given:
        node["parts"] = [_node(one) for one in given["prefixItems"]]
    return node | {limit: given[limit] for limit in _LIMITS if limit in given}


def _type(given: Tree) -> str:
    if given.get("format") == "password":
        return "secret"
    name = str(given.get("type", "anything"))
    return f"{name} ({given['format']})" if "format" in given else name


# Comparing


def broken_settings(before: Tree, now: Tree) -> list[str]:
    """What a connectors.yaml of before would now be refused for, or would now mean; a line each."""
    return list(_Comparison(before["models"], now["models"]).settings(before["settings"], now["settings"], ""))


class _Comparison:
    """Two trees of settings. Models are followed by name, each pair once: they may hold each other."""

    def __init__(self, before: Tree, now: Tree) -> None:
        self._before = before
        self._now = now
        self._seen: set[tuple[str, str]] = set()

    def settings(self, before: Tree, now: Tree, path: str) -> Iterator[str]:
        for name, old in before.items():
            if name in now:
                yield from self._one(old, now[name], f"{path}{name}")
            else:
                new = [other for other in now if other not in before]
                hint = f" (renamed to {' or '.join(f'`{path}{other}`' for other in new[:3])}?)" if new else ""
                yield f"setting `{path}{name}` is gone{hint}: every connectors.yaml that has it is refused"
        for name, new in now.items():
            if name not in before and new.get("required"):
                yield f"setting `{path}{name}` is new and required: every connectors.yaml is refused, for it lacks it"

    def _one(self, old: Tree, new: Tree, path: str) -> Iterator[str]:
        if new.get("required") and not old.get("required"):
            yield f"setting `{path}` is now required: every connectors.yaml that left it out is refused"
        elif not old.get("required") and old.get("default") != new.get("default"):
            change = f"{old.get('default')!r} became {new.get('default')!r}"
            yield f"the default of setting `{path}` changed ({change}): who left it out now gets the new one, unasked"
        yield from self._type(old, new, path)

    def _type(self, old: Tree, new: Tree, path: str) -> Iterator[str]:
        """Each alternative of before needs one of now that takes all of it."""
        for one in old.get("any", [old]):
            choices = [list(self._plain(one, other, path)) for other in new.get("any", [new])]
            yield from min(choices, key=len)

    def _plain(self, old: Tree, new: Tree, path: str) -> Iterator[str]:
        if "model" in old and "model" in new:
            pair = (old["model"], new["model"])
            if pair not in self._seen:
                self._seen.add(pair)
                yield from self._plain(self._before[pair[0]], self._now[pair[1]], path)
                self._seen.discard(pair)
            return
        old, new = self._followed(old, self._before), self._followed(new, self._now)
        if new.get("type") == "anything":
            return
        if old.get("type") != new.get("type") and (old.get("type"), new.get("type")) not in _WIDER:
            told = f"takes {_said(new)}, and no longer {_said(old)}"
            yield f"setting `{path}` {told}: every connectors.yaml that has it so is refused"
            return
        yield from self._inside(old, new, path)
        yield from _narrower(old, new, path)

    def _inside(self, old: Tree, new: Tree, path: str) -> Iterator[str]:
        if "settings" in old and "settings" in new:
            yield from self.settings(old["settings"], new["settings"], f"{path}.")
        elif "settings" in new:
            yield f"setting `{path}` takes {', '.join(new['settings'])} only: a connectors.yaml may be refused"
        elif "of" in new:
            parts = old.get("settings") or ({"": old["of"]} if "of" in old else {"": {"type": "anything"}})
            for name, part in parts.items():
                yield from self._type(part, new["of"], f"{path}.{name}" if name else f"{path}[]")
        if old.get("parts") or new.get("parts"):
            pairs = list(zip(old.get("parts", ()), new.get("parts", ()), strict=False))
            if len(old.get("parts", ())) != len(new.get("parts", ())):
                yield f"setting `{path}` has another number of parts: every connectors.yaml that has it is refused"
            for number, (one, other) in enumerate(pairs):
                yield from self._type(one, other, f"{path}[{number}]")

    def _followed(self, node: Tree, models: Tree) -> Tree:
        found: Tree = models[node["model"]] if "model" in node else node
        return found


def _narrower(old: Tree, new: Tree, path: str) -> Iterator[str]:
    """Values that were taken and are not any longer."""
    if "one_of" in new:
        gone = [value for value in old.get("one_of", ()) if value not in new["one_of"]]
        if gone or "one_of" not in old:
            told = ", ".join(map(repr, gone)) or "anything but " + ", ".join(map(repr, new["one_of"]))
            yield f"setting `{path}` no longer takes {told}: every connectors.yaml that says so is refused"
    for limit in _LIMITS:
        if limit in new and _tighter(limit, old.get(limit), new[limit]):
            told = f"{limit} is {new[limit]!r}, and was {old.get(limit, 'not set')!r}"
            yield f"setting `{path}` takes less than before ({told}): a connectors.yaml may be refused"


def _tighter(limit: str, old: Any, new: Any) -> bool:
    if old is None or limit in ("pattern", "multipleOf"):
        return bool(old != new)
    return bool(new < old) if limit in _NO_MORE_THAN else bool(new > old)


def _said(node: Tree) -> str:
    name = str(node.get("type", "anything"))
    return (
        f"a {_PLAIN.get(name, name)}"
        if name not in ("null", "boolean", "integer", "anything")
        else _PLAIN.get(name, name)
    )
