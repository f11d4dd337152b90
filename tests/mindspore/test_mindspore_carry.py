"""State in and out of MindSpore's optimizers: stock and ours, in both modes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from adamcompat import MindSporeStyleAdam, MindSporeStyleAdamWeightDecay, TFStyleAdamW
from adamcompat import Parameter as NumPyParameter
from adamcompat.mindspore import Adam, AdamWeightDecay, TFStyleAdam
from adamcompat.state import AdamState, StateError, mindspore_places
from tests.mindspore.mindspore_bits import assert_same

SHAPES = ((3, 5), (7,), (2, 3, 3, 4), (1,))
NAMES = tuple(f"p{i}" for i in range(len(SHAPES)))
KINDS: dict[str, Callable[..., Any]] = {"stock": nn.Adam, "ours": Adam}
DECAYS: dict[str, Callable[..., Any]] = {"stock decay": nn.AdamWeightDecay, "our decay": AdamWeightDecay}
KINDS |= DECAYS
OPTIONS: dict[str, Any] = {"learning_rate": 0.01, "eps": 1e-7}


def parameters(seed: int = 0, dtype: Any = ms.float32) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [
        Parameter(Tensor(rng.standard_normal(shape), dtype), name=name)
        for name, shape in zip(NAMES, SHAPES, strict=True)
    ]


def gradients(steps: int, seed: int = 1, dtype: Any = ms.float32) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(Tensor(rng.standard_normal(shape), dtype) for shape in SHAPES) for _ in range(steps)]


def trained(kind: str, steps: int = 5, **options: Any) -> tuple[Any, list[Any]]:
    own = parameters()
    optimizer = KINDS[kind](own, **OPTIONS, **options)
    for step in gradients(steps):
        optimizer(step)
    return optimizer, own


def assert_equal(one: Sequence[Any], other: Sequence[Any]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy(), err_msg=a.name)


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {"use_amsgrad": amsgrad}) for kind in ("stock", "ours") for amsgrad in (False, True)),
        *((kind, {"weight_decay": 0.1}) for kind in DECAYS),
    ],
    ids=str,
)
def test_another_optimizer_goes_on_bit_for_bit(kind: str, options: dict[str, Any], warm: bool, mode: str) -> None:
    """Warm: after steps of its own, when the original's compiled step holds on to its buffers."""
    old, own = trained(kind, **options)
    others = parameters(seed=9)
    new = KINDS[kind](others, **OPTIONS, **options)
    for step in gradients(2, seed=3) if warm else ():
        new(step)
    state = AdamState.of(old)
    assert (state.step, state.names, state.convention) == (5, NAMES, "mindspore")
    state.load_into(new, with_parameters=True)
    for step in gradients(5, seed=2):
        old(step)
        new(step)
    assert_equal(own, others)
    assert_equal(list(old.get_parameters()), list(new.get_parameters()))
    assert AdamState.of(new).step == 10


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_goes_on_in_its_numerics(kind: str) -> None:
    old, own = trained(kind)
    weights = [NumPyParameter(p.asnumpy().copy(), p.name) for p in own]
    style = MindSporeStyleAdamWeightDecay if kind in DECAYS else MindSporeStyleAdam
    numpy = style(weights, **OPTIONS, numerics="mindspore")
    AdamState.of(old).load_into(numpy)
    for step in gradients(5, seed=2):
        old(step)
        numpy([gradient.asnumpy() for gradient in step])
    for one, other in zip(own, weights, strict=True):
        assert_same(other.data, one.asnumpy(), one.name)


