"""Register the runtimes: what tools ask of each, and what each executes, against which the mapping is held.

A fact that nothing executes would change no step, without a word. So the generator asks `faults` before it writes an
adapter: whatever the adapter's base class cannot do is an error there, with the line of mapping.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from adamcompat.mapping.facts import TupleFact
from adamcompat.mapping.model import STAGES, Adapter, Dialect, Mapping, Numerics


@dataclass(frozen=True, slots=True)
class Base:
    """Declare what the hand-written base class of some adapters executes.

    Attributes:
        protocol: the calling convention.
        host: the dotted name of the original class that it extends, or None where it belongs to no original.
        module, name: of the class.
        stages: those that it executes.
        semantics: for a fact of `Semantics` the values that it executes; of a fact that is not named, all.
        numerics: for a fact of `Numerics` the values that it executes; of a fact that is not named, all.
        in_order: whether it executes exactly these stages, in this order: the step is that of the original's own class.
        awaits: whether the parameters may be left out of the call: the first step, or the model, brings them.
    """

    protocol: str
    host: str | None
    module: str
    name: str
    stages: tuple[str, ...]
    semantics: dict[str, tuple[object, ...]]
    numerics: dict[str, tuple[str, ...]] = field(default_factory=dict)
    in_order: bool = False
    awaits: bool = False

    def lacking(self, numerics: Numerics) -> dict[str, str]:
        """Return the facts of a rounding that it does not execute, with their values."""
        given = {name: str(getattr(numerics, name)) for name in self.numerics}
        return {name: value for name, value in given.items() if value not in self.numerics[name]}


# Nobody takes the maximum of corrected second moments.
_ANY_FORM: dict[str, tuple[object, ...]] = {"amsgrad": ("raw_maximum", "none")}


# How the originals round; of TensorFlow's the complement of a beta is the only thing that the drop-ins look up.
_TENSORFLOWS: dict[str, tuple[str, ...]] = {
    "given": ("float32_rates",),
    "scalars": ("parameter",),
    "one_minus_beta": ("float64", "scalar"),
    "beta_power": ("power",),
    "multiply_add": ("separate",),
    "half": ("float16",),
    "unscale": ("quotient",),
    "surroundings": ("stepwise",),
    "decay": ("parameter",),
    "moments": ("difference",),
    "correction": ("step",),
}
_MINDSPORES: dict[str, tuple[str, ...]] = {
    "given": ("float32",),
    "scalars": ("parameter",),
    "one_minus_beta": ("scalar",),
    "beta_power": ("product",),
    "multiply_add": ("fused_blocks",),
    "half": ("float32",),
    "unscale": ("reciprocal",),
    "surroundings": ("stepwise",),
    "decay": ("parameter",),
    "moments": ("difference",),
    "correction": ("step",),
}


# These are not carried out by MindSpore's operations.
_NOT_AS_PYTORCH: dict[str, tuple[str, ...]] = {
    "multiply_add": ("separate", "fused_blocks", "fused_wide"),
    "decay": ("parameter", "update"),
    "moments": ("difference",),
    "correction": ("step",),
}


def _original(
    protocol: str,
    host: str,
    module: str,
    name: str,
    *stages: str,
    rounding: dict[str, tuple[str, ...]] | None = None,
    **semantics: object,
) -> Base:
    """The base of a drop-in, which is a subclass of the original: it executes the original's own facts.

    Args:
        protocol: the calling convention.
        host: the original class.
        module, name: of the class.
        stages: of the original, in order.
        rounding: facts of its numerics where they are not those of most.
        semantics: facts of the original where they are not those of most.
    """
    own: dict[str, object] = {"epsilon": "hat", "bias_correction": "both", "schedule_start": 0, "decay_skips": ()}
    own |= {"average_start": "none", "nesterov": "none"} | semantics
    executed = _ANY_FORM | {fact: (value,) for fact, value in own.items()}
    rounds = _MINDSPORES if host.startswith("mindspore.") else _TENSORFLOWS
    return Base(protocol, host, module, name, stages, executed, rounds | (rounding or {}), in_order=True)


@dataclass(frozen=True, slots=True)
class Framework:
    """Register what tools ask about one framework.

    Attributes:
        name: of the framework, and of this package's folder for it.
        packages: its import names. The framework counts as imported once the first is. A class from any of them
            belongs to it.
        title: what to call it.
    """

    name: str
    packages: tuple[str, ...]
    title: str

    def part(self, tool: str) -> str:
        """Return the name of the module with the framework's part of a tool.

        >>> FRAMEWORKS["mindspore"].part("drive")
        'adamcompat.drive.mindspore'
        """
        return f"adamcompat.{tool}.{self.name}"

    def load(self, tool: str) -> ModuleType:
        """Import the framework's part of a tool.

        Raises:
            ModuleNotFoundError: the framework is missing; the text says how to install it.
        """
        # The folder of the framework says what is missing.
        import_module(f"adamcompat.{self.name}")
        return import_module(self.part(tool))

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


FRAMEWORKS = {
    framework.name: framework
    for framework in (
        Framework("numpy", ("numpy",), "NumPy"),
        Framework("tensorflow", ("tensorflow", "keras", "tf_keras"), "TensorFlow"),
        Framework("mindspore", ("mindspore",), "MindSpore"),
        Framework("torch", ("torch",), "PyTorch"),
    )
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """Register one kind of adapters.

    Attributes:
        framework: whose tensors are updated.
        originals: the dialects whose original classes the framework has.
        modes: how a step can be run; the first is the default.
        bases: the base classes of the adapters.
    """

    framework: Framework
    originals: tuple[str, ...]
    modes: tuple[str, ...]
    bases: tuple[Base, ...]

    def base(self, dialect: Dialect) -> Base | None:
        """Return the base class for a dialect: one that extends its original class, else one of no original.

        A member whose original is another class gets no base class of a sibling, for isinstance would not hold.

        >>> from adamcompat.mapping.tables import MAPPING
        >>> base = RUNTIMES["mindspore"].base(MAPPING.dialects["mindspore"])
        >>> base.name, base.host
        ('CallAdam', 'mindspore.nn.Adam')
        """
        fitting = [base for base in self.bases if base.protocol == dialect.protocol]
        own = [base for base in fitting if base.host == dialect.target]
        return next(iter([*own, *(base for base in fitting if base.host is None)]), None)


_EVERY = (
    *("deduplicate", "maximize", "unscale", "accumulate", "l2_decay", "centralize", "clip_norm", "global_clip_norm"),
    *("clip_value", "decoupled_decay", "update", "average"),
)

RUNTIMES = {
    "numpy": Runtime(
        FRAMEWORKS["numpy"],
        (),
        (),
        (
            Base(
                *("apply_gradients", None, "adamcompat.numpy.apply_gradients", "ApplyGradientsAdam"),
                *((*_EVERY, "absolute_decay"), _ANY_FORM),
            ),
            Base("call", None, "adamcompat.numpy.call", "CallAdam", (*_EVERY, "absolute_decay"), _ANY_FORM),
            Base(
                *("step", None, "adamcompat.numpy.step_call", "StepAdam"),
                tuple(stage for stage in (*_EVERY, "absolute_decay") if stage not in ("accumulate", "average")),
                _ANY_FORM,
            ),
        ),
    ),
    "tensorflow": Runtime(
        FRAMEWORKS["tensorflow"],
        ("keras3", "keras3_adamw"),
        ("eager", "function", "jit"),
        (
            *(
                _original(
                    *("apply_gradients", f"keras.optimizers.{member}", "adamcompat.tensorflow.base", f"Keras{member}"),
                    *("deduplicate", "unscale", "accumulate", "clip_norm", "global_clip_norm", "clip_value"),
                    *("decoupled_decay", "update", "average"),
                    average_start="first_update",
                )
                for member in ("Adam", "AdamW")
            ),
            Base(
                *("call", None, "adamcompat.tensorflow.base", "KerasCallAdam"),
                tuple(stage for stage in _EVERY if stage not in ("accumulate", "average")),
                _ANY_FORM,
            ),
            Base(
                *("step", None, "adamcompat.tensorflow.base", "KerasStepAdam"),
                # Groups have no norm in common, nor have variables the number of steps that running products need.
                tuple(stage for stage in _EVERY if stage not in ("accumulate", "average", "global_clip_norm")),
                _ANY_FORM,
                {"beta_power": ("power",)},
                awaits=True,
            ),
        ),
    ),
    "tensorflow_legacy": Runtime(
        FRAMEWORKS["tensorflow"],
        ("tf26",),
        ("eager", "function", "jit"),
        (
            _original(
                *("apply_gradients", "tf.keras.optimizers.legacy.Adam"),
                *("adamcompat.tensorflow.legacy.base", "LegacyAdam"),
                *("deduplicate", "clip_value", "clip_norm", "global_clip_norm", "update"),
            ),
        ),
    ),
    "tensorflow_v1": Runtime(
        FRAMEWORKS["tensorflow"],
        ("tf1",),
        ("eager", "graph"),
        (
            _original(
                *("apply_gradients", "tf.compat.v1.train.AdamOptimizer", "adamcompat.tensorflow.v1.base", "V1Adam"),
                *("deduplicate", "update"),
                rounding={"given": ("float32",), "beta_power": ("product",)},
            ),
        ),
    ),
    "mindspore": Runtime(
        FRAMEWORKS["mindspore"],
        ("mindspore", "mindspore_adamweightdecay"),
        ("pynative", "graph"),
        (
            _original(
                *("call", "mindspore.nn.Adam", "adamcompat.mindspore.call", "CallAdam"),
                *("deduplicate", "l2_decay", "centralize", "unscale", "update"),
                nesterov="blend",
                decay_skips=("beta", "gamma"),
            ),
            _original(
                *("call", "mindspore.nn.AdamWeightDecay", "adamcompat.mindspore.weight_decay", "CallAdamWeightDecay"),
                *("deduplicate", "decoupled_decay", "update"),
                rounding={"decay": ("update",), "multiply_add": ("fused_wide",), "half": ("float16",)},
                bias_correction="none",
                decay_skips=("beta", "gamma"),
            ),
            Base(
                *("apply_gradients", None, "adamcompat.mindspore.apply_gradients", "ApplyGradientsAdam"),
                tuple(stage for stage in _EVERY if stage not in ("l2_decay", "centralize")),
                _ANY_FORM | {"nesterov": ("none",)},
                _NOT_AS_PYTORCH,
            ),
        ),
    ),
    "torch": Runtime(FRAMEWORKS["torch"], ("torch", "torch_adamw"), (), ()),
}


# The frameworks that have optimizers of their own, and layers.
ORIGINALS = {runtime.framework.name: runtime.framework for runtime in RUNTIMES.values() if runtime.originals}
# The frameworks on whose tensors classes of ours work.
WITH_OURS = {runtime.framework.name: runtime.framework for runtime in RUNTIMES.values() if runtime.bases}
# The frameworks whose calls `migrate` writes.
MIGRATED = tuple(name for name in ORIGINALS if name in WITH_OURS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Name a fact that nothing executes.

    Attributes:
        path: of the fact, from the top of mapping.yaml.
        text: what is wrong, and how to mend it.
    """

    path: tuple[str, ...]
    text: str


