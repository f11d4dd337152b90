"""Trajectories recorded from TensorFlow 2.6.5 and MindSpore 2.10: nn.Adam and nn.AdamWeightDecay."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import (
    MindSporeStyleAdam,
    MindSporeStyleAdamWeightDecay,
    Parameter,
    RowSparse,
    TFStyleAdam,
)

DATA = Path(__file__).parent / "data"
# Read whole: each look into a file would read and unpack an array anew.
TF = dict(np.load(DATA / "tf26_shared.npz"))
MS = dict(np.load(DATA / "ms210_shared.npz"))
TF_META = json.loads(bytes(TF["meta"]))
MS_META = json.loads(bytes(MS["meta"]))
MS_W = dict(np.load(DATA / "ms210_adamw_shared.npz"))
MS_W_META = json.loads(bytes(MS_W["meta"]))
_ADDED = "nn.AdamWeightDecay/"
# The groups of the recorded cases that have some, by the names of their parameters.
_DENSE, _GAMMA, _CONV = MS_META["names"]
MS_GROUPS: dict[str, list[dict[str, Any]]] = {
    "groups": [
        {"params": [_DENSE, _GAMMA], "lr": 0.02},
        {"params": [_CONV], "weight_decay": 0.05},
        {"order_params": MS_META["names"]},
    ],
    "groups_decay_gamma": [
        {"params": [_DENSE, _GAMMA], "lr": 0.02},
        {"params": [_CONV]},
        {"order_params": MS_META["names"]},
    ],
}
f32 = np.float32

Step = Callable[[list[Any]], Any]
Compared = list[tuple[str, bool]]


def exponential(rate: float, factor: float, steps: float) -> Callable[[int], Any]:
    return lambda step: f32(rate) * f32(float(f32(factor)) ** float(f32(step) / f32(steps)))


def tf_hyperparameters(name: str) -> dict[str, Any]:
    """A recorded case's arguments under canonical names, in the order of the recording."""
    case = TF_META["cases"][name]
    given = {{"beta1": "beta_1", "beta2": "beta_2"}.get(key, key): value for key, value in case["kwargs"].items()}
    if name.startswith("v1"):
        given.setdefault("epsilon", 1e-8)
    lr = given.get("learning_rate")
    if isinstance(lr, dict) and lr["schedule"] == "ExponentialDecay":
        given["learning_rate"] = exponential(lr["initial_learning_rate"], lr["decay_rate"], lr["decay_steps"])
    elif isinstance(lr, dict):
        given["learning_rate"] = lambda step: lr["values"][sum(step > bound for bound in lr["boundaries"])]
    return given


def in_mindspore_style(given: dict[str, Any]) -> dict[str, Any] | None:
    """The same hyperparameters in MindSpore's names, or None where it has none for one of them."""
    names = {
        "learning_rate": "learning_rate",
        "lr": "learning_rate",
        "beta_1": "beta1",
        "beta_2": "beta2",
        "epsilon": "eps",
        "amsgrad": "use_amsgrad",
    }
    if not set(given) <= set(names):
        return None
    return {"eps": 1e-7} | {names[key]: value for key, value in given.items()}


def in_tensorflow_style(given: dict[str, Any]) -> dict[str, Any] | None:
    names = {
        "learning_rate": "learning_rate",
        "beta1": "beta_1",
        "beta2": "beta_2",
        "eps": "epsilon",
        "use_amsgrad": "amsgrad",
        "loss_scale": "loss_scale_factor",
    }
    given = {key: value for key, value in given.items() if key != "use_locking"}
    if not set(given) <= set(names):
        return None
    return {"epsilon": 1e-8} | {names[key]: value for key, value in given.items()}


def close(got: NDArray[Any], recorded: NDArray[Any]) -> bool:
    limit = 2 * np.spacing(np.abs(recorded).max())
    assert np.abs(got.astype(np.float64) - recorded).max() <= limit
    return bool(np.array_equal(got, recorded))


def replay(data: Any, meta: Any, name: str, arrays: list[NDArray[Any]], step: Step) -> Iterator[bool]:
    """Feed the recorded gradients; yields whether each kept tensor has identical bits."""
    gradients = [data[f"grad/{i}"] for i in range(len(arrays))]
    for t in range(meta["steps"]):
        step([gradient[t] for gradient in gradients])
        if t + 1 in meta["keep"]:
            for i, array in enumerate(arrays):
                yield close(array, data[f"{name}/{t + 1}/{i}"])


