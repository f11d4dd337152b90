#!/usr/bin/env python3
"""Generate everything that follows from mapping.yaml.

python scripts/generate.py            write the files
python scripts/generate.py --check    exit 1 and name the command if a file is out of date
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from adamcompat.differences import SAME, rows  # noqa: E402
from adamcompat.mapping.facts import Fact, TupleFact  # noqa: E402
from adamcompat.mapping.formulas import update  # noqa: E402
from adamcompat.mapping.layers import Compound, Layer  # noqa: E402
from adamcompat.mapping.loader import MappingError, load  # noqa: E402
from adamcompat.mapping.model import Adapter, Dialect, Mapping  # noqa: E402
from adamcompat.mapping.rates import RateSchedule  # noqa: E402
from adamcompat.mapping.runtimes import RUNTIMES, Base  # noqa: E402
from adamcompat.render import markdown  # noqa: E402

HEAD = "# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.\n"
MEND = "python scripts/generate.py"
PAGES = ("README.md", "docs/mapping.md")
MARK = re.compile(r"(<!-- generated: (\w+) (\w+) (\w+) -->\n).*?(<!-- end of generated table -->)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Option:
    """A keyword-only parameter that a runtime adds to every signature."""

    name: str
    hint: str
    default: str
    about: str


@dataclasses.dataclass(frozen=True)
class Look:
    """How the adapters of one runtime look: everything but the facts.

    Attributes:
        path: the generated module.
        about: its docstring; also what the arrays of this runtime are called.
        arrays: what is updated, for docstrings.
        hints: for each type of parameter its annotation; names in `imports` come from `hints_module`.
        hints_module: where the names in `imports` are defined.
        imports: names that annotations may use.
        options: for each protocol the keyword-only parameters that come with every signature.
        examples: for each protocol a doctest; {name} is the class, {first} and {second} are the weights after a step.
        remarks: for each protocol, or for one original, what a reader must know about this runtime.
        base_note: a comment behind the base class.
        first: for each protocol without parameters in its call the one that this runtime puts in front.
        abouts: texts about a parameter where the mapping's are not true of the runtime, by protocol and canonical name.
    """

    path: str
    about: str
    arrays: str
    hints: dict[str, str]
    hints_module: str
    imports: tuple[str, ...]
    options: dict[str, tuple[Option, ...]]
    examples: dict[str, str]
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)
    base_note: str = ""
    first: dict[str, Option] = dataclasses.field(default_factory=dict)
    abouts: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)


NUMERICS = Option("numerics", "str", '"canonical"', "How to round: {numerics}.")
OWN_NUMERICS = dataclasses.replace(NUMERICS, default='"{own}"')
CORRECTIONS = Option(
    "corrections",
    "bool | None",
    "None",
    "Whether to mend what the original gets wrong without a word: {corrections}. None: as "
    "`adamcompat.install(corrections=...)` says, otherwise not.",
)
PLAIN_HINTS = {"number": "float", "float": "float", "integer": "int", "flag": "bool", "text": "str"}

# Of PyTorch's settings on other tensors than its own.
HINTS_ALONE = {
    ("step", "foreach"): "Accepted; changes nothing here.",
    ("step", "fused_kernel"): "Accepted; changes nothing here.",
    ("step", "capturable"): "Accepted as False alone.",
    ("step", "differentiable"): "Accepted as False alone.",
}
A_RATE = "Step size. A number, or a Tensor without axes."

LOOKS = {
    "numpy": Look(
        path="adamcompat/numpy/adapters.py",
        about="Adapters for NumPy arrays: the exact signature of each dialect.",
        arrays="NumPy arrays",
        hints=PLAIN_HINTS
        | {"beta": "Beta", "learning_rate": "LearningRate", "decay": "Decay", "parameters": "Parameters"},
        hints_module="adamcompat.numpy.optimizer",
        imports=("Beta", "Decay", "LearningRate", "Parameters"),
        options={"apply_gradients": (NUMERICS,), "call": (NUMERICS,), "step": (NUMERICS,)},
        abouts=HINTS_ALONE,
        examples={
            "step": """
>>> import numpy as np
>>> from adamcompat import Parameter
>>> weight = Parameter(np.array([1.0, 2.0]), name="weight")
>>> optimizer = {name}([weight])
>>> weight.grad = np.array([0.5, -0.5])
>>> optimizer.step()
>>> weight.data.round(4)
array([{first}, {second}])
""",
            "apply_gradients": """
