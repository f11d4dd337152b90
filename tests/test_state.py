"""State: what is kept, in whose order, and how it is copied, saved and restored."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
from adamcompat.numpy.optimizer import NumPyAdam
from tests.inputs import EACH, IDS, NAMES, Case, Run, stream

pytestmark = pytest.mark.filterwarnings("ignore:'(lr|decay)' is a keyword:UserWarning")
Array = NDArray[Any]


def picklable(case: Case, style: str) -> bool:
    return not any(callable(value) for value in (getattr(case, style) or {}).values())


@pytest.mark.parametrize(("case", "style"), EACH, ids=IDS)
def test_a_deep_copy_goes_on_bit_for_bit(case: Case, style: str, executor: str) -> None:
    start, gradients = stream(12)
    run = Run(case, style, start)
    for step in gradients[:5]:
        run.step(step)
    twin = copy.deepcopy(run)
    for step in gradients[5:]:
        run.step(step)
    for step in gradients[5:]:
        twin.step(step)
    for one, other in zip(run.arrays, twin.arrays, strict=True):
        assert one is not other
        np.testing.assert_array_equal(one, other)


PICKLABLE = [(case, style) for case, style in EACH if picklable(case, style)]


@pytest.mark.parametrize(("case", "style"), PICKLABLE, ids=[f"{c.name}-{s}" for c, s in PICKLABLE])
def test_a_pickle_keeps_the_slots(case: Case, style: str, executor: str) -> None:
    """The original loses them."""
    start, gradients = stream(12)
    run = Run(case, style, start)
    for step in gradients[:5]:
        run.step(step)
    twin = pickle.loads(pickle.dumps(run))
    for step in gradients[5:]:
        run.step(step)
        twin.step(step)
    for one, other in zip(run.arrays, twin.arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_variables_come_in_keras_order() -> None:
    a, b = np.ones(2), np.ones((2, 3))
    optimizer = TFStyleAdam(0.1, amsgrad=True, use_ema=True, gradient_accumulation_steps=2)
    assert [array.shape for array in optimizer.variables] == [(), ()]
    optimizer.build([a, b])
    shapes = [(), (), (2,), (2, 3), (2,), (2, 3), (2,), (2,), (2, 3), (2, 3), (2,), (2, 3)]
    assert [array.shape for array in optimizer.variables] == shapes
    optimizer.apply_gradients([(np.ones(2), a), (np.ones((2, 3)), b)])
    assert optimizer.variables[0] == 1
    assert optimizer.iterations == 0
    assert len(TFStyleAdam(lambda: 0.1).variables) == 1


def test_parameters_dict_has_mindspores_names_order_and_types() -> None:
    weights = [Parameter(np.ones(2, np.float32), name=name) for name in NAMES[:2]]
    optimizer = MindSporeStyleAdam(weights, use_amsgrad=True, numerics="mindspore")
    optimizer((np.ones(2, np.float32),) * 2)
    kept = optimizer.parameters_dict()
    moments = [f"{kind}.{name}" for kind in ("moment1", "moment2", "vhat") for name in NAMES[:2]]
    assert list(kept) == ["global_step", "learning_rate", *NAMES[:2], "beta1_power", "beta2_power", *moments]
    assert (kept["global_step"].shape, kept["global_step"].dtype, kept["global_step"][0]) == ((1,), np.int32, 1)
    assert kept[NAMES[0]] is weights[0].data
    assert kept["beta1_power"] == np.float32(0.9)
    np.testing.assert_allclose(kept["moment1.dense.weight"], 0.1, rtol=1e-6)


@pytest.mark.parametrize("style", ["tf", "ms"])
def test_the_learning_rate_can_be_set(style: str, executor: str) -> None:
    weight = np.ones(3)
    optimizer: Any = TFStyleAdam(0.5) if style == "tf" else MindSporeStyleAdam([weight], 0.5)

    def step() -> None:
        if style == "tf":
            optimizer.apply_gradients([(np.ones(3), weight)])
        else:
            optimizer((np.ones(3),))

    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = 0.1
    step()
    np.testing.assert_allclose(weight, 0.9, atol=1e-6)
    live = optimizer.variables[1] if style == "tf" else optimizer.parameters_dict()["learning_rate"]
    live[...] = 0.2
    assert optimizer.learning_rate == 0.2
    step()
    np.testing.assert_allclose(weight, 0.7, atol=1e-5)
    optimizer.learning_rate = lambda step: 0.1 * step
    step()
    np.testing.assert_allclose(weight, 0.5, atol=1e-5)
    with pytest.raises(ValueError if style == "tf" else TypeError, match="learning_rate must be a number"):
        optimizer.learning_rate = "0.1"
    with pytest.raises(ValueError):
        optimizer.learning_rate = float("nan")


def test_hyperparameters_can_be_read_and_set_by_their_native_names(executor: str) -> None:
    weight = np.ones(3)
    optimizer = TFStyleAdam(0.1, weight_decay=0.0, amsgrad=True)
    optimizer.apply_gradients([(np.ones(3), weight)])
    before = weight.copy()
    optimizer.learning_rate = 0.0
    optimizer.weight_decay = 0.5
    optimizer.apply_gradients([(np.ones(3), weight)])
    np.testing.assert_array_equal(weight, before)
    optimizer.learning_rate, optimizer.beta_1 = 1e-9, 0.5
    optimizer.weight_decay = 5e8
    optimizer.apply_gradients([(np.zeros(3), weight)])
    np.testing.assert_allclose(weight, before / 2, rtol=1e-6)
    assert (optimizer.beta_1, optimizer.epsilon, optimizer.amsgrad) == (0.5, 1e-7, True)
    with pytest.raises(AttributeError, match="decides which state is kept"):
        optimizer.amsgrad = False


def test_betas_may_be_callables_that_change() -> None:
    beta = [0.9]
    weight = np.ones(3)
    optimizer = TFStyleAdam(0.1, beta_1=lambda: beta[0])
    optimizer.apply_gradients([(np.ones(3), weight)])
    np.testing.assert_allclose(optimizer.variables[2], 0.1)
    beta[0] = 0.0
    optimizer.apply_gradients([(np.full(3, 5.0), weight)])
    np.testing.assert_allclose(optimizer.variables[2], 5.0)


def test_config_makes_an_equal_optimizer() -> None:
    optimizer = TFStyleAdam(0.25, beta_1=0.8, clipnorm=1.0, name="mine", numerics="tf26")
    config = optimizer.get_config()
    assert (config["learning_rate"], config["clipnorm"], config["numerics"]) == (0.25, 1.0, "tf26")
    again = TFStyleAdam.from_config(config)
    assert again.get_config() == config
    optimizer.learning_rate = 0.5
    assert optimizer.get_config()["learning_rate"] == 0.5
    with pytest.warns(UserWarning, match="'decay' is a keyword"):
        old = TFStyleAdam(0.1, decay=0.5)
    with pytest.warns(UserWarning, match="'decay' is a keyword"):
        assert TFStyleAdam.from_config(old.get_config()).get_config() == old.get_config()


def test_state_is_saved_and_loaded_whole_or_not_at_all(executor: str) -> None:
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((10, 2, 4))
    first, second = [np.ones(4), np.ones(4)], [np.zeros(4), np.zeros(4)]
    one, other = TFStyleAdam(0.1, amsgrad=True), TFStyleAdam(0.3, amsgrad=True)
    for step in gradients[:5]:
        one.apply_gradients(zip(step, first, strict=True))
    store: dict[str, Array] = {}
    one.save_own_variables(store)
    other.build(second)
    other.load_own_variables(store)
    for weight, saved in zip(second, first, strict=True):
        weight[...] = saved
    for step in gradients[5:]:
        one.apply_gradients(zip(step, first, strict=True))
        other.apply_gradients(zip(step, second, strict=True))
    np.testing.assert_array_equal(first, second)
    before = [array.copy() for array in other.variables]
    bad = [*other.variables[:-1], np.ones(5)]
    with pytest.raises(ValueError, match=r"parameter_1_velocity_hat has shape \(4,\), but the given array has shape"):
        other.set_weights([array + 1 for array in bad])
    with pytest.raises(ValueError, match="needs 8 arrays, as in variables; got 1"):
        other.set_weights([np.ones(1)])
    with pytest.raises(ValueError, match="call build"):
        TFStyleAdam().set_weights([])
    for old, new in zip(before, other.variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("place", "value", "error", "text"),
    [
        (0, np.nan, ValueError, "iteration must be a whole number of at least 0, got nan"),
        (0, np.inf, ValueError, "iteration must be a whole number"),
        (0, -1, ValueError, "iteration must be a whole number"),
        (0, 1.5, ValueError, "iteration must be a whole number"),
        (0, 1e30, ValueError, "iteration must be a whole number"),
        (0, True, TypeError, "iteration must hold"),
        (0, "3", TypeError, "iteration must hold"),
        (1, np.nan, ValueError, "learning_rate must be finite"),
        (2, np.full(4, "x"), TypeError, "parameter_0_momentum must hold"),
        (2, np.full(4, 1j), TypeError, "parameter_0_momentum must hold"),
        (3, np.ones(4, "m8[s]"), TypeError, "parameter_0_velocity must hold"),
        (3, None, TypeError, "parameter_0_velocity is None"),
        (-1, np.ma.ones(4), TypeError, "masked"),
    ],
)
def test_weights_that_make_no_sense_change_nothing(
    place: int, value: Any, error: type[Exception], text: str, executor: str
) -> None:
    optimizer, weights = TFStyleAdam(0.1), [np.ones(4), np.ones(4)]
    optimizer.apply_gradients(zip([np.ones(4), np.ones(4)], weights, strict=True))
    before = [array.copy() for array in optimizer.variables]
    new: list[Any] = [array + 1 for array in before]
    new[place] = value
    with pytest.raises(error, match=text):
        optimizer.set_weights(new)
    with pytest.raises(error, match=text):
        optimizer.load_own_variables({str(i): array for i, array in enumerate(new)})
    with pytest.raises(ValueError, match="'1' is missing"):
        optimizer.load_own_variables({str(i): array for i, array in enumerate(before) if i != 1})
    for old, now in zip(before, optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, now)
    optimizer.set_weights([array + 1 for array in before])
    for old, now in zip(before, optimizer.variables, strict=True):
        np.testing.assert_array_equal(old + 1, now)


@pytest.mark.parametrize("numerics", ["tf1", "mindspore"])
def test_loading_keeps_running_products(numerics: str) -> None:
    """A copy of an optimizer with running products of the betas goes on with them."""
    weight = np.ones(3, np.float32)
    optimizer = MindSporeStyleAdam([weight], numerics=numerics)
    for _ in range(3):
        optimizer((np.ones(3, np.float32),))
    twin_weight, twin = copy.deepcopy((weight, optimizer))
    optimizer((np.ones(3, np.float32),))
    twin((np.ones(3, np.float32),))
    np.testing.assert_array_equal(weight, twin_weight)
    expected = np.float32(1)
    for _ in range(4):
        expected *= np.float32(0.9)
    assert twin.parameters_dict()["beta1_power"] == expected


def test_weight_decay_spares_what_it_is_told_to(executor: str) -> None:
    arrays = [np.ones(2) for _ in range(4)]
    names = ["dense/kernel", "dense/bias", "norm/scale", None]
    variables = [Parameter(array, name=name) for array, name in zip(arrays, names, strict=True)]
    optimizer = TFStyleAdam(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[variables[2]], var_names=["bias$"])
    optimizer.apply_gradients([(np.zeros(2), variable) for variable in variables])
    np.testing.assert_allclose([array[0] for array in arrays], [0.95, 1.0, 1.0, 0.95])
    with pytest.raises(ValueError, match="before the first step"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_the_average_is_put_in_place_at_the_end() -> None:
    weight = np.ones(2)
    optimizer = TFStyleAdam(0.1, use_ema=True, ema_momentum=0.5)
    seen = []
    for _ in range(3):
        optimizer.apply_gradients([(np.ones(2), weight)])
        seen.append(weight.copy())
    optimizer.finalize_variable_values([weight])
    np.testing.assert_allclose(weight, 0.5 * (0.5 * seen[0] + 0.5 * seen[1]) + 0.5 * seen[2])
    TFStyleAdam().finalize_variable_values([weight])


def test_groups_are_reported_per_parameter() -> None:
    a, b = np.ones(2), np.ones(2)
    grouped = MindSporeStyleAdam([{"params": [a], "lr": 0.5, "weight_decay": 0.25}, {"params": [b]}], 0.125)
    assert grouped.get_lr() == (0.5, 0.125)
    assert grouped.get_weight_decay() == (0.25, 0.0)
    assert MindSporeStyleAdam([a], 0.125, weight_decay=0.5).get_lr() == 0.125
    assert MindSporeStyleAdam([a], weight_decay=0.5).get_weight_decay() == 0.5
    assert [array is wanted for array, wanted in zip(grouped.parameters, (a, b), strict=True)] == [True, True]
    assert grouped.construct((np.ones(2), np.ones(2))) == (True, True)


def test_iterations_can_be_set() -> None:
    weight = np.ones(1)
    optimizer = TFStyleAdam(lambda step: float(step))
    optimizer.iterations = 7
    optimizer.apply_gradients([(np.zeros(1), weight)])
    assert optimizer.iterations == 8


@pytest.mark.parametrize("wrong", [-1, 2.5, float("nan"), float("inf"), "1", None, True, 10**30])
@pytest.mark.parametrize("accumulated", [None, 2])
def test_iterations_that_are_none_are_refused(accumulated: int | None, wrong: Any) -> None:
    optimizer = TFStyleAdam(gradient_accumulation_steps=accumulated)
    optimizer.iterations = 3
    with pytest.raises(ValueError, match="iterations must be a whole number of at least 0, got"):
        optimizer.iterations = wrong
    assert optimizer.iterations == 3


def test_scale_loss_is_the_other_half_of_the_loss_scale() -> None:
    assert TFStyleAdam(loss_scale_factor=8.0).scale_loss(3.0) == 24.0
    assert TFStyleAdam().scale_loss(3.0) == 3.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_state_has_the_dtype_of_the_parameter(dtype: type) -> None:
    weight: Array = np.ones(3, dtype)
    optimizer = TFStyleAdam(amsgrad=True, use_ema=True)
    optimizer.apply_gradients([(np.ones(3), weight)])
    assert {array.dtype for array in optimizer.variables[2:]} == {np.dtype(dtype)}


def test_parameters_are_updated_where_they_are() -> None:
    array = np.ones(3)
    parameter = Parameter(array, name="w")
    assert np.shares_memory(np.asarray(parameter), array)
    assert not np.shares_memory(np.array(parameter, copy=True), array)
    assert repr(parameter) == "Parameter(name='w', shape=(3,), dtype=float64)"
    TFStyleAdam(0.1).apply_gradients([(np.ones(3), parameter)])
    np.testing.assert_allclose(array, 0.9, atol=1e-6)
    with pytest.raises(TypeError, match="name must be text"):
        Parameter(array, name=3)  # type: ignore[arg-type]


def test_both_styles_share_one_base() -> None:
    assert issubclass(TFStyleAdam, NumPyAdam)
    assert issubclass(MindSporeStyleAdam, NumPyAdam)
