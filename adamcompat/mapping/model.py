"""The mapping as frozen dataclasses: what mapping.yaml says, and nothing that follows from it."""

from __future__ import annotations

from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass

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

# Each stage, and the hyperparameter that turns it on; None if it needs none.
STAGES: dict[str, str | None] = {
    "deduplicate": None,
    "maximize": "maximize",
    "unscale": "loss_scale",
    "accumulate": "accumulation_steps",
    "l2_decay": "l2_weight_decay",
    "centralize": None,
    "clip_norm": "clip_norm",
    "global_clip_norm": "global_clip_norm",
    "clip_value": "clip_value",
    "absolute_decay": "absolute_weight_decay",
    "decoupled_decay": "decoupled_weight_decay",
    "update": None,
    "average": "use_ema",
}


@dataclass(frozen=True, slots=True)
class Canonical:
    """Describe the meaning of a parameter, under whatever name."""

    name: str
    about: str
    neutral: Default
    scope: Scope


@dataclass(frozen=True, slots=True)
class Numerics:
    """Describe how a dialect rounds the one formula."""

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
    """One argument of a method of the calling convention."""

    name: str
    canonical: str | None


@dataclass(frozen=True, slots=True)
class MethodFact:
    """One method of the calling convention."""

    name: str
    role: MethodRole
    arguments: tuple[ArgumentFact, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two parameters of which at most one may be set."""

    pair: tuple[str, str]
    original: ConflictForm


@dataclass(frozen=True, slots=True)
class Errors:
    """Names of the built-in exception types that a dialect raises."""

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
    """Describe what a dialect does where dialects differ."""

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
    """One kind of state and the name it has; ``{parameter}`` stands for a parameter's name."""

    role: str
    template: str

    @property
    def per_parameter(self) -> bool:
        """Return whether there is one such slot for each parameter."""
        return "{parameter}" in self.template

    def name_for(self, parameter: str) -> str:
        """The slot's name for one parameter."""
        return self.template.replace("{parameter}", parameter)


def release(text: str) -> tuple[int, ...]:
    """A version's numbers, which compare as versions do."""
    return tuple(int(part) for part in text.split(".") if part.isdigit())


@dataclass(frozen=True, slots=True)
class Older:
    """Hold a fact that older versions of the original's framework do not share."""

    fact: str
    framework: str
    below: str
    was: str


@dataclass(frozen=True, slots=True)
class Correction:
    """Describe a fault of the original that changes trainings without a word, and that ours mends where it is asked to.

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
    """One API that people write against."""

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
        """The stages of the original, which has none of the corrections."""
        corrected = {correction.stage for correction in self.corrections}
        return tuple(stage for stage in self.stages if stage not in corrected)

    @property
    def accepted(self) -> tuple[Fact, ...]:
        """Signature and keywords together."""
        return self.parameters + self.keywords

    @property
    def facts(self) -> tuple[ParameterFact, ...]:
        """Signature and keywords, with the elements of a tuple in its place: each has one meaning."""
        return tuple(part for fact in self.accepted for part in fact.parts)

    @property
    def member(self) -> str:
        """Return the name of the original class, without its module."""
        return self.target.rpartition(".")[2]

    @property
    def library(self) -> str:
        """Return whose the class is: the title without the member's name, with which some titles end."""
        return self.title.removesuffix(f" {self.member}")

    def find(self, name: str) -> Fact | None:
        """The parameter of that native name, or None."""
        return next((fact for fact in self.accepted if fact.name == name), None)

    def named(self, canonical: str) -> ParameterFact | None:
        """The parameter, or the element of a tuple, that means `canonical`, or None; aliases do not count."""
        return next((fact for fact in self.facts if fact.canonical == canonical and fact.alias_of is None), None)

    def slot(self, role: str) -> Slot:
        """Return the slot of one kind of state; one with the kind's own name where the dialect has none."""
        found = (slot for block in self.slots for slot in block if slot.role == role)
        return next(found, Slot(role, role if role in SINGLE_SLOTS else f"{{parameter}}/{role}"))

    def method(self, role: str) -> MethodFact | None:
        """Return the first method with that role, or None."""
        return next((method for method in self.methods if method.role == role), None)

    @property
    def names(self) -> tuple[str, ...]:
        """Every dotted name of the class, the preferred one first."""
        return (self.target, *self.aliases)


@dataclass(frozen=True, slots=True)
class RateArgument:
    """One argument of a learning-rate schedule; `role` is what it means under any name."""

    name: str
    role: str
    default: Default
    required: bool
    fill: str | None


@dataclass(frozen=True, slots=True)
class RateClass:
    """A class or function of one dialect that computes a schedule."""

    target: str
    arguments: tuple[RateArgument, ...]


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """A learning rate that follows a formula, and who computes it."""

    name: str
    about: str
    canonical: str | None
    classes: dict[str, RateClass]


@dataclass(frozen=True, slots=True)
class Weights:
    """Describe a layer's weight in one framework: its name, and what its axes mean."""

    names: tuple[str, ...]
    axes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """Describe a kind of layer: its weight by framework."""

    name: str
    about: str
    weights: dict[str, Weights]


@dataclass(frozen=True, slots=True)
class Share:
    """A weight of one framework, or a part of it, among the weights of a layer.

    Attributes:
        name: the end of its name; ``*`` stands for what tells the layers of one cell apart.
        axes: a letter an axis, as in `Weights`; ``g`` is the axis of the gates, a capital another axis of the size of
            its letter.
        part: which of how many equal parts along the first axis; None for all of it.
        addend: whether the layer sees only the sum of this weight and another one.
    """

    name: str
    axes: str
    part: tuple[int, int] | None = None
    addend: bool = False


@dataclass(frozen=True, slots=True)
class Twins:
    """Describe weights that hold the same numbers in each framework.

    Attributes:
        shares: where they are, by framework.
        optional: whether a layer may be without them.
    """

    shares: dict[str, Share]
    optional: bool = False

    def of(self, framework: str) -> Share:
        """Return the weight as `framework` has it."""
        return self.shares[framework]


@dataclass(frozen=True, slots=True)
class Compound:
    """A kind of layer whose weights are matched together.

    Attributes:
        name: of the kind.
        about: one sentence.
        weights: in the order in which Keras makes them.
        gates: the order of the gates by framework; nothing where there are none.
        cell: the part of Keras's layer that holds the weights, or None.
        ways: what says that a layer runs forwards and backwards, by framework; nothing where nothing does.
    """

    name: str
    about: str
    weights: tuple[Twins, ...]
    gates: dict[str, tuple[str, ...]]
    cell: str | None
    ways: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """A class to generate."""

    name: str
    module: str
    runtime: str
    dialect: str
    borrows: tuple[tuple[str, tuple[str, ...]], ...]

    def replaces(self, dialect: Dialect) -> bool:
        """Return whether it is the drop-in for the original of its dialect, in the original's framework."""
        return self.name == dialect.member


@dataclass(frozen=True, slots=True)
class Mapping:
    """All of mapping.yaml."""

    canonical: dict[str, Canonical]
    numerics: dict[str, Numerics]
    dialects: AbstractMapping[str, Dialect]
    schedules: AbstractMapping[str, RateSchedule]
    layers: AbstractMapping[str, Layer]
    compounds: AbstractMapping[str, Compound]
    adapters: tuple[Adapter, ...]
    modules: dict[str, str]

    def adapter(self, runtime: str, name: str) -> Adapter:
        """The adapter of that name for one runtime."""
        return next(adapter for adapter in self.adapters if (adapter.runtime, adapter.name) == (runtime, name))

    def schedules_of(self, dialect: Dialect) -> str:
        """Return the dialect whose schedules a learning rate may be: that one, or the first that it extends with any.

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
        """Return what kind of thing a parameter is; the elements of a tuple are of one kind."""
        return self.canonical[fact.parts[0].canonical].scope

    def borrowed(self, adapter: Adapter) -> tuple[tuple[Dialect, Fact], ...]:
        """The parameters that an adapter takes from other dialects."""
        found: list[tuple[Dialect, Fact]] = []
        for dialect_name, names in adapter.borrows:
            dialect = self.dialects[dialect_name]
            for name in names:
                fact = dialect.find(name)
                if fact is not None:
                    found.append((dialect, fact))
        return tuple(found)
