"""From the validated configuration to the values the rooms work with."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from syncline.actions.tasks import TaskText, check_template, text
from syncline.config import ActionConfig, Config, FieldMapping, KindInfo, Rooms, SyncConfig
from syncline.errors import ConfigError
from syncline.events.classify import Classifier, ClassifyRules
from syncline.host.plugins import Plugins
from syncline.model import Limits
from syncline.people import IdentityRules
from syncline.scoring import presets
from syncline.scoring.model import parse_model
from syncline.sdk import Sink, Source, capabilities
from syncline.segments import parse_segments
from syncline.sync.plan import ActionRule
from syncline.sync.target import FieldMap, Guard, Target

__all__ = ["action_rules", "classifiers", "identity_rules", "kinds", "rooms", "targets"]


def kinds(plugins: Plugins) -> dict[str, KindInfo]:
    """What the configuration needs to know of every installed connector."""
    return {kind: _kind(plugins.connector(kind)) for kind in plugins.kinds}


def _kind(connector: type[Any]) -> KindInfo:
    return KindInfo(
        is_source=issubclass(connector, Source),
        is_sink=issubclass(connector, Sink),
        creates_tasks="create_tasks" in capabilities(connector),
        keeps_segments="set_members" in capabilities(connector),
        config_model=connector.config_model,
    )


def rooms() -> Rooms:
    """The parsers of the pure rooms, for the configuration to check models and segments with."""
    return Rooms(
        presets=presets.names(),
        preset=presets.preset,
        parse_model=parse_model,
        bands=lambda model: [band.name for band in model.bands],
        parse_segments=parse_segments,
        check_template=check_template,
    )


def classifiers(config: Config) -> dict[str, Classifier]:
    return {name: Classifier(_classify_rules(config, name)) for name in config.connections}


def _classify_rules(config: Config, connection: str) -> ClassifyRules:
    rules = config.classify.of(connection)
    return ClassifyRules(
        page_type=rules.page_type,
        form_type=rules.form_type,
        content_type=rules.content_type,
        video=rules.video,
        clicks_count_as=frozenset(rules.clicks_count_as),
    )


def identity_rules(config: Config) -> IdentityRules:
    return IdentityRules(blocked=config.identity.blocked, max_emails=config.identity.max_emails)


def targets(config: Config, limits: Mapping[str, Limits], only: str | None = None) -> list[Target]:
    """One target a CRM connection: all syncs to it (or the one named `only`) together."""
    found: dict[str, Target] = {}
    for sync in config.syncs:
        if only in (None, sync.name):
            found[sync.to] = _join(found.get(sync.to), _target(sync, limits[sync.to]))
    return list(found.values())


def _target(sync: SyncConfig, limits: Limits) -> Target:
    return Target(
        connection=sync.to,
        objects=sync.objects,
        match=sync.match,
        create=sync.when_missing == "create",
        fields=tuple(_field(name, mapping) for name, mapping in sync.fields.items()),
        limits=limits,
        create_if=_worth(sync),
        create_with=sync.create_if.identifier if sync.create_if else "email",
        segments=dict(sync.segments),
        guard=Guard(creates=sync.guard.creates, clears=sync.guard.clears, tasks=sync.guard.tasks),
    )


def _worth(sync: SyncConfig) -> tuple[str, Decimal] | None:
    condition = sync.create_if
    if condition is None or condition.score is None or condition.at_least is None:
        return None
    return condition.score, condition.at_least


def _join(one: Target | None, other: Target) -> Target:
    if one is None:
        return other
    if (one.objects, one.match) != (other.objects, other.match):
        raise ConfigError(
            f"two syncs write to {one.connection}, one to {', '.join(one.objects)} and one to "
            f"{', '.join(other.objects)}: a person is one record there, so give both the same object, also and match"
        )
    return Target(
        connection=one.connection,
        objects=one.objects,
        match=one.match,
        create=one.create or other.create,
        fields=(*one.fields, *other.fields),
        limits=one.limits,
        create_if=one.create_if or other.create_if,
        create_with=one.create_with,
        segments={**one.segments, **other.segments},
        guard=one.guard,
    )


def _field(name: str, mapping: FieldMapping) -> FieldMap:
    when = mapping.write_when
    return FieldMap(
        name=name,
        policy=mapping.policy or "ours",
        origin=mapping.origin,
        to=mapping.attribute,
        default=mapping.default,
        moves=when.moves if when else None,
        or_band=bool(when and when.or_ == "band"),
    )


def action_rules(config: Config) -> list[ActionRule]:
    return [_rule(config, action) for action in config.actions]


def _rule(config: Config, action: ActionConfig) -> ActionRule:
    task = action.task
    return ActionRule(
        name=action.label,
        rule=action.when.rule,
        on=action.when.transition,
        connection=task.to,
        text=_words(action),
        due=task.due,
        score=config.task_score(action),
        priority=None if task.priority == "from_score" else task.priority,
        owner=task.owner,
    )


def _words(action: ActionConfig) -> TaskText:
    task = action.task
    shipped = text(task.text) if task.text else TaskText("en", "", "", "")
    return TaskText(shipped.language, task.subject or shipped.subject, task.body or shipped.body, shipped.nothing)
