"""PyTorch's settings on TensorFlow's variables: its formula, its recorded steps, its groups, and Keras around it."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")

import adamcompat  # noqa: E402
from adamcompat import Parameter  # noqa: E402
from adamcompat.drive import open_driver  # noqa: E402
from adamcompat.mapping.runtimes import RUNTIMES  # noqa: E402
from adamcompat.mapping.tables import MAPPING  # noqa: E402
from adamcompat.recording.tensorflow import facts  # noqa: E402
from adamcompat.state import AdamState, StateError  # noqa: E402
from adamcompat.tensorflow import TorchStyleAdam, TorchStyleAdamW  # noqa: E402
from tests.inputs import NAMES, assert_close, stream  # noqa: E402
from tests.tensorflow.tf_helpers import ROOT, replicas_agree, run_python  # noqa: E402

pytestmark = pytest.mark.frameworks

MODES = ("eager", "function", "xla")
EPSILONS = (1e-8, 1e-5, 1e-3, 1e-1)
_BASE = RUNTIMES["tensorflow"].base(MAPPING.dialects["torch"])
assert _BASE is not None
NUMERICS = [name for name, entry in MAPPING.numerics.items() if not _BASE.lacking(entry)]
STYLES = {TorchStyleAdam: adamcompat.TorchStyleAdam, TorchStyleAdamW: adamcompat.TorchStyleAdamW}


def variables_of(start: Sequence[Any]) -> list[Any]:
    return [tf.Variable(array, name=name) for array, name in zip(start, NAMES, strict=False)]


def stepping(optimizer: Any, variables: Sequence[Any], mode: str) -> Callable[[Sequence[Any]], None]:
    """A step on arrays, some of which may be None."""

    def apply(given: dict[str, Any]) -> None:
        optimizer.apply_gradients([(given.get(str(i)), variable) for i, variable in enumerate(variables)])

    call = apply if mode == "eager" else tf.function(apply, jit_compile=mode == "xla")
    return lambda arrays: call({str(i): tf.constant(a) for i, a in enumerate(arrays) if a is not None})


def as_torch(
    start: Sequence[Any], gradients: Sequence[Sequence[Any]], *, decoupled: bool = False, **given: Any
) -> list[Any]:
    """PyTorch's loop in float64, written down from its documentation."""
    lr, (b1, b2), eps = given.get("lr", 1e-3), given.get("betas", (0.9, 0.999)), given.get("eps", 1e-8)
    decay, amsgrad, sign = given.get("weight_decay", 0.0), given.get("amsgrad", False), given.get("maximize", False)
    p = [np.array(array, np.float64) for array in start]
    m, v, largest = ([np.zeros_like(array) for array in p] for _ in range(3))
    for t, step in enumerate(gradients, 1):
        for i, gradient in enumerate(step):
            g = -np.asarray(gradient, np.float64) if sign else np.asarray(gradient, np.float64)
            if decoupled:
                p[i] = p[i] - lr * decay * p[i]
            else:
                g = g + decay * p[i]
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            largest[i] = np.maximum(largest[i], v[i]) if amsgrad else v[i]
            p[i] = p[i] - lr / (1 - b1**t) * m[i] / (np.sqrt(largest[i]) / math.sqrt(1 - b2**t) + eps)
    return p


def drifting(steps: int, dtype: Any = np.float64) -> tuple[list[Any], list[list[Any]]]:
    """Weights and gradients of many sizes, which have a direction: rounding is then small beside the movement."""
    rng = np.random.default_rng(11)
    start = [(0.01 * rng.standard_normal(shape)).astype(dtype) for shape in ((4, 3), ())]
    sizes = [10.0 ** rng.uniform(-3, 1, array.shape) for array in start]
    return start, [
        [(size * (1 + rng.standard_normal(size.shape))).astype(dtype) for size in sizes] for _ in range(steps)
    ]


def apart(found: Sequence[Any], wanted: Sequence[Any], start: Sequence[Any]) -> float:
    """The largest distance as a part of the movement."""
    moved = max(float(np.abs(one - first).max()) for one, first in zip(wanted, start, strict=True))
    return max(float(np.abs(one - other).max()) for one, other in zip(found, wanted, strict=True)) / moved


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("eps", EPSILONS)
def test_a_thousand_steps_are_pytorchs(eps: float, mode: str) -> None:
    start, gradients = drifting(1000)
    variables = variables_of(start)
    step = stepping(TorchStyleAdam(eps=eps), variables, mode)
    for arrays in gradients:
        step(arrays)
    assert apart([v.numpy() for v in variables], as_torch(start, gradients, eps=eps), start) <= 1e-12


@pytest.mark.parametrize("eps", EPSILONS)
def test_a_thousand_steps_in_float32_are_pytorchs(eps: float) -> None:
    start, gradients = drifting(1000, np.float32)
    variables = variables_of(start)
    step = stepping(TorchStyleAdam(eps=eps), variables, "xla")
    for arrays in gradients:
        step(arrays)
    assert apart([v.numpy() for v in variables], as_torch(start, gradients, eps=eps), start) <= 1e-6


