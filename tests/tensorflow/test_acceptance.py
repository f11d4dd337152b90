"""A drop-in takes what its original takes, refuses what that refuses, and does the same with it."""

from __future__ import annotations

import fractions
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings
from hypothesis import strategies as st

from adamcompat.tensorflow import Adam, AdamW, legacy, v1
from adamcompat.tensorflow.keras2 import Keras2Adam, Keras2AdamW

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]
MORE = int(os.environ.get("ADAMCOMPAT_MORE_EXAMPLES", "1"))


class TwoAdam(Keras2Adam):
    """The drop-in for tf_keras, beside Keras 3's."""

    _adapter = "Adam"


class TwoAdamW(Keras2AdamW):
    """The same for AdamW."""

    _adapter = "AdamW"


class Odd:
    """An object that nobody knows."""


def halved(pairs: Any) -> Any:
    return [(0.5 * gradient, variable) for gradient, variable in pairs]


BASE = ["learning_rate", "epsilon", "name"]
CLIPS = ["clipnorm", "clipvalue", "global_clipnorm"]
KERAS = [*BASE, "beta_1", "beta_2", "amsgrad", *CLIPS]
OF_BOTH = ["weight_decay", "use_ema", "ema_momentum", "ema_overwrite_frequency"]
# Keywords of other dialects and of nobody.
FOREIGN = ["lr", "decay", "beta1", "beta_1", "foo", "use_locking", "loss_scale_factor", "jit_compile"]


@dataclass(frozen=True)
class Pair:
    """An original and ours, and the keywords that may be worth a try."""

    stock: Any
    ours: Any
    names: tuple[str, ...]
    # Whether a call, or the steps after it, may fail with the original and work here.
    rescued: Callable[[dict[str, Any]], bool] = lambda options: False


def callable_betas(options: dict[str, Any]) -> bool:
    return any(callable(options.get(name)) for name in ("beta_1", "beta_2"))


def callable_betas_and_keras_3s_defaults(options: dict[str, Any]) -> bool:
    return callable_betas(options) or options.get("loss_scale_factor", 1) is None


THREE = (*KERAS, *OF_BOTH, "loss_scale_factor", "gradient_accumulation_steps", *FOREIGN)
TWO = (*KERAS, *OF_BOTH, "adaptive_epsilon", "jit_compile", "is_legacy_optimizer", "gradient_aggregator", *FOREIGN)
PAIRS = {
    "keras3": Pair(keras.optimizers.Adam, Adam, THREE, callable_betas),
    "keras3_adamw": Pair(keras.optimizers.AdamW, AdamW, THREE, callable_betas),
    "tf_keras": Pair(tf_keras.optimizers.Adam, TwoAdam, TWO, callable_betas_and_keras_3s_defaults),
    "tf_keras_adamw": Pair(tf_keras.optimizers.AdamW, TwoAdamW, TWO, callable_betas_and_keras_3s_defaults),
    "legacy": Pair(
        tf_keras.optimizers.legacy.Adam,
        legacy.Adam,
        (*KERAS, "gradient_aggregator", "gradient_transformers", *FOREIGN),
    ),
    "v1": Pair(
        tf.compat.v1.train.AdamOptimizer,
        v1.AdamOptimizer,
        (*BASE, "beta1", "beta2", "use_locking", "use_own_namescope_for_non_slot_vars", *FOREIGN),
    ),
}
# Each is made anew for each optimizer: a variable that two share is the state of both.
VALUES: dict[str, Callable[[], Any]] = {
    **{repr(x): lambda x=x: x for x in (None, True, False, 0, 1, 2, 3, -1, 5, 10**400)},  # type: ignore[misc]
    **{repr(x): lambda x=x: x for x in (0.0, 0.5, 0.9, 1.0, 2.5, -0.5, 1e-7, 1e300)},  # type: ignore[misc]
    **{repr(x): lambda x=x: x for x in (float("nan"), float("inf"), 1j, "", "text", b"")},  # type: ignore[misc]
    "np.bool_": lambda: np.bool_(True),
    "np.float16": lambda: np.float16(0.3),
    "np.float32": lambda: np.float32(0.3),
    "np.float64": lambda: np.float64(0.3),
    "np.int64": lambda: np.int64(2),
    "array": lambda: np.array(0.3),
    "float32 array": lambda: np.array(0.3, np.float32),
    "array of one": lambda: np.array([0.3]),
    "array of two": lambda: np.array([0.3, 0.4]),
    "array of none": lambda: np.array([]),
    "array of text": lambda: np.array(["a"]),
    "tensor": lambda: tf.constant(0.3),
    "float64 tensor": lambda: tf.constant(0.3, tf.float64),
    "integer tensor": lambda: tf.constant(2),
    "tensor of one": lambda: tf.constant([0.3]),
    "tf.Variable": lambda: tf.Variable(0.3),
    "keras.Variable": lambda: keras.Variable(0.3),
    "list": lambda: [0.3],
    "empty list": list,
    "list of functions": lambda: [halved],
    "tuple": lambda: (0.3, 0.4),
    "set": lambda: {0.3},
    "dictionary": dict,
    "fraction": lambda: fractions.Fraction(1, 3),
    "function of nothing": lambda: lambda: 0.3,
    "function of the step": lambda: lambda step: 0.3,
    "function of pairs": lambda: halved,
    "schedule": lambda: keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5),
    "schedule of tf_keras": lambda: tf_keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5),
    "object": Odd,
    "class": lambda: Odd,
    "ellipsis": lambda: ...,
}


