"""Register the runtimes: what tools ask of each, and what each executes."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from adamcompat.mapping.model import Dialect, Numerics


@dataclass(frozen=True, slots=True)
class Base:
    """Declare what the hand-written base class of some adapters executes.

    Attributes:
        protocol: the calling convention.
        host: the dotted name of the original class that it extends, or None where it belongs to no original.
        module: the module that defines the class.
        name: the name of the class.
        stages: the stages that it executes.
        semantics: for a fact of `Semantics` the values that it executes; of a fact that is not named, all.
        numerics: for a fact of `Numerics` the values that it executes; of a fact that is not named, all.
        in_order: whether it executes exactly these stages, in this order: the step is that of the original's own class.
        awaits: whether the parameters may be left out of the call: the first step, or the model, brings them.
        every: whether a group may hold each setting, under the setting's own name.
        leads: whether the parameters come first in the call, though the dialect gives them at each step.
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
    every: bool = False
    leads: bool = False

    def lacking(self, numerics: Numerics) -> dict[str, str]:
        """Return the facts of a way of rounding that the class does not execute, with their values.

        Args:
            numerics: the way of rounding.

        Returns:
            The names of the facts, such as ``moments``, to their values there; empty where the class executes all of
            them.
        """
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


_PYTORCHS: dict[str, tuple[str, ...]] = {
    "given": ("float64",),
    "scalars": ("float64",),
    "one_minus_beta": ("float64",),
    "beta_power": ("power",),
    "multiply_add": ("fused",),
    "half": ("float32",),
    "unscale": ("quotient",),
    "surroundings": ("once",),
    "decay": ("factor",),
    "moments": ("lerp",),
    "correction": ("root",),
}
_AS_CANONICAL: dict[str, tuple[str, ...]] = {
    "given": ("float64",),
    "scalars": ("float64",),
    "one_minus_beta": ("float64",),
    "beta_power": ("power",),
    "multiply_add": ("separate",),
    "unscale": ("quotient",),
    "surroundings": ("once",),
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
    every: bool = False,
    **semantics: object,
) -> Base:
    """Return the base of a drop-in, a subclass of the original that executes the original's own facts.

    Args:
        protocol: the calling convention.
        host: the dotted name of the original class.
        module: the module that defines the base class.
        name: the name of the base class.
        stages: the stages of the original, in order.
        rounding: facts of its numerics where they are not those of most.
        every: whether a group may hold each setting.
        semantics: facts of the original where they are not those of most.
    """
    own: dict[str, object] = {"epsilon": "hat", "bias_correction": "both", "schedule_start": 0, "decay_skips": ()}
    own |= {"average_start": "none", "nesterov": "none"} | semantics
    executed = _ANY_FORM | {fact: (value,) for fact, value in own.items()}
    rounds = _MINDSPORES if host.startswith("mindspore.") else _TENSORFLOWS
    numerics = rounds | (rounding or {})
    return Base(protocol, host, module, name, stages, executed, numerics, in_order=True, every=every)