>>> import numpy as np
>>> weight = np.array([1.0, 2.0])
>>> optimizer = {name}()
>>> optimizer.apply_gradients([(np.array([0.5, -0.5]), weight)])
1
>>> weight.round(4)
array([{first}, {second}])
""",
            "call": """
>>> import numpy as np
>>> weight = np.array([1.0, 2.0])
>>> optimizer = {name}([weight])
>>> optimizer((np.array([0.5, -0.5]),))
(True,)
>>> weight.round(4)
array([{first}, {second}])
""",
        },
    ),
    "mindspore": Look(
        path="adamcompat/mindspore/adapters.py",
        about="Adapters for MindSpore: the exact signature of each dialect.",
        arrays="MindSpore's Parameters",
        hints=PLAIN_HINTS
        | {"beta": "Beta", "learning_rate": "LearningRate", "decay": "Decay", "parameters": "Parameters"},
        hints_module="adamcompat.mindspore.arguments",
        imports=("Beta", "Decay", "LearningRate", "Parameters"),
        options={"apply_gradients": (NUMERICS,), "call": (CORRECTIONS,), "step": (NUMERICS,)},
        abouts=HINTS_ALONE | {("step", "learning_rate"): A_RATE},
        examples={
            "step": """
>>> import numpy as np
>>> from mindspore import Parameter, Tensor
>>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
>>> optimizer = {name}([weight], weight_decay=0.0)
>>> optimizer((Tensor(np.array([0.5, -0.5], np.float32)),))
True
>>> weight.asnumpy().round(4)
array([{first}, {second}], dtype=float32)
""",
            "apply_gradients": """
>>> import numpy as np
>>> from mindspore import Parameter, Tensor
>>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
>>> optimizer = {name}()
>>> optimizer.apply_gradients([(Tensor(np.array([0.5, -0.5], np.float32)), weight)])
1
>>> weight.asnumpy().round(4)
array([{first}, {second}], dtype=float32)
""",
            "call": """
>>> import numpy as np
>>> from mindspore import Parameter, Tensor
>>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
>>> optimizer = {name}([weight])
>>> optimizer((Tensor(np.array([0.5, -0.5], np.float32)),))
(True,)
>>> weight.asnumpy().round(4)
array([{first}, {second}], dtype=float32)
""",
        },
        remarks={
            "step": """\
A step is called as with mindspore.experimental.optim: ``optimizer(gradients)``, with a gradient for
each Parameter. It is an optimizer of that module, and its learning-rate schedulers work. A group may
hold each of these settings. The learning rate is kept in float32, as there, and one counter of steps
serves all Parameters. A function of your own under mindspore.jit keeps the settings that it saw first.""",
            "apply_gradients": """\
Functions under mindspore.jit and Cells in GRAPH mode may call apply_gradients() too; call build()
with the Parameters before, and pass all of them in that order. A callable of the step gets it as a
float64 scalar Tensor, so that it can be compiled; a LearningRateSchedule gets what nn.Adam gives it.""",
            "call": """\
A callable is a LearningRateSchedule (learning rate) or a Cell (weight decay); a list may
also be a one-dimensional Tensor. Where mindspore.nn.Adam fails or stands still, this class works:
float64 and bfloat16, grad_centralization on a CPU, parameters that are loaded after the first step
in PYNATIVE mode. Beside use_amsgrad it ignores use_nesterov as nn.Adam does, with a warning. A
subclass may override any part of a step, as of nn.Adam, which then makes the step. A function of
your own under mindspore.jit keeps, in PYNATIVE mode, the memory that it saw first, with any optimizer
and with none: load into it with `parameter.copy_`, not with `set_data`.""",
            "mindspore.nn.AdamWeightDecay": """\