def outcome(attempt: Callable[[], Any]) -> tuple[Any, type[BaseException] | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return attempt(), None
        except Exception as error:  # noqa: BLE001, RUF100 - which one it is is compared
            return None, type(error)


def steps(optimizer: Any, rows: bool) -> tuple[list[Any], type[BaseException] | None]:
    """The variables, which are as far as three steps went, and what ended them."""
    rng = np.random.default_rng(3)
    variables = [tf.Variable(rng.standard_normal(shape).astype(np.float32)) for shape in ((3,), (2, 2), (4, 2), ())]

    def run() -> None:
        for step in range(3):
            gradients = [tf.constant(rng.standard_normal(variable.shape), tf.float32) for variable in variables]
            if rows:
                gradients[2] = tf.IndexedSlices(gradients[2], tf.constant([3, step, 3, 1]), tf.constant([4, 2]))
            optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))

    _, error = outcome(run)
    return [variable.numpy() for variable in variables], error


def made(pair: Pair, options: dict[str, str]) -> tuple[Any, Any] | None:
    """Both, with the same keywords; None where they refuse them alike."""
    given = [{name: VALUES[value]() for name, value in options.items()} for _ in range(2)]
    stock, refused = outcome(lambda: pair.stock(**given[0]))
    ours, refused_here = outcome(lambda: pair.ours(**given[1]))
    if refused is not None and refused_here is None and pair.rescued(given[0]):
        return None
    assert refused_here == refused, options
    return None if refused is not None else (stock, ours)


def changing_array(optimizer: Any, name: str, value: float) -> None:
    getattr(optimizer, name)[...] = value


def changing_variable(optimizer: Any, name: str, value: float) -> None:
    getattr(optimizer, name).assign(value)


def setting(optimizer: Any, name: str, value: float) -> None:
    kinds = (float, np.float32, np.float64, tf.constant, np.asarray)
    setattr(optimizer, name, kinds[round(value * 100) % len(kinds)](value))


@pytest.mark.parametrize(
    ("start", "change"),
    [
        (lambda: np.array(0.5), changing_array),
        (lambda: np.array(0.5, np.float32), changing_array),
        (lambda: tf.Variable(0.5), changing_variable),
        (lambda: 0.5, setting),
    ],
    ids=["array", "float32 array", "variable", "set anew"],
)
@pytest.mark.parametrize("keyword", ["clipnorm", "clipvalue", "global_clipnorm", "ema_momentum", "beta_1", "epsilon"])
@pytest.mark.parametrize("name", ["keras3", "tf_keras"])
def test_a_value_that_changes_between_steps_acts(name: str, keyword: str, start: Any, change: Any) -> None:
    def run(kind: Any) -> list[Any]:
        variables = [tf.Variable([1.0, 2.0]), tf.Variable([[3.0]])]
        ema = {"use_ema": True, "ema_overwrite_frequency": 2} if keyword == "ema_momentum" else {}
        optimizer, seen = kind(0.1, **{keyword: start()}, **ema), []
        for step in range(8):
            change(optimizer, keyword, 0.1 + 0.07 * step)
            gradients = [tf.constant([0.3 * step - 1, 0.2]), tf.constant([[2.0 - step]])]
            optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))
            seen += [variable.numpy().tolist() for variable in variables]
        return seen

    # Keras 3 itself does not take every array as every limit.
    ours, stock = (outcome(lambda: run(kind)) for kind in (PAIRS[name].ours, PAIRS[name].stock))  # noqa: B023
    assert ours == stock


@pytest.mark.parametrize("name", PAIRS)
def test_every_value_of_every_keyword_is_taken_or_refused_alike(name: str) -> None:
    for keyword in dict.fromkeys(PAIRS[name].names):
        for value in VALUES:
            made(PAIRS[name], {keyword: value})


@pytest.mark.parametrize("name", PAIRS)
# The same examples each time, unless more are asked for.
@settings(max_examples=70 * MORE, deadline=None, derandomize=MORE == 1)
@given(data=st.data(), rows=st.booleans())
def test_what_is_taken_trains_alike(name: str, data: st.DataObject, rows: bool) -> None:
    pair = PAIRS[name]
    keywords = data.draw(st.lists(st.sampled_from(pair.names), max_size=3, unique=True))
    options = {keyword: data.draw(st.sampled_from(list(VALUES)), label=keyword) for keyword in keywords}
    both = made(pair, options)
    if both is None:
        return
    (expected, failed), (found, failed_here) = (steps(optimizer, rows) for optimizer in both)
    if failed is not None and pair.rescued({name: VALUES[value]() for name, value in options.items()}):
        return
    if failed is not None and rows and "loss_scale_factor" in options:
        return
    assert failed_here == failed
    # A step that fails has no effect here; the original may have updated some of the variables.
    if failed is None:
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("keras3", {"clipnorm": 1.0, "clipvalue": 1.0}),
        ("keras3", {"foo": 1}),
        ("keras3", {"learning_rate": 1}),
        ("keras3_adamw", {"weight_decay": None}),
        ("tf_keras", {"decay": 0.1}),
        ("tf_keras_adamw", {"weight_decay": None}),
        ("legacy", {"clipnorm": -1.0}),
    ],
)
def test_the_words_of_the_original_stand_in_ours(name: str, arguments: dict[str, Any]) -> None:
    """Programs may look for them."""
    said = []
    for kind in (PAIRS[name].ours, PAIRS[name].stock):
        with pytest.raises((TypeError, ValueError)) as caught:
            kind(**arguments)
        said.append(str(caught.value))
    # They name the class that was called.
    assert said[1] in said[0].replace("TwoAdam", "Adam")
