"""The same gradients through several optimizers: known values, planted differences, and what is said of them."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import adamcompat.cli as cli
from adamcompat import compare
from adamcompat.comparison import Comparison, random_stream
from adamcompat.comparison.measure import Scales, distance
from adamcompat.comparison.models import differences, model_of, spread
from adamcompat.drive import prepare
from adamcompat.drive.numpy import EngineDriver
from tests.test_goldens import MS, MS_GROUPS, MS_META, TF, TF_META, exponential, tf_hyperparameters

OURS = "adamcompat.TFStyleAdam", "adamcompat.MindSporeStyleAdam"
DECOUPLED = "adamcompat.TFStyleAdamW", "adamcompat.MindSporeStyleAdamWeightDecay"


def installed(name: str) -> bool:
    return find_spec({"mindspore": "mindspore"}.get(name, "tf_keras")) is not None


def test_l2_against_decoupled_decay() -> None:
    found = compare(
        ("adamcompat.TFStyleAdam", {"weight_decay": 0.01}),
        ("adamcompat.MindSporeStyleAdam", {"weight_decay": 0.01}),
        hyperparameters={"lr": 1e-3, "epsilon": 1e-8},
        weights=[np.ones(1)],
        gradients=[np.full((100, 1), 0.1)],
    )
    decoupled, l2 = (float(run.parameters[0][0]) for run in found.runs)
    assert (round(decoupled, 6), round(l2, 6)) == (0.899050, 0.900154)
    assert [cause.name for cause in found.pairs[0].causes or []] == ["weight_decay"]
    assert "weight_decay: decoupled 0.01 against l2 0.01" in found.pairs[0].sentences[0]


def test_epsilon_hat_is_not_the_epsilon_of_algorithm_1() -> None:
    """With g = epsilon, Algorithm 1 would make a first step of half the learning rate."""
    found = compare(
        "float64(epsilon=1e-5)",
        *OURS,
        hyperparameters={"learning_rate": 1.0, "epsilon": 1e-5},
        weights=[np.zeros(1)],
        gradients=[np.full((1, 1), 1e-5)],
    )
    for run in found.runs:
        assert round(-float(run.parameters[0][0]), 4) == 0.0307
    assert found.agree


@pytest.mark.parametrize(
    ("here", "there", "name", "said"),
    [
        ({"epsilon": 1e-7}, {"epsilon": 1e-8}, "epsilon", "epsilon: 1e-07 against 1e-08 explains"),
        ({"learning_rate": 1e-3}, {"learning_rate": 2e-3}, "learning_rate", "0.001 against 0.002"),
        ({"beta_1": 0.9}, {"beta_1": 0.8}, "beta1", "beta1: 0.9 against 0.8"),
        ({"beta_2": 0.999}, {"beta_2": 0.99}, "beta2", "beta2: 0.999 against 0.99"),
        ({"amsgrad": False}, {"amsgrad": True}, "amsgrad", "amsgrad: False against True"),
        ({"clipnorm": 0.1}, {}, "clip_norm", "clip_norm: 0.1 against None"),
        ({"use_ema": True, "ema_overwrite_frequency": 7}, {}, "use_ema", "use_ema: True against False"),
        ({"gradient_accumulation_steps": 2}, {}, "accumulation_steps", "accumulation_steps: 2 against None"),
        ({"weight_decay": 0.01}, {}, "weight_decay", "weight_decay: decoupled 0.01 against none"),
        ({"numerics": "keras3"}, {"numerics": "tf26"}, "numerics.one_minus_beta", "float64 against scalar"),
    ],
)
def test_a_planted_difference_is_found_and_named(here: Any, there: Any, name: str, said: str) -> None:
    # 0.01 is another learning rate on both sides: what they have in common must not be named.
    shared = {} if name == "learning_rate" else {"learning_rate": 0.01}
    found = compare(
        (OURS[0], {"numerics": "keras3", **shared, **here}),
        (OURS[0], {"numerics": "keras3", **shared, **there}),
        steps=200,
    )
    pair = found.pairs[0]
    assert not pair.agree
    assert pair.causes is not None
    assert pair.causes[0].name == name
    assert pair.causes[0].explained >= 0.98
    assert said in pair.sentences[0]
    assert pair.unexplained == 0


def test_two_differences_are_both_named() -> None:
    found = compare(
        "adamcompat.TFStyleAdam(epsilon=1e-6)",
        "adamcompat.MindSporeStyleAdam(eps=1e-8, learning_rate=0.002)",
        steps=100,
    )
    causes = found.pairs[0].causes
    assert causes is not None
    assert {cause.name for cause in causes} == {"epsilon", "learning_rate"}
    assert causes[0].explained < causes[1].explained == 1
    assert found.pairs[0].sentences[1].endswith("as well, 100%")


def of_groups(first: dict[str, Any], second: dict[str, Any], **shared: Any) -> tuple[str, dict[str, Any]]:
    """Ours in MindSpore's style, with one group of the first random parameter and one of the others."""
    return OURS[1], {"params": [{"params": [0], **first}, {"params": ["parameter_1", 2], **second}], **shared}


