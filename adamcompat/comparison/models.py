"""Describe an optimizer by its facts, and find how two of them differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, fields, replace
from typing import Any

from adamcompat.comparison.result import listed
from adamcompat.drive.arguments import canonical
from adamcompat.drive.catalogue import FLOAT64
from adamcompat.drive.driver import Opened
from adamcompat.drive.numpy import Model
from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters, named_numerics
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mapping.vocabulary import STAGES
from adamcompat.schedules import Schedule

# Hyperparameters that describe one thing together: how weights decay.
_DECAYS = ("decoupled_weight_decay", "l2_weight_decay")
# Those that have no effect unless another is set.
_NEEDS = {"ema_momentum": "use_ema", "ema_overwrite_frequency": "use_ema"}
# Those that change how a step is run, and not what it computes.
_WITHOUT_EFFECT = ("use_locking", "lazy", "offload")


def model_of(opened: Opened) -> Model:
    """Return the facts of an optimizer that is about to be driven."""
    hyper = canonical(opened.adapter, opened.native)
    values = {name: hyper.values[name] for name in hyper.values if MAPPING.canonical[name].scope == "hyperparameter"}
    own = dict(opened.own)
    numerics = own.pop("numerics", None) or own_numerics(opened)
    if own.pop("fused", None):
        numerics = MAPPING.dialects["tf26"].numerics
    # What an optimizer would leave out without them is refused when it is opened.
    own.pop("corrections", None)
    facts = {fact.name: fact for dialect in MAPPING.dialects.values() for fact in dialect.facts}
    for name, value in own.items():
        values[facts[name].canonical] = value
    groups = opened.groups.groups if opened.groups is not None else ()
    return Model(opened.dialect, replace(hyper, values=values), named_numerics(numerics, opened.adapter), groups)


def own_numerics(opened: Opened) -> str:
    """Return the name in mapping.yaml of the rounding of an optimizer that is not told how to round."""
    if opened.entry.name == FLOAT64:
        return "canonical"
    if opened.entry.adapter is None:
        return opened.dialect.numerics
    default = opened.entry.framework.load("drive").own_keywords(opened.entry).get("numerics")
    return opened.dialect.numerics if default is None else str(default)


@dataclass(frozen=True, slots=True)
class Difference:
    """Hold one fact in which two optimizers differ.

    Attributes:
        name: the canonical parameter, ``weight_decay``, ``stages``, or ``numerics.`` and a field.
        here: what it is on the first side, as text.
        there: what it is on the second side, as text.
        apply: gives a model the other side's fact.
        weights: the names of those that it concerns; empty where it concerns all of them.
    """

    name: str
    here: str
    there: str
    apply: Callable[[Model], Model]
    weights: tuple[str, ...] = ()


def differences(here: Model, there: Model, names: Sequence[str]) -> list[Difference]:
    """Return all facts in which two models differ, and that have an effect.

    Args:
        here: the model of the first optimizer.
        there: the model of the second one; either both are grouped or none, see `spread`.
        names: of the weights.

    Returns:
        Hyperparameters first, then what differs from weight to weight, the stages and forms, and the rounding. Each can
        give a model the fact of `there`.
    """
    weights = _of_groups(here, there, names) if here.groups else _decay(here, there)
    return [*_hyperparameters(here, there), *weights, *_stages(here, there), *_numerics(here, there)]


def spread(model: Model, names: Sequence[str]) -> Model:
    """Return the same model with a group for each weight, so that nothing is left to names and shared values.

    What has groups can be compared with what has others, or none.

    Args:
        model: with groups or without any.
        names: of the weights.
    """
    skips = () if model.groups else model.dialect.semantics.decay_skips
    nothing = Schedule(0.0, "weight_decay")
    shared, kind = model.hyper.schedules, _grouped_decay(model.dialect)
    groups = model.groups or (Group(),) * len(names)
    return replace(
        model,
        groups=tuple(
            Group(
                group.learning_rate or shared["learning_rate"],
                nothing if any(part in name for part in skips) else group.weight_decay or shared.get(kind, nothing),
                group.centralize,
            )
            for group, name in zip(groups, names, strict=True)
        ),
    )


def _grouped_decay(dialect: Dialect) -> str:
    """Return the kind of decay that groups of weights hold: what a dialect with groups has, else that of L2."""
    grouped = any(fact.canonical == "group_weight_decay" for fact in dialect.groups)
    return _DECAYS[0] if grouped and "l2_decay" not in dialect.stages else _DECAYS[1]


def told(values: Sequence[Any], names: Sequence[str]) -> str:
    """Return one value for each weight as text, for people.

    Args:
        values: one for each weight.
        names: of the weights.

    >>> told([0.1, 0.1, 0.2], ["a", "b", "c"])
    '0.1 (a, b) and 0.2 (c)'
    """
    which: dict[str, list[str]] = {}
    for value, name in zip(values, names, strict=True):
        which.setdefault(shown(value), []).append(name)
    if len(which) == 1:
        return next(iter(which))
    return " and ".join(f"{value} ({listed(names)})" for value, names in which.items())


def effective(model: Model | None, names: Sequence[str]) -> dict[str, str]:
    """Return the hyperparameters that have an effect, by canonical names, as text; none where they are unknown.

    Args:
        model: the facts of the optimizer; None where they are unknown.
        names: of the weights.
    """
    if model is None:
        return {}
    neutral = {name: entry.neutral for name, entry in MAPPING.canonical.items()}
    idle = set() if model.hyper["use_ema"] else set(_NEEDS)
    values = dict(model.hyper.values)
    if model.groups:
        groups = spread(model, names).groups
        values["learning_rate"] = told([group.learning_rate for group in groups], names)
        values[_grouped_decay(model.dialect)] = told([group.weight_decay for group in groups], names)
        values["group_centralization"] = told([group.centralize for group in groups], names)
    return {
        name: text
        for name, value in values.items()
        if name not in idle and (text := shown(value)) not in (shown(neutral[name]), "0")
    }


def shown(value: Any) -> str:
    """Return a value as a reader wants it."""
    if isinstance(value, Schedule):
        value = value.given
    if isinstance(value, AbstractMapping):
        # A group; its lists are short, and tell it from another.
        own = (
            f"{key!r}: {entry if isinstance(entry, (list, tuple)) else shown(entry)}" for key, entry in value.items()
        )
        return f"{{{', '.join(own)}}}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        grouped = bool(value) and all(isinstance(entry, AbstractMapping) for entry in value)
        return f"[{', '.join(map(shown, value))}]" if grouped else f"a list of {len(value)}"
    return "a callable" if callable(value) else str(value)


def _same(one: Any, other: Any) -> bool:
    one, other = (value.given if isinstance(value, Schedule) else value for value in (one, other))
    return one is other or bool(one == other)


def _with(model: Model, other: Model, names: tuple[str, ...]) -> Model:
    values, schedules = dict(model.hyper.values), dict(model.hyper.schedules)
    for name in names:
        values[name] = other.hyper.values[name]
        schedules.pop(name, None)
        if name in other.hyper.schedules:
            schedules[name] = other.hyper.schedules[name]
    return replace(model, hyper=Hyperparameters(values, schedules, model.hyper.native))


def _hyperparameters(here: Model, there: Model) -> list[Difference]:
    found = []
    for name, mine in here.hyper.values.items():
        theirs = there.hyper.values[name]
        needs = _NEEDS.get(name)
        # What only one side uses comes and goes with the fact that makes it used.
        idle = needs is not None and not (here.hyper[needs] and there.hyper[needs])
        grouped = here.groups and name == "learning_rate"
        if idle or grouped or name in _DECAYS or name in _WITHOUT_EFFECT or _same(mine, theirs):
            continue
        together = (name, *(other for other, needed in _NEEDS.items() if needed == name))

        def apply(model: Model, names: tuple[str, ...] = together) -> Model:
            return _with(_with_stage(model, there, names[0]), there, names)

        found.append(Difference(name, shown(mine), shown(theirs), apply))
    return found


def _of_groups(here: Model, there: Model, names: Sequence[str]) -> list[Difference]:
    """Return what may differ from weight to weight: for each fact the weights that differ in it."""

    def regrouped(model: Model, field: str) -> Model:
        pairs = zip(model.groups, there.groups, strict=True)
        return replace(model, groups=tuple(replace(mine, **{field: getattr(other, field)}) for mine, other in pairs))

    def rates(model: Model) -> Model:
        return regrouped(model, "learning_rate")

    def decays(model: Model) -> Model:
        return regrouped(_with_decay(model, there), "weight_decay")

    def centralization(model: Model) -> Model:
        stages = completed_stages(model.dialect)
        return regrouped(replace(model, dialect=replace(model.dialect, stages=stages)), "centralize")

    def decay_of(model: Model, group: Group) -> str:
        held = {_grouped_decay(model.dialect): group.weight_decay}
        return _decay_text(*(held.get(name, model.hyper[name]) for name in _DECAYS))

    found = []
    facts: list[tuple[str, Callable[[Model], Model], Callable[[Model, Group], Any]]] = [
        ("learning_rate", rates, lambda model, group: group.learning_rate),
        ("weight_decay", decays, decay_of),
        ("group_centralization", centralization, lambda model, group: group.centralize),
    ]
    for name, apply, fact in facts:
        both = [
            (fact(here, mine), fact(there, other), label)
            for mine, other, label in zip(here.groups, there.groups, names, strict=True)
        ]
        differing = [(mine, other, label) for mine, other, label in both if not _same(mine, other)]
        if differing:
            mine, theirs, which = (list(side) for side in zip(*differing, strict=True))
            weights = tuple(which) if len(differing) < len(both) else ()
            found.append(Difference(name, told(mine, which), told(theirs, which), apply, weights))
    return found


def _decay_text(*values: Any) -> str:
    """Return both kinds of decay as text; they are given in the order of `_DECAYS`."""
    pairs = zip(_DECAYS, values, strict=True)
    found = [f"{name.removesuffix('_weight_decay')} {shown(value)}" for name, value in pairs if _asked_for(value)]
    return " and ".join(found) or "none"


def _asked_for(value: Any) -> bool:
    """Return whether a decay is more than nothing."""
    return bool(value.given if isinstance(value, Schedule) else value)


def _decay_of(model: Model) -> str:
    text = _decay_text(*(model.hyper[name] for name in _DECAYS))
    skips = model.dialect.semantics.decay_skips
    return f"{text} (not of names with {' or '.join(skips)})" if skips and text != "none" else text


def _with_decay(model: Model, other: Model) -> Model:
    changed = _with(model, other, _DECAYS)
    semantics = replace(changed.dialect.semantics, decay_skips=other.dialect.semantics.decay_skips)
    # Where the decay of a step is a number of its own, one stage alone may read it; groups say which.
    stages = completed_stages(changed.dialect, _grouped_decay(other.dialect))
    dialect = replace(changed.dialect, semantics=semantics, stages=stages, groups=other.dialect.groups)
    return replace(changed, dialect=dialect)


def _decay(here: Model, there: Model) -> list[Difference]:
    mine, theirs = _decay_of(here), _decay_of(there)
    if mine == theirs:
        return []
    return [Difference("weight_decay", mine, theirs, lambda model: _with_decay(model, there))]


def completed_stages(dialect: Dialect, grouped: str | None = None) -> tuple[str, ...]:
    """Return a dialect's stages with decay and centralization, where they stand in the dialects that have them.

    Args:
        dialect: the dialect.
        grouped: the kind of decay that groups may hold; None means the dialect's own.
    """
    stages = [stage for stage in dialect.stages if stage != "l2_decay"]
    first = stages.index("deduplicate") + 1 if "deduplicate" in stages else 0
    l2 = (grouped or _grouped_decay(dialect)) == _DECAYS[1]
    if l2:
        stages.insert(dialect.stages.index("l2_decay") if "l2_decay" in dialect.stages else first, "l2_decay")
    if "centralize" not in stages:
        stages.insert(stages.index("l2_decay") + 1 if l2 else first, "centralize")
    if "decoupled_decay" not in stages:
        stages.insert(stages.index("update"), "decoupled_decay")
    return tuple(stages)


def _with_stage(model: Model, other: Model, name: str) -> Model:
    """Return a model with the stage of a hyperparameter, where the stage stands in the other's dialect."""
    dialect, theirs = model.dialect, other.dialect.stages
    stage = next((stage for stage, needed in STAGES.items() if needed == name), None)
    if stage is None or stage in dialect.stages or stage not in theirs:
        return model
    before = [known for known in theirs[: theirs.index(stage)] if known in dialect.stages]
    at = dialect.stages.index(before[-1]) + 1 if before else 0
    semantics = dialect.semantics
    if stage == "average":
        semantics = replace(semantics, average_start=other.dialect.semantics.average_start)
    stages = (*dialect.stages[:at], stage, *dialect.stages[at:])
    return replace(model, dialect=replace(dialect, stages=stages, semantics=semantics))


