"""adamcompat.tensorflow.v1.AdamOptimizer against tf.compat.v1.train.AdamOptimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from adamcompat.tensorflow.v1 import AdamOptimizer
from tests.tensorflow.tf_helpers import run_python

pytestmark = pytest.mark.frameworks
v1 = tf.compat.v1
STOCK = v1.train.AdamOptimizer


def session_run(kind: Any, options: dict[str, Any], *, resource: bool, sparse: bool = False, steps: int = 30) -> Any:
    rng = np.random.default_rng(2)
    start, target = rng.standard_normal((6, 4)).astype("f"), rng.standard_normal((6, 4)).astype("f")
    with tf.Graph().as_default():
        variable = v1.get_variable("w", initializer=start, use_resource=resource)
        part = tf.gather(variable, [0, 2, 2]) if sparse else variable
        loss = tf.reduce_sum(tf.square(part - (target[:3] if sparse else target)))
        step = v1.train.get_or_create_global_step()
        train = kind(**options).minimize(loss, global_step=step)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for _ in range(steps):
                session.run(train)
            assert session.run(step) == steps
            return {item.name: item for item in v1.global_variables()}, session.run(v1.global_variables())


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("options", [{}, {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-4}])
def test_same_bits_and_names_in_a_session(options: dict[str, Any], resource: bool, sparse: bool) -> None:
    stock_names, stock = session_run(STOCK, options, resource=resource, sparse=sparse)
    names, ours = session_run(AdamOptimizer, options, resource=resource, sparse=sparse)
    assert list(names) == list(stock_names)
    for a, b in zip(ours, stock, strict=True):
        np.testing.assert_array_equal(a, b)


def test_same_bits_in_eager_execution() -> None:
    def run(kind: Any) -> Any:
        variable, optimizer = tf.Variable([1.0, -2.0, 3.0]), kind(0.01)
        for step in range(50):
            optimizer.apply_gradients([(tf.constant([0.3, 0.2, -0.1]) * (step + 1), variable)])
        optimizer.minimize(lambda: tf.reduce_sum(variable**2), var_list=[variable])
        return variable.numpy()

    np.testing.assert_array_equal(run(AdamOptimizer), run(STOCK))


def formula(gradient: Any, steps: int, *, amsgrad: bool, nesterov: bool) -> float:
    p, m, v, vhat = 1.0, 0.0, 0.0, 0.0
    for t in range(1, steps + 1):
        g = gradient(t)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        vhat = max(vhat, v) if amsgrad else v
        numerator = 0.9 * m + 0.1 * g if nesterov else m
        p -= 0.01 * (1 - 0.999**t) ** 0.5 / (1 - 0.9**t) * numerator / (vhat**0.5 + 1e-8)
    return p


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("extra", ["amsgrad", "use_nesterov"])
def test_what_the_original_does_not_have(extra: str, sparse: bool) -> None:
    variable, optimizer = (
        tf.Variable([1.0]),
        AdamOptimizer(0.01, amsgrad=extra == "amsgrad", use_nesterov=extra == "use_nesterov"),
    )

    def gradient(t: int) -> float:
        return 4.0 / t**2

    for t in range(1, 21):
        dense = tf.constant([gradient(t)])
        rows = tf.IndexedSlices(tf.constant([gradient(t) / 4, gradient(t) * 3 / 4]), tf.constant([0, 0]), [1])
        optimizer.apply_gradients([(rows if sparse else dense, variable)])
    expected = formula(gradient, 20, amsgrad=extra == "amsgrad", nesterov=extra == "use_nesterov")
    plain = formula(gradient, 20, amsgrad=False, nesterov=False)
    assert abs(variable.numpy()[0] - expected) < 1e-5 < abs(expected - plain)


@pytest.mark.parametrize(("writer", "reader"), [(STOCK, AdamOptimizer), (AdamOptimizer, STOCK)])
def test_saver_both_ways(writer: Any, reader: Any, tmp_path: Path) -> None:
    def build(kind: Any) -> Any:
        variable = v1.get_variable("w", initializer=tf.constant([1.0, 2.0]))
        return variable, kind(0.1).minimize(tf.reduce_sum(tf.square(variable)))

    with tf.Graph().as_default(), v1.Session() as session:
        variable, train = build(writer)
        session.run(v1.global_variables_initializer())
        session.run(train)
        path = v1.train.Saver().save(session, str(tmp_path / "model"))
        session.run(train)
        expected = session.run(variable)
    with tf.Graph().as_default(), v1.Session() as session:
        variable, train = build(reader)
        v1.train.Saver().restore(session, path)
        session.run(train)
        np.testing.assert_array_equal(session.run(variable), expected)


FLOAT64 = """
import tensorflow as tf
from adamcompat.tensorflow.v1 import AdamOptimizer
KIND = {kind}
variable = tf.Variable([1.0])
KIND(0.1).apply_gradients([(tf.constant([1.0], tf.float64), variable)])
print(variable.numpy()[0].round(4))
"""


def test_a_float64_gradient_aborts_the_original_and_is_cast_here() -> None:
    assert run_python(FLOAT64.format(kind="AdamOptimizer")).strip() == "0.9"
    with pytest.raises(AssertionError):
        run_python(FLOAT64.format(kind="tf.compat.v1.train.AdamOptimizer"))


@pytest.mark.parametrize(("kind", "right"), [(STOCK, False), (AdamOptimizer, True)])
def test_bfloat16_variables_move_by_the_whole_step(kind: Any, right: bool) -> None:
    variable, optimizer = tf.Variable(tf.ones(2, tf.bfloat16) * 0.1), kind(0.01)
    for _ in range(3):
        optimizer.apply_gradients([(tf.ones(2, tf.bfloat16), variable)])
    assert (abs(float(variable.numpy()[0]) - 0.07) < 0.002) == right


def test_errors_name_the_fix() -> None:
    with pytest.raises(TypeError, match="beta_1"):
        AdamOptimizer(beta_1=0.5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="Must specify the optimizer name"):
        AdamOptimizer(name="", beta1=1.0)
    with pytest.raises(ValueError, match="exclude each other"):
        AdamOptimizer(amsgrad=True, use_nesterov=True)
    with pytest.raises(ValueError, match="No gradients provided"):
        AdamOptimizer().apply_gradients([(None, tf.Variable([1.0]))])
    with tf.Graph().as_default(), pytest.raises(NotImplementedError, match="use_resource=True"):
        variable = v1.get_variable("w", initializer=[1.0], use_resource=False)
        AdamOptimizer(amsgrad=True).minimize(tf.reduce_sum(variable))