GROUPED: dict[str, Any] = {"shapes": [(6, 4), (5,), (3,)], "steps": 100}


@pytest.mark.parametrize(
    ("here", "there", "name", "weights", "said"),
    [
        (({"lr": 0.02}, {}), ({"lr": 0.01}, {}), "learning_rate", 1, "learning_rate of parameter_0: 0.02 against 0.01"),
        (({}, {"lr": 0.02}), ({}, {}), "learning_rate", 2, "of parameter_1, parameter_2: 0.02 against 0.001"),
        (
            ({"lr": 0.01}, {"lr": 0.02}),
            ({"lr": 0.02}, {"lr": 0.01}),
            "learning_rate",
            0,
            "learning_rate: 0.01 (parameter_0) and 0.02 (parameter_1, parameter_2) against 0.02 (parameter_0) and 0.01",
        ),
        (({}, {"weight_decay": 0.3}), ({}, {"weight_decay": 0.1}), "weight_decay", 2, ": l2 0.3 against l2 0.1"),
        (({}, {"weight_decay": 0.3}), ({}, {}), "weight_decay", 2, "parameter_1, parameter_2: l2 0.3 against none"),
        (({"grad_centralization": True}, {}), ({}, {}), "group_centralization", 1, "parameter_0: True against False"),
    ],
)
def test_a_planted_difference_in_a_group_is_named(here: Any, there: Any, name: str, weights: int, said: str) -> None:
    for optimizers in ((of_groups(*here), of_groups(*there)), (of_groups(*there), of_groups(*here))):
        pair = compare(*optimizers, **GROUPED).pairs[0]
        assert pair.causes is not None
        assert [cause.name for cause in pair.causes] == [name], pair.sentences
        assert len(pair.causes[0].weights) == weights
        assert pair.causes[0].explained >= 0.999
        if optimizers[0] == of_groups(*here):
            assert said in pair.sentences[0]


def test_differences_that_are_equally_large_in_two_groups_are_found() -> None:
    weights, gradients = [np.zeros(3), np.zeros(3)], [np.ones((20, 3)), np.ones((20, 3))]
    first, second = [{"params": [0], "lr": 0.1}, {"params": [1], "lr": 0.2}], {"params": [0, 1], "lr": 0.15}
    found = compare((OURS[1], {"params": first}), (OURS[1], {"params": [second]}), weights=weights, gradients=gradients)
    assert found.pairs[0].sentences == [
        "learning_rate: 0.1 (parameter_0) and 0.2 (parameter_1) against 0.15 explains 100% of it"
    ]


def test_groups_against_none() -> None:
    """Decay by names, decay of everything, decoupled decay, and what the groups replace."""
    names, shapes = ["dense.weight", "bn.gamma"], [(4, 3), (5,)]
    drawn = random_stream(shapes, 50)
    arrays = [np.stack([drawn.gradients(step)[i] for step in range(50)]) for i in range(2)]
    given: dict[str, Any] = {"weights": drawn.weights, "gradients": arrays, "names": names}
    everyone = [{"params": names}]
    plain, grouped = (OURS[1], {"weight_decay": 0.1}), (OURS[1], {"weight_decay": 0.1, "params": everyone})
    pair = compare(plain, grouped, **given).pairs[0]
    assert pair.sentences == ["weight_decay of bn.gamma: none against l2 0.1 explains 100% of it"]
    explicit = (OURS[1], {"learning_rate": 7.0, "params": [{"params": names, "lr": 1e-3, "weight_decay": 0.1}]})
    assert compare(grouped, explicit, **given).agree
    # Where every group has a rate of its own, that of the optimizer is no difference, and is not named.
    other = (OURS[1], {"learning_rate": 7.0, "params": [{"params": names, "lr": 2e-3, "weight_decay": 0.1}]})
    found = compare(grouped, other, **given)
    assert found.pairs[0].sentences == ["learning_rate: 0.001 against 0.002 explains 100% of it"]
    assert found.runs[1].hyperparameters["learning_rate"] == "0.002"
    models = [spread(model_of(prepare(*asked, names)), names) for asked in (grouped, other)]
    assert [difference.name for difference in differences(models[0], models[1], names)] == ["learning_rate"]
    decoupled = (OURS[0], {"weight_decay": 0.1, "epsilon": 1e-8})
    found = compare(decoupled, (OURS[1], {"params": [{"params": [0], "weight_decay": 0.1}, {"params": [1]}]}), **given)
    assert found.pairs[0].sentences == [
        "weight_decay: decoupled 0.1 against l2 0.1 (dense.weight) and none (bn.gamma) explains 100% of it"
    ]
    centralized = (OURS[1], {"params": [{"params": names, "grad_centralization": True}]})
    found = compare((OURS[0], {"epsilon": 1e-8}), centralized, **given)
    assert found.pairs[0].sentences == ["group_centralization: False against True explains 100% of it"]


