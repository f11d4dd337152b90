"""State in and out of TensorFlow's optimizers: stock and ours, eager and in a Session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import adamcompat
from adamcompat import Parameter, TFStyleAdam, TFStyleAdamW
from adamcompat.state import AdamState, StateError
from adamcompat.state.tensorflow_places import Place
from adamcompat.tensorflow import Adam, AdamW, MindSporeStyleAdam, MindSporeStyleAdamWeightDecay
from adamcompat.tensorflow.legacy import Adam as LegacyAdam
from adamcompat.tensorflow.v1 import AdamOptimizer
from tests.tensorflow.tf_helpers import run_python

SHAPES: tuple[tuple[int, ...], ...] = ((3, 5), (7,), (2, 3, 3, 4), ())
NAMES = tuple(f"p{i}" for i in range(len(SHAPES)))
v1 = tf.compat.v1

KINDS: dict[str, Callable[..., Any]] = {
    "keras3": keras.optimizers.Adam,
    "keras3, ours": Adam,
    "keras3_adamw": keras.optimizers.AdamW,
    "keras3_adamw, ours": AdamW,
    "tf_keras": tf_keras.optimizers.Adam,
    "tf_keras_adamw": tf_keras.optimizers.AdamW,
    "legacy": tf_keras.optimizers.legacy.Adam,
    "legacy, ours": LegacyAdam,
    "v1": v1.train.AdamOptimizer,
    "v1, ours": AdamOptimizer,
}
OPTIONS: dict[str, Any] = {"learning_rate": 0.01, "epsilon": 1e-7}


def variables(kind: str = "", seed: int = 0, dtype: str = "float32") -> list[Any]:
    rng = np.random.default_rng(seed)
    make = keras.Variable if kind.startswith("keras3") else tf.Variable
    return [
        make(tf.constant(rng.standard_normal(shape), dtype), dtype=dtype, name=name)
        for name, shape in zip(NAMES, SHAPES, strict=True)
    ]


def gradients(steps: int, seed: int = 1, dtype: str = "float32") -> list[list[Any]]:
    rng = np.random.default_rng(seed)
    return [[tf.constant(rng.standard_normal(shape), dtype) for shape in SHAPES] for _ in range(steps)]


def train(optimizer: Any, own: Sequence[Any], steps: Sequence[Sequence[Any]]) -> None:
    for step in steps:
        optimizer.apply_gradients(zip(step, own, strict=True))


def trained(kind: str, **options: Any) -> tuple[Any, list[Any]]:
    optimizer, own = KINDS[kind](**OPTIONS, **options), variables(kind)
    train(optimizer, own, gradients(5))
    return optimizer, own


def values(own: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    return [np.array(variable) for variable in own]


def assert_equal(one: Sequence[Any], other: Sequence[Any]) -> None:
    for a, b in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(a, b)


CASES = [(kind, amsgrad) for kind in KINDS for amsgrad in (False, True) if not (amsgrad and kind == "v1")]
DIALECTS = {"tf_keras": "keras3", "tf_keras_adamw": "keras3_adamw", "legacy": "tf26", "v1": "tf1"}


@pytest.mark.parametrize(("kind", "amsgrad"), CASES)
def test_another_optimizer_goes_on_bit_for_bit(kind: str, amsgrad: bool) -> None:
    options = {"amsgrad": True} if amsgrad else {}
    old, own = trained(kind, **options)
    new, others = KINDS[kind](**OPTIONS, **options), variables(kind, seed=9)
    state = AdamState.of(old, own)
    assert (state.step, state.names, state.convention) == (5, NAMES, "tensorflow")
    first = kind.partition(",")[0]
    assert state.dialect == DIALECTS.get(first, first)
    state.load_into(new, parameters=others, with_parameters=True)
    more = gradients(5, seed=2)
    train(old, own, more)
    train(new, others, more)
    assert_equal(own, others)
    assert AdamState.of(new, others).step == 10


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_goes_on_in_its_numerics(kind: str) -> None:
    old, own = trained(kind)
    state = AdamState.of(old, own)
    weights = [Parameter(np.array(state.parameters[name]), name) for name in NAMES]  # type: ignore[index]
    style = TFStyleAdamW if "adamw" in kind else TFStyleAdam
    numpy = style(**OPTIONS, numerics=state.numerics)
    state.load_into(numpy, parameters=weights)
    more = gradients(5, seed=2)
    train(old, own, more)
    numpy_steps = [[np.asarray(gradient) for gradient in step] for step in more]
    train(numpy, weights, numpy_steps)
    assert_equal(own, weights)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_known_without_the_variables(kind: str) -> None:
    optimizer, own = trained(kind)
    assert AdamState.of(optimizer).names == NAMES
    named = {f"n{i}": variable for i, variable in enumerate(own)}
    assert AdamState.of(optimizer, named).names == ("n0", "n1", "n2", "n3")


@pytest.mark.parametrize("kind", KINDS)
def test_without_state_there_is_nothing_to_read_or_to_load_into(kind: str) -> None:
    optimizer = KINDS[kind](**OPTIONS)
    with pytest.raises(StateError, match="no state yet"):
        AdamState.of(optimizer)
    state = AdamState.of(*trained("keras3"))
    with pytest.raises(StateError, match="pass parameters="):
        state.load_into(optimizer)


@pytest.mark.parametrize("kind", KINDS)
def test_foreign_variables_are_refused(kind: str) -> None:
    optimizer, own = trained(kind)
    with pytest.raises(StateError, match=r"parameters: not the 4 variables|no state for 'p0'"):
        AdamState.of(optimizer, variables(kind))
    with pytest.raises(StateError, match=r"not the 4 variables|3 variables, but this .* updates 4"):
        AdamState.of(optimizer, own[:3])


def test_tf_keras_names_do_not_lose_the_scope_of_the_optimizer() -> None:
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,), name="m")])
    model.compile(tf_keras.optimizers.Adam(), "mse")
    model.fit(np.ones((4, 3), np.float32), np.ones((4, 2), np.float32), verbose=0)
    assert AdamState.of(model.optimizer).names == ("m/kernel", "m/bias")
    assert AdamState.of(model.optimizer, model.trainable_variables).names == ("m/kernel", "m/bias")


@pytest.mark.parametrize("kind", ["tf_keras", "legacy", "v1"])
def test_names_that_say_nothing_match_nothing(kind: str) -> None:
    def unnamed() -> tuple[Any, list[Any]]:
        optimizer, own = KINDS[kind](**OPTIONS), [tf.Variable([1.0]), tf.Variable([2.0])]
        optimizer.apply_gradients([(tf.constant([1.0]), variable) for variable in own])
        return optimizer, own

    state = AdamState.of(*unnamed())
    new, own = unnamed()
    with pytest.raises(StateError, match="leave open"):
        state.load_into(new, parameters=own)
    state.load_into(new, parameters=own, rename="order")


# Which optimizers.


class WithMore(keras.optimizers.Adam):  # type: ignore[misc]
    """Keeps something that Adam does not."""

    def build(self, variables: Any) -> None:
        super().build(variables)
        self.extra = self.add_variable((), name="extra")


def test_what_is_not_adam_is_refused() -> None:
    for optimizer in (keras.optimizers.SGD(), tf_keras.optimizers.SGD(), v1.train.GradientDescentOptimizer(0.1)):
        with pytest.raises(StateError, match=r"expected keras\.optimizers\.Adam, .*keras\.optimizers\.AdamW, "):
            AdamState.of(optimizer)
    with pytest.raises(StateError, match="pass its inner_optimizer"):
        AdamState.of(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    more = WithMore()
    more.build(variables("keras3"))
    with pytest.raises(StateError, match=r"keeps .*extra, which is unknown"):
        AdamState.of(more)
    adaptive = tf_keras.optimizers.Adam(adaptive_epsilon=True)
    with pytest.raises(StateError, match="adaptive_epsilon"):
        AdamState.of(adaptive)
    with pytest.raises(StateError, match="session"):
        AdamState.of(trained("keras3")[0], session=object())
    with pytest.raises(StateError, match="runs eagerly"):
        AdamState.of(trained("legacy")[0], session=object())


@pytest.mark.parametrize("kind", ["keras3", "keras3_adamw", "tf_keras_adamw"])
def test_a_subclass_is_its_nearest_original(kind: str) -> None:
    made: Any = type("Own", (KINDS[kind],), {})  # type: ignore[arg-type]
    optimizer, own = made(**OPTIONS), variables(kind)
    train(optimizer, own, gradients(2))
    state = AdamState.of(optimizer)
    assert state.dialect == DIALECTS.get(kind, kind)
    assert state.hyperparameters.get("decoupled_weight_decay", 0.0) == (0.004 if "adamw" in kind else 0.0)


def test_the_other_decay_of_another_member_is_told() -> None:
    new, others = AdamW(**OPTIONS), variables("keras3")
    with pytest.warns(UserWarning, match="adapters.AdamW goes on .*: decoupled_weight_decay 0.004 instead of 0.0"):
        AdamState.of(*trained("keras3")).load_into(new, parameters=others)


# Options of Keras.


@pytest.mark.parametrize("make", [keras.optimizers.Adam, Adam], ids=["stock", "ours"])
def test_averages_and_half_an_accumulation_move(make: Callable[..., Any]) -> None:
    options = {**OPTIONS, "use_ema": True, "ema_momentum": 0.9, "gradient_accumulation_steps": 3}
    old, own = keras.optimizers.Adam(**options), variables("keras3")
    train(old, own, gradients(5))
    state = AdamState.of(old)
    assert (state.step, state.accumulated_calls, state.accumulation_steps) == (1, 2, 3)
    new, others = make(**options), variables("keras3", seed=9)
    state.load_into(new, parameters=others, with_parameters=True)
    more = gradients(4, seed=2)
    train(old, own, more)
    train(new, others, more)
    assert_equal(own, others)
    assert_equal(old.variables, new.variables)


def test_while_ours_stand_under_their_names() -> None:
    stock, own = trained("keras3_adamw")
    with adamcompat.installed():
        optimizer = keras.optimizers.AdamW(**OPTIONS)
        AdamState.of(stock, own).load_into(optimizer, parameters=own)
        assert AdamState.of(optimizer).dialect == AdamState.of(stock).dialect == "keras3_adamw"


def test_averages_go_to_tf_keras() -> None:
    old, own = trained("keras3", use_ema=True)
    others = variables("tf_keras", seed=9)
    new = tf_keras.optimizers.Adam(**OPTIONS, use_ema=True)
    AdamState.of(old).load_into(new, parameters=others, with_parameters=True)
    more = gradients(3, seed=2)
    train(old, own, more)
    train(new, others, more)
    averages = zip(old._model_variables_moving_average, new._model_variables_moving_average, strict=True)
    for one, other in averages:
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-6)  # they weigh in another order


def test_narrow_moments_need_a_word() -> None:
    """Ours keeps the moments of bfloat16 variables in float32, Keras in bfloat16."""
    ours, own = Adam(**OPTIONS), variables("keras3", dtype="bfloat16")
    train(ours, own, gradients(3, dtype="bfloat16"))
    state = AdamState.of(ours)
    assert {str(tensor.dtype) for tensor in state.first_moment.values()} == {"float32"}
    stock, others = keras.optimizers.Adam(**OPTIONS), variables("keras3", dtype="bfloat16")
    with pytest.raises(StateError, match="first_moment of 'p0' is bfloat16, and the state has float32; pass cast=True"):
        state.load_into(stock, parameters=others)
    state.load_into(stock, cast=True)
    back = Adam(**OPTIONS)
    AdamState.of(stock).load_into(back, parameters=others)
    expected = np.asarray(state.first_moment["p0"]).astype(others[0].numpy().dtype).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(AdamState.of(back).first_moment["p0"]), expected)


def test_a_fitted_model_goes_on_in_a_new_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 4)).astype("f4"), rng.standard_normal((32, 2)).astype("f4")

    def model() -> Any:
        keras.utils.set_random_seed(3)
        made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(2)])
        made.compile(Adam(0.01), "mse")
        return made

    old, new = model(), model()
    old.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    state = AdamState.of(old.optimizer)
    rules = [
        (one.path, other.path) for one, other in zip(old.trainable_variables, new.trainable_variables, strict=True)
    ]
    state.load_into(new.optimizer, parameters=new.trainable_variables, rename=dict(rules), with_parameters=True)
    for one in (old, new):
        one.fit(x, y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert_equal(old.trainable_variables, new.trainable_variables)


def test_on_two_replicas() -> None:
    printed = run_python(
        """
        import keras, numpy as np, tensorflow as tf, tf_keras
        from adamcompat.state import AdamState
        from adamcompat.tensorflow import Adam
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        x = np.random.default_rng(0).standard_normal((16, 3)).astype("f4")
        y = x.sum(1, keepdims=True)

        def model(library, kind):
            with strategy.scope():
                library.utils.set_random_seed(1)
                layers = library.layers
                made = library.Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(1)])
                made.compile(kind(0.01), "mse")
            return made

        fit = dict(batch_size=8, shuffle=False, verbose=0)
        for library, kind in ((keras, Adam), (tf_keras, tf_keras.optimizers.Adam)):
            old, new = model(library, kind), model(library, kind)
            old.fit(x, y, epochs=2, **fit)
            new.fit(x, y, epochs=1, **fit)
            with strategy.scope():
                state = AdamState.of(old.optimizer, old.trainable_variables)
                state.load_into(new.optimizer, parameters=new.trainable_variables, with_parameters=True, rename="order")
            for one in (old, new):
                one.fit(x, y, epochs=2, **fit)
            same = all((a == b).all() for a, b in zip(old.get_weights(), new.get_weights()))
            print(library.__name__, same, AdamState.of(new.optimizer).step)
        """
    )
    assert "keras True 8" in printed
    assert "tf_keras True 8" in printed


def test_with_eager_execution_disabled() -> None:
    printed = run_python(
        """
        import numpy as np, tensorflow.compat.v1 as tf
        from adamcompat.state import AdamState
        tf.disable_v2_behavior()
        weight = tf.get_variable("w", initializer=np.ones(3, "f4"))
        optimizer = tf.train.AdamOptimizer(0.1)
        train = optimizer.minimize(tf.reduce_sum(weight * weight))
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for _ in range(3):
                session.run(train)
            state = AdamState.of(optimizer)
            expected = [session.run([train, weight])[1] for _ in range(3)][-1]
            state.load_into(optimizer, with_parameters=True)
            found = [session.run([train, weight])[1] for _ in range(3)][-1]
        print(state, (expected == found).all())
        """
    )
    assert "AdamState(step 3, 1 parameter, 3 elements, float32, with parameter, from tf1) True" in printed


def test_under_tf_use_legacy_keras() -> None:
    printed = run_python(
        """
        import tensorflow as tf, tf_keras
        from adamcompat.state import AdamState
        from adamcompat.tensorflow import Adam
        weights = [tf.Variable([1.0, 2.0], name="w") for _ in range(2)]
        old, new = Adam(0.1), Adam(0.1)
        for _ in range(3):
            old.apply_gradients([(tf.constant([1.0, -1.0]), weights[0])])
        print(AdamState.of(old, weights[:1]).load_into(new, parameters=weights[1:], with_parameters=True))
        for optimizer, weight in zip((old, new), weights):
            optimizer.apply_gradients([(tf.constant([1.0, -1.0]), weight)])
        same = (weights[0].numpy() == weights[1].numpy()).all()
        print(int(new.iterations), same, isinstance(new, tf_keras.optimizers.Adam))
        """,
        TF_USE_LEGACY_KERAS="1",
    )
    assert "4 True True" in printed


# Graphs.


@contextmanager
def graph(**options: Any) -> Iterator[tuple[Any, list[Any], Any, Callable[[Any], None]]]:
    """A training operation of TensorFlow 1 in a Session of its own."""
    kind, resource = options.pop("kind", v1.train.AdamOptimizer), options.pop("resource", True)
    with tf.Graph().as_default(), v1.Session() as session:
        rng = np.random.default_rng(0)
        own = [
            v1.get_variable(name, initializer=rng.standard_normal(shape).astype("f4"), use_resource=resource)
            for name, shape in zip(NAMES, SHAPES, strict=True)
        ]
        feeds = [v1.placeholder(tf.float32, shape) for shape in SHAPES]
        rate = v1.placeholder_with_default(0.01, ())
        optimizer = kind(rate, epsilon=1e-7, **options)
        operation = optimizer.apply_gradients(zip(feeds, own, strict=True))
        session.run(v1.global_variables_initializer())

        def step(values: Any) -> None:
            session.run(operation, dict(zip(feeds, values, strict=True)))

        yield optimizer, own, session, step


def drawn(steps: int, seed: int) -> list[list[Any]]:
    rng = np.random.default_rng(seed)
    return [[np.asarray(rng.standard_normal(shape), "f4") for shape in SHAPES] for _ in range(steps)]


@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("kind", [v1.train.AdamOptimizer, tf_keras.optimizers.legacy.Adam])
def test_a_session_goes_on_where_another_stopped(kind: Any, resource: bool) -> None:
    if kind is tf_keras.optimizers.legacy.Adam and not resource:
        pytest.skip("TensorFlow 2.6's optimizer takes resource variables only")
    with graph(kind=kind, resource=resource) as (optimizer, own, session, step):
        for values_ in drawn(5, 1):
            step(values_)
        state = AdamState.of(optimizer, own if kind is not v1.train.AdamOptimizer else None)
        for values_ in drawn(5, 2):
            step(values_)
        expected = session.run(own)
    assert (state.step, state.names) == (5, NAMES)
    assert state.parameters is not None
    with graph(kind=kind, resource=resource) as (optimizer, own, session, step):
        for values_ in drawn(2, 3):
            step(values_)
        state.load_into(optimizer, parameters=own, with_parameters=True)
        for values_ in drawn(5, 2):
            step(values_)
        for one, other in zip(expected, session.run(own), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_graph_needs_its_session() -> None:
    with graph() as (optimizer, _, session, step):
        step(drawn(1, 1)[0])
        with tf.Graph().as_default(), v1.Session() as other, pytest.raises(StateError, match="no state in the graph"):
            AdamState.of(optimizer, session=other)
        assert AdamState.of(optimizer, session=session).step == 1
        fresh = v1.Session(graph=session.graph)
        with pytest.raises(StateError, match="is not initialized; run"):
            AdamState.of(optimizer, session=fresh)
        fresh.close()
    with pytest.raises(StateError, match=r"belongs to a graph; pass session="):
        AdamState.of(optimizer)
    state = AdamState.of(trained("v1")[0])
    with tf.Graph().as_default(), v1.Session():
        weight = v1.get_variable("w", initializer=1.0)
        with pytest.raises(StateError, match="build its training operation"):
            state.load_into(v1.train.AdamOptimizer(), parameters=[weight])


def test_a_forgotten_step_is_asked_for() -> None:
    optimizer, own = trained("v1")
    state = AdamState.of(optimizer, own)
    replace(state, step=200_000).load_into(optimizer, parameters=own)
    with pytest.raises(StateError, match=r"have become 0; pass step="):
        AdamState.of(optimizer, own)
    assert AdamState.of(optimizer, own, step=200_000).step == 200_000
    state.load_into(optimizer, parameters=own)
    with pytest.raises(StateError, match=r"step=7, but .* shows 5 \(beta1_power\) and 5"):
        AdamState.of(optimizer, own, step=7)


# Nothing half-loaded.


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_assignment_is_taken_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = AdamState.of(*trained(kind))
    optimizer, own = KINDS[kind](**OPTIONS), variables(kind, seed=9)
    train(optimizer, own, gradients(2, seed=3))
    before = AdamState.of(optimizer, own)
    write, written = Place.write, []

    def fails_later(place: Place, value: Any) -> None:
        written.append(place)
        if len(written) == 7:
            raise MemoryError("no room")
        write(place, value)

    with monkeypatch.context() as patch:
        patch.setattr(Place, "write", fails_later)
        with pytest.raises(MemoryError):
            state.load_into(optimizer, parameters=own, with_parameters=True)
    after = AdamState.of(optimizer, own)
    assert after.step == before.step == 2
    for role, tensors in before.tensors.items():
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(np.asarray(after.tensors[role][name]), np.asarray(tensor))


@pytest.mark.parametrize("kind", KINDS)
def test_state_and_optimizer_do_not_share_values(kind: str) -> None:
    """NumPy arrays and eager tensors may share memory; a step must not reach into the state."""
    optimizer, own = trained(kind)
    state = AdamState.of(optimizer, own)
    before = {role: {n: np.array(t) for n, t in tensors.items()} for role, tensors in state.tensors.items()}
    new, others = KINDS[kind](**OPTIONS), variables(kind)
    state.load_into(new, parameters=others, with_parameters=True)
    train(optimizer, own, gradients(3))
    train(new, others, gradients(3))
    for role, tensors in state.tensors.items():
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(np.asarray(tensor), before[role][name])


# MindSpore's call on TensorFlow's variables.


@pytest.mark.parametrize("numerics", ["canonical", "mindspore"])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("style", "options"),
    [(MindSporeStyleAdam, {"use_amsgrad": True}), (MindSporeStyleAdamWeightDecay, {"weight_decay": 0.1})],
)
def test_mindspores_call_goes_on_bit_for_bit(style: Any, options: Any, numerics: str, grouped: bool) -> None:
    def made(own: list[Any]) -> Any:
        groups = [{"params": own[2:], "lr": 0.02}, {"params": own[:2]}] if grouped else own
        return style(groups, 0.01, **options, numerics=numerics)

    def go_on(optimizer: Any, own: list[Any], steps: list[list[Any]]) -> None:
        for step in steps:
            optimizer.apply_gradients(zip(step, own, strict=True))

    own, others = variables(), variables(seed=9)
    old, new = made(own), made(others)
    go_on(old, own, gradients(5))
    state = AdamState.of(old)
    dialect = style._dialect()
    wanted = dialect.numerics if numerics == "mindspore" else numerics
    assert (state.step, set(state.names), state.dialect, state.numerics) == (5, set(NAMES), dialect.name, wanted)
    assert state.hyperparameters["beta1"] == 0.9
    state.load_into(new, with_parameters=True)
    more = gradients(5, seed=2)
    go_on(old, own, more)
    go_on(new, others, more)
    assert_equal(own, others)
    assert_equal(list(old.parameters_dict().values()), list(new.parameters_dict().values()))
    if style is MindSporeStyleAdam:
        keras3: Any = keras.optimizers.Adam(0.01, amsgrad=True, epsilon=old.eps)
        said: Any = nullcontext()
    else:
        keras3 = keras.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=old.eps)
        said = pytest.warns(UserWarning, match=r"state came from: bias correction of both instead of none\. Loading")
    keras3.build(others)
    with said:
        AdamState.of(old).load_into(keras3)
    assert keras3.iterations == 10
    with pytest.raises(StateError, match=f"not the 4 variables that this {style.__name__} updates"):
        AdamState.of(old, others)
    with pytest.raises(StateError, match="session"):
        AdamState.of(old, session=object())
