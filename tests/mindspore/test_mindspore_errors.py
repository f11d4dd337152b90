"""Mistakes raise what the original raises, with a text that says what to do; nothing is half-applied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

ms = pytest.importorskip("mindspore", reason="MindSpore is not installed")

from mindspore import Parameter, ParameterTuple, Tensor, nn  # noqa: E402
from mindspore.common.initializer import initializer  # noqa: E402
from mindspore.nn.utils import no_init_parameters  # noqa: E402

from adamcompat.mindspore import Adam, AdamWeightDecay  # noqa: E402

pytestmark = pytest.mark.frameworks


def weight(name: str = "weight") -> Any:
    return Parameter(Tensor(np.ones(3), ms.float32), name=name)


def one(**arguments: Any) -> Callable[[Any], Any]:
    return lambda kind: kind([weight()], **arguments)


def grouped(*groups: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda kind: kind(list(groups))


A, B = weight("a"), weight("b")
MISTAKES: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "beta1 of 1": (one(beta1=1.0), ValueError, r"beta1 must lie in \(0, 1\), got 1.0"),
    "beta2 of 0": (one(beta2=0.0), ValueError, r"beta2 must lie in \(0, 1\), got 0.0"),
    "beta1 no float": (one(beta1=1), TypeError, r"beta1 must be a float, got 1 \(int\): write float\(1\)"),
    "beta1 text": (one(beta1="0.9"), TypeError, "beta1 must be a number"),
    "eps of 0": (one(eps=0.0), ValueError, r"eps must lie in \(0, inf\), got 0.0"),
    "eps an int": (one(eps=1), TypeError, "eps must be a float"),
    "rate below 0": (one(learning_rate=-0.1), ValueError, r"learning_rate must lie in \[0, inf\), got -0.1"),
    "rate an object": (one(learning_rate=object()), TypeError, "learning_rate must be a number"),
    "rate none": (one(learning_rate=None), TypeError, "learning_rate must be a number"),
    "rate a function": (one(learning_rate=lambda step: 0.1), TypeError, "LearningRateSchedule whose construct takes"),
    "rate a matrix": (one(learning_rate=Tensor(np.ones((2, 2)))), ValueError, r"got shape \(2, 2\)"),
    "decay below 0": (one(weight_decay=-1.0), ValueError, r"weight_decay must lie in \[0, inf\), got -1.0"),
    "decay text": (one(weight_decay="0.1"), TypeError, "weight_decay must be a number"),
    "decay a function": (one(weight_decay=lambda step: 0.1), TypeError, "Cell whose construct takes the step"),
    "loss_scale of 0": (one(loss_scale=0.0), ValueError, r"loss_scale must lie in \(0, inf\), got 0.0"),
    "loss_scale text": (one(loss_scale="2"), TypeError, "loss_scale must be a number"),
    "flag": (one(use_nesterov=1), TypeError, "use_nesterov must be True or False, got 1"),
    "keyword flag": (one(use_lazy="yes"), TypeError, "use_lazy must be True or False"),
    "lazy and offload": (one(use_lazy=True, use_offload=True), ValueError, "exclude each other"),
    "amsgrad and lazy": (one(use_amsgrad=True, use_lazy=True), ValueError, "exclude each other"),
    "amsgrad and offload": (one(use_amsgrad=True, use_offload=True), ValueError, "exclude each other"),
    "unknown keyword": (one(beta_1=0.9), KeyError, "'beta_1' is .*'s name; here it is 'beta1'"),
    "mistyped keyword": (one(use_lasy=True), KeyError, "did you mean 'use_lazy'"),
    "no parameters": (lambda kind: kind([]), ValueError, r"must not be empty; pass net.trainable_params\(\)"),
    "params of None": (lambda kind: kind(None), ValueError, r"must not be None; pass net.trainable_params\(\)"),
    "params a number": (lambda kind: kind(3), TypeError, r"must be a list of Parameters"),
    "params of Tensors": (lambda kind: kind([Tensor([1.0])]), TypeError, r"must be a mindspore.Parameter, got Tensor"),
    "params twice": (lambda kind: kind([A, A]), ValueError, "'a' is passed twice"),
    "params twice across groups": (grouped({"params": [A]}, {"params": [A]}), RuntimeError, "'a' is passed twice"),
    "unknown group key": (grouped({"params": [A], "learning_rate": 1.0}), KeyError, "known keys: params, lr"),
    "order not alone": (grouped({"params": [A]}, {"order_params": [A], "lr": 1.0}), ValueError, "must be alone"),
    "order too short": (grouped({"params": [A, B]}, {"order_params": [A]}), ValueError, "lists 1 parameters"),
    "group of nothing": (grouped({"params": []}), ValueError, "must not be empty"),
    "group of Tensors": (grouped({"params": [Tensor([1.0])]}), TypeError, "must be a mindspore.Parameter"),
    "group rate": (grouped({"params": [A], "lr": -1.0}), ValueError, r"lr must lie in \[0, inf\)"),
    "group flag": (grouped({"params": [A], "grad_centralization": 1}), TypeError, "must be True or False"),
}


# What nn.AdamWeightDecay has no parameter for, or no text of ours.
ADAMS = {name for name in MISTAKES if any(word in name for word in ("loss_scale", "lazy", "amsgrad", "keyword"))}
ADAMS |= {"flag", "group flag"}


@pytest.mark.parametrize(
    ("kind", "stock", "mistake"),
    [
        *((Adam, nn.Adam, name) for name in MISTAKES),
        *((AdamWeightDecay, nn.AdamWeightDecay, name) for name in MISTAKES if name not in ADAMS),
    ],
)
def test_construction(kind: Any, stock: Any, mistake: str) -> None:
    make, error, text = MISTAKES[mistake]
    with pytest.raises(error, match=text) as ours:
        make(kind)
    with pytest.raises(Exception) as theirs:
        make(stock)
    assert type(ours.value) is type(theirs.value)


def test_a_rate_that_is_text() -> None:
    """nn.Adam promises TypeError, and takes the text for a list of its characters."""
    with pytest.raises(ValueError, match="could not convert"):
        nn.Adam([weight()], "0.1")
    with pytest.raises(ValueError, match=r"learning_rate must be a number, got the text '0.1': write float\('0.1'\)"):
        Adam([weight()], "0.1")


def tensor(*shape: int, dtype: Any = ms.float32) -> Any:
    return Tensor(np.ones(shape), dtype)


GRADIENTS: dict[str, tuple[Any, type[Exception], str]] = {
    "too few": ((tensor(3),), RuntimeError, "got 1 gradients for 2 parameters; differentiate with respect to"),
    "one Tensor": (tensor(3), RuntimeError, "must be a tuple with one Tensor for each parameter, got Tensor"),
    "None": (None, RuntimeError, "must be a tuple with one Tensor for each parameter, got NoneType"),
    "a None": ((tensor(3), None), ValueError, "the gradient of 'b' is None; pass ops.zeros_like"),
    "a number": ((tensor(3), 1.0), ValueError, r"'b' must be a Tensor, got float: wrap it in Tensor"),
    "an array": ((tensor(3), np.ones(2, np.float32)), TypeError, r"got ndarray: wrap it in Tensor"),
    "shape": ((tensor(3), tensor(3)), ValueError, r"'b' has shape \(3,\), but \(2,\) is needed"),
    "axis": ((tensor(3), tensor(2, 1)), ValueError, r"'b' has shape \(2, 1\), but \(2,\) is needed"),
    "float64": ((tensor(3), tensor(2, dtype=ms.float64)), TypeError, r"convert it with gradient.astype"),
    "complex": ((tensor(3), tensor(2, dtype=ms.complex64)), TypeError, r"convert it with gradient.astype"),
}


@pytest.mark.parametrize("mistake", ["shape", "too few"])
def test_gradients_in_a_graph(mistake: str) -> None:
    gradients, error, text = GRADIENTS[mistake]
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        optimizer = Adam([Parameter(tensor(3), name="a"), Parameter(tensor(2), name="b")], 0.1)
        with pytest.raises(error, match=text):
            optimizer(gradients)
        assert optimizer([tensor(3), tensor(2)]) == (True, True)
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.mark.parametrize("kind", [Adam, AdamWeightDecay])
@pytest.mark.parametrize(("count", "more"), [(0, {}), (2, {}), (3, {}), (1, {"foo": 1}), (0, {"foo": 1})])
def test_arguments_of_another_number_or_name(kind: Any, count: int, more: dict[str, Any], mode: str) -> None:
    """They are refused in words that name nothing of ours but the step."""
    optimizer = kind([weight()], 0.1)
    with pytest.raises(TypeError) as caught:
        optimizer(*[(tensor(3),)] * count, **more)
    assert "_check_rates" not in str(caught.value)
    assert optimizer(gradients=(tensor(3),)) == (True,)
    assert optimizer.global_step.asnumpy().tolist() == [1]


@pytest.mark.parametrize(("kind", "moment"), [(Adam, "moment1"), (AdamWeightDecay, "moments1")])
def test_state_of_another_shape_is_refused(kind: Any, moment: str) -> None:
    parameter = Parameter(tensor(30), name="a")
    optimizer = kind([parameter], 0.1)
    optimizer((tensor(30),))
    getattr(optimizer, moment)[0].set_data(tensor(3), slice_shape=True)
    with pytest.raises(ValueError, match=r"'(moment1|adam_m).a' has shape \(3,\).* but 'a' has \(30,\)"):
        optimizer((tensor(30),))
    assert optimizer.global_step.asnumpy().tolist() == [1]


def test_counters_of_another_shape_are_refused() -> None:
    optimizer = Adam([Parameter(tensor(3), name="a")], 0.1)
    optimizer((tensor(3),))
    optimizer.beta1_power.set_data(tensor(2), slice_shape=True)
    with pytest.raises(ValueError, match=r"'beta1_power' has shape \(2,\).* but one value of dtype float32"):
        optimizer((tensor(3),))
    assert optimizer.global_step.asnumpy().tolist() == [1]


def test_state_without_values_is_refused() -> None:
    optimizer = Adam([Parameter(tensor(3), name="a")], 0.1)
    optimizer((tensor(3),))
    with no_init_parameters():
        optimizer.moment1 = ParameterTuple([Parameter(initializer("zeros", (3,), ms.float32), name="new")])
    with pytest.raises(ValueError, match=r"holds no values yet; call its init_data\(\)"):
        optimizer((tensor(3),))


# nn.AdamWeightDecay converts gradients of other dtypes, and tells these by their types.
OF_DECAY = {name: mistake for name, mistake in GRADIENTS.items() if name not in ("float64", "complex")}
OF_DECAY |= {name: (OF_DECAY[name][0], TypeError, OF_DECAY[name][2]) for name in ("one Tensor", "None", "a None")}
OF_DECAY["a number"] = (GRADIENTS["a number"][0], TypeError, GRADIENTS["a number"][2])


@pytest.mark.parametrize("mistake", OF_DECAY)
def test_gradients_raise_what_the_original_raises(mistake: str, mode: str) -> None:
    gradients, error, text = OF_DECAY[mistake]
    for kind in (nn.AdamWeightDecay, AdamWeightDecay):
        optimizer = kind([Parameter(tensor(3), name="a"), Parameter(tensor(2), name="b")], 0.1)
        with pytest.raises(error, match=text if kind is AdamWeightDecay else None):
            optimizer(gradients)


@pytest.mark.parametrize(
    ("kind", "mistake"), [*((Adam, name) for name in GRADIENTS), *((AdamWeightDecay, name) for name in OF_DECAY)]
)
def test_gradients(kind: Any, mistake: str) -> None:
    gradients, error, text = (GRADIENTS if kind is Adam else OF_DECAY)[mistake]
    parameters = [Parameter(tensor(3), name="a"), Parameter(tensor(2), name="b")]
    optimizer = kind(parameters, 0.1)
    optimizer((tensor(3), tensor(2)))
    before = {name: value.asnumpy().copy() for name, value in optimizer.parameters_dict().items()}
    with pytest.raises(error, match=text):
        optimizer(gradients)
    for name, value in optimizer.parameters_dict().items():
        np.testing.assert_array_equal(value.asnumpy(), before[name], err_msg=name)


class Iterable:
    """As in MindSpore's own tests: integers, made anew each time."""

    def __iter__(self) -> Iterator[Any]:
        return (Parameter(Tensor(i), name=f"cont{i}") for i in range(3))


