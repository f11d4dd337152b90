"""Mistakes raise what the original raises, with a text that says what to do."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from adamcompat import MindSporeStyleAdam, Parameter, TFStyleAdam
from adamcompat.mapping.tables import MAPPING

NAN = float("nan")

TF_MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"beta1": 0.9}, ValueError, "'beta1' is TensorFlow 1's, MindSpore's and Paddle's name; here it is 'beta_1'"),
    ({"eps": 1e-8}, ValueError, "'eps' is MindSpore's, PyTorch's and Optax's name; here it is 'epsilon'"),
    ({"use_amsgrad": True}, ValueError, "'use_amsgrad' is MindSpore's name; here it is 'amsgrad'"),
    ({"use_nesterov": True}, ValueError, "'use_nesterov' is MindSpore's name; TFStyleAdam has no counterpart"),
    ({"loss_scale": 2.0}, ValueError, "here it is 'loss_scale_factor'"),
    ({"epsilom": 1e-8}, ValueError, "did you mean 'epsilon'?"),
    ({"foo": 1}, ValueError, "TFStyleAdam has no parameter 'foo'; known: learning_rate, beta_1"),
    ({"beta_1": 1.0}, ValueError, "beta_1 must lie in [0, 1), got 1.0"),
    ({"beta_2": -0.1}, ValueError, "beta_2 must lie in [0, 1)"),
    ({"beta_1": NAN}, ValueError, "beta_1 must lie in [0, 1), got nan"),
    ({"beta_1": "0.9"}, ValueError, "beta_1 must be a number, got '0.9' (str)"),
    ({"beta_1": None}, ValueError, "beta_1 must be a number, got None"),
    ({"beta_1": True}, ValueError, "beta_1 must be a number, got True (bool)"),
    ({"epsilon": -1e-8}, ValueError, "epsilon must lie in [0, inf)"),
    ({"learning_rate": NAN}, ValueError, "learning_rate must lie in the finite numbers, got nan"),
    ({"learning_rate": "0.1"}, ValueError, "learning_rate must be a number, a list of numbers, or a callable"),
    ({"learning_rate": None}, ValueError, "got None (NoneType)"),
    ({"learning_rate": []}, ValueError, "learning_rate is an empty list"),
    ({"learning_rate": [0.1, NAN]}, ValueError, "learning_rate[1] must lie in"),
    ({"learning_rate": np.ones((2, 2))}, ValueError, "learning_rate[0] must be a number"),
    ({"amsgrad": 1}, ValueError, "amsgrad must be True or False, got 1 (int)"),
    ({"weight_decay": -0.1}, ValueError, "weight_decay must lie in [0, inf)"),
    ({"clipnorm": 0.0}, ValueError, "clipnorm must lie in (0, inf)"),
    ({"clipnorm": 1.0, "clipvalue": 1.0}, ValueError, "'clipnorm' and 'clipvalue' exclude each other"),
    ({"clipnorm": 1.0, "global_clipnorm": 1.0}, ValueError, "exclude each other"),
    ({"ema_momentum": 1.5}, ValueError, "ema_momentum must lie in [0, 1]"),
    ({"ema_overwrite_frequency": 0}, ValueError, "ema_overwrite_frequency must lie in [1, inf)"),
    ({"ema_overwrite_frequency": 1.5}, ValueError, "must be a whole number, got 1.5"),
    ({"gradient_accumulation_steps": 1}, ValueError, "must lie in [2, inf)"),
    ({"loss_scale_factor": 0}, ValueError, "loss_scale_factor must lie in (0, inf)"),
    ({"name": 3}, ValueError, "name must be text"),
    ({"decay": -1.0}, ValueError, "decay must lie in [0, inf)"),
    ({"numerics": "exact"}, ValueError, f"numerics must be one of {', '.join(MAPPING.numerics)}; got 'exact'"),
]

MS_MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"beta_1": 0.9}, KeyError, "'beta_1' is Keras 3's and TensorFlow 2.6's name; here it is 'beta1'"),
    ({"epsilon": 1e-8}, KeyError, "here it is 'eps'"),
    ({"clipnorm": 1.0}, KeyError, "MindSporeStyleAdam has no counterpart"),
    ({"use_lasy": True}, KeyError, "did you mean 'use_lazy'?"),
    ({"beta1": 1.0}, ValueError, "beta1 must lie in (0, 1), got 1.0"),
    ({"beta1": 0.0}, ValueError, "beta1 must lie in (0, 1)"),
    ({"beta1": 1}, TypeError, "beta1 must be a float, got 1 (int)"),
    ({"beta2": NAN}, ValueError, "beta2 must lie in (0, 1), got nan"),
    ({"eps": 0.0}, ValueError, "eps must lie in (0, inf), got 0.0"),
    ({"eps": 1}, TypeError, "eps must be a float"),
    ({"learning_rate": -0.1}, ValueError, "learning_rate must lie in [0, inf), got -0.1"),
    ({"learning_rate": "0.1"}, TypeError, "learning_rate must be a number"),
    ({"learning_rate": [0.1, -0.1]}, ValueError, "learning_rate[1] must lie in [0, inf)"),
    ({"weight_decay": -0.1}, ValueError, "weight_decay must lie in [0, inf)"),
    ({"weight_decay": "0.1"}, TypeError, "weight_decay must be a number or a callable"),
    ({"weight_decay": [0.1]}, TypeError, "weight_decay must be a number or a callable"),
    ({"loss_scale": 0.0}, ValueError, "loss_scale must lie in (0, inf)"),
    ({"use_nesterov": 1}, TypeError, "use_nesterov must be True or False"),
    ({"use_lazy": True, "use_offload": True}, ValueError, "'use_lazy' and 'use_offload' exclude each other"),
    ({"use_amsgrad": True, "use_lazy": True}, ValueError, "exclude each other"),
    ({"use_amsgrad": True, "use_offload": True}, ValueError, "exclude each other"),
    ({"use_amsgrad": True, "use_nesterov": True}, ValueError, "mindspore.nn.Adam would ignore one of them"),
]

PARAMETER_MISTAKES: list[tuple[Any, type[Exception], str]] = [
    (None, ValueError, "params must not be empty"),
    ([], ValueError, "params must not be empty"),
    (iter([]), ValueError, "params must not be empty"),
    (np.ones(3), TypeError, "params must be a list of arrays, or of groups; got ndarray"),
    (3, TypeError, "got int"),
    ([{"params": [np.ones(3)]}, np.ones(3)], TypeError, "mixes groups (dictionaries) and parameters"),
    ([{"params": [np.ones(3)], "beta1": 0.9}], KeyError, "group 0 has the key 'beta1'; known keys: grad_central"),
    ([{"lr": 0.1}], KeyError, "group 0 has no 'params'"),
    ([{"params": []}], ValueError, "params must not be empty"),
    ([{"params": [np.ones(3)], "lr": -1.0}], ValueError, "lr must lie in [0, inf)"),
    ([{"params": [np.ones(3)], "grad_centralization": 1}], TypeError, "grad_centralization must be True or False"),
    ([{"params": [np.ones(3)], "order_params": []}], ValueError, "'order_params' must be alone in its group"),
    ([{"params": [np.ones(3)]}, {"order_params": [np.ones(3), np.ones(3)]}], ValueError, "list each once"),
    ([{"params": [np.ones(3)]}, {"order_params": [np.ones(3)]}], ValueError, "parameter 0 of the order is in no group"),
    ([Parameter(np.ones(3), "w"), Parameter(np.ones(3), "w")], ValueError, "two parameters are named 'w'"),
]


def texts(mistakes: list[tuple[Any, type[Exception], str]]) -> list[str]:
    return [text for _, _, text in mistakes]


def raises(error: type[Exception], text: str) -> Any:
    # str(KeyError) is the repr of its text, which may escape quotes.
    return pytest.raises(error, match=re.escape(text))


@pytest.mark.parametrize(("given", "error", "text"), TF_MISTAKES, ids=texts(TF_MISTAKES))
def test_tensorflow_style(given: dict[str, Any], error: type[Exception], text: str) -> None:
    with raises(error, text) as caught:
        TFStyleAdam(**given)
    assert type(caught.value) is error


@pytest.mark.parametrize(("given", "error", "text"), MS_MISTAKES, ids=texts(MS_MISTAKES))
def test_mindspore_style(given: dict[str, Any], error: type[Exception], text: str) -> None:
    with raises(error, text) as caught:
        MindSporeStyleAdam([np.ones(3)], **given)
    assert type(caught.value) is error


@pytest.mark.parametrize(("params", "error", "text"), PARAMETER_MISTAKES, ids=texts(PARAMETER_MISTAKES))
def test_parameters_of_mindspore_style(params: Any, error: type[Exception], text: str) -> None:
    with raises(error, text):
        MindSporeStyleAdam(params)


def test_old_keywords_are_honoured_with_a_warning_at_the_callers_line() -> None:
    for keyword, title in (("lr", "TensorFlow 2.6"), ("decay", "TensorFlow 2.6")):
        with pytest.warns(UserWarning, match=f"'{keyword}' is a keyword of {title}, honoured here") as caught:
            TFStyleAdam(**{keyword: 0.5})
        assert caught[0].filename == __file__


def test_calls_with_the_wrong_gradients() -> None:
    weight = np.ones(3)
    tf = TFStyleAdam()
    with raises(ValueError, "No gradients provided for any variable"):
        tf.apply_gradients([])
    with raises(ValueError, "No gradients provided for any variable: all of them are None"):
        tf.apply_gradients([(None, weight)])
    with raises(ValueError, "takes pairs (gradient, variable)"):
        tf.apply_gradients([weight])
    with raises(ValueError, "pass them, or call build(variables) first"):
        tf.apply([np.ones(3)])
    assert not tf.built
    tf.apply_gradients([(np.ones(3), weight)])
    with raises(ValueError, "got 2 gradients for 1 variables"):
        tf.apply([np.ones(3), np.ones(3)])
    with raises(ValueError, "Unknown variable: number 0 of shape (2,)"):
        tf.apply_gradients([(np.ones(2), np.ones(2))])
    with raises(ValueError, "is given twice"):
        tf.apply_gradients([(np.ones(3), weight), (np.ones(3), weight)])
    ms = MindSporeStyleAdam([weight])
    with raises(TypeError, "gradients must be a tuple with one array for each parameter, got ndarray"):
        ms(np.ones(3))
    with raises(ValueError, "got 2 gradients for 1 parameters"):
        ms((np.ones(3), np.ones(3)))
    with raises(TypeError, "the gradient of parameter_0 is None"):
        ms((None,))
    assert int(ms.global_step[0]) == 0
    assert tf.iterations == 1


def test_a_missing_gradient_leaves_its_variable_with_a_warning() -> None:
    a, b = np.ones(3), np.ones(3)
    optimizer = TFStyleAdam(0.1)
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['parameter_0'\]") as caught:
        optimizer.apply_gradients([(None, a), (np.ones(3), b)])
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(a, np.ones(3))
    np.testing.assert_allclose(b, 0.9, atol=1e-6)


def test_a_failed_first_step_does_not_decide_the_variables() -> None:
    optimizer = TFStyleAdam()
    with raises(ValueError, "has shape (2,)"):
        optimizer.apply_gradients([(np.ones(2), np.ones(3))])
    assert not optimizer.built
    optimizer.apply_gradients([(np.ones(2), np.ones(2))])
    assert optimizer.iterations == 1


def test_a_list_that_is_too_short_is_an_error_every_time() -> None:
    weight = np.ones(3)
    for optimizer in (MindSporeStyleAdam([weight], [0.1, 0.1]), TFStyleAdam([0.1, 0.1])):
        for attempt in range(5):
            before = weight.copy()
            gradients = [np.ones(3)]
            try:
                if isinstance(optimizer, TFStyleAdam):
                    optimizer.apply_gradients([(gradients[0], weight)])
                else:
                    optimizer(tuple(gradients))
            except RuntimeError as error:
                assert attempt >= 2
                assert "is a list of 2 values, but this is step 3" in str(error)
                np.testing.assert_array_equal(weight, before)
            else:
                assert attempt < 2
                assert not np.array_equal(weight, before)


# What looks like a number to NumPy and is none.
NO_NUMBERS: dict[str, Any] = {
    "text in an array": np.array("0.1"),
    "bytes in an array": np.array(b"0.1"),
    "a truth value": np.True_,
    "a truth value in an array": np.array(True),
    "complex": 0.1 + 0j,
    "NumPy's complex": np.complex64(0.1),
    "complex in an array": np.array(0.1 + 0j),
    "a span of time": np.timedelta64(1, "s"),
    "a span of time in an array": np.array(1, "m8[s]"),
    "a date": np.datetime64("2020-01-01"),
    "a set": {0.1},
    "a frozen set": frozenset([0.1]),
    "a dictionary": {0.1: 0.1},
    "an array with text": np.array(["0.1"]),
    "an array with truth values": np.array([True, False]),
    "a list with a truth value": [0.1, np.True_],
    "a list with text": [0.1, "0.1"],
}


@pytest.mark.parametrize("style", ["tf", "ms"])
@pytest.mark.parametrize("what", NO_NUMBERS)
def test_a_learning_rate_that_is_no_number_is_refused(what: str, style: str) -> None:
    bad, weight = NO_NUMBERS[what], np.ones(3)
    refused = ValueError if style == "tf" else TypeError
    with pytest.raises(refused, match="learning_rate"):
        TFStyleAdam(bad) if style == "tf" else MindSporeStyleAdam([weight], bad)
    optimizer: Any = TFStyleAdam(lambda: bad) if style == "tf" else MindSporeStyleAdam([weight], lambda: bad)
    with pytest.raises(refused, match="learning_rate"):
        optimizer.apply_gradients([(np.ones(3), weight)]) if style == "tf" else optimizer((np.ones(3),))
    optimizer = TFStyleAdam() if style == "tf" else MindSporeStyleAdam([weight])
    with pytest.raises(refused, match="learning_rate"):
        optimizer.learning_rate = bad
    np.testing.assert_array_equal(weight, np.ones(3))


@pytest.mark.parametrize("style", ["tf", "ms"])
@pytest.mark.parametrize("name", ["epsilon", "weight_decay", "loss_scale", "clipnorm"])
@pytest.mark.parametrize("what", [what for what in NO_NUMBERS if "list" not in what])
def test_another_number_that_is_none_is_refused(what: str, name: str, style: str) -> None:
    names = {"tf": {"loss_scale": "loss_scale_factor"}, "ms": {"epsilon": "eps"}}[style]
    if style == "ms" and name == "clipnorm":
        pytest.skip("TensorFlow's")
    given, weight = {names.get(name, name): NO_NUMBERS[what]}, np.ones(3)
    with pytest.raises(ValueError if style == "tf" else TypeError, match=names.get(name, name)):
        TFStyleAdam(**given) if style == "tf" else MindSporeStyleAdam([weight], **given)


def test_numbers_of_other_kinds_are_taken() -> None:
    for rate in (np.float16(0.5), np.array(0.5), np.array([0.5]), Fraction(1, 2), Decimal("0.5"), 1, np.int8(1)):
        weight = np.ones(3)
        TFStyleAdam(lambda: rate).apply_gradients([(np.ones(3), weight)])  # noqa: B023
        np.testing.assert_allclose(weight, 1 - float(np.asarray(rate, np.float64).reshape(())), atol=1e-5)


@pytest.mark.parametrize("bad", [NAN, "text", None, [1, 2]])
def test_a_schedule_that_returns_nonsense_changes_nothing(bad: Any) -> None:
    weight = np.ones(3)
    optimizer = TFStyleAdam(lambda step: 0.1 if step == 0 else bad)
    optimizer.apply_gradients([(np.ones(3), weight)])
    before = [weight.copy(), *(array.copy() for array in optimizer.variables)]
    with pytest.raises((ValueError, TypeError), match=r"learning_rate\(1\)"):
        optimizer.apply_gradients([(np.ones(3), weight)])
    for old, new in zip(before, [weight, *optimizer.variables], strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_attribute_of_another_dialect_is_not_set_in_vain() -> None:
    """On the original, `opt.lr = 0.1` makes a dead attribute."""
    optimizer = TFStyleAdam()
    with raises(
        AttributeError, "cannot set 'lr': 'lr' is TensorFlow 2.6's and PyTorch's name; here it is 'learning_rate'"
    ):
        optimizer.lr = 0.1
    with raises(AttributeError, "'beta1' is TensorFlow 1's, MindSpore's and Paddle's name; here it is 'beta_1'"):
        _ = optimizer.beta1
    with raises(AttributeError, "has no attribute 'nothing'"):
        _ = optimizer.nothing
    with raises(ValueError, "beta_1 must lie in [0, 1)"):
        optimizer.beta_1 = 2.0
    assert optimizer.beta_1 == 0.9


def test_the_wrong_executor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", "cuda")
    with raises(ValueError, "ADAMCOMPAT_EXECUTOR must be numpy or numba, got 'cuda'"):
        MindSporeStyleAdam([np.ones(3)])((np.ones(3),))


def test_the_wrong_number_of_threads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.setenv("ADAMCOMPAT_NUM_THREADS", "many")
    weight = np.ones(3)
    with raises(ValueError, "ADAMCOMPAT_NUM_THREADS must be a whole number of at least 1, got 'many'"):
        MindSporeStyleAdam([weight])((np.ones(3),))
    np.testing.assert_array_equal(weight, np.ones(3))