def test_what_no_fact_of_groups_explains_is_said_to_be_unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimizer that takes the gradients of its groups in the wrong order."""
    from adamcompat.drive.driver import Opened

    monkeypatch.setattr(Opened, "ordered", lambda self, gradients: tuple(gradients)[::-1])
    groups = [{"params": [0], "lr": 0.01}, {"params": [1], "lr": 0.02}]
    found = compare(
        (OURS[1], {"params": groups}), ("float64:mindspore", {"params": groups}), shapes=[(3,), (3,)], steps=50
    )
    assert found.pairs[0].causes == []
    assert found.pairs[0].sentences == ["100% is explained by no difference that the mapping knows"]


def test_what_no_fact_explains_is_said_to_be_unexplained(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimizer with a mistake of its own: it forgets every gradient of the second parameter."""
    from adamcompat.drive.numpy import NumPyDriver

    step = NumPyDriver.step

    def wrong(self: NumPyDriver, gradients: Any) -> None:
        step(self, [gradients[0], gradients[1] * 0] if self.opened.entry.name == OURS[1] else gradients)

    monkeypatch.setattr(NumPyDriver, "step", wrong)
    pair = compare(*OURS, hyperparameters={"epsilon": 1e-8}, steps=50).pairs[0]
    assert pair.causes == []
    assert pair.sentences == ["100% is explained by no difference that the mapping knows"]


def test_equal_optimizers_agree_in_every_bit() -> None:
    found = compare(*OURS, hyperparameters={"lr": 0.01, "eps": 1e-6}, steps=50)
    assert found.agree
    assert (found.pairs[0].spacings, found.pairs[0].first_step, found.pairs[0].sentences) == (0, None, [])
    assert found.pairs[0].nearer is None


def test_the_first_step_that_differs_and_the_nearer_one() -> None:
    rates = [0.01] * 5 + [0.02] * 5
    found = compare(
        (OURS[0], {"learning_rate": 0.01}), (OURS[0], {"learning_rate": rates}), "float64(learning_rate=0.01)", steps=10
    )
    assert found.pair(found.runs[0].label, found.runs[1].label).first_step == 6
    pair = found.pair("float64(learning_rate=0.01)", found.runs[0].label)
    assert pair.nearer == "float64(learning_rate=0.01)"
    assert found.runs[2].to_float64 == 0 < found.runs[0].to_float64
    with pytest.raises(KeyError, match="no pair of 'x' and 'y'"):
        found.pair("x", "y")


def halved(step: int) -> float:
    return 0.1 * 0.5**step


_SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "tf": (OURS[0], {"learning_rate": 0.1, "epsilon": 1e-8}),
    "tf, its rate a callable": (OURS[0], {"learning_rate": halved, "epsilon": 1e-8}),
    "tf, decay": (OURS[0], {"learning_rate": 0.1, "epsilon": 1e-8, "weight_decay": 0.3}),
    "tf, all that MindSpore lacks": (
        OURS[0],
        {"gradient_accumulation_steps": 2, "clipnorm": 0.1, "use_ema": True, "ema_overwrite_frequency": 2},
    ),
    "ms": (OURS[1], {"learning_rate": 0.1}),
    "tf, adamw": (DECOUPLED[0], {"learning_rate": 0.1, "weight_decay": 0.3}),
    "ms, adamweightdecay": (DECOUPLED[1], {"learning_rate": 0.1, "weight_decay": 0.2}),
    "ms, adamweightdecay, its decay a callable": (DECOUPLED[1], {"weight_decay": halved}),
    "ms, its rate a callable, l2": (OURS[1], {"learning_rate": halved, "weight_decay": 0.2}),
    "ms, its rate a list, its l2 a callable": (
        OURS[1],
        {"learning_rate": [0.3, 0.2, 0.1, 0.4], "weight_decay": halved},
    ),
}