def faults(mapping: Mapping) -> Iterator[Fault]:
    """Find the facts that nothing would execute, or that an adapter's base class cannot.

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
    """Forms that no parameter asks for."""
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
    """Parameters that no stage and no form of the update reads."""
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
    """Groups of a kind that the calling convention does not read."""
    if dialect.overrides != (dialect.protocol == "step"):
        kind = "the word every" if dialect.protocol == "step" else "a list of keys, or nothing"
        text = f"nothing executes these with the protocol {dialect.protocol!r}, whose groups are {kind}"
        yield Fault(("dialects", dialect.name, "groups"), text)


def _unsaved(dialect: Dialect) -> Iterator[Fault]:
    """State that a step may keep, and that the dialect has no name for: it would be left out of what is saved."""
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
    """Stages where they would do nothing, or something else."""
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
    """Facts of a dialect that the base class of an adapter does not execute."""
    path = ("dialects", dialect.name)
    who = f"the adapter {adapter.module}.{adapter.name}"
    base = RUNTIMES[adapter.runtime].base(dialect)
    if base is None:
        bases = RUNTIMES[adapter.runtime].bases
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
    if base.in_order and tuples:
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
    for name, given in base.lacking(rounding).items():
        yield Fault(("numerics", rounding.name, name), f"{who} needs {name}: {given}; {mend}")
    for name, executed in base.semantics.items():
        value = getattr(dialect.semantics, name)
        if value not in executed:
            yield Fault((*path, "semantics", name), f"{who} needs {name}: {value}; {mend}")