@pytest.mark.parametrize("kind", DECAYS)
def test_the_decoupled_members_carry_on_from_each_other(kind: str) -> None:
    """There and back: moments and steps have the same bits, and there are no products of the betas."""
    old, own = trained(kind)
    state = AdamState.of(old)
    assert state.dialect == "mindspore_adamweightdecay"
    assert {"learning_rate": 0.01, "beta1": 0.9, "epsilon": 1e-7}.items() <= {
        name: round(value, 7) for name, value in state.hyperparameters.items()
    }.items()
    weights = [NumPyParameter(p.asnumpy().copy(), p.name) for p in own]
    keras = TFStyleAdamW(0.01)
    keras.build(weights)
    with pytest.warns(UserWarning, match="bias correction of both instead of none"):
        state.load_into(keras)
    new = KINDS[kind](parameters(seed=9), **OPTIONS)
    with pytest.warns(UserWarning, match="bias correction of none instead of both"):
        AdamState.of(keras).load_into(new)
    assert new.global_step.asnumpy().tolist() == [5]
    assert_equal(old.moments1, new.moments1)
    assert_equal(old.moments2, new.moments2)


def test_writing_does_not_freeze() -> None:
    optimizer, own = trained("stock")
    mindspore_places.Place(own[0]).write(np.ones(SHAPES[0], np.float32))
    for step in gradients(2):
        optimizer(step)
    assert not (own[0].asnumpy() == 1).any()


def test_what_was_frozen_goes_on(mode: str) -> None:
    """nn.Adam in PYNATIVE mode stops to train after set_data; loading state mends that."""
    state = AdamState.of(trained("stock")[0])
    optimizer, own = trained("stock")
    own[0].set_data(Tensor(np.ones(SHAPES[0], np.float32)))
    state.load_into(optimizer, with_parameters=True)
    expected, theirs = trained("ours")
    for step in gradients(2, seed=2):
        optimizer(step)
        expected(step)
    for one, other in zip(own, theirs, strict=True):
        assert_same(one.asnumpy(), other.asnumpy(), one.name)


def test_groups_keep_their_order_and_rates(mode: str) -> None:
    def grouped(own: list[Any]) -> Any:
        groups = [
            {"params": [own[2], own[0]], "lr": 0.02},
            {"params": [own[1], own[3]], "weight_decay": 0.05},
            {"order_params": own},
        ]
        return nn.Adam(groups, **OPTIONS)

    own, others = parameters(), parameters(seed=9)
    old, new = grouped(own), grouped(others)
    for step in gradients(5):
        old(step)
    state = AdamState.of(old)
    assert state.names == NAMES
    state.load_into(new, with_parameters=True)
    for step in gradients(3, seed=2):
        old(step)
        new(step)
    assert_equal(own, others)
    without_order = nn.Adam([{"params": others[2:]}, {"params": others[:2]}], **OPTIONS)
    state.load_into(without_order)
    assert AdamState.of(without_order).names == ("p2", "p3", "p0", "p1")
    np.testing.assert_array_equal(without_order.moment1[2].asnumpy(), state.first_moment["p0"])


def test_schedules_and_compiled_steps_go_on(mode: str) -> None:
    def made(own: list[Any]) -> tuple[Any, Any]:
        rate = nn.ExponentialDecayLR(0.01, 0.5, 4, True)
        optimizer = nn.Adam(own, rate, eps=1e-7)

        @ms.jit  # type: ignore[untyped-decorator]
        def step(gradients: Any) -> Any:
            return optimizer(gradients)

        return optimizer, step

    own, others = parameters(), parameters(seed=9)
    (old, old_step), (new, new_step) = made(own), made(others)
    for step in gradients(5):
        old_step(step)
    for step in gradients(2, seed=3):
        new_step(step)
    AdamState.of(old).load_into(new, with_parameters=True)
    for step in gradients(5, seed=2):
        old_step(step)
        new_step(step)
    assert_equal(own, others)


def test_a_network_in_training_goes_on(mode: str) -> None:
    def cells() -> tuple[Any, Any]:
        ms.set_seed(1)
        net = nn.SequentialCell(nn.Dense(4, 6), nn.ReLU(), nn.Dense(6, 2))
        optimizer = nn.Adam(net.trainable_params(), **OPTIONS)
        return optimizer, nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)

    rng = np.random.default_rng(0)
    x, y = (Tensor(rng.standard_normal((8, n)), ms.float32) for n in (4, 2))
    (old, old_step), (new, new_step) = cells(), cells()
    for _ in range(5):
        old_step(x, y)
    new_step(x, y)
    state = AdamState.of(old)
    assert state.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    state.load_into(new, with_parameters=True)
    for _ in range(5):
        assert float(old_step(x, y)) == float(new_step(x, y))