@pytest.mark.parametrize(("here", "there"), list(permutations(_SIDES, 2)))
def test_with_every_difference_one_optimizer_is_the_other(here: str, there: str) -> None:
    """No fact stays behind that is kept in two places, as a number and as what is asked at each step."""
    names = ["w", "bn.gamma"]
    opened = prepare(*_SIDES[here], names)
    model, other = model_of(opened), model_of(prepare(*_SIDES[there], names))
    for difference in differences(model, other, names):
        model = difference.apply(model)
    assert not differences(model, other, names)
    at_steps = [
        {name: rates for name, schedule in one.hyper.schedules.items() if any(rates := [*map(schedule.at, range(3))])}
        for one in (model, other)
    ]
    assert at_steps[0] == at_steps[1]
    assert model.hyper.values.keys() == other.hyper.values.keys()
    drivers = [EngineDriver(opened, one, [np.ones(3), np.ones(2)]) for one in (model, other)]
    for step in range(4):
        for driver in drivers:
            driver.step([np.full(3, 0.5 - step), np.full(2, 1.5)])
    for one, same in zip(*(driver.parameters() for driver in drivers), strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("accumulation_steps", "gradient_accumulation_steps=2"),
        ("clip_norm", "clipnorm=0.01"),
        ("clip_value", "clipvalue=0.01"),
        ("global_clip_norm", "global_clipnorm=0.01"),
        ("use_ema", "use_ema=True"),
        ("use_ema", "use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3"),
        ("loss_scale", "loss_scale_factor=4.0"),
        ("weight_decay", "weight_decay=0.1"),
    ],
)
def test_a_stage_that_only_one_side_has_explains_from_either(name: str, given: str) -> None:
    sides = (f"{OURS[0]}({given})", f"{OURS[1]}(eps=1e-7)")
    for optimizers in (sides, sides[::-1]):
        pair = compare(*optimizers, steps=12, shapes=[(3,)]).pairs[0]
        if given == "use_ema=True":
            # An average that is never written back changes no weight.
            assert pair.agree
            continue
        assert [cause.name for cause in pair.causes or []] == [name], pair.sentences
        assert pair.unexplained == 0


@pytest.mark.parametrize("stock", [pytest.param(True, marks=pytest.mark.frameworks), False], ids=["stock", "ours"])
def test_bias_correction_is_what_tells_adamw_from_adamweightdecay(stock: bool) -> None:
    if stock and not (installed("keras") and installed("mindspore")):
        pytest.skip("the frameworks are not installed")
    for here, there in permutations(("keras_adamw", "mindspore_adamweightdecay") if stock else DECOUPLED):
        found = compare(here, there, hyperparameters={"epsilon": 1e-7, "weight_decay": 0.01}, steps=300).pairs[0]
        assert found.causes is not None
        assert [cause.name for cause in found.causes][:1] == ["bias correction"]
        assert found.causes[0].explained >= 0.99
        assert found.unexplained < 1e-4


@pytest.mark.parametrize("stock", [pytest.param(True, marks=pytest.mark.frameworks), False], ids=["stock", "ours"])
def test_the_kind_of_decay_is_what_tells_keras_from_mindspore(stock: bool) -> None:
    if stock and not (installed("keras") and installed("mindspore")):
        pytest.skip("the frameworks are not installed")
    sides = ("keras", "mindspore") if stock else OURS
    given = {"weight_decay": 0.01, "epsilon": 1e-8}
    found = compare(*((side, given) for side in sides), steps=100)
    causes = found.pairs[0].causes
    assert causes is not None
    assert causes[0].name == "weight_decay"
    assert causes[0].explained >= 0.99


@pytest.mark.parametrize("other", [OURS[1], DECOUPLED[0]])
def test_groups_that_decay_apart_from_the_update(other: Any) -> None:
    groups: list[dict[str, Any]] = [{"params": [0], "weight_decay": 0.3}, {"params": [1]}]
    grouped: Any = (DECOUPLED[1], {"params": groups, "weight_decay": 0.1})
    for pair in permutations(((DECOUPLED[1], {"weight_decay": 0.1}), grouped)):
        found = compare(*pair, steps=50).pairs[0]
        assert [cause.name for cause in found.causes or []] == ["weight_decay"], found.sentences
        assert (found.causes or [])[0].weights == ["parameter_0"]
    for pair in permutations((grouped, (other, {"weight_decay": 0.1, "epsilon": 1e-6}))):
        found = compare(*pair, steps=50).pairs[0]
        assert found.unexplained == 0, found.sentences


@pytest.mark.parametrize("steps", [1, 3])
def test_every_step_is_told_when_it_is_done(steps: int) -> None:
    told: list[tuple[int, int]] = []
    compare(*OURS, steps=steps, shapes=[(2,)], advance=lambda done, total: told.append((done, total)))
    assert told == [(step, steps) for step in range(1, steps + 1)]