def test_what_mindspores_own_tests_make(mode: str) -> None:
    parameters = Iterable()
    for kind in (Adam, nn.Adam):
        optimizer = kind(parameters, learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, loss_scale=1.0)
        assert len(optimizer.parameters) == 3
        with pytest.raises(RuntimeError):
            optimizer(Tensor(np.zeros([1, 2, 3])))


def test_iterators_in_groups_are_trained() -> None:
    """nn.Adam reads them once to check them, and then finds nothing."""

    def groups(parameter: Any) -> list[dict[str, Any]]:
        return [{"params": filter(lambda p: True, [parameter]), "lr": iter([0.1, 0.2])}]

    assert len(nn.Adam(groups(weight())).parameters) == 0
    parameter = weight()
    optimizer = Adam(groups(parameter))
    for _ in range(2):
        optimizer((tensor(3),))
    np.testing.assert_allclose(parameter.asnumpy(), 0.7, atol=1e-6)


def test_of_two_mistakes_the_one_that_was_refused_is_explained() -> None:
    """A rate that nn.Adam takes is no reason, though it is odd."""
    accepted: list[dict[str, Any]] = [{"learning_rate": [-1.0, 2.0]}, {"learning_rate": True}, {"params": Iterable()}]
    for more in accepted:
        with pytest.raises(ValueError, match=r"beta2 must lie in \(0, 1\), got 1.5"):
            Adam(**{"params": [weight()], **more, "beta2": 1.5})
    with pytest.raises(KeyError, match="no parameter 'beta'") as caught:
        Adam([weight()], beta=0.5, eps=0)
    assert isinstance(caught.value.__cause__, KeyError), "nn.Adam's own words come with it"


def test_lists_and_generators_are_taken() -> None:
    parameters = [Parameter(tensor(3), name="a"), Parameter(tensor(2), name="b")]
    optimizer = Adam([{"params": (p for p in parameters)}], learning_rate=(0.1 for _ in range(2)))
    assert optimizer([tensor(3), tensor(2)]) == (True, True)
    np.testing.assert_allclose(parameters[1].asnumpy(), 0.9, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"use_lazy": True, "use_offload": True},
        {"use_lazy": True, "use_amsgrad": True},
        {"use_offload": True, "use_amsgrad": True},
        {"beta1": 1.5},
        {"eps": "1e-8"},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_the_words_of_nn_adam_stand_in_ours(arguments: dict[str, Any]) -> None:
    """Programs may look for them."""
    said = []
    for kind in (Adam, nn.Adam):
        with pytest.raises((TypeError, ValueError)) as caught:
            kind([weight()], **arguments)
        said.append(str(caught.value))
    assert said[1] in said[0]
    assert said[0] != said[1], "ours are clearer"