A callable is a LearningRateSchedule (learning rate) or a Cell (weight decay); a list may also be a
one-dimensional Tensor. There is no bias correction: the first step is (1 - beta1) / sqrt(1 - beta2) times as
long as AdamW's, 3.2 times with these defaults. Where mindspore.nn.AdamWeightDecay fails or stands still, this class
works: bfloat16, gradients that hold some rows only, parameters that are loaded after the first step in
PYNATIVE mode. Float16 is updated in float16. Gradients of every dtype become the parameter's, as there.
A group's key grad_centralization is accepted and does nothing, with a warning. A subclass may override
any part of a step; then, and with use_fused_opt set to False, the original makes the step. A function
of your own under mindspore.jit keeps, in PYNATIVE mode, the memory that it saw first, with any optimizer
and with none: load into it with `parameter.copy_`, not with `set_data`.""",
        },
    ),
}

# Of classes whose groups hold every setting.
SETTINGS = Look(
    path="adamcompat/mindspore/experimental/adapters.py",
    about="Adapters for mindspore.experimental.optim: the exact signature of each class.",
    arrays="MindSpore's Parameters",
    hints=PLAIN_HINTS | {"learning_rate": "Rate", "decay": "float", "parameters": "Parameters"},
    hints_module="adamcompat.mindspore.arguments",
    imports=("Parameters", "Rate"),
    options={},
    abouts={("call", "learning_rate"): A_RATE},
    examples={
        "call": """
>>> import numpy as np
>>> from mindspore import Parameter, Tensor
>>> weight = Parameter(Tensor(np.array([1.0, 2.0], np.float32)), name="weight")
>>> optimizer = {name}([weight], weight_decay=0.0)
>>> optimizer((Tensor(np.array([0.5, -0.5], np.float32)),))
True
>>> weight.asnumpy().round(4)
array([{first}, {second}], dtype=float32)
""",
    },
    remarks={
        "call": """\
A group may hold each of these, and learning-rate schedulers of MindSpore change the Parameters in
`optimizer.lrs`. In PYNATIVE mode a float in a group's "lr" counts instead. Where the original updates
nothing without a word, this class works: with whole numbers of Python as eps or betas. A gradient that
is None is an error. A subclass may override any part of a step, as of the original, which then
makes the step.""",
    },
)
LOOKS |= {
    "mindspore_experimental": SETTINGS,
    "mindspore_mint": dataclasses.replace(
        SETTINGS,
        path="adamcompat/mindspore/mint/adapters.py",
        about="Adapters for mindspore.mint.optim: the exact signature of each class.",
        abouts={("call", "learning_rate"): "Step size. A number."},
        remarks={
            "call": """\
A group may hold each of these. On Ascend the original makes the steps. Elsewhere, where it updates
nothing or fails, the steps are this package's, in canonical rounding; they were compared with PyTorch's,
and not with Ascend's.""",
        },
    ),
}

TENSORFLOW_HINTS = {
    "beta": "Beta",
    "learning_rate": "LearningRate",
    "decay": "Decay",
    "parameters": "Parameters",
}
AWAIT_EXAMPLE = """
>>> import tensorflow as tf
>>> weight = tf.Variable([1.0, 2.0])
>>> optimizer = {name}(lr=1e-3)
>>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
>>> weight.numpy().round(4)
array([{first}, {second}], dtype=float32)
"""
STEP_EXAMPLE = """
>>> import tensorflow as tf
>>> weight = tf.Variable([1.0, 2.0])
>>> optimizer = {name}()
>>> _ = optimizer.apply_gradients([(tf.constant([0.5, -0.5]), weight)])
>>> weight.numpy().round(4)
array([{first}, {second}], dtype=float32)
"""
CALL_EXAMPLE = """
>>> import tensorflow as tf
>>> weight = tf.Variable([1.0, 2.0])
>>> optimizer = {name}([weight])
>>> optimizer((tf.constant([0.5, -0.5]),))
(True,)
>>> weight.numpy().round(4)
array([{first}, {second}], dtype=float32)
"""

