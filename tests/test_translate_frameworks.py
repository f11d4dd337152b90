"""A call that is translated without a warning trains as the original, in the real frameworks."""

from __future__ import annotations

import ast
import os
from collections import Counter
from functools import cache
from importlib.util import find_spec
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import translate
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(
        not all(map(find_spec, ("tensorflow", "tf_keras", "mindspore"))), reason="needs TensorFlow and MindSpore"
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `lr` argument is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:`lr` is deprecated:UserWarning"),
]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("GLOG_v", "3")

STEPS = 10
RNG = np.random.default_rng(5)
# Dialects round 1 - beta and the powers of beta differently, which shifts a step by up to 7e-6 of itself for
# beta2 = 0.999 and by more the closer beta2 is to 1. With weights of this size that is below a spacing.
START = [RNG.normal(0, 20, shape).astype(np.float32) for shape in ((5, 3), (7,))]
GRADIENTS = [[RNG.normal(0, 1, a.shape).astype(np.float32) for a in START] for _ in range(STEPS)]

# Arguments as a call may have them, by the names of Keras; TF1's and MindSpore's are made of them.
SHARED = [
    "", "0.001", "0.01", "1e-3, 0.9", "1e-3, 0.8, 0.99", "0.01, 0.5, 0.9, 1e-3", "1e-3, 0.9, 0.999, 1e-8",
    "learning_rate=0.002", "learning_rate=1e-4, beta_1=0.8", "beta_2=0.99", "beta_1=0.5, beta_2=0.95",
    "epsilon=1e-3", "epsilon=0.1", "epsilon=1e-8", "learning_rate=0.01, epsilon=1e-7", "0.01, epsilon=1.0",
    "beta_2=0.9, learning_rate=0.01", "5e-3, 0.95", "0.01, beta_2=0.98", "1e-3, 0.7, epsilon=1e-2",
    "learning_rate=rate", "learning_rate=rate / 2", "rate, first", "0.01, beta_1=first, beta_2=0.97",
    "learning_rate=5e-3, beta_1=0.6, beta_2=0.6, epsilon=0.5", "2e-3, epsilon=tiny", "3e-3, beta_1=1 - 0.1",
    "name='mine'", "0.01, name='mine', epsilon=1e-6", "1e-2, 0.9, 0.99, 1e-7", "float('0.01')", "0.5e-2, 0.85, 0.985",
]  # fmt: skip
OWN = {
    "keras3": [
        "amsgrad=True", "0.01, amsgrad=True, beta_2=0.9", "loss_scale_factor=8.0", "clipnorm=0.5", "clipvalue=0.3",
        "global_clipnorm=1.0", "0.01, weight_decay=None", "weight_decay=0.0", "use_ema=False, ema_momentum=0.5",
        "keras.optimizers.schedules.InverseTimeDecay(0.01, 1, 0.5)",
        "keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.5, staircase=True)",
        "keras.optimizers.schedules.PolynomialDecay(0.01, 8, power=2.0)",
    ],
    "tf26": [
        "amsgrad=True", "0.01, amsgrad=True, beta_2=0.9", "lr=0.01", "lr=1e-3, epsilon=1e-3", "decay=0.5",
        "0.01, decay=0.1", "lr=0.01, decay=1e-3", "clipnorm=0.5", "clipvalue=0.3", "global_clipnorm=1.0", "epsilon=0",
        "tf.keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.5)",
    ],
    "tf1": ["use_locking=True", "0.01, use_locking=False", "lambda: 0.01"],
    "mindspore": [
        "use_amsgrad=True", "0.01, use_amsgrad=True, beta2=0.9", "loss_scale=8.0", "use_locking=True",
        "weight_decay=0.0", "use_nesterov=False", "0.01, 0.9, 0.99, 1e-3, False, False, 0.0, 4.0, True",
        "nn.InverseDecayLR(0.01, 0.5, 1)", "nn.ExponentialDecayLR(0.01, 0.5, 3, True)",
        "nn.PolynomialDecayLR(0.01, 1e-4, 8, 2.0)",
    ],
}  # fmt: skip
OWN["keras3_adamw"] = [f"{text}, weight_decay=0.01" if text else "0.01, 0.1" for text in ("", "0.02", "epsilon=1e-3")]
OWN["mindspore_adamweightdecay"] = ["weight_decay=0.01", "0.01, weight_decay=0.1, eps=1e-3"]
# The originals that can be run here.
ORIGINALS = [name for runtime in RUNTIMES.values() for name in runtime.originals if name in OWN]
FORMS = {name: dialect.semantics.form for name, dialect in MAPPING.dialects.items()}