def golden(data: Any, name: str, steps: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Weights, gradients and the recorded result of a case."""
    if name.startswith("sparse"):
        dense = np.zeros((steps, *data["sparse/x0"].shape), np.float32)
        for step in range(steps):
            np.add.at(dense[step], data["sparse/indices"][step], data["sparse/values"][step])
        return [data["sparse/x0"]], [dense], [data[f"{name}/{steps}"]]
    arrays = [[data[f"{kind}/{i}"] for i in range(3)] for kind in ("x0", "grad", f"{name}/{steps}")]
    return arrays[0], [array[:steps] for array in arrays[1]], arrays[2]


def assert_repeats(found: Comparison, recorded: list[NDArray[Any]]) -> None:
    for run in found.runs:
        off = distance(run.parameters, recorded, Scales(recorded).units)
        assert off.spacings <= 2, run.label
        assert not np.array_equal(run.parameters[0], found.runs[0].parameters[0] * 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stock", [pytest.param(True, marks=pytest.mark.frameworks), False], ids=["stock", "ours"])
@pytest.mark.parametrize("name", TF_META["cases"])
def test_repeats_tensorflow_2_6(name: str, stock: bool) -> None:
    numerics = "tf1" if name.startswith("v1") else "tf26"
    if stock and not installed(numerics):
        pytest.skip("TensorFlow is not installed")
    given = tf_hyperparameters(name)
    ours = (OURS[0], {**given, "numerics": numerics})
    others: list[Any] = [(numerics, given)] if stock else [(f"float64:{numerics}", given)]
    for steps in TF_META["keep"] if not stock else (50,):
        weights, gradients, recorded = golden(TF, name, steps)
        found = compare(ours, *others, weights=weights, gradients=gradients, tolerance=np.inf)
        assert_repeats(found if stock else Comparison("", 0, 0, found.runs[:1], []), recorded)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stock", [pytest.param(True, marks=pytest.mark.frameworks), False], ids=["stock", "ours"])
@pytest.mark.parametrize("name", MS_META["cases"])
def test_repeats_mindspore_2_10(name: str, stock: bool) -> None:
    if stock and not installed("mindspore"):
        pytest.skip("MindSpore is not installed")
    given = dict(MS_META["cases"][name]["kwargs"])
    if name == "exponential_decay":
        given["learning_rate"] = exponential(0.01, 0.5, 5)
    if name in MS_GROUPS:
        given["params"] = MS_GROUPS[name]
    weights, gradients, recorded = golden(MS, name, 50)
    second = "mindspore" if stock else "float64:mindspore"
    found = compare(
        (OURS[1], {**given, "numerics": "mindspore"}), (second, given),
        weights=weights, gradients=gradients, names=MS_META["names"], tolerance=np.inf,
    )  # fmt: skip
    assert_repeats(found if stock else Comparison("", 0, 0, found.runs[:1], []), recorded)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_the_originals_defaults() -> None:
    for name in ("tf26", "mindspore"):
        if not installed(name):
            pytest.skip(f"{name} is not installed")
    found = compare("keras", "tf26", "tf1", "mindspore", "mindspore:graph", steps=60)
    assert found.pair("keras", "tf26").sentences == [
        "numerics.one_minus_beta: float64 against scalar explains 100% of it"
    ]
    assert found.pair("tf1", "mindspore").agree
    assert found.pair("mindspore", "mindspore:graph").first_step is None
    for first, second in (("keras", "mindspore"), ("tf26", "tf1")):
        assert (found.pair(first, second).causes or [])[0].name == "epsilon"


def test_distance_of_what_is_not_finite() -> None:
    one = [np.array([1.0, np.nan, np.inf], np.float32)]
    units = Scales(one).units
    assert units == [np.spacing(np.float32(1))]
    assert distance(one, [one[0].copy()], units) == (0, 0)
    assert distance(one, [np.array([1.0, 2.0, np.inf], np.float32)], units).spacings == np.inf
    assert distance([one[0][:0]], [one[0][:0]], Scales([one[0][:0]]).units) == (0, 0)
    big = [np.array([2.0**24, 1.0], np.float32)]
    assert distance(big, [big[0] + np.array([0, 1], np.float32)], Scales(big).units) == (0.5, 1.0)


def test_a_tensor_that_comes_by_zero_keeps_its_scale() -> None:
    gradients = np.repeat(np.array([1.0, -1.0], np.float32), (20, 80)).reshape(100, 1)
    found = compare(
        "adamcompat.TFStyleAdam", "adamcompat.TFStyleAdam(numerics='tf1')",
        hyperparameters={"epsilon": 1e-8, "lr": 0.1}, weights=[np.zeros(1, np.float32)], gradients=[gradients],
    )  # fmt: skip
    # The parameter goes to about -2 and back through zero, where its own spacing would be tiny.
    assert float(found.runs[0].parameters[0][0]) > 0
    assert 0 < max(point.spacings for point in found.pairs[0].curve[20:]) < 24


def test_random_streams_repeat_themselves_and_differ_by_seed() -> None:
    one, other = random_stream([(3, 2), ()], 5), random_stream([(3, 2), ()], 5, seed=1)
    for step in range(5):
        assert all(np.array_equal(a, b) for a, b in zip(one.gradients(step), one.gradients(step), strict=True))
    assert not np.array_equal(one.gradients(0)[0], one.gradients(1)[0])
    assert not np.array_equal(one.weights[0], other.weights[0])
    assert one.gradients(0)[1].shape == ()


@pytest.mark.parametrize(
    ("optimizers", "given", "text"),
    [
        (["float64"], {}, "got 1 optimizers; name at least two"),
        (["float64", "float64"], {}, "'float64' is given twice"),
        (["float64", "flaot64"], {}, "did you mean 'float64'"),
        (["float64", "float64(epsilon)"], {}, "not a name with hyperparameters"),
        (["float64", "float64(epsilon=1e-8"], {}, "not a name with hyperparameters"),
        (["float64", "recorded"], {}, "'recorded' stands for the parameters of a recording"),
        (["float64", "tf26"], {"hyperparameters": {"weight_decay": 0.1}}, "tf26 has no counterpart of 'weight_decay'"),
        (
            ["float64", "mindspore"],
            {"hyperparameters": {"params": [{"params": [0, 1]}]}},
            "float64 takes no parameter groups: Keras 3 has one set of hyperparameters for all weights. Leave 'params'",
        ),
        ([f"{OURS[1]}(params=[{{'params': [0]}}])", OURS[0]], {}, "weight 'parameter_1' is in no group; put each in"),
        (["float64", OURS[0]], {"steps": 0}, "steps must be at least 1"),
        (["float64", OURS[0]], {"shapes": []}, "no shapes"),
        (["float64", OURS[0]], {"tolerance": -1.0}, "tolerance must be at least 0"),
        (["float64", OURS[0]], {"gradients": [np.ones((3, 2))]}, "need the weights"),
        (["float64", OURS[0]], {"gradients": [np.ones((3, 2))], "weights": [np.ones(3)]}, "expected the steps"),
        (["float64", OURS[0]], {"gradients": [np.ones((3, 2))], "weights": [np.ones(2)] * 2}, "give one of each"),
        (["float64", OURS[0]], {"weights": [np.ones(2)]}, "belong to gradients"),
    ],
)
def test_mistakes_are_named(optimizers: list[str], given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        compare(*optimizers, **given)


COMMAND = ["compare", "adamcompat.TFStyleAdam", "adamcompat.MindSporeStyleAdam", "--steps", "30", "--shape", "4x3"]


def test_the_command_names_the_difference_and_exits_with_1(capsys: Any) -> None:
    assert cli.main(COMMAND) == 1
    out = capsys.readouterr().out
    assert "epsilon: 1e-07 against 1e-08 explains" in out
    assert "1 of 1 pairs differ by more than 2 spacings." in out
    assert "30 steps of random gradients, seed 0, shapes 4x3" in out


@pytest.mark.parametrize("columns", [40, 80])
def test_the_verdict_stands_first_and_no_word_or_number_is_broken(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    cli.main(["compare", OURS[0], f"{OURS[0]}(epsilon=1e-8)", "float64", "--steps", "30", "--tolerance", "9"])
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    words = " ".join(out.split())
    assert words.startswith("2 of 3 pairs differ by more than 9 spacings. adamcompat.TFStyleAdam | adamcompat.")
    assert "TFStyleAdam(epsilon=1e-8): differ from step 1 on, by up to 1.2e+05 spacings epsilon: 1e-07 against" in words
    assert "adamcompat.TFStyleAdam | float64: agree: apart from step 1 on, by up to" in words
    assert words.index("explains") < words.index("30 steps of random gradients") < words.index("largest difference")
    found = compare(OURS[0], f"{OURS[0]}(epsilon=1e-8)", "float64", steps=30)
    for pair in found.pairs:
        assert f"{pair.absolute:.3g}" in words
    for name in ("learning_rate=0.001,", "epsilon=1e-08", "beta2=0.999,"):
        assert name in words.split()


def test_the_command_says_of_equal_bits_that_they_are_equal(capsys: Any) -> None:
    assert cli.main([*COMMAND, "--set", "eps=1e-8"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "All agree within 2 spacings, in every step."
    assert second == f"{OURS[0]} | {OURS[1]}: equal bits in every step"


def test_the_command_exits_with_0_where_all_agree(capsys: Any) -> None:
    assert cli.main([*COMMAND, "--set", "eps=1e-8"]) == 0
    assert "All agree within 2 spacings, in every step." in capsys.readouterr().out
    assert cli.main([*COMMAND, "--tolerance", "1e9"]) == 0


def test_the_command_with_groups(capsys: Any) -> None:
    """For all with --set, for one in parentheses; names of weights, and what two groups are called."""
    base = ["compare", "--steps", "20", "--shape", "4x3", "--shape", "5"]
    both = [OURS[1], f"{OURS[1]}(params=[{{'params': ['parameter_0'], 'lr': 0.01}}, {{'params': [1]}}])"]
    assert cli.main([*base, *both]) == 1
    assert "learning_rate of parameter_0: 0.001 against 0.01 explains 100% of it" in capsys.readouterr().out
    everyone = ["--set", "params=[{'params': [0, 1], 'lr': 0.01}]"]
    assert cli.main([*base, *everyone, OURS[1], "float64:mindspore"]) == 0
    capsys.readouterr()
    assert cli.main([*base, *everyone, *OURS]) == 2
    assert "TFStyleAdam takes no parameter groups" in capsys.readouterr().err
    assert cli.main([*base, "--set", "params=[{'params': [0, 1], 'rate': 0.01}]", OURS[1], "float64:mindspore"]) == 2
    assert "group 0 has the key 'rate'; known keys:" in capsys.readouterr().err


def test_the_command_in_json(capsys: Any) -> None:
    assert cli.main([*COMMAND, "--format", "json", "--seed", "3"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [run["label"] for run in found["optimizers"]] == list(OURS)
    assert found["pairs"][0]["causes"][0]["name"] == "epsilon"
    assert len(found["pairs"][0]["curve"]) == 30
    assert "seed 3" in found["about"]


def test_the_command_draws(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("matplotlib")
    drawing, page = tmp_path / "drift.png", tmp_path / "drift.html"
    assert cli.main([*COMMAND, "--plot", str(drawing), "--html", str(page)]) == 1
    assert drawing.read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text
    assert "epsilon: 1e-07 against 1e-08 explains" in re.sub("<[^>]*>", "", text)
    assert not [word for word in ('src="http', 'href="http', "url(http", "<script") if word in text]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drift.html", "drift.png"]
    capsys.readouterr()
    assert cli.main([*COMMAND, "--plot", str(tmp_path / "drift.xyz")]) == 2
    assert "cannot draw a xyz; use one of" in capsys.readouterr().err
    assert cli.main([*COMMAND, "--html", str(tmp_path / "no" / "drift.html")]) == 2
    assert "the folder does not exist" in capsys.readouterr().err


def test_a_page_is_for_narrow_screens_and_for_dark_ones(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = compare(OURS[0], f"{OURS[0]}(epsilon=1e-8)", steps=20, shapes=[(3,)])
    found.html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<meta name="viewport" content="width=device-width' in text
    assert "@media(prefers-color-scheme:dark)" in text
    # A table that is too wide is scrolled where it stands, and its words are not broken.
    assert text.count("<table>") == len(re.findall(r'<div class="wide"[^>]*>\n<table>', text)) == 2
    assert "overflow-x:auto" in text and "overflow-wrap:anywhere" not in text
    assert '<span class="whole">1e-08</span>' in text and ".whole{white-space:nowrap}" in text
    # The verdict stands above all else.
    assert text.index("1 of 1 pairs differ") < text.index("explains") < text.index("20 steps") < text.index("<svg")


@pytest.mark.parametrize("alone", [True, False])
def test_a_drawing_in_svg_has_the_colours_of_its_page(alone: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from adamcompat.comparison import plot

    found = compare(OURS[0], f"{OURS[0]}(epsilon=1e-8)", steps=20, shapes=[(3,)])
    text = plot.svg(found, alone=alone)
    if alone:
        found.plot(tmp_path / "drift.svg")
        assert (tmp_path / "drift.svg").read_text(encoding="utf-8") == text
    colours = set(re.findall("#[0-9a-f]{6}", text))
    # Beside the lines only those of the two grounds; no black and no white is drawn.
    lines = {colour.lower() for colour in plot.COLOURS[:1]} | {"#808080"}
    assert colours == lines | ({"#1b1f24", "#e6edf3", "#0d1117"} if alone else set())
    assert text.count("currentColor") > 20
    assert ("prefers-color-scheme" in text, text.startswith("<svg")) == (alone, not alone)


def test_labels_of_a_drawing_keep_away_from_its_edges() -> None:
    pytest.importorskip("matplotlib")
    from adamcompat.comparison import plot

    found = compare(OURS[0], f"{OURS[0]}(epsilon=1e-8)", steps=1000, shapes=[(3,)])
    drawing = plot.figure(found)
    drawing.draw_without_rendering()
    # In inches.
    box, (width, height) = drawing.get_tightbbox(), drawing.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0.05
    (axes,) = drawing.axes
    # Nor does a line reach the upper end.
    assert axes.get_ylim()[1] > 1.5 * found.pairs[0].spacings


def test_a_drawing_says_where_the_unit_doubles() -> None:
    """A weight that passes 2 has another spacing from there on; the difference goes on as before."""
    pytest.importorskip("matplotlib")
    from adamcompat.comparison import plot

    found = compare(
        f"{OURS[0]}(learning_rate=0.1)", f"{OURS[0]}(learning_rate=0.101)",
        weights=[np.full(1, 1.05, np.float32)], gradients=[np.full((20, 1), -1.0, np.float32)],
    )  # fmt: skip
    (pair,) = found.pairs
    larger = float(found.runs[1].parameters[0][0])
    assert 2 < larger < 4
    assert pair.doubled == [10]
    assert found.to_dict()["pairs"][0]["doubled"] == [10]
    before, after = pair.curve[8:10]
    assert after.spacings < 0.6 * before.spacings and after.absolute > before.absolute
    note = "step 10: the unit doubles, for a tensor's largest value passes a power of two"
    assert plot.notes(found) == [note]
    assert plot.figure(found).axes[0].get_xlabel() == f"step\n{note}"
    assert plot.notes(compare(*OURS, steps=5, shapes=[(3,)], hyperparameters={"epsilon": 1e-8})) == []


def test_a_distance_that_falls_by_itself_is_no_unit_that_doubles() -> None:
    """One weight comes back to its other self, while a larger one goes on: in absolute terms nothing falls."""
    there_and_back = np.concatenate([np.full((5, 1), -1.0), np.full((5, 1), 1.0)]).astype(np.float32)
    found = compare(
        f"{OURS[0]}(learning_rate=0.1)", f"{OURS[0]}(learning_rate=0.11)", hyperparameters={"beta_1": 0.0},
        # The larger one passes 1,024 at the step at which the smaller one falls; its unit is not the one that counts.
        weights=[np.full(1, 2.5, np.float32), np.full(1, 1023.05, np.float32)],
        gradients=[there_and_back, np.full((10, 1), -1.0, np.float32)],
    )  # fmt: skip
    before, after = found.pairs[0].curve[7:9]
    assert after.spacings < 0.6 * before.spacings and after.absolute > before.absolute
    assert found.pairs[0].doubled == []


def test_a_drawing_has_a_place_for_equal_bits_and_for_powers_of_ten() -> None:
    pytest.importorskip("matplotlib")
    from adamcompat.comparison import plot

    sides = "adamcompat.TFStyleAdam", "adamcompat.TFStyleAdam(epsilon=1e-7)", "adamcompat.TFStyleAdam(epsilon=1e-3)"
    found = compare(*sides, steps=20, shapes=[(3,)])
    (axes,) = plot.figure(found).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "symlog")
    assert axes.get_ylim()[0] == 0
    assert axes.get_xlim() == (1, 20)
    pairs = {plot._label(pair): pair for pair in found.pairs}
    drawn = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    tolerance = drawn.pop("tolerance")
    assert set(tolerance[:, 1]) == {found.tolerance}
    assert drawn.keys() == pairs.keys()
    assert [label for label in drawn if label.endswith(": equal bits")] == [f"{sides[0]} and {sides[1]}: equal bits"]
    for label, points in drawn.items():
        assert points.tolist() == [[step, distance] for step, distance, _ in pairs[label].curve]
        assert np.isfinite(axes.transData.transform(points)).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["compare", "float64"], "name at least two"),
        (["compare", "float64", "kears"], "did you mean 'keras'"),
        (["compare", "float64", "recorded", "--gradients", "missing.safetensors"], "missing.safetensors is no file"),
        (["compare", "float64", "recorded", "--gradients", "x", "--seed", "1"], "leave out --gradients"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], text: str, capsys: Any) -> None:
    assert cli.main(arguments) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("--set=epsilon", "is not of the form name=value"),
        ("--set=epsilon=tiny", "is no number"),
        ("--set=params=[{params: [0]}]", "in quotes, as in Python"),
        ("--shape=3x0", "is no shape"),
    ],
)
def test_arguments_that_cannot_be_read(argument: str, text: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        cli.main([*COMMAND, argument])
    assert text in capsys.readouterr().err


def test_a_difference_that_no_spacing_measures_is_one() -> None:
    """A rate that float32 does not hold: its weights are infinite, those of float64 are not."""
    found = compare("float64", "adamcompat.TFStyleAdam", hyperparameters={"learning_rate": 1e300}, steps=3)
    assert not found.agree
    assert found.pairs[0].spacings == float("inf")


def test_numbers_of_the_comparison_are_looked_at_first() -> None:
    for given, text in (
        ({"steps": 10**23}, "steps must be at most 10,000,000, got about 1e+23"),
        ({"seed": -1}, "the seed must be at least 0"),
        ({"shapes": [(10**6, 10**6)]}, "1,000,000,000 are the most"),
        ({"tolerance": float("nan")}, "tolerance must be at least 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(text)):
            compare("float64", "adamcompat.TFStyleAdam", **given)