LOOKS |= {
    "tensorflow": Look(
        path="adamcompat/tensorflow/adapters.py",
        about="The adapter for tf.keras: the exact signature of Keras 3.",
        arrays="TensorFlow variables",
        hints=PLAIN_HINTS | TENSORFLOW_HINTS,
        hints_module="adamcompat.tensorflow.arguments",
        imports=("Beta", "Decay", "LearningRate", "Parameters"),
        options={
            "apply_gradients": (
                Option(
                    "fused",
                    "bool | None",
                    "None",
                    "True: TensorFlow's own fused kernel, rounding as TensorFlow 2.6 does. None or False: "
                    "Keras 3's bits.",
                ),
                CORRECTIONS,
            ),
            "call": (NUMERICS,),
            "step": (NUMERICS,),
        },
        abouts=HINTS_ALONE,
        examples={"apply_gradients": STEP_EXAMPLE, "call": CALL_EXAMPLE, "step": AWAIT_EXAMPLE},
        remarks={
            "step": """\
It is a Keras optimizer, for compile() and fit(), apply_gradients(), tf.function and XLA, saving and
loading: variables hold no gradients, so that there is no step() and no zero_grad(). The variables
may be left out: then they are those of the model, or of the first apply_gradients(). A learning rate
may also be a schedule of Keras, a list or a callable of the step, which gets it as a float64 scalar
tensor. It can be set between steps, as optimizer.learning_rate or optimizer.param_groups[0]["lr"];
the other settings cannot. A variable whose gradient is None is left out of a step and does not count
it, as in PyTorch; Keras warns of it, and refuses a step without any gradient.""",
            "call": """\
It is a Keras optimizer too, for compile() and fit(). A callable of the step gets it as a float64
scalar tensor, so that it can be traced; a LearningRateSchedule of Keras gets what Keras gives it.
With loss_scale, fit() multiplies the loss itself, through scale_loss().""",
        },
        base_note="  # type: ignore[misc]",
    ),
    "tensorflow_legacy": Look(
        path="adamcompat/tensorflow/legacy/adapters.py",
        about="The adapter for tf.keras.optimizers.legacy: the exact signature of TensorFlow 2.6.",
        arrays="TensorFlow variables",
        hints=PLAIN_HINTS | TENSORFLOW_HINTS,
        hints_module="adamcompat.tensorflow.arguments",
        imports=("Beta", "LearningRate"),
        options={},
        examples={"apply_gradients": STEP_EXAMPLE},
    ),
    "tensorflow_v1": Look(
        path="adamcompat/tensorflow/v1/adapters.py",
        about="The adapter for tf.compat.v1: the exact signature of TensorFlow 1.",
        arrays="TensorFlow variables",
        hints=PLAIN_HINTS | TENSORFLOW_HINTS,
        hints_module="adamcompat.tensorflow.arguments",
        imports=("Beta", "LearningRate"),
        options={
            "apply_gradients": (
                Option("amsgrad", "bool", "False", "{amsgrad} Not in the original."),
                Option("use_nesterov", "bool", "False", "{nesterov} Not in the original."),
            ),
        },
        examples={"apply_gradients": STEP_EXAMPLE},
    ),
}
PARAMETER_EXAMPLE = """
>>> import torch
>>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
>>> optimizer = {name}([weight]{more})
>>> weight.grad = torch.tensor([0.5, -0.5])
>>> optimizer.step()
>>> weight.detach().numpy().round(4)
array([{first}, {second}], dtype=float32)
"""
LOOKS |= {
    "torch": Look(
        path="adamcompat/torch/adapters.py",
        about="Adapters for PyTorch: the exact signature of each dialect, as optimizers of PyTorch.",
        arrays="PyTorch's tensors",
        hints=PLAIN_HINTS
        | {"beta": "Beta", "learning_rate": "LearningRate", "decay": "Decay", "parameters": "Parameters"},
        hints_module="adamcompat.torch.optimizer",
        imports=("Beta", "Decay", "LearningRate", "Parameters"),
        options={"apply_gradients": (OWN_NUMERICS,), "call": (OWN_NUMERICS,)},
        examples=dict.fromkeys(("apply_gradients", "call", "step"), PARAMETER_EXAMPLE),
        remarks={
            "apply_gradients": """\
It is an optimizer of PyTorch: step(), zero_grad(), groups that may hold every setting, state_dict(),
PyTorch's learning-rate schedulers and GradScaler. The learning rate stands in a group under "lr", and the
state under PyTorch's names. One number of steps serves all parameters, as in Keras; one without a gradient
is left out. On other devices than the CPU the step is made of PyTorch's operations.""",
            "call": """\
It is an optimizer of PyTorch: step(), zero_grad(), groups that may hold every setting, state_dict(),
PyTorch's learning-rate schedulers and GradScaler; optimizer(gradients) makes a step, too. The learning rate
stands in a group under "lr", and the state under PyTorch's names. One number of steps serves all parameters,
as in MindSpore; one without a gradient is left out. Names that weight decay passes over are those of
named_parameters(), where these are given. On other devices than the CPU the step is made of PyTorch's operations.""",
            "step": """\
It is a subclass of the original. Tensors of float32 and float64 on the CPU are updated in one fused pass, in its
default rounding; what differs from that (other dtypes and devices, foreach, fused, capturable, differentiable,
torch.compile, a subclass that overrides a part of the step) is the original's step.""",
        },
        first={
            "apply_gradients": Option(
                "params", "Parameters", "", "Tensors, pairs of a name and a tensor, or groups (dictionaries)."
            )
        },
    ),
}
# Two weights after the first step of every example, by bias correction.
AFTER = {"both": ("0.999", "2.001"), "none": ("0.9968", "2.0032")}
EPSILONS = {
    "hat": 'It is the "epsilon hat" of the paper, not the epsilon of its Algorithm 1.',
    "paper": "It is the epsilon of the paper's Algorithm 1: the second moment is corrected first.",
}
SOURCES = """\
Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018)."""
DECOUPLED = """\
Decoupled weight decay: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019),
Algorithm 2."""