def tf_case(name: str, style: str) -> Iterator[bool] | None:
    given = tf_hyperparameters(name)
    numerics = "tf1" if name.startswith("v1") else "tf26"
    sparse = TF_META["cases"][name].get("sparse", False)
    arrays = [TF["sparse/x0"].copy()] if sparse else [TF[f"x0/{i}"].copy() for i in range(3)]
    step: Step
    if style == "tf":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tf = TFStyleAdam(**given, numerics=numerics)
        step = lambda gradients: tf.apply_gradients(zip(gradients, arrays, strict=True))  # noqa: E731
    else:
        translated = in_mindspore_style(given)
        if translated is None:
            return None
        ms = MindSporeStyleAdam(arrays, **translated, numerics=numerics)
        step = lambda gradients: ms(tuple(gradients))  # noqa: E731
    if sparse:
        return replay_sparse(name, arrays[0], step)
    return replay(TF, TF_META, name, arrays, step)


def replay_sparse(name: str, array: NDArray[Any], step: Step) -> Iterator[bool]:
    for t in range(TF_META["steps"]):
        step([RowSparse(TF["sparse/indices"][t], TF["sparse/values"][t])])
        if t + 1 in TF_META["keep"]:
            yield close(array, TF[f"{name}/{t + 1}"])


def ms_case(name: str, style: str) -> Iterator[bool] | None:
    given = dict(MS_META["cases"][name]["kwargs"])
    if name == "exponential_decay":
        given["learning_rate"] = exponential(0.01, 0.5, 5)
    arrays = [MS[f"x0/{i}"].copy() for i in range(3)]
    ps = [Parameter(array, name=label) for array, label in zip(arrays, MS_META["names"], strict=True)]
    if style == "tf":
        translated = None if name.startswith("groups") else in_tensorflow_style(given)
        if translated is None:
            return None
        tf = TFStyleAdam(**translated, numerics="mindspore")
        return replay(MS, MS_META, name, arrays, lambda gs: tf.apply_gradients(zip(gs, ps, strict=True)))
    ms = MindSporeStyleAdam(grouped(MS_GROUPS.get(name, []), ps) or ps, **given, numerics="mindspore")
    return replay(MS, MS_META, name, arrays, lambda gs: ms(tuple(gs)))


def grouped(groups: list[dict[str, Any]], ps: list[Parameter]) -> list[dict[str, Any]]:
    """Groups with parameters in place of their names."""
    named = dict(zip(MS_META["names"], ps, strict=True))
    return [
        {key: [named[entry] for entry in value] if isinstance(value, list) else value for key, value in group.items()}
        for group in groups
    ]


@pytest.mark.parametrize("name", [name for name in MS_W_META["cases"] if name.startswith(_ADDED)])
def test_adam_weight_decay_has_the_recorded_bits(name: str, executor: str) -> None:
    arrays = [MS_W[f"x0/{i}"].copy() for i in range(3)]
    ps = [Parameter(array, name=label) for array, label in zip(arrays, MS_W_META["names"], strict=True)]
    groups = grouped(MS_GROUPS["groups"], ps) if name.endswith("/groups") else ps
    ms = MindSporeStyleAdamWeightDecay(groups, **MS_W_META["cases"][name]["kwargs"], numerics="mindspore")
    same = list(replay(MS_W, MS_W_META, name, arrays, lambda gs: ms(tuple(gs))))
    assert same == [True] * 12


@pytest.mark.parametrize("style", ["tf", "ms"])
@pytest.mark.parametrize("name", TF_META["cases"])
def test_tensorflow_2_6(name: str, style: str, executor: str) -> None:
    compared = tf_case(name, style)
    if compared is None:
        pytest.skip("MindSpore's style has no parameter for this")
    assert len(list(compared)) == (4 if "sparse" in name else 12)


@pytest.mark.parametrize("style", ["tf", "ms"])
@pytest.mark.parametrize("name", MS_META["cases"])
def test_mindspore_2_10(name: str, style: str, executor: str) -> None:
    compared = ms_case(name, style)
    if compared is None:
        pytest.skip("TensorFlow's style has no parameter for this")
    assert len(list(compared)) == 12


def counts() -> dict[str, tuple[int, int]]:
    """How many of the recorded tensors are repeated to the bit, in the style of the original."""
    found = {}
    for label, cases, run in (("TensorFlow 2.6.5", TF_META, tf_case), ("MindSpore 2.10", MS_META, ms_case)):
        same = [bit for name in cases["cases"] for bit in run(name, "tf" if run is tf_case else "ms") or ()]
        found[label] = (sum(same), len(same))
    return found


def test_most_tensors_have_identical_bits(executor: str) -> None:
    found = counts()
    same, compared = found["TensorFlow 2.6.5"]
    assert same >= 161
    assert compared == 212
    assert found["MindSpore 2.10"] == (192, 192)
