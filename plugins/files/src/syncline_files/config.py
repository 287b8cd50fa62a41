"""What an admin writes: which files, how they are written, and how a row becomes an event."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from ruamel.yaml import YAML

from syncline.errors import did_you_mean
from syncline.model import EVENT_TYPES
from syncline.sdk import ConnectorConfig

__all__ = ["POSITION", "Columns", "FileFormat", "FilesConfig", "Moment", "Piece", "Scalar", "Value"]

FileFormat = Literal["csv", "jsonl", "parquet"]
Kind = Literal["text", "number", "boolean"]
Scalar = str | int | float | bool | None

POSITION: Final = ("_file", "_line")
"""Columns every row has: the file it stands in, and its line there (for Parquet, its row)."""

_DIALECTS: Final = {"italian": "italian.yaml"}


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _text_keys(table: Any) -> Any:
    """YAML reads `1: x` and `true: x` as a number and a boolean; a cell is text."""
    if not isinstance(table, Mapping):
        return table
    return {str(key).lower() if isinstance(key, bool) else str(key): value for key, value in table.items()}


ColumnNames = Annotated[tuple[str, ...], BeforeValidator(_names)]
ValueTable = Annotated[dict[str, Scalar], BeforeValidator(_text_keys)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class Value(_Part):
    """Where a value comes from. A bare name means `{column: name}`, a list `{column: [first, else second]}`.

    `values` translates what the column holds (null: says nothing), `otherwise` is for what it does not list; without
    `otherwise` the value is taken as it stands.
    """

    column: ColumnNames = Field(default=(), description="The column; of several, the first that is filled.")
    value: Scalar = Field(default=None, description="A constant, instead of a column.")
    values: ValueTable = Field(default_factory=dict, description="What the column holds → what it means.")
    otherwise: Scalar = Field(default=None, description="What everything else means; null: nothing.")
    kind: Kind | None = Field(default=None, alias="as", description="text, number or boolean; for `custom` events.")
    share: bool = Field(default=False, description="A number, divided equally among the events of `repeat`.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"column": data} if isinstance(data, str | list | tuple) else data

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.column) == ("value" in self.model_fields_set):
            raise ValueError("give either `column` or `value`")
        return self

    @property
    def keeps_others(self) -> bool:
        """A value that the table does not list is taken as it stands."""
        return "otherwise" not in self.model_fields_set


class EventType(Value):
    """The type of the event. A bare name is the type itself: every row is one.

    Of several columns, the first that holds a type counts. Rows whose type is null in `values` are no events.
    """

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"value": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _known_types(self) -> Self:
        constants = () if self.column else (self.value,)
        for name in (*constants, *filter(None, self.values.values())):
            if name not in EVENT_TYPES:
                raise ValueError(f"there is no event type {name!r}; {did_you_mean(str(name), EVENT_TYPES)}")
        return self


class Moment(_Part):
    """When it happened: a column (the first filled of several), several joined by a space, or one fixed moment.

    `format` is iso8601, epoch_s, epoch_ms, or a strptime pattern; `timezone` is for moments that do not say theirs.
    """

    column: ColumnNames = Field(default=(), description="The column; of several, the first that is filled.")
    join: tuple[str, ...] = Field(default=(), description="Columns to join by a space, such as [date, time].")
    value: datetime | None = Field(default=None, description="One moment for every row, with its time zone.")
    format: str = Field(default="iso8601", description="iso8601, epoch_s, epoch_ms, or a strptime pattern.")
    timezone: str | None = Field(default=None, description="Such as Europe/Rome, for moments that do not say theirs.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        return {"column": data} if isinstance(data, str | list | tuple) else data

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"there is no time zone {name!r}; give an IANA name such as Europe/Rome") from None
        return name

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if sum((bool(self.column), bool(self.join), self.value is not None)) != 1:
            raise ValueError("give one of `column`, `join` and `value`")
        if self.value is not None and self.value.tzinfo is None:
            raise ValueError("`value` has no time zone; write 1998-01-01T00:00:00Z")
        if self.format in ("iso8601", "epoch_s", "epoch_ms"):
            return self
        if "%" not in self.format:
            raise ValueError("`format` is iso8601, epoch_s, epoch_ms, or a strptime pattern such as '%d/%m/%Y %H:%M'")
        if not self.timezone and "%z" not in self.format:
            raise ValueError("this `format` reads no time zone; add `timezone`, such as Europe/Rome")
        return self


class Piece(_Part):
    """One kind of event that a row stands for, where a row stands for several.

    What it does not say it has from the mapping around it; `properties` add to those there.
    """

    name: str = Field(description="Part of the event's id: do not rename it once events are stored.")
    when: str | None = Field(default=None, description="Only if this column is filled, and not 0 or false.")
    repeat: str | None = Field(default=None, description="As many events as this column says.")
    type: EventType | None = Field(default=None, description="The type, if it is not that of the row.")
    at: Moment | None = Field(default=None, description="When, if it is not when the row says.")
    properties: dict[str, Value] = Field(default_factory=dict, description="Property of the event → column.")


class Columns(_Part):
    """How a row becomes an event."""

    type: EventType = Field(description="What kind of event a row is.")
    at: Moment = Field(description="When it happened.")
    identifiers: dict[str, Value] = Field(
        min_length=1,
        description="Namespace → column: `email`, `shop:customer`; a name without a colon is this connection's own.",
    )
    properties: dict[str, Value] = Field(default_factory=dict, description="Property of the event → column.")
    profile: dict[str, Value] = Field(default_factory=dict, description="Attribute of the person → column.")
    id: ColumnNames = Field(default=(), description="The columns that name a row. Default: all it says, and how often.")
    explode: tuple[Piece, ...] = Field(default=(), description="The events of a row, if it stands for several.")

    def shapes(self) -> Iterator[Self]:
        """One mapping for each kind of event of a row, without `explode`."""
        for piece in self.explode:
            own = {name: getattr(piece, name) for name in ("type", "at") if getattr(piece, name) is not None}
            both = {**self.properties, **piece.properties}
            yield self.model_copy(update={**own, "properties": both, "explode": ()})
        if not self.explode:
            yield self

    @model_validator(mode="after")
    def _known_properties(self) -> Self:
        for shape in self.shapes():
            types = [str(shape.type.value)] if not shape.type.column else list(EVENT_TYPES)
            known = {name for type_ in types for name in EVENT_TYPES[type_]}
            for name in shape.properties:
                if name not in known and "custom" not in types:
                    raise ValueError(f"{' or '.join(types)} has no property {name!r}; {did_you_mean(name, known)}")
        return self

    @model_validator(mode="after")
    def _distinct_pieces(self) -> Self:
        names = [piece.name for piece in self.explode]
        if len(set(names)) < len(names):
            raise ValueError("two entries of `explode` have the same name; each name is part of its events' ids")
        return self


class FilesConfig(ConnectorConfig):
    """Settings of a `files` connection."""

    path: Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1)] = Field(
        description="A file, a pattern such as exports/visits-*.csv.gz, or a list of them."
    )
    format: Literal["auto", "csv", "jsonl", "parquet"] = Field(
        default="auto", description="How the files are written; auto: what their names end in says it."
    )
    delimiter: str = Field(
        default="auto", description="One character, `tab` or `whitespace`; auto: a tab for .tsv, else a comma."
    )
    encoding: str = Field(default="utf-8", description="Of text: utf-8, cp1252, latin-1, …")
    header: Literal[True] | tuple[str, ...] = Field(
        default=True, description="CSV: true if the first line names the columns, else their names."
    )
    decimal: Literal[".", ","] = Field(default=".", description="The decimal sign of numbers written as text.")
    growing: bool = Field(
        default=True, description="Files may still be written: a last line without an end waits for the next read."
    )
    page_rows: int = Field(default=2000, ge=1, le=50_000, description="Rows handed over at a time.")
    dialect: Literal["italian"] | None = Field(default=None, description="A mapping that comes with syncline.")
    columns: Columns = Field(description="How a row becomes an event; with `dialect`, what differs from it.")

    @model_validator(mode="before")
    @classmethod
    def _from_dialect(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("dialect") not in _DIALECTS:
            return data
        own = data.get("columns") or {}
        return {**data, "columns": _merged(_dialect(data["dialect"]), own) if isinstance(own, Mapping) else own}

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if delimiter in ("auto", "tab", "whitespace") or (len(delimiter) == 1 and delimiter not in '"\r\n'):
            return delimiter
        raise ValueError("`delimiter` is one character, `tab` or `whitespace`")

    @field_validator("encoding")
    @classmethod
    def _lines_are_bytes(cls, encoding: str) -> str:
        try:
            name = codecs.lookup(encoding).name
        except LookupError:
            raise ValueError(f"there is no encoding {encoding!r}; common ones: utf-8, cp1252, latin-1") from None
        if name != "utf-8-sig" and "a\n".encode(name) != b"a\n":
            raise ValueError(f"{encoding} does not end lines with a single byte; convert the file to UTF-8")
        return "utf-8" if name == "utf-8-sig" else name

    @field_validator("header")
    @classmethod
    def _named_columns(cls, header: Literal[True] | tuple[str, ...]) -> Any:
        if header is not True and (not header or len(set(header)) < len(header)):
            raise ValueError("`header` is true, or the names of the columns, each once")
        return header


@cache
def _dialect(name: str) -> Mapping[str, Any]:
    text = resources.files("syncline_files").joinpath(_DIALECTS[name]).read_text(encoding="utf-8")
    table: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return table


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`: identifiers, properties and profile name by name, the rest as a whole."""
    merged = {**base, **own}
    for part in ("identifiers", "properties", "profile"):
        if isinstance(own.get(part), Mapping):
            merged[part] = {**base.get(part, {}), **own[part]}
    return merged