@dataclasses.dataclass(frozen=True)
class Later:
    """Values by name, each of which is to be made when it is asked for."""

    values: Any


def literal(value: Any, indent: int = 0) -> str:
    """`value` as Python source."""
    pad = "    " * (indent + 1)
    end = "    " * indent
    if isinstance(value, Later):
        return f"Lazy(\n{pad}{makers(value.values, indent + 1)}\n{end})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        flat = f"{type(value).__name__}({', '.join(f'{name}={literal(item)}' for name, item in fields)})"
        if len(flat) + 4 * indent <= 100 and "\n" not in flat:
            return flat
        lines = "".join(f"{pad}{name}={literal(item, indent + 1)},\n" for name, item in fields)
        return f"{type(value).__name__}(\n{lines}{end})"
    if isinstance(value, dict) and value:
        lines = "".join(f"{pad}{literal(key)}: {literal(item, indent + 1)},\n" for key, item in value.items())
        return f"{{\n{lines}{end}}}"
    if isinstance(value, tuple):
        flat = f"({', '.join(literal(item) for item in value)}{',' if len(value) == 1 else ''})"
        if len(flat) + 4 * indent <= 100 and "\n" not in flat:
            return flat
        return "(\n" + "".join(f"{pad}{literal(item, indent + 1)},\n" for item in value) + f"{end})"
    if isinstance(value, float) and math.isinf(value):
        return "math.inf" if value > 0 else "-math.inf"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def makers(values: Any, indent: int = 0) -> str:
    """A dictionary that holds for each name a function which makes its value."""
    pad = "    " * indent
    lines = "".join(f"{pad}    {literal(key)}: lambda: {literal(item, indent + 1)},\n" for key, item in values.items())
    return f"{{\n{lines}{pad}}}"


# Facts that no step needs, and the module that makes each when it is first asked for.
APART: dict[str, tuple[str, type[Any]]] = {
    "schedules": ("rate_tables", RateSchedule),
    "layers": ("layer_tables", Layer),
    "compounds": ("layer_tables", Compound),
}


def imports_for(body: str) -> str:
    """The imports of the classes that a generated module calls."""
    used = sorted(set(re.findall(r"\b([A-Z]\w+)\(", body)))
    imports = ""
    for home in ("facts", "layers", "lazy", "model", "rates"):
        module = import_module(f"adamcompat.mapping.{home}")
        own = [name for name in used if getattr(vars(module).get(name), "__module__", None) == module.__name__]
        names = "".join(f"    {name},\n" for name in own)
        imports += f"from {module.__name__} import (\n{names})\n" if own else ""
    return imports


