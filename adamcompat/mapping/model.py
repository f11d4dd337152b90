"""Hold the mapping as frozen dataclasses: what mapping.yaml says, and nothing that follows from it."""

from __future__ import annotations

import re
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adamcompat.mapping.facts import Default, Fact, ParameterFact
from adamcompat.mapping.facts import exception as exception
from adamcompat.mapping.vocabulary import (
    Amsgrad,
    AverageStart,
    BetaPower,
    BiasCorrection,
    ConflictForm,
    CorrectionPlace,
    Decay,
    Epsilon,
    Given,
    Half,
    MethodRole,
    Moments,
    MultiplyAdd,
    Nesterov,
    OneMinusBeta,
    PowerStart,
    Protocol,
    RateForm,
    Scalars,
    Scope,
    Surroundings,
    Unscale,
)

# No step needs these, and a dataclass takes most of a millisecond to make.
if TYPE_CHECKING:
    from adamcompat.mapping.layers import Compound, Layer
    from adamcompat.mapping.rates import RateSchedule


@dataclass(frozen=True, slots=True)
class Canonical:
    """Describe the meaning of a parameter, whatever a dialect calls it.

    Attributes:
        name: the canonical name.
        about: one or two sentences.
        neutral: the value at which the parameter changes nothing; None where that is "not given".
        scope: ``hyperparameter``, ``input`` (parameters and gradients), ``group`` (a key of a parameter group) or
            ``label`` (a name, or a choice of how the same step is run).
    """

    name: str
    about: str
    neutral: Default
    scope: Scope


@dataclass(frozen=True, slots=True)
class Numerics:
    """Describe how a dialect rounds the one formula.

    Attributes:
        name: what it is called.
        about: one sentence.
        extends: the numerics that give the facts that were left out, or None.
        given: how hyperparameters are taken in: ``float64``, ``float32_rates`` (learning rate and betas pass through
            float32) or ``float32`` (all of them do).
        scalars: the dtype in which a step's scalars are computed: ``float64``, ``float32`` or ``parameter`` (that of
            the parameter).
        one_minus_beta: how ``1 - beta`` is formed: ``float64`` (subtract, then round) or ``scalar`` (round beta, then
            subtract).
        beta_power: how the powers of the betas are formed: ``power`` at each step, or ``product``, one float32
            multiplication a step.
        multiply_add: how ``a*b + c`` is rounded: ``separate`` (twice), ``fused`` (once), ``fused_blocks`` (fused in
            blocks of eight elements, the rest of a tensor in float64) or ``fused_wide`` (fused, with the step divided
            and subtracted in float64).
        half: the arithmetic for float16 parameters: ``float16`` or ``float32``.
        unscale: how the loss scale is taken out: ``quotient`` or ``reciprocal`` (multiplied by the rounded reciprocal).
        surroundings: how the stages around the update are rounded: ``once`` (their coefficients are merged in float64)
            or ``stepwise`` (one by one, to the parameter's dtype).
        decay: how decoupled decay is taken off: from the ``parameter`` before the update, in the ``update`` after its
            division, or as a ``factor`` of the parameter.
        moments: how the moments move: by the ``difference`` to the gradient, or by PyTorch's ``lerp``.
        correction: ``step`` (the corrections of both moments make one step size) or ``root`` (that of the second moment
            divides its root).
    """

    name: str
    about: str
    extends: str | None
    given: Given
    scalars: Scalars
    one_minus_beta: OneMinusBeta
    beta_power: BetaPower
    multiply_add: MultiplyAdd
    half: Half
    unscale: Unscale
    surroundings: Surroundings
    decay: Decay
    moments: Moments
    correction: CorrectionPlace


@dataclass(frozen=True, slots=True)
class ArgumentFact:
    """Describe one argument of a method of the calling convention.

    Attributes:
        name: the argument's name.
        canonical: what it means; None for arguments that tables leave out.
    """

    name: str
    canonical: str | None


