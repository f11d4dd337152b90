"""Decoupled weight decay is computed in one pass with the update, with the bits of Keras's pass of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from adamcompat.tensorflow import Adam, AdamW, update
from adamcompat.tensorflow.traced import Traced
from tests.tensorflow.tf_helpers import differing

pytestmark = pytest.mark.frameworks

SHAPES: list[tuple[int, ...]] = [(40, 30), (), (1,), (900,), (30, 7), (40, 30), (1, 1), (5,)]
# Above which variables are not concatenated, and from which on a list is compiled.
FORMS = {"concatenated": (10_000, 10**9), "operations": (0, 10**9), "compiled": (0, 1)}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "others": {"amsgrad": True, "global_clipnorm": 0.5, "learning_rate": 0.03, "weight_decay": 0.3},
    "schedule": {"learning_rate": lambda: keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.5)},
    "callable": {"learning_rate": lambda: lambda: 0.01},
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    small, worth = FORMS[request.param]
    monkeypatch.setattr(update, "SMALL", small)
    monkeypatch.setattr(update, "WORTH_COMPILING", worth)
    update._compiled.cache_clear()
    yield request.param
    update._compiled.cache_clear()


def steps(
    kind: Any,
    options: dict[str, Any],
    *,
    graph: bool,
    dtype: str = "float32",
    rows: bool = False,
    meanwhile: Callable[[Any, int], None] = lambda optimizer, step: None,
) -> list[Any]:
    """Return weights and state after some steps in which the variables named "b" do not decay."""
    rng = np.random.default_rng(3)
    names = "abaabaaa"
    variables = [
        keras.Variable(rng.standard_normal(shape), dtype=dtype, name=name)
        for shape, name in zip(SHAPES, names, strict=True)
    ]
    optimizer = kind(**{name: value() if callable(value) else value for name, value in options.items()})
    optimizer.exclude_from_weight_decay(var_names=["b"])
    optimizer.build(variables)

    def step(gradients: Any) -> None:
        gradients = list(gradients)
        if rows:
            gradients[0] = tf.IndexedSlices(gradients[0][:3], tf.constant([7, 2, 31]), tf.constant([40, 30]))
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    call = tf.function(step) if graph else step
    for count in range(12):
        meanwhile(optimizer, count)
        call([tf.constant(rng.standard_normal(shape), dtype) for shape in SHAPES])
    return [np.asarray(one) for one in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_form_has_the_bits_of_keras(form: str, options: dict[str, Any], graph: bool) -> None:
    found, stock = (steps(kind, options, graph=graph) for kind in (AdamW, keras.optimizers.AdamW))
    assert differing(found, stock) == 0


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_every_dtype_and_rows(form: str, dtype: str, graph: bool) -> None:
    options = {"weight_decay": 0.3}
    for rows in (False, True):
        found, stock = (
            steps(kind, options, graph=graph, dtype=dtype, rows=rows) for kind in (AdamW, keras.optimizers.AdamW)
        )
        assert differing(found, stock) == 0


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "function"])
def test_bfloat16_decays_in_its_own_precision(graph: bool) -> None:
    """With moments that stand still in bfloat16 these are ours; Keras's decay of the variable is not."""
    options = {"learning_rate": 0.0, "weight_decay": 0.3, "beta_2": 0.5, "beta_1": 0.5}
    found, stock = (steps(kind, options, graph=graph, dtype="bfloat16") for kind in (AdamW, keras.optimizers.AdamW))
    assert differing(found[: len(SHAPES)], stock[: len(SHAPES)]) == 0


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "function"])
def test_decay_is_in_the_pass_of_the_update(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pass of its own, it costs as much as the update."""
    passes = []
    real = update.update_list

    def recorded(rows: Any, *args: Any, **kwargs: Any) -> None:
        rows = list(rows)
        passes.append(sum(kwargs["decays"](row.variable) for row in rows))
        real(rows, *args, **kwargs)

    monkeypatch.setattr(update, "update_list", recorded)
    steps(Adam, {"weight_decay": 0.1}, graph=graph)
    # Traced once, and made once before that in eager execution; of a single element in a graph decay is Keras's.
    assert passes == ([4] if graph else [6, 6])


def test_what_decays_and_how_much_may_change_between_eager_steps(form: str) -> None:
    def meanwhile(optimizer: Any, step: int) -> None:
        optimizer.weight_decay = (0.1, 0.2, None, 0.3)[step // 3]
        if step == 8:
            optimizer.exclude_from_weight_decay(var_names=["a"])

    found, stock = (
        steps(kind, {"weight_decay": 0.1}, graph=False, meanwhile=meanwhile) for kind in (AdamW, keras.optimizers.AdamW)
    )
    assert differing(found, stock) == 0


def test_a_graph_whose_arithmetic_stays_as_it_was_written(form: str) -> None:
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    try:
        found, stock = (steps(kind, {"weight_decay": 0.3}, graph=True) for kind in (AdamW, keras.optimizers.AdamW))
    finally:
        tf.config.optimizer.set_experimental_options({**before, "arithmetic_optimization": True})
    assert differing(found, stock) == 0


def test_what_a_broken_trace_left_is_seen_in_no_other() -> None:
    traced: Any = Traced()
    seen: list[Any] = []

    @tf.function  # type: ignore[untyped-decorator]
    def other() -> None:
        seen.append(traced.hyper)

    def inner() -> float:
        seen.append(traced.hyper)
        return 0.0

    @tf.function  # type: ignore[untyped-decorator]
    def own() -> None:
        traced._hyper = tf.compat.v1.get_default_graph(), "of this step"
        seen.append(traced.hyper)
        tf.cond(tf.random.uniform(()) < 2, inner, lambda: 0.0)

    own()
    assert seen == ["of this step", "of this step"]
    assert traced.hyper is None
    other()
    assert seen[2:] == [None]
