"""Recording MindSpore's optimizers, ours and the original, without a trace in the training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from adamcompat import compare, record
from adamcompat.mindspore import Adam, AdamWeightDecay, TFStyleAdam
from adamcompat.recording import read

pytestmark = pytest.mark.frameworks
pytest.importorskip("safetensors")

KINDS: dict[str, Any] = {"mindspore": nn.Adam, "adamcompat.mindspore.Adam": Adam}
DECAYS: dict[str, Any] = {"mindspore_adamweightdecay": nn.AdamWeightDecay}
DECAYS["adamcompat.mindspore.AdamWeightDecay"] = AdamWeightDecay
ADAMS = [{}, {"weight_decay": 0.01, "loss_scale": 2.0, "use_nesterov": True, "eps": 1e-4}]
OF_BOTH = [
    *((name, kind, given) for name, kind in KINDS.items() for given in ADAMS),
    *((name, kind, {"weight_decay": 0.01, "eps": 1e-4}) for name, kind in DECAYS.items()),
]
RNG = np.random.default_rng(2)
X, Y = RNG.standard_normal((8, 6)).astype(np.float32), RNG.standard_normal((8, 2)).astype(np.float32)
W = [RNG.standard_normal(s).astype(np.float32) for s in ((9, 6), (9,), (2, 9), (2,))]


def network() -> Any:
    first = nn.Dense(6, 9, weight_init=Tensor(W[0].copy()), bias_init=Tensor(W[1].copy()), activation="tanh")
    return nn.SequentialCell(first, nn.Dense(9, 2, weight_init=Tensor(W[2].copy()), bias_init=Tensor(W[3].copy())))


def train(kind: Any, path: Path | None, how: str = "cell", **given: Any) -> list[Any]:
    net = network()
    optimizer = kind(net.trainable_params(), learning_rate=0.05, **given)
    recorder = record(optimizer, path) if path is not None else None
    assert isinstance(optimizer, kind)
    assert type(optimizer).__name__ == kind.__name__
    if how == "cell":
        step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
        step.set_train()
        for _ in range(10):
            step(Tensor(X), Tensor(Y))
    else:
        loss = nn.MSELoss()
        gradients = ms.value_and_grad(lambda x, y: loss(net(x), y), None, optimizer.parameters)
        for _ in range(10):
            optimizer(gradients(Tensor(X), Tensor(Y))[1])
    if recorder is not None:
        recorder.close()
    assert type(optimizer) is kind
    return [parameter.asnumpy().copy() for parameter in net.trainable_params()]


@pytest.mark.parametrize("how", ["cell", "loop"])
@pytest.mark.parametrize(("name", "kind", "given"), OF_BOTH)
def test_the_training_has_the_same_bits_and_the_replay_too(
    name: str, kind: Any, given: Any, how: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    recorded, alone = train(kind, path, how, **given), train(kind, None, how, **given)
    assert all(np.array_equal(a, b) for a, b in zip(recorded, alone, strict=True))
    found = read(path)
    assert (found.steps, found.start, found.driver) == (10, 0, name)
    assert all(np.array_equal(kept[-1], weight) for kept, weight in zip(found.parameters, recorded, strict=True))
    assert found.hyperparameters is not None
    assert {"learning_rate": 0.05, **given}.items() <= found.hyperparameters.items()
    assert compare("recorded", name, gradients=path).pairs[0].spacings == 0


def test_graph_mode_is_refused(tmp_path: Path) -> None:
    optimizer = nn.Adam(network().trainable_params())
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        with pytest.raises(RuntimeError, match="MindSpore is in GRAPH mode, where nothing can be copied"):
            record(optimizer, tmp_path / "x")
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)
    assert type(optimizer) is nn.Adam


def test_compiled_steps_train_on_and_are_said_not_to_be_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def trained(path: Path | None) -> Any:
        net = network()
        optimizer = Adam(net.trainable_params(), learning_rate=0.05)
        recorder = record(optimizer, path) if path is not None else None
        loss = nn.MSELoss()

        def forward(x: Any, y: Any) -> Any:
            return loss(net(x), y)

        gradients = ms.value_and_grad(forward, None, optimizer.parameters)

        @ms.jit  # type: ignore[untyped-decorator]
        def step(x: Any, y: Any) -> Any:
            return optimizer(gradients(x, y)[1])

        for _ in range(3):
            step(Tensor(X), Tensor(Y))
        if recorder is not None:
            recorder.close()
        return net.trainable_params()[0].asnumpy()

    with caplog.at_level(logging.WARNING, "adamcompat"):
        recorded = trained(tmp_path / "x")
    assert np.array_equal(recorded, trained(None))
    assert "no step was seen" in caplog.text
    assert not (tmp_path / "x").exists()


def test_a_second_recorder_is_refused(tmp_path: Path) -> None:
    optimizer = nn.Adam(network().trainable_params())
    with record(optimizer, tmp_path / "x"):
        with pytest.raises(ValueError, match="being recorded already"):
            record(optimizer, tmp_path / "y")
        optimizer(tuple(Tensor(np.ones(p.shape, np.float32)) for p in optimizer.parameters))


def steps_of(path: Path, kind: type[Any], groups: Any, **given: Any) -> None:
    optimizer = kind(groups, **given)
    with record(optimizer, path):
        for _ in range(5):
            optimizer(tuple(Tensor(p.asnumpy() * np.float32(0.3)) for p in optimizer.parameters))


@pytest.mark.parametrize("kind", [nn.Adam, Adam, nn.AdamWeightDecay, AdamWeightDecay])
@pytest.mark.parametrize("own", [{"lr": 0.02}, {"weight_decay": 0.3}, {}])
def test_groups_are_recorded_and_replayed(kind: type[Any], own: dict[str, Any], tmp_path: Path) -> None:
    parameters = network().trainable_params()
    groups = [{"params": parameters[2:]}, {"params": parameters[:2], **own}]
    adam = issubclass(kind, nn.Adam)
    given = {"loss_scale": 4.0} if adam else {}
    steps_of(tmp_path / "x", kind, groups, learning_rate=0.01, weight_decay=0.1, **given)
    found = read(tmp_path / "x")
    assert found.hyperparameters is not None
    assert found.hyperparameters["params"][-1]["params"][-1] == parameters[1].name
    names = [*(KINDS if adam else DECAYS), f"adamcompat.MindSporeStyle{kind.__name__}(numerics='mindspore')"]
    for name in names:
        compared = compare("recorded", name, gradients=tmp_path / "x")
        assert compared.agree, (name, compared.pairs[0].sentences)
    other = [{"params": list(found.names), "lr": 0.05, "weight_decay": 0.0}]
    assert not compare("recorded", (names[0], {"params": other}), gradients=tmp_path / "x").agree


def test_what_of_groups_cannot_be_replayed_is_not_recorded(tmp_path: Path) -> None:
    parameters = network().trainable_params()
    centralized = [{"params": parameters, "grad_centralization": True}]
    steps_of(tmp_path / "ours", Adam, centralized, corrections=True)
    corrected = ("adamcompat.mindspore.Adam", {"corrections": True})
    assert compare("recorded", corrected, gradients=tmp_path / "ours").pairs[0].spacings == 0
    # As nn.Adam leaves these out, so does ours, and the recording says so.
    with pytest.warns(UserWarning, match="grad_centralization leaves out"):
        steps_of(tmp_path / "plain", Adam, centralized)
    assert compare("recorded", "adamcompat.mindspore.Adam", gradients=tmp_path / "plain").pairs[0].spacings == 0
    listed = [{"params": parameters[:2], "lr": [0.1] * 5}, {"params": parameters[2:]}]
    steps_of(tmp_path / "x", nn.Adam, listed)
    assert read(tmp_path / "x").hyperparameters is None
    pair = compare("recorded", "mindspore", gradients=tmp_path / "x").pairs[0]
    assert pair.sentences == [
        "the recording does not say what its optimizer was asked for, so that nothing can be tried"
    ]


# Recordings that begin in the middle of a training.

STYLES: dict[str, Any] = {
    "mindspore": lambda own: nn.Adam(own, 0.05, use_amsgrad=True),
    "adamcompat.mindspore.Adam": lambda own: Adam(own, 0.05, weight_decay=0.1),
    "adamcompat.mindspore.TFStyleAdam": lambda own: TFStyleAdam(0.05),
    "TFStyleAdam with all": lambda own: TFStyleAdam(
        0.05, amsgrad=True, use_ema=True, ema_momentum=0.9, gradient_accumulation_steps=2
    ),
    "TFStyleAdam, products": lambda own: TFStyleAdam(0.05, numerics="tf1"),
    "mindspore_adamweightdecay": lambda own: nn.AdamWeightDecay(own, 0.05, weight_decay=0.1),
    "adamcompat.mindspore.AdamWeightDecay": lambda own: AdamWeightDecay(own, 0.05),
    "groups": lambda own: nn.Adam([{"params": own[2:]}, {"params": own[:2], "lr": 0.02}], 0.05),
}


def windowed(make: Any, path: Path | None) -> list[Any]:
    own = network().trainable_params()
    optimizer = make(own)

    def go_on(steps: int) -> None:
        for _ in range(steps):
            order = own if isinstance(optimizer, TFStyleAdam) else list(optimizer.parameters)
            gradients = tuple(Tensor(parameter.asnumpy() * np.float32(0.3)) for parameter in order)
            if isinstance(optimizer, TFStyleAdam):
                optimizer.apply_gradients(zip(gradients, own, strict=True))
            else:
                optimizer(gradients)

    go_on(7)
    if path is None:
        go_on(5)
    else:
        with record(optimizer, path):
            go_on(5)
    return [parameter.asnumpy().copy() for parameter in own]


@pytest.mark.parametrize("name", STYLES)
def test_any_window_is_replayed(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    recorded, alone = windowed(STYLES[name], path), windowed(STYLES[name], None)
    assert all(np.array_equal(a, b) for a, b in zip(recorded, alone, strict=True))
    found = read(path)
    assert (found.start, found.steps) == (7, 5)
    assert found.state is not None
    assert found.driver is not None
    pair = compare("recorded", found.driver, gradients=path).pairs[0]
    assert (pair.spacings, len(pair.curve)) == (0, 5)
    if "all" not in name and name != "groups":
        assert compare("recorded", f"{found.driver}:graph", gradients=path).pairs[0].spacings < 40


def test_other_optimizers_say_that_they_cannot_be_replayed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "adamcompat"):
        windowed(lambda own: nn.Momentum(own, 0.01, 0.9), tmp_path / "x")
    assert "recording begins after 7 steps of mindspore.nn.optim.momentum.Momentum, whose state is not" in caplog.text
    assert read(tmp_path / "x").steps == 5
