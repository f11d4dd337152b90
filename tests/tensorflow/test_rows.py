"""Sparse gradients: by default each original's bits; repeated rows add up with corrections=True."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import adamcompat
from adamcompat.tensorflow import Adam, AdamW, legacy, update, v1
from tests.tensorflow.test_acceptance import TwoAdam, TwoAdamW
from tests.tensorflow.tf_helpers import differing, run_python

pytestmark = pytest.mark.frameworks
STOCK = keras.optimizers.Adam
SHAPE = (11, 3)


def drawn(step: int, *, unique: bool = False, indices: Any = tf.int64, values: Any = tf.float32) -> Any:
    """Rows of a gradient, another number of them in each step."""
    rng = np.random.default_rng(step)
    rows = rng.permutation(SHAPE[0])[: 4 + step % 3] if unique else rng.integers(0, SHAPE[0], 6 + step % 4)
    numbers = rng.standard_normal((len(rows), SHAPE[1])) * 10 ** rng.uniform(-3, 1)
    return tf.IndexedSlices(tf.constant(numbers, values), tf.constant(rows, indices), tf.constant(SHAPE))


def run(
    kind: Callable[..., Any],
    options: dict[str, Any],
    *,
    graph: bool = False,
    gradient: Callable[[int], Any] = drawn,
    dtype: str = "float32",
    steps: int = 8,
) -> list[Any]:
    """A table with sparse gradients between two variables with dense ones, and all state."""
    rng = np.random.default_rng(9)
    variables = [tf.Variable(rng.standard_normal(shape), dtype=dtype) for shape in ((5,), SHAPE, (2, 2))]
    optimizer = kind(**{name: value() if callable(value) else value for name, value in options.items()})
    if hasattr(optimizer, "build"):
        optimizer.build(variables)

    def step(gradients: Any) -> None:
        optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))

    call = tf.function(step) if graph else step
    for number in range(steps):
        dense = [tf.constant(rng.standard_normal(shape), dtype) for shape in ((5,), (2, 2))]
        call([dense[0], gradient(number), dense[1]])
    if hasattr(optimizer, "get_slot"):
        names = optimizer.get_slot_names()
        state = [optimizer.get_slot(variable, name) for variable in variables for name in names]
    else:
        state = optimizer.variables
    return [np.asarray(one) for one in [*variables, *state]]


def schedule() -> Any:
    return keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)


KERAS: dict[str, dict[str, Any]] = {
    "default": {},
    "amsgrad": {"amsgrad": True},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "weight_decay": {"weight_decay": 0.1},
    "ema": {"use_ema": True, "ema_overwrite_frequency": 3},
    "accumulation": {"gradient_accumulation_steps": 2},
    "accumulation and clipnorm": {"gradient_accumulation_steps": 2, "clipnorm": 0.5},
    "schedule": {"learning_rate": schedule},
    "hyperparameters": {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.91, "epsilon": 1e-3},
    "together": {"amsgrad": True, "weight_decay": 0.03, "clipnorm": 0.3, "use_ema": True},
}


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("case", KERAS)
def test_keras_3_in_every_bit(case: str, graph: bool) -> None:
    assert differing(run(Adam, KERAS[case], graph=graph), run(STOCK, KERAS[case], graph=graph)) == 0


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("ours", "stock"),
    [(AdamW, keras.optimizers.AdamW), (TwoAdamW, tf_keras.optimizers.AdamW)],
    ids=["keras", "tf_keras"],
)
def test_adamw_in_every_bit(ours: Any, stock: Any, graph: bool) -> None:
    assert differing(run(ours, {}, graph=graph), run(stock, {}, graph=graph)) == 0


@pytest.mark.parametrize(
    "how",
    [
        {"gradient": lambda step: drawn(step, unique=True)},
        {"gradient": lambda step: drawn(step, indices=tf.int32)},
        {"gradient": lambda step: drawn(step, values=tf.float64)},
        {"gradient": lambda step: drawn(step, values=tf.float64), "dtype": "float64"},
        {"gradient": lambda step: tf.IndexedSlices(tf.ones((2, 3)) * 0.1 * (step + 1), (4, 4), SHAPE)},
        {"gradient": lambda step: tf.IndexedSlices(tf.zeros((0, 3)), tf.zeros(0, tf.int32), tf.constant(SHAPE))},
    ],
    ids=["unique", "int32", "float64 values", "float64", "tuples", "no rows"],
)
@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.5}], ids=["default", "clipnorm"])
def test_keras_3_with_rows_of_every_kind(options: dict[str, Any], how: dict[str, Any]) -> None:
    assert differing(run(Adam, options, **how), run(STOCK, options, **how)) == 0


@pytest.mark.parametrize("compiled", [False, True])
def test_indices_that_are_none(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative ones are left out, as TensorFlow leaves them out; others are an error, and nothing has changed."""
    if compiled:
        monkeypatch.setattr(update, "WORTH_COMPILING", 10)
        monkeypatch.setattr(update, "SMALL", 1)

    def negative(step: int) -> Any:
        slices = drawn(step)
        return tf.IndexedSlices(slices.values, slices.indices - 3, slices.dense_shape)

    assert differing(run(Adam, {}, gradient=negative), run(STOCK, {}, gradient=negative)) == 0
    variable, optimizer = tf.Variable(tf.ones(SHAPE)), Adam(0.1)
    for step in range(3):
        optimizer.apply_gradients([(drawn(step), variable)])
    before = [np.asarray(one) for one in (variable, *optimizer.variables)]
    beyond = tf.IndexedSlices(tf.ones((1, 3)), tf.constant([SHAPE[0]]), tf.constant(SHAPE))
    for kind in (optimizer, STOCK(0.1)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            kind.apply_gradients([(beyond, variable)])
    assert differing([np.asarray(one) for one in (variable, *optimizer.variables)], before) == 0


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("blocks", [False, True])
def test_large_tables_go_through_xla_with_the_same_bits(
    blocks: bool, amsgrad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "WORTH_COMPILING", 10)
    monkeypatch.setattr(update, "SMALL", 1)
    monkeypatch.setattr(update, "BLOCK", 8)
    monkeypatch.setattr(update, "_threads", lambda: 1 if blocks else 100)
    real, compiled = update._compiled, []

    def recorded(*key: Any) -> Any:
        compiled.append((key[0], key[-1]))
        return real(*key)

    real.cache_clear()
    monkeypatch.setattr(update, "_compiled", recorded)
    try:
        ours = run(Adam, {"amsgrad": amsgrad}), run(Adam, {"amsgrad": amsgrad}, graph=True)
        summed = run(Adam, {"amsgrad": amsgrad, "corrections": True})
    finally:
        real.cache_clear()
    assert (SHAPE, blocks) in compiled
    for found in ours:
        assert differing(found, run(STOCK, {"amsgrad": amsgrad})) == 0
    dense = run(STOCK, {"amsgrad": amsgrad}, gradient=lambda step: tf.convert_to_tensor(drawn(step)))
    assert differing(summed, dense) == 0


@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"clipvalue": 0.1}], ids=str)
def test_jit_compile_has_the_bits_of_the_eager_step(options: dict[str, Any]) -> None:
    def compiled(**more: Any) -> list[Any]:
        variable, optimizer = tf.Variable(tf.ones(SHAPE)), Adam(**options, **more)
        optimizer.build([variable])

        @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
        def step(values: Any, indices: Any) -> None:
            optimizer.apply_gradients([(tf.IndexedSlices(values, indices, tf.constant(SHAPE)), variable)])

        for number in range(5):
            step(drawn(number).values, drawn(number).indices)
        return [variable.numpy(), *(np.asarray(one) for one in optimizer.variables)]

    def eager(kind: Any, gradient: Callable[[int], Any]) -> list[Any]:
        variable, optimizer = tf.Variable(tf.ones(SHAPE)), kind(**options)
        for number in range(5):
            optimizer.apply_gradients([(gradient(number), variable)])
        return [variable.numpy(), *(np.asarray(one) for one in optimizer.variables)]

    assert differing(compiled(), eager(STOCK, drawn)) == 0
    if "clipvalue" not in options:
        dense = eager(STOCK, lambda number: tf.convert_to_tensor(drawn(number)))
        assert differing(compiled(corrections=True), dense) == 0