def _active(model: Model) -> list[str]:
    """Return the stages that do something, in their order."""

    def works(stage: str) -> bool:
        name = STAGES[stage]
        if name is None or name in _DECAYS:
            return name is not None and _asked_for(model.hyper[name])
        return not _same(model.hyper[name], MAPPING.canonical[name].neutral)

    return [stage for stage in model.dialect.stages if works(stage)]


def _stages(here: Model, there: Model) -> list[Difference]:
    found = []
    mine, theirs = _active(here), _active(there)
    if mine != theirs and sorted(mine) == sorted(theirs):

        def reorder(model: Model) -> Model:
            return replace(model, dialect=replace(model.dialect, stages=completed_stages(there.dialect)))

        found.append(Difference("stages", ", ".join(mine), ", ".join(theirs), reorder))
    one, other = here.dialect.semantics.average_start, there.dialect.semantics.average_start
    if one != other and here.hyper["use_ema"] and there.hyper["use_ema"]:

        def start(model: Model) -> Model:
            semantics = replace(model.dialect.semantics, average_start=other)
            return replace(model, dialect=replace(model.dialect, semantics=semantics))

        found.append(Difference("average_start", one, other, start))
    for name, label in (("epsilon", "form of epsilon"), ("bias_correction", "bias correction")):
        mine, theirs = getattr(here.dialect.semantics, name), getattr(there.dialect.semantics, name)
        if mine != theirs:

            def form(model: Model, name: str = name, value: Any = theirs) -> Model:
                semantics = replace(model.dialect.semantics, **{name: value})
                return replace(model, dialect=replace(model.dialect, semantics=semantics))

            found.append(Difference(label, mine, theirs, form))
    return found


def _numerics(here: Model, there: Model) -> list[Difference]:
    found = []
    for entry in fields(Numerics):
        mine, theirs = getattr(here.numerics, entry.name), getattr(there.numerics, entry.name)
        if entry.name in ("name", "about", "extends") or mine == theirs:
            continue

        def apply(model: Model, name: str = entry.name, value: Any = theirs) -> Model:
            return replace(model, numerics=replace(model.numerics, **{name: value}))

        found.append(Difference(f"numerics.{entry.name}", mine, theirs, apply))
    return found
