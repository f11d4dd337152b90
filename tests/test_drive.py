"""One interface to every optimizer: names, hyperparameters in any dialect, the same bits as a direct call."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, Parameter, RowSparse, TFStyleAdam
from adamcompat.drive import entries, find, open_driver, prepare
from adamcompat.drive.groups import read_groups
from adamcompat.mapping.tables import MAPPING

ROOT = Path(__file__).parent.parent
Arrays = list[NDArray[Any]]
NAMES = ("dense.weight", "bn.gamma", "scale")
SHAPES = ((3, 5), (7,), ())


def stream(steps: int = 12) -> tuple[Arrays, list[Arrays]]:
    rng = np.random.default_rng(4)

    def draw() -> Arrays:
        return [np.asarray(rng.standard_normal(shape), np.float32) for shape in SHAPES]

    return draw(), [draw() for _ in range(steps)]


def end(name: str, hyperparameters: dict[str, Any]) -> Arrays:
    weights, gradients = stream()
    driver = open_driver(name, weights, hyperparameters, NAMES)
    for gradient in gradients:
        driver.step(gradient)
    return driver.parameters()


def same(one: Arrays, other: Arrays) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_drives_our_classes_as_a_direct_call_does() -> None:
    weights, gradients = stream()
    called = [weight.copy() for weight in weights]
    given: dict[str, Any] = {"learning_rate": 0.1, "weight_decay": 0.2, "numerics": "mindspore"}
    optimizer = MindSporeStyleAdam([Parameter(a, n) for a, n in zip(called, NAMES, strict=True)], **given)
    for gradient in gradients:
        optimizer(tuple(gradient))
    assert same(end("adamcompat.MindSporeStyleAdam", given), called)

    applied = [weight.copy() for weight in weights]
    tensorflow = TFStyleAdam(0.1, weight_decay=0.2)
    for gradient in gradients:
        tensorflow.apply_gradients(zip(gradient, applied, strict=True))
    assert same(end("adamcompat.TFStyleAdam", {"learning_rate": 0.1, "weight_decay": 0.2}), applied)
    assert not same(called, applied)


GROUPS: list[dict[str, Any]] = [
    {"params": ["scale"], "group_learning_rate": 0.3},
    {"params": [1, 0], "weight_decay": 0.5},
    {"order_params": ["bn.gamma", 2, 0]},
]
# What each weight of NAMES is updated with.
EACH = [{"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.1, "weight_decay": 0.5}, {"lr": 0.3, "weight_decay": 0.2}]


def assert_groups_work(name: str) -> None:
    """Each weight goes the way that it goes alone, with the hyperparameters of its group for all."""
    weights, gradients = stream()
    got = end(name, {"lr": 0.1, "weight_decay": 0.2, "eps": 1e-6, "params": GROUPS})
    for i, given in enumerate(EACH):
        driver = open_driver(name, weights[i : i + 1], {**given, "eps": 1e-6}, ["alone"])
        for gradient in gradients:
            driver.step(gradient[i : i + 1])
        assert same(got[i : i + 1], driver.parameters()), (name, i)


@pytest.mark.parametrize("name", ["adamcompat.MindSporeStyleAdam", "float64:mindspore"])
def test_groups(name: str) -> None:
    assert_groups_work(name)


def test_schedules_and_centralization_of_groups() -> None:
    rates = [0.1 / (t + 1) for t in range(12)]
    groups = [{"params": [0], "lr": rates, "group_centralization": True}, {"params": [1, 2], "lr": lambda t: rates[t]}]
    for name in ("adamcompat.MindSporeStyleAdam", "float64:mindspore"):
        got = end(name, {"parameters": groups})
        plain = end(name, {"lr": rates})
        assert same(got[1:], plain[1:])
        assert not same(got[:1], plain[:1]), "centralized"


@pytest.mark.parametrize(
    ("name", "groups", "error", "text"),
    [
        ("adamcompat.TFStyleAdam", GROUPS, ValueError, "takes no parameter groups: Keras 3 has one set of"),
        ("float64", GROUPS, ValueError, "float64 takes no parameter groups"),
        ("float64:mindspore", 3, ValueError, "params must be a list of groups, such as"),
        ("float64:mindspore", [0, 1, 2], ValueError, "params must be a list of groups, such as"),
        ("float64:mindspore", [], ValueError, "params must not be empty"),
        ("float64:mindspore", [{"params": "scale"}], TypeError, "params must be a list of names or positions"),
        ("float64:mindspore", [{"lr": 0.1}], KeyError, "group 0 has no 'params'"),
        ("float64:mindspore", [{"params": [0], "learning_rate": 1.0}], KeyError, "has the key 'learning_rate'; known"),
        ("float64:mindspore", [{"params": [0], "lr": 1.0, "group_learning_rate": 1.0}], ValueError, "has 'lr' twice"),
        ("float64:mindspore", [{"params": [0, 1, 2], "lr": -1.0}], ValueError, "lr must lie in"),
        ("float64:mindspore", [{"params": [0, 1, 3]}], ValueError, "group 0 lists the weight 3, which is neither"),
        ("float64:mindspore", [{"params": [True]}], ValueError, "group 0 lists the weight True"),
        ("float64:mindspore", [{"params": ["scal"]}], ValueError, "did you mean 'scale'"),
        ("float64:mindspore", [{"params": [0, 1]}], ValueError, "weight 'scale' is in no group"),
        ("float64:mindspore", [{"params": [0, 1]}, {"params": [1, 2]}], ValueError, "'bn.gamma' is listed twice"),
        (
            "float64:mindspore",
            [{"params": [0, 1, 2]}, {"order_params": [0, 1, 1]}],
            ValueError,
            "'bn.gamma' is listed twice",
        ),
    ],
)
def test_mistakes_in_groups_are_named(name: str, groups: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        open_driver(name, stream()[0], {"params": groups}, NAMES)


def test_groups_have_one_name() -> None:
    with pytest.raises(ValueError, match="'parameters' and 'params' mean the same; give one"):
        end("float64:mindspore", {"params": GROUPS, "parameters": GROUPS})
    assert prepare("keras", {"params": None}).groups is None
    with pytest.raises(ValueError, match="have the same name"):
        prepare("float64", {}, ["a", "a"])


def test_leaves_the_given_weights_alone() -> None:
    weights, gradients = stream()
    before = [weight.copy() for weight in weights]
    driver = open_driver("adamcompat.TFStyleAdam", weights)
    driver.step(gradients[0])
    driver.parameters()[0][...] = 7
    driver.slots()["parameter_0_momentum"][...] = 7
    assert same(weights, before)
    assert not (driver.parameters()[0] == 7).any()
    assert not (driver.slots()["parameter_0_momentum"] == 7).any()


@pytest.mark.parametrize("name", ["lr", "learning_rate"])
@pytest.mark.parametrize("epsilon", ["eps", "epsilon"])
@pytest.mark.parametrize("beta", ["beta1", "beta_1"])
def test_names_of_any_dialect(name: str, epsilon: str, beta: str) -> None:
    for optimizer in ("adamcompat.TFStyleAdam", "adamcompat.MindSporeStyleAdam", "float64"):
        got = end(optimizer, {name: 0.1, epsilon: 1e-3, beta: 0.5})
        assert same(got, end(optimizer, {"learning_rate": 0.1, "epsilon": 1e-3, "beta1": 0.5}))
        assert not same(got, end(optimizer, {}))


def test_weight_decay_means_what_it_means_there() -> None:
    def native(name: str, given: dict[str, Any]) -> dict[str, Any]:
        return prepare(name, given).native

    assert native("keras", {"decoupled_weight_decay": 0.1}) == native("keras", {"weight_decay": 0.1})
    assert native("tf26", {"lr": 0.1}) == {"learning_rate": 0.1}
    assert native("mindspore", {"l2_weight_decay": 0.1}) == native("mindspore", {"weight_decay": 0.1})
    with pytest.raises(ValueError, match="mindspore has no counterpart of 'decoupled_weight_decay'"):
        native("mindspore", {"decoupled_weight_decay": 0.1})
    with pytest.raises(ValueError, match="tf26 has no counterpart of 'weight_decay'"):
        native("tf26", {"weight_decay": 0.1})


def test_what_asks_for_nothing_is_left_out() -> None:
    given = {"weight_decay": 0, "use_nesterov": False, "clipnorm": None, "use_offload": True, "loss_scale": 1.0}
    assert prepare("tf1", given).native == {}
    with pytest.warns(UserWarning, match="no counterpart of 'use_locking'"):
        assert prepare("keras", {"use_locking": True}).native == {}
    with pytest.raises(ValueError, match="no counterpart of 'amsgrad'"):
        prepare("tf1", {"amsgrad": True})


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("kears", {}, "unknown optimizer 'kears'; did you mean 'keras'"),
        ("nothing like it at all", {}, "known: keras3, tf_keras, keras3_adamw, tf_keras_adamw, tf26"),
        ("mindspore:eager", {}, "has no mode 'eager'; modes of mindspore: pynative, graph"),
        ("adamcompat.TFStyleAdam:graph", {}, "modes of adamcompat.TFStyleAdam: none"),
        ("float64", {"epsilom": 1}, "no parameter 'epsilom'; did you mean 'epsilon'"),
        ("float64", {"lr": 0.1, "learning_rate": 0.1}, "'lr' and 'learning_rate' both mean 'learning_rate'"),
    ],
)
def test_mistakes_are_named(name: str, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        open_driver(name, stream()[0], given, NAMES)


def test_mistakes_in_weights_and_gradients() -> None:
    weights, gradients = stream()
    with pytest.raises(ValueError, match="no weights"):
        open_driver("float64", [])
    with pytest.raises(ValueError, match="got 2 names for 3 weights"):
        open_driver("float64", weights, {}, ["a", "b"])
    with pytest.raises(ValueError, match="dtype int64; expected float16"):
        open_driver("float64", [np.arange(3)])
    for name in ("float64", "adamcompat.TFStyleAdam"):
        driver = open_driver(name, weights)
        with pytest.raises(ValueError, match="got 2 gradients for 3 parameters"):
            driver.step(gradients[0][:2])
        with pytest.raises(ValueError, match="shape"):
            driver.step([gradients[0][1], gradients[0][1], gradients[0][2]])
        assert same(driver.parameters(), [w.astype(driver.parameters()[0].dtype) for w in weights])


def test_float64_follows_the_dialect_it_is_told() -> None:
    given = {"learning_rate": 0.1}
    assert not same(end("float64:keras3", given), end("float64:mindspore", given)), "their epsilons differ"
    assert same(end("float64:keras3", {**given, "eps": 1e-4}), end("float64:mindspore", {**given, "eps": 1e-4}))
    decayed = end("float64:mindspore", {"weight_decay": 0.5})
    plain = end("float64:mindspore", {})
    assert [not np.array_equal(a, b) for a, b in zip(decayed, plain, strict=True)] == [True, False, True]


def test_every_entry_is_found_by_its_names() -> None:
    for entry in entries():
        for name in (entry.name, *entry.aliases):
            assert find(name)[0] == entry


def available(name: str) -> None:
    runtime = find(name)[0].runtime
    if runtime.startswith("tensorflow") and find_spec("tf_keras") is None:
        pytest.skip("TensorFlow is not installed")
    if runtime == "mindspore" and find_spec("mindspore") is None:
        pytest.skip("MindSpore is not installed")


# An original, how else it can be run, and what must give its bits.
_EQUAL = [
    ("keras", "keras:function"),
    ("keras", "tf_keras"),
    ("keras", "adamcompat.tensorflow.Adam"),
    ("keras_adamw", "keras_adamw:function"),
    ("keras_adamw", "tf_keras_adamw"),
    ("keras_adamw", "adamcompat.tensorflow.AdamW"),
    ("tf26", "tf26:function"),
    ("tf26", "adamcompat.tensorflow.legacy.Adam"),
    ("tf1", "tf1:graph"),
    ("tf1", "adamcompat.tensorflow.v1.AdamOptimizer"),
    ("tf1", "adamcompat.tensorflow.v1.AdamOptimizer:graph"),
    ("mindspore", "mindspore:graph"),
    ("mindspore", "adamcompat.mindspore.Adam"),
    ("mindspore", "adamcompat.mindspore.Adam:graph"),
]
_EQUAL += [
    (f"adamcompat.{style}", f"adamcompat.tensorflow.{style}{mode}")
    for style in ("MindSporeStyleAdam", "MindSporeStyleAdamWeightDecay")
    for mode in ("", ":function")
]
_RATES: list[Any] = [0.1, [0.1 / (t + 1) for t in range(12)], lambda step: 0.1 / (step + 1)]


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rate", _RATES, ids=["number", "list", "callable"])
@pytest.mark.parametrize(("name", "other"), _EQUAL)
def test_originals(name: str, other: str, rate: Any) -> None:
    available(name)
    available(other)
    given = {"lr": rate, "eps": 1e-6}
    first, second, exact = (end(one, given) for one in (name, other, f"float64:{find(name)[0].dialect}"))
    assert same(first, second)
    for got, wanted in zip(first, exact, strict=True):
        assert got.dtype == np.float32
        assert np.abs(got - wanted).max() < 2e-5, "twelve steps of 0.1"


_GROUPED = [
    "mindspore",
    "mindspore:graph",
    "adamcompat.mindspore.Adam",
    "adamcompat.mindspore.Adam:graph",
    "adamcompat.tensorflow.MindSporeStyleAdam",
    "adamcompat.tensorflow.MindSporeStyleAdam:function",
]


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _GROUPED)
def test_groups_in_frameworks(name: str) -> None:
    available(name)
    assert_groups_work(name)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _GROUPED)
def test_schedules_of_groups(name: str) -> None:
    """A list or callable for one group, and a callable for the others."""
    available(name)
    rates, rising = [0.1 / (t + 1) for t in range(12)], [0.01 * (t + 1) for t in range(12)]
    for own in (rates, lambda step: 0.1 / (step + 1), 0.05):
        groups = [{"params": [1], "lr": own}, {"params": [0, 2]}]
        got = end(name, {"lr": lambda step: 0.01 * (step + 1), "eps": 1e-6, "params": groups})
        assert same(got[1:2], end(name, {"lr": own, "eps": 1e-6})[1:2])
        others = end(name, {"lr": rising, "eps": 1e-6})
        # Beside a list MindSpore computes with rate + 1 - 1, which costs digits.
        limit = 1e-6 if own is rates and "mindspore" in name else 0
        assert all(np.abs(a - b).max() <= limit for a, b in zip(got[::2], others[::2], strict=True))
    everyone = [{"params": [0, 1, 2], "lr": rates}]
    got = end(name, {"lr": lambda step: 1.0, "eps": 1e-6, "params": everyone})
    assert same(got, end(name, {"lr": rates, "eps": 1e-6}))


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_mindspores_own_centralization_is_refused() -> None:
    available("mindspore")
    given = {"params": [{"params": [0, 1, 2], "grad_centralization": True}], "eps": 1e-6}
    text = r"leave the key out, or drive adamcompat\.mindspore\.Adam with corrections=True"
    for name in ("mindspore", "adamcompat.mindspore.Adam"):
        with pytest.raises(ValueError, match=text):
            end(name, given)
    exact, corrected = end("float64:mindspore", given), end("adamcompat.mindspore.Adam", {**given, "corrections": True})
    assert all(np.abs(a - b).max() < 1e-6 for a, b in zip(corrected, exact, strict=True))


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
def test_state_has_the_names_of_the_framework() -> None:
    wanted = {
        "keras": {"iteration", "learning_rate", "dense.weight_momentum", "scale_velocity"},
        "tf26": {"iter", "dense.weight/m", "scale/v"},
        "tf1:graph": {"beta1_power", "beta2_power", "dense.weight/Adam", "dense.weight/Adam_1"},
        "mindspore": {"global_step", "learning_rate", "beta1_power", "moment1.dense.weight", "moment2.scale"},
        "adamcompat.MindSporeStyleAdam": {"global_step", "learning_rate", "moment1.dense.weight", "moment2.scale"},
    }
    weights, gradients = stream()
    for name, slots in wanted.items():
        available(name)
        driver = open_driver(name, weights, {}, NAMES)
        driver.step(gradients[0])
        found = driver.slots()
        assert slots <= set(found), name
        assert not set(NAMES) & set(found), name
        moments = [array for label, array in found.items() if label in slots and array.shape == SHAPES[0]]
        assert any(array.any() for array in moments), name


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["keras", "tf26", "tf1", "tf1:graph", "adamcompat.TFStyleAdam", "mindspore"])
def test_sparse_gradients_and_other_dtypes(name: str) -> None:
    available(name)
    table = np.ones((5, 3), np.float32)
    gradient = RowSparse([3, 1], np.ones((2, 3), np.float64))
    driver = open_driver(name, [table])
    if name == "mindspore":
        with pytest.raises(ValueError, match="dense gradients"):
            driver.step([gradient])
        return
    driver.step([gradient])
    assert (driver.parameters()[0] != table).any(axis=1).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("runtime", "framework"), [("tensorflow", "keras"), ("mindspore", "mindspore"), ("torch", "torch")]
)
@pytest.mark.parametrize("missing", ["", "nothing_like_this"], ids=["the framework", "what it needs"])
def test_only_a_framework_that_is_missing_itself_is_to_be_installed(
    runtime: str, framework: str, missing: str, tmp_path: Path
) -> None:
    """What a framework in turn fails to import is said as it is: to install the framework would not help."""
    (tmp_path / f"{framework}.py").write_text(f"import {missing}" if missing else "")
    hide = "" if missing else f"sys.modules[{framework!r}] = None; "
    load = f"from adamcompat.mapping.runtimes import FRAMEWORKS; FRAMEWORKS[{runtime!r}].load('drive')"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; {hide}{load}"],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )  # fmt: skip
    said = result.stderr.splitlines()[-1]
    if runtime == "mindspore" and np.__version__.split(".")[0] != "1":
        # That comes first: with such a NumPy, MindSpore would end the process.
        assert said.endswith("pip install 'numpy<2'") or not missing
    elif missing:
        assert said == f"ModuleNotFoundError: No module named '{missing}'"
    else:
        assert said.startswith("ModuleNotFoundError: ")
        assert "pip install '" in said


def test_what_cannot_be_loaded_beside_tensorflow_is_loaded_before_it(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("import sys\nassert 'tensorflow' not in sys.modules\nprint('first')\n")
    (tmp_path / "tensorflow.py").write_text("import sys\nassert 'triton' in sys.modules\nraise ImportError('second')\n")
    load = "from adamcompat.mapping.runtimes import FRAMEWORKS; FRAMEWORKS['tensorflow'].load('demo')"
    result = subprocess.run(
        [sys.executable, "-c", load],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )  # fmt: skip
    assert (result.stdout, result.stderr.splitlines()[-1]) == ("first\n", "ImportError: second")


@pytest.mark.parametrize("name", ["torch", "torch_adamw"])
def test_groups_that_may_hold_every_setting_are_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(ValueError, match=r"mine: groups of PyTorch.* may hold every setting.*; leave 'params' out"):
        read_groups([{"params": [0]}], MAPPING.dialects[name], ["w"], "mine")
