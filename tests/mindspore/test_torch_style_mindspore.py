"""PyTorch's signature on MindSpore's Parameters, against PyTorch's recorded trajectories and a float64 reference."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, ops
from mindspore.experimental import optim
from numpy.typing import NDArray

import adamcompat
from adamcompat.mindspore import TorchStyleAdam, TorchStyleAdamW
from adamcompat.state import AdamState

pytestmark = pytest.mark.frameworks

DATA = dict(np.load(Path(__file__).parents[1] / "data/torch213_shared.npz"))
META = json.loads(bytes(DATA["meta"]))
CLASSES: dict[str, Any] = {"torch.optim.Adam": TorchStyleAdam, "torch.optim.AdamW": TorchStyleAdamW}
Array = NDArray[Any]


def parameters(arrays: list[Array]) -> list[Any]:
    return [Parameter(Tensor(array.copy()), name=f"p{i}") for i, array in enumerate(arrays)]


@pytest.mark.parametrize("name", META["cases"])
def test_the_recorded_trajectories_of_pytorch(name: str, mode: str) -> None:
    case = META["cases"][name]
    dtype = np.float64 if name.endswith("float64") else np.float32
    start = [DATA[f"x0/{i}"].astype(dtype) for i in range(3)]
    own = parameters(start)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in case["kwargs"].items()}
    params: Any = own
    if name.endswith("/groups"):
        params = [
            {"params": own[:2], "lr": 0.02, "betas": (0.8, 0.95)},
            {"params": own[2:], "weight_decay": 0.05, "eps": 1e-3, "amsgrad": True},
        ]
    optimizer = CLASSES[case["api"]](params, **given)
    for step in range(META["steps"]):
        if name.endswith("/lr_list"):
            ops.assign(optimizer.lrs[0], Tensor(0.1 / (step + 1), ms.float32))
        assert optimizer(tuple(Tensor(DATA[f"grad/{i}"][step].astype(dtype)) for i in range(3)))
        if step + 1 in META["keep"]:
            for i, parameter in enumerate(own):
                theirs = DATA[f"{name}/{step + 1}/{i}"]
                moved = np.abs(theirs - start[i]).max()
                # The learning rate is kept in float32. PyTorch rounds the factor of a decoupled decay to float32, which
                # in 50 steps makes up to 32 spacings.
                spacings = 40 if case["api"].endswith("AdamW") or name == "Adam/decoupled" else 4
                rounding = spacings * np.spacing(np.abs(theirs).max()) if dtype is np.float32 else 0
                assert np.abs(parameter.asnumpy() - theirs).max() <= 1e-6 * moved + rounding
                for slot in ("exp_avg", "exp_avg_sq"):
                    kept = DATA[f"{name}/{step + 1}/{i}/{slot}"]
                    assert np.abs(getattr(optimizer, slot)[i].asnumpy() - kept).max() <= 1e-6 * np.abs(kept).max()


def of_torch(start: Array, gradients: list[Array], *, decoupled: bool, **given: Any) -> Array:
    """PyTorch's documented algorithm in float64, written down anew."""
    (b1, b2), lr, eps = given["betas"], given["lr"], given["eps"]
    p, m, v, largest = start.astype(np.float64), 0.0, 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        g = -gradient.astype(np.float64) if given["maximize"] else gradient.astype(np.float64)
        if decoupled:
            p = p - lr * given["weight_decay"] * p
        else:
            g = g + given["weight_decay"] * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        largest = np.maximum(largest, v)
        below = np.sqrt((largest if given["amsgrad"] else v) / (1 - b2**t)) + eps
        p = p - lr * m / (1 - b1**t) / below
    return p


