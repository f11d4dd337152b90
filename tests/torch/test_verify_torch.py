"""The mapping against the installed PyTorch, and against mappings with one fact changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import adamcompat.cli as cli
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify.judge import DIFFERS, UNMEASURED, judge
from adamcompat.verify.observation import Observation
from tests.verify_changes import Change, ids

pytestmark = pytest.mark.filterwarnings("ignore")

T, W, N = "dialects.torch", "dialects.torch_adamw", "numerics.torch"
CHANGES = [
    Change("default", T, "default: 1.0e-8,", "default: 1.0e-7,", ("parameters.eps.default",)),
    Change("default", T, "decay, default: 0,", "decay, default: 0.0,", ("parameters.weight_decay.default",)),
    Change("default", T, "default: [0.9, 0.999]", "default: [0.9, 0.99]", ("parameters.betas.default",)),
    Change("default", W, "default: 0.01,", "default: 0.1,", ("parameters.weight_decay.default",)),
    Change("meaning", T, "{name: maximize, canonical: maximize", "{name: maximize, canonical: lazy",
           ("parameters.maximize.canonical",)),
    Change("name", T, "{name: eps,", "{name: epsilon,", ("parameters.eps", "parameters.epsilon", "groups.eps",
                                                         "groups.epsilon")),
    Change("method", T, "{name: closure}", "{name: function}", ("methods.step",)),
    Change("epsilon", T, "epsilon: paper", "epsilon: hat", ("semantics.epsilon",)),
    Change("slot", T, "maximum_second_moment: max_exp_avg_sq}", "maximum_second_moment: max_sq}",
           ("slot_names.maximum_second_moment", "slots", "slots.maximum_second_moment",
            "slots.{parameter}/max_exp_avg_sq")),
    Change("order", T, "stages: [deduplicate, maximize, l2_decay,", "stages: [deduplicate, l2_decay, maximize,",
           ("stages",)),
    Change("rounding", N, "moments: lerp", "moments: difference", ("moments",)),
    Change("rounding", N, "correction: root", "correction: step", ("correction",)),
    Change("rounding", N, "decay: factor", "decay: update", ("decay",)),
    Change("rounding", N, "multiply_add: fused", "multiply_add: separate", ("multiply_add",)),
    Change("rounding", N, "given: float64", "given: float32", ("given",)),
    Change("rounding", N, "scalars: float64", "scalars: parameter", ("scalars",)),
]  # fmt: skip


@pytest.fixture(scope="module")
def observed() -> list[Observation]:
    """Measured once; every change is judged by it."""
    from adamcompat.verify.torch import observe

    return observe()


def test_the_mapping_tells_the_truth(observed: list[Observation]) -> None:
    verdicts = judge(MAPPING, observed)
    assert [verdict for verdict in verdicts if verdict.state == DIFFERS] == []
    unmeasured = {verdict.path for verdict in verdicts if verdict.state == UNMEASURED}
    # A CPU refuses these two, PyTorch has no schedules that an optimizer takes, and its Adam no gradients of rows.
    assert unmeasured == {
        f"{dialect}.{path}"
        for dialect in (T, W)
        for path in (
            *("parameters.betas.canonical", "parameters.capturable.canonical", "parameters.differentiable.canonical"),
            *("stages.deduplicate", "semantics.schedule_start"),
        )
    }


@pytest.mark.parametrize("change", CHANGES, ids=ids(CHANGES))
def test_a_changed_fact_is_named(change: Change, observed: list[Observation], tmp_path: Path) -> None:
    verdicts = judge(change.mapping(tmp_path), observed)
    named = {verdict.path for verdict in verdicts if verdict.state == DIFFERS}
    # AdamW extends Adam, and changes with it where it leaves a fact out.
    inherited = {f"{W}.{path}" for path in change.paths} if change.block == T else set()
    assert named - inherited == change.expected


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "--runtime", "torch"]) == 0
    said = capsys.readouterr().out
    assert "PyTorch" in said
    assert "10 not measured" in said
