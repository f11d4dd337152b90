"""mindspore.mint.optim on a CPU, where the originals update nothing or fail, and ours update."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, mint

import adamcompat
from adamcompat.drive import open_driver
from adamcompat.mindspore import TorchStyleAdam, TorchStyleAdamW
from adamcompat.mindspore.mint import Adam, AdamW
from adamcompat.state import AdamState, StateError

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [
    pytest.param(mint.optim.Adam, Adam, TorchStyleAdam, id="Adam"),
    pytest.param(mint.optim.AdamW, AdamW, TorchStyleAdamW, id="AdamW"),
]


def trained(kind: Any, **options: Any) -> Any:
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.standard_normal(shape), np.float32) for shape in ((3, 5), (7,), ())]
    own = [Parameter(Tensor(array), name=f"p{i}") for i, array in enumerate(arrays)]
    optimizer = kind([{"params": own[:2], "lr": 0.01}, {"params": own[2:], "betas": (0.5, 0.9)}], **options)
    for _ in range(6):
        gradients = [np.asarray(rng.standard_normal(array.shape), np.float32) for array in arrays]
        optimizer(tuple(map(Tensor, gradients)))
    return optimizer


def test_the_original_updates_nothing_and_says_nothing() -> None:
    weight = Parameter(Tensor(np.ones(3, np.float32)), name="w")
    assert mint.optim.Adam([weight], lr=0.5)((Tensor(np.ones(3, np.float32)),))
    assert (weight.asnumpy() == 1).all()
    assert Adam([weight], lr=0.5)((Tensor(np.ones(3, np.float32)),))
    np.testing.assert_allclose(weight.asnumpy(), 0.5, rtol=1e-6)


def test_the_original_adamw_fails() -> None:
    weight = Parameter(Tensor(np.ones(3, np.float32)), name="w")
    with pytest.raises(RuntimeError, match="unregistered"):
        mint.optim.AdamW([weight], lr=0.5)((Tensor(np.ones(3, np.float32)),))
        # Operations run later than they are called.
        weight.asnumpy()
    AdamW([weight], lr=0.5)((Tensor(np.ones(3, np.float32)),))
    np.testing.assert_allclose(weight.asnumpy(), 1 - 0.5 * 0.01 - 0.5, rtol=1e-6)


@pytest.mark.parametrize(("original", "ours", "style"), PAIRS)
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1, "eps": 1e-3}, {"maximize": True, "amsgrad": True}], ids=str
)
@pytest.mark.filterwarnings("ignore:.*ignores it without a word")
def test_ours_make_the_steps_of_pytorchs_formula(
    original: Any, ours: Any, style: Any, options: dict[str, Any], mode: str
) -> None:
    mine, wanted = trained(ours, **options), trained(style, **options)
    assert isinstance(mine, original)
    for one, other in zip(mine.parameters, wanted.parameters, strict=True):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())


@pytest.mark.parametrize(("original", "ours", "style"), PAIRS)
def test_the_counter_begins_where_the_originals_does(original: Any, ours: Any, style: Any) -> None:
    fresh = original([Parameter(Tensor(np.ones(3, np.float32)), name="w")])
    mine = ours([Parameter(Tensor(np.ones(3, np.float32)), name="w")])
    assert list(fresh.parameters_dict()) == list(mine.parameters_dict())
    began = fresh.state_step.asnumpy()
    np.testing.assert_array_equal(began, mine.state_step.asnumpy())
    mine((Tensor(np.ones(3, np.float32)),))
    np.testing.assert_array_equal(mine.state_step.asnumpy(), began + 1)


@pytest.mark.parametrize(("original", "ours", "style"), PAIRS)
@pytest.mark.filterwarnings("ignore:.*ignores it without a word")
def test_amsgrad_that_is_asked_for_later_has_no_state_and_is_refused(
    original: Any, ours: Any, style: Any, mode: str
) -> None:
    optimizer = trained(ours)
    before = [np.copy(one.asnumpy()) for one in (*optimizer.parameters, *optimizer.exp_avg_sq, optimizer.state_step)]
    optimizer.param_groups[1]["amsgrad"] = True
    gradients = tuple(Tensor(np.ones(p.shape, np.float32)) for p in optimizer.parameters)
    with pytest.raises(ValueError, match="'amsgrad' of group 1 was set after its state was made"):
        optimizer(gradients)
    after = (*optimizer.parameters, *optimizer.exp_avg_sq, optimizer.state_step)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other.asnumpy())
    optimizer.param_groups[1]["amsgrad"] = False
    optimizer(gradients)


@pytest.mark.parametrize(("original", "ours", "style"), PAIRS)
def test_state_moves(original: Any, ours: Any, style: Any) -> None:
    first, second = trained(ours), trained(style)
    state = AdamState.of(first)
    assert state.step == 6
    state.load_into(second, with_parameters=True)
    fresh = trained(ours)
    state.load_into(fresh, with_parameters=True)
    gradients = tuple(Tensor(np.ones(p.shape, np.float32)) for p in first.parameters)
    for optimizer in (first, second, fresh):
        optimizer(gradients)
    for one, two, three in zip(first.parameters, second.parameters, fresh.parameters, strict=True):
        np.testing.assert_array_equal(one.asnumpy(), two.asnumpy())
        np.testing.assert_array_equal(one.asnumpy(), three.asnumpy())


def test_tools_say_that_the_original_does_not_run_here() -> None:
    stock = mint.optim.Adam([Parameter(Tensor(np.ones(3, np.float32)), name="w")])
    with pytest.raises(StateError, match=r"mindspore\.mint\.optim\.Adam runs on Ascend alone"):
        AdamState.of(stock)
    with pytest.raises(ValueError, match=r"runs on Ascend alone, .* drive adamcompat\.mindspore\.mint\.Adam"):
        open_driver("mint", [np.ones(3, np.float32)])
    driver = open_driver("adamcompat.mindspore.mint.Adam", [np.ones(3, np.float32)], {"lr": 0.5})
    driver.step([np.ones(3, np.float32)])
    np.testing.assert_allclose(driver.parameters()[0], 0.5, rtol=1e-6)


def test_a_replaced_part_of_a_step_that_does_not_run_here_is_refused() -> None:
    class Mine(Adam):
        def _decay_weight(self, weight_decay: Any, params: Any, gradients: Any) -> Any:
            return gradients

    optimizer = Mine([Parameter(Tensor(np.ones(3, np.float32)), name="w")])
    with pytest.raises(RuntimeError, match=r"_decay_weight of this Mine is replaced, .* updates nothing here"):
        optimizer((Tensor(np.ones(3, np.float32)),))


PROGRAM = """
import numpy as np
from mindspore import Parameter, Tensor, mint
from mindspore.experimental import optim
for kind in (mint.optim.Adam, mint.optim.AdamW, optim.Adam, optim.AdamW):
    weight = Parameter(Tensor(np.ones(3, np.float32)), name="w")
    try:
        kind([weight], lr=0.5, weight_decay=0.0)((Tensor(np.ones(3, np.float32)),))
        weight.asnumpy()
    except RuntimeError:
        pass
    print(kind.__name__, weight.asnumpy()[0].round(3))
"""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [([], ["1.0", "1.0", "0.5", "0.5"]), (["-m", "adamcompat", "run"], ["0.5", "0.5", "0.5", "0.5"])],
    ids=["python", "adamcompat run"],
)
def test_a_program_updates_under_adamcompat_run(tmp_path: Path, arguments: list[str], wanted: list[str]) -> None:
    (tmp_path / "train.py").write_text(PROGRAM, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, *arguments, "train.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=240,
    )
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("Adam")]
    assert [value for _, value in lines] == wanted, result.stderr


def test_names_are_ours_while_installed(mode: str) -> None:
    stock = mint.optim.Adam
    with adamcompat.installed() as ours:
        assert issubclass(mint.optim.Adam, Adam)
        weight = Parameter(Tensor(np.ones(3, np.float32)), name="w")
        mint.optim.Adam([weight], lr=0.5)((Tensor(np.ones(3, np.float32)),))
        entry = next(one for one in ours.report.replaced if one.original == "mindspore.mint.optim.Adam")
        assert entry.stepped
    assert mint.optim.Adam is stock
    np.testing.assert_allclose(weight.asnumpy(), 0.5, rtol=1e-6)
    assert ms.get_context("device_target") == "CPU"