@pytest.mark.parametrize("kind", [TorchStyleAdam, TorchStyleAdamW])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-5, 1e-3, 1e-1])
@pytest.mark.parametrize("more", [{}, {"maximize": True, "weight_decay": 0.1}, {"amsgrad": True}], ids=str)
def test_a_thousand_steps_are_those_of_pytorch_to_a_millionth_of_the_movement(
    kind: Any, epsilon: float, more: dict[str, Any], mode: str
) -> None:
    # In GRAPH mode 1,000 steps of every case would take minutes.
    steps = 1000 if mode == "pynative" or epsilon == 1e-3 else 50
    rng = np.random.default_rng(3)
    start = rng.standard_normal(37)
    gradients = [rng.standard_normal(37) * 10.0 ** rng.uniform(-4, 1) for _ in range(steps)]
    # A learning rate that float32 holds.
    given: dict[str, Any] = {"lr": 0.0078125, "betas": (0.9, 0.999), "eps": epsilon, "weight_decay": 0.0}
    given |= {"amsgrad": False, "maximize": False} | more
    (parameter,) = parameters([start])
    optimizer = kind([parameter], **given)
    for gradient in gradients:
        optimizer((Tensor(gradient),))
    wanted = of_torch(start, gradients, decoupled=kind is TorchStyleAdamW, **given)
    assert np.abs(parameter.asnumpy() - wanted).max() <= 1e-6 * np.abs(wanted - start).max()


@pytest.mark.parametrize("dtype", [ms.float16, ms.bfloat16, ms.float32, ms.float64], ids=str)
def test_every_real_dtype_is_updated_in_both_modes(dtype: Any, mode: str) -> None:
    parameter = Parameter(Tensor(np.ones((3, 5)), dtype), name="w")
    optimizer = TorchStyleAdamW([parameter], lr=0.25)
    for _ in range(2):
        optimizer((Tensor(np.ones((3, 5)), dtype),))
    first = 1 * (1 - 0.25 * 0.01) - 0.25
    wanted = first * (1 - 0.25 * 0.01) - 0.25
    np.testing.assert_allclose(
        parameter.astype(ms.float64).asnumpy(), wanted, rtol=1e-2 if "16" in str(dtype) else 1e-5
    )


def test_numerics_of_keras_are_repeated_in_both_modes() -> None:
    found = []
    for chosen in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=chosen)
        (parameter,) = parameters([np.linspace(-1, 1, 33, dtype=np.float16)])
        optimizer = TorchStyleAdam([parameter], lr=0.01, numerics="keras3")
        for size in (1.0, 0.5, 0.25):
            optimizer((Tensor(np.full(33, size, np.float16)),))
        found.append(parameter.asnumpy())
    ms.set_context(mode=ms.PYNATIVE_MODE)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("numerics", ["torch", "mindspore", "tf1"])
def test_numerics_that_are_not_repeated_here_are_refused_by_name(numerics: str) -> None:
    with pytest.raises(ValueError, match=f"numerics='{numerics}': .*TorchStyleAdam does not round like that"):
        TorchStyleAdam(parameters([np.ones(2)]), numerics=numerics)


def test_it_is_an_optimizer_of_mindspore_and_its_schedulers_work(mode: str) -> None:
    (parameter,) = parameters([np.zeros(3)])
    optimizer = TorchStyleAdam([parameter], lr=0.5)
    assert isinstance(optimizer, optim.Optimizer)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(3):
        optimizer((Tensor(np.ones(3)),))
        scheduler.step()
    np.testing.assert_allclose(parameter.asnumpy(), -(0.5 + 0.25 + 0.125), rtol=1e-6)


def test_settings_of_a_group_count_as_they_are(mode: str) -> None:
    (parameter,) = parameters([np.zeros(3)])
    optimizer = TorchStyleAdam([parameter], lr=0.5, betas=(0.0, 0.0))
    steps = [0.0]
    for change in ({}, {"lr": 0.25}, {"maximize": True}, {"eps": 1.0}):
        optimizer.param_groups[0].update(change)
        optimizer((Tensor(np.ones(3)),))
        steps.append(float(parameter.asnumpy()[0]))
    np.testing.assert_allclose(np.diff(steps), [-0.5, -0.25, 0.25, 0.125], rtol=1e-6)


def test_betas_in_a_list_are_changed_in_place(mode: str) -> None:
    (parameter,) = parameters([np.zeros(3)])
    optimizer = TorchStyleAdam([parameter], lr=0.5)
    optimizer.param_groups[0]["betas"] = [0.0, 0.0]
    optimizer((Tensor(np.ones(3)),))
    optimizer.param_groups[0]["betas"][0] = 0.5
    optimizer((Tensor(np.ones(3)),))
    # The first moment stays at 1, and is divided by 1 - 0.5**2 now.
    np.testing.assert_allclose(parameter.asnumpy(), -(0.5 + 0.5 / 0.75), rtol=1e-6)


