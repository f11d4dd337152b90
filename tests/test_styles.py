"""Either call drives the same math: equal hyperparameters give equal bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, TFStyleAdam
from adamcompat.mapping.tables import MAPPING

hyperparameters = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(0.0, 10.0),
        "beta1": st.floats(0.01, 0.9999),
        "beta2": st.floats(0.01, 0.999999),
        "epsilon": st.floats(1e-12, 1.0),
        "amsgrad": st.booleans(),
        "loss_scale": st.sampled_from([1.0, 3.0, 1000.0, 65536.0]) | st.floats(1e-3, 1e6),
    }
)


@pytest.mark.parametrize("numerics", MAPPING.numerics)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hyper=hyperparameters,
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    decays=st.booleans(),
)
def test_both_styles_give_the_same_bits_for_100_steps(
    numerics: str, hyper: dict[str, Any], seed: int, dtype: type, decays: bool, executor: str
) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(5, 3), (17,), ()]
    start: list[NDArray[Any]] = [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]
    ours, theirs = [a.copy() for a in start], [a.copy() for a in start]
    rate: Any = hyper["learning_rate"]
    if decays:
        base = rate
        rate = lambda step: base / (1 + step)  # noqa: E731
    tf = TFStyleAdam(
        rate,
        beta_1=hyper["beta1"],
        beta_2=hyper["beta2"],
        epsilon=hyper["epsilon"],
        amsgrad=hyper["amsgrad"],
        loss_scale_factor=hyper["loss_scale"],
        numerics=numerics,
    )
    ms = MindSporeStyleAdam(
        theirs,
        rate,
        beta1=hyper["beta1"],
        beta2=hyper["beta2"],
        eps=hyper["epsilon"],
        use_amsgrad=hyper["amsgrad"],
        loss_scale=hyper["loss_scale"],
        numerics=numerics,
    )
    sizes = 10.0 ** rng.uniform(-6, 3, 100)
    with np.errstate(all="ignore"):
        stream: list[list[NDArray[Any]]] = [
            [np.asarray(rng.standard_normal(shape) * size, dtype) for shape in shapes] for size in sizes
        ]
    for gradients in stream:
        tf.apply_gradients(zip(gradients, ours, strict=True))
        ms(tuple(gradients))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_schedule_sees_the_same_steps_in_both_styles() -> None:
    seen: dict[str, list[int]] = {"tf": [], "ms": []}

    def schedule(name: str) -> Any:
        def rate(step: int) -> float:
            seen[name].append(step)
            return 0.1

        return rate

    weight = np.zeros(2)
    tf, ms = TFStyleAdam(schedule("tf")), MindSporeStyleAdam([weight], schedule("ms"))
    for _ in range(3):
        tf.apply_gradients([(np.ones(2), weight)])
        ms((np.ones(2),))
    assert seen == {"tf": [0, 1, 2], "ms": [0, 1, 2]}


def test_a_schedule_is_asked_once_a_step_whatever_the_groups() -> None:
    seen: list[int] = []

    def rate(step: int) -> float:
        seen.append(step)
        return 0.1

    arrays = [np.zeros(2), np.zeros(2), np.zeros(2)]
    groups = [{"params": arrays[:1]}, {"params": arrays[1:2], "lr": 0.5}, {"params": arrays[2:], "weight_decay": 0.1}]
    optimizer = MindSporeStyleAdam(groups, rate)
    for _ in range(2):
        optimizer((np.ones(2), np.ones(2), np.ones(2)))
    assert seen == [0, 1]
    np.testing.assert_allclose([array[0] for array in arrays], [-0.2, -1.0, -0.2], rtol=1e-2)