@dataclass(frozen=True, slots=True)
class Framework:
    """Register what tools ask about one framework.

    Attributes:
        name: of the framework, and of this package's folder for it.
        packages: its import names. The framework counts as imported once the first is. A class from any of them
            belongs to it.
        title: what to call it.
        after: packages that end the process where they are imported after the framework. Where they are installed,
            tools import them before it.
    """

    name: str
    packages: tuple[str, ...]
    title: str
    after: tuple[str, ...] = ()

    def part(self, tool: str) -> str:
        """Return the name of the module with the framework's part of a tool.

        Args:
            tool: the folder of the tool in this package, such as ``drive``.

        >>> FRAMEWORKS["mindspore"].part("drive")
        'adamcompat.drive.mindspore'
        """
        return f"adamcompat.{tool}.{self.name}"

    def load(self, tool: str) -> ModuleType:
        """Import and return the framework's part of a tool.

        Args:
            tool: the folder of the tool in this package, such as ``drive``.

        Raises:
            ModuleNotFoundError: the framework is missing; the text says how to install it.
        """
        for package in self.after if self.packages[0] not in sys.modules else ():
            if find_spec(package) is not None:
                import_module(package)
        # The folder of the framework says what is missing.
        import_module(f"adamcompat.{self.name}")
        return import_module(self.part(tool))

    def missing(self) -> list[str]:
        """Return the framework's packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


FRAMEWORKS = {
    framework.name: framework
    for framework in (
        Framework("numpy", ("numpy",), "NumPy"),
        # MindSpore imports triton, which PyTorch for GPUs brings, and which cannot be loaded after TensorFlow.
        Framework("tensorflow", ("tensorflow", "keras", "tf_keras"), "TensorFlow", after=("triton",)),
        Framework("mindspore", ("mindspore",), "MindSpore"),
        Framework("torch", ("torch",), "PyTorch"),
    )
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """Register one kind of adapters.

    Attributes:
        framework: the framework whose tensors are updated.
        originals: the names of the dialects whose original classes the framework has.
        modes: how a step can be run; the first is the default.
        bases: the base classes of the adapters.
    """

    framework: Framework
    originals: tuple[str, ...]
    modes: tuple[str, ...]
    bases: tuple[Base, ...]

    def base(self, dialect: Dialect) -> Base | None:
        """Return the base class for a dialect, or None where the runtime has none.

        A base class that extends the dialect's own original comes before one that extends none. A base class that
        extends another original is never taken, for isinstance would not hold.

        Args:
            dialect: the dialect that the class is called in.

        >>> from adamcompat.mapping.tables import MAPPING
        >>> base = RUNTIMES["mindspore"].base(MAPPING.dialects["mindspore"])
        >>> base.name, base.host
        ('CallAdam', 'mindspore.nn.Adam')
        """
        fitting = [base for base in self.bases if (base.protocol, base.every) == (dialect.protocol, dialect.overrides)]
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
                every=True,
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
                every=True,
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
            Base(
                *("step", None, "adamcompat.mindspore.torch_style", "StepAdam"),
                ("deduplicate", "maximize", "l2_decay", "decoupled_decay", "update"),
                _ANY_FORM | {"nesterov": ("none",)},
                # It keeps no running products.
                _NOT_AS_PYTORCH | {"beta_power": ("power",), "decay": ("parameter",)},
                every=True,
            ),
        ),
    ),
    "mindspore_experimental": Runtime(
        FRAMEWORKS["mindspore"],
        ("mindspore_experimental", "mindspore_experimental_adamw"),
        ("pynative", "graph"),
        (
            _original(
                *("call", "mindspore.experimental.optim.Adam"),
                *("adamcompat.mindspore.experimental.base", "ExperimentalAdam"),
                *("maximize", "l2_decay", "update"),
                rounding={"beta_power": ("power",)},
                every=True,
            ),
            _original(
                *("call", "mindspore.experimental.optim.AdamW"),
                *("adamcompat.mindspore.experimental.base", "ExperimentalAdamW"),
                *("maximize", "decoupled_decay", "update"),
                rounding=_AS_CANONICAL,
                every=True,
                epsilon="paper",
            ),
        ),
    ),
    "mindspore_mint": Runtime(
        FRAMEWORKS["mindspore"],
        ("mint", "mint_adamw"),
        ("pynative", "graph"),
        tuple(
            _original(
                *("call", f"mindspore.mint.optim.{member}", "adamcompat.mindspore.mint.base", f"Mint{member}"),
                *("maximize", decay, "update"),
                rounding=_AS_CANONICAL,
                every=True,
                epsilon="paper",
            )
            for member, decay in (("Adam", "l2_decay"), ("AdamW", "decoupled_decay"))
        ),
    ),
    "torch": Runtime(
        FRAMEWORKS["torch"],
        ("torch", "torch_adamw"),
        (),
        (
            *(
                _original(
                    *("step", f"torch.optim.{member}", "adamcompat.torch.drop_in", f"Torch{member}"),
                    *("deduplicate", "maximize", *decays, "update"),
                    rounding=_PYTORCHS,
                    every=True,
                    epsilon="paper",
                )
                for member, decays in (("Adam", ("l2_decay", "decoupled_decay")), ("AdamW", ("decoupled_decay",)))
            ),
            Base(
                *("apply_gradients", None, "adamcompat.torch.optimizer", "ApplyGradientsAdam", _EVERY, _ANY_FORM),
                leads=True,
            ),
            Base("call", None, "adamcompat.torch.optimizer", "CallAdam", _EVERY, _ANY_FORM),
        ),
    ),
}


# The frameworks that have optimizers of their own, and layers.
ORIGINALS = {runtime.framework.name: runtime.framework for runtime in RUNTIMES.values() if runtime.originals}
# The frameworks on whose tensors classes of ours work.
WITH_OURS = {runtime.framework.name: runtime.framework for runtime in RUNTIMES.values() if runtime.bases}
# The frameworks whose calls `migrate` writes: a loop that fills `parameter.grad` is written for none yet.
MIGRATED = tuple(name for name in ORIGINALS if name in WITH_OURS and name != "torch")
