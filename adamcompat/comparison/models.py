"""An optimizer by its facts, and how two of them differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any

from adamcompat.drive.arguments import canonical
from adamcompat.drive.catalogue import FLOAT64
from adamcompat.drive.driver import Opened
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.drive import Model
from adamcompat.schedules import Schedule

# Hyperparameters that describe one thing together: how weights decay.
_DECAYS = ("decoupled_weight_decay", "l2_weight_decay")
# Those that have no effect unless another is set.
_NEEDS = {"ema_momentum": "use_ema", "ema_overwrite_frequency": "use_ema"}
# Those that change how a step is run, and not what it computes.
_WITHOUT_EFFECT = ("use_locking", "lazy", "offload")


def model_of(opened: Opened) -> Model:
    """The facts of an optimizer that is about to be driven."""
    hyper = canonical(opened.adapter, opened.native)
    values = {name: hyper.values[name] for name in hyper.values if MAPPING.canonical[name].scope == "hyperparameter"}
    own = dict(opened.own)
    numerics = own.pop("numerics", None) or own_numerics(opened)
    if own.pop("fused", None):
        numerics = MAPPING.dialects["tf26"].numerics
    facts = {fact.name: fact for dialect in MAPPING.dialects.values() for fact in dialect.accepted}
    for name, value in own.items():
        values[facts[name].canonical] = value
    return Model(opened.dialect, replace(hyper, values=values), MAPPING.numerics[numerics])


def own_numerics(opened: Opened) -> str:
    """How an optimizer rounds where it is not told how."""
    if opened.entry.name == FLOAT64:
        return "canonical"
    if opened.entry.adapter is None:
        return opened.dialect.numerics
    default = import_module(opened.entry.module).own_keywords(opened.entry).get("numerics")
    return opened.dialect.numerics if default is None else str(default)


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact in which two optimizers differ.

    Attributes:
        name: the canonical parameter, ``weight_decay``, ``stages``, or ``numerics.`` and a field.
        here, there: what it is on either side.
        apply: gives a model the other side's fact.
    """

    name: str
    here: str
    there: str
    apply: Callable[[Model], Model]

    def __str__(self) -> str:
        return f"{self.name}: {self.here} against {self.there}"


def differences(here: Model, there: Model) -> list[Difference]:
    """All facts in which two models differ, and that have an effect."""
    return [*_hyperparameters(here, there), *_decay(here, there), *_stages(here, there), *_numerics(here, there)]


def shown(value: Any) -> str:
    """A value as a reader wants it."""
    if isinstance(value, Schedule):
        value = value.given
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a callable" if callable(value) else str(value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Schedule) and isinstance(other, Schedule):
        one, other = one.given, other.given
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
        idle = needs is not None and not (here.hyper[needs] or there.hyper[needs])
        if idle or name in _DECAYS or name in _WITHOUT_EFFECT or _same(mine, theirs):
            continue
        together = (name, *(other for other, needed in _NEEDS.items() if needed == name))

        def apply(model: Model, names: tuple[str, ...] = together) -> Model:
            return _with(model, there, names)

        found.append(Difference(name, shown(mine), shown(theirs), apply))
    return found


def _decay_of(model: Model) -> list[str]:
    found = [
        f"{name.removesuffix('_weight_decay')} {shown(model.hyper[name])}" for name in _DECAYS if _set(model, name)
    ]
    if found and model.dialect.semantics.decay_skips:
        found[-1] += f" (not of names with {' or '.join(model.dialect.semantics.decay_skips)})"
    return found


def _set(model: Model, name: str) -> bool:
    """Whether a decay is asked for."""
    value = model.hyper[name]
    return bool(value.given if isinstance(value, Schedule) else value)


def _decay(here: Model, there: Model) -> list[Difference]:
    mine, theirs = _decay_of(here), _decay_of(there)
    if mine == theirs:
        return []

    def apply(model: Model) -> Model:
        changed = _with(model, there, _DECAYS)
        semantics = replace(changed.dialect.semantics, decay_skips=there.dialect.semantics.decay_skips)
        stages = with_decay_stages(changed.dialect)
        return replace(changed, dialect=replace(changed.dialect, semantics=semantics, stages=stages))

    return [Difference("weight_decay", " and ".join(mine) or "none", " and ".join(theirs) or "none", apply)]


def with_decay_stages(dialect: Dialect) -> tuple[str, ...]:
    """A dialect's stages with both kinds of decay, where they stand in the dialects that have them."""
    stages = list(dialect.stages)
    if "l2_decay" not in stages:
        stages.insert(stages.index("deduplicate") + 1 if "deduplicate" in stages else 0, "l2_decay")
    if "decoupled_decay" not in stages:
        stages.insert(stages.index("update"), "decoupled_decay")
    return tuple(stages)


# What must be set for a stage to do something.
_ACTIVE = {
    "unscale": "loss_scale",
    "clip_norm": "clip_norm",
    "global_clip_norm": "global_clip_norm",
    "clip_value": "clip_value",
    "accumulate": "accumulation_steps",
    "average": "use_ema",
    "l2_decay": "l2_weight_decay",
    "decoupled_decay": "decoupled_weight_decay",
}


def _active(model: Model) -> list[str]:
    """The stages that do something, in their order."""

    def works(stage: str) -> bool:
        name = _ACTIVE.get(stage)
        if name is None or name in _DECAYS:
            return name is not None and _set(model, name)
        return not _same(model.hyper[name], MAPPING.canonical[name].neutral)

    return [stage for stage in model.dialect.stages if works(stage)]


def _stages(here: Model, there: Model) -> list[Difference]:
    found = []
    mine, theirs = _active(here), _active(there)
    if mine != theirs and sorted(mine) == sorted(theirs):

        def reorder(model: Model) -> Model:
            return replace(model, dialect=replace(model.dialect, stages=with_decay_stages(there.dialect)))

        found.append(Difference("stages", ", ".join(mine), ", ".join(theirs), reorder))
    one, other = here.dialect.semantics.average_start, there.dialect.semantics.average_start
    if one != other and here.hyper["use_ema"] and there.hyper["use_ema"]:

        def start(model: Model) -> Model:
            semantics = replace(model.dialect.semantics, average_start=other)
            return replace(model, dialect=replace(model.dialect, semantics=semantics))

        found.append(Difference("average_start", one, other, start))
    return found


def _numerics(here: Model, there: Model) -> list[Difference]:
    found = []
    for entry in fields(Numerics):
        mine, theirs = getattr(here.numerics, entry.name), getattr(there.numerics, entry.name)
        if entry.name in ("name", "about") or mine == theirs:
            continue

        def apply(model: Model, name: str = entry.name, value: str = theirs) -> Model:
            return replace(model, numerics=replace(model.numerics, **{name: value}))

        found.append(Difference(f"numerics.{entry.name}", mine, theirs, apply))
    return found
