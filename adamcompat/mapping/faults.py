"""Find facts that nothing executes.

Such a fact would change no step, without a word. So the generator asks `faults` before it writes an adapter: whatever
the adapter's base class cannot do is an error there, with the line of mapping.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adamcompat.mapping.facts import TupleFact
from adamcompat.mapping.model import Adapter, Dialect, Mapping, Numerics
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.vocabulary import STAGES


@dataclass(frozen=True, slots=True)
class Fault:
    """Describe a fact that nothing executes.

    Attributes:
        path: the keys that lead to the fact, from the top of mapping.yaml.
        text: what is wrong, and how to mend it.
    """

    path: tuple[str, ...]
    text: str


def faults(mapping: Mapping) -> Iterator[Fault]:
    """Yield the facts that nothing would execute, or that an adapter's base class cannot execute.

    Args:
        mapping: the facts to look through.

    >>> from adamcompat.mapping.tables import MAPPING
    >>> list(faults(MAPPING))
    []
    """
    for dialect in mapping.dialects.values():
        yield from _unread(dialect)
        yield from _unsaved(dialect)
        yield from _misplaced(dialect)
    for name in dict.fromkeys(adapter.dialect for adapter in mapping.adapters):
        yield from _ungrouped(mapping.dialects[name])
    for adapter in mapping.adapters:
        yield from _beyond(adapter, mapping.dialects[adapter.dialect], mapping.numerics)
    for dialect in mapping.dialects.values():
        yield from _unasked(dialect)


def _unasked(dialect: Dialect) -> Iterator[Fault]:
    """Yield the forms of AMSGrad and Nesterov that no parameter asks for."""
    given = {fact.canonical for fact in dialect.facts}
    for name in ("amsgrad", "nesterov"):
        if name not in given and getattr(dialect.semantics, name) != "none":
            text = f"no parameter asks for {name}, so that nothing executes it: write none"
            yield Fault(("dialects", dialect.name, "semantics", name), text)


# The state that a hyperparameter asks for.
_STATE = {
    "amsgrad": "maximum_second_moment",
    "use_ema": "average",
    "accumulation_steps": "accumulated_gradient",
}


def _unread(dialect: Dialect) -> Iterator[Fault]:
    """Yield the parameters that no stage and no form of the update reads."""
    path = ("dialects", dialect.name)
    given = {fact.canonical: fact.name for fact in dialect.facts}
    for stage, canonical in STAGES.items():
        if canonical is not None and canonical in given and stage not in dialect.stages:
            yield Fault(
                (*path, "stages"),
                f"nothing executes the parameter {given[canonical]!r} ({canonical}): add the stage {stage!r}",
            )
    grouped = {fact.canonical: fact.name for fact in dialect.groups}
    if "group_centralization" in grouped and "centralize" not in dialect.stages:
        yield Fault(
            (*path, "stages"),
            f"nothing executes the key {grouped['group_centralization']!r} of groups: add the stage 'centralize'",
        )
    for name in ("amsgrad", "nesterov"):
        if name in given and getattr(dialect.semantics, name) == "none":
            yield Fault(
                (*path, "semantics", name),
                f"nothing executes the parameter {given[name]!r} ({name}): set semantics.{name} to the form that it "
                f"has, not to none",
            )


def _ungrouped(dialect: Dialect) -> Iterator[Fault]:
    """Yield the groups of a kind that the calling convention does not read."""
    wrong = {"step": not dialect.overrides, "apply_gradients": dialect.overrides}
    if wrong.get(dialect.protocol):
        kind = "a list of keys, or nothing" if dialect.overrides else "the word 'every'"
        text = f"nothing executes these with the protocol {dialect.protocol!r}: write {kind} under groups"
        yield Fault(("dialects", dialect.name, "groups"), text)


def _unsaved(dialect: Dialect) -> Iterator[Fault]:
    """Yield the state that a step may keep, but that the dialect has no name for: it would not be saved."""
    given = {fact.canonical for fact in dialect.facts}
    kept = {slot.role for block in dialect.slots for slot in block}
    for canonical, role in _STATE.items():
        if canonical in given and role not in kept:
            yield Fault(("dialects", dialect.name, "slots"), f"nothing saves the state {role!r}: say what it is called")
    if ("beta1_power" in kept) != (dialect.semantics.power_start != "none"):
        yield Fault(
            ("dialects", dialect.name, "semantics", "power_start"),
            "power_start belongs to the slot beta1_power: write none without it, and one or beta with it",
        )


def _misplaced(dialect: Dialect) -> Iterator[Fault]:
    """Yield the stages that stand where they would do nothing, or something else."""
    stages, path = dialect.stages, ("dialects", dialect.name, "stages")
    update = stages.index("update")
    for stage in stages[update + 1 :]:
        if stage != "average":
            yield Fault(path, f"nothing executes {stage!r} after 'update': the gradient is spent; move it before")
    if "average" in stages[:update]:
        yield Fault(path, "'average' takes the parameters after the update; move it behind 'update'")
    if "accumulate" in stages and "decoupled_decay" in stages[: stages.index("accumulate")]:
        yield Fault(path, "'decoupled_decay' before 'accumulate' would decay at each call; move it behind 'accumulate'")


def _beyond(adapter: Adapter, dialect: Dialect, numerics: dict[str, Numerics]) -> Iterator[Fault]:
    """Yield the facts of a dialect that the base class of an adapter does not execute."""
    path = ("dialects", dialect.name)
    who = f"the adapter {adapter.module}.{adapter.name}"
    base = RUNTIMES[adapter.runtime].base(dialect)
    if base is None:
        bases = RUNTIMES[adapter.runtime].bases
        if any(base.protocol == dialect.protocol for base in bases) and not any(
            (base.protocol, base.every) == (dialect.protocol, dialect.overrides) for base in bases
        ):
            kind = "groups that hold every setting" if dialect.overrides else "groups with keys of their own"
            text = f"{who}: no base class of the runtime {adapter.runtime!r} executes {kind} in a {dialect.protocol!r}"
            yield Fault((*path, "groups"), text)
            return
        hosts = [base.host for base in bases if base.protocol == dialect.protocol and base.host is not None]
        key, known = ("target", hosts) if hosts else ("protocol", [base.protocol for base in bases])
        yield Fault(
            (*path, key),
            f"{who}: the runtime {adapter.runtime!r} has a base class for {', '.join(known) or 'none'} only",
        )
        return
    mend = (
        f"{base.module}.{base.name} does not execute that. Change the dialect, remove the adapter, or write it "
        f"there and declare it in adamcompat/mapping/runtimes.py"
    )
    tuples = [fact.name for fact in dialect.accepted if isinstance(fact, TupleFact)]
    if base.in_order and tuples and not base.every:
        yield Fault(
            (*path, "parameters"),
            f"{who} makes the step of the original, and {base.module}.{base.name} reads each setting under a name of "
            f"its own; it takes no tuple such as {tuples[0]!r}",
        )
    if base.in_order and dialect.stages != base.stages:
        yield Fault(
            (*path, "stages"),
            f"{who} makes the step of the original, whose stages are {', '.join(base.stages)}; "
            f"{base.module}.{base.name} executes no others",
        )
    elif missing := [stage for stage in dialect.stages if stage not in base.stages]:
        yield Fault((*path, "stages"), f"{who} needs {', '.join(missing)}; {mend}")
    rounding = numerics[dialect.numerics]
    # A style rounds as it is asked to, and refuses numerics that it lacks by their name.
    for name, given in base.lacking(rounding).items() if base.host is not None else ():
        yield Fault(("numerics", rounding.name, name), f"{who} needs {name}: {given}; {mend}")
    for name, executed in base.semantics.items():
        value = getattr(dialect.semantics, name)
        if value not in executed:
            yield Fault((*path, "semantics", name), f"{who} needs {name}: {value}; {mend}")
