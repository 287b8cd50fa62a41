"""YAML text to plain data, and the line of every key and item.

Works on ruamel's node tree, the stage at which every key still knows its line and a key written twice is still there
twice. Nothing here prints a scalar of the file: it might be a secret that ended up in the wrong place.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

__all__ = ["Mistake", "Parsed", "Path_", "SyntaxProblem", "parse"]

Path_ = tuple[str | int, ...]

_MAX_DEPTH: Final = 100
_TAG: Final = "tag:yaml.org,2002:"
_TYPED: Final = frozenset({_TAG + "int", _TAG + "float", _TAG + "bool", _TAG + "null"})
# A date stays text: whoever wants one says so in its own model.
_TEXT: Final = frozenset({_TAG + "str", _TAG + "timestamp", _TAG + "value", _TAG + "merge"})
_MERGE: Final = _TAG + "merge"


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """A problem and its line: the path alone cannot tell the second of two equal keys."""

    line: int
    path: Path_
    message: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """Plain data, the line (from 1) of every path, and mistakes that did not keep us from reading on."""

    data: Any
    lines: dict[Path_, int]
    mistakes: tuple[Mistake, ...]


class SyntaxProblem(Exception):  # noqa: N818  # a mistake in a file, not a failure of ours
    """The text is not YAML. `line` is None when it is not even text."""

    def __init__(self, message: str, line: int | None) -> None:
        self.line = line
        super().__init__(message)


def parse(content: bytes) -> Parsed:
    """The data of one YAML document. SyntaxProblem when it is not YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _MAX_DEPTH
    failure: SyntaxProblem
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # legal, and the warning prints the file
            return _Builder(yaml).document(yaml.compose(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        failure = SyntaxProblem("not UTF-8 text; save the file as UTF-8", content[: error.start].count(b"\n") + 1)
    except ReaderError as error:
        failure = SyntaxProblem(
            "a control character; remove it", content.decode("utf-8-sig").count("\n", 0, error.position) + 1
        )
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        failure = SyntaxProblem(_explain(error), mark.line + 1 if mark else None)
    except YAMLError:
        failure = SyntaxProblem("not valid YAML", None)
    raise failure  # outside of the handlers: ruamel's own error quotes the line, and must not come along


_EXPLANATIONS: Final = (
    (r"found character '\\t'", "a tab; YAML is indented with spaces"),
    (r"found character '(.)'", "a value cannot start with '{0}'; put it in quotes"),
    (r"expected ',' or '[}}\]]', but got '\{'", "a '{{' inside {{…}} or […]; put the value in quotes: \"${{NAME}}\""),
    (r"expected ',' or '(.)', but got", "a '{0}' or a ',' is missing"),
    (r"mapping values are not allowed", "a ':' where none can be; check the indentation, or put the value in quotes"),
    (r"expected <block end>, but found '\?'|expected <block end>", "the indentation does not match the lines above"),
    (r"found undefined alias", "a value starting with '*' refers to an anchor that is not there; put it in quotes"),
    (r"found unexpected end of stream", "a quote is opened and never closed"),
    (r"found unknown escape character", "an unknown \\ in double quotes; write \\\\ or use single quotes"),
    (r"another document", "a second document; the file holds exactly one, without '---' between"),
    (r"could not find expected ':'", "a key without ':'"),
    (r"maximum depth", "nested too deeply"),
)


def _explain(error: MarkedYAMLError) -> str:
    problem = error.problem or error.context or ""
    for pattern, text in _EXPLANATIONS:
        found = re.search(pattern, problem)
        if found:
            return text.format(*found.groups()) + _opening(error)
    return "not valid YAML here"


def _opening(error: MarkedYAMLError) -> str:
    """Where the bracket or quote was opened, if that is another line than the one that is reported."""
    start, end, context = error.context_mark, error.problem_mark, error.context or ""
    if start is None or end is None or start.line == end.line or not re.search("flow|quoted", context):
        return ""
    return f" (opened in line {start.line + 1})"


class _Builder:
    """Turns ruamel's nodes into plain data and remembers where everything stands."""

    def __init__(self, yaml: YAML) -> None:
        self._yaml = yaml
        self._lines: dict[Path_, int] = {}
        self._mistakes: list[Mistake] = []
        self._open: list[Node] = []

    def document(self, root: Node | None) -> Parsed:
        data = None if root is None else self._value(root, (), root.start_mark.line + 1)
        return Parsed(data, self._lines, tuple(self._mistakes))

    def _value(self, node: Node, path: Path_, line: int) -> Any:
        self._lines[path] = line
        if any(node is outer for outer in self._open):
            return self._mistake(path, "refers to itself")
        self._open.append(node)
        try:
            return self._plain(node, path)
        finally:
            self._open.pop()

    def _plain(self, node: Node, path: Path_) -> Any:
        if isinstance(node, MappingNode) and str(node.tag) == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and str(node.tag) == _TAG + "seq":
            items = enumerate(node.value)
            return [self._value(item, (*path, number), item.start_mark.line + 1) for number, item in items]
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        return self._mistake(path, "a YAML tag ('!…') is not understood here; remove it")

    def _scalar(self, node: ScalarNode, path: Path_) -> Any:
        tag = str(node.tag)
        if tag in _TEXT:
            return node.value
        if tag not in _TYPED:
            return self._mistake(path, "a YAML tag ('!…') is not understood here; put the value in quotes")
        try:
            return self._yaml.constructor.construct_object(node)
        except (ValueError, KeyError):
            return self._mistake(path, "the value does not fit its YAML tag ('!!…'); remove the tag")

    def _mapping(self, node: MappingNode, path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own: dict[str, int] = {}
        for key, value, line, merged in self._pairs(node, path):
            if key in own:
                if not merged:
                    self._mistake((*path, key), f"written twice, first in line {own[key]}; keep one", line)
                continue
            if not merged:
                own[key] = line
            if merged and key in found:
                continue
            found[key] = self._value(value, (*path, key), line)
        return found

    def _pairs(self, node: MappingNode, path: Path_) -> Iterator[tuple[str, Node, int, bool]]:
        """Own keys first, so that they win over those merged in with `<<`."""
        merges = []
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode):
                self._mistake(path, "a key must be text; put values that start with '{' or '[' in quotes", line)
            elif str(key.tag) == _MERGE:
                merges.append(value)
            else:
                yield key.value, value, line, False
        for value in merges:
            yield from self._merged(value, path)

    def _merged(self, value: Node, path: Path_) -> Iterator[tuple[str, Node, int, bool]]:
        for source in value.value if isinstance(value, SequenceNode) else [value]:
            if not isinstance(source, MappingNode) or any(source is outer for outer in self._open):
                self._mistake(path, "'<<' takes a mapping, or a list of mappings", source.start_mark.line + 1)
                continue
            for key, inner, line, _ in self._pairs(source, path):
                yield key, inner, line, True

    def _mistake(self, path: Path_, message: str, line: int | None = None) -> None:
        self._mistakes.append(Mistake(line or self._lines.get(path, 1), path, message))