def test_a_group_may_come_later(mode: str) -> None:
    one, other = parameters([np.zeros(3), np.zeros(2)])
    optimizer = TorchStyleAdam([one], lr=0.5)
    optimizer((Tensor(np.ones(3)),))
    optimizer.add_param_group({"params": [other], "lr": 0.25, "amsgrad": True})
    optimizer((Tensor(np.ones(3)), Tensor(np.ones(2))))
    np.testing.assert_allclose(one.asnumpy(), -1.0, rtol=1e-6)
    assert (other.asnumpy() < 0).all()
    assert list(optimizer.parameters_dict()) == [
        *("p0", "exp_avg.p0", "exp_avg_sq.p0", "state_step"),
        *("p1", "exp_avg.p1", "exp_avg_sq.p1", "max_exp_avg_sq.p1"),
    ]


def test_a_function_of_ones_own_makes_the_same_step() -> None:
    start = [np.linspace(-1, 1, 9)]
    eager, optimizer = (TorchStyleAdamW(parameters(start), lr=0.5, amsgrad=True) for _ in range(2))

    @ms.jit  # type: ignore[untyped-decorator]
    def step(gradient: Any) -> Any:
        return optimizer((gradient,))

    for size in (1.0, 0.1):
        eager((Tensor(np.full(9, size)),))
        step(Tensor(np.full(9, size)))
    np.testing.assert_allclose(optimizer.parameters[0].asnumpy(), eager.parameters[0].asnumpy(), rtol=1e-12)