def tables(mapping: Mapping) -> str:
    """adamcompat/mapping/tables.py"""
    fields = {field.name: getattr(mapping, field.name) for field in dataclasses.fields(mapping)}
    fields["dialects"] = Later(fields["dialects"])
    made = {name: f"Lazy(_{name})" if name in APART else literal(item, 1) for name, item in fields.items()}
    body = f"{Mapping.__name__}(\n{''.join(f'    {name}={text},{chr(10)}' for name, text in made.items())})"
    readers = "".join(
        f"\n\ndef _{name}() -> dict[str, Callable[[], {kind.__name__}]]:\n"
        f"    from adamcompat.mapping.{home} import {name.upper()}\n\n    return {name.upper()}\n"
        for name, (home, kind) in APART.items()
    )
    hints: dict[str, set[str]] = {}
    for _, kind in APART.values():
        hints.setdefault(kind.__module__, set()).add(kind.__name__)
    hinted = "".join(f"    from {home} import {', '.join(sorted(hints[home]))}\n" for home in sorted(hints))
    return (
        f'{HEAD}# ruff: noqa: E501, RUF100\n"""The facts of mapping.yaml as Python objects."""\n\n'
        "from __future__ import annotations\n\nimport math\nfrom collections.abc import Callable\n"
        f"from typing import TYPE_CHECKING\n\n{imports_for(body)}\n"
        f"if TYPE_CHECKING:\n{hinted}{readers}\n\nMAPPING = {body}\n"
    )


def tables_apart(mapping: Mapping, home: str) -> str:
    """A module of the facts that no step needs, such as adamcompat/mapping/layer_tables.py"""
    kinds = {name: kind.__name__ for name, (other, kind) in APART.items() if other == home}
    body = "".join(
        f"\n{name.upper()}: dict[str, Callable[[], {kind}]] = {makers(getattr(mapping, name))}\n"
        for name, kind in kinds.items()
    )
    return (
        f'{HEAD}# ruff: noqa: E501, RUF100\n"""Facts of mapping.yaml that no step needs: {" and ".join(kinds)}."""'
        f"\n\nfrom __future__ import annotations\n\nfrom collections.abc import Callable\n\n{imports_for(body)}{body}"
    )


def hint(runtime: Look, fact: Fact) -> str:
    if isinstance(fact, TupleFact):
        return f"tuple[{', '.join(hint(runtime, element) for element in fact.elements)}]"
    optional = (fact.default is None and not fact.required) or None in fact.read_as_default
    return runtime.hints[fact.type] + (" | None" if optional else "")


def wrapped(text: str, first: str, rest: str) -> str:
    return textwrap.fill(text, 100, initial_indent=first, subsequent_indent=rest)


AWAITED = "None: those of the model, or of the first step. Default: None."


def describe(
    mapping: Mapping, fact: Fact, dialect: Dialect, runtime: Look, origin: str = "", *, awaited: bool = False
) -> str:
    text = f"{fact.name}:"
    for place, part in enumerate(fact.parts):
        about = runtime.abouts.get((dialect.protocol, part.canonical), mapping.canonical[part.canonical].about)
        text += f" [{place}]: {about}" if isinstance(fact, TupleFact) else f" {about}"
        if part.canonical == "epsilon":
            text += f" {EPSILONS[dialect.semantics.epsilon]}"
    if fact.name in dialect.ignored:
        text += f" {dialect.target} ignores it; here it is done, and said once."
    if fact.note:
        text += f" {fact.note}"
    if fact.range is not None:
        text += f" In {fact.range}."
    also = " and ".join(repr(value) for value in fact.read_as_default)
    also = f"; {also} mean{'s' if len(fact.read_as_default) == 1 else ''} it too" if also else ""
    awaited = awaited and is_awaited(fact)
    text += f" {AWAITED}" if awaited else " Required." if fact.required else f" Default: {fact.default!r}{also}."
    return wrapped(text + origin, "    ", "        ")


