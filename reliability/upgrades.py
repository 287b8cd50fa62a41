"""Next versions of a connector: each changes one thing that stored data depend on, or adds one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from pydantic import create_model
from pydantic.fields import FieldInfo

from syncline.errors import CursorExpiredError, RecordError
from syncline.sdk import ConnectorConfig

__all__ = ["ADDITIONS", "Change", "breaks_of"]

Connector = type[Any]


@dataclass(frozen=True, slots=True)
class Change:
    """`of` makes the next version of a connector class."""

    name: str
    of: Callable[[Connector], Connector]


def _with(name: str, **members: Any) -> Change:
    return Change(name, lambda kind: type(kind.__name__, (kind,), members))


def _calling(name: str, **wrappers: Callable[..., Any]) -> Change:
    """Each method is replaced by `wrapper(that of the version before, *arguments)`."""

    def of(kind: Connector) -> Connector:
        def method(wrapper: Callable[..., Any], before: Callable[..., Any]) -> Callable[..., Any]:
            return lambda self, *arguments: wrapper(lambda *given: before(self, *given), *arguments)

        made = {each: method(wrap, getattr(kind, each)) for each, wrap in wrappers.items() if hasattr(kind, each)}
        return type(kind.__name__, (kind,), made)

    return Change(name, of)


# Settings


def _settings(name: str, change: Callable[[dict[str, tuple[Any, Any]]], None]) -> Change:
    """The same settings but for what `change` does to them; only their description matters here."""

    def of(kind: Connector) -> Connector:
        fields: dict[str, Any] = {n: (f.annotation, f) for n, f in kind.config_model.model_fields.items()}
        change(fields)
        model = create_model(kind.config_model.__name__, __base__=ConnectorConfig, **fields)
        return type(kind.__name__, (kind,), {"config_model": model})

    return Change(name, of)


def _broken_settings(fields: Mapping[str, FieldInfo]) -> Iterator[Change]:
    yield _settings("a new required setting", lambda f: f.update(region=(str, ...)))
    for name, field in fields.items():
        yield _settings(f"{name} removed", lambda f, n=name: f.pop(n))  # type: ignore[misc]
        yield _settings(f"{name} renamed", lambda f, n=name: f.update({f"{n}_2": f.pop(n)}))  # type: ignore[misc]
        yield _settings(f"{name} retyped", lambda f, n=name: f.update({n: (dict[str, dict[str, int]], ...)}))  # type: ignore[misc]
        if field.is_required():
            continue
        yield _settings(f"{name} now required", lambda f, n=name: f.update({n: (f[n][0], ...)}))  # type: ignore[misc]
        other = _another(field.default)
        if other is not None:
            yield _settings(f"another default of {name}", lambda f, n=name, o=other: f.update({n: (f[n][0], o)}))  # type: ignore[misc]


def _another(default: Any) -> Any:
    """Another value of the same type; None for what has no other."""
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float | timedelta):
        return default + type(default)(1)  # type: ignore[operator]  # each of them adds to its own kind
    return f"{default}2" if isinstance(default, str) else None


# Sources


def _new_cursors_only(before: Any, stream: str, cursor: str | None) -> Iterator[Any]:
    if cursor is not None and not cursor.startswith("v2:"):
        raise CursorExpiredError("not a cursor of this version")
    yield from _new_cursors_too(before, stream, cursor)


def _new_cursors_too(before: Any, stream: str, cursor: str | None) -> Iterator[Any]:
    for page in before(stream, cursor and cursor.removeprefix("v2:")):
        yield replace(page, cursor=page.cursor and f"v2:{page.cursor}")


def _read_as_the_end(before: Any, stream: str, cursor: str | None) -> Iterator[Any]:
    yield from () if cursor else before(stream, cursor)


def _other_keys(before: Any, stream: str, cursor: str | None) -> Iterator[Any]:
    for page in before(stream, cursor):
        yield replace(page, records=[replace(raw, key=f"2/{raw.key}") for raw in page.records])


def _other_ids(before: Any, raw: Any) -> Iterator[Any]:
    yield from (replace(event, id=f"{event.id}2") for event in before(raw))


def _other_type(before: Any, raw: Any) -> Iterator[Any]:
    yield from (replace(event, type="custom", properties={"name": event.type}) for event in before(raw))


def _refuses_old_records(before: Any, raw: Any) -> Iterator[Any]:
    if "v" not in raw.payload:
        raise RecordError("a record of another version")
    yield from before(replace(raw, payload={n: v for n, v in raw.payload.items() if n != "v"}))


def _marked(before: Any, stream: str, cursor: str | None) -> Iterator[Any]:
    for page in before(stream, cursor):
        yield replace(page, records=[replace(raw, payload={**raw.payload, "v": 2}) for raw in page.records])


def _fewer_events(before: Any, raw: Any) -> Iterator[Any]:
    yield from list(before(raw))[1:]


def _more_events(before: Any, raw: Any) -> Iterator[Any]:
    for event in before(raw):
        yield event
        yield replace(event, id=f"{event.id}-more", type="custom", properties={"name": "more"})


_SOURCE: Final = (
    _calling("refuses the cursors of before", read=_new_cursors_only),
    _calling("takes a cursor of before for the end", read=_read_as_the_end),
    _calling("other keys of raw records", read=_other_keys),
    _calling("other ids of events", normalize=_other_ids),
    _calling("other types of events", normalize=_other_type),
    _calling("an event less", normalize=_fewer_events),
    _calling("no longer understands stored records", normalize=_refuses_old_records, read=_marked),
    Change("no streams any longer", lambda kind: type(kind.__name__, (kind,), {"streams": ()})),
    Change("a stream less", lambda kind: type(kind.__name__, (kind,), {"streams": tuple(kind.streams)[1:]})),
)


# Sinks


def _described(change: Callable[[Any], Any]) -> Callable[..., Any]:
    def describe(before: Any, object: str) -> list[Any]:
        return [found for field in before(object) if (found := change(field)) is not None]

    return describe


def _field(name: str, change: Callable[[Any], Any], which: str) -> Change:
    return _calling(f"{which} {name}", describe=_described(lambda f: change(f) if f.name == which else f))


def _new_positions_only(before: Any, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[Any]:
    if cursor is not None and not cursor.startswith("v2:"):
        raise CursorExpiredError("not a position of this version")
    yield from _new_positions_too(before, object, fields, cursor)


def _new_positions_too(before: Any, object: str, fields: Sequence[str], cursor: str | None) -> Iterator[Any]:
    for page in before(object, fields, cursor and cursor.removeprefix("v2:")):
        yield replace(page, cursor=page.cursor and f"v2:{page.cursor}")


def _position_as_the_end(before: Any, object: str, fields: Any, cursor: str | None) -> Iterator[Any]:
    yield from () if cursor else before(object, fields, cursor)


def _other_refs(before: Any, object: str, fields: Any, cursor: str | None) -> Iterator[Any]:
    for page in before(object, fields, cursor):
        longer = [replace(r, ref=replace(r.ref, id=f"{object}/{r.ref.id}")) for r in page.records]
        yield replace(page, records=longer)


def _prefixed(before: Any, needed: Any, segments: Sequence[str]) -> Any:
    return before(needed, [f"s: {name}" for name in segments])


def _keeps_task_keys_elsewhere(kind: Connector) -> Connector:
    def made(self: Any, *arguments: Any) -> None: ...

    def task_fields(self: Any) -> tuple[Any, ...]:
        return tuple(
            replace(s, name=s.name.replace("Key", "Code").replace("key", "code")) for s in vars(self)["task_fields"]
        )

    return type(kind.__name__, (kind,), {"task_fields": property(task_fields, made)})


_SINK: Final = (
    _calling("refuses the positions of before", changes=_new_positions_only),
    _calling("takes a position of before for the end", changes=_position_as_the_end),
    _calling("other ids of records", changes=_other_refs),
)


def _sink_breaks(kit: Any) -> Iterator[Change]:
    fields = dict.fromkeys((kit.match, kit.text_field, *(spec.name for spec in kit.format_fields)))
    for name in fields:
        yield _field("described no longer", lambda _: None, name)
        yield _field("of another kind", lambda f: replace(f, kind="reference"), name)
        yield _field("shorter", lambda f: replace(f, max_length=1, scale=-1), name)
    yield _field("no longer unique", lambda f: replace(f, unique=False), kit.match)
    yield _field("no longer writable", lambda f: replace(f, writable=False), kit.text_field)
    if kit.segment:
        yield _calling("segments called otherwise", missing=_prefixed)


# Both


def breaks_of(kit: Any) -> list[Change]:
    """Every breaking change of the connector of this suite."""
    suite = kit()
    suite.setup_method()
    try:
        connector = suite.connect()
        kind = type(connector)
    finally:
        suite.teardown_method()
    found = list(_broken_settings(kind.config_model.model_fields))
    found.append(_with("called otherwise", kind=f"{kind.kind}-2"))
    methods = ("read", "receive", "create_tasks", "close_tasks", "set_members")
    had = [method for method in methods if callable(getattr(kind, method, None))]
    found += [_with(f"no {method} any longer", **{method: None}) for method in had]
    if kit._kit == "source":
        return [*found, *_SOURCE]
    if hasattr(kind, "create_tasks"):
        found.append(Change("task keys kept elsewhere", _keeps_task_keys_elsewhere))
    return [*found, *_SINK, *_sink_breaks(kit)]


def _more_settings(fields: dict[str, tuple[Any, Any]]) -> None:
    fields["color"] = (str | None, None)


def _looser(fields: dict[str, tuple[Any, Any]]) -> None:
    """What is a switch, or a plain text, may be a number too."""
    for name, (annotation, field) in list(fields.items()):
        if annotation in (bool, str) and not field.metadata:
            fields[name] = (annotation | int, field)


def _more_fields(before: Any, object: str) -> list[Any]:
    fields = list(before(object))
    return [*fields, replace(fields[0], name="Something_new", required=False, unique=False)]


ADDITIONS: Final = (
    Change("nothing", lambda kind: type(kind.__name__, (kind,), {})),
    _settings("an optional setting", _more_settings),
    _settings("settings that take more", _looser),
    _with("a method", a_new_method=lambda _: None),
    _calling("new cursors beside those of before", read=_new_cursors_too, changes=_new_positions_too),
    _calling("further events, further fields", normalize=_more_events, describe=_more_fields),
)
