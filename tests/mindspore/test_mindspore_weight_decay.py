"""What nn.AdamWeightDecay has of its own: it fails where ours works, and is odd where ours is."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, Tensor, nn  # noqa: E402
from mindspore.common.sparse_tensor import RowTensorInner  # noqa: E402

import adamcompat  # noqa: E402
from adamcompat import MindSporeStyleAdamWeightDecay, RowSparse  # noqa: E402
from adamcompat import TFStyleAdamW as NumPyTFStyleAdamW  # noqa: E402
from adamcompat.mindspore import AdamWeightDecay, TFStyleAdamW  # noqa: E402
from tests.mindspore.mindspore_bits import HAS_FMA, assert_same  # noqa: E402

pytestmark = pytest.mark.frameworks

STOCK = nn.AdamWeightDecay
GIVEN: dict[str, Any] = {"learning_rate": 0.02, "weight_decay": 0.1, "eps": 1e-3}


def weight(values: Any, dtype: Any = ms.float32, name: str = "weight") -> Any:
    return Parameter(Tensor(np.asarray(values), dtype), name=name)


def steps(shapes: list[tuple[int, ...]], count: int = 10) -> list[list[NDArray[Any]]]:
    rng = np.random.default_rng(3)
    return [[np.asarray(rng.standard_normal(shape)) for shape in shapes] for _ in range(count)]


SHAPES: list[tuple[int, ...]] = [(3, 5), (17,), ()]


def mixed(kind: Any, dtype: Any, **more: Any) -> list[NDArray[Any]]:
    """Parameters of a dtype, one of float32 between them, after some steps with groups."""
    dtypes = [dtype, ms.float32, dtype]
    starts = [np.linspace(-1, 1, int(np.prod(shape))).reshape(shape) for shape in SHAPES]
    parameters = [weight(start, own, f"p{i}") for i, (start, own) in enumerate(zip(starts, dtypes, strict=True))]
    groups = [{"params": parameters[:2], "weight_decay": 0.3}, {"params": parameters[2:], "lr": 0.1}]
    optimizer = kind(groups, 0.02, weight_decay=0.0, eps=1e-3, **more)
    for step in steps(SHAPES):
        assert optimizer(tuple(Tensor(g, own) for g, own in zip(step, dtypes, strict=True))) == (True,) * 3
    kept = optimizer.parameters_dict()
    assert kept["adam_m.p0"].dtype == dtype
    return [kept[name].astype(ms.float64).asnumpy() for name in kept]


def both_modes(kind: Any, dtype: Any, **more: Any) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    found = []
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        try:
            found.append(mixed(kind, dtype, **more))
        finally:
            ms.set_context(mode=ms.PYNATIVE_MODE)
    return found[0], found[1]


@pytest.mark.parametrize(("dtype", "more"), [("bfloat16", {}), ("float64", {"corrections": True})])
def test_dtypes_that_the_operator_does_not_have(dtype: str, more: dict[str, Any]) -> None:
    """They are updated by the same formula in both modes, and by the operator in other Parameters of the list."""
    kind = getattr(ms, dtype)
    pynative, graph = both_modes(AdamWeightDecay, kind, **more)
    for ours, theirs in zip(pynative, graph, strict=True):
        assert_same(ours, theirs)
    exact, _ = both_modes(STOCK, ms.float32)
    for ours, theirs in zip(pynative, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=3e-2 if dtype == "bfloat16" else 1e-5)
    if dtype == "bfloat16":
        with pytest.raises(TypeError):
            mixed(STOCK, kind)


class Falling(nn.Cell):  # type: ignore[misc]
    """A decay that is an array of one, as the step is."""

    def construct(self, step: Any) -> Any:
        return 0.3 / (step + 1.0)


@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_a_changing_decay_of_bfloat16(shape: tuple[int, ...], mode: str) -> None:
    found = []
    for dtype, kind in ((ms.bfloat16, AdamWeightDecay), (ms.float32, STOCK)):
        parameter = weight(np.ones(shape), dtype)
        optimizer = kind([parameter], 0.1, weight_decay=Falling(), eps=1e-3)
        for _ in range(2):
            optimizer((Tensor(np.ones(shape), dtype),))
        found.append(parameter.astype(ms.float32).asnumpy())
    ours, theirs = found
    assert ours.shape == shape
    np.testing.assert_allclose(ours, theirs, atol=1e-2)


def test_float64_keeps_the_precision_of_the_original(mode: str) -> None:
    """That of float32, and it is said."""
    with pytest.warns(UserWarning, match="parameters of float64 and their moments are updated"):
        ours = mixed(AdamWeightDecay, ms.float64)
    for own, theirs in zip(ours, mixed(STOCK, ms.float64), strict=True):
        assert_same(own, theirs)


def test_parameters_of_integers_are_refused(mode: str) -> None:
    for kind, text in ((STOCK, "."), (AdamWeightDecay, "'weight' is Int32, but only .* can be updated; leave it out")):
        optimizer = kind([weight([1, 2], ms.int32)])
        with pytest.raises(TypeError, match=text):
            optimizer((Tensor([1, 2], ms.int32),))


def test_rows_are_added_up(mode: str) -> None:
    """The operator knows no rows."""
    content = np.arange(1, 17, dtype=np.float32).reshape(4, 4)
    found = np.linspace(-1, 1, 24, dtype=np.float32).reshape(6, 4)
    table = weight(found.copy())
    optimizer, reference = AdamWeightDecay([table], **GIVEN), MindSporeStyleAdamWeightDecay([found], **GIVEN)

    def step(rows: Any, values: Any) -> Any:
        return optimizer((RowTensorInner(rows, values, (6, 4)),))

    run = ms.jit(step) if mode == "graph" else step
    for rows in ([0, 2, 2, 5], [1, 1, 1, 4]):
        run(Tensor(rows, ms.int32), Tensor(content))
        reference((RowSparse(rows, content),))
    np.testing.assert_allclose(table.asnumpy(), found, atol=1e-5)


@pytest.mark.parametrize("value", [True, False])
def test_a_key_of_groups_that_does_nothing(value: bool, mode: str) -> None:
    found = []
    for kind in (STOCK, AdamWeightDecay):
        parameter = weight(np.linspace(-1, 1, 64).reshape(4, 16))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer = kind([{"params": [parameter], "grad_centralization": value}], **GIVEN)
            kind([{"params": [weight([1.0])], "grad_centralization": value}], **GIVEN)
        optimizer((Tensor(np.arange(64.0).reshape(4, 16), ms.float32),))
        found.append(parameter.asnumpy())
    assert_same(*found)
    said = [str(warning.message) for warning in caught if "'grad_centralization'" in str(warning.message)]
    assert len(said) == value, "once a process"
    for text in said:
        assert "accepts the key 'grad_centralization' of a group and ignores it without a word" in text
    with pytest.raises(TypeError):
        AdamWeightDecay([{"params": [weight([1.0])], "grad_centralization": 1}])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_names_that_decay_skips(dtype: str, mode: str) -> None:
    """Without groups; in groups all decay."""
    kind = getattr(ms, dtype)
    for grouped in (False, True):
        parameters = [weight([1.0], kind, name) for name in ("dense", "bn.gamma", "bn.beta")]
        given = [{"params": parameters}] if grouped else parameters
        AdamWeightDecay(given, 0.1, weight_decay=0.5)((Tensor([0.0], kind),) * 3)
        decayed = [bool(parameter.astype(ms.float32).asnumpy()[0] < 1) for parameter in parameters]
        assert decayed == [True, grouped, grouped]


def test_a_gradient_is_rounded_to_the_dtype_of_its_parameter_first(mode: str) -> None:
    """As by nn.AdamWeightDecay, where it has an operator."""
    found = []
    gradient = Tensor(np.linspace(-1, 1, 259), ms.float32)
    for given in (gradient, gradient.astype(ms.bfloat16)):
        optimizer = AdamWeightDecay([weight(np.ones(259), ms.bfloat16)], 0.1)
        optimizer((given,))
        found.append(optimizer.moments1[0].astype(ms.float32).asnumpy())
    assert_same(*found)


def test_what_another_device_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from the CPU a PYNATIVE call is the original's own construct; its results are the same."""
    here = mixed(AdamWeightDecay, ms.bfloat16)
    monkeypatch.setattr("adamcompat.mindspore.pynative.PyNativeStep.ready", lambda step: False)
    for ours, theirs in zip(mixed(AdamWeightDecay, ms.bfloat16), here, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("form", ["ckpt", "safetensors"])
@pytest.mark.parametrize("writer", [STOCK, AdamWeightDecay], ids=["from the original", "from ours"])
def test_checkpoints_load_in_the_other(form: str, writer: Any, mode: str, tmp_path: Any) -> None:
    reader = STOCK if writer is AdamWeightDecay else AdamWeightDecay
    made = steps([(9,)], 6)
    first, second = writer([weight(np.ones(9))], **GIVEN), reader([weight(np.zeros(9))], **GIVEN)
    for (gradient,) in made[:3]:
        first((Tensor(gradient, ms.float32),))
    ms.save_checkpoint(first, str(tmp_path / f"x.{form}"), format=form)
    loaded = ms.load_checkpoint(str(tmp_path / f"x.{form}"), format=form)
    assert ms.load_param_into_net(second, loaded) == ([], [])
    for (gradient,) in made[3:]:
        first((Tensor(gradient, ms.float32),))
        second((Tensor(gradient, ms.float32),))
    theirs = second.parameters_dict()
    for name, value in first.parameters_dict().items():
        assert_same(value.asnumpy(), theirs[name].asnumpy(), name)


def test_training_goes_on_after_a_load() -> None:
    found = {}
    for kind in (AdamWeightDecay, STOCK):
        parameter = weight([1.0])
        optimizer = kind([parameter], 0.1)
        optimizer((Tensor([1.0], ms.float32),))
        parameter.set_data(Tensor([5.0], ms.float32))
        optimizer((Tensor([1.0], ms.float32),))
        found[kind] = float(parameter.asnumpy()[0])
    assert found[STOCK] == 5.0, "MindSpore has mended this; docs/originals.md says otherwise"
    assert found[AdamWeightDecay] < 4.7


@pytest.mark.parametrize("numerics", ["canonical", "keras3", "mindspore", "mindspore_adamweightdecay"])
def test_the_call_of_tensorflow(numerics: str, mode: str) -> None:
    """keras.optimizers.AdamW's, with the bits of NumPy's in both modes."""
    shapes: list[tuple[int, ...]] = [(3, 5), (7,), (13, 31), ()]
    arrays = [step.astype(np.float32) for step in steps(shapes, 1)[0]]
    parameters = [weight(array.copy(), name=f"w{i}") for i, array in enumerate(arrays)]
    ours, numpy = TFStyleAdamW(0.01, numerics=numerics), NumPyTFStyleAdamW(0.01, numerics=numerics)
    assert ours.get_config()["weight_decay"] == numpy.weight_decay == 0.004
    ours.exclude_from_weight_decay(var_list=[parameters[1]])
    numpy.exclude_from_weight_decay(var_list=[arrays[1]])
    ours.build(parameters)
    numpy.build(arrays)
    for step in steps(shapes, 30):
        gradients = [gradient.astype(np.float32) for gradient in step]
        ours.apply_gradients(zip(map(Tensor, gradients), parameters, strict=True))
        numpy.apply_gradients(zip(gradients, arrays, strict=True))
    for parameter, array in zip(parameters, arrays, strict=True):
        if HAS_FMA or numerics in ("canonical", "keras3"):
            np.testing.assert_array_equal(parameter.asnumpy(), array)
        else:
            np.testing.assert_allclose(parameter.asnumpy(), array, atol=1e-6)


def test_the_drop_in_says_what_it_is() -> None:
    optimizer = AdamWeightDecay([weight([1.0])])
    assert isinstance(optimizer, STOCK)
    assert isinstance(optimizer.moments1[0], Parameter)
    with pytest.raises(TypeError, match="unexpected keyword argument 'use_nesterov'"):
        AdamWeightDecay([weight([1.0])], use_nesterov=True)  # type: ignore[call-arg]
    assert list(optimizer.parameters_dict()) == list(STOCK([weight([1.0])]).parameters_dict())
    with adamcompat.installed():
        assert issubclass(nn.AdamWeightDecay, AdamWeightDecay)
