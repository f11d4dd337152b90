"""MindSpore's call on TensorFlow's variables, against NumPy's styles, MindSpore's recorded steps and TensorFlow."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

import adamcompat  # noqa: E402
from adamcompat import RowSparse  # noqa: E402
from adamcompat.mapping.tables import MAPPING  # noqa: E402
from adamcompat.tensorflow import Adam, MindSporeStyleAdam, MindSporeStyleAdamWeightDecay  # noqa: E402
from tests.inputs import CASES, NAMES, Case, Run, assert_close, stream  # noqa: E402
from tests.tensorflow.tf_helpers import ROOT, replicas_agree, run_python  # noqa: E402

pytestmark = pytest.mark.frameworks

MODES = ("eager", "function", "xla")
STEPS = 100
NUMERICS = list(MAPPING.numerics)
_CALLS = [case for case in CASES if case.ms is not None]


def variables_of(start: list[Any]) -> list[Any]:
    return [tf.Variable(array, name=name) for array, name in zip(start, NAMES, strict=False)]


def compiled(optimizer: Any, mode: str) -> Callable[[Any], Any]:
    if mode == "eager":
        return lambda gradients: optimizer(gradients)
    run: Callable[[Any], Any] = tf.function(lambda gradients: optimizer(gradients), jit_compile=mode == "xla")
    return run


def after(
    case: Case, mode: str, start: list[Any], gradients: list[list[Any]], numerics: str = "canonical"
) -> list[Any]:
    variables = variables_of(start)
    assert case.ms is not None
    chosen: Any = case.groups(variables) if case.groups else variables
    options = dict(case.ms)
    if mode == "xla":
        options.pop("use_locking", None)
    run = compiled(MindSporeStyleAdam(chosen, **options, numerics=numerics), mode)
    for arrays in gradients:
        run(tuple(tf.constant(array) for array in arrays))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", _CALLS, ids=lambda case: case.name)
def test_every_option_agrees_with_numpy_for_100_steps(case: Case, mode: str) -> None:
    start, gradients = stream(STEPS, dtype=np.float32)
    theirs = Run(case, "ms", start)
    for arrays in gradients:
        theirs.step(arrays)
    assert_close(after(case, mode, start, gradients), theirs.arrays)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("numerics", NUMERICS)
def test_every_numerics_repeats_numpy_bit_for_bit(numerics: str, mode: str) -> None:
    case = next(case for case in CASES if case.name == "mindspore together")
    start, gradients = stream(STEPS, dtype=np.float32)
    theirs = Run(case, "ms", start, numerics)
    for arrays in gradients:
        theirs.step(arrays)
    assert_close(after(case, mode, start, gradients, numerics), theirs.arrays, exact=mode != "xla")


# nn.AdamWeightDecay.

RECORDED = dict(np.load(ROOT / "tests" / "data" / "ms210_adamw_shared.npz"))
META = json.loads(bytes(RECORDED["meta"]))
OF_MINDSPORE = [name for name in META["cases"] if name.startswith("nn.AdamWeightDecay/")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OF_MINDSPORE)
def test_adamweightdecay_has_the_bits_that_mindspore_had(name: str, mode: str) -> None:
    variables = [tf.Variable(RECORDED[f"x0/{i}"], name=own) for i, own in enumerate(META["names"])]
    chosen: Any = variables
    if name.endswith("/groups"):
        spared: dict[str, Any] = {"params": variables[2:], "weight_decay": 0.05}
        chosen = [{"params": variables[:2], "lr": 0.02}, spared, {"order_params": variables}]
    options = META["cases"][name]["kwargs"]
    run = compiled(MindSporeStyleAdamWeightDecay(chosen, **options, numerics="mindspore"), mode)
    for step in range(META["steps"]):
        run(tuple(tf.constant(RECORDED[f"grad/{i}"][step]) for i in range(len(variables))))
        if step + 1 in META["keep"]:
            for i, variable in enumerate(variables):
                np.testing.assert_array_equal(variable.numpy(), RECORDED[f"{name}/{step + 1}/{i}"])


def weight_decay_style(package: Any, parameters: list[Any], numerics: str, *, grouped: bool) -> Any:
    """An optimizer with everything that changes from step to step, in either package."""

    def rate(step: Any) -> Any:
        return 0.01 / (1 + 0.1 * step)

    def decay(step: Any) -> Any:
        return 0.1 / (1 + step)

    groups = [{"params": parameters[1:], "lr": rate, "weight_decay": decay}, {"params": parameters[:1]}]
    ordered = [*groups, {"order_params": parameters}]
    # Ungrouped, the second one is spared for its name.
    chosen, given = (ordered, 0.05) if grouped else (parameters, decay)
    return package.MindSporeStyleAdamWeightDecay(chosen, rate, weight_decay=given, numerics=numerics)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("numerics", "dtype"),
    [("canonical", "float32"), ("keras3", "float32"), ("mindspore", "float32"), ("mindspore", "float16")],
)
def test_adamweightdecay_repeats_numpy_bit_for_bit(numerics: str, dtype: str, grouped: bool, mode: str) -> None:
    start, gradients = stream(30, dtype=np.dtype(dtype).type)
    arrays = [adamcompat.Parameter(a.copy(), name=name) for a, name in zip(start, NAMES, strict=True)]
    theirs = weight_decay_style(adamcompat, arrays, numerics, grouped=grouped)
    variables = variables_of(start)
    run = compiled(weight_decay_style(adamcompat.tensorflow, variables, numerics, grouped=grouped), mode)
    for step in gradients:
        theirs(tuple(step))
        run(tuple(map(tf.constant, step)))
    assert_close([v.numpy() for v in variables], [array.data for array in arrays], exact=True)


def test_adamweightdecay_takes_what_its_original_takes() -> None:
    dialect = MindSporeStyleAdamWeightDecay._dialect()
    assert dialect.target == "mindspore.nn.AdamWeightDecay"
    variable = tf.Variable([1.0], name="w")
    for wrong in ({"use_nesterov": True}, {"loss_scale": 2.0}, {"use_amsgrad": True}, {"beta_1": 0.5}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            MindSporeStyleAdamWeightDecay([variable], **wrong)
    with pytest.raises(KeyError, match="grad_centralization"):
        MindSporeStyleAdamWeightDecay([{"params": [variable], "grad_centralization": True}])
    optimizer = MindSporeStyleAdamWeightDecay([variable])
    optimizer.weight_decay = 0.5
    optimizer((tf.constant([0.0]),))
    assert variable.numpy()[0] == pytest.approx(1 - 0.5 * 1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["default", "learning_rate", "betas", "epsilon", "amsgrad", "loss scale"])
def test_with_numerics_of_keras_both_styles_give_the_same_bits(name: str, mode: str) -> None:
    case = next(case for case in CASES if case.name == name)
    start, gradients = stream(STEPS, dtype=np.float32)
    variables = variables_of(start)
    assert case.tf is not None
    theirs = Adam(**case.tf)
    for arrays in gradients:
        theirs.apply_gradients(zip(map(tf.constant, arrays), variables, strict=True))
    ours = after(case, mode, start, gradients, "keras3")
    assert_close(ours, [variable.numpy() for variable in variables], exact=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_agree_with_numpy(dtype: str, mode: str) -> None:
    case = next(case for case in CASES if case.name == "mindspore together")
    start, gradients = stream(STEPS, dtype=np.float64)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    start, gradients = [a.astype(kind) for a in start], [[a.astype(kind) for a in arrays] for arrays in gradients]
    ours = after(case, mode, start, gradients)
    own = kind if dtype != "bfloat16" else np.float64
    theirs = Run(case, "ms", [a.astype(own) for a in start])
    for arrays in gradients:
        theirs.step([a.astype(own) for a in arrays])
    if dtype == "bfloat16":
        for one, other in zip(ours, theirs.arrays, strict=True):
            assert np.abs(one.astype(np.float64) - other).max() <= 0.05 * np.abs(other).max()
    else:
        assert_close(ours, theirs.arrays)


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_moments_have_digits_enough_to_change(dtype: str, amsgrad: bool, mode: str) -> None:
    """In bfloat16 a second moment would stand still, for a thousandth of it is less than its last digit."""
    start, gradients = stream(20, dtype=np.float64)
    kind = tf.as_dtype(dtype).as_numpy_dtype
    start, gradients = [a.astype(kind) for a in start], [[a.astype(kind) for a in arrays] for arrays in gradients]
    own = np.dtype(np.float32 if dtype == "bfloat16" else dtype)
    variables = variables_of(start)
    optimizer = MindSporeStyleAdam(variables, use_amsgrad=amsgrad)
    arrays = [adamcompat.Parameter(a.astype(own), name=name) for a, name in zip(start, NAMES, strict=False)]
    theirs = adamcompat.MindSporeStyleAdam(arrays, use_amsgrad=amsgrad)
    run = compiled(optimizer, mode)
    for step in gradients:
        run(tuple(tf.constant(array) for array in step))
        theirs(tuple(array.astype(own) for array in step))
    found, expected = optimizer.parameters_dict(), theirs.parameters_dict()
    assert list(found) == list(expected)
    moments = [name for name in found if name.startswith(("moment", "vhat"))]
    assert len(moments) == len(variables) * (3 if amsgrad else 2)
    for name in moments:
        assert found[name].dtype == own.name
        assert_close([np.asarray(found[name])], [np.asarray(expected[name])])


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("calls", [0, 2**24, 2**31 + 2, 2**53 - 2])
def test_what_depends_on_the_step_is_told_it_exactly(calls: int, mode: str) -> None:
    seen: list[Any] = []

    class Rate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc, name-defined]
        def __call__(self, step: Any) -> Any:
            seen.append(step.dtype)
            return tf.cast(step, tf.float64)

        def get_config(self) -> dict[str, Any]:
            return {}

    def given(step: Any) -> Any:
        seen.append(step.dtype)
        return step

    one, other = tf.Variable([1.0]), tf.Variable([1.0])
    groups = [{"params": [one], "lr": given, "weight_decay": given}, {"params": [other], "weight_decay": given}]
    start = MindSporeStyleAdam._dialect().semantics.schedule_start
    for rate, theirs, dtype in ((given, calls + start, tf.float64), (Rate(), calls, tf.int64)):
        shared = MindSporeStyleAdam([one, other], rate)
        grouped = MindSporeStyleAdam(groups, rate)
        for optimizer in (shared, grouped):
            optimizer.global_step.assign(calls)

        def asked(shared: Any = shared, grouped: Any = grouped) -> list[Any]:
            return [shared.learning_rate, shared.get_lr(), *grouped.get_lr(), *grouped.get_weight_decay()]

        seen.clear()
        values = [float(value) for value in (asked if mode == "eager" else tf.function(asked, autograph=False))()]
        assert values == [theirs, theirs, calls + start, theirs, calls + start, calls + start]
        assert set(seen) == {tf.float64, dtype}


@pytest.mark.parametrize("mode", ["eager", "function"])
def test_a_list_of_rates_is_told_by_the_step(mode: str) -> None:
    rates = [0.5, 0.25, 0.125]
    optimizer = MindSporeStyleAdam([tf.Variable([1.0])], rates)
    for calls, rate in enumerate(rates):
        optimizer.global_step.assign(calls)
        asked = lambda: [optimizer.learning_rate, optimizer.get_lr()]  # noqa: E731
        assert [float(value) for value in (asked if mode == "eager" else tf.function(asked))()] == [rate, rate]


@pytest.mark.parametrize("mode", MODES)
def test_l2_decay_of_the_known_case(mode: str) -> None:
    weight = tf.Variable([1.0])
    run = compiled(MindSporeStyleAdam([weight], learning_rate=1e-3, weight_decay=0.01), mode)
    for _ in range(100):
        run((tf.constant([0.1]),))
    assert weight.numpy()[0] == pytest.approx(0.900154, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_epsilon_is_epsilon_hat(mode: str) -> None:
    weight = tf.Variable([0.0], dtype=tf.float64)
    compiled(MindSporeStyleAdam([weight], learning_rate=1.0, eps=1e-5), mode)((tf.constant([1e-5], tf.float64),))
    assert weight.numpy()[0] == pytest.approx(-0.0307, abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, {"use_lazy": True}, {"use_lazy": True, "use_nesterov": True}])
def test_rows_agree_with_numpy(options: dict[str, Any], mode: str) -> None:
    rng = np.random.default_rng(3)
    start = rng.standard_normal((9, 4)).astype(np.float32)
    variable, array = tf.Variable(start, name="table"), adamcompat.Parameter(start.copy(), name="table")
    options = {**options, "weight_decay": 0.01, "loss_scale": 4.0, "learning_rate": 0.01}
    run = compiled(MindSporeStyleAdam([variable], **options), mode)
    theirs = adamcompat.MindSporeStyleAdam([array], **options)
    for _ in range(STEPS):
        rows, values = rng.integers(0, 9, 5), rng.standard_normal((5, 4)).astype(np.float32)
        run((tf.IndexedSlices(tf.constant(values), tf.constant(rows)),))
        theirs((RowSparse(rows, values),))
    # XLA adds repeated rows in an order of its own.
    assert_close([variable.numpy()], [array.data], exact=mode != "xla")


def test_lazy_rows_leave_the_others_alone() -> None:
    variable = tf.Variable(np.ones((4, 2), np.float32))
    optimizer = MindSporeStyleAdam([variable], use_lazy=True, weight_decay=0.1)
    for row in (1, 1, 3):
        optimizer((tf.IndexedSlices(tf.ones((1, 2)), tf.constant([row])),))
    np.testing.assert_array_equal(variable.numpy()[[0, 2]], 1.0)
    assert (variable.numpy()[[1, 3]] < 1).all()


def _model() -> Any:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh"), layers.BatchNormalization(), layers.Dense(1)])


_DATA = np.random.default_rng(5).standard_normal((32, 4)).astype(np.float32)
_LABELS = _DATA.sum(1, keepdims=True)
_FULL: dict[str, Any] = {
    "learning_rate": keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9),
    "use_nesterov": True,
    "weight_decay": 0.01,
    "loss_scale": 16.0,
}


# Of nn.AdamWeightDecay's own parameters.
_OF_DECAY = {name: _FULL[name] for name in ("learning_rate", "weight_decay")}


@pytest.mark.parametrize(
    ("style", "options", "jit"),
    [
        (MindSporeStyleAdam, _FULL, False),
        (MindSporeStyleAdam, _FULL, True),
        (MindSporeStyleAdamWeightDecay, _OF_DECAY, False),
        (MindSporeStyleAdamWeightDecay, _OF_DECAY, True),
    ],
)
def test_fit_is_the_custom_loop(style: Any, options: dict[str, Any], jit: bool) -> None:
    fitted, looped = _model(), _model()
    fitted.compile(style(fitted.trainable_variables, **options), "mse", jit_compile=jit)
    fitted.fit(_DATA, _LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0)
    optimizer = style(looped.trainable_variables, **options)
    for _ in range(3):
        for i in range(0, 32, 8):
            with tf.GradientTape() as tape:
                error = looped(_DATA[i : i + 8], training=True) - _LABELS[i : i + 8]
                loss = optimizer.scale_loss(tf.reduce_mean(error**2))
            optimizer(tape.gradient(loss, looped.trainable_variables))
    assert int(fitted.optimizer.global_step.numpy()) == int(optimizer.global_step.numpy()) == 12
    for one, other in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


def test_fit_trains_with_groups_and_lowers_the_loss() -> None:
    model = _model()
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    rest = [v for v in model.trainable_variables if v.name != "kernel"]
    groups = [{"params": kernels, "lr": 0.05, "weight_decay": 1e-4}, {"params": rest}]
    model.compile(MindSporeStyleAdam(groups, learning_rate=0.01), "mse")
    losses = model.fit(_DATA, _LABELS, batch_size=8, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 5


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(
    ("style", "options", "of_group"),
    [
        (MindSporeStyleAdam, {**_FULL, "use_lazy": True}, {"grad_centralization": True}),
        (MindSporeStyleAdamWeightDecay, _OF_DECAY, {"weight_decay": 0.1}),
    ],
)
def test_a_saved_model_goes_on_bit_for_bit(
    style: Any, options: dict[str, Any], of_group: dict[str, Any], grouped: bool, tmp_path: Path
) -> None:
    model = _model()
    chosen: Any = model.trainable_variables
    if grouped:
        schedule = keras.optimizers.schedules.PolynomialDecay(0.02, 50)
        chosen = [{"params": chosen[::-2], "lr": schedule, **of_group}, {"params": chosen[::2]}]
    model.compile(style(chosen, **options, numerics="mindspore"), "mse", jit_compile=False)
    model.fit(_DATA, _LABELS, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is style
    configs = [either.optimizer.get_config() for either in (model, loaded)]
    assert [len(config.pop("params")) for config in configs] == [6, 6]
    assert configs[0] == configs[1]
    for either in (model, loaded):
        either.fit(_DATA, _LABELS, batch_size=8, shuffle=False, verbose=0)
    assert_close(loaded.get_weights(), model.get_weights(), exact=True)
    assert int(loaded.optimizer.global_step.numpy()) == 8


def test_tf_checkpoints_go_on_bit_for_bit(tmp_path: Path) -> None:
    start, gradients = stream(20, dtype=np.float32)
    first = variables_of(start)
    options: dict[str, Any] = {"learning_rate": 0.01, "use_amsgrad": True, "numerics": "mindspore"}
    optimizer = MindSporeStyleAdam(first, **options)
    for arrays in gradients[:10]:
        optimizer(tuple(map(tf.constant, arrays)))
    path = tf.train.Checkpoint(variables=first, optimizer=optimizer).write(str(tmp_path / "state"))
    second = variables_of([np.zeros_like(array) for array in start])
    restored = MindSporeStyleAdam(second, **options)
    tf.train.Checkpoint(variables=second, optimizer=restored).read(path).assert_consumed()
    for arrays in gradients[10:]:
        for either in (optimizer, restored):
            either(tuple(map(tf.constant, arrays)))
    assert_close([v.numpy() for v in second], [v.numpy() for v in first], exact=True)
    assert list(optimizer.parameters_dict())[:5] == ["global_step", "learning_rate", *NAMES[:3]]
    assert "vhat.norm.gamma" in optimizer.parameters_dict()


def test_mixed_precision_scales_the_loss() -> None:
    variable = tf.Variable([1.0])
    plain = tf.Variable([1.0])
    outer = keras.optimizers.LossScaleOptimizer(MindSporeStyleAdam([variable]), initial_scale=1024.0)
    inner = MindSporeStyleAdam([plain])
    for _ in range(5):
        outer.apply([tf.constant([0.5 * 1024])], [variable])
        inner((tf.constant([0.5]),))
    outer.apply([tf.constant([math.inf])], [variable])
    np.testing.assert_array_equal(variable.numpy(), plain.numpy())


def test_learning_rate_can_be_set() -> None:
    variable = tf.Variable([1.0])
    optimizer = MindSporeStyleAdam([variable])
    run = compiled(optimizer, "function")
    optimizer.learning_rate = 0.5
    run((tf.constant([1.0]),))
    assert variable.numpy()[0] == pytest.approx(0.5)
    assert float(optimizer.get_lr()) == 0.5
    with pytest.raises(ValueError, match=r"learning_rate must lie in \[0, inf\), got -1.0"):
        optimizer.learning_rate = -1.0
    with pytest.raises(TypeError, match="replaced by another"):
        optimizer.learning_rate = lambda step: 0.1
    scheduled = MindSporeStyleAdam([variable], lambda step: 0.1)
    with pytest.raises(TypeError, match="was made a schedule"):
        scheduled.learning_rate = 0.1
    scheduled.learning_rate = lambda step: 0.25
    assert float(scheduled.learning_rate) == 0.25


def test_hyperparameters_can_be_set_between_steps() -> None:
    one, other = tf.Variable([1.0]), tf.Variable([1.0])
    changed, made = MindSporeStyleAdam([one]), MindSporeStyleAdam([other], eps=0.5, weight_decay=0.1)
    changed.eps, changed.weight_decay = 0.5, 0.1
    for optimizer in (changed, made):
        for _ in range(3):
            optimizer((tf.constant([1.0]),))
    np.testing.assert_array_equal(one.numpy(), other.numpy())
    with pytest.raises(ValueError, match="eps must lie in"):
        changed.eps = -1.0
    with pytest.raises(AttributeError, match=r"'epsilon' is Keras 3's.*here it is 'eps'"):
        changed.epsilon = 0.5
    with pytest.raises(AttributeError, match=r"'clipnorm' is .*no counterpart"):
        changed.clipnorm = 0.5
    with pytest.raises(AttributeError, match=r"use_amsgrad.*make a new one"):
        changed.use_amsgrad = True


def test_a_variable_as_learning_rate_stays_live() -> None:
    weight, rate = tf.Variable([1.0]), tf.Variable(0.5)
    run = compiled(MindSporeStyleAdam([weight], rate), "function")
    rate.assign(0.25)
    run((tf.constant([1.0]),))
    assert weight.numpy()[0] == pytest.approx(0.75)


def test_a_list_that_is_too_short_changes_nothing() -> None:
    for mode in ("eager", "function"):
        weight = tf.Variable([1.0])
        optimizer = MindSporeStyleAdam([weight], [0.1, 0.1])
        run = compiled(optimizer, mode)
        for _ in range(2):
            run((tf.constant([1.0]),))
        before = [variable.numpy() for variable in (weight, *optimizer.variables)]
        for _ in range(2):
            kind: Any = RuntimeError if mode == "eager" else tf.errors.InvalidArgumentError
            with pytest.raises(kind, match="list of 2 values"):
                run((tf.constant([1.0]),))
        for one, other in zip((weight, *optimizer.variables), before, strict=True):
            np.testing.assert_array_equal(one.numpy(), other)


def test_in_xla_a_list_that_is_too_short_is_not_silent() -> None:
    weight = tf.Variable([1.0])
    run = compiled(MindSporeStyleAdam([weight], [0.1]), "xla")
    run((tf.constant([1.0]),))
    assert weight.numpy()[0] == pytest.approx(0.9)
    run((tf.constant([1.0]),))
    assert np.isnan(weight.numpy()[0])


_W = tf.Variable([1.0, 2.0], name="w")
_INT = tf.Variable([1, 2], name="i")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: MindSporeStyleAdam([_W], beta_1=0.9), KeyError, "'beta_1' is Keras 3's.*here it is 'beta1'"),
        (lambda: MindSporeStyleAdam([_W], clipnorm=1.0), KeyError, "no counterpart"),
        (lambda: MindSporeStyleAdam([_W], foo=1), KeyError, "has no parameter 'foo'"),
        (lambda: MindSporeStyleAdam([_W], beta1=1.0), ValueError, r"beta1 must lie in \(0, 1\), got 1.0"),
        (lambda: MindSporeStyleAdam([_W], beta1=0), TypeError, "beta1 must be a float"),
        (lambda: MindSporeStyleAdam([_W], eps=0.0), ValueError, r"eps must lie in \(0, inf\)"),
        (lambda: MindSporeStyleAdam([_W], -0.1), ValueError, "learning_rate must lie in"),
        (lambda: MindSporeStyleAdam([_W], use_lazy=True, use_offload=True), ValueError, "exclude each other"),
        (lambda: MindSporeStyleAdam([_W], use_amsgrad=True, use_nesterov=True), ValueError, "exclude each other"),
        (lambda: MindSporeStyleAdam([_W], numerics="jax"), ValueError, "numerics must be one of"),
        (lambda: MindSporeStyleAdam([]), ValueError, "params must not be empty"),
        (lambda: MindSporeStyleAdam(_W), TypeError, r"write \[variable\]"),
        (lambda: MindSporeStyleAdam([_W, np.ones(2)]), TypeError, "parameter 1 must be a tf.Variable.*ndarray"),
        (lambda: MindSporeStyleAdam([_INT]), TypeError, "'i' is int32"),
        (lambda: MindSporeStyleAdam([_W, _W]), ValueError, "'w' is given twice"),
        (lambda: MindSporeStyleAdam([{"params": [_W], "rate": 1}]), KeyError, "key 'rate'"),
        (lambda: MindSporeStyleAdam([{"params": [_W]}, _W]), TypeError, "mixes groups"),
        (lambda: MindSporeStyleAdam([_W])(tf.ones(2)), TypeError, "gradients must be a tuple"),
        (lambda: MindSporeStyleAdam([_W])((tf.ones(2), tf.ones(2))), ValueError, "got 2 gradients for 1 param"),
        (lambda: MindSporeStyleAdam([_W])((None,)), TypeError, "the gradient of 'w' is None"),
        (lambda: MindSporeStyleAdam([_W])((tf.ones(3),)), ValueError, r"has shape \(3,\), but \(2,\)"),
        (lambda: MindSporeStyleAdam([_W])((object(),)), TypeError, "must be a tensor or IndexedSlices, got object"),
        (lambda: MindSporeStyleAdam([_W]).exclude_from_weight_decay([_W]), AttributeError, "group of their own"),
        (lambda: MindSporeStyleAdam([_W])(("x",)), TypeError, "must hold real numbers, got string"),
        (lambda: MindSporeStyleAdam([_W])((tf.constant([1j, 1]),)), TypeError, "real numbers, got complex"),
        (lambda: MindSporeStyleAdam([_W])((tf.IndexedSlices([1.0], [2]),)), ValueError, "names row 2"),
        (lambda: MindSporeStyleAdam([_W]).apply_gradients([]), ValueError, "list of pairs is empty"),
        (lambda: MindSporeStyleAdam([_W]).apply_gradients([3]), ValueError, "takes pairs \\(gradient, variable\\)"),
        (lambda: MindSporeStyleAdam([_W]).apply_gradients([(None, _W)]), ValueError, "every gradient is None"),
        (lambda: MindSporeStyleAdam([_W]).apply([tf.ones(2)], [tf.Variable([1.0, 1.0], name="x")]), ValueError, "'x'"),
        (lambda: MindSporeStyleAdam([_W]).apply([tf.ones(2)] * 2, [_W, _W]), ValueError, "given twice"),
        (lambda: MindSporeStyleAdam([_W], lambda step: -1.0)((tf.ones(2),)), ValueError, r"learning_rate\(0\) must"),
        (lambda: MindSporeStyleAdam([_W], lambda step: "x")((tf.ones(2),)), TypeError, "must be a number"),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_change_nothing(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert type(caught.value) is error
    np.testing.assert_array_equal(_W.numpy(), [1.0, 2.0])


def test_a_row_that_does_not_exist_changes_nothing_in_a_graph() -> None:
    first, second = tf.Variable([[1.0], [2.0]]), tf.Variable([[1.0], [2.0]])
    optimizer = MindSporeStyleAdam([first, second])
    run = tf.function(lambda indices: optimizer((tf.ones((2, 1)), tf.IndexedSlices(tf.ones((1, 1)), indices))))
    run(tf.constant([1]))
    before = [variable.numpy() for variable in (first, second, *optimizer.variables)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="names a row that does not exist"):
        run(tf.constant([2]))
    for one, other in zip((first, second, *optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


@pytest.mark.parametrize("mode", ["eager", "function"])
def test_locking_keeps_every_step_of_many_threads(mode: str) -> None:
    weight = tf.Variable(np.zeros(64, np.float32))
    optimizer = MindSporeStyleAdam([weight], learning_rate=1e-3, use_locking=True)
    run = compiled(optimizer, mode)
    gradient = (tf.ones(64),)
    run(gradient)
    threads = [threading.Thread(target=lambda: [run(gradient) for _ in range(25)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(optimizer.global_step.numpy()) == 101
    np.testing.assert_allclose(weight.numpy(), -0.101, rtol=1e-4)


def test_locking_is_refused_where_there_are_no_locks() -> None:
    optimizer = MindSporeStyleAdam([tf.Variable([1.0])], use_locking=True)
    with pytest.raises(RuntimeError, match="XLA has no locks"):
        compiled(optimizer, "xla")((tf.constant([1.0]),))


@replicas_agree
def test_two_replicas_train_as_one() -> None:
    out = run_python("""
        import tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from adamcompat.tensorflow import MindSporeStyleAdam
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            weight = tf.Variable([1.0, 2.0])
            optimizer = MindSporeStyleAdam([weight], weight_decay=0.1, use_nesterov=True)
        alone = tf.Variable([1.0, 2.0])
        own = MindSporeStyleAdam([alone], weight_decay=0.1, use_nesterov=True)

        @tf.function
        def step():
            strategy.run(lambda: optimizer((tf.constant([0.5, -0.5]),)))

        for _ in range(5):
            step()
            own((tf.constant([1.0, -1.0]),))
        for copy in strategy.experimental_local_results(weight):
            print(copy.numpy().tolist() == alone.numpy().tolist(), int(own.global_step.numpy()))
        try:
            with strategy.scope():
                products = MindSporeStyleAdam([weight], numerics="mindspore")
            strategy.run(lambda: products((tf.constant([0.5, -0.5]),)))
        except ValueError as error:
            print(error)
        # Without bias correction there are none.
        from adamcompat.tensorflow import MindSporeStyleAdamWeightDecay as Decoupled
        with strategy.scope():
            weight = tf.Variable([1.0, 2.0])
            decoupled = Decoupled([weight], weight_decay=0.1, numerics="mindspore")
        alone = tf.Variable([1.0, 2.0])
        own = Decoupled([alone], weight_decay=0.1, numerics="mindspore")
        for _ in range(5):
            strategy.run(lambda: decoupled((tf.constant([0.5, -0.5]),)))
            own((tf.constant([1.0, -1.0]),))
        for copy in strategy.experimental_local_results(weight):
            print(copy.numpy().tolist() == alone.numpy().tolist(), len(decoupled.variables))
    """)
    lines = out.splitlines()
    assert lines[:2] == ["True 5", "True 5"]
    assert "keeps running products" in lines[2]
    # The counter, the learning rate and two moments.
    assert lines[3:] == ["True 4", "True 4"]


def test_tf_keras_trains_and_saves_with_it(tmp_path: Path) -> None:
    out = run_python(
        f"""
        import numpy as np, tensorflow as tf
        from adamcompat.tensorflow import MindSporeStyleAdam
        def model():
            tf.keras.utils.set_random_seed(1)
            return tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3), tf.keras.layers.Dense(1)])
        x = np.random.default_rng(0).standard_normal((32, 4)).astype("f4")
        y = x.sum(1, keepdims=True)
        from adamcompat.tensorflow import MindSporeStyleAdamWeightDecay as Decoupled
        d = model()
        d.compile(Decoupled(d.trainable_variables, 0.01, weight_decay=0.1, numerics="mindspore"), "mse")
        d.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        d.save({str(tmp_path / "decoupled.keras")!r})
        e = tf.keras.models.load_model({str(tmp_path / "decoupled.keras")!r})
        assert type(e.optimizer) is Decoupled
        for either in (d, e):
            either.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        for one, other in zip(d.get_weights(), e.get_weights()):
            np.testing.assert_array_equal(one, other)
        a, b = model(), model()
        options = dict(learning_rate=tf.keras.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9),
                       weight_decay=0.01, loss_scale=16.0)
        for jit in (False, True):
            a.compile(MindSporeStyleAdam(a.trainable_variables, **options), "mse", jit_compile=jit)
            losses = a.fit(x, y, batch_size=8, epochs=10, shuffle=False, verbose=0).history["loss"]
            assert losses[-1] < losses[0], losses
            if not jit:
                optimizer = MindSporeStyleAdam(b.trainable_variables, **options)
                for _ in range(10):
                    for i in range(0, 32, 8):
                        with tf.GradientTape() as tape:
                            loss = optimizer.scale_loss(tf.reduce_mean((b(x[i:i+8]) - y[i:i+8]) ** 2))
                        optimizer(tape.gradient(loss, b.trainable_variables))
                for one, other in zip(a.get_weights(), b.get_weights()):
                    np.testing.assert_allclose(one, other, atol=1e-6)
        a.save({str(tmp_path / "model.keras")!r})
        c = tf.keras.models.load_model({str(tmp_path / "model.keras")!r})
        assert type(c.optimizer) is MindSporeStyleAdam, type(c.optimizer)
        for either in (a, c):
            either.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
        for one, other in zip(a.get_weights(), c.get_weights()):
            np.testing.assert_array_equal(one, other)
        w = tf.Variable([1.0])
        o = MindSporeStyleAdam([w], weight_decay=0.01)
        for _ in range(100):
            o((tf.constant([0.1]),))
        o.learning_rate = 0.5
        print(float(w.numpy()[0]), float(o.learning_rate), int(c.optimizer.global_step.numpy()))
        """,
        TF_USE_LEGACY_KERAS="1",
    )
    weight, rate, steps = out.split()[-3:]
    assert float(weight) == pytest.approx(0.900154, abs=1e-6)
    assert (rate, steps) == ("0.5", "44")