def written(dialect: str, text: str) -> str:
    """Arguments of Keras's Adam as another original has them; AdamW's first are others, and it decays unless told."""
    if dialect not in ("keras3", "tf26"):
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        names = ["learning_rate", "beta_1", "beta_2", "epsilon"]
        given = dict(zip(names, map(ast.unparse, call.args), strict=False))
        given |= {keyword.arg or "": ast.unparse(keyword.value) for keyword in call.keywords}
        meant = {fact.name: fact.canonical for fact in MAPPING.dialects["keras3"].facts}
        here = {name: MAPPING.dialects[dialect].named(meant[name]) for name in given}
        text = ", ".join(f"{fact.name}={given[name]}" for name, fact in here.items() if fact is not None)
    return text + (", weight_decay=0.0" if text else "weight_decay=0.0") if dialect == "keras3_adamw" else text


def calls(dialect: str) -> list[str]:
    entry = MAPPING.dialects[dialect]
    params = ["params"] if entry.parameters[0].required else []
    texts = [*(written(dialect, text) for text in SHARED), *OWN[dialect]]
    callee = entry.target.replace("mindspore.nn", "nn")
    return list(dict.fromkeys(f"{callee}({', '.join([*params, *([text] if text else [])])})" for text in texts))


@cache
def trajectory(dialect: str, call: str) -> tuple[NDArray[Any], ...]:
    """Weights after each step, from the framework's own optimizer."""
    import keras
    import mindspore
    import tensorflow as tf
    import tf_keras

    names: dict[str, Any] = {"keras": keras, "mindspore": mindspore, "nn": mindspore.nn, "tf": tf}
    if dialect == "tf26":
        # What tf.keras was: Keras 3 beside it has no legacy optimizers.
        names["tf"] = SimpleNamespace(keras=tf_keras)
    names |= {"rate": 0.003, "first": 0.75, "tiny": 1e-5}
    tensor: Any = tf.constant
    calls_it = MAPPING.dialects[dialect].protocol == "call"
    if calls_it:
        tensor = mindspore.Tensor
        weights = [mindspore.Parameter(tensor(a.copy()), name=f"w{i}") for i, a in enumerate(START)]
    else:
        weights = [tf.Variable(a) for a in START]
    optimizer = eval(call, names | {"params": weights})
    found: list[NDArray[Any]] = []
    for gradients in GRADIENTS:
        given = [tensor(gradient) for gradient in gradients]
        if calls_it:
            optimizer(tuple(given))
        else:
            optimizer.apply_gradients(zip(given, weights, strict=True))
        found += [np.array(w.asnumpy() if calls_it else w.numpy()) for w in weights]
    return tuple(found)


@pytest.mark.parametrize(("source", "target"), list(permutations(ORIGINALS, 2)))
def test_what_translates_without_a_warning_gives_the_same_trajectory(source: str, target: str) -> None:
    outcomes: Counter[str] = Counter()
    for call in calls(source):
        there = translate(call, target)
        if there.call is None or there.warnings:
            outcomes["refused" if there.call is None else "warned"] += 1
            continue
        outcomes["same"] += 1
        for ours, theirs in zip(trajectory(target, there.call), trajectory(source, call), strict=True):
            atol = 2 * float(np.spacing(np.abs(theirs).max()))
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=f"{call} -> {there.call}")
    if FORMS[source] == FORMS[target]:
        assert outcomes["same"] >= 30, outcomes
    else:
        assert set(outcomes) == {"refused"}


def test_the_trajectories_tell_calls_apart() -> None:
    """The test above could not fail if the tolerance were wider than what a wrong translation does."""
    right = trajectory("keras3", "keras.optimizers.Adam(0.01)")
    for wrong in ("0.01, epsilon=1e-3", "0.01, 0.8", "0.01, beta_2=0.99", "0.001", "0.01, amsgrad=True, beta_2=0.5"):
        other = trajectory("keras3", f"keras.optimizers.Adam({wrong})")
        apart = max(float(np.abs(a - b).max()) for a, b in zip(right, other, strict=True))
        assert apart > 10 * 2 * float(np.spacing(np.abs(right[-2]).max()))


@pytest.mark.parametrize("dialect", ["keras3", "mindspore"])
def test_decay_halves_the_rate_at_step_1000_in_the_real_schedule(dialect: str) -> None:
    import keras
    import mindspore

    there = str(translate("tf.keras.optimizers.Adam(1e-3, decay=1e-3)", dialect))
    made = eval(there, {"keras": keras, "mindspore": mindspore,
                        "params": [mindspore.Parameter(mindspore.Tensor([1.0]), name="w")]})  # fmt: skip
    if dialect == "keras3":
        made.build([keras.Variable([1.0])])
        made.iterations.assign(1000)
        rate = float(made.learning_rate)
    else:
        rate = float(made.learning_rate(mindspore.Tensor(1000, mindspore.int32)).asnumpy())
    assert rate == pytest.approx(5.0e-4, rel=1e-6)
