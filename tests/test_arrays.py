"""Parameters and gradients of every dtype and layout: updated right, or refused clearly."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, Parameter, RowSparse, TFStyleAdam
from tests.inputs import EACH, IDS, Case, Run, assert_same, by_norm, stream

Array = NDArray[Any]


def train(arrays: list[Array], gradients: list[list[Any]], **hyper: Any) -> None:
    optimizer = TFStyleAdam(0.1, **hyper)
    for step in gradients:
        optimizer.apply_gradients(zip(step, arrays, strict=True))


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran order": lambda a: np.asfortranarray(a),
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "unaligned": lambda a: (
        np.frombuffer(bytearray(b"x" + a.tobytes()), a.dtype, offset=1).reshape(a.shape) if a.size else a.copy()
    ),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(70, 300), (3, 5), (1, 1), (0, 4)])
def test_every_layout_gives_the_bits_of_the_plain_one(
    layout: str, shape: tuple[int, int], dtype: type, executor: str
) -> None:
    rng = np.random.default_rng(0)
    start: Array = rng.standard_normal(shape).astype(dtype)
    gradients: list[Array] = [rng.standard_normal(shape).astype(dtype) for _ in range(3)]
    plain, odd = start.copy(), LAYOUTS[layout](start.copy())
    np.testing.assert_array_equal(plain, odd)
    train([plain], [[g] for g in gradients], amsgrad=True, clipvalue=1.0)
    train([odd], [[LAYOUTS[layout](g)] for g in gradients], amsgrad=True, clipvalue=1.0)
    np.testing.assert_array_equal(plain, odd)
    assert not np.array_equal(plain, start) or not start.size


def strided(array: Array) -> Array:
    """The same values, no two of them next to each other."""
    return np.repeat(array[..., np.newaxis], 2, axis=-1)[..., 0]


@pytest.mark.parametrize(("case", "style"), EACH, ids=IDS)
@pytest.mark.filterwarnings("ignore:'(lr|decay)' is a keyword:UserWarning")
def test_strided_parameters_honour_every_option(case: Case, style: str, executor: str) -> None:
    start, gradients = stream(5)
    plain, odd = Run(case, style, start), Run(case, style, start, layout=strided)
    assert not odd.arrays[0].flags.c_contiguous
    for step in gradients:
        plain.step(step)
        odd.step([strided(gradient) for gradient in step])
    for one, other in zip(plain.arrays, odd.arrays, strict=True):
        assert_same(one, other, by_norm(case))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (1, 1, 1)])
def test_small_and_empty_shapes(shape: tuple[int, ...], executor: str) -> None:
    weight = np.ones(shape, np.float32)
    other = np.ones(3, np.float32)
    train([weight, other], [[np.ones(shape, np.float32), np.ones(3, np.float32)]] * 2)
    np.testing.assert_allclose(weight, 0.8, atol=1e-5)
    np.testing.assert_allclose(other, 0.8, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64, np.int32, ">f4", list])
def test_gradients_of_other_dtypes_are_converted(dtype: type, given: Any, executor: str) -> None:
    values = np.arange(-10_000.0, 10_000.0) % 97 - 40
    gradient: Any = values.tolist() if given is list else values.astype(given)
    one: Array = np.zeros(20_000, dtype)
    other: Array = np.zeros(20_000, dtype)
    train([one], [[gradient]] * 3)
    train([other], [[values.astype(dtype)]] * 3)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size", [100, 100_000])
def test_mixed_dtypes_in_one_step(size: int, executor: str) -> None:
    arrays: list[Array] = [np.zeros(size, dtype) for dtype in (np.float32, np.float64, np.float16, np.float32)]
    train(arrays, [[np.ones_like(a) for a in arrays]] * 2)
    for array in arrays:
        np.testing.assert_allclose(array.astype(float), -0.2, atol=1e-3)


@pytest.mark.parametrize("size", [5, 100_000])
def test_a_gradient_may_share_memory_with_parameters_and_state(size: int, executor: str) -> None:
    rng = np.random.default_rng(1)
    same = rng.standard_normal(size)
    plain = same.copy()
    train([plain], [[plain.copy()]])
    train([same], [[same]])
    np.testing.assert_array_equal(same, plain)
    # A gradient may lie ahead of what is written, or behind it.
    for weight_at, gradient_at in ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))):
        for options in ({}, {"clipvalue": 0.5}, {"use_ema": True}):
            memory = rng.standard_normal(size + 1)
            weight, gradient = memory[weight_at], memory[gradient_at]
            plain = weight.copy()
            train([plain], [[gradient.copy()]], **options)
            train([weight], [[gradient]], **options)
            np.testing.assert_array_equal(weight, plain)

    a, b = np.ones(size), np.ones(size)
    one, other = MindSporeStyleAdam([a], 0.1), MindSporeStyleAdam([b], 0.1)
    for _ in range(2):
        one((one.parameters_dict()["moment1.parameter_0"],))
        other((other.parameters_dict()["moment1.parameter_0"].copy(),))
    np.testing.assert_array_equal(a, b)


def readonly() -> Array:
    array = np.zeros(3)
    array.flags.writeable = False
    return array


def masked() -> Array:
    array: Array = np.ma.masked_array(np.zeros(3))  # type: ignore[no-untyped-call]
    return array


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([1.0, 2.0], TypeError, "must be a NumPy array, which is updated in place; got list"),
    "a number": (1.0, TypeError, "use numpy.array(value)"),
    "a NumPy scalar": (np.float32(1), TypeError, "got float32: use numpy.array(value)"),
    "None": (None, TypeError, "got NoneType"),
    "integers": (np.zeros(3, int), TypeError, "has dtype int64; expected float16, float32 or float64"),
    "complex": (np.zeros(3, complex), TypeError, "has dtype complex128"),
    "text": (np.array(["a"]), TypeError, "has dtype <U1"),
    "objects": (np.array([None]), TypeError, "has dtype object"),
    "long double": (np.zeros(3, np.longdouble), TypeError, "expected float16, float32 or float64"),
    "other byte order": (np.zeros(3, ">f4"), TypeError, "another byte order"),
    "masked": (masked(), TypeError, "masked array; pass its .data"),
    "read-only": (readonly(), ValueError, "is read-only and cannot be updated in place"),
    "broadcast": (np.lib.stride_tricks.as_strided(np.zeros(3), (3, 3), (0, 8)), ValueError, "share memory"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_updated_is_refused(what: str) -> None:
    value, error, message = REFUSED[what]
    good = np.ones(3)
    with pytest.raises(error, match=re.escape(message)):
        MindSporeStyleAdam([good, value])
    optimizer = TFStyleAdam()
    with pytest.raises(error, match=re.escape(message)):
        optimizer.apply_gradients([(np.ones(3), good), (np.ones(3), value)])
    assert not optimizer.built
    np.testing.assert_array_equal(good, np.ones(3))
    if isinstance(value, np.ndarray):
        with pytest.raises(error, match=re.escape(message)):
            Parameter(value, name="w")


BAD_GRADIENTS: dict[str, tuple[Any, type[Exception], str]] = {
    "too long": (np.ones(4), ValueError, "has shape (4,), but the parameter has shape (3,)"),
    "would broadcast": (np.ones(1), ValueError, "has shape (1,)"),
    "a number": (1.0, ValueError, "has shape ()"),
    "complex": (np.ones(3, complex), TypeError, "must hold float16, float32 or float64"),
    "flags": (np.ones(3, bool), TypeError, "got dtype bool"),
    "text": ("gradient", TypeError, "got dtype <U8"),
    "objects": (np.array([1, None, 2]), TypeError, "got dtype object"),
    "masked": (masked(), TypeError, "masked array"),
    "rows of a vector's shape": (RowSparse([0], np.ones((1, 2))), ValueError, "has rows of shape (2,)"),
    "a row too far": (RowSparse([3], [1.0]), ValueError, "names row 3, but rows run from 0 to 2"),
    "a row before": (RowSparse([-1], [1.0]), ValueError, "names row -1"),
}


@pytest.mark.parametrize("what", BAD_GRADIENTS)
@pytest.mark.parametrize("style", ["tf", "ms"])
def test_a_bad_gradient_changes_nothing(what: str, style: str, executor: str) -> None:
    gradient, error, message = BAD_GRADIENTS[what]
    arrays = [np.ones(3), np.ones(3)]
    if style == "tf":
        tf = TFStyleAdam(amsgrad=True, use_ema=True, gradient_accumulation_steps=2)
        step: Any = lambda gs: tf.apply_gradients(zip(gs, arrays, strict=True))  # noqa: E731
        state: Any = lambda: tf.variables  # noqa: E731
    else:
        ms = MindSporeStyleAdam(arrays, numerics="mindspore")
        step = lambda gs: ms(tuple(gs))  # noqa: E731
        state = lambda: list(ms.parameters_dict().values())  # noqa: E731
    for _ in range(3):
        step([np.ones(3), np.ones(3)])
    before = [array.copy() for array in [*arrays, *state()]]
    with pytest.raises(error, match=re.escape(message)):
        step([np.ones(3), gradient])
    for old, new in zip(before, [*arrays, *state()], strict=True):
        np.testing.assert_array_equal(old, new)
    step([np.ones(3), np.ones(3)])
    assert not np.array_equal(before[-1], state()[-1])


@pytest.mark.parametrize("style", ["tf", "ms"])
def test_parameters_that_share_memory_are_refused(style: str) -> None:
    memory = np.ones((4, 4))

    def make(*arrays: Array) -> None:
        if style == "tf":
            TFStyleAdam().apply_gradients([(np.ones_like(a), a) for a in arrays])
        else:
            MindSporeStyleAdam(list(arrays))((*(np.ones_like(a) for a in arrays),))

    with pytest.raises(ValueError, match="same array; pass each parameter once"):
        make(memory, memory)
    with pytest.raises(ValueError, match="share memory, so one update would disturb the other"):
        make(memory[:3], memory[2:])
    np.testing.assert_array_equal(memory, np.ones((4, 4)))
    make(memory[:, :2], memory[:, 2:])
    np.testing.assert_allclose(memory, 0.999)


def test_a_view_made_anew_is_the_same_parameter() -> None:
    memory = np.ones(6)
    optimizer = TFStyleAdam(0.1)
    for _ in range(2):
        optimizer.apply_gradients([(np.ones(3), memory[:3]), (np.ones(3), memory[3:])])
    assert optimizer.iterations == 2
    np.testing.assert_allclose(memory, 0.8, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"amsgrad": True, "weight_decay": 0.1, "clipvalue": 1.0, "use_ema": True}])
def test_workers_may_hold_the_state_of_a_slice_each(options: dict[str, Any], executor: str) -> None:
    rng = np.random.default_rng(0)
    whole = rng.standard_normal(1003).astype(np.float32)
    memory = whole.copy()
    gradients = [rng.standard_normal(whole.size).astype(np.float32) for _ in range(5)]
    train([whole], [[gradient] for gradient in gradients], **options)
    cut = [np.array_split(gradient, 7) for gradient in gradients]
    for worker, mine in enumerate(np.array_split(memory, 7)):
        train([mine], [[parts[worker]] for parts in cut], **options)
    np.testing.assert_array_equal(memory, whole)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), lazy=st.booleans())
def test_rows_add_up_and_other_rows_are_zero(data: st.DataObject, lazy: bool, executor: str) -> None:
    shape = data.draw(st.sampled_from([(6, 4), (5,), (3, 2, 2), (40, 1000), (2, 20_000)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    dense, sparse = np.ones(shape), np.ones(shape)
    one, other = MindSporeStyleAdam([dense], 0.1), MindSporeStyleAdam([sparse], 0.1, use_lazy=lazy)
    touched: set[int] = set()
    for _ in range(3):
        indices = data.draw(st.lists(st.integers(0, shape[0] - 1), min_size=0, max_size=6))
        values = rng.standard_normal((len(indices), *shape[1:]))
        full = np.zeros(shape)
        np.add.at(full, indices, values)
        before = sparse.copy()
        kept = {name: array.copy() for name, array in other.parameters_dict().items() if "moment" in name}
        one((full,))
        other((RowSparse(indices, values),))
        if not lazy:
            np.testing.assert_array_equal(dense, sparse)
            continue
        touched |= set(indices)
        rest = np.setdiff1d(np.arange(shape[0]), indices)
        np.testing.assert_array_equal(sparse[rest], before[rest])
        for name, old in kept.items():
            np.testing.assert_array_equal(other.parameters_dict()[name][rest], old[rest])
        if indices:
            assert not np.array_equal(sparse[indices], before[indices])
    if not touched and lazy:
        np.testing.assert_array_equal(sparse, np.ones(shape))


def test_lazy_rows_move_as_dense_ones_in_the_first_step(executor: str) -> None:
    dense, sparse = np.ones((5, 3)), np.ones((5, 3))
    values = np.arange(6.0).reshape(2, 3) - 2
    full = np.zeros((5, 3))
    full[[1, 4]] = values
    MindSporeStyleAdam([dense], weight_decay=0.1, loss_scale=2.0)((full,))
    MindSporeStyleAdam([sparse], weight_decay=0.1, loss_scale=2.0, use_lazy=True)((RowSparse([1, 4], values),))
    np.testing.assert_array_equal(sparse[[1, 4]], dense[[1, 4]])
    np.testing.assert_array_equal(sparse[[0, 2, 3]], np.ones((3, 3)))


def test_repeated_rows_are_what_keras_gets_wrong() -> None:
    """indices [0, 0], values [1, 2]: v must hold (1 + 2)^2, not 1^2 + 2^2."""
    weight = np.ones((1, 1))
    optimizer = TFStyleAdam(0.1, epsilon=0.0)
    for _ in range(1):
        optimizer.apply_gradients([(RowSparse([0, 0], [[1.0], [2.0]]), weight)])
    np.testing.assert_allclose(optimizer.variables[-1], 0.001 * 9)
    np.testing.assert_allclose(weight, 0.9)


@pytest.mark.parametrize("options", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"gradient_accumulation_steps": 2},
                                     {"use_ema": True}, {"weight_decay": 0.1, "loss_scale_factor": 4.0}])  # fmt: skip
def test_row_sparse_gradients_honour_the_options(options: dict[str, Any], executor: str) -> None:
    rng = np.random.default_rng(3)
    dense, sparse = np.ones((6, 4)), np.ones((6, 4))
    one, other = TFStyleAdam(0.1, **options), TFStyleAdam(0.1, **options)
    for _ in range(4):
        gradient = RowSparse(rng.integers(0, 6, 3), rng.standard_normal((3, 4)))
        one.apply_gradients([(gradient.dense((6, 4)), dense)])
        other.apply_gradients([(gradient, sparse)])
    np.testing.assert_allclose(sparse, dense, rtol=1e-14)


@pytest.mark.parametrize(("indices", "values", "error"), [
    ([0.5], [[1.0]], TypeError), ([[0]], [[1.0]], ValueError), ([0, 1], [[1.0]], ValueError),
    ([0], 1.0, ValueError), ([0], [[1j]], TypeError)])  # fmt: skip
def test_what_is_no_row_sparse_gradient(indices: Any, values: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="RowSparse"):
        RowSparse(indices, values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.0}], ids=str)
def test_nan_and_infinity_stay_where_they_are(value: float, options: dict[str, Any], executor: str) -> None:
    """As in the frameworks, a NaN in a gradient spoils its element and no other, without a warning."""
    weight, gradient = np.ones(50_000, np.float32), np.ones(50_000, np.float32)
    gradient[7] = value
    with np.errstate(all="raise"):
        train([weight], [[gradient]] * 2, **options)
    assert np.isnan(weight[7])
    np.testing.assert_allclose(np.delete(weight, 7), 0.8, atol=1e-5)


def test_clipping_by_value_does_not_hide_nan(executor: str) -> None:
    weight = np.ones(3)
    train([weight], [[np.array([np.nan, np.inf, 1.0])]], clipvalue=0.5)
    np.testing.assert_allclose(weight, [np.nan, 0.9, 0.9], atol=1e-6)


def test_overflow_in_a_cast_does_not_stop_a_step_halfway(executor: str) -> None:
    weight, other = np.ones(3, np.float16), np.ones(3, np.float32)
    with np.errstate(all="raise"):
        train([weight, other], [[np.full(3, 1e300), np.full(3, 1e300)]])
    assert np.isnan(weight).all()
    assert np.isnan(other).all()
    rows = np.ones((2, 3), np.float32)
    with np.errstate(all="raise"):
        train([rows], [[RowSparse([1], np.full((1, 3), 1e300))]])
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[0], 1)


def test_a_global_norm_that_is_not_finite_shows() -> None:
    weight, other = np.ones(3), np.ones(3)
    train([weight, other], [[np.full(3, np.inf), np.ones(3)]], global_clipnorm=1.0)
    assert np.isnan(weight).all()
    assert np.isnan(other).all()


@pytest.mark.parametrize("numerics", ["canonical", "mindspore", "tf1"])
def test_a_users_strict_floating_point_stops_no_step(numerics: str, executor: str) -> None:
    """0.5**t underflows float32 after some 150 steps, and 1e300 is beyond it."""
    single, double = np.ones(3, np.float32), np.ones(3)
    with np.errstate(all="raise"):
        optimizer = MindSporeStyleAdam([single, double], 1e-3, beta1=0.5, numerics=numerics)
        for _ in range(200):
            optimizer((np.ones(3, np.float32), np.ones(3)))
        for weight in (single, double):
            np.testing.assert_allclose(weight, 0.8, rtol=1e-5)
        optimizer.learning_rate = 1e300
        optimizer((np.ones(3, np.float32), np.ones(3)))
    assert np.isinf(single).all()
