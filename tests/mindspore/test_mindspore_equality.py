"""The same bits as the installed nn.Adam and nn.AdamWeightDecay."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn  # noqa: E402

from adamcompat import MindSporeStyleAdamWeightDecay  # noqa: E402
from adamcompat import Parameter as NamedArray  # noqa: E402
from adamcompat.mindspore import Adam, AdamWeightDecay  # noqa: E402
from tests.mindspore.mindspore_bits import assert_same, needs_products_of_bfloat16  # noqa: E402

pytestmark = [pytest.mark.frameworks, pytest.mark.slow]

# More than any schedule below takes to its end.
STEPS = 50
NAMES = ["dense.weight", "bn.gamma", "conv.weight", "scalar", "bn.beta", "large"]
# With and without a rest of n % 8, one element, and more than one block.
SHAPES = [(3, 5), (7,), (2, 3, 3, 4), (), (16,), (131, 33)]

Layout = Callable[[list[Any]], list[Any]]
STOCK: dict[type[Any], type[Any]] = {Adam: nn.Adam, AdamWeightDecay: nn.AdamWeightDecay}


def plain(parameters: list[Any]) -> list[Any]:
    return parameters


def groups(first: dict[str, Any], second: dict[str, Any], *, ordered: bool = True) -> Layout:
    def split(parameters: list[Any]) -> list[Any]:
        found: list[Any] = [{"params": parameters[::2], **first}, {"params": parameters[1::2], **second}]
        return [*found, {"order_params": parameters}] if ordered else found

    return split


class Warm(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    def construct(self, step: Any) -> Any:
        return 0.01 * (step + 1.0) / (step + 10.0)


class Holding(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.base = Parameter(Tensor(0.02, ms.float32), name="base")

    def construct(self, step: Any) -> Any:
        return self.base / (step + 1.0)


class Decay(nn.Cell):  # type: ignore[misc]
    def construct(self, step: Any) -> Any:
        return 0.1 / (step + 1.0)


RATES = [0.1 / (step + 1) for step in range(STEPS)]
CASES: dict[str, tuple[Layout, Callable[[], dict[str, Any]]]] = {
    "default": (plain, dict),
    "lr": (plain, lambda: {"learning_rate": 0.05}),
    "betas": (plain, lambda: {"beta1": 0.5, "beta2": 0.9}),
    "eps_large": (plain, lambda: {"eps": 0.1}),
    "eps_1e-3": (plain, lambda: {"eps": 1e-3}),
    "nesterov": (plain, lambda: {"use_nesterov": True, "eps": 1e-3}),
    "amsgrad": (plain, lambda: {"use_amsgrad": True, "learning_rate": 0.01}),
    "locking": (plain, lambda: {"use_locking": True}),
    "weight_decay": (plain, lambda: {"weight_decay": 0.1, "eps": 1e-3}),
    "loss_scale": (plain, lambda: {"loss_scale": 1024.0, "eps": 1e-3}),
    "odd_loss_scale": (plain, lambda: {"loss_scale": 3.0, "eps": 1e-3}),
    "decay_and_scale": (plain, lambda: {"weight_decay": 0.1, "loss_scale": 8.0, "eps": 1e-3}),
    "lr_list": (plain, lambda: {"learning_rate": RATES}),
    "lr_tensor": (plain, lambda: {"learning_rate": Tensor(np.array(RATES, np.float32))}),
    "lr_scalar_tensor": (plain, lambda: {"learning_rate": Tensor(0.02, ms.float32)}),
    "exponential_decay": (plain, lambda: {"learning_rate": nn.ExponentialDecayLR(0.01, 0.5, 5)}),
    "cosine_decay": (plain, lambda: {"learning_rate": nn.CosineDecayLR(0.001, 0.1, 30)}),
    "polynomial_decay": (plain, lambda: {"learning_rate": nn.PolynomialDecayLR(0.1, 0.01, 40, 0.5)}),
    "natural_exp_decay": (plain, lambda: {"learning_rate": nn.NaturalExpDecayLR(0.1, 0.9, 4, True)}),
    "inverse_decay": (plain, lambda: {"learning_rate": nn.InverseDecayLR(0.1, 0.5, 4, True)}),
    "warm_up": (plain, lambda: {"learning_rate": nn.WarmUpLR(0.1, 20)}),
    "own_schedule": (plain, lambda: {"learning_rate": Warm()}),
    "schedule_with_parameter": (plain, lambda: {"learning_rate": Holding()}),
    "dynamic_decay": (plain, lambda: {"weight_decay": Decay(), "loss_scale": 2.0, "eps": 1e-3}),
    "groups": (groups({"lr": 0.02}, {"weight_decay": 0.05}), lambda: {"learning_rate": 0.005, "eps": 1e-3}),
    "groups_unordered": (groups({"lr": 0.02}, {"weight_decay": 0.05}, ordered=False), lambda: {"eps": 1e-3}),
    "groups_decay_gamma": (groups({"lr": 0.02}, {}), lambda: {"weight_decay": 0.05, "eps": 1e-3}),
    "groups_mixed_rates": (groups({"lr": nn.WarmUpLR(0.1, 20)}, {"lr": 0.001}), dict),
    "groups_dynamic_decay": (groups({"weight_decay": Decay()}, {"lr": RATES}), lambda: {"learning_rate": RATES}),
    "groups_amsgrad": (groups({"lr": 0.02}, {"weight_decay": 0.05}), lambda: {"use_amsgrad": True}),
    "groups_every_key": (
        groups(
            {"lr": RATES, "weight_decay": 0.02, "grad_centralization": False},
            {"lr": nn.ExponentialDecayLR(0.01, 0.5, 5), "weight_decay": Decay(), "grad_centralization": False},
        ),
        lambda: {"learning_rate": RATES, "weight_decay": 0.1, "loss_scale": 4.0, "use_nesterov": True},
    ),
    "groups_no_centralization": (groups({"grad_centralization": False}, {}), dict),
    "lazy": (plain, lambda: {"use_lazy": True, "use_nesterov": True}),
    "all": (
        plain,
        lambda: {
            "learning_rate": 0.02,
            "beta1": 0.8,
            "beta2": 0.95,
            "eps": 1e-4,
            "use_nesterov": True,
            "weight_decay": 0.01,
            "loss_scale": 4.0,
        },
    ),
}
for _nesterov, _amsgrad, _decay, _scale in itertools.product((False, True), (False, True), (0.0, 0.03), (1.0, 6.0)):
    if not (_nesterov and _amsgrad):
        CASES[f"nesterov={_nesterov},amsgrad={_amsgrad},decay={_decay},scale={_scale}"] = (
            plain,
            lambda n=_nesterov, a=_amsgrad, d=_decay, s=_scale: {  # type: ignore[misc]
                "use_nesterov": n,
                "use_amsgrad": a,
                "weight_decay": d,
                "loss_scale": s,
                "eps": 1e-5,
            },
        )


def trained(
    optimizer: type[Any],
    layout: Layout,
    arguments: dict[str, Any],
    dtype: Any = ms.float32,
    steps: int = STEPS,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
) -> dict[str, NDArray[Any]]:
    """Everything that is kept after some steps with gradients of very different sizes."""
    rng = np.random.default_rng(1)
    parameters = [
        Parameter(Tensor(rng.standard_normal(shape), dtype), name=name)
        for shape, name in zip(shapes, NAMES, strict=False)
    ]
    chosen = optimizer(layout(parameters), **arguments)
    for _ in range(steps):
        scale = 10.0 ** rng.uniform(-6, 1)
        found = tuple(Tensor(rng.standard_normal(p.shape) * scale, dtype) for p in chosen.parameters)
        assert chosen(found) == (True,) * len(found)
    return {name: kept.asnumpy().copy() for name, kept in chosen.parameters_dict().items()}


@functools.cache
def trained_stock(case: str, kind: Any, dtype: Any = ms.float32) -> dict[str, NDArray[Any]]:
    """The same by the original, whose step is a graph in either mode, so that its bits are the same in both."""
    if dtype != ms.float32:
        return trained(STOCK[kind], plain, HALF[case], dtype)
    layout, make = CASES[case]
    return trained(STOCK[kind], layout, make(), shapes=shapes_of(case, kind))


def of_both(cases: dict[str, dict[str, Any]]) -> list[Any]:
    """Each member of the family with the cases that it knows all arguments of."""
    known = {AdamWeightDecay: inspect.signature(AdamWeightDecay).parameters}
    return [
        pytest.param(kind, case, id=f"{kind.__name__}-{case}")
        for kind in STOCK
        for case, arguments in cases.items()
        if kind is Adam or arguments.keys() <= known[kind].keys()
    ]


def shapes_of(case: str, kind: Any) -> list[tuple[int, ...]]:
    """nn.Adam has neither AMSGrad nor a scheduled decay for a Parameter without axes."""
    if kind is not Adam:
        return SHAPES
    refused = CASES[case][1]().get("use_amsgrad") or "dynamic_decay" in case or "every_key" in case
    return [shape or (1,) for shape in SHAPES] if refused else SHAPES


def assert_same_bits(ours: dict[str, NDArray[Any]], theirs: dict[str, NDArray[Any]]) -> None:
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert_same(ours[name], value, name)


@pytest.mark.parametrize(("kind", "case"), of_both({case: make() for case, (_, make) in CASES.items()}))
def test_float32(kind: Any, case: str, mode: str) -> None:
    layout, make = CASES[case]
    assert_same_bits(trained(kind, layout, make(), shapes=shapes_of(case, kind)), trained_stock(case, kind))


HALF: dict[str, dict[str, Any]] = {
    "default": {},
    "nesterov": {"use_nesterov": True, "eps": 1e-3},
    "decay": {"weight_decay": 0.1, "eps": 1e-3},
    "scale": {"loss_scale": 6.0, "eps": 1e-3},
    "decay_and_scale": {"weight_decay": 0.1, "loss_scale": 8.0, "eps": 1e-3},
}


@pytest.mark.parametrize(("kind", "case"), of_both(HALF))
def test_float16(kind: Any, case: str, mode: str) -> None:
    assert_same_bits(trained(kind, plain, HALF[case], ms.float16), trained_stock(case, kind, ms.float16))


def test_float64_that_is_updated_in_float32(mode: str) -> None:
    """As nn.AdamWeightDecay does; with corrections it is not."""
    with pytest.warns(UserWarning, match="updated, and so kept, with the precision of float32") as caught:
        ours = trained(AdamWeightDecay, plain, HALF["decay"], ms.float64)
    assert [warning.filename for warning in caught] == [__file__]
    assert_same_bits(ours, trained_stock("decay", AdamWeightDecay, ms.float64))
    corrected = trained(AdamWeightDecay, plain, HALF["decay"] | {"corrections": True}, ms.float64)
    rng = np.random.default_rng(1)
    arrays = [NamedArray(rng.standard_normal(shape), name=name) for shape, name in zip(SHAPES, NAMES, strict=True)]
    reference = MindSporeStyleAdamWeightDecay(arrays, **HALF["decay"])
    for _ in range(STEPS):
        scale = 10.0 ** rng.uniform(-6, 1)
        reference([rng.standard_normal(shape) * scale for shape in SHAPES])
    for name, array in zip(NAMES, arrays, strict=True):
        np.testing.assert_allclose(corrected[name], array.data, rtol=1e-6, atol=1e-6)
        assert not np.array_equal(corrected[name].astype(np.float32), corrected[name])


def test_float64_of_amsgrad(mode: str) -> None:
    """The only float64 that nn.Adam has."""
    arguments, shapes = {"use_amsgrad": True, "loss_scale": 3.0, "weight_decay": 0.1}, [(3, 5), (7,), (131, 33)]
    ours, theirs = (trained(kind, plain, arguments, ms.float64, shapes=shapes) for kind in (Adam, nn.Adam))
    assert_same_bits(ours, theirs)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 15, 17, 999, 1000, 1001, 1003, 1999, 2001, 2003, 10_007, 300_007])
@pytest.mark.parametrize(
    ("member", "more"), [(Adam, {}), (Adam, {"use_nesterov": True}), (AdamWeightDecay, {"weight_decay": 0.1})], ids=str
)
def test_sizes(size: int, member: Any, more: dict[str, Any]) -> None:
    """The last bits depend on where MindSpore's threads divide a tensor."""
    arguments = {"learning_rate": 0.05, **more}
    ours, theirs = (trained(kind, plain, arguments, steps=20, shapes=[(size,)]) for kind in (member, STOCK[member]))
    assert_same_bits(ours, theirs)