LOADED = """
import sys
import numpy as np
from mindspore import Parameter, Tensor, nn
from adamcompat.state import AdamState
def made(**options):
    own = [Parameter(Tensor(np.ones(3), dtype), name=f"p{i}") for i, dtype in enumerate(DTYPES)]
    return nn.Adam(own, 0.1, **options), tuple(Tensor(np.ones(3), dtype) for dtype in DTYPES)
from mindspore import float16, float32
DTYPES = [float32, float16, float32]
old, gradients = made()
old(gradients)
new, _ = made(beta1=0.8)
sys.stderr.write("LOADING\\n")
AdamState.of(old).load_into(new, with_parameters=True)
"""


def test_loading_says_what_the_user_must_know_and_nothing_else() -> None:
    """MindSpore's own warnings are on: none comes from what loading does."""
    environment = {name: value for name, value in os.environ.items() if name != "GLOG_v"}
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, env=environment)
    said = done.stderr.partition("LOADING\n")[2].splitlines()
    assert len(said) == 1, done.stderr
    assert "UserWarning: the nn.Adam goes on with other hyperparameters" in said[0]
    assert "beta1 0.8 instead of 0.9." in said[0]


# Dtypes.


def test_narrow_dtypes() -> None:
    wide = AdamState.of(trained("stock")[0])
    half = nn.Adam(parameters(dtype=ms.float16), **OPTIONS)
    with pytest.raises(StateError, match="first_moment of 'p0' is float16, and the state has float32; pass cast=True"):
        wide.load_into(half)
    wide.load_into(half, cast=True)
    np.testing.assert_array_equal(half.moment1[0].asnumpy(), np.asarray(wide.first_moment["p0"]).astype(np.float16))
    AdamState.of(half).load_into(nn.Adam(parameters(), **OPTIONS))


def test_bfloat16_moves() -> None:
    old_parameters, others = parameters(dtype=ms.bfloat16), parameters(seed=9, dtype=ms.bfloat16)
    old, new = Adam(old_parameters, **OPTIONS), Adam(others, **OPTIONS)
    for step in gradients(3, dtype=ms.bfloat16):
        old(step)
    state = AdamState.of(old)
    assert str(state.first_moment["p0"].dtype) == "bfloat16"
    state.load_into(new, with_parameters=True)
    for step in gradients(3, seed=2, dtype=ms.bfloat16):
        old(step)
        new(step)
    for one, other in zip(old_parameters, others, strict=True):
        np.testing.assert_array_equal(one.float().asnumpy(), other.float().asnumpy())
    weights = [NumPyParameter(np.zeros(shape, np.float32), name) for name, shape in zip(NAMES, SHAPES, strict=True)]
    state.load_into(MindSporeStyleAdam(weights, **OPTIONS), with_parameters=True)
    np.testing.assert_array_equal(
        weights[0].data,
        np.asarray(state.parameters["p0"]).astype(np.float32),  # type: ignore[index]
    )


# Refusals.


