"""One table of optimizer inputs: every option, in each style that has it, with its reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat import (
    MindSporeStyleAdam,
    MindSporeStyleAdamWeightDecay,
    Parameter,
    TFStyleAdam,
    TFStyleAdamW,
)
from tests.reference import Reference

NAMES = ("dense.weight", "norm.gamma", "conv.weight", "scale")
SHAPES = ((3, 5), (7,), (2, 3, 3, 4), ())
# "gamma" is in a name, so MindSpore's filter spares the second parameter.
SPARED = (True, False, True, True)


@dataclass(frozen=True)
class Case:
    """One configuration; None where a style cannot say it, or another case says it too."""

    name: str
    reference: dict[str, Any] = field(default_factory=dict)
    tf: dict[str, Any] | None = None
    ms: dict[str, Any] | None = None
    tf_w: dict[str, Any] | None = None
    ms_w: dict[str, Any] | None = None
    groups: Callable[[list[Parameter]], list[dict[str, Any]]] | None = None


def rate(step: int) -> float:
    return 0.01 / (1 + 0.1 * step)


def tenth(step: int) -> float:
    return 0.1


def falling_decay(step: int) -> float:
    return 0.1 * 0.99**step


def grouped(parameters: list[Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": [parameters[2], parameters[0]], "lr": 0.02},
        {"params": [parameters[1], parameters[3]], "weight_decay": 0.05},
        {"order_params": parameters},
    ]


def centralized(parameters: list[Parameter]) -> list[dict[str, Any]]:
    return [{"params": parameters, "grad_centralization": True}]


_FAST = 0.01
CASES = (
    Case("default", {}, {}, {"eps": 1e-7}),
    Case("learning_rate", {"lr": lambda _: _FAST}, {"learning_rate": _FAST}, {"learning_rate": _FAST, "eps": 1e-7}),
    Case("betas", {"b1": 0.5, "b2": 0.9}, {"beta_1": 0.5, "beta_2": 0.9}, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-7}),
    Case("callable betas", {"b1": 0.5, "b2": 0.9}, {"beta_1": lambda: 0.5, "beta_2": lambda: 0.9}),
    Case("beta1 zero", {"b1": 0.0, "b2": 0.5}, {"beta_1": 0.0, "beta_2": 0.5}),
    Case("epsilon", {"eps": 0.1}, {"epsilon": 0.1}, {"eps": 0.1}),
    Case("amsgrad", {"amsgrad": True}, {"amsgrad": True}, {"use_amsgrad": True, "eps": 1e-7}),
    Case("nesterov", {"nesterov": True}, None, {"use_nesterov": True, "eps": 1e-7}),
    Case("list", {"lr": rate}, {"learning_rate": [rate(t) for t in range(1000)]},
         {"learning_rate": [rate(t) for t in range(1000)], "eps": 1e-7}),
    Case("schedule", {"lr": rate}, {"learning_rate": rate}, {"learning_rate": rate, "eps": 1e-7}),
    Case("callable of nothing", {"lr": lambda _: _FAST}, {"learning_rate": lambda: _FAST},
         {"learning_rate": lambda: _FAST, "eps": 1e-7}),
    Case("old lr", {"lr": lambda _: _FAST}, {"lr": _FAST}),
    Case("old decay", {"lr": lambda _: _FAST, "time_decay": 0.1}, {"learning_rate": _FAST, "decay": 0.1}),
    Case("decoupled decay", {"lr": lambda _: _FAST, "decoupled": tenth}, {"learning_rate": _FAST, "weight_decay": 0.1}),
    Case("decoupled decay, schedule", {"lr": rate, "decoupled": tenth}, {"learning_rate": rate, "weight_decay": 0.1}),
    Case("l2 decay", {"l2": lambda _: 0.1, "decays": SPARED}, None, {"weight_decay": 0.1, "eps": 1e-7}),
    Case("l2 decay and loss scale", {"l2": lambda _: 0.1, "decays": SPARED, "scale": 3.0}, None,
         {"weight_decay": 0.1, "loss_scale": 3.0, "eps": 1e-7}),
    Case("l2 decay, callable", {"l2": falling_decay, "decays": SPARED}, None,
         {"weight_decay": falling_decay, "eps": 1e-7}),
    Case("loss scale", {"scale": 1000.0, "eps": 1e-3}, {"loss_scale_factor": 1000.0, "epsilon": 1e-3},
         {"loss_scale": 1000.0, "eps": 1e-3}),
    Case("clipnorm", {"clipnorm": 0.5}, {"clipnorm": 0.5}),
    Case("clipvalue", {"clipvalue": 0.1}, {"clipvalue": 0.1}),
    Case("global_clipnorm", {"global_clipnorm": 0.5}, {"global_clipnorm": 0.5}),
    Case("ema", {"ema": 0.9}, {"use_ema": True, "ema_momentum": 0.9}),
    Case("ema overwrites", {"ema": 0.9, "ema_every": 3},
         {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3}),
    Case("accumulation", {"accumulate": 4}, {"gradient_accumulation_steps": 4}),
    Case("accumulation, schedule", {"accumulate": 3, "lr": rate},
         {"gradient_accumulation_steps": 3, "learning_rate": rate}),
    Case("tensorflow together",
         {"lr": rate, "amsgrad": True, "decoupled": lambda _: 0.01, "global_clipnorm": 1.0, "ema": 0.95, "ema_every": 5,
          "scale": 8.0, "accumulate": 2, "eps": 1e-4},
         {"learning_rate": rate, "amsgrad": True, "weight_decay": 0.01, "global_clipnorm": 1.0, "use_ema": True,
          "ema_momentum": 0.95, "ema_overwrite_frequency": 5, "loss_scale_factor": 8.0,
          "gradient_accumulation_steps": 2, "epsilon": 1e-4}),
    Case("groups", {"lrs": [lambda _: 0.02, lambda _: 0.005, lambda _: 0.02, lambda _: 0.005],
                    "l2": lambda _: 0.05, "decays": (False, True, False, True)}, None,
         {"learning_rate": 0.005, "eps": 1e-7}, groups=grouped),
    Case("centralization", {"centralize": True}, None, {"eps": 1e-7}, groups=centralized),
    Case("centralization and decay", {"centralize": True, "l2": lambda _: 0.1}, None,
         {"weight_decay": 0.1, "eps": 1e-7}, groups=centralized),
    Case("mindspore together",
         {"lr": rate, "nesterov": True, "l2": lambda _: 0.01, "decays": SPARED, "scale": 4.0, "b1": 0.8, "b2": 0.95},
         None,
         {"learning_rate": rate, "use_nesterov": True, "weight_decay": 0.01, "loss_scale": 4.0, "beta1": 0.8,
          "beta2": 0.95, "eps": 1e-7}),
    Case("flags without effect on dense gradients", {}, None, {"use_locking": True, "use_lazy": True, "eps": 1e-7}),
    Case("offload", {}, None, {"use_offload": True, "eps": 1e-7}),
    Case("AdamW", {"decoupled": lambda _: 0.004}, tf_w={}),
    Case("AdamW without decay", {"lr": lambda _: _FAST}, tf_w={"learning_rate": _FAST, "weight_decay": 0.0}),
    Case("AdamW, old lr and decay", {"lr": lambda _: _FAST, "time_decay": 0.1, "decoupled": tenth},
         tf_w={"lr": _FAST, "decay": 0.1, "weight_decay": 0.1}),
    Case("AdamW together",
         {"lr": rate, "amsgrad": True, "decoupled": lambda _: 0.01, "clipnorm": 1.0, "ema": 0.95, "ema_every": 5,
          "scale": 8.0, "accumulate": 2, "eps": 1e-4},
         tf_w={"learning_rate": rate, "amsgrad": True, "weight_decay": 0.01, "clipnorm": 1.0, "use_ema": True,
               "ema_momentum": 0.95, "ema_overwrite_frequency": 5, "loss_scale_factor": 8.0,
               "gradient_accumulation_steps": 2, "epsilon": 1e-4}),
    Case("AdamWeightDecay", {"corrects": False, "eps": 1e-6}, ms_w={}),
    Case("AdamWeightDecay, decay",
         {"corrects": False, "eps": 1e-3, "decoupled": tenth, "decays": SPARED, "lr": rate},
         ms_w={"learning_rate": rate, "eps": 1e-3, "weight_decay": 0.1}),
    Case("AdamWeightDecay, decay by a callable",
         {"corrects": False, "eps": 1e-3, "decoupled": falling_decay, "decays": SPARED, "b1": 0.8, "b2": 0.95},
         ms_w={"eps": 1e-3, "weight_decay": falling_decay, "beta1": 0.8, "beta2": 0.95}),
    Case("AdamWeightDecay, groups",
         {"lrs": [lambda _: 0.02, lambda _: 0.005, lambda _: 0.02, lambda _: 0.005], "corrects": False, "eps": 1e-3,
          "decoupled": lambda _: 0.05, "decays": (False, True, False, True)},
         ms_w={"learning_rate": 0.005, "eps": 1e-3}, groups=grouped),
)  # fmt: skip

# The class of each style; those of TensorFlow take pairs.
CLASSES: dict[str, Any] = {
    "tf": TFStyleAdam,
    "ms": MindSporeStyleAdam,
    "tf_w": TFStyleAdamW,
    "ms_w": MindSporeStyleAdamWeightDecay,
}
STYLES = tuple(CLASSES)
EACH = [(case, style) for case in CASES for style in STYLES if getattr(case, style) is not None]
IDS = [f"{case.name}-{style}" for case, style in EACH]


class Run:
    """An optimizer of either style over the table's parameters."""

    def __init__(
        self,
        case: Case,
        style: str,
        start: list[NDArray[Any]],
        numerics: str = "canonical",
        layout: Callable[[NDArray[Any]], NDArray[Any]] = np.array,
    ) -> None:
        self.arrays = [layout(array) for array in start]
        parameters = [Parameter(array, name=name) for array, name in zip(self.arrays, NAMES, strict=False)]
        self.parameters = parameters
        given = getattr(case, style)
        assert given is not None
        chosen: Any = case.groups(parameters) if case.groups else parameters
        self.pairs = style.startswith("tf")
        arguments = () if self.pairs else (chosen,)
        self.optimizer: Any = CLASSES[style](*arguments, **given, numerics=numerics)

    def step(self, gradients: list[Any]) -> None:
        if self.pairs:
            self.optimizer.apply_gradients(zip(gradients, self.parameters, strict=True))
        else:
            self.optimizer(tuple(gradients))


