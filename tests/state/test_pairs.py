"""500 steps in one dialect, 500 in another: the numbers of NumPy numerics switched after 500 steps."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import Parameter, TFStyleAdam
from adamcompat.state import AdamState

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_v", "3")

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    # What the frameworks do on import and at their first step.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]
if find_spec("tf_keras") is None or find_spec("mindspore") is None:
    pytest.skip("needs TensorFlow, tf_keras and MindSpore together", allow_module_level=True)

Array = NDArray[Any]
STEPS = 500
# MindSpore's AMSGrad takes no scalars.
SHAPES = ((3, 5), (7,), (2, 3, 3, 4), (1,))
NAMES = tuple(f"p{i}" for i in range(len(SHAPES)))
OPTIONS: dict[str, Any] = {"epsilon": 1e-7}
NUMERICS = {
    "keras3": "keras3",
    "tf_keras": "keras3",
    "legacy": "tf26",
    "tf1": "tf1",
    "mindspore": "mindspore",
    "numpy": "canonical",
}


def drawn() -> tuple[list[Array], list[list[Array]]]:
    rng = np.random.default_rng(0)
    start = [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]
    sizes = 10.0 ** rng.uniform(-4, 1, 2 * STEPS)
    return start, [[np.asarray(rng.standard_normal(shape) * size, np.float32) for shape in SHAPES] for size in sizes]


START, GRADIENTS = drawn()


@dataclass
class Trained:
    """An optimizer with its variables, whatever it is."""

    optimizer: Any
    variables: dict[str, Any]
    step: Callable[[Sequence[Array]], Any]
    values: Callable[[], list[Array]]
    session: Any = None

    def state(self) -> AdamState:
        known = {name: self.variables[name] for name in NAMES}
        return AdamState.of(self.optimizer, known, session=self.session)

    def load(self, state: AdamState) -> None:
        state.load_into(self.optimizer, parameters=self.variables, with_parameters=True, session=self.session)


def keras3(amsgrad: bool) -> Trained:
    import keras

    variables = [keras.Variable(value, name=name) for name, value in zip(NAMES, START, strict=True)]
    return in_function(keras.optimizers.Adam(amsgrad=amsgrad, **OPTIONS), variables)


def tf_keras(amsgrad: bool) -> Trained:
    import tf_keras

    return in_function(tf_keras.optimizers.Adam(amsgrad=amsgrad, **OPTIONS), tf_variables())


def legacy(amsgrad: bool) -> Trained:
    import tf_keras

    return in_function(tf_keras.optimizers.legacy.Adam(amsgrad=amsgrad, **OPTIONS), tf_variables())


def tf_variables() -> list[Any]:
    import tensorflow as tf

    return [tf.Variable(value, name=name) for name, value in zip(NAMES, START, strict=True)]


def in_function(optimizer: Any, variables: list[Any]) -> Trained:
    import tensorflow as tf

    @tf.function  # type: ignore[untyped-decorator]
    def step(gradients: Any) -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    return Trained(
        optimizer,
        dict(zip(NAMES, variables, strict=True)),
        lambda gradients: step([tf.constant(gradient) for gradient in gradients]),
        lambda: [np.array(variable) for variable in variables],
    )


def tf1(amsgrad: bool) -> Trained:
    """In a Session; the original has no AMSGrad, ours has."""
    import tensorflow as tf

    from adamcompat.tensorflow.v1 import AdamOptimizer

    v1 = tf.compat.v1
    graph = tf.Graph()
    with graph.as_default():
        variables = [v1.get_variable(name, initializer=value) for name, value in zip(NAMES, START, strict=True)]
        feeds = [v1.placeholder(tf.float32, shape) for shape in SHAPES]
        optimizer = AdamOptimizer(amsgrad=True, **OPTIONS) if amsgrad else v1.train.AdamOptimizer(**OPTIONS)
        train = optimizer.apply_gradients(zip(feeds, variables, strict=True))
        session = v1.Session(graph=graph)
        session.run(v1.global_variables_initializer())
    return Trained(
        optimizer,
        dict(zip(NAMES, variables, strict=True)),
        lambda gradients: session.run(train, dict(zip(feeds, gradients, strict=True))),
        lambda: [np.array(value) for value in session.run(variables)],
        session,
    )


def mindspore(amsgrad: bool) -> Trained:
    import mindspore as ms

    parameters = [ms.Parameter(ms.Tensor(value), name=name) for name, value in zip(NAMES, START, strict=True)]
    optimizer = ms.nn.Adam(parameters, eps=OPTIONS["epsilon"], use_amsgrad=amsgrad)
    return Trained(
        optimizer,
        dict(zip(NAMES, parameters, strict=True)),
        lambda gradients: optimizer(tuple(ms.Tensor(gradient) for gradient in gradients)),
        lambda: [np.array(parameter.asnumpy()) for parameter in parameters],
    )


def numpy(amsgrad: bool, numerics: str = "canonical") -> Trained:
    parameters = [Parameter(value.copy(), name) for name, value in zip(NAMES, START, strict=True)]
    optimizer = TFStyleAdam(amsgrad=amsgrad, numerics=numerics, **OPTIONS)
    optimizer.build(parameters)
    return Trained(
        optimizer,
        dict(zip(NAMES, parameters, strict=True)),
        lambda gradients: optimizer.apply_gradients(zip(gradients, parameters, strict=True)),
        lambda: [parameter.data.copy() for parameter in parameters],
    )


KINDS = {
    "keras3": keras3,
    "tf_keras": tf_keras,
    "legacy": legacy,
    "tf1": tf1,
    "mindspore": mindspore,
    "numpy": numpy,
}


def switched(before: str, after: str, amsgrad: bool) -> list[Array]:
    """NumPy all along, with other numerics after half of the steps; by hand, without what is tested here."""
    first, second = numpy(amsgrad, before), numpy(amsgrad, after)
    for gradients in GRADIENTS[:STEPS]:
        first.step(gradients)
    old, new = first.optimizer._engine, second.optimizer._engine
    for one, other in zip(old.slots, new.slots, strict=True):
        for name in ("array", "m", "v", "vhat"):
            if getattr(one, name) is not None:
                getattr(other, name)[...] = getattr(one, name)
    new.iterations[...] = STEPS
    if new.powers is not None:
        for _ in range(STEPS):
            new.powers *= np.array([0.9, 0.999], new.powers.dtype)
    for gradients in GRADIENTS[STEPS:]:
        second.step(gradients)
    return second.values()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "amsgrad"])
def trained(request: pytest.FixtureRequest) -> Iterator[tuple[bool, dict[str, Trained], dict[str, AdamState]]]:
    """Each kind after 500 steps, and its state."""
    made = {name: make(bool(request.param)) for name, make in KINDS.items()}
    states = {}
    for name, one in made.items():
        for gradients in GRADIENTS[:STEPS]:
            one.step(gradients)
        states[name] = one.state()
    yield bool(request.param), made, states
    made["tf1"].session.close()


PAIRS = list(itertools.permutations(KINDS, 2))


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=[f"{before}-{after}" for before, after in PAIRS])
def test_the_other_dialect_goes_on_exactly(trained: Any, before: str, after: str) -> None:
    amsgrad, made, states = trained
    target = made[after]
    target.load(states[before])
    for gradients in GRADIENTS[STEPS:]:
        target.step(gradients)
    state = target.state()
    assert state.step == 2 * STEPS
    expected = switched(NUMERICS[before], NUMERICS[after], amsgrad)
    for name, ours, reference in zip(NAMES, target.values(), expected, strict=True):
        bound = 2 * np.spacing(np.abs(reference).max())
        assert np.abs(ours - reference).max() <= bound, name