@pytest.mark.parametrize("eps", EPSILONS)
def test_a_thousand_steps_with_its_numerics_are_rounded_as_pytorch_rounds(eps: float) -> None:
    """PyTorch itself is up to 2.3e-6 away from float64 here."""
    torch = pytest.importorskip("torch")
    start, gradients = drifting(1000, np.float32)
    variables = variables_of(start)
    step = stepping(TorchStyleAdam(eps=eps, numerics="torch"), variables, "xla")
    own = [torch.nn.Parameter(torch.tensor(np.array(one))) for one in start]
    original = torch.optim.Adam(own, eps=eps)
    for arrays in gradients:
        step(arrays)
        for parameter, array in zip(own, arrays, strict=True):
            parameter.grad = torch.tensor(np.asarray(array))
        original.step()
    assert apart([v.numpy() for v in variables], [one.detach().numpy() for one in own], start) <= 1e-6


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "betas": (TorchStyleAdam, {"betas": (0.5, 0.9), "lr": 0.01}, {}),
    "amsgrad": (TorchStyleAdam, {"amsgrad": True, "eps": 1e-3, "betas": (0.9, 0.9)}, {}),
    "maximize": (TorchStyleAdam, {"maximize": True, "weight_decay": 0.1}, {}),
    "l2": (TorchStyleAdam, {"weight_decay": 0.1, "eps": 1e-3}, {}),
    "decoupled": (TorchStyleAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True}, {"decoupled": True}),
    "AdamW": (TorchStyleAdamW, {}, {"decoupled": True, "weight_decay": 0.01}),
    "AdamW, all": (
        *(TorchStyleAdamW, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True}),
        {"decoupled": True},
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_every_setting_is_pytorchs(name: str, mode: str) -> None:
    kind, given, more = CASES[name]
    start, gradients = stream(60)
    variables = variables_of(start)
    step = stepping(kind(**given), variables, mode)
    for arrays in gradients:
        step(arrays)
    assert apart([v.numpy() for v in variables], as_torch(start, gradients, **given, **more), start) <= 1e-12


DATA = dict(np.load(ROOT / "tests" / "data" / "torch213_shared.npz"))
META = json.loads(bytes(DATA["meta"]))
CLASSES = {"torch.optim.Adam": TorchStyleAdam, "torch.optim.AdamW": TorchStyleAdamW}


def groups_of(variables: list[Any]) -> list[dict[str, Any]]:
    """The groups of the recorded cases."""
    return [
        {"params": variables[:2], "lr": 0.02, "betas": (0.8, 0.95)},
        {"params": variables[2:], "weight_decay": 0.05, "eps": 1e-3, "amsgrad": True},
    ]