class WithMore(nn.Adam):  # type: ignore[misc]
    """Keeps something that Adam does not."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.extra = Parameter(Tensor(0.0, ms.float32), name="extra")


def test_what_is_not_adam_is_refused() -> None:
    with pytest.raises(StateError, match=r"expected keras\.optimizers\.Adam.*got mindspore\.nn"):
        AdamState.of(nn.Momentum(parameters(), 0.1, 0.9))
    with pytest.raises(StateError, match="WithMore keeps extra, which is unknown"):
        AdamState.of(WithMore(parameters()))
    with pytest.raises(StateError, match="session"):
        AdamState.of(trained("ours")[0], session=object())
    with pytest.raises(StateError, match="not the 4 Parameters"):
        AdamState.of(trained("ours")[0], parameters())


def test_names_can_be_given() -> None:
    optimizer, own = trained("ours")
    named = {f"n{i}": parameter for i, parameter in enumerate(own)}
    assert AdamState.of(optimizer, named).names == ("n0", "n1", "n2", "n3")


def test_a_counter_that_was_set_back_is_asked_about() -> None:
    optimizer, _ = trained("stock")
    ops.assign(optimizer.global_step, Tensor([1], ms.int32))
    with pytest.raises(StateError, match=r"of two minds.*1 \(its counter\) and 5 \(beta1_power\)"):
        AdamState.of(optimizer)
    assert AdamState.of(optimizer, step=5).step == 5


def test_amsgrad_needs_its_maximum() -> None:
    state = AdamState.of(trained("ours")[0])
    target = nn.Adam(parameters(), **OPTIONS, use_amsgrad=True)
    with pytest.raises(StateError, match=r"keeps maximum_second_moment.*without use_amsgrad=True"):
        state.load_into(target)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_assignment_is_taken_back(kind: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = AdamState.of(trained(kind)[0])
    own = parameters(seed=9)
    optimizer = KINDS[kind](own, **OPTIONS)
    for step in gradients(2, seed=3):
        optimizer(step)
    before = [np.array(parameter.asnumpy()) for parameter in optimizer.get_parameters()]
    write, written = mindspore_places.Place.write, []

    def fails_later(place: mindspore_places.Place, value: Any) -> None:
        written.append(place)
        if len(written) == 7:
            raise MemoryError("no room")
        write(place, value)

    with monkeypatch.context() as patch:
        patch.setattr(mindspore_places.Place, "write", fails_later)
        with pytest.raises(MemoryError):
            state.load_into(optimizer, with_parameters=True)
    for one, parameter in zip(before, optimizer.get_parameters(), strict=True):
        np.testing.assert_array_equal(one, parameter.asnumpy(), err_msg=parameter.name)
    optimizer(gradients(1)[0])
    assert not np.array_equal(before[2], own[0].asnumpy())


# TensorFlow's call on MindSpore's Parameters.

TF_STYLE: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {"amsgrad": True, "use_ema": True, "ema_momentum": 0.9, "gradient_accumulation_steps": 2},
    "products": {"numerics": "tf1"},
}


@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "warm"])
@pytest.mark.parametrize("name", TF_STYLE)
def test_tensorflows_call_goes_on_bit_for_bit(name: str, warm: bool, mode: str) -> None:
    def go_on(optimizer: Any, own: list[Any], steps: Any) -> None:
        for step in steps:
            optimizer.apply_gradients(zip(step, own, strict=True))

    own, others = parameters(), parameters(seed=9)
    old, new = (TFStyleAdam(0.01, **TF_STYLE[name]) for _ in range(2))
    old.build(own)
    new.build(others)
    go_on(old, own, gradients(5))
    go_on(new, others, gradients(3, seed=3) if warm else ())
    state = AdamState.of(old)
    every = TF_STYLE[name].get("gradient_accumulation_steps", 1)
    assert ((state.step, state.accumulated_calls), state.names) == (divmod(5, every), NAMES)
    assert (state.dialect, state.convention) == ("keras3", "mindspore")
    state.load_into(new, with_parameters=True)
    go_on(old, own, gradients(5, seed=2))
    go_on(new, others, gradients(5, seed=2))
    assert_equal(own, others)
    assert_equal(old.variables, new.variables)


def test_tensorflows_call_without_state_and_to_others() -> None:
    own, others = parameters(), parameters(seed=9)
    old = TFStyleAdam(0.01, epsilon=1e-8)
    with pytest.raises(StateError, match="this TFStyleAdam has no state yet; make a step, or call its build"):
        AdamState.of(old)
    for step in gradients(3):
        old.apply_gradients(zip(step, own, strict=True))
    target = nn.Adam(others, 0.01)
    AdamState.of(old).load_into(target, with_parameters=True)
    assert int(target.global_step.asnumpy()[0]) == 3
    back = TFStyleAdam(0.01, epsilon=1e-8)
    AdamState.of(target).load_into(back, parameters=others)
    assert back.iterations == 3
    with pytest.raises(StateError, match="not the 4 Parameters that this TFStyleAdam updates"):
        AdamState.of(old, others)