@dataclass(frozen=True, slots=True)
class MethodFact:
    """Describe one method of the calling convention.

    Attributes:
        name: the method's name.
        role: ``step``, ``differentiate_and_step`` or ``forget_gradients``.
        arguments: its arguments, in order.
    """

    name: str
    role: MethodRole
    arguments: tuple[ArgumentFact, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Name two parameters of which at most one may be set.

    Attributes:
        pair: their names in the dialect.
        original: what the original does with both: ``raises`` or ``ignores`` (one of them, without a word).
    """

    pair: tuple[str, str]
    original: ConflictForm


@dataclass(frozen=True, slots=True)
class Errors:
    """Name the built-in exception types that a dialect raises.

    Attributes:
        unknown_keyword: for a keyword that the class does not take.
        wrong_type: for a value of a wrong type.
        out_of_range: for a value outside its range.
        conflict: for two parameters that exclude each other.
        unknown_parameter: for a parameter that the optimizer does not update.
        repeated_parameter: for a parameter that is passed twice.
        wrong_gradients: for gradients that do not fit their parameters.
    """

    unknown_keyword: str
    wrong_type: str
    out_of_range: str
    conflict: str
    unknown_parameter: str
    repeated_parameter: str
    wrong_gradients: str


@dataclass(frozen=True, slots=True)
class Form:
    """Tell the forms of the step size and of epsilon apart.

    Attributes:
        epsilon: ``hat``: added to ``sqrt(v)``; ``paper``: added to the root of the corrected second moment.
        bias_correction: ``both`` moments or ``none``.
    """

    epsilon: Epsilon
    bias_correction: BiasCorrection


@dataclass(frozen=True, slots=True)
class Semantics:
    """Describe what a dialect does where dialects differ.

    Attributes:
        epsilon: ``hat`` (added to ``sqrt(v)``) or ``paper`` (added to the root of the corrected second moment).
        bias_correction: of ``both`` moments, or ``none``.
        decay_skips: parts of names; parameters with one of them do not decay while parameters are not grouped.
        amsgrad: of which second moments the maximum is taken: ``raw_maximum``, ``corrected_maximum`` or ``none``.
        nesterov: ``blend`` (the numerator is ``beta1*m + (1 - beta1)*g``) or ``none``.
        schedule_start: the number of the step that a schedule sees first.
        average_start: the first value of the moving average: the parameter after the ``first_update``, the ``initial``
            parameter, or ``none``.
        power_start: the first value of the running products of the betas that are kept as state: ``one``, ``beta`` or
            ``none``.
    """

    epsilon: Epsilon
    bias_correction: BiasCorrection
    decay_skips: tuple[str, ...]
    amsgrad: Amsgrad
    nesterov: Nesterov
    schedule_start: int
    average_start: AverageStart
    power_start: PowerStart

    @property
    def form(self) -> Form:
        """Return the form of the step size and of epsilon."""
        return Form(self.epsilon, self.bias_correction)


# Kinds of state of which an optimizer has one.
SINGLE_SLOTS = ("step", "learning_rate", "beta1_power", "beta2_power")


@dataclass(frozen=True, slots=True)
class Slot:
    """Describe one kind of state and its name; ``{parameter}`` stands for a parameter's name.

    Attributes:
        role: the kind, such as ``first_moment``.
        template: its name in the original's state.
    """

    role: str
    template: str

    @property
    def per_parameter(self) -> bool:
        """Return whether there is one such slot for each parameter."""
        return "{parameter}" in self.template

    def name_for(self, parameter: str) -> str:
        """Return the slot's name for one parameter."""
        return self.template.replace("{parameter}", parameter)


def release(text: str) -> tuple[int, ...]:
    """Return a version's numbers, which compare as versions do, and empty where there are none.

    What follows the numbers is left out, and zeros at their end, so that 2 and 2.0 are the same.

    Args:
        text: the version.

    >>> release("2.7.1+cpu"), release("v2.0.0rc1"), release("2.10.dev3"), release("unknown")
    ((2, 7, 1), (2,), (2, 10), ())
    """
    found = re.match(r"\s*v?(?:\d+!)?(\d+(?:\.\d+)*)", text, re.ASCII)
    numbers = [int(part) for part in found[1].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        del numbers[-1]
    return tuple(numbers)


@dataclass(frozen=True, slots=True)
class Older:
    """Hold a fact that older versions of the original's framework do not share.

    Attributes:
        fact: the path of the fact in the dialect, such as ``parameters.name.default``.
        framework: the framework, as it is called in text.
        below: the first version in which the fact holds.
        was: what was found in versions before that.
    """

    fact: str
    framework: str
    below: str
    was: str


@dataclass(frozen=True, slots=True)
class Correction:
    """Describe a fault of the original that it does not report and that changes trainings; ours can mend it.

    Attributes:
        name: what it is called.
        original: what the original does, as a clause.
        ours: what ours does instead, as a clause.
        stage: the stage that only the correction makes, or None where it is no stage.
    """

    name: str
    original: str
    ours: str
    stage: str | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """Describe one API that people write against.

    Attributes:
        name: what the mapping calls it, such as ``keras3``.
        extends: the dialect that gives the facts that were left out, or None.
        title: what to call it in a table.
        target: the dotted name of the original class.
        aliases: other dotted names of the same class.
        former: dotted names that meant this class in older versions, and now mean the class of another dialect.
        versions: where the facts hold, in words.
        protocol: the calling convention: ``apply_gradients``, ``call``, ``step``, ``update`` or ``node``.
        methods: the methods of the calling convention.
        rates: what may be the learning rate beside a number: ``list``, ``schedule``, ``callable``.
        kwargs: whether the signature ends in ``**kwargs``.
        parameters: the signature, in order.
        keywords: what is taken through ``**kwargs``.
        groups: the keys of a parameter group; none where a group may hold each parameter of the signature.
        overrides: whether a group may hold each parameter of the signature, under its own name.
        ignored: names of parameters that the original accepts and does nothing with.
        devices: where the original runs; empty where it runs everywhere.
        conflicts: pairs of parameters that exclude each other.
        errors: the exceptions that the original raises.
        stages: what a step does, in order; keys of `vocabulary.STAGES`.
        corrections: faults of the original that ours can mend.
        semantics: what it does where dialects differ.
        numerics: the name of its way of rounding.
        slot_names: what the dialect itself calls kinds of state, by role.
        slots: the state, in the original's order. The slots of one entry are interleaved, parameter by parameter.
        older: facts that older versions do not share.
    """

    name: str
    extends: str | None
    title: str
    target: str
    aliases: tuple[str, ...]
    former: tuple[str, ...]
    versions: str
    protocol: Protocol
    methods: tuple[MethodFact, ...]
    rates: tuple[RateForm, ...]
    kwargs: bool
    parameters: tuple[Fact, ...]
    keywords: tuple[Fact, ...]
    groups: tuple[ParameterFact, ...]
    overrides: bool
    ignored: tuple[str, ...]
    devices: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    errors: Errors
    stages: tuple[str, ...]
    corrections: tuple[Correction, ...]
    semantics: Semantics
    numerics: str
    slot_names: dict[str, str]
    slots: tuple[tuple[Slot, ...], ...]
    older: tuple[Older, ...]

    @property
    def original_stages(self) -> tuple[str, ...]:
        """Return the stages of the original, which has none of the corrections."""
        corrected = {correction.stage for correction in self.corrections}
        return tuple(stage for stage in self.stages if stage not in corrected)

    @property
    def accepted(self) -> tuple[Fact, ...]:
        """Return the parameters of the signature and the keywords, in this order."""
        return self.parameters + self.keywords

    @property
    def facts(self) -> tuple[ParameterFact, ...]:
        """Return the signature and the keywords with the elements of tuples in their place: one meaning each."""
        return tuple(part for fact in self.accepted for part in fact.parts)

    @property
    def member(self) -> str:
        """Return the name of the original class, without its module."""
        return self.target.rpartition(".")[2]

    @property
    def library(self) -> str:
        """Return the name of the library that the class belongs to: the title without the class's own name."""
        return self.title.removesuffix(f" {self.member}")

    def find(self, name: str) -> Fact | None:
        """Return the parameter of that native name, or None."""
        return next((fact for fact in self.accepted if fact.name == name), None)

    def named(self, canonical: str) -> ParameterFact | None:
        """Return the parameter, or the element of a tuple, that means `canonical`, or None.

        Args:
            canonical: the canonical name. Aliases of a parameter do not count.
        """
        return next((fact for fact in self.facts if fact.canonical == canonical and fact.alias_of is None), None)

    def slot(self, role: str) -> Slot:
        """Return the slot of one kind of state.

        Args:
            role: the kind, such as ``first_moment``.

        Returns:
            The slot; where the dialect has none of that kind, one that is named after the kind.
        """
        found = (slot for block in self.slots for slot in block if slot.role == role)
        return next(found, Slot(role, role if role in SINGLE_SLOTS else f"{{parameter}}/{role}"))

    def method(self, role: str) -> MethodFact | None:
        """Return the first method with that role, or None."""
        return next((method for method in self.methods if method.role == role), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Return every dotted name of the class, the preferred one first."""
        return (self.target, *self.aliases)


@dataclass(frozen=True, slots=True)
class Adapter:
    """Describe a class to generate.

    Attributes:
        name: the name of the class.
        module: the module of this package that it is for.
        runtime: the name of the runtime whose tensors it updates.
        dialect: the name of the dialect that it is called in.
        borrows: the names of parameters that it takes from other dialects, by the name of the dialect.
    """

    name: str
    module: str
    runtime: str
    dialect: str
    borrows: tuple[tuple[str, tuple[str, ...]], ...]

    def replaces(self, dialect: Dialect) -> bool:
        """Return whether the class is the drop-in for its dialect's original, in the original's framework."""
        return self.name == dialect.member


@dataclass(frozen=True, slots=True)
class Mapping:
    """Hold all of mapping.yaml.

    Attributes:
        canonical: what parameters mean, by canonical name.
        numerics: ways of rounding, by name.
        dialects: the dialects, by name.
        schedules: learning rates that follow a formula, by name.
        layers: kinds of layers with one weight, by name.
        compounds: kinds of layers whose weights are matched together, by name.
        adapters: the classes to generate.
        modules: other names of modules, each with the name that the dialects use.
    """

    canonical: dict[str, Canonical]
    numerics: dict[str, Numerics]
    dialects: AbstractMapping[str, Dialect]
    schedules: AbstractMapping[str, RateSchedule]
    layers: AbstractMapping[str, Layer]
    compounds: AbstractMapping[str, Compound]
    adapters: tuple[Adapter, ...]
    modules: dict[str, str]

    def adapter(self, runtime: str, name: str) -> Adapter:
        """Return the adapter of that name for one runtime.

        Args:
            runtime: the name of the runtime, such as ``numpy``.
            name: the name of the class.
        """
        return next(adapter for adapter in self.adapters if (adapter.runtime, adapter.name) == (runtime, name))

    def schedules_of(self, dialect: Dialect) -> str:
        """Return the name of the dialect whose schedules a learning rate of a dialect may be.

        Args:
            dialect: the dialect of the optimizer.

        Returns:
            The dialect's own name where it has schedules, else that of the first that has some among those that it
            extends; its own again where none has.

        >>> from adamcompat.mapping.tables import MAPPING
        >>> MAPPING.schedules_of(MAPPING.dialects["keras3_adamw"])
        'keras3'
        """
        found: Dialect | None = dialect
        while found is not None:
            if any(found.name in schedule.classes for schedule in self.schedules.values()):
                return found.name
            found = self.dialects[found.extends] if found.extends is not None else None
        return dialect.name

    def scope(self, fact: Fact) -> str:
        """Return the scope of a parameter's meaning; the elements of a tuple have the same one."""
        return self.canonical[fact.parts[0].canonical].scope

    def borrowed(self, adapter: Adapter) -> tuple[tuple[Dialect, Fact], ...]:
        """Return the parameters that an adapter takes from other dialects, each with its dialect."""
        found: list[tuple[Dialect, Fact]] = []
        for dialect_name, names in adapter.borrows:
            dialect = self.dialects[dialect_name]
            for name in names:
                fact = dialect.find(name)
                if fact is not None:
                    found.append((dialect, fact))
        return tuple(found)
