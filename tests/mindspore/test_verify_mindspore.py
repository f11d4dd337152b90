"""The mapping against the installed MindSpore, and against mappings with one fact changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adamcompat.mapping.tables import MAPPING
from adamcompat.verify.judge import DIFFERS, UNMEASURED, judge
from adamcompat.verify.observation import Observation
from tests.verify_changes import Change, ids

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore"),
]

M, N = "dialects.mindspore", "numerics.mindspore"
# What extends these, and changes with them where it leaves a key out.
D, E = f"{M}_adamweightdecay", f"{N}_adamweightdecay"
HEIRS = {M: D, N: E}
CHANGES = [
    Change("default", M, "default: 1.0e-8,", "default: 1.0e-7,", ("parameters.eps.default",)),
    Change("default", M, "default: 1.0, range", "default: 2.0, range", ("parameters.loss_scale.default",)),
    Change(
        "required",
        M,
        "type: parameters, absent: refuse, note",
        "type: parameters, default: null, absent: refuse, note",
        ("parameters.params.default",),
    ),
    Change("parameter name", M, "{name: eps,", "{name: epsilon,", ("parameters.eps", "parameters.epsilon")),
    Change("meaning", M, "canonical: nesterov", "canonical: use_ema", ("parameters.use_nesterov.canonical",)),
    Change(
        "meaning",
        M,
        "canonical: l2_weight_decay",
        "canonical: decoupled_weight_decay",
        ("parameters.weight_decay.canonical",),
    ),
    Change("type", M, "canonical: beta1, type: float", "canonical: beta1, type: number", ("parameters.beta1.type",)),
    Change(
        "type",
        M,
        "canonical: loss_scale, type: number",
        "canonical: loss_scale, type: float",
        ("parameters.loss_scale.type",),
    ),
    Change("range", M, 'default: 0.9, range: "(0, 1)"', 'default: 0.9, range: "[0, 1)"', ("parameters.beta1.range",)),
    Change("range", M, 'default: 0.9, range: "(0, 1)"', 'default: 0.9, range: "(0.6, 1)"', ("parameters.beta1.range",)),
    Change(
        "range",
        M,
        'default: 1.0e-8, range: "(0, inf)"',
        'default: 1.0e-8, range: "[0, inf)"',
        ("parameters.eps.range",),
    ),
    Change(
        "keyword default",
        M,
        "type: flag, default: false, absent: refuse}\n      - {name: use_offload",
        "type: flag, default: true, absent: refuse}\n      - {name: use_offload",
        ("keywords.use_lazy.default",),
    ),
    Change(
        "extra keyword",
        M,
        "    keywords:\n",
        "    keywords:\n      - {name: fused, canonical: use_ema, type: flag, default: false, absent: refuse}\n",
        ("keywords.fused",),
    ),
    Change("group key", M, "{name: lr,", "{name: rate,", ("groups.lr", "groups.rate")),
    Change("kwargs", M, "protocol: call", "protocol: apply_gradients", ("protocol",)),
    Change(
        "method",
        M,
        "{name: gradients, canonical: gradients}",
        "{name: grads, canonical: gradients}",
        ("methods.construct",),
    ),
    Change("conflict", M, "original: ignores", "original: raises", ("conflicts.[use_amsgrad, use_nesterov]",)),
    Change(
        "missing conflict",
        M,
        "      - {pair: [use_lazy, use_offload], original: raises}\n",
        "",
        ("conflicts.[use_lazy, use_offload]",),
    ),
    *(
        Change("error type", M, f"{kind}: {error}", f"{kind}: {other}", (f"errors.{kind}",))
        for kind, error, other in (
            ("unknown_keyword", "KeyError", "TypeError"),
            ("wrong_type", "TypeError", "ValueError"),
            ("out_of_range", "ValueError", "TypeError"),
            ("conflict", "ValueError", "TypeError"),
            ("repeated_parameter", "ValueError", "RuntimeError"),
            ("wrong_gradients", "ValueError", "TypeError"),
        )
    ),
    Change(
        "stages order",
        M,
        "[deduplicate, l2_decay, centralize, unscale, update]",
        "[deduplicate, unscale, l2_decay, centralize, update]",
        ("stages",),
    ),
    Change("missing stage", M, "centralize, unscale, update", "centralize, update", ("stages",)),
    Change(
        "stages order",
        M,
        "[deduplicate, l2_decay, centralize, unscale, update]",
        "[deduplicate, l2_decay, centralize, update, unscale]",
        ("stages",),
    ),
    Change("semantics", M, "epsilon: hat", "epsilon: paper", ("semantics.epsilon",)),
    Change("semantics", M, "bias_correction: both", "bias_correction: none", ("semantics.bias_correction",)),
    Change("kind of decay", M, "[deduplicate, l2_decay,", "[deduplicate, decoupled_decay,", ("stages",)),
    Change("semantics", M, "decay_skips: [beta, gamma]", "decay_skips: [beta]", ("semantics.decay_skips",)),
    Change("semantics", M, "decay_skips: [beta, gamma]", "decay_skips: []", ("semantics.decay_skips",)),
    Change("semantics", M, "amsgrad: raw_maximum", "amsgrad: corrected_maximum", ("semantics.amsgrad",)),
    Change("semantics", M, "nesterov: blend", "nesterov: none", ("semantics.nesterov",)),
    Change("semantics", M, "schedule_start: 0", "schedule_start: 1", ("semantics.schedule_start",)),
    Change("semantics", M, "average_start: none", "average_start: initial", ("semantics.average_start",)),
    Change("semantics", M, "power_start: one", "power_start: beta", ("semantics.power_start",)),
    Change("rates", M, "rates: [list, schedule]", "rates: [list, schedule, callable]", ("rates",)),
    Change("numerics", M, "numerics: mindspore", "numerics: tf1", ("numerics",)),
    Change(
        "slot name",
        M,
        '"moment1.{parameter}"',
        '"m.{parameter}"',
        ("slots.first_moment", "slots.moment1.{parameter}", "slots"),
    ),
    Change(
        "slot order",
        M,
        "      - {beta1_power: beta1_power}\n      - {beta2_power: beta2_power}\n",
        "      - {beta2_power: beta2_power}\n      - {beta1_power: beta1_power}\n",
        ("slots",),
    ),
    *(
        Change("numerics", N, f"{key}: {value}", f"{key}: {other}", (key,))
        for key, value, other in (
            ("given", "float32", "float64"),
            ("scalars", "parameter", "float64"),
            ("scalars", "parameter", "float32"),
            ("one_minus_beta", "scalar", "float64"),
            ("beta_power", "product", "power"),
            ("multiply_add", "fused_blocks", "fused"),
            ("multiply_add", "fused_blocks", "separate"),
            ("half", "float32", "float16"),
            ("unscale", "reciprocal", "quotient"),
            ("surroundings", "stepwise", "once"),
        )
    ),
]
CHANGES += [
    Change("default", D, "default: 1.0e-6,", "default: 1.0e-8,", ("parameters.eps.default",)),
    Change(
        "meaning",
        D,
        "canonical: decoupled_weight_decay",
        "canonical: l2_weight_decay",
        ("parameters.weight_decay.canonical",),
    ),
    Change("type", D, "canonical: beta1, type: float", "canonical: beta1, type: number", ("parameters.beta1.type",)),
    Change("kwargs", D, "kwargs: false", "kwargs: true", ("kwargs",)),
    Change("error type", D, "unknown_keyword: TypeError", "unknown_keyword: KeyError", ("errors.unknown_keyword",)),
    Change(
        "group key", D, "without: [grad_centralization,", "without: [lr,", ("groups.lr", "groups.grad_centralization")
    ),
    Change("stages", D, "decoupled_decay, update]", "l2_decay, update]", ("stages",)),
    Change("stages order", D, "decoupled_decay, update]", "update, decoupled_decay]", ("stages",)),
    Change("semantics", D, "bias_correction: none", "bias_correction: both", ("semantics.bias_correction",)),
    Change("semantics", D, "decay_skips: [beta, gamma]", "decay_skips: []", ("semantics.decay_skips",)),
    Change("semantics", D, "schedule_start: 0", "schedule_start: 1", ("semantics.schedule_start",)),
    Change(
        "slot name",
        D,
        '"adam_m.{parameter}"',
        '"m.{parameter}"',
        ("slots.first_moment", "slots.adam_m.{parameter}", "slots"),
    ),
    *(
        Change("numerics", E, f"{key}: {value}", f"{key}: {other}", (key,))
        for key, value, other in (
            ("multiply_add", "fused_wide", "fused"),
            ("multiply_add", "fused_wide", "fused_blocks"),
            ("multiply_add", "fused_wide", "separate"),
            ("half", "float16", "float32"),
            ("decay", "update", "parameter"),
        )
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("working")


@pytest.fixture(scope="module")
def observed(folder: Path) -> list[Observation]:
    """Measured once; every change is judged by it."""
    from adamcompat.verify.mindspore import observe

    before = Path.cwd()
    os.chdir(folder)
    try:
        return observe()
    finally:
        os.chdir(before)


def test_the_mapping_tells_the_truth(observed: list[Observation]) -> None:
    verdicts = judge(MAPPING, observed)
    assert [verdict for verdict in verdicts if verdict.state == DIFFERS] == []
    # A CPU has no operators for these.
    unmeasured = {verdict.path for verdict in verdicts if verdict.state == UNMEASURED}
    assert unmeasured == {f"{M}.stages.centralize", f"{M}.stages.deduplicate", f"{D}.stages.deduplicate"}


@pytest.mark.parametrize("change", CHANGES, ids=ids(CHANGES))
def test_a_changed_fact_is_named(change: Change, observed: list[Observation], tmp_path: Path) -> None:
    verdicts = judge(change.mapping(tmp_path), observed)
    inherited = {f"{HEIRS.get(change.block)}.{path}" for path in change.paths}
    assert {verdict.path for verdict in verdicts if verdict.state == DIFFERS} - inherited == change.expected


def test_nothing_is_left_in_the_working_directory(observed: list[Observation], folder: Path) -> None:
    assert observed
    assert list(folder.iterdir()) == []


def test_the_command_measures_and_exits_with_1_on_drift(tmp_path: Path) -> None:
    Change("default", M, "default: 1.0e-8,", "default: 1.0e-7,", ()).mapping(tmp_path)
    arguments = ["verify", "--runtime", "mindspore", "--format", "json", "--mapping", str(tmp_path / "mapping.yaml")]
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert result.returncode == 1, result.stderr
    found = json.loads(result.stdout)
    assert found["differs"] == [f"{M}.parameters.eps.default"]
    assert list(found["versions"]) == ["MindSpore"]
    assert [path.name for path in tmp_path.iterdir()] == ["mapping.yaml"]