def model(optimizer: Any, **compiled: Any) -> Any:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Embedding(50, 4), keras.layers.Flatten(), keras.layers.Dense(1)]
    made = keras.Sequential([keras.Input((6,), dtype="int32"), *layers])
    made.compile(optimizer, "mse", **compiled)
    return made


def losses(optimizer: Any, **compiled: Any) -> Any:
    rng = np.random.RandomState(0)
    inputs, targets = rng.randint(0, 50, (64, 6)), rng.rand(64)
    return model(optimizer, **compiled).fit(inputs, targets, epochs=2, verbose=0).history["loss"]


class Summed(STOCK):  # type: ignore[misc, valid-type]
    """Keras's, with gradients in which repeated rows have been added up."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        super().apply([tf.convert_to_tensor(gradient) for gradient in grads], trainable_variables)


@pytest.mark.parametrize("compiled", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_a_model_with_an_embedding_trains_as_with_keras(compiled: dict[str, Any]) -> None:
    stock = losses(STOCK(1e-2), **compiled)
    # XLA rounds what surrounds the optimizer otherwise each time that it compiles.
    exact = "jit_compile" not in compiled
    assert losses(Adam(1e-2), **compiled) == (stock if exact else pytest.approx(stock, rel=1e-6))
    with adamcompat.installed():
        assert losses(keras.optimizers.Adam(1e-2), **compiled) == (stock if exact else pytest.approx(stock, rel=1e-6))
    summed = losses(Summed(1e-2), **compiled)
    assert losses(Adam(1e-2, corrections=True), **compiled) == pytest.approx(summed, rel=1e-6)
    with adamcompat.installed(corrections=True):
        assert losses(keras.optimizers.Adam(1e-2), **compiled) == pytest.approx(summed, rel=1e-6)
        assert losses("adam", **compiled) != losses(keras.optimizers.Adam(corrections=False), **compiled)
    assert abs(stock[-1] - summed[-1]) > 0.001, "the rows make a difference"


PROGRAM = """
import numpy as np, tensorflow as tf
variable, optimizer = tf.Variable(tf.ones((3, 2))), tf.keras.optimizers.Adam(0.1)
for _ in range(4):
    rows = tf.IndexedSlices(tf.constant([[1.0, 3.0], [2.0, -1.0]]), tf.constant([0, 0]), tf.constant([3, 2]))
    optimizer.apply_gradients([(rows, variable)])
