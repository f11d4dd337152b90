"""Checkpoints that MindSpore and adamcompat write for each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from adamcompat.state import AdamState
from adamcompat.state.files import convert, open_document, read, write

pytestmark = pytest.mark.frameworks
pytest.importorskip("safetensors", reason="needs safetensors: pip install 'adamcompat[files]'")


# What is trained: which original, with which options.
MADE: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (nn.Adam, {}),
    "amsgrad": (nn.Adam, {"use_amsgrad": True}),
    "decay": (nn.AdamWeightDecay, {"weight_decay": 0.1}),
}


def trained(steps: int, made: str = "plain") -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    first, second = (Tensor(rng.standard_normal(shape).astype(np.float32)) for shape in ((4, 3), (2, 4)))
    net = nn.SequentialCell(
        nn.Dense(3, 4, weight_init=first, bias_init="zeros"), nn.Dense(4, 2, weight_init=second, bias_init="zeros")
    )
    kind, options = MADE[made]
    optimizer = kind(net.trainable_params(), learning_rate=0.01, **options)
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer)
    step.set_train()
    for _ in range(steps):
        step(Tensor(rng.standard_normal((5, 3)).astype(np.float32)), Tensor(np.ones((5, 2), np.float32)))
    return net, optimizer


def equal(a: AdamState, b: AdamState) -> bool:
    return a.step == b.step and all(
        np.array_equal(np.asarray(tensors[name]), np.asarray(b.tensors[role][name]))
        for role, tensors in a.tensors.items()
        for name in a.names
    )


@pytest.mark.parametrize("crc", [False, True])
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("form", ["ckpt", "safetensors"])
def test_what_mindspore_writes_is_read(tmp_path: Path, form: str, made: str, crc: bool) -> None:
    _, optimizer = trained(5, made)
    path = tmp_path / f"x.{form}"
    ms.save_checkpoint(optimizer, str(path), format=form, crc_check=crc)
    state = read(path)
    assert equal(state, AdamState.of(optimizer))
    assert state.dialect == AdamState.of(optimizer).dialect
    # Where there are no products of the betas, nothing tells what they were.
    assert state.hyperparameters == ({} if made == "decay" else {"beta1": 0.9, "beta2": 0.999})


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("form", ["ckpt", "safetensors"])
def test_mindspore_goes_on_from_what_is_written(tmp_path: Path, form: str, made: str) -> None:
    _, optimizer = trained(5, made)
    path, fresh = tmp_path / f"x.{form}", tmp_path / f"fresh.{form}"
    ms.save_checkpoint(trained(0, made)[1], str(fresh), format=form)
    state = AdamState.of(optimizer)
    write(tmp_path / "neutral.safetensors", state)
    convert(open_document(tmp_path / "neutral.safetensors"), path, like=open_document(fresh)).carry_out()
    loaded = ms.load_checkpoint(str(path), format=form, crc_check=True)
    expected = {parameter.name: parameter for parameter in optimizer.get_parameters()}
    assert loaded.keys() == expected.keys()
    for name, parameter in expected.items():
        assert loaded[name].shape == parameter.shape, name
        assert loaded[name].dtype == parameter.dtype, name
        assert np.array_equal(loaded[name].asnumpy(), parameter.asnumpy()), name
    other = trained(0, made)[1]
    assert ms.load_param_into_net(other, loaded) == ([], [])
    assert equal(AdamState.of(other), state)
    # Without a pattern the state's own original says which names there are.
    write(tmp_path / f"own.{form}", state, form="mindspore" if form == "safetensors" else None)
    assert ms.load_checkpoint(str(tmp_path / f"own.{form}"), format=form).keys() == loaded.keys() - {"learning_rate"}


def test_the_other_original_is_written_where_its_file_is_the_pattern(tmp_path: Path) -> None:
    """From nn.Adam to nn.AdamWeightDecay; there it is said what has no place."""
    _, optimizer = trained(5)
    ms.save_checkpoint(trained(0, "decay")[1], str(tmp_path / "fresh.ckpt"))
    ms.save_checkpoint(optimizer, str(tmp_path / "adam.ckpt"))
    path, like = tmp_path / "x.ckpt", open_document(tmp_path / "fresh.ckpt")
    with pytest.warns(UserWarning, match="came from: bias correction of none instead of both. Carrying"):
        convert(open_document(tmp_path / "adam.ckpt"), path, like=like).carry_out()
    loaded = ms.load_checkpoint(str(path))
    assert loaded.keys() == like.tensors.keys()
    name = optimizer.parameters[0].name
    assert np.array_equal(loaded[f"adam_m.{name}"].asnumpy(), optimizer.moment1[0].asnumpy())
    assert loaded["global_step"].asnumpy().tolist() == [5]
    state = dataclasses.replace(AdamState.of(trained(1, "amsgrad")[1]), dialect="mindspore_adamweightdecay")
    with pytest.raises(
        ValueError, match=r"maxima of the second moments, which mindspore\.nn\.AdamWeightDecay does not"
    ):
        write(tmp_path / "y.ckpt", state)


def test_a_file_without_the_optimizer_says_what_to_do(tmp_path: Path) -> None:
    net, _ = trained(1)
    ms.save_checkpoint(net, str(tmp_path / "net.ckpt"))
    with pytest.raises(ValueError, match=r"Save the optimizer too, as mindspore\.save_checkpoint"):
        read(tmp_path / "net.ckpt")


def test_large_tensors_are_cut_as_mindspore_cuts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adamcompat.state.files import ckpt_file

    monkeypatch.setattr(ckpt_file, "_PIECE", 1000)
    value = np.arange(2000, dtype=np.float32).reshape(40, 50)
    ckpt_file.write(tmp_path / "x.ckpt", {"w": value, "b": value[0]})
    assert len(ckpt_file.read(tmp_path / "x.ckpt")["w"].extents) == 8
    loaded = ms.load_checkpoint(str(tmp_path / "x.ckpt"), crc_check=True)
    assert np.array_equal(loaded["w"].asnumpy(), value)
    assert np.array_equal(np.asarray(ckpt_file.read(tmp_path / "x.ckpt")["w"]), value)
