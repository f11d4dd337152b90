"""TensorFlow's call on MindSpore's Parameters, against NumPy's TFStyleAdam and MindSpore's own classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn, ops  # noqa: E402

import adamcompat  # noqa: E402
from adamcompat.mapping.runtimes import RUNTIMES  # noqa: E402
from adamcompat.mapping.tables import MAPPING  # noqa: E402
from adamcompat.mindspore import Adam, TFStyleAdam  # noqa: E402
from tests.inputs import CASES, NAMES, Case, Run, assert_close, stream  # noqa: E402
from tests.mindspore.mindspore_bits import HAS_FMA  # noqa: E402

pytestmark = pytest.mark.frameworks

# Compiled functions call the engine; where they cannot, they hold the formulas.
MODES = ("pynative", "jit", "formulas", "graph")
# A Cell in GRAPH mode compiles what a function under mindspore.jit does.
DIFFERENT = MODES[:3]
STEPS = 100
_BASE = RUNTIMES["mindspore"].base(MAPPING.dialects["keras3"])
assert _BASE is not None
NUMERICS = [name for name, entry in MAPPING.numerics.items() if not _BASE.lacking(entry)]
_CALLS = [case for case in CASES if case.tf is not None]


def constant() -> float:
    return 0.01


def parameters_of(start: list[Any], dtype: Any = None) -> list[Any]:
    return [Parameter(Tensor(array, dtype), name=name) for array, name in zip(start, NAMES, strict=False)]


def compiled(optimizer: Any, parameters: list[Any], mode: str) -> Callable[[Any], Any]:
    """A function that makes one step, as users of each mode write it."""
    if mode == "pynative":
        return lambda gradients: optimizer.apply_gradients(zip(gradients, parameters, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        if mode == "formulas":
            patch.setenv("MS_CUSTOM_AOT_WHITE_LIST", str(Path(__file__).parent))
        optimizer.build(parameters)
    if mode in ("jit", "formulas"):

        @ms.jit  # type: ignore[untyped-decorator]
        def step(*gradients: Any) -> Any:
            return optimizer.apply_gradients(zip(gradients, parameters))  # noqa: B905

        # A tuple of Tensors would be a constant, and every step compiled anew.
        return lambda gradients: step(*gradients)

    class Step(nn.Cell):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(auto_prefix=False)
            self.optimizer = optimizer

        def construct(self, *gradients: Any) -> Any:
            return self.optimizer(gradients)

    cell = Step()

    def in_graph_mode(gradients: Any) -> Any:
        ms.set_context(mode=ms.GRAPH_MODE)
        try:
            return cell(*gradients)
        finally:
            ms.set_context(mode=ms.PYNATIVE_MODE)

    return in_graph_mode


def after(
    case: Case, mode: str, start: list[Any], gradients: list[list[Any]], numerics: str = "canonical"
) -> list[Any]:
    parameters = parameters_of(start)
    assert case.tf is not None
    # MindSpore cannot read a lambda among other things on its line.
    options = {**case.tf, **({"learning_rate": constant} if case.name == "callable of nothing" else {})}
    run = compiled(TFStyleAdam(**options, numerics=numerics), parameters, mode)
    for arrays in gradients:
        run(tuple(Tensor(array) for array in arrays))
    return [parameter.asnumpy() for parameter in parameters]


@pytest.mark.filterwarnings("ignore:.*honoured here.*:UserWarning")
@pytest.mark.parametrize("mode", DIFFERENT)
@pytest.mark.parametrize("case", _CALLS, ids=lambda case: case.name)
def test_every_option_agrees_with_numpy_for_100_steps(case: Case, mode: str) -> None:
    start, gradients = stream(STEPS, dtype=np.float32)
    theirs = Run(case, "tf", start)
    for arrays in gradients:
        theirs.step(arrays)
    # MindSpore computes callables in Tensors, with a rounding of their own.
    given = case.tf.get("learning_rate") if case.tf else None
    assert_close(after(case, mode, start, gradients), theirs.arrays, exact=mode != "formulas" and not callable(given))


def test_numerics_that_run_on_numpy_alone_are_refused() -> None:
    with pytest.raises(ValueError, match=r"adamcompat\.mindspore\.TFStyleAdam does not round like that \(multiply_add"):
        TFStyleAdam(numerics="torch")


@pytest.mark.parametrize("mode", DIFFERENT)
@pytest.mark.parametrize("numerics", NUMERICS)
def test_every_numerics_repeats_numpy(numerics: str, mode: str) -> None:
    case = next(case for case in CASES if case.name == "tensorflow together")
    case = Case(case.name, tf={**(case.tf or {}), "learning_rate": 0.01})
    start, gradients = stream(STEPS, dtype=np.float32)
    theirs = Run(case, "tf", start, numerics)
    for arrays in gradients:
        theirs.step(arrays)
    assert_close(after(case, mode, start, gradients, numerics), theirs.arrays, exact=mode != "formulas")


@pytest.mark.parametrize("mode", DIFFERENT)
@pytest.mark.parametrize("name", ["default", "learning_rate", "betas", "epsilon", "amsgrad", "loss scale"])
def test_with_numerics_of_mindspore_both_styles_give_the_same_bits(name: str, mode: str) -> None:
    case = next(case for case in CASES if case.name == name)
    rng = np.random.default_rng(0)
    # More elements than one thread of MindSpore's operator takes, where the engine makes the steps.
    shapes: list[tuple[int, ...]] = [(3, 5), (7,), (131, 33) if mode != "formulas" else (31, 3)]
    start = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    gradients = [[rng.standard_normal(shape).astype(np.float32) for shape in shapes] for _ in range(STEPS)]
    parameters = parameters_of(start)
    assert case.ms is not None
    theirs = Adam(parameters, **case.ms)
    for arrays in gradients:
        theirs(tuple(map(Tensor, arrays)))
    ours = after(case, mode, start, gradients, "mindspore")
    assert_close(ours, [parameter.asnumpy() for parameter in parameters], exact=HAS_FMA)


@pytest.mark.parametrize("mode", DIFFERENT)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_agree_with_numpy(dtype: str, mode: str) -> None:
    case = next(case for case in CASES if case.name == "tensorflow together")
    case = Case(case.name, tf={**(case.tf or {}), "learning_rate": 0.01})
    start, gradients = stream(STEPS, dtype=np.float64)
    kind = getattr(ms, dtype)
    parameters = parameters_of(start, kind)
    assert case.tf is not None
    optimizer = TFStyleAdam(**case.tf)
    run = compiled(optimizer, parameters, mode)
    own = np.float32 if dtype == "bfloat16" else np.dtype(dtype)
    theirs = Run(case, "tf", [array.astype(own) for array in start])
    for arrays in gradients:
        run(tuple(Tensor(array, kind) for array in arrays))
        theirs.step([Tensor(array, kind).astype(ms.float64).asnumpy().astype(own) for array in arrays])
    for parameter, other in zip(parameters, theirs.arrays, strict=True):
        found = parameter.astype(ms.float64).asnumpy()
        bound = 2 * np.spacing(np.abs(other).max()) if dtype != "bfloat16" else 0.05 * np.abs(other).max()
        assert np.abs(found - other).max() <= bound


@pytest.mark.parametrize("mode", MODES)
def test_decoupled_decay_of_the_known_case(mode: str) -> None:
    parameters = parameters_of([np.ones(1)])
    run = compiled(TFStyleAdam(learning_rate=1e-3, weight_decay=0.01), parameters, mode)
    for _ in range(100):
        run((Tensor(np.full(1, 0.1)),))
    assert parameters[0].asnumpy()[0] == pytest.approx(0.899050, abs=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_epsilon_is_epsilon_hat(mode: str) -> None:
    parameters = parameters_of([np.zeros(1)])
    compiled(TFStyleAdam(learning_rate=1.0, epsilon=1e-5), parameters, mode)((Tensor(np.full(1, 1e-5)),))
    assert parameters[0].asnumpy()[0] == pytest.approx(-0.0307, abs=1e-4)


def test_weight_decay_spares_what_is_excluded() -> None:
    for mode in MODES:
        parameters = parameters_of([np.ones(3, np.float32)] * 4)
        optimizer = TFStyleAdam(weight_decay=0.5, learning_rate=0.1)
        optimizer.exclude_from_weight_decay([parameters[0]], ["gamma$"])
        run = compiled(optimizer, parameters, mode)
        run(tuple(Tensor(np.zeros(3, np.float32)) for _ in parameters))
        assert [float(parameter.asnumpy()[0]) for parameter in parameters] == pytest.approx([1.0, 1.0, 0.95, 0.95])


class Warm(nn.learning_rate_schedule.LearningRateSchedule):  # type: ignore[misc]
    def construct(self, step: Any) -> Any:
        return 0.01 * (step + 1.0) / (step + 10.0)


def test_a_schedule_of_mindspore_is_nn_adams_in_every_mode() -> None:
    start, gradients = stream(20, dtype=np.float32)
    theirs = parameters_of(start)
    stock = nn.Adam(theirs, Warm(), eps=1e-7)
    for arrays in gradients:
        stock(tuple(map(Tensor, arrays)))
    for mode in MODES:
        case = Case("warm", tf={"learning_rate": Warm()})
        ours = after(case, mode, start, gradients, "mindspore")
        assert_close(ours, [parameter.asnumpy() for parameter in theirs], exact=mode == "pynative" and HAS_FMA)


def _network(seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)

    def dense(one: int, other: int) -> Any:
        weight = Tensor(rng.standard_normal((other, one)).astype(np.float32) / 2)
        return nn.Dense(one, other, weight_init=weight, bias_init="zeros")

    return nn.SequentialCell(dense(4, 8), nn.Tanh(), dense(8, 1))


_DATA = np.random.default_rng(5).standard_normal((32, 4)).astype(np.float32)
_LABELS = _DATA.sum(1, keepdims=True)


def _trained(mode: str, steps: int = 30) -> tuple[list[Any], list[float]]:
    """A training loop as users write it: Keras's optimizer, MindSpore's gradients."""
    network, loss_of = _network(), nn.MSELoss()
    parameters = network.trainable_params()
    optimizer = TFStyleAdam(learning_rate=0.02, weight_decay=1e-3, clipnorm=1.0)
    optimizer.build(parameters)

    def forward(x: Any, y: Any) -> Any:
        return loss_of(network(x), y)

    gradient_of = ms.value_and_grad(forward, None, optimizer.trainable_parameters)

    def step(x: Any, y: Any) -> Any:
        loss, gradients = gradient_of(x, y)
        optimizer.apply_gradients(zip(gradients, parameters))  # noqa: B905
        return loss

    run = step if mode == "pynative" else ms.jit(step)
    losses = [float(run(Tensor(_DATA), Tensor(_LABELS))) for _ in range(steps)]
    return [parameter.asnumpy() for parameter in parameters], losses


def test_training_loops_lower_the_loss_and_agree() -> None:
    (eager, losses), (jitted, same) = _trained("pynative"), _trained("jit")
    assert losses[-1] < losses[0] / 5
    np.testing.assert_allclose(losses, same, rtol=1e-3)
    for one, other in zip(eager, jitted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_train_step_cell_in_graph_mode() -> None:
    class TrainStep(nn.Cell):  # type: ignore[misc]
        def __init__(self, network: Any, optimizer: Any) -> None:
            super().__init__()
            self.network, self.optimizer, self.loss = network, optimizer, nn.MSELoss()
            self.weights = optimizer.trainable_parameters
            self.gradient = ops.value_and_grad(self.forward, None, self.weights)

        def forward(self, x: Any, y: Any) -> Any:
            return self.loss(self.network(x), y)

        def construct(self, x: Any, y: Any) -> Any:
            loss, gradients = self.gradient(x, y)
            return ops.depend(loss, self.optimizer(gradients))

    network = _network()
    optimizer = TFStyleAdam(learning_rate=0.02)
    optimizer.build(network.trainable_params())
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        cell = TrainStep(network, optimizer)
        losses = [float(cell(Tensor(_DATA), Tensor(_LABELS))) for _ in range(30)]
        optimizer.apply_gradients([(ops.zeros_like(p), p) for p in network.trainable_params()])
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)
    assert losses[-1] < losses[0] / 5
    assert optimizer.iterations == 31


def test_modes_may_take_turns() -> None:
    start, gradients = stream(30, dtype=np.float32)
    case = next(case for case in CASES if case.name == "ema overwrites")
    parameters = parameters_of(start)
    assert case.tf is not None
    optimizer = TFStyleAdam(**case.tf)
    steps = [compiled(optimizer, parameters, mode) for mode in MODES]
    theirs = Run(case, "tf", start)
    for i, arrays in enumerate(gradients):
        steps[i // 2 % 3](tuple(map(Tensor, arrays)))
        theirs.step(arrays)
    assert_close([parameter.asnumpy() for parameter in parameters], theirs.arrays)
    assert optimizer.iterations == 30


@pytest.mark.parametrize("mode", MODES)
def test_checkpoints_of_mindspore_go_on_bit_for_bit(mode: str, tmp_path: Path) -> None:
    start, gradients = stream(20, dtype=np.float32)
    options: dict[str, Any] = {
        "learning_rate": 0.01, "amsgrad": True, "use_ema": True, "gradient_accumulation_steps": 3,
        "numerics": "mindspore",
    }  # fmt: skip
    first = parameters_of(start)
    optimizer = TFStyleAdam(**options)
    run = compiled(optimizer, first, mode)
    for arrays in gradients[:10]:
        run(tuple(map(Tensor, arrays)))
    for name, saved in (("weights", first), ("optimizer", optimizer)):
        given = [{"name": p.name, "data": p} for p in saved] if name == "weights" else saved
        ms.save_checkpoint(given, str(tmp_path / f"{name}.ckpt"))
    second = parameters_of([np.zeros_like(array) for array in start])
    restored = TFStyleAdam(**options)
    restored.build(second)
    loaded = ms.load_checkpoint(str(tmp_path / "weights.ckpt"))
    for parameter in second:
        parameter.set_data(loaded[parameter.name])
    missing = ms.load_param_into_net(restored, ms.load_checkpoint(str(tmp_path / "optimizer.ckpt")))
    assert missing == ([], [])
    again = compiled(restored, second, mode)
    for arrays in gradients[10:]:
        run(tuple(map(Tensor, arrays)))
        again(tuple(map(Tensor, arrays)))
    assert_close([p.asnumpy() for p in second], [p.asnumpy() for p in first], exact=True)
    assert restored.iterations == optimizer.iterations == 6
    names = [parameter.name for parameter in optimizer.variables]
    assert names[:2] == ["iteration", "learning_rate"]
    assert {"dense.weight_momentum", "scale_velocity_hat", "norm.gamma_average"} < set(names)


def test_training_goes_on_after_loading_in_pynative() -> None:
    parameter = Parameter(Tensor(np.zeros(3, np.float32)), name="w")
    optimizer = TFStyleAdam(learning_rate=0.1)
    gradient = Tensor(np.ones(3, np.float32))
    optimizer.apply_gradients([(gradient, parameter)])
    parameter.set_data(Tensor(np.full(3, 5.0, np.float32)))
    for _ in range(2):
        optimizer.apply_gradients([(gradient, parameter)])
    np.testing.assert_allclose(parameter.asnumpy(), 4.8, rtol=1e-5)


def test_learning_rate_and_iterations_can_be_set_in_every_mode() -> None:
    for mode in MODES:
        parameters = parameters_of([np.ones(3, np.float32)])
        optimizer = TFStyleAdam(beta_1=0.0, beta_2=0.5)
        run = compiled(optimizer, parameters, mode)
        gradient = (Tensor(np.ones(3, np.float32)),)
        run(gradient)
        optimizer.learning_rate = 0.5
        run(gradient)
        np.testing.assert_allclose(parameters[0].asnumpy(), 0.499, rtol=1e-5)
        assert float(optimizer.learning_rate) == 0.5
        optimizer.iterations = 7
        assert run(gradient) is not None
        assert optimizer.iterations == 8


def test_some_gradients_may_be_missing() -> None:
    parameters = parameters_of([np.ones(3, np.float32)] * 2)
    optimizer = TFStyleAdam(learning_rate=0.1)
    with pytest.warns(UserWarning, match=r"do not exist for variables \['norm.gamma'\]"):
        optimizer.apply_gradients([(Tensor(np.ones(3, np.float32)), parameters[0]), (None, parameters[1])])
    assert [float(parameter.asnumpy()[0]) for parameter in parameters] == pytest.approx([0.9, 1.0])


def test_variables_can_be_overwritten_by_their_averages() -> None:
    parameter = _one()
    optimizer = TFStyleAdam(learning_rate=0.5, use_ema=True, ema_momentum=0.9)
    for _ in range(3):
        optimizer.apply_gradients([(_G, parameter)])
    average = next(item for item in optimizer.variables if item.name == "w_average").asnumpy().copy()
    assert (average > parameter.asnumpy()).all()
    optimizer.finalize_variable_values([parameter])
    np.testing.assert_array_equal(parameter.asnumpy(), average)


def test_rows_add_up() -> None:
    start = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    parameter, array = Parameter(Tensor(start), name="table"), start.copy()
    ours, theirs = TFStyleAdam(learning_rate=0.1), adamcompat.TFStyleAdam(learning_rate=0.1)
    rows, values = np.array([1, 4, 1], np.int32), np.arange(9, dtype=np.float32).reshape(3, 3)
    for _ in range(5):
        # What compiled functions return for the gradient of an embedding with sparse=True.
        ours.apply_gradients([((Tensor(rows), Tensor(values), (6, 3)), parameter)])
        theirs.apply_gradients([(adamcompat.RowSparse(rows, values), array)])
    np.testing.assert_array_equal(parameter.asnumpy(), array)


def test_old_names_are_honoured_with_a_warning() -> None:
    parameters = parameters_of([np.ones(1, np.float32)])
    with pytest.warns(UserWarning, match="'lr' is a keyword of TensorFlow 2.6"):
        optimizer = TFStyleAdam(lr=0.5)
    compiled(optimizer, parameters, "jit")((Tensor(np.ones(1, np.float32)),))
    assert parameters[0].asnumpy()[0] == pytest.approx(0.5, abs=1e-5)


def _one() -> Any:
    return Parameter(Tensor(np.ones(2, np.float32)), name="w")


_W = _one()
_G = Tensor(np.ones(2, np.float32))


def _step(gradient: Any, **options: Any) -> Any:
    return TFStyleAdam(**options).apply_gradients([(gradient, _W)])


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: TFStyleAdam(beta1=0.9),
            ValueError,
            "'beta1' is TensorFlow 1's, MindSpore's and Paddle's name; here it is 'beta_1'",
        ),
        (lambda: TFStyleAdam(use_nesterov=True), ValueError, "no counterpart"),
        (lambda: TFStyleAdam(foo=1), ValueError, "has no parameter 'foo'"),
        (lambda: TFStyleAdam(beta_1=1.0), ValueError, r"beta_1 must lie in \[0, 1\)"),
        (lambda: TFStyleAdam(clipnorm=1.0, clipvalue=1.0), ValueError, "exclude each other"),
        (lambda: TFStyleAdam(numerics="jax"), ValueError, "numerics must be one of"),
        (lambda: TFStyleAdam(learning_rate="x"), ValueError, "learning_rate must be a number"),
        (lambda: TFStyleAdam(learning_rate=None), ValueError, "learning_rate must be a number"),
        (lambda: TFStyleAdam().apply_gradients([]), ValueError, "list of pairs is empty"),
        (lambda: TFStyleAdam().apply([_G]), ValueError, "needs the variables"),
        (lambda: _step(None), ValueError, "all of them are None"),
        (lambda: _step(np.ones(2)), ValueError, r"must be a Tensor, got ndarray: wrap it in Tensor"),
        (lambda: _step(Tensor(np.ones(3, np.float32))), ValueError, r"has shape \(3,\)"),
        (lambda: _step(Tensor(np.ones(2, np.complex64))), ValueError, "must hold real numbers, got Complex64"),
        (lambda: _step(_G, learning_rate=[]), ValueError, "empty list"),
        (lambda: _step(_G, learning_rate=lambda step: "x"), ValueError, "must be a number"),
        (lambda: TFStyleAdam().apply_gradients([(_G, _G)]), ValueError, "must be a mindspore.Parameter, got Tensor"),
        (lambda: TFStyleAdam().apply_gradients([(_G, _W), (_G, _W)]), ValueError, "given twice"),
        (lambda: TFStyleAdam().build([Parameter(Tensor([1, 2]), name="i")]), ValueError, "'i' is Int64"),
    ],
)  # fmt: skip
def test_mistakes_are_named_and_change_nothing(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        make()
    assert type(caught.value) is error
    np.testing.assert_array_equal(_W.asnumpy(), 1.0)


def test_an_unknown_variable_is_named() -> None:
    optimizer, other = TFStyleAdam(), Parameter(Tensor(np.ones(2, np.float32)), name="other")
    optimizer.build([_one()])
    with pytest.raises(ValueError, match="Unknown variable: other"):
        optimizer.apply_gradients([(_G, other)])
    np.testing.assert_array_equal(other.asnumpy(), 1.0)


def test_a_failed_first_step_does_not_decide_on_variables() -> None:
    optimizer, parameter = TFStyleAdam(learning_rate=0.1), _one()
    with pytest.raises(ValueError, match="has shape"):
        optimizer.apply_gradients([(Tensor(np.ones(3, np.float32)), parameter)])
    assert not optimizer.built
    assert len(optimizer.parameters_dict()) == 2
    optimizer.apply_gradients([(_G, parameter)])
    np.testing.assert_allclose(parameter.asnumpy(), 0.9, rtol=1e-5)


def test_a_list_that_is_too_short_changes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    parameter = _one()
    optimizer = TFStyleAdam(learning_rate=[0.1])
    optimizer.apply_gradients([(_G, parameter)])
    before = [item.asnumpy().copy() for item in (parameter, *optimizer.variables)]
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        try:
            with pytest.raises(RuntimeError, match="list of 1 values"):
                optimizer.apply_gradients([(_G, parameter)])
        finally:
            ms.set_context(mode=ms.PYNATIVE_MODE)
    for item, old in zip((parameter, *optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(item.asnumpy(), old)
    with pytest.raises(RuntimeError, match="adamcompat_call"):
        compiled(optimizer, [parameter], "jit")((_G,))
    assert "list of 1 values" in capfd.readouterr().err
    for item, old in zip((parameter, *optimizer.variables), before, strict=True):
        np.testing.assert_array_equal(item.asnumpy(), old)


def test_in_a_graph_mistakes_are_named_too() -> None:
    one, other = _one(), Parameter(Tensor(np.ones(3, np.float32)), name="other")
    optimizer = TFStyleAdam()

    @ms.jit  # type: ignore[untyped-decorator]
    def step(a: Any, b: Any) -> Any:
        return optimizer.apply_gradients([(a, one), (b, other)])

    with pytest.raises(ValueError, match="call build"):
        step(_G, Tensor(np.ones(3, np.float32)))
    optimizer.build([other, one])
    with pytest.raises(ValueError, match="in the order of build"):
        step(_G, Tensor(np.ones(3, np.float32)))

    @ms.jit  # type: ignore[untyped-decorator]
    def short(a: Any) -> Any:
        return optimizer.apply_gradients([(a, one)])

    @ms.jit  # type: ignore[untyped-decorator]
    def many(a: Any) -> Any:
        return optimizer.apply((a, a, a))

    for wrong in (short, many):
        with pytest.raises(ValueError, match="one gradient for each Parameter"):
            wrong(_G)
    np.testing.assert_array_equal(one.asnumpy(), 1.0)


def test_what_graphs_have_compiled_cannot_change() -> None:
    optimizer = TFStyleAdam()
    with pytest.raises(AttributeError, match=r"'epsilon' is part of compiled graphs"):
        optimizer.epsilon = 0.1
    with pytest.raises(AttributeError, match=r"'beta1' is .*here it is 'beta_1'"):
        optimizer.beta1 = 0.1
    with pytest.raises(TypeError, match="make a new optimizer"):
        optimizer.learning_rate = lambda step: 0.1
    assert (optimizer.epsilon, optimizer.amsgrad) == (1e-7, False)


def test_the_configuration_makes_the_same_optimizer() -> None:
    config = TFStyleAdam(0.02, clipnorm=1.0, numerics="tf26").get_config()
    assert TFStyleAdam.from_config(config).get_config() == config
    assert (config["learning_rate"], config["clipnorm"], config["numerics"]) == (0.02, 1.0, "tf26")


def test_loaded_state_of_another_shape_is_refused() -> None:
    parameter = _one()
    optimizer = TFStyleAdam()
    optimizer.apply_gradients([(_G, parameter)])
    parameter.set_data(Tensor(np.ones(3, np.float32)), slice_shape=True)
    with pytest.raises(ValueError, match=r"'w' now has shape \(3,\)"):
        optimizer.apply_gradients([(Tensor(np.ones(3, np.float32)), parameter)])


def test_graphs_of_many_parameters_compile() -> None:
    """MindSpore's compiler nests the turns of a loop, and allows 1,000 calls within calls."""
    parameters = [Parameter(Tensor(np.ones(2, np.float32)), name=f"p{i}") for i in range(70)]
    optimizer = TFStyleAdam(0.1)
    step = compiled(optimizer, parameters, "jit")
    ms.set_recursion_limit(350)
    try:
        step([Tensor(np.ones(2, np.float32))] * len(parameters))
    finally:
        ms.set_recursion_limit(1000)
    assert all(np.allclose(parameter.asnumpy(), 0.9) for parameter in parameters)