@pytest.mark.parametrize(("numerics", "mode"), [*(("torch", mode) for mode in MODES), ("canonical", "function")])
@pytest.mark.parametrize("name", META["cases"])
def test_the_steps_that_pytorch_recorded(name: str, numerics: str, mode: str) -> None:
    """With PyTorch's rounding, moments in every bit, and weights as near as its own square root allows.

    With our own rounding decoupled decay is further away: PyTorch rounds the factor by which it multiplies.
    """
    case, wide = META["cases"][name], name.endswith("float64")
    dtype = np.float64 if wide else np.float32
    variables = variables_of([DATA[f"x0/{i}"].astype(dtype) for i in range(3)])
    params: Any = groups_of(variables) if name.endswith("/groups") else None
    optimizer = CLASSES[case["api"]](params, **case["kwargs"], numerics=numerics)
    sees = name.startswith("Adam/") and ("weight_decay" in case["kwargs"] or name.endswith("/groups"))
    exact = numerics == "torch" and not wide and (not sees or name == "Adam/decoupled")
    step = stepping(optimizer, variables, mode)
    for t in range(META["steps"]):
        if name.endswith("/lr_list"):
            if t == 0:
                optimizer.build(variables)
            optimizer.param_groups[0]["lr"] = 0.1 / (t + 1)
        step([DATA[f"grad/{i}"][t].astype(dtype) for i in range(3)])
        if t + 1 not in META["keep"]:
            continue
        for i, variable in enumerate(variables):
            here = f"{name}/{t + 1}/{i}"
            wanted = DATA[here]
            spacings = np.abs(variable.numpy() - wanted).max() / np.spacing(np.abs(wanted).max())
            decays = name.startswith("AdamW/") or name == "Adam/decoupled"
            assert spacings <= ({True: 2, False: 1}[wide] if numerics == "torch" else 40 if decays else 2), here
            member = optimizer._private.members[i]
            for slot, found in zip(("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), member[1:4], strict=True):
                assert (found is not None) == (f"{here}/{slot}" in DATA)
                if found is not None and exact:
                    np.testing.assert_array_equal(found.numpy(), DATA[f"{here}/{slot}"], err_msg=f"{here}/{slot}")


# Against NumPy's class of the same style, bit for bit.


def in_groups(p: list[Any]) -> list[dict[str, Any]]:
    first: dict[str, Any] = {"params": p[:1], "betas": (0.5, 0.9), "eps": 1e-3, "amsgrad": True}
    second: dict[str, Any] = {"params": p[1:3], "lr": 0.1, "weight_decay": 0.1, "maximize": True}
    return [first, second, {"params": p[3]}]


def both(
    kind: Any, start: list[Any], gradients: list[list[Any]], mode: str, grouped: Any = list, **given: Any
) -> tuple[Any, Any, list[Any], list[Any]]:
    """Our optimizer on variables and the one on arrays after the same steps, and the weights of each."""
    variables = variables_of(start)
    ours = kind(grouped(variables), **given)
    step = stepping(ours, variables, mode)
    parameters = [Parameter(array.copy(), name) for array, name in zip(start, NAMES, strict=True)]
    theirs = STYLES[kind](grouped(parameters), **given)
    for arrays in gradients:
        step(arrays)
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.grad = array
        theirs.step()
    return ours, theirs, [v.numpy() for v in variables], [parameter.data for parameter in parameters]


def assert_moments(ours: Any, theirs: Any, *, exact: bool = True) -> None:
    for member, parameter in zip(ours._private.members, theirs.parameters(), strict=True):
        kept = theirs.state[parameter]
        for found, slot in zip(member[1:4], ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"), strict=True):
            assert (found is None) == (slot not in kept)
            if found is not None:
                assert_close([found.numpy()], [kept[slot]], exact=exact)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("numerics", NUMERICS)
def test_groups_have_the_bits_of_numpys(numerics: str, dtype: Any, mode: str) -> None:
    start, gradients = stream(50, dtype=dtype)
    ours, theirs, found, wanted = both(
        TorchStyleAdam, start, gradients, mode, in_groups, lr=0.01, decoupled_weight_decay=True, numerics=numerics
    )
    assert_close(found, wanted, exact=mode != "xla")
    assert_moments(ours, theirs, exact=mode != "xla")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("kind", STYLES)
def test_ungrouped_variables_have_the_bits_of_numpys(kind: Any, dtype: Any) -> None:
    start, gradients = stream(50, dtype=dtype)
    ours, theirs, found, wanted = both(kind, start, gradients, "function", lr=0.01, weight_decay=0.1)
    assert_close(found, wanted, exact=True)
    assert_moments(ours, theirs)


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("grouped", [list, in_groups], ids=["together", "grouped"])
@pytest.mark.parametrize("numerics", ["canonical", "torch"])
def test_a_variable_without_a_gradient_is_left_out_and_does_not_count_the_step(
    numerics: str, grouped: Any, mode: str
) -> None:
    start, gradients = stream(30, dtype=np.float32)
    rng = np.random.default_rng(5)
    patterns = [(1, 1, 1, 1), (1, 0, 1, 0), (0, 1, 1, 1)]
    chosen = [patterns[rng.integers(3)] for _ in gradients]
    partial = [
        [a if there else None for a, there in zip(arrays, pattern, strict=True)]
        for arrays, pattern in zip(gradients, chosen, strict=True)
    ]
    ours, theirs, found, wanted = both(
        TorchStyleAdam, start, partial, mode, grouped, lr=0.01, weight_decay=0.1, numerics=numerics
    )
    assert_close(found, wanted, exact=mode != "xla")
    assert_moments(ours, theirs, exact=mode != "xla")
    counts = int(ours.iterations.numpy()) - ours._private.missed.numpy()
    assert counts.tolist() == [int(theirs.state[p]["step"]) for p in theirs.parameters()]
    assert len(set(counts.tolist())) > 1


@pytest.mark.parametrize("mode", ["eager", "function"])
def test_variables_that_are_not_passed_have_no_gradient(mode: str) -> None:
    one, other, alone = (tf.Variable([1.0]) for _ in range(3))
    optimizer, single = TorchStyleAdam([one, other], lr=0.1), TorchStyleAdam([alone], lr=0.1)
    first, second = (stepping(optimizer, [variable], mode) for variable in (one, other))
    step = stepping(single, [alone], mode)
    for value in (0.5, -0.25, 0.125):
        for run in (first, second, step):
            run([np.array([value], np.float32)])
    assert one.numpy() == other.numpy() == alone.numpy()


@pytest.mark.parametrize("mode", MODES)
def test_rows_are_those_of_numpy(mode: str) -> None:
    rng = np.random.default_rng(3)
    start = rng.standard_normal((9, 4)).astype(np.float32)
    variable, parameter = tf.Variable(start, name="table"), Parameter(start.copy(), "table")
    options: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.01, "amsgrad": True}
    optimizer, theirs = TorchStyleAdam(**options), adamcompat.TorchStyleAdam([parameter], **options)
    optimizer.build([variable])

    def apply(values: Any, rows: Any) -> None:
        optimizer.apply_gradients([(tf.IndexedSlices(values, rows), variable)])

    call = apply if mode == "eager" else tf.function(apply, jit_compile=mode == "xla")
    for _ in range(30):
        rows, values = rng.integers(0, 9, 5), rng.standard_normal((5, 4)).astype(np.float32)
        call(tf.constant(values), tf.constant(rows))
        parameter.grad = adamcompat.RowSparse(rows, values)
        theirs.step()
    assert_close([variable.numpy()], [parameter.data], exact=mode != "xla")


# As an optimizer of Keras.


def _model() -> Any:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh"), layers.BatchNormalization(), layers.Dense(1)])


_X = np.random.default_rng(5).standard_normal((32, 4)).astype(np.float32)
_Y = _X.sum(1, keepdims=True)
_FULL: dict[str, Any] = {
    "lr": keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9),
    "betas": (0.8, 0.95),
    "eps": 1e-3,
    "weight_decay": 0.01,
    "amsgrad": True,
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", STYLES)
def test_fit_is_the_loop_of_pytorch(kind: Any, jit: bool) -> None:
    """The model brings its variables; the loop is NumPy's, which has no schedules of Keras."""
    fitted, looped = _model(), _model()
    options = {**_FULL, "lr": 0.01}
    fitted.compile(kind(**options), "mse", jit_compile=jit)
    fitted.fit(_X, _Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    parameters = [Parameter(v.numpy(), v.path) for v in looped.trainable_variables]
    theirs = STYLES[kind](parameters, **options)
    for _ in range(3):
        for i in range(0, 32, 8):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((looped(_X[i : i + 8], training=True) - _Y[i : i + 8]) ** 2)
            for parameter, g in zip(parameters, tape.gradient(loss, looped.trainable_variables), strict=True):
                parameter.grad = g.numpy()
            theirs.step()
            for parameter, variable in zip(parameters, looped.trainable_variables, strict=True):
                variable.assign(parameter.data)
    assert int(fitted.optimizer.iterations.numpy()) == 12
    for one, other in zip(fitted.get_weights(), looped.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize("grouped", ["brought", "listed", "grouped"])
def test_a_saved_model_goes_on_bit_for_bit(grouped: str, tmp_path: Path) -> None:
    model = _model()
    own = model.trainable_variables
    groups: list[dict[str, Any]] = [
        {"params": own[::-2], "lr": 0.02, "eps": 1e-2, "amsgrad": False},
        {"params": own[::2], "betas": (0.5, 0.9)},
    ]
    params: Any = {"brought": None, "listed": own, "grouped": groups}[grouped]
    model.compile(TorchStyleAdam(params, **_FULL, numerics="torch"), "mse", jit_compile=False)
    model.fit(_X, _Y, batch_size=8, shuffle=False, verbose=0)
    if grouped == "grouped":
        model.optimizer.param_groups[0]["lr"] = 0.03
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is TorchStyleAdam
    configs = [either.optimizer.get_config() for either in (model, loaded)]
    # A model that is loaded has fewer folders around its names.
    named = [config.pop("params") for config in configs]
    assert configs[0] == configs[1]
    assert [None if params is None else len(params) for params in named] == [
        {"brought": None, "listed": 6, "grouped": 2}[grouped]
    ] * 2
    if grouped == "grouped":
        assert loaded.optimizer.param_groups[0]["lr"] == 0.03
        assert [group["betas"] for group in loaded.optimizer.param_groups] == [(0.8, 0.95), (0.5, 0.9)]
    for either in (model, loaded):
        either.fit(_X, _Y, batch_size=8, shuffle=False, verbose=0)
    assert_close(loaded.get_weights(), model.get_weights(), exact=True)
    assert int(loaded.optimizer.iterations.numpy()) == 8


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_checkpoints_and_configurations_go_on_bit_for_bit(tmp_path: Path) -> None:
    start, gradients = stream(20, dtype=np.float32)
    first, second = variables_of(start), variables_of([np.zeros_like(array) for array in start])
    optimizer = TorchStyleAdam(in_groups(first), lr=0.01)
    step = stepping(optimizer, first, "function")
    for number, arrays in enumerate(gradients[:10]):
        step([array if i or number % 2 else None for i, array in enumerate(arrays)])
    path = tf.train.Checkpoint(variables=first, optimizer=optimizer).write(str(tmp_path / "state"))
    restored = TorchStyleAdam.from_config(optimizer.get_config())
    assert restored.get_config() == optimizer.get_config()
    restored.build(second)
    tf.train.Checkpoint(variables=second, optimizer=restored).read(path).assert_consumed()
    again = stepping(restored, second, "eager")
    for arrays in gradients[10:]:
        step(arrays)
        again(arrays)
    assert_close([v.numpy() for v in second], [v.numpy() for v in first], exact=True)
    np.testing.assert_array_equal(restored._private.missed.numpy(), [5, 0, 0, 0])


def test_mixed_precision_scales_the_loss() -> None:
    variable, plain = tf.Variable([1.0]), tf.Variable([1.0])
    outer = keras.optimizers.LossScaleOptimizer(TorchStyleAdam(lr=0.1), initial_scale=1024.0)
    outer.build([variable])
    inner = TorchStyleAdam(lr=0.1)
    for _ in range(5):
        outer.apply([tf.constant([0.5 * 1024])], [variable])
        inner.apply([tf.constant([0.5])], [plain])
    outer.apply([tf.constant([math.inf])], [variable])
    np.testing.assert_array_equal(variable.numpy(), plain.numpy())


def test_a_model_of_mixed_precision_trains() -> None:
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, "tanh", dtype="mixed_float16"), layers.Dense(1)])
    model.compile(keras.optimizers.LossScaleOptimizer(TorchStyleAdamW(lr=0.02)), "mse")
    losses = model.fit(_X, _Y, batch_size=8, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 5


@pytest.mark.parametrize("mode", MODES)
def test_schedules_of_keras_are_learning_rates(mode: str) -> None:
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5)
    start, gradients = stream(10)
    found = []
    for rate in (schedule, [0.1 / (1 + 0.5 * t) for t in range(10)], lambda step: 0.1 / (1 + 0.5 * step)):
        variables = variables_of(start)
        step = stepping(
            TorchStyleAdam([{"params": variables[:1], "lr": 0.1}, {"params": variables[1:]}], rate), variables, mode
        )
        for arrays in gradients:
            step(arrays)
        found.append([v.numpy() for v in variables])
    assert_close(found[2], found[1])
    # Schedules of Keras compute in float32.
    for one, other in zip(found[0], found[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_learning_rates_can_be_set_and_act_in_traced_functions() -> None:
    variables = [tf.Variable([0.0]) for _ in range(3)]
    groups = [{"params": variables[:1], "lr": 0.5}, {"params": variables[1:2]}, {"params": variables[2:]}]
    optimizer = TorchStyleAdam(groups, lr=0.25, eps=0.0)
    step = stepping(optimizer, variables, "function")
    one = [np.ones(1, np.float32)] * 3
    step(one)
    assert [float(v) for v in variables] == [-0.5, -0.25, -0.25]
    optimizer.param_groups[0]["lr"] = 1.0
    with pytest.warns(UserWarning, match=r"the groups 0 have a learning rate of their own and keep it.*\['lr'\]"):
        optimizer.learning_rate = 0.125
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.125, 0.125]
    step(one)
    np.testing.assert_allclose([float(v) for v in variables], [-1.5, -0.375, -0.375], rtol=1e-6)
    with pytest.raises(ValueError, match=r"the groups 1, 2 share one learning rate: set optimizer\.learning_rate"):
        optimizer.param_groups[1]["lr"] = 1.0
    with pytest.raises(ValueError, match=r"lr must lie in \[0, inf\), got -1.0"):
        optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(TypeError, match="'betas' of a group is compiled when the optimizer is made"):
        optimizer.param_groups[0]["betas"] = (0.5, 0.9)
    single = TorchStyleAdam([variables[0]], lr=0.5)
    single.param_groups[0]["lr"] = 0.25
    assert float(single.learning_rate) == single.param_groups[0]["lr"] == 0.25
    assert list(single.param_groups[0]["params"]) == [variables[0]]
    assert single.defaults["betas"] == (0.9, 0.999)


def test_the_callback_of_keras_lowers_the_learning_rate() -> None:
    model = _model()
    model.compile(TorchStyleAdam(lr=0.5), "mse")
    model.fit(_X, _Y, verbose=0, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.125)])
    assert model.optimizer.param_groups[0]["lr"] == 0.125


