"""A training goes from PyTorch to Keras or MindSpore and back in its middle, as if it had stayed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adamcompat.state import AdamState, Matching
from adamcompat.state.pairing import put_together

pytestmark = pytest.mark.filterwarnings("ignore")
Arrays = dict[str, NDArray[Any]]

# One epsilon; of the other form it is as good as nothing beside these gradients.
RATE, EPSILON = 0.01, 1e-12


class Net(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.line = torch.nn.Conv1d(2, 4, 3)
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.depth = torch.nn.Conv2d(4, 8, 3, groups=4)
        self.norm = torch.nn.BatchNorm2d(8)
        self.table = torch.nn.Embedding(7, 8)
        self.mha = torch.nn.MultiheadAttention(8, 2)
        self.square = torch.nn.Linear(8, 8)
        self.out = torch.nn.Linear(8, 2)


def gradients(net: Any, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(one.shape).astype(np.float32) for name, one in net.named_parameters()}


def step(net: Any, optimizer: Any, given: Arrays) -> None:
    for name, one in net.named_parameters():
        one.grad = torch.from_numpy(given[name].copy())
    optimizer.step()


def weights(net: Any) -> Arrays:
    return {name: one.detach().numpy().copy() for name, one in net.named_parameters()}


def moments(net: Any, optimizer: Any) -> Arrays:
    named = dict(net.named_parameters())
    return {
        f"{name}/{key}": array.numpy().copy()
        for name, one in named.items()
        for key, array in optimizer.state[one].items()
    }


def through(matching: Matching, tensors: Mapping[str, Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays in the layouts and under the names of the other side."""
    for name, pairs in matching.of_targets.items():
        array = put_together(pairs, "first_moment", tensors)
        assert array is not None
        yield name, np.ascontiguousarray(array)


class Keras:
    def __init__(self, decay: float | None) -> None:
        keras = pytest.importorskip("keras")
        layers = keras.layers
        made: dict[str, tuple[Any, list[Any]]] = {
            "line": (layers.Conv1D(4, 3, name="line"), [(1, 5, 2)]),
            "conv": (layers.Conv2D(4, 3, name="conv"), [(1, 5, 5, 1)]),
            "depth": (layers.DepthwiseConv2D(3, depth_multiplier=2, name="depth"), [(1, 5, 5, 4)]),
            "norm": (layers.BatchNormalization(name="norm"), [(1, 5, 5, 8)]),
            "table": (layers.Embedding(7, 8, name="table"), [(1, 2)]),
            "mha": (layers.MultiHeadAttention(2, 4, name="mha"), [(1, 2, 8), (1, 2, 8)]),
            "square": (layers.Dense(8, name="square"), [(1, 8)]),
            "out": (layers.Dense(2, name="out"), [(1, 8)]),
        }
        for layer, shapes in made.values():
            layer.build(*shapes)
        self.variables = [v for layer, _ in made.values() for v in layer.trainable_variables]
        kind = keras.optimizers.Adam if decay is None else keras.optimizers.AdamW
        self.optimizer = kind(RATE, epsilon=EPSILON, **({} if decay is None else {"weight_decay": decay}))
        self.optimizer.build(self.variables)
        self.parameters: Any = self.variables

    def step(self, given: Arrays) -> None:
        import tensorflow as tf

        pairs = [(tf.constant(given[variable.path]), variable) for variable in self.variables]
        self.optimizer.apply_gradients(pairs)

    def values(self) -> Arrays:
        return {variable.path: np.array(variable) for variable in self.variables}


class MindSpore:
    def __init__(self, decay: float | None) -> None:
        ms: Any = pytest.importorskip("mindspore")
        from adamcompat.mindspore import TFStyleAdamW

        class Cell(ms.nn.Cell):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                nn, plain = ms.nn, {"pad_mode": "valid", "has_bias": True}
                self.line = nn.Conv1d(2, 4, 3, **plain)
                self.conv = nn.Conv2d(1, 4, 3, **plain)
                self.depth = nn.Conv2d(4, 8, 3, group=4, **plain)
                self.norm = nn.BatchNorm2d(8)
                self.table = nn.Embedding(7, 8)
                self.mha = nn.MultiheadAttention(8, 2)
                self.square = nn.Dense(8, 8)
                self.out = nn.Dense(8, 2)

        self._ms = ms
        self.own = Cell().trainable_params()
        if decay is None:
            self.optimizer: Any = ms.nn.Adam(self.own, RATE, eps=EPSILON)
        else:
            self.optimizer = TFStyleAdamW(RATE, weight_decay=decay, epsilon=EPSILON)
            self.optimizer.build(self.own)
        self.parameters: Any = self.own

    def step(self, given: Arrays) -> None:
        tensors = tuple(self._ms.Tensor(given[one.name]) for one in self.own)
        if hasattr(self.optimizer, "apply_gradients"):
            self.optimizer.apply_gradients(zip(tensors, self.own, strict=True))
        else:
            self.optimizer(tensors)

    def values(self) -> Arrays:
        return {one.name: one.asnumpy().copy() for one in self.own}


