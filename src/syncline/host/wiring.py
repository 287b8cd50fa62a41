"""From the validated configuration to the values the rooms work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from decimal import Decimal
from typing import Any

from syncline.actions.tasks import TaskText, check_template, text
from syncline.config import ActionConfig, Config, FieldMapping, KindInfo, Rooms, SyncConfig
from syncline.config import Guard as GuardConfig
from syncline.events.classify import Classifier, ClassifyRules
from syncline.host.plugins import Plugins
from syncline.model import Limits
from syncline.people import Basis, ConsentRules, IdentityRules
from syncline.scoring import presets
from syncline.scoring.model import parse_model
from syncline.sdk import Sink, Source, capabilities
from syncline.segments import parse_segments
from syncline.sync.plan import ActionRule
from syncline.sync.target import FieldMap, Guard, Target

__all__ = ["action_rules", "classifiers", "consent_rules", "identity_rules", "kinds", "rooms", "targets"]


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


def targets(
    config: Config,
    limits: Mapping[str, Limits],
    only: Set[str] | None = None,
    *,
    bands: Mapping[str, Sequence[str]],
) -> list[Target]:
    """One target a CRM connection: all its syncs together. `bands` are the names of each score's bands.

    With `only`, just the connections of these syncs. The mappings of others to them are still read, not written: the
    mirror always holds the same fields, whatever is run.
    """
    by_connection: dict[str, list[SyncConfig]] = {}
    for sync in config.syncs:
        by_connection.setdefault(sync.to, []).append(sync)
    return [
        _target(syncs, limits[name], only, bands)
        for name, syncs in by_connection.items()
        if only is None or any(sync.name in only for sync in syncs)
    ]


def _target(
    syncs: Sequence[SyncConfig], limits: Limits, only: Set[str] | None, bands: Mapping[str, Sequence[str]]
) -> Target:
    first = syncs[0]  # the configuration sees to it that all of them say the same of records and creation
    run = [sync for sync in syncs if only is None or sync.name in only]
    return Target(
        connection=first.to,
        objects=first.objects,
        match=first.match,
        create=first.when_missing == "create",
        recreate=first.when_deleted == "create",
        fields=tuple(
            _field(name, mapping, bands, sync.purpose, written=sync in run)
            for sync in syncs
            for name, mapping in sync.fields.items()
        ),
        limits=limits,
        create_if=_worth(first),
        create_with=first.create_if.identifier if first.create_if else "email",
        segments={segment: kept.name for sync in run for segment, kept in sync.lists.items()},
        list_purposes=_list_purposes(syncs),
        guard=_guard(syncs),
        staged=_staged(syncs),
    )


def _worth(sync: SyncConfig) -> tuple[str, Decimal] | None:
    condition = sync.create_if
    if condition is None or condition.score is None or condition.at_least is None:
        return None
    return condition.score, condition.at_least


def _staged(syncs: Sequence[SyncConfig]) -> bool:
    """What any of the syncs says, the default where all are silent."""
    said = {sync.first_run for sync in syncs if "first_run" in sync.model_fields_set}
    return said != {"whole"}


def _guard(syncs: Sequence[SyncConfig]) -> Guard:
    """What any of the syncs says, the default where all are silent."""
    said = {name: getattr(sync.guard, name) for sync in syncs for name in sync.guard.model_fields_set}
    return Guard(**{**dict(GuardConfig()), **said})


def _list_purposes(syncs: Sequence[SyncConfig]) -> dict[str, frozenset[str]]:
    """What each list is kept for, whichever syncs keep it."""
    kept = [kept for sync in syncs for kept in sync.lists.values()]
    return {one.name: frozenset(k.purpose for k in kept if k.name == one.name and k.purpose) for one in kept}


def consent_rules(config: Config) -> ConsentRules:
    """What things are written for, and what withdraws it."""
    purposes = {name: Basis(purpose.basis) for name, purpose in config.consent.purposes.items()}
    return ConsentRules(purposes, frozenset(config.consent.unsubscribed))


def _field(
    name: str, mapping: FieldMapping, bands: Mapping[str, Sequence[str]], purpose: str | None, *, written: bool
) -> FieldMap:
    when = mapping.write_when
    return FieldMap(
        name=name,
        policy=mapping.policy or "ours",
        origin=mapping.origin,
        to=mapping.attribute,
        default=mapping.default,
        moves=when.moves if when else None,
        or_band=bool(when and when.or_ == "band"),
        values=_values(mapping, bands),
        written=written,
        consent=mapping.consent,
        purpose=(mapping.purpose or purpose) if mapping.origin is not None else None,
    )


def _values(mapping: FieldMapping, bands: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    origin = mapping.origin
    known = bands[origin.name] if origin is not None and origin.part == "band" else ()
    return (*known, mapping.default) if isinstance(mapping.default, str) else tuple(known)


def action_rules(config: Config) -> list[ActionRule]:
    """One rule for each CRM that an action's task goes to."""
    return [_rule(config, action, name) for action in config.actions for name in action.task.connections]


def _rule(config: Config, action: ActionConfig, connection: str) -> ActionRule:
    task = action.task
    return ActionRule(
        name=action.label,
        rule=action.when.rule,
        on=action.when.transition,
        connection=connection,
        text=_words(action),
        due=task.due,
        score=config.task_score(action),
        priority=None if task.priority == "from_score" else task.priority,
        owner=task.owner,
        purpose=task.purpose,
    )


def _words(action: ActionConfig) -> TaskText:
    task = action.task
    shipped = text(task.text) if task.text else TaskText("en", "", "", "")
    return TaskText(shipped.language, task.subject or shipped.subject, task.body or shipped.body, shipped.nothing)
