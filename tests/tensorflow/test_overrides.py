"""What a subclass overrides is called when the original would call it, and has the same effect."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import adamcompat
from adamcompat.tensorflow import Adam, AdamW, legacy, v1
from adamcompat.tensorflow.hooks import _reached
from tests.tensorflow.test_acceptance import TwoAdam, TwoAdamW
from tests.tensorflow.tf_helpers import differing

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

V1 = tf.compat.v1.train.AdamOptimizer
LEGACY = tf_keras.optimizers.legacy.Adam
# Options with which the step has something to do at every place.
EVERYTHING = {"amsgrad": True, "weight_decay": 0.1, "clipnorm": 0.5}
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "keras3": (keras.optimizers.Adam, Adam, EVERYTHING | {"use_ema": True, "ema_overwrite_frequency": 2}),
    "tf_keras": (tf_keras.optimizers.Adam, TwoAdam, EVERYTHING),
    "keras3_adamw": (
        keras.optimizers.AdamW,
        AdamW,
        EVERYTHING | {"use_ema": True, "ema_overwrite_frequency": 2},
    ),
    "tf_keras_adamw": (tf_keras.optimizers.AdamW, TwoAdamW, EVERYTHING),
    "legacy": (LEGACY, legacy.Adam, {"amsgrad": True, "clipnorm": 0.5, "decay": 0.1}),
    "v1": (V1, v1.AdamOptimizer, {}),
}


def trained(optimizer: Any, graph: bool, log: list[str] | None = None, steps: int = 5) -> list[Any]:
    """Two variables, one with sparse gradients, after some steps; the calls of the steps are left in the log."""
    rng = np.random.default_rng(4)
    variables = [tf.Variable(rng.standard_normal(shape), dtype=tf.float32) for shape in ((3,), (5, 2))]
    if hasattr(optimizer, "build"):
        optimizer.build(variables)

    def step(dense: Any, rows: Any) -> None:
        slices = tf.IndexedSlices(rows, tf.constant([1, 3, 3]), tf.constant([5, 2]))
        optimizer.apply_gradients([(dense, variables[0]), (slices, variables[1])])

    call = tf.function(step) if graph else step
    if log is not None:
        log.clear()
    for _ in range(steps):
        call(*(tf.constant(rng.standard_normal(shape), tf.float32) for shape in ((3,), (3, 2))))
    return [variable.numpy() for variable in variables]


def spying(kind: Any, name: str, log: list[str]) -> Any:
    """A subclass in which a method or property notes that it was asked."""

    def note(self: Any) -> Any:
        log.append(name)
        return super(made, self)

    member = inspect.getattr_static(kind, name)
    if isinstance(member, property):
        space: Any = property(lambda self: getattr(note(self), name), member.fset)
    else:
        space = lambda self, *args, **keywords: getattr(note(self), name)(*args, **keywords)  # noqa: E731
    made: Any = type("Spying", (kind,), {name: space})
    return made


@functools.cache
def names_of(kind: str) -> list[str]:
    """The methods and properties that a step of the original asks, found by asking."""
    stock, _, options = KINDS[kind]
    # What every attribute that is set asks, whoever sets it.
    reached = _reached(stock, ("apply_gradients",)) - {"_check_super_called"}
    log: list[str] = []
    spy = functools.reduce(lambda parent, name: spying(parent, name, log), sorted(reached), stock)
    trained(spy(0.05, **options), graph=False, log=log, steps=2)
    return sorted(set(log))


# What AdamW's step asks is what Adam's does; some of it, to see that it is asked there too.
OF_ADAMW = ("apply", "apply_gradients", "update_step", "_apply_weight_decay", "_use_weight_decay", "learning_rate")
CASES = [
    pytest.param(kind, name, id=f"{kind}-{name}")
    for kind in KINDS
    for name in names_of(kind)
    if not kind.endswith("_adamw") or name in OF_ADAMW
]


def test_the_names_are_those_that_users_override() -> None:
    assert {
        "apply",
        "update_step",
        "assign",
        "assign_add",
        "assign_sub",
        "_clip_gradients",
        "_backend_update_step",
        "_apply_weight_decay",
        "learning_rate",
    } <= set(names_of("keras3"))
    assert {"update_step", "_update_step", "_distributed_apply_gradients_fn", "aggregate_gradients"} <= set(
        names_of("tf_keras")
    )
    sparse = {"_resource_apply_sparse", "_resource_apply_sparse_duplicate_indices", "_resource_apply_dense", "_prepare"}
    assert sparse | {"_prepare_local", "_create_slots", "_decayed_lr", "_transform_gradients"} <= set(
        names_of("legacy")
    )
    # A processor of TensorFlow 1 calls the update itself.
    assert {"_prepare", "_finish", "_create_slots", "_get_beta_accumulators"} <= set(names_of("v1"))


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_overridden_is_asked_as_often(kind: str, name: str, graph: bool) -> None:
    stock, ours, options = KINDS[kind]
    results = []
    for parent in (stock, ours):
        log: list[str] = []
        results.append((trained(spying(parent, name, log)(0.05, **options), graph, log), log))
    assert results[1][1] == results[0][1]
    assert differing(results[1][0], results[0][0]) == 0


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_set_over_a_method_is_asked_as_often(kind: str, name: str) -> None:
    stock, ours, options = KINDS[kind]
    if isinstance(inspect.getattr_static(stock, name), property):
        pytest.skip("a property cannot be set over")
    results = []
    for parent in (stock, ours):
        log: list[str] = []
        optimizer = parent(0.05, **options)
        # Set when some steps were made already, and a fast path may have been taken.
        before = trained_by(optimizer, name, log)
        results.append((before, log))
    assert results[1][1] == results[0][1]
    assert differing(results[1][0], results[0][0]) == 0


def trained_by(optimizer: Any, name: str, log: list[str]) -> list[Any]:
    method = getattr(optimizer, name)

    def noting(self: Any, *args: Any, **keywords: Any) -> Any:
        log.append(name)
        return method(*args, **keywords)

    variable = tf.Variable([1.0, 2.0, 3.0])

    def step() -> None:
        optimizer.apply_gradients([(tf.constant([0.3, -0.2, 0.1]), variable)])

    for _ in range(3):
        step()
    object.__setattr__(optimizer, name, types.MethodType(noting, optimizer))
    for _ in range(3):
        step()
    return [variable.numpy()]


@pytest.mark.parametrize("kind", ["keras3", "legacy", "v1"])
def test_under_install(kind: str) -> None:
    """Classes made from the original's name while it is ours."""
    stock, _, options = KINDS[kind]
    expected = {}
    for name in names_of(kind):
        log: list[str] = []
        expected[name] = trained(spying(stock, name, log)(0.05, **options), False, log), log
    with adamcompat.installed():
        parent = {"keras3": keras.optimizers.Adam, "legacy": tf_keras.optimizers.legacy.Adam}.get(
            kind, tf.compat.v1.train.AdamOptimizer
        )
        assert parent is not stock
        for name, (weights, calls) in expected.items():
            log = []
            found = trained(spying(parent, name, log)(0.05, **options), False, log)
            assert (name, log) == (name, calls)
            assert differing(found, weights) == 0, name