def test_a_callback_of_tf_keras_that_sets_what_no_group_reads_is_told() -> None:
    out = run_python(
        """
        import warnings
        import numpy as np, tensorflow as tf, tf_keras
        from adamcompat import once
        from adamcompat.tensorflow import TorchStyleAdam
        x, y = np.ones((8, 2), "f"), np.zeros((8, 1), "f")
        def said(groups, rate, set_by):
            once._said.clear()
            model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(1)])
            own = model.trainable_variables
            optimizer = TorchStyleAdam(groups(own), lr=0.5)
            model.compile(optimizer, "mse")
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                set_by(model, rate)
            found = [w for w in seen if "of their own" in str(w.message)]
            return [str(w.message).split(" have ")[0] for w in found], {w.filename for w in found}, float(optimizer.lr)
        def scheduler(model, rate):
            callback = tf_keras.callbacks.LearningRateScheduler(lambda epoch: rate)
            model.fit(x, y, epochs=3, verbose=0, callbacks=[callback])
        def plateau(model, rate):
            callback = tf_keras.callbacks.ReduceLROnPlateau("loss", factor=rate / 0.5, patience=1, min_delta=1e9)
            model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
        def attribute(model, rate):
            model.optimizer.learning_rate = rate
        def group(model, rate):
            model.optimizer.param_groups[1]["lr"] = rate
        both = lambda own: [dict(params=own[:1], lr=0.1), dict(params=own[1:], lr=0.2)]
        one = lambda own: [dict(params=own[:1], lr=0.1), dict(params=own[1:])]
        print(said(both, 0.25, scheduler))
        print(said(one, 0.25, scheduler))
        print(said(both, 0.25, plateau))
        print(said(both, 0.25, attribute))
        print(said(both, 0.5, scheduler), said(lambda own: own, 0.25, scheduler), said(one, 0.25, group))
        """,
        TF_USE_LEGACY_KERAS="1",
    )
    told = "(['learning_rate was set, but the groups {}'], {{'<string>'}}, 0.25)"
    assert out.splitlines() == [
        *(told.format(groups) for groups in ("0, 1", "0", "0, 1", "0, 1")),
        "([], set(), 0.5) ([], set(), 0.25) ([], set(), 0.25)",
    ]