@pytest.mark.parametrize("dtype", ["float64", "complex64", "uint8", "float16", "bfloat16", "int32", "bool"])
@pytest.mark.parametrize("parameter", ["float32", "float16"])
def test_gradients_become_what_the_parameter_is(dtype: str, parameter: str, mode: str) -> None:
    found = []
    for kind in (nn.AdamWeightDecay, AdamWeightDecay):
        weight = Parameter(Tensor(np.linspace(1, 2, 11), getattr(ms, parameter)), name="weight")
        optimizer = kind([weight], 0.1, weight_decay=0.1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(3):
                values = np.abs(np.linspace(-3, 3 + step, 11)) + (1j if dtype == "complex64" else 0)
                optimizer((Tensor(values, getattr(ms, dtype)),))
        found.append(weight.asnumpy())
    assert_same(*found)
    said = [str(warning.message) for warning in caught if "imaginary part" in str(warning.message)]
    assert len(said) == (dtype == "complex64"), "once a process"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "bool"])
@pytest.mark.parametrize("arguments", [{}, {"loss_scale": 8.0}, {"use_amsgrad": True}], ids=str)
def test_gradients_of_another_dtype(dtype: str, arguments: dict[str, Any]) -> None:
    if dtype in ("int32", "bool") and "loss_scale" in arguments:
        pytest.skip("nn.Adam converts 1/8 to the gradient's dtype, which gives 0 or True")
    if dtype == "bfloat16" and "loss_scale" in arguments:
        needs_products_of_bfloat16()
    found = []
    for kind in (Adam, nn.Adam):
        weight = Parameter(Tensor(np.linspace(1, 2, 11), ms.float32), name="weight")
        optimizer = kind([weight], 0.1, **arguments)
        for step in range(5):
            optimizer((Tensor(np.linspace(-3, 3 + step, 11), getattr(ms, dtype)),))
        found.append(weight.asnumpy())
    assert_same(*found)