def reference(case: Case) -> Reference:
    return Reference(**case.reference)


def stream(steps: int, seed: int = 0, dtype: Any = np.float64) -> tuple[list[NDArray[Any]], list[list[NDArray[Any]]]]:
    """Start values and gradients whose size varies over seven orders of magnitude."""
    rng = np.random.default_rng(seed)
    start = [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]
    sizes = 10.0 ** rng.uniform(-6, 1, steps)
    return start, [[np.asarray(rng.standard_normal(shape) * size, dtype) for shape in SHAPES] for size in sizes]


def by_norm(case: Case) -> bool:
    """Whether a case clips by a norm."""
    return bool({"clipnorm", "global_clipnorm"} & set(case.reference))


def assert_same(one: NDArray[Any], other: NDArray[Any], summed: bool) -> None:
    """Identical bits; `summed`: up to the order of a sum, which float64 shows in its last digits."""
    if summed and one.dtype == np.float64:
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    else:
        np.testing.assert_array_equal(one, other)


def assert_close(ours: list[Any], theirs: list[Any], exact: bool = False) -> None:
    """The same arrays: in every bit, or to two spacings of each array's largest element."""
    for one, other in zip(ours, theirs, strict=True):
        if exact:
            np.testing.assert_array_equal(one, other)
        else:
            atol = 2 * float(np.spacing(np.abs(other).max(initial=0)))
            np.testing.assert_allclose(one, other, rtol=0, atol=atol)
