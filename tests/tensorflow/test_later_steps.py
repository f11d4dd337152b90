"""Later steps do what the first one does: what was traced for them is taken only where it is the same."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras  # noqa: E402

from adamcompat.tensorflow import Adam, legacy, v1  # noqa: E402
from tests.faults import Taken  # noqa: E402
from tests.tensorflow.tf_helpers import ROOT  # noqa: E402

pytestmark = pytest.mark.frameworks

STOCK = keras.optimizers.Adam
KINDS = (STOCK, Adam)
SIMPLE = [np.arange(1.0, 13.0, dtype=np.float32).reshape(3, 4), np.array([1.0, -2.0, 3.0], np.float32)]


def variables() -> list[Any]:
    return [keras.Variable(value) for value in SIMPLE]


def outcome(step: Callable[[], Any], values: list[Any], count: int = 4) -> list[Any]:
    """After each of some steps the values, or the type of what was raised."""
    found: list[Any] = []
    for _ in range(count):
        error = raised(step)
        found.append([np.asarray(value).tolist() for value in values] if error is None else error)
    return found


def raised(step: Callable[[], Any]) -> str | None:
    """The type of what a step raises."""
    try:
        step()
    except Exception as error:
        return type(error).__name__
    return None


def rebuilt(optimizer: Any, trained: list[Any]) -> None:
    optimizer.built = False
    optimizer.build(trained)


def another_moment(optimizer: Any, trained: list[Any]) -> None:
    optimizer._momentums[0] = keras.Variable(tf.ones((3, 4)))


def another_maximum(optimizer: Any, trained: list[Any]) -> None:
    optimizer._velocity_hats[1] = keras.Variable(tf.ones((3,)))


def another_counter(optimizer: Any, trained: list[Any]) -> None:
    optimizer._iterations = keras.Variable(7, dtype="int64")


def another_average(optimizer: Any, trained: list[Any]) -> None:
    optimizer._model_variables_moving_average[0] = keras.Variable(tf.ones((3, 4)))


@pytest.mark.parametrize("change", [rebuilt, another_moment, another_maximum, another_counter, another_average])
def test_state_that_is_replaced_is_what_later_steps_change(change: Callable[..., None]) -> None:
    found = []
    for kind in KINDS:
        trained = variables()
        optimizer = kind(0.1, amsgrad=True, use_ema=True, weight_decay=0.1)
        gradients = [tf.constant(value) for value in SIMPLE]
        for _ in range(3):
            optimizer.apply(gradients, trained)
        change(optimizer, trained)
        for _ in range(3):
            optimizer.apply([0.1 * gradient for gradient in gradients], trained)
        kept = [*optimizer._momentums, *optimizer._velocity_hats, *optimizer._model_variables_moving_average]
        found.append([np.asarray(one) for one in (*trained, optimizer._iterations, *kept)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


FORMS: dict[str, Callable[[], Any]] = {
    "number": lambda: 0.3,
    "NumPy's number": lambda: np.float32(0.3),
    "array without axes": lambda: np.array(0.3, "float32"),
    "array of one": lambda: np.array([0.3], "float32"),
    "array of a row": lambda: np.full((1, 4), 0.3, "float32"),
    "variable of a row": lambda: tf.Variable(np.full((1, 4), 0.3, "float32")),
    "tensor without axes": lambda: tf.constant(0.3),
    "integers": lambda: np.ones((3, 4), np.int64),
    "tensor of integers": lambda: tf.ones((3, 4), tf.int32),
    "float64": lambda: tf.ones((3, 4), tf.float64),
    "float16": lambda: tf.ones((3, 4), tf.float16),
    "complex": lambda: tf.ones((3, 4), tf.complex64),
    "list": lambda: [[0.3] * 4] * 3,
    "rows of one element": lambda: tf.IndexedSlices(tf.ones((2, 1)), tf.constant([0, 2]), tf.constant([3, 4])),
    "rows that are too wide": lambda: tf.IndexedSlices(tf.ones((2, 5)), tf.constant([0, 2]), tf.constant([3, 4])),
    "more rows than indices": lambda: tf.IndexedSlices(tf.ones((3, 4)), tf.constant([0, 1]), tf.constant([3, 4])),
    "rows by numbers": lambda: tf.IndexedSlices(tf.ones((2, 4)), tf.constant([0.0, 1.0]), tf.constant([3, 4])),
    "rows by nothing": lambda: tf.IndexedSlices(tf.ones((1, 4)), tf.constant([np.nan]), tf.constant([3, 4])),
}  # fmt: skip
CLIPS: tuple[dict[str, Any], ...] = ({}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 0.2})


@pytest.mark.parametrize("options", CLIPS, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore")
def test_a_gradient_of_another_form_is_what_it_is_in_every_step(form: str, options: dict[str, Any]) -> None:
    found = []
    for kind in KINDS:
        trained = variables()
        optimizer, gradient = kind(0.1, epsilon=1.0, **options), FORMS[form]()
        found.append(outcome(lambda o=optimizer, g=gradient, t=trained: o.apply([g, tf.ones(3)], t), trained))  # type: ignore[misc]
    if not options and form in ("integers", "tensor of integers", "float64", "float16"):
        # What Keras adds up in the dtype of the gradient.
        assert [isinstance(one, str) for one in found[0]] == [isinstance(one, str) for one in found[1]]
        return
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", [Adam, legacy.Adam, v1.AdamOptimizer])
@pytest.mark.parametrize("form", ["more rows than indices", "rows by numbers", "rows by nothing"])
def test_rows_that_do_not_fit_their_indices_change_nothing(kind: Any, form: str) -> None:
    trained = [tf.Variable(value) for value in reversed(SIMPLE)]
    optimizer = kind(0.1)
    right = tf.IndexedSlices(tf.ones((2, 4)), tf.constant([0, 1]), tf.constant([3, 4]))

    def step(rows: Any) -> None:
        optimizer.apply_gradients([(tf.ones(3), trained[0]), (rows, trained[1])])

    for _ in range(3):
        step(right)
    kept = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    everything = [*trained, *kept]
    before = [np.array(one) for one in everything]
    with pytest.raises(tf.errors.InvalidArgumentError):
        step(FORMS[form]())
    for one, old in zip(everything, before, strict=True):
        np.testing.assert_array_equal(np.array(one), old)
    step(right)


def test_a_schedule_with_state_is_asked_as_often_as_by_keras() -> None:
    class Counting(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        asked = 0

        def __call__(self, step: Any) -> Any:
            self.asked += 1
            return 0.1 / self.asked

    found = []
    for kind in KINDS:
        trained, schedule = variables(), Counting()
        optimizer, asked = kind(schedule, weight_decay=0.1), []
        for _ in range(4):
            optimizer.apply([tf.constant(value) for value in SIMPLE], trained)
            asked.append(schedule.asked)
        found.append((asked, [np.asarray(one).tolist() for one in trained]))
    assert found[0] == found[1]
    assert found[0][0] == [3, 6, 9, 12]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
def test_a_copy_of_a_subclass_with_state_of_its_own_goes_on(duplicate: Callable[[Any], Any]) -> None:
    trained = variables()
    optimizer = WithMore(0.1)
    for _ in range(2):
        optimizer.apply([tf.constant(value) for value in SIMPLE], trained)
    optimizer.more.assign(5.0)
    twin, values = duplicate(optimizer), [keras.Variable(np.asarray(one)) for one in trained]
    for one, weights in ((optimizer, trained), (twin, values)):
        one.apply([tf.constant(value) for value in SIMPLE], weights)
    assert (float(twin.more), int(twin.iterations)) == (5.0, 3)
    for one, other in zip((*trained, *optimizer.variables), (*values, *twin.variables), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    with pytest.raises(ValueError, match="a copy of one for other variables"):
        duplicate(optimizer).apply([tf.ones(2)], [keras.Variable(tf.ones(2))])


class WithMore(Adam):
    """Keeps a number of its own."""

    def build(self, trained: Any) -> None:
        super().build(trained)
        self.more = self.add_variable((), name="more", initializer="ones")


@pytest.mark.parametrize("kind", [Adam, legacy.Adam, v1.AdamOptimizer])
def test_a_handler_that_is_taken_within_a_step_leads_to_the_programs(kind: Any) -> None:
    with Taken() as taken:
        weight, optimizer = tf.Variable([1.0]), kind(taken.rate)
        for _ in range(3):
            optimizer.apply_gradients([(tf.ones(1), weight)])
        taken.send()
        assert taken.heard == ["mine", "the program's", "the program's"]


FUNCTION = """
import keras, tensorflow as tf
from adamcompat.tensorflow import Adam
optimizer, trained = Adam(0.1), [keras.Variable(tf.ones(3))]
optimizer.build(trained)
@tf.function
def step():
    optimizer.apply([tf.ones(3)], trained)
step()
"""


def test_a_function_of_the_user_says_nothing_about_our_names(tmp_path: Path) -> None:
    # AutoGraph reads the source.
    (tmp_path / "program.py").write_text(FUNCTION, encoding="utf-8")
    # TensorFlow's warnings would be held back.
    shown = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        capture_output=True, text=True, check=False, env=shown | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "AutoGraph" not in result.stderr