with np.load(Path(__file__).parent.parent / "data" / "ms210_shared.npz") as _file:
    # Read whole: each look into the file would read and unpack an array anew.
    GOLDEN = dict(_file)
META = json.loads(bytes(GOLDEN["meta"]))
# What JSON does not hold of a case: its groups, or its schedule.
RECORDED: dict[str, tuple[Layout, dict[str, Any]]] = {
    "exponential_decay": (plain, {"learning_rate": nn.ExponentialDecayLR(0.01, 0.5, 5)}),
    "groups": (lambda p: [{"params": p[:2], "lr": 0.02}, {"params": p[2:], "weight_decay": 0.05}], {}),
    "groups_decay_gamma": (lambda p: [{"params": p[:2], "lr": 0.02}, {"params": p[2:]}], {}),
}


@pytest.mark.parametrize("case", META["cases"])
def test_recorded(case: str, mode: str) -> None:
    """Trajectories that mindspore.nn.Adam 2.10 wrote on another machine."""
    parameters = [Parameter(Tensor(GOLDEN[f"x0/{i}"].copy()), name=name) for i, name in enumerate(META["names"])]
    layout, more = RECORDED.get(case, (plain, {}))
    optimizer = Adam(layout(parameters), **{**META["cases"][case]["kwargs"], **more})
    for step in range(META["steps"]):
        optimizer(tuple(Tensor(GOLDEN[f"grad/{i}"][step]) for i in range(len(parameters))))
        if step + 1 in META["keep"]:
            for i, parameter in enumerate(parameters):
                assert_same(parameter.asnumpy(), GOLDEN[f"{case}/{step + 1}/{i}"])
