"""mapping.yaml and the numerics against the installed TensorFlow and MindSpore themselves."""

from __future__ import annotations

import ast
import inspect
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
from adamcompat.mapping.tables import MAPPING
from tests.versions import before, older

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["GLOG_v"] = "4"  # noqa: SIM112 - its name

pytestmark = [
    pytest.mark.frameworks,
    # What the frameworks themselves do on import and construction.
    pytest.mark.filterwarnings("ignore"),
]
needs_tensorflow = pytest.mark.skipif(find_spec("tf_keras") is None, reason="TensorFlow is not installed")
needs_mindspore = pytest.mark.skipif(find_spec("mindspore") is None, reason="MindSpore is not installed")

Array = NDArray[Any]
STEPS = 30
SHAPES = ((5, 3), (7,), (40, 33), ())


def stream(dtype: type, seed: int = 0) -> tuple[list[Array], list[list[Array]]]:
    rng = np.random.default_rng(seed)
    low = -2 if dtype == np.float16 else -6
    sizes = 10.0 ** rng.uniform(low, 1, STEPS)
    start: list[Array] = [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]
    return start, [[np.asarray(rng.standard_normal(shape) * size, dtype) for shape in SHAPES] for size in sizes]


def signature(function: Any) -> list[tuple[str, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]


def mapped(dialect: str) -> list[tuple[str, Any]]:
    were = older(dialect)
    found = []
    for fact in MAPPING.dialects[dialect].parameters:
        default = inspect.Parameter.empty if fact.required else fact.default
        if (was := were.get(f"parameters.{fact.name}.default")) is not None:
            default = ast.literal_eval(was)
        if were.get(f"parameters.{fact.name}") != "missing":
            found.append((fact.name, default))
    return found


@needs_tensorflow
@pytest.mark.parametrize("dialect", ["keras3", "keras3_adamw", "tf26", "tf1"])
def test_tensorflow_signatures_are_those_of_the_mapping(dialect: str) -> None:
    import keras
    import tensorflow as tf
    import tf_keras

    original = {
        "keras3": keras.optimizers.Adam,
        "keras3_adamw": keras.optimizers.AdamW,
        "tf26": tf_keras.optimizers.legacy.Adam,
        "tf1": tf.compat.v1.train.AdamOptimizer,
    }[dialect]
    assert signature(original.__init__) == mapped(dialect)
    kinds = [p.kind for p in inspect.signature(original.__init__).parameters.values()]
    assert (inspect.Parameter.VAR_KEYWORD in kinds) == MAPPING.dialects[dialect].kwargs
    if dialect == "tf26":
        for fact in MAPPING.dialects[dialect].keywords:
            original(**{fact.name: 1.0})


@needs_mindspore
def test_mindspores_signature_is_that_of_the_mapping() -> None:
    """A decorator hides it from inspect, so it is read from the source."""
    spec = find_spec("mindspore")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "nn/optim/adam.py").read_text(encoding="utf-8")
    cls = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Adam")
    init = next(n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    names = [argument.arg for argument in init.args.args[1:]]
    defaults = [ast.literal_eval(default) for default in init.args.defaults]
    padded = [inspect.Parameter.empty] * (len(names) - len(defaults)) + defaults
    assert list(zip(names, padded, strict=True)) == mapped("mindspore")
    for fact in MAPPING.dialects["mindspore"].keywords:
        assert f"kwargs.get('{fact.name}', {fact.default})" in source


def check(got: list[Array], original: list[Any], *, exact: bool) -> None:
    for mine, theirs in zip(got, original, strict=True):
        if exact:
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert np.abs(mine - theirs).max() <= 2 * np.spacing(np.abs(theirs).max())


# Norms are sums, and the order of a sum is the framework's own: those are equal to rounding.
KERAS = [
    ({}, True),
    ({"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}, True),
    ({"amsgrad": True, "learning_rate": 0.05}, True),
    ({"weight_decay": 0.1, "learning_rate": 0.05}, True),
    ({"clipvalue": 0.5}, True),
    ({"clipnorm": 0.5, "epsilon": 0.01}, False),
    ({"global_clipnorm": 0.5, "epsilon": 0.01}, False),
    ({"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 4, "learning_rate": 0.05}, True),
    ({"loss_scale_factor": 3.0, "epsilon": 1e-3}, True),
    ({"gradient_accumulation_steps": 3, "learning_rate": 0.05}, True),
]


@needs_tensorflow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("hyper", "exact"), KERAS, ids=[str(h) for h, _ in KERAS])
def test_keras3_numerics_repeat_keras(hyper: dict[str, Any], exact: bool, dtype: type, executor: str) -> None:
    import keras
    import tensorflow as tf

    if "gradient_accumulation_steps" in hyper and before("keras", "3.5"):
        pytest.skip("before 3.5 Keras counted calls that made no update as steps")
    start, gradients = stream(dtype)
    mine, theirs = [a.copy() for a in start], [tf.Variable(a) for a in start]
    ours, original = TFStyleAdam(**hyper, numerics="keras3"), keras.optimizers.Adam(**hyper)
    for step in gradients:
        ours.apply_gradients(zip(step, mine, strict=True))
        original.apply_gradients([(tf.constant(g), v) for g, v in zip(step, theirs, strict=True)])
    # TensorFlow's float64 power is its own: a unit in it is a unit in every element of the step.
    check(mine, [v.numpy() for v in theirs], exact=exact and dtype is np.float32)


@needs_tensorflow
@pytest.mark.parametrize("hyper", [{}, {"amsgrad": True}, {"learning_rate": 0.05, "decay": 0.1}, {"clipvalue": 0.5}])
@pytest.mark.filterwarnings("ignore")
def test_tf26_numerics_repeat_the_legacy_optimizer(hyper: dict[str, Any], executor: str) -> None:
    import tensorflow as tf
    import tf_keras

    start, gradients = stream(np.float32)
    mine, theirs = [a.copy() for a in start], [tf.Variable(a) for a in start]
    ours, original = TFStyleAdam(**hyper, numerics="tf26"), tf_keras.optimizers.legacy.Adam(**hyper)
    for step in gradients:
        ours.apply_gradients(zip(step, mine, strict=True))
        original.apply_gradients([(tf.constant(g), v) for g, v in zip(step, theirs, strict=True)])
    check(mine, [v.numpy() for v in theirs], exact=True)


@needs_tensorflow
def test_tf1_numerics_repeat_the_v1_optimizer(executor: str) -> None:
    import tensorflow as tf

    start, gradients = stream(np.float32)
    mine, theirs = [a.copy() for a in start], [tf.Variable(a) for a in start]
    ours = TFStyleAdam(0.05, epsilon=1e-8, numerics="tf1")
    original = tf.compat.v1.train.AdamOptimizer(0.05)
    for step in gradients:
        ours.apply_gradients(zip(step, mine, strict=True))
        original.apply_gradients([(tf.constant(g), v) for g, v in zip(step, theirs, strict=True)])
    check(mine, [v.numpy() for v in theirs], exact=True)


MINDSPORE: list[dict[str, Any]] = [
    {},
    {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3},
    {"use_nesterov": True, "eps": 1e-3},
    {"use_amsgrad": True, "learning_rate": 0.05},
    {"weight_decay": 0.1, "eps": 1e-3},
    {"loss_scale": 3.0, "eps": 1e-3},
    {"weight_decay": 0.1, "loss_scale": 3.0, "use_nesterov": True, "eps": 1e-3},
]


@needs_mindspore
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("hyper", MINDSPORE, ids=str)
def test_mindspore_numerics_repeat_nn_adam(hyper: dict[str, Any], dtype: type, executor: str) -> None:
    import mindspore as ms
    from mindspore import nn

    if dtype is np.float16:
        if "use_amsgrad" in hyper:
            pytest.skip("MindSpore has no AMSGrad for float16 on a CPU")
        hyper = {"eps": 1e-3, **hyper}
    names = ["dense.weight", "bn.gamma", "conv.weight", "scale"]
    start, gradients = stream(dtype)
    if "use_amsgrad" in hyper:
        # Its kernel refuses parameters without axes.
        start, gradients = start[:3], [step[:3] for step in gradients]
    mine = [a.copy() for a in start]
    theirs = [ms.Parameter(ms.Tensor(a.copy()), name=n) for a, n in zip(start, names, strict=False)]
    ours = MindSporeStyleAdam(
        [Parameter(a, name=n) for a, n in zip(mine, names, strict=False)], **hyper, numerics="mindspore"
    )
    original = nn.Adam(theirs, **hyper)
    for step in gradients:
        ours(tuple(step))
        original(tuple(ms.Tensor(g) for g in step))
    # MindSpore finishes the last elements of each thread's share in float64, so a few elements depend on the
    # number of its threads.
    results = [p.asnumpy() for p in theirs]
    check(mine, results, exact=dtype is np.float16)
    same = sum(int((a == b).sum()) for a, b in zip(mine, results, strict=True))
    assert same >= 0.99 * sum(a.size for a in mine)
