"""Copies and pickles of optimizers with another framework's call: moments, steps, settings and schedules go along."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

from adamcompat.tensorflow import (  # noqa: E402
    MindSporeStyleAdam,
    MindSporeStyleAdamWeightDecay,
    TorchStyleAdam,
    TorchStyleAdamW,
)
from tests.tensorflow.tf_helpers import ROOT, differing, run_python  # noqa: E402

pytestmark = pytest.mark.frameworks


def halved(step: Any) -> Any:
    return 0.1 * 0.5 ** tf.cast(step, tf.float64)


def decaying() -> Any:
    return tf.keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)


KINDS: dict[str, Callable[[Any], Any]] = {
    "torch, no params": lambda v: TorchStyleAdam(lr=0.1, amsgrad=True),
    "torch, list": lambda v: TorchStyleAdamW(v, lr=0.1),
    "torch, groups": lambda v: TorchStyleAdamW(
        [{"params": v[:1], "lr": 0.3}, {"params": v[1:], "betas": (0.5, 0.6), "amsgrad": True}]
    ),
    "torch, schedules": lambda v: TorchStyleAdam([{"params": v[:1], "lr": halved}, {"params": v[1:]}], lr=decaying()),
    "mindspore, list": lambda v: MindSporeStyleAdam(v, 0.1, use_amsgrad=True, numerics="tf1"),
    "mindspore, groups": lambda v: MindSporeStyleAdam([{"params": v[:1], "lr": 0.3}, {"params": v[1:]}], decaying()),
    "mindspore, decay": lambda v: MindSporeStyleAdamWeightDecay(v, weight_decay=0.1),
}


def pickled(optimizer: Any) -> Any:
    return pickle.loads(pickle.dumps(optimizer))


def variables_like(arrays: Any) -> list[Any]:
    return [tf.Variable(array, name=f"v{i}") for i, array in enumerate(arrays)]


def goes_on_bit_for_bit(make: Callable[[Any], Any], duplicate: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(3)
    variables = variables_like([rng.standard_normal((3, 2)), rng.standard_normal(4)])
    optimizer = make(variables)

    def step(*pairs: Any) -> None:
        gradients = [tf.constant(rng.standard_normal(variable.shape)) for variable in variables]
        for one, trained in pairs:
            one.apply_gradients(zip(gradients, trained, strict=True))

    for _ in range(4):
        step((optimizer, variables))
    if optimizer._private.hyper.schedules["learning_rate"].constant:
        optimizer.learning_rate = 0.07
    if any(rate is not None for rate in optimizer._private.rates) and isinstance(
        optimizer, (TorchStyleAdam, TorchStyleAdamW)
    ):
        optimizer.param_groups[0]["lr"] = 0.05
    twin, others = duplicate(optimizer), variables_like([variable.numpy() for variable in variables])
    assert type(twin) is type(optimizer) and twin.get_config() == optimizer.get_config()
    twin.build(others)
    for _ in range(3):
        step((optimizer, variables), (twin, others))
    ours, theirs = ([np.asarray(x) for x in (*a, *b.variables)] for a, b in ((variables, optimizer), (others, twin)))
    assert int(twin.iterations) == 7 and differing(ours, theirs) == 0


DUPLICATES = (copy.deepcopy, pickled, lambda optimizer: copy.deepcopy(pickled(optimizer)))


@pytest.mark.parametrize("duplicate", DUPLICATES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:learning_rate was set, but the groups")
def test_a_copy_goes_on_bit_for_bit(kind: str, duplicate: Callable[[Any], Any]) -> None:
    goes_on_bit_for_bit(KINDS[kind], duplicate)


def test_a_copy_takes_its_variables_from_a_model() -> None:
    x, y = (np.random.default_rng(i).standard_normal((32, 2)).astype("f") for i in range(2))

    def model(optimizer: Any) -> Any:
        made = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(2)])
        made.compile(optimizer, "mse")
        return made

    first = model(TorchStyleAdamW(lr=0.01))
    first.fit(x, y, epochs=2, verbose=0, shuffle=False)
    second = model(copy.deepcopy(first.optimizer))
    second.set_weights(first.get_weights())
    for one in (first, second):
        one.fit(x, y, epochs=2, verbose=0, shuffle=False)
    ours, theirs = ([*one.get_weights(), *(np.asarray(v) for v in one.optimizer.variables)] for one in (first, second))
    assert differing(ours, theirs) == 0


def test_no_step_is_made_without_the_state_of_the_copy() -> None:
    variable, other = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([1.0, 2.0])
    optimizer = TorchStyleAdam(lr=0.1)
    optimizer.apply_gradients([(tf.ones(3), variable)])
    twin = copy.deepcopy(optimizer)
    for _ in range(2):
        with pytest.raises(ValueError, match="copy of one for other variables"):
            twin.apply_gradients([(tf.ones(2), other)])
    assert other.numpy().tolist() == [1.0, 2.0]


def test_copies_go_on_with_tf_keras() -> None:
    code = f"""
    import sys
    sys.path.insert(0, {str(ROOT)!r})
    from tests.tensorflow.test_copied_styles import DUPLICATES, KINDS, goes_on_bit_for_bit
    for make in KINDS.values():
        for duplicate in DUPLICATES:
            goes_on_bit_for_bit(make, duplicate)
    print("all")
    """
    assert run_python(code, TF_USE_LEGACY_KERAS="1").strip() == "all"