def docstring(mapping: Mapping, adapter: Adapter, dialect: Dialect, runtime: Look) -> str:
    library = dialect.library
    member = "Adam" if library == dialect.title else dialect.member
    lines = [f"{member} as {library} calls it, on {runtime.arrays}, which are updated in place.", ""]
    lines += [f"The call is that of {dialect.target} ({dialect.versions})::", ""]
    lines += [f"    {line}" for line in update(mapping, dialect)]
    lines += ["", "Args:"]
    awaits = base_of(adapter, dialect).awaits
    if (leading := runtime.first.get(dialect.protocol)) is not None:
        lines += [wrapped(f"{leading.name}: {leading.about} Required.", "    ", "        ")]
    lines += [describe(mapping, fact, dialect, runtime, awaited=awaits) for fact in dialect.accepted]
    for other, fact in mapping.borrowed(adapter):
        lines.append(describe(mapping, fact, other, runtime, f" {other.title}'s; honoured with a UserWarning."))
    executed = [entry for entry in mapping.numerics.values() if not base_of(adapter, dialect).lacking(entry)]
    numerics = "; ".join(f'"{entry.name}", {entry.about.rstrip(".")}' for entry in executed)
    texts = {name: entry.about for name, entry in mapping.canonical.items()} | {"numerics": numerics}
    texts["corrections"] = "; ".join(f"{item.original} ({item.name}: {item.ours})" for item in dialect.corrections)
    for option in runtime.options.get(dialect.protocol, ()):
        text = f"{option.name}: {option.about.format(**texts)} Default: {option.default.format(own=dialect.numerics)}."
        lines.append(wrapped(text, "    ", "        "))
    if dialect.groups:
        lines += ["", "Keys of a parameter group:"]
        lines += [describe(mapping, fact, dialect, runtime) for fact in dialect.groups]
    remark = runtime.remarks.get(dialect.target, runtime.remarks.get(dialect.protocol))
    lines += ["", *remark.splitlines()] if remark is not None else []
    lines += ["", "Raises:"]
    mistakes: dict[str, list[str]] = {}
    for kind in dataclasses.fields(dialect.errors):
        mistakes.setdefault(getattr(dialect.errors, kind.name), []).append(kind.name.replace("_", " "))
    lines += [f"    {error}: {', '.join(kinds)}." for error, kinds in mistakes.items()]
    first, second = AFTER[dialect.semantics.bias_correction]
    text = runtime.examples[dialect.protocol]
    example = text.format(name=adapter.name, first=first, second=second, more=more_of(dialect)).strip()
    lines += ["", "Example:", textwrap.indent(example, "    "), "", SOURCES]
    lines += [DECOUPLED] if dialect.named("decoupled_weight_decay") is not None else []
    return "\n".join(lines)


def more_of(dialect: Dialect) -> str:
    """Arguments of an example that turn weight decay off."""
    decay = dialect.named("decoupled_weight_decay")
    return f", {decay.name}=0.0" if decay is not None and decay.default else ""


def is_awaited(fact: Fact) -> bool:
    """Whether a parameter is the one that a base class which awaits its parameters does without."""
    return fact.required and fact.parts[0].canonical == "parameters"


def base_of(adapter: Adapter, dialect: Dialect) -> Base:
    """The base class of an adapter, which the mapping was held against."""
    base = RUNTIMES[adapter.runtime].base(dialect)
    assert base is not None
    return base


def adapter_class(mapping: Mapping, adapter: Adapter, runtime: Look) -> str:
    dialect = mapping.dialects[adapter.dialect]
    awaits = base_of(adapter, dialect).awaits
    # A class that is no drop-in says of any keyword what it is called here.
    own = base_of(adapter, dialect).host is None
    facts, takes_more = dialect.parameters, dialect.kwargs or bool(adapter.borrows) or own
    signature = ["self"]
    for fact in facts:
        awaited = awaits and is_awaited(fact)
        default = "" if fact.required and not awaited else f" = {literal(None if awaited else fact.default)}"
        signature.append(f"{fact.name}: {hint(runtime, fact)}{' | None' if awaited else ''}{default}")
    options = runtime.options.get(dialect.protocol, ())
    first = next((place for place, fact in enumerate(facts, 1) if fact.keyword_only), len(signature))
    signature[first:first] = ["*"] if options or first < len(signature) else []
    signature += [f"{option.name}: {option.hint} = {option.default.format(own=dialect.numerics)}" for option in options]
    if (leading := runtime.first.get(dialect.protocol)) is not None:
        signature.insert(1, f"{leading.name}: {leading.hint}")
    signature += ["**kwargs: Any"] if takes_more else []
    given = "".join(f"                {literal(fact.name)}: {fact.name},\n" for fact in facts)
    passed = [leading.name] if leading is not None else []
    passed += [f"{{\n{given}            }}", "kwargs" if takes_more else "{}"]
    passed += [f"{option.name}={option.name}" for option in options]
    doc = textwrap.indent(docstring(mapping, adapter, dialect, runtime), "    ").strip()
    base = base_of(adapter, dialect).name
    return (
        f"class {adapter.name}({base}):{runtime.base_note}\n"
        f'    """{doc}\n    """\n\n'
        f"    _adapter = {literal(adapter.name)}\n\n"
        f"    def __init__(\n        {(',' + chr(10) + ' ' * 8).join(signature)},\n    ) -> None:\n"
        f"        super().__init__(\n            {(',' + chr(10) + ' ' * 12).join(passed)},\n        )\n"
    )