@pytest.mark.parametrize("name", ["lr", "betas", "eps", "weight_decay", "epsilon", "clipnorm"])
def test_settings_cannot_be_set_in_silence(name: str) -> None:
    optimizer = TorchStyleAdam([tf.Variable([1.0])])
    with pytest.raises(AttributeError, match=f"cannot set '{name}'.*optimizer.learning_rate, or make a new"):
        setattr(optimizer, name, 0.5)
    optimizer.note = "anything else"
    assert optimizer.note == "anything else"


_W = tf.Variable([1.0, 2.0], name="w")
# For calls that the type checker would refuse.
WRONG: Any = TorchStyleAdam


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: WRONG(1e-3), TypeError, r"got 0.001; a learning rate is given by name here: lr=0.001"),
        (lambda: TorchStyleAdam(_W), TypeError, r"write \[variable\]"),
        (lambda: TorchStyleAdam([]), ValueError, "params is empty; pass the variables to update"),
        (lambda: TorchStyleAdam([np.ones(2)]), TypeError, "must be a tf.Variable or a Keras variable, got ndarray"),
        (lambda: TorchStyleAdam([tf.Variable([1], name="i")]), TypeError, "'i' is int32"),
        (lambda: TorchStyleAdam([_W, _W]), ValueError, "'w' is in more than one place"),
        (lambda: TorchStyleAdam([{"params": [_W]}, _W]), TypeError, "entry 1 of params is no group"),
        (lambda: TorchStyleAdam([{"lr": 0.1}]), ValueError, "group 0 has no 'params'"),
        (lambda: TorchStyleAdam([{"params": []}]), ValueError, "group 0 has no variables; leave it out"),
        (lambda: TorchStyleAdam([{"params": _W, "betas": (0.9, 1.0)}]), ValueError, r"betas\[1\] must lie in"),
        (lambda: WRONG(betas=0.9), TypeError, "betas must be a tuple of 2 values"),
        (lambda: TorchStyleAdam(lr=-1.0), ValueError, "lr must lie in"),
        (lambda: TorchStyleAdam(capturable=True), ValueError, "capturable=True is not possible with tf.Variables"),
        (lambda: TorchStyleAdam([{"params": _W, "differentiable": True}]), ValueError, "differentiable=True"),
        (lambda: WRONG(learning_rate=0.1), TypeError, "learning_rate"),
        (lambda: TorchStyleAdam(numerics="mindspore"), ValueError, r"does not round like that \(beta_power: product"),
        (lambda: TorchStyleAdam().param_groups, ValueError, "no variables yet: they come with the first step"),
        (lambda: TorchStyleAdam().step(), AttributeError, r"no attribute 'step': .*apply_gradients\(zip\("),
        (lambda: TorchStyleAdam().zero_grad(), AttributeError, "nothing to forget; leave the line out"),
        (lambda: TorchStyleAdam().nothing, AttributeError, "has no attribute 'nothing'$"),
        (lambda: TorchStyleAdam().exclude_from_weight_decay([_W]), AttributeError, "with 'weight_decay': 0.0"),
        (lambda: TorchStyleAdam().apply_gradients([(None, _W)]), ValueError, "every gradient is None"),
        (lambda: TorchStyleAdam().apply_gradients([(tf.ones(3), _W)]), RuntimeError, r"has shape \(3,\), but \(2,\)"),
        (lambda: TorchStyleAdam([_W]).apply([tf.ones(1)], [tf.Variable([1.0], name="x")]), ValueError, "'x'"),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_change_nothing(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
    np.testing.assert_array_equal(_W.numpy(), [1.0, 2.0])


@pytest.mark.parametrize(("keyword", "said"), [("beta_1", r"here it is 'betas\[0\]'"), ("clipnorm", "no counterpart")])
def test_a_keyword_from_the_wrong_side_is_named(keyword: str, said: str) -> None:
    wrong: dict[str, Any] = {keyword: 0.5}
    with pytest.raises(TypeError, match=f"'{keyword}' is Keras 3's.*{said}"):
        TorchStyleAdam(**wrong)


def test_keys_that_look_like_settings_are_told_and_others_kept() -> None:
    with pytest.warns(UserWarning, match="'learning_rate' is .* name; here it is 'lr'") as told:
        TorchStyleAdam([{"params": _W, "learning_rate": 0.1}])
    assert told[0].filename == __file__
    assert TorchStyleAdam([{"params": _W, "initial_lr": 0.5}]).param_groups[0]["initial_lr"] == 0.5


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_a_step_that_fails_changes_nothing() -> None:
    start, gradients = stream(3, dtype=np.float32)
    variables = variables_of(start)
    optimizer = TorchStyleAdam(in_groups(variables))
    stepping(optimizer, variables, "eager")(gradients[0])
    before = [one.numpy() for one in (*variables, *optimizer.variables)]
    real, failing = optimizer._note_missed, []

    def fail(positions: Any) -> None:
        real(positions)
        failing.append(positions)
        raise KeyboardInterrupt

    object.__setattr__(optimizer, "_note_missed", fail)
    with pytest.raises(KeyboardInterrupt):
        stepping(optimizer, variables, "eager")([*gradients[1][:3], None])
    assert failing
    for one, other in zip((*variables, *optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


@replicas_agree
def test_two_replicas_train_as_one() -> None:
    out = run_python("""
        import warnings
        import tensorflow as tf
        warnings.simplefilter("ignore")
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from adamcompat.tensorflow import TorchStyleAdamW
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            weights = [tf.Variable([1.0, 2.0]), tf.Variable([3.0])]
            optimizer = TorchStyleAdamW([{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "eps": 0.1}])
        alone = [tf.Variable([1.0, 2.0]), tf.Variable([3.0])]
        own = TorchStyleAdamW([{"params": alone[:1], "lr": 0.1}, {"params": alone[1:], "eps": 0.1}])

        def replica(every):
            second = tf.constant([0.25]) if every else None
            optimizer.apply_gradients(zip([tf.constant([0.5, -0.5]), second], weights))

        step = tf.function(lambda every: strategy.run(replica, (every,)))
        for number in range(6):
            step(number % 2 == 0)
            second = tf.constant([0.5]) if number % 2 == 0 else None
            own.apply_gradients(zip([tf.constant([1.0, -1.0]), second], alone))
        for weight, single in zip(weights, alone):
            for copy in strategy.experimental_local_results(weight):
                print(copy.numpy().tolist() == single.numpy().tolist())
        print(own._private.missed.numpy().tolist(), int(optimizer.iterations.numpy()))
    """)
    assert out.splitlines() == ["True"] * 4 + ["[0, 3] 6"]


def test_tf_keras_trains_and_saves_with_it(tmp_path: Path) -> None:
    out = run_python(
        f"""
        import numpy as np, tensorflow as tf
        from adamcompat import Parameter, TorchStyleAdam as OnNumPy
        from adamcompat.tensorflow import TorchStyleAdam
        def model():
            tf.keras.utils.set_random_seed(1)
            return tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3), tf.keras.layers.Dense(1)])
        x = np.random.default_rng(0).standard_normal((32, 4)).astype("f4")
        y = x.sum(1, keepdims=True)
        options = dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.01, amsgrad=True)
        for jit in (False, True):
            a, b = model(), model()
            a.compile(TorchStyleAdam(**options), "mse", jit_compile=jit)
            a.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
            parameters = [Parameter(v.numpy(), v.name) for v in b.trainable_variables]
            theirs = OnNumPy(parameters, **options)
            for _ in range(3):
                for i in range(0, 32, 8):
                    with tf.GradientTape() as tape:
                        loss = tf.reduce_mean((b(x[i:i+8]) - y[i:i+8]) ** 2)
                    for p, g in zip(parameters, tape.gradient(loss, b.trainable_variables)):
                        p.grad = g.numpy()
                    theirs.step()
                    for p, v in zip(parameters, b.trainable_variables):
                        v.assign(p.data)
            for one, other in zip(a.get_weights(), b.get_weights()):
                np.testing.assert_allclose(one, other, atol=1e-5)
        for grouped in (False, True):
            a = model()
            own = a.trainable_variables
            groups = [dict(params=own[:1], lr=0.02, eps=1e-2), dict(params=own[1:], betas=(0.5, 0.9))]
            a.compile(TorchStyleAdam(groups if grouped else None, **options), "mse")
            a.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
            a.save({str(tmp_path / "model.keras")!r})
            c = tf.keras.models.load_model({str(tmp_path / "model.keras")!r})
            assert type(c.optimizer) is TorchStyleAdam, type(c.optimizer)
            for either in (a, c):
                either.fit(x, y, batch_size=8, epochs=1, shuffle=False, verbose=0)
            for one, other in zip(a.get_weights(), c.get_weights()):
                np.testing.assert_array_equal(one, other)
            print(int(c.optimizer.iterations.numpy()), c.optimizer.param_groups[0]["lr"])
        w = [tf.Variable([1.0]), tf.Variable([2.0])]
        o = TorchStyleAdam(lr=0.1)
        o.apply_gradients([(tf.constant([0.1]), w[0]), (None, w[1])])
        o.apply_gradients([(tf.constant([0.1]), w[0]), (tf.constant([0.1]), w[1])])
        o.learning_rate = 0.5
        print(round(float(w[1].numpy()[0]), 6), float(o.learning_rate), o._private.missed.numpy().tolist())
        """,
        TF_USE_LEGACY_KERAS="1",
    )
    assert out.splitlines()[-3:] == ["12 0.01", "12 0.02", "1.9 0.5 [0, 1]"]


# The tools.


def test_the_table_has_it() -> None:
    entry = MAPPING.adapter("tensorflow", "TorchStyleAdamW")
    assert MAPPING.dialects[entry.dialect].target == "torch.optim.AdamW"


def same_maxima(p: list[Any]) -> list[dict[str, Any]]:
    return [{**group, "amsgrad": True} for group in in_groups(p)]


def test_state_is_carried_to_and_from_numpy() -> None:
    start, gradients = stream(6, dtype=np.float32)
    ours, _, _, _ = both(TorchStyleAdam, start, gradients[:3], "function", same_maxima, lr=0.01)
    state = AdamState.of(ours)
    assert (state.dialect, state.step) == ("torch", 3)
    parameters = [Parameter(np.array(v), name) for v, name in zip(ours._private.variables, NAMES, strict=True)]
    theirs = adamcompat.TorchStyleAdam(same_maxima(parameters), lr=0.01)
    variables = variables_of([np.zeros_like(array) for array in start])
    back = TorchStyleAdam(same_maxima(variables), lr=0.01)
    named = dict(zip(NAMES, variables, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state.load_into(theirs)
        AdamState.of(theirs).load_into(back, parameters=named, with_parameters=True)
    assert_moments(back, theirs)
    steps = [stepping(optimizer, optimizer._private.variables, "eager") for optimizer in (ours, back)]
    for arrays in gradients[3:]:
        for step in steps:
            step(arrays)
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.grad = array
        theirs.step()
    for found in (ours._private.variables, back._private.variables):
        assert_close([v.numpy() for v in found], [parameter.data for parameter in parameters], exact=True)


def test_maxima_of_some_variables_only_are_not_carried() -> None:
    start, gradients = stream(2, dtype=np.float32)
    ours, theirs, _, _ = both(TorchStyleAdam, start, gradients, "eager", in_groups)
    text = "keeps maximum_second_moment for 1 of its 4 parameters; it is carried for all or for none"
    for optimizer in (ours, theirs):
        with pytest.raises(StateError, match=text):
            AdamState.of(optimizer)
    whole, _, _, _ = both(TorchStyleAdam, start, gradients, "eager", same_maxima)
    for optimizer in (ours, theirs):
        with pytest.raises(StateError, match=text):
            AdamState.of(whole).load_into(optimizer)


def test_another_epsilon_is_said_where_state_is_carried_to_keras() -> None:
    start, gradients = stream(3, dtype=np.float32)
    ours, _, _, _ = both(TorchStyleAdam, start, gradients, "function")
    variables = [keras.Variable(v.numpy(), name=name) for v, name in zip(ours._private.variables, "abcd", strict=True)]
    other = keras.optimizers.Adam()
    other.build(variables)
    named = dict(zip("abcd", ours._private.variables, strict=True))
    with pytest.warns(UserWarning, match="epsilon of the form hat instead of paper"):
        AdamState.of(ours, parameters=named).load_into(other, parameters=dict(zip("abcd", variables, strict=True)))
    assert int(other.iterations.numpy()) == 3
    for member, m, v in zip(ours._private.members, other._momentums, other._velocities, strict=True):
        np.testing.assert_array_equal(member.m.numpy(), m.numpy())
        np.testing.assert_array_equal(member.v.numpy(), v.numpy())
    back = TorchStyleAdam()
    fresh = variables_of([np.zeros_like(array) for array in start])
    carried = AdamState.of(other, parameters=dict(zip("abcd", variables, strict=True)))
    with pytest.warns(UserWarning, match="epsilon of the form paper instead of hat"):
        carried.load_into(back, parameters=dict(zip("abcd", fresh, strict=True)), with_parameters=True)
    assert int(back.iterations.numpy()) == 3
    for before, after in zip(ours._private.members, back._private.members, strict=True):
        for found, wanted in zip(after[:3], before[:3], strict=True):
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())


@pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")
def test_variables_of_different_steps_are_not_carried() -> None:
    start, gradients = stream(2, dtype=np.float32)
    variables = variables_of(start)
    optimizer = TorchStyleAdam()
    with pytest.raises(StateError, match="has no state yet"):
        AdamState.of(optimizer)
    optimizer.build(variables)
    step = stepping(optimizer, variables, "eager")
    step([*gradients[0][:3], None])
    step(gradients[1])
    with pytest.raises(StateError, match="were updated 1, 2 times; one number of steps is carried"):
        AdamState.of(optimizer)


@pytest.mark.parametrize("mode", ["eager", "function"])
def test_a_recording_holds_the_settings_and_can_be_compared(mode: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    start, gradients = stream(6, dtype=np.float32)
    variables = variables_of(start)
    optimizer = TorchStyleAdamW(lr=0.01, betas=(0.8, 0.95), eps=1e-3)
    step = stepping(optimizer, variables, mode)
    with adamcompat.record(optimizer, tmp_path / "run.safetensors"):
        for arrays in gradients:
            step(arrays)
    names = ["adamcompat.tensorflow.TorchStyleAdamW", "adamcompat.TorchStyleAdamW"]
    result = adamcompat.compare("recorded", *names, gradients=tmp_path / "run.safetensors")
    assert [(pair.agree, pair.first_step) for pair in result.pairs] == [(True, None)] * 3


def test_settings_of_groups_that_differ_are_not_recorded(tmp_path: Path) -> None:
    start, _ = stream(1, dtype=np.float32)
    variables = variables_of(start)
    name = "adamcompat.tensorflow.TorchStyleAdam"
    assert facts(TorchStyleAdam(in_groups(variables))) == (name, None)
    alike = [{"params": variables[:1], "lr": 0.5}, {"params": variables[1:], "lr": 0.5}]
    for optimizer in (TorchStyleAdam(alike), TorchStyleAdam(lr=0.5)):
        found = facts(optimizer)
        assert found[0] == name and found[1] is not None
        assert (found[1]["lr"], found[1]["betas"], found[1]["numerics"]) == (0.5, (0.9, 0.999), "canonical")


@pytest.mark.parametrize("mode", ["eager", "function", "jit"])
@pytest.mark.parametrize("kind", ["TorchStyleAdam", "TorchStyleAdamW"])
def test_it_is_driven_as_numpys_is(kind: str, mode: str) -> None:
    start, gradients = stream(8, dtype=np.float32)
    given = {"lr": lambda step: 0.1 / (step + 1), "beta_2": 0.9, "eps": 1e-3, "weight_decay": 0.01}
    found = []
    for name in (f"adamcompat.{kind}", f"adamcompat.tensorflow.{kind}:{mode}"):
        driver = open_driver(name, start, given, NAMES)
        for arrays in gradients:
            driver.step(arrays)
        found.append(driver.parameters())
    assert_close(found[1], found[0], exact=mode != "jit")