print(variable.numpy().tolist())
"""


def test_adamcompat_run_changes_no_number_unless_it_is_asked_to(tmp_path: Any) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    plain = run_python(PROGRAM)
    call = "import sys\nfrom adamcompat.cli import main\nsys.exit(main([{}{!r}]))"
    path = str(tmp_path / "train.py")
    assert run_python(call.format("'run', ", path), fresh=True) == plain
    assert run_python(call.format("'run', '--corrections', ", path), fresh=True) != plain


def two_steps(kind: Any, gradient: Any, graph: bool = False, **options: Any) -> Any:
    variable, optimizer = tf.Variable(tf.ones((3, 2))), kind(0.1, **options)
    if hasattr(optimizer, "build"):
        optimizer.build([variable])
    apply = lambda: optimizer.apply_gradients([(gradient, variable)])  # noqa: E731
    step = tf.function(apply) if graph else apply
    for _ in range(2):
        step()
    return variable.numpy()


def rows(values: Any = ((1.0, 3.0), (2.0, -1.0), (0.5, 0.5)), scale: float = 1.0, shape: Any = (3, 2)) -> Any:
    shape = None if shape is None else tf.constant(shape)
    return tf.IndexedSlices(tf.constant(values) * scale, tf.constant([0, 0, 2]), shape)


@pytest.mark.parametrize("graph", [False, True])
def test_what_keras_3_refuses_works(graph: bool) -> None:
    with pytest.raises(TypeError):
        two_steps(STOCK, rows(), graph, loss_scale_factor=8.0)
    scaled = two_steps(STOCK, rows(scale=1 / 8), graph)
    np.testing.assert_array_equal(two_steps(Adam, rows(), graph, loss_scale_factor=8.0), scaled)
    summed = two_steps(STOCK, tf.convert_to_tensor(rows()) / 8, graph)
    np.testing.assert_array_equal(two_steps(Adam, rows(), graph, loss_scale_factor=8.0, corrections=True), summed)
    with pytest.raises(ValueError, match="dense_shape"):
        two_steps(STOCK, rows(shape=None), graph)
    np.testing.assert_array_equal(two_steps(Adam, rows(shape=None), graph), two_steps(STOCK, rows(), graph))


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.filterwarnings("error:.*This drop-in does the same")
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("make", [tf.constant, tf.Variable, keras.Variable])
def test_rows_divided_by_a_tensor_are_dense_as_in_keras_3(make: Any, graph: bool) -> None:
    """Division by a tensor adds repeated rows up, so that there is nothing to correct."""
    ours, stock = (two_steps(kind, rows(), graph, loss_scale_factor=make(8.0)) for kind in (Adam, STOCK))
    np.testing.assert_array_equal(ours, stock)


@pytest.mark.parametrize("legacy_keras", [tf_keras.optimizers.Adam, TwoAdam])
def test_the_originals_differ(legacy_keras: Any) -> None:
    """tf_keras and TensorFlow 2.6 add up repeated rows, Keras 3 squares each."""
    both = two_steps(legacy_keras, rows()), two_steps(tf_keras.optimizers.legacy.Adam, rows())
    np.testing.assert_allclose(*both, rtol=1e-5)
    assert abs(two_steps(STOCK, rows()) - both[0]).max() > 0.01


TF_KERAS: dict[str, dict[str, Any]] = {
    "default": {},
    "amsgrad": {"amsgrad": True},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "weight_decay": {"weight_decay": 0.1},
    "ema": {"use_ema": True, "ema_overwrite_frequency": 3},
    "schedule": {"learning_rate": lambda: tf_keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)},
    "hyperparameters": {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.91, "epsilon": 1e-3},
    "adaptive_epsilon": {"adaptive_epsilon": True},
}


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("case", TF_KERAS)
def test_tf_keras_in_every_bit(case: str, graph: bool) -> None:
    ours, stock = (run(kind, TF_KERAS[case], graph=graph) for kind in (TwoAdam, tf_keras.optimizers.Adam))
    assert differing(ours, stock) == 0


def test_a_hyperparameter_that_is_set_between_sparse_steps_of_tf_keras_acts() -> None:
    def changed(kind: Any) -> Any:
        variable, optimizer = tf.Variable(tf.ones(SHAPE)), kind(0.01)
        for number in range(9):
            if number == 4:
                optimizer.beta_1, optimizer.beta_2, optimizer.epsilon = 0.5, 0.8, 1e-2
                optimizer.learning_rate = 0.1
            optimizer.apply_gradients([(drawn(number), variable)])
        return variable.numpy()

    np.testing.assert_array_equal(changed(TwoAdam), changed(tf_keras.optimizers.Adam))


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    ("ours", "stock"),
    [(legacy.Adam, tf_keras.optimizers.legacy.Adam), (v1.AdamOptimizer, tf.compat.v1.train.AdamOptimizer)],
)
def test_tensorflows_own_in_every_bit(ours: Any, stock: Any, graph: bool) -> None:
    assert differing(run(ours, {}, graph=graph), run(stock, {}, graph=graph)) == 0


@pytest.mark.usefixtures("nothing_said")
@pytest.mark.filterwarnings("error")
class TestTheWarning:
    """It is given once, where a correction that is off may matter, and nowhere else."""

    def test_once(self) -> None:
        with pytest.warns(UserWarning, match=r"1² \+ 2² instead of \(1 \+ 2\)².*corrections=True.*add up first"):
            two_steps(Adam, rows())
        two_steps(Adam, rows())
        with pytest.warns(UserWarning, match=r"^keras\.optimizers\.AdamW: "):
            two_steps(AdamW, rows())

    def test_in_a_graph_rows_are_not_known(self) -> None:
        with pytest.warns(UserWarning, match="add up first"):
            run(Adam, {}, graph=True, steps=1, gradient=lambda step: drawn(step, unique=True))

    @pytest.mark.parametrize(
        "options",
        [{"corrections": True}, {"fused": True}, {"gradient_accumulation_steps": 2}],
        ids=lambda options: next(iter(options)),
    )
    def test_not_where_rows_add_up(self, options: dict[str, Any]) -> None:
        two_steps(Adam, rows(), **options)

    def test_not_where_no_row_is_repeated(self) -> None:
        for far in (2, 10**6):
            shape = (far + 1, 2)
            variable, optimizer = tf.Variable(tf.ones(shape)), Adam()
            once = tf.IndexedSlices(tf.ones((2, 2)), tf.constant([0, far]), tf.constant(shape))
            optimizer.apply_gradients([(once, variable)])
        twice = tf.IndexedSlices(tf.ones((3, 2)), tf.constant([far, 0, far]), tf.constant(shape))
        with pytest.warns(UserWarning, match="add up first"):
            optimizer.apply_gradients([(twice, variable)])

    def test_not_by_the_others(self) -> None:
        for kind in (TwoAdam, legacy.Adam, v1.AdamOptimizer):
            two_steps(kind, rows())


def test_corrections_are_kept() -> None:
    with adamcompat.installed(corrections=True):
        optimizer = keras.optimizers.Adam(0.1)
        assert "corrections" not in optimizer.get_config()
        optimizer.apply_gradients([(rows(), tf.Variable(tf.ones((3, 2))))])
        pickled = pickle.dumps(optimizer)
    expected = two_steps(STOCK, tf.convert_to_tensor(rows()))
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickled)):
        variable = tf.Variable(two_steps_by_one())
        twin.apply_gradients([(rows(), variable)])
        np.testing.assert_array_equal(variable.numpy(), expected)
    for given in (True, False):
        config = Adam(corrections=given).get_config()
        assert config["corrections"] is given
        assert Adam.from_config(config).corrections is given
    assert Adam.from_config(Adam().get_config()).corrections is False
    with pytest.raises(ValueError, match="corrections must be"):
        Adam(corrections="yes")  # type: ignore[arg-type]


def two_steps_by_one() -> Any:
    """The table after the first of two corrected steps."""
    variable, optimizer = tf.Variable(tf.ones((3, 2))), STOCK(0.1)
    optimizer.apply_gradients([(tf.convert_to_tensor(rows()), variable)])
    return variable.numpy()


def test_no_warning_of_ours_in_a_training_without_rows() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two_steps(Adam, tf.ones((3, 2)))