SIDES: dict[str, Callable[[float | None], Any]] = {"keras": Keras, "mindspore": MindSpore}


@pytest.mark.slow
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("decay", [None, 0.02], ids=["Adam", "AdamW"])
def test_a_training_goes_away_and_comes_back(side: str, decay: float | None) -> None:
    kind: Any = torch.optim.Adam if decay is None else torch.optim.AdamW
    options = {"lr": RATE, "eps": EPSILON, **({} if decay is None else {"weight_decay": decay})}
    net, there = Net(0), SIDES[side](decay)
    optimizer = kind(net.parameters(), **options)
    for seed in range(5):
        step(net, optimizer, gradients(net, seed))
    state = AdamState.of(optimizer, net)
    matching = state.load_into(there.optimizer, parameters=there.parameters, with_parameters=True)
    # The same comes back as went away, in every bit.
    back = Net(1)
    again = kind(back.parameters(), **options)
    away = AdamState.of(there.optimizer, there.parameters)
    assert away.step == 5
    away.load_into(again, matching.inverse, parameters=back, with_parameters=True)
    for one, other in ((weights(net), weights(back)), (moments(net, optimizer), moments(back, again))):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)
    # It goes on there and here alike.
    given = gradients(net, 5)
    step(net, optimizer, given)
    step(back, again, given)
    there.step(dict(through(matching, given)))
    found, wanted = there.values(), dict(through(matching, weights(net)))
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-6, err_msg=name)
    for name, array in weights(net).items():
        np.testing.assert_array_equal(array, weights(back)[name], err_msg=name)
    # And so with the step that was made there.
    AdamState.of(there.optimizer, there.parameters).load_into(
        again, matching.inverse, parameters=back, with_parameters=True
    )
    assert {int(kept["step"]) for kept in again.state.values()} == {6}
    step(net, optimizer, gradients(net, 6))
    step(back, again, gradients(net, 6))
    for name, array in weights(net).items():
        np.testing.assert_allclose(weights(back)[name], array, rtol=0, atol=2e-6, err_msg=name)


@pytest.mark.slow
def test_files_of_two_frameworks(tmp_path: Path) -> None:
    """From a .pt to a .ckpt and back: moments in every bit."""
    pytest.importorskip("safetensors")
    ms = pytest.importorskip("mindspore")
    from adamcompat.state.files import convert, open_document

    net, there = Net(0), MindSpore(None)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, eps=EPSILON)
    fresh = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(fresh, tmp_path / "fresh.pt")
    for seed in range(3):
        step(net, optimizer, gradients(net, seed))
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
    ms.save_checkpoint(there.optimizer, str(tmp_path / "fresh.ckpt"))
    convert(
        open_document(tmp_path / "run.pt"), tmp_path / "run.ckpt", like=open_document(tmp_path / "fresh.ckpt")
    ).carry_out()
    convert(
        open_document(tmp_path / "run.ckpt"), tmp_path / "back.pt", like=open_document(tmp_path / "fresh.pt")
    ).carry_out()
    whole = torch.load(tmp_path / "back.pt", weights_only=True)
    back = Net(4)
    back.load_state_dict(whole["model"])
    again = torch.optim.Adam(back.parameters())
    again.load_state_dict(whole["optimizer"])
    for one, other in ((weights(net), weights(back)), (moments(net, optimizer), moments(back, again))):
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.slow
def test_a_recurrent_layer_gives_the_same_outputs() -> None:
    keras = pytest.importorskip("keras")
    if find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    rng = np.random.default_rng(0)
    data = rng.standard_normal((2, 5, 3)).astype(np.float32)
    cases: dict[str, tuple[Any, Any]] = {
        "lstm": (torch.nn.LSTM(3, 4, batch_first=True), keras.layers.LSTM(4, return_sequences=True, name="lstm")),
        "gru": (torch.nn.GRU(3, 4, batch_first=True), keras.layers.GRU(4, return_sequences=True, name="gru")),
        "rnn": (torch.nn.RNN(3, 4, batch_first=True), keras.layers.SimpleRNN(4, return_sequences=True, name="rnn")),
    }
    for name, (ours, theirs) in cases.items():
        holder = torch.nn.ModuleDict({name: ours})
        optimizer = torch.optim.Adam(holder.parameters(), 0.01)
        for _ in range(2):
            for one in holder.parameters():
                one.grad = torch.randn_like(one)
            optimizer.step()
        theirs.build((2, 5, 3))
        other = keras.optimizers.Adam(0.01)
        other.build(theirs.trainable_variables)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            AdamState.of(optimizer, holder).load_into(
                other, parameters=theirs.trainable_variables, with_parameters=True
            )
        wanted = ours(torch.from_numpy(data))[0].detach().numpy()
        np.testing.assert_allclose(np.array(theirs(data)), wanted, atol=1e-6, err_msg=name)
