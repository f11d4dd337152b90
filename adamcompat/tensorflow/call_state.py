"""Hold what an optimizer with another framework's call has beside Keras's own, and create its state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import tensorflow as tf

from adamcompat.groups import Arranged, Group
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.kernel import keeps_products
from adamcompat.mapping.model import Dialect, Numerics, Slot
from adamcompat.program import Program, compile_step
from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.rounding import POWER_DTYPE, Rounding
from adamcompat.tensorflow.step import Member
from adamcompat.tensorflow.traced import Traced

# Of a variable beside which it lies, or None, a dtype and a name; then of a shape and an initial value.
NewVariable: TypeAlias = Callable[..., Any]


@dataclass(slots=True)
class OwnGroup(Group):
    """Hold a group that has all hyperparameters of its own.

    Attributes:
        hyper: its hyperparameters.
        said: what the group itself said, under native names; the rest are the optimizer's.
    """

    hyper: Hyperparameters = field(kw_only=True)
    said: dict[str, Any] = field(kw_only=True)


class Part:
    """Hold the step of some parameters.

    Args:
        program: the compiled step.
        roundings: how to round, by dtype of variables.
    """

    def __init__(self, program: Program, roundings: dict[Any, Rounding]) -> None:
        self.program = program
        self.roundings = roundings


class Described:
    """Hold parameters by name, as a configuration has them: the variables come with `build`.

    Args:
        entries: names, or groups of names.
    """

    def __init__(self, entries: Sequence[Any]) -> None:
        self.entries = list(entries)


class Private:
    """Hold what belongs to an optimizer but not to its state: an object of its own, so that nothing tracks it.

    Args:
        dialect: the API that the optimizer speaks.
        hyper: the validated hyperparameters.
        given: the arguments that it was made with, under native names.
        numerics: how to round.

    Attributes:
        listed: whether the call named its parameters.
        parts: the step of each group.
        rates: the variable that holds the learning rate of each group, or None.
        missed: the variable that counts for each parameter the steps that it was left out of; None where all count.
    """

    def __init__(self, dialect: Dialect, hyper: Hyperparameters, given: dict[str, Any], numerics: Numerics) -> None:
        self.numerics = numerics
        self.take(dialect, hyper)
        self.given = given
        self.lock: Any = threading.RLock() if hyper["use_locking"] else None
        self.section: Any = None
        self.arranged: Arranged | None = None
        self.described: Described | None = None
        self.listed = False
        self.variables: list[Any] = []
        self.members: list[Member] = []
        self.groups: list[Group] = []
        self.parts: list[Part] = []
        self.rates: list[Any] = []
        self.missed: Any = None
        self.powers: dict[Any, tuple[Any, Any]] = {}
        self.functions: dict[Any, Any] = {}
        self.traced = Traced()

    def take(self, dialect: Dialect, hyper: Hyperparameters) -> None:
        """Compile the step for other hyperparameters.

        Args:
            dialect: the API that the optimizer speaks.
            hyper: the validated hyperparameters.
        """
        self.program = compile_step(dialect, self.numerics, hyper)
        self.hyper = hyper

    def compile_parts(self, dialect: Dialect) -> None:
        """Compile the step of each group; those that have no hyperparameters of their own share one."""
        dtypes = {raw(variable).dtype for variable in self.variables}

        def part(program: Program) -> Part:
            return Part(program, {dtype: Rounding(self.numerics, dtype, program.update) for dtype in dtypes})

        shared = part(self.program)
        self.parts = [
            part(compile_step(dialect, self.numerics, group.hyper)) if isinstance(group, OwnGroup) else shared
            for group in self.groups
        ]
        self.functions.clear()


def is_variable(value: Any) -> bool:
    """Return whether a value is a variable, of TensorFlow or of Keras."""
    return isinstance(raw(value), tf.Variable)


def label(variable: Any) -> str:
    """Return the name of a variable for users: its path in Keras, its name in TensorFlow."""
    return str(getattr(variable, "path", None) or variable.name).partition(":")[0]


def identity(variable: Any) -> Any:
    """Return a key that differs from variable to variable."""
    return raw(variable)._unique_id if is_variable(variable) else id(variable)


def live(value: Any) -> Any:
    """Return a variable as a callable, so that its later values count too; return anything else as it is."""
    return (lambda: tf.convert_to_tensor(raw(value))) if is_variable(value) else value


def create(private: Private, dialect: Dialect, arranged: Arranged, new_variable: NewVariable) -> None:
    """Create the state for parameters.

    Args:
        private: the private data of the optimizer; it holds the state then.
        dialect: the API that the optimizer speaks.
        arranged: the parameters and their groups.
        new_variable: makes a state variable. It takes the variable beside which it lies, or None, a dtype and a name,
            then a shape and an initial value; the value is zero where none is given.
    """
    hyper = private.hyper
    private.variables = list(arranged.variables)
    private.groups = list({id(group): group for group in arranged.groups}.values())
    places = {id(group): i for i, group in enumerate(private.groups)}
    raws = [raw(variable) for variable in private.variables]
    private.compile_parts(dialect)
    private.rates = [_rate_of(group, place, dialect, new_variable) for place, group in enumerate(private.groups)]
    if any(isinstance(group, OwnGroup) for group in private.groups):
        private.missed = new_variable(None, "int64", "missed_steps", (len(raws),))
    skips = () if arranged.grouped else dialect.semantics.decay_skips
    if hyper["use_locking"]:
        private.section = tf.CriticalSection()
    found: dict[str, list[Any]] = {}
    for block in dialect.slots:
        for slot in block:
            found[slot.role] = _created(private, slot, arranged, raws, new_variable)
    for role in ("beta1_power", "beta2_power", "maximum_second_moment"):
        # The numerics may need state that the dialect does not name.
        if role not in found:
            found[role] = _created(private, dialect.slot(role), arranged, raws, new_variable)
    if keeps_products(private.numerics, private.program.update.form):
        private.powers = {POWER_DTYPE: (found["beta1_power"][0], found["beta2_power"][0])}
    nothing = [None] * len(raws)
    maxima = found["maximum_second_moment"] or nothing
    private.members = [
        Member(
            *(raws[i], raw(found["first_moment"][i]), raw(found["second_moment"][i]), raw(maxima[i])),
            places[id(arranged.groups[i])],
            not any(part in label(private.variables[i]) for part in skips),
            arranged.groups[i].centralize,
        )
        for i in range(len(raws))
    ]


def _rate_of(group: Group, place: int, dialect: Dialect, new_variable: NewVariable) -> Any:
    """Return a new variable for the learning rate of a group with hyperparameters of its own; None for other groups.

    No variable is made for a learning rate that is a schedule.
    """
    rate, fact = group.learning_rate, dialect.named("learning_rate")
    if not isinstance(group, OwnGroup) or rate is None or not rate.constant:
        return None
    assert fact is not None
    return new_variable(None, "float64", f"{fact.name}_{place}", initial=rate.at(0))


def _created(
    private: Private, slot: Slot, arranged: Arranged, raws: Sequence[Any], new_variable: NewVariable
) -> list[Any]:
    """Return new state variables of one kind: one for each parameter, or one in all, or none."""
    if slot.role in ("first_moment", "second_moment", "maximum_second_moment"):
        keeps = {
            id(group): part.program.update.amsgrad for group, part in zip(private.groups, private.parts, strict=True)
        }
        return [
            # bfloat16 holds too few digits for a moment to change.
            new_variable(
                variable,
                "float32" if own.dtype == tf.bfloat16 else own.dtype.name,
                slot.name_for(label(variable)).replace("/", "_"),
            )
            if slot.role != "maximum_second_moment" or keeps[id(group)]
            else None
            for variable, own, group in zip(arranged.variables, raws, arranged.groups, strict=True)
        ]
    products = keeps_products(private.numerics, private.program.update.form)
    if slot.role in ("beta1_power", "beta2_power") and products:
        return [new_variable(None, POWER_DTYPE.name, slot.template, initial=1.0)]
    return []