def test_state_moves_to_numpy_and_back() -> None:
    start = [np.linspace(-1, 1, 9, dtype=np.float32)]
    (parameter,) = parameters(start)
    here = TorchStyleAdamW([parameter], lr=0.5, amsgrad=True)
    for size in (3.0, 0.1):
        here((Tensor(np.full(9, size, np.float32)),))
    array = adamcompat.Parameter(np.zeros(9, np.float32), name="p0")
    there = adamcompat.TorchStyleAdamW([array], lr=0.5, amsgrad=True)
    AdamState.of(here).load_into(there, with_parameters=True)
    array.grad = np.full(9, 0.5, np.float32)
    there.step()
    again = TorchStyleAdamW(parameters(start), lr=0.5, amsgrad=True)
    AdamState.of(here).load_into(again, with_parameters=True)
    for optimizer in (here, again):
        optimizer((Tensor(np.full(9, 0.5, np.float32)),))
    np.testing.assert_array_equal(parameter.asnumpy(), again.parameters[0].asnumpy())
    np.testing.assert_allclose(array.data, parameter.asnumpy(), rtol=1e-6)
    assert AdamState.of(here).step == 3


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"lr": "0.1"}, TypeError, "lr must be a number of Python, got '0.1'"),
        ({"lr": math.inf}, ValueError, r"lr must lie in \[0, inf\)"),
        ({"betas": (0.9,)}, ValueError, "betas must be a tuple of 2 values"),
        ({"betas": (0.9, 1.0)}, ValueError, r"betas\[1\] must lie in \[0, 1\)"),
        ({"amsgrad": 1}, TypeError, "amsgrad must be True or False, got 1"),
        ({"learning_rate": 0.1}, TypeError, "'learning_rate' is .*MindSpore's.* name; here it is 'lr'"),
        ({"capturable": True}, ValueError, "capturable=True is not possible with MindSpore's Parameters"),
    ],
    ids=str,
)
def test_mistakes_are_said(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        TorchStyleAdam(parameters([np.ones(2)]), **options)


@pytest.mark.parametrize(
    ("gradients", "error", "said"),
    [
        ((None,), ValueError, "the gradient of 'p0' is None"),
        ((), RuntimeError, "got 0 gradients for 1 parameters"),
        ((Tensor(np.ones(3)),), RuntimeError, r"'p0' has shape \(3,\), but \(2,\) is needed"),
        (Tensor(np.ones(2)), TypeError, "gradients must be a tuple"),
    ],
    ids=["None", "too few", "shape", "no tuple"],
)
def test_gradients_that_do_not_fit_change_nothing(gradients: Any, error: type[Exception], said: str, mode: str) -> None:
    (parameter,) = parameters([np.ones(2)])
    optimizer = TorchStyleAdam([parameter])
    with pytest.raises(error, match=said):
        optimizer(gradients)
    assert (parameter.asnumpy() == 1).all()
    assert int(optimizer.state_step.asnumpy()) == 0


@pytest.mark.parametrize(
    ("rate", "error", "said"),
    [
        (-0.5, ValueError, r"'lr' of group 1 must lie in \[0, inf\), got -0.5"),
        (Tensor(-0.5), ValueError, r"must lie in \[0, inf\), got -0.5"),
        (math.nan, ValueError, r"must lie in \[0, inf\), got nan"),
        ("x", TypeError, "'lr' of group 1 must be a number, got 'x'"),
        (True, TypeError, "must be a number, got True"),
        (None, TypeError, "must be a number, got None"),
        ([0.1], TypeError, r"must be a number, got \[0.1\]"),
        (lambda: 0.1, TypeError, "must be a number, got <function"),
    ],
    ids=["negative", "tensor", "nan", "text", "flag", "none", "list", "function"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_wrong_learning_rate_of_a_group_changes_nothing(
    rate: Any, error: type[Exception], said: str, dtype: Any, mode: str
) -> None:
    own = parameters([np.ones(2, dtype), np.ones(2, dtype)])
    optimizer = TorchStyleAdam([{"params": own[:1]}, {"params": own[1:]}])
    optimizer.param_groups[1]["lr"] = rate
    with pytest.raises(error, match=said):
        optimizer(tuple(Tensor(np.ones(2, dtype)) for _ in own))
    assert all((parameter.asnumpy() == 1).all() for parameter in own) and int(optimizer.state_step.asnumpy()) == 0


@pytest.mark.parametrize("rate", [Tensor(-0.5), Tensor(math.nan), True])
def test_a_wrong_learning_rate_is_refused_where_it_is_given(rate: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="'lr' of group 0 must"):
        TorchStyleAdam(parameters([np.ones(2)]), lr=rate)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("lr", 0.1, r"cannot set 'lr': .* set optimizer\.param_groups\[0\]\['lr'\]"),
        ("learning_rate", 0.1, r"set optimizer\.param_groups\[0\]\['lr'\]"),
        ("betas", (0.5, 0.9), r"set optimizer\.param_groups\[0\]\['betas'\]"),
        ("beta_1", 0.5, r"set optimizer\.param_groups\[0\]\['betas'\]"),
        ("epsilon", 1e-3, r"set optimizer\.param_groups\[0\]\['eps'\]"),
        ("weight_decay", 0.0, r"set optimizer\.param_groups\[0\]\['weight_decay'\]"),
        ("amsgrad", True, "make a new optimizer with it"),
        ("clipnorm", 1.0, "cannot set 'clipnorm': .* has no counterpart"),
    ],
)
def test_settings_are_not_attributes(name: str, value: Any, said: str) -> None:
    optimizer = TorchStyleAdam(parameters([np.ones(2)]))
    with pytest.raises(AttributeError, match=said):
        setattr(optimizer, name, value)
    optimizer.comment = "kept"
    assert optimizer.comment == "kept"


def test_methods_of_pytorch_say_what_to_write() -> None:
    optimizer = TorchStyleAdam(parameters([np.ones(2)]))
    with pytest.raises(AttributeError, match=r"has no attribute 'step'.*Write optimizer\(gradients\)"):
        optimizer.step()
    with pytest.raises(AttributeError, match=r"has no attribute 'zero_grad'.*leave the line out"):
        optimizer.zero_grad()
    with pytest.raises(AttributeError, match=r"has no attribute 'other'"):
        _ = optimizer.other
    assert not hasattr(optimizer, "step")


def test_amsgrad_cannot_change_once_there_is_state() -> None:
    optimizer = TorchStyleAdam(parameters([np.ones(2)]))
    optimizer.param_groups[0]["amsgrad"] = True
    with pytest.raises(ValueError, match="'amsgrad' decides which state is kept"):
        optimizer((Tensor(np.ones(2)),))