def adapters(mapping: Mapping, name: str) -> str:
    """The module with all adapters of one runtime."""
    runtime = LOOKS[name]
    chosen = [adapter for adapter in mapping.adapters if adapter.runtime == name]
    classes = "\n\n".join(adapter_class(mapping, adapter, runtime) for adapter in chosen)
    declared = [base_of(adapter, mapping.dialects[adapter.dialect]) for adapter in chosen]
    bases = sorted({(base.module, base.name) for base in declared})
    hints = [hint(runtime, fact) for adapter in chosen for fact in mapping.dialects[adapter.dialect].parameters]
    hints += [option.hint for option in runtime.first.values()]
    used = [item for item in runtime.imports if any(re.search(rf"\b{item}\b", one) for one in hints)]
    named = bases + [(runtime.hints_module, item) for item in used]
    modules = sorted({module for module, _ in named})
    imports = [
        f"from {home} import {', '.join(sorted(item for module, item in named if module == home))}" for home in modules
    ]
    listed = "".join(f"    {literal(adapter.name)},\n" for adapter in chosen)
    head = "from __future__ import annotations\n\n"
    head += "from typing import Any\n\n" if re.search(r"\bAny\b", classes) else ""
    return (
        f'{HEAD}# ruff: noqa: E501, RUF100\n"""{runtime.about}"""\n\n{head}'
        + "".join(f"{line}\n" for line in sorted(imports))
        + f"\n__all__ = [\n{listed}]\n\n\n{classes}"
    )


def differences(mapping: Mapping, source: str, target: str) -> str:
    """Return what differs between two dialects: a table without notes, and the names that only one of them has."""
    table = rows(mapping, source, target)
    both = [row for row in table if row.source and row.target and row.category != SAME]
    short = [dataclasses.replace(row, note="") for row in both]
    lines = [line.removesuffix("  |") for line in markdown(mapping, source, target, short).splitlines()]
    lines[:2] = [line.rsplit("|", 2)[0] + "|" for line in lines[:2]]
    for dialect, alone in (
        (mapping.dialects[source], [(row.kind, row.source) for row in table if row.source and not row.target]),
        (mapping.dialects[target], [(row.kind, row.target) for row in table if row.target and not row.source]),
    ):
        for text, names in (
            ("", [f"`{name}`" for kind, name in alone if kind != "group"]),
            (", for one group of parameters", [f"`{name}`" for kind, name in alone if kind == "group"]),
        ):
            lines += ["", f"Only in {dialect.title}{text}: {', '.join(names)}."] if names else []
    return "\n".join(lines) + "\n"


def full_table(mapping: Mapping, source: str, target: str) -> str:
    """Return the table of two dialects with everything in it."""
    return markdown(mapping, source, target, rows(mapping, source, target))


TABLES = {"table": full_table, "differences": differences}


def page(mapping: Mapping, text: str) -> str:
    """A page with its tables replaced."""
    return MARK.sub(lambda m: m[1] + TABLES[m[2]](mapping, m[3], m[4]) + m[5], text)


def outputs(mapping: Mapping, home: Path) -> dict[Path, str]:
    """Every generated file and what it must hold."""
    pages = [home / name for name in PAGES]
    return {
        home / "adamcompat/mapping/tables.py": tables(mapping),
        **{home / f"adamcompat/mapping/{name}.py": tables_apart(mapping, name) for name, _ in APART.values()},
        **{home / runtime.path: adapters(mapping, name) for name, runtime in LOOKS.items()},
        **{path: page(mapping, path.read_text(encoding="utf-8")) for path in pages},
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    parser.add_argument("--root", type=Path, default=HOME, help="the checkout to work on (default: this one)")
    options = parser.parse_args(arguments)
    try:
        wanted = outputs(load(options.root / "mapping.yaml", executed=True), options.root)
    except MappingError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(options.root)} is out of date; run: {MEND}", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(options.root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