def method(name: str, body: Callable[..., Any]) -> Callable[[Any], Any]:
    """A class with one method, which gets what its parent would have done as its first argument."""

    def make(parent: Any) -> Any:
        def overridden(self: Any, *args: Any, **keywords: Any) -> Any:
            return body(getattr(super(made, self), name), *args, **keywords)

        made: Any = type("Changed", (parent,), {name: overridden})
        return made

    return make


def attribute(name: str, body: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same for a property."""

    def make(parent: Any) -> Any:
        made: Any = type("Changed", (parent,), {name: property(lambda self: body(getattr(super(made, self), name)))})
        return made

    return make


def scaled(gradients: Any, factor: float = 0.3) -> Any:
    return [
        tf.IndexedSlices(g.values * factor, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else g * factor
        for g in gradients
    ]


def scaled_pairs(pairs: Any) -> Any:
    gradients, variables = zip(*pairs, strict=True)
    return list(zip(scaled(gradients), variables, strict=True))


CHANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "assign_sub": ("keras3", method("assign_sub", lambda call, variable, value: call(variable, value * 0.5))),
    "assign_add": ("keras3", method("assign_add", lambda call, variable, value: call(variable, value * 0.5))),
    "assign": ("keras3", method("assign", lambda call, variable, value: call(variable, value + 0.5))),
    "update_step": ("keras3", method("update_step", lambda call, g, v, rate: call(*scaled([g]), v, rate * 2))),
    "no update_step": ("keras3", method("update_step", lambda call, g, v, rate: None)),
    "_clip_gradients": ("keras3", method("_clip_gradients", lambda call, grads: scaled(call(grads)))),
    "_clip_by_norm": ("keras3", method("_clip_by_norm", lambda call, g, axes=None: scaled([g])[0])),
    "_backend_update_step": (
        "keras3",
        method("_backend_update_step", lambda call, grads, variables, rate: call(scaled(grads), variables, rate)),
    ),
    "_all_reduce_sum_gradients": (
        "keras3",
        method("_all_reduce_sum_gradients", lambda call, pairs: scaled_pairs(call(pairs))),
    ),
    "_use_weight_decay": ("keras3", method("_use_weight_decay", lambda call, variable: variable.shape[0] == 5)),
    "_apply_weight_decay": ("keras3", method("_apply_weight_decay", lambda call, variables: call(variables[:1]))),
    "_get_current_learning_rate": ("keras3", method("_get_current_learning_rate", lambda call: call() * 0.5)),
    "learning_rate": ("keras3", attribute("learning_rate", lambda rate: rate * 0.5)),
    "iterations": ("keras3", attribute("iterations", lambda iterations: iterations + 3)),
    "apply": ("keras3", method("apply", lambda call, grads, variables=None: call(scaled(grads), variables))),
    "apply_gradients": ("keras3", method("apply_gradients", lambda call, pairs: call(scaled_pairs(pairs)))),
    "moving average": ("keras3", method("_update_model_variables_moving_average", lambda call, variables: None)),
    "tf_keras update_step": ("tf_keras", method("update_step", lambda call, g, v: call(*scaled([g]), v))),
    "tf_keras _update_step": ("tf_keras", method("_update_step", lambda call, g, v: call(*scaled([g]), v))),
    "tf_keras learning_rate": ("tf_keras", attribute("learning_rate", lambda rate: rate * 0.5)),
    "tf_keras iterations": ("tf_keras", attribute("iterations", lambda iterations: iterations)),
    "tf_keras aggregate": ("tf_keras", method("aggregate_gradients", lambda call, pairs: scaled_pairs(call(pairs)))),
    "tf_keras rows": ("tf_keras", method("_deduplicate_sparse_grad", lambda call, grads: grads)),
    "legacy _decayed_lr": ("legacy", method("_decayed_lr", lambda call, dtype: call(dtype) * 0.5)),
    "legacy _resource_apply_dense": (
        "legacy",
        method("_resource_apply_dense", lambda call, grad, var, apply_state=None: call(grad * 0.5, var)),
    ),
    "legacy _resource_apply_sparse": (
        "legacy",
        method("_resource_apply_sparse", lambda call, grad, var, rows, apply_state=None: call(grad * 0.5, var, rows)),
    ),
    "legacy _transform_gradients": (
        "legacy",
        method("_transform_gradients", lambda call, pairs: call(scaled_pairs(pairs))),
    ),
    "v1 _resource_apply_dense": ("v1", method("_resource_apply_dense", lambda call, grad, var: call(grad * 0.5, var))),
    "v1 _resource_apply_sparse": (
        "v1",
        method("_resource_apply_sparse", lambda call, grad, var, rows: call(grad * 0.5, var, rows)),
    ),
    "v1 _get_beta_accumulators": (
        "v1",
        method("_get_beta_accumulators", lambda call: tuple(one for one in call())),
    ),
}


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_overridden_has_its_effect(change: str, graph: bool) -> None:
    kind, make = CHANGES[change]
    stock, ours, options = KINDS[kind]
    expected = trained(make(stock)(0.05, **options), graph)
    assert differing(trained(make(ours)(0.05, **options), graph), expected) == 0


@pytest.mark.parametrize("change", ["assign_sub", "no update_step", "_apply_weight_decay", "tf_keras update_step"])
def test_what_is_overridden_of_adamw_has_its_effect(change: str) -> None:
    kind, make = CHANGES[change]
    stock, ours, options = KINDS[f"{kind}_adamw"]
    expected = trained(make(stock)(0.05, **options), False)
    assert differing(trained(make(ours)(0.05, **options), False), expected) == 0


def kept_above(call: Any, variable: Any, value: Any) -> None:
    variable.assign(tf.maximum(variable - tf.cast(value, variable.dtype), 0.5))


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(
    "options", [{"fused": True}, {"beta_1": lambda: 0.9}, {}], ids=["fused", "callable", "bfloat16"]
)
def test_where_only_ours_works_what_is_overridden_is_called_too(options: dict[str, Any], graph: bool) -> None:
    """TensorFlow's kernel writes by itself, and Keras's own update of bfloat16 stands still."""
    dtype = tf.float32 if options else tf.bfloat16
    for amsgrad in (False, True):
        variable = tf.Variable(tf.constant([0.55, 2.0], dtype))
        optimizer = method("assign_sub", kept_above)(Adam)(0.1, amsgrad=amsgrad, **options)
        optimizer.build([variable])

        def step() -> None:
            optimizer.apply_gradients([(tf.ones(2, dtype), variable)])  # noqa: B023

        call = tf.function(step) if graph else step
        for _ in range(3):
            call()
        np.testing.assert_allclose(np.asarray(variable, np.float32), [0.5, 1.7], atol=0.02 if not options else 1e-5)


def test_a_patch_of_the_original_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tests and plugins do it; a step was made before, so that a function may have been traced."""
    base = keras.src.optimizers.base_optimizer.BaseOptimizer
    for kind, owner, name in (
        (Adam, keras.optimizers.Adam, "update_step"),
        (AdamW, keras.optimizers.Adam, "update_step"),
        (AdamW, keras.optimizers.AdamW, "update_step"),
        (AdamW, keras.optimizers.AdamW, "_apply_weight_decay"),
        (TwoAdamW, tf_keras.optimizers.AdamW, "update_step"),
        (Adam, base, "_clip_gradients"),
        (Adam, base, "_var_key"),
    ):
        variable, optimizer = tf.Variable([1.0, 2.0]), kind(0.1)
        for _ in range(3):
            optimizer.apply_gradients([(tf.constant([0.3, -0.2]), variable)])
        calls: list[str] = []
        real = getattr(owner, name)

        def patched(self: Any, *args: Any) -> Any:
            calls.append(name)  # noqa: B023
            return real(self, *args)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, patched)
            optimizer.apply_gradients([(tf.constant([0.3, -0.2]), variable)])
        # TensorFlow's backend has a _var_key of its own.
        assert bool(calls) == (name != "_var_key"), name


def test_attributes_of_a_subclass_are_its_own() -> None:
    """The names of what is private here are those that a user would give, too."""
    names = (
        "_update",
        "_hyper",
        "_rows",
        "_decay",
        "_sparse",
        "_whole",
        "_traced",
        "_constants",
        "_amsgrad",
        "_pending",
    )
    for kind, (stock, ours, options) in KINDS.items():
        if kind == "legacy":
            continue  # which itself has a _hyper

        def init(self: Any, *args: Any, **keywords: Any) -> None:
            super(type(self), self).__init__(*args, **keywords)
            for name in names:
                setattr(self, name, 0.5)

        found = [
            trained(type("Own", (parent,), {"__init__": init})(0.05, **options), False) for parent in (stock, ours)
        ]
        assert differing(*found) == 0
