"""The mapping against the installed TensorFlow and Keras, and against mappings with one fact changed."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

import adamcompat.cli as cli
from adamcompat.mapping.loader import load
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify.judge import DIFFERS, UNMEASURED, judge
from adamcompat.verify.observation import Observation
from tests.verify_changes import TEXT, Change, ids
from tests.versions import older

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.filterwarnings("ignore"),
]

K, T, V = "dialects.keras3", "dialects.tf26", "dialects.tf1"
# What extends another, and changes with it where it leaves a key out.
W = f"{K}_adamw"
HEIRS = {K: W}
STAGES = "[deduplicate, unscale, accumulate, clip_norm, global_clip_norm, clip_value, decoupled_decay, update, average]"


def moved(stage: str, before: str) -> str:
    """The stages of Keras 3 with one of them before another."""
    order = [name for name in STAGES.strip("[]").split(", ") if name != stage]
    order.insert(order.index(before), stage)
    return f"[{', '.join(order)}]"


CHANGES = [
    Change("default", K, "default: 0.9,", "default: 0.95,", ("parameters.beta_1.default",)),
    Change("default", K, "default: 1.0e-7,", "default: 1.0e-8,", ("parameters.epsilon.default",)),
    Change("default", K, "default: null", "default: 0.0", ("parameters.weight_decay.default",)),
    Change("default", T, "default: Adam", "default: adam", ("parameters.name.default",)),
    Change("default", V, "default: 1.0e-8,", "default: 1.0e-7,", ("parameters.epsilon.default",)),
    Change("required", K, "type: beta, default: 0.9,", "type: beta,", ("parameters.beta_1.default",)),
    Change(
        "parameter name", K, "{name: amsgrad,", "{name: use_amsgrad,", ("parameters.amsgrad", "parameters.use_amsgrad")
    ),
    Change(
        "missing parameter",
        K,
        "      - {name: amsgrad, canonical: amsgrad, type: flag, default: false, absent: refuse}\n",
        "",
        ("parameters.amsgrad",),
    ),
    Change(
        "extra parameter",
        V,
        "    conflicts: []\n",
        "      - {name: amsgrad, canonical: amsgrad, type: flag, default: false, absent: refuse}\n    conflicts: []\n",
        ("parameters.amsgrad",),
    ),
    Change(
        "meaning",
        K,
        "{name: beta_1, canonical: beta1",
        "{name: beta_1, canonical: inverse_time_decay",
        ("parameters.beta_1.canonical",),
    ),
    Change("meaning", K, "canonical: clip_value", "canonical: l2_weight_decay", ("parameters.clipvalue.canonical",)),
    Change("meaning", K, "canonical: use_ema", "canonical: nesterov", ("parameters.use_ema.canonical",)),
    Change(
        "type",
        K,
        "canonical: epsilon, type: number",
        "canonical: epsilon, type: float",
        ("parameters.epsilon.type",),
    ),
    Change(
        "type",
        K,
        "canonical: learning_rate, type: learning_rate",
        "canonical: learning_rate, type: number",
        ("parameters.learning_rate.type",),
    ),
    Change("range", K, '"[0, 1]"', '"[0, 1)"', ("parameters.ema_momentum.range",)),
    Change("range", K, '"[2, inf)"', '"[1, inf)"', ("parameters.gradient_accumulation_steps.range",)),
    Change("range", K, '"[2, inf)"', '"[3, inf)"', ("parameters.gradient_accumulation_steps.range",)),
    Change("keyword default", T, "default: 0.0, range", "default: 0.5, range", ("keywords.decay.default",)),
    Change(
        "keyword name",
        T,
        "{name: gradient_aggregator,",
        "{name: aggregator,",
        ("keywords.gradient_aggregator", "keywords.aggregator"),
    ),
    Change("keyword meaning", T, "inverse_time_decay", "l2_weight_decay", ("keywords.decay.canonical",)),
    Change("keyword range", T, '"[0, inf)", alias_of', '"[1, inf)", alias_of', ("keywords.lr.range",)),
    Change("alias", T, "alias_of: learning_rate, ", "alias_of: epsilon, ", ("keywords.lr.alias_of",)),
    Change("kwargs", K, "kwargs: true", "kwargs: false", ("kwargs",)),
    Change("protocol", V, "protocol: apply_gradients", "protocol: call", ("protocol",)),
    Change(
        "method",
        V,
        "          - {name: global_step}\n          - {name: name}\n",
        "          - {name: name}\n",
        ("methods.apply_gradients",),
    ),
    Change("method", K, "- name: apply\n", "- name: apply_all\n", ("methods.apply_all",)),
    Change("conflict", K, "original: raises", "original: ignores", ("conflicts.[clipnorm, clipvalue]",)),
    Change(
        "missing conflict",
        K,
        "      - {pair: [clipnorm, clipvalue], original: raises}\n",
        "",
        ("conflicts.[clipnorm, clipvalue]",),
    ),
    Change(
        "extra conflict",
        T,
        "    conflicts:\n",
        "    conflicts:\n      - {pair: [clipnorm, clipvalue], original: raises}\n",
        ("conflicts.[clipnorm, clipvalue]",),
    ),
    Change("error type", K, "unknown_keyword: ValueError", "unknown_keyword: TypeError", ("errors.unknown_keyword",)),
    Change("error type", T, "wrong_type: TypeError", "wrong_type: KeyError", ("errors.wrong_type",)),
    Change("error type", K, "out_of_range: ValueError", "out_of_range: TypeError", ("errors.out_of_range",)),
    Change("error type", K, "conflict: ValueError", "conflict: TypeError", ("errors.conflict",)),
    Change(
        "error type", K, "unknown_parameter: ValueError", "unknown_parameter: KeyError", ("errors.unknown_parameter",)
    ),
    Change("error type", V, "wrong_gradients: ValueError", "wrong_gradients: TypeError", ("errors.wrong_gradients",)),
    *(
        Change("stages order", K, STAGES, moved(stage, before), ("stages",))
        for stage, before in (
            ("clip_norm", "unscale"),
            ("accumulate", "decoupled_decay"),
            ("update", "decoupled_decay"),
            ("average", "update"),
            ("update", "clip_value"),
        )
    ),
    Change("missing stage", K, "clip_value, decoupled_decay, update", "clip_value, update", ("stages",)),
    Change("extra stage", V, "[deduplicate, update]", "[deduplicate, clip_norm, update]", ("stages",)),
    Change(
        "stages order",
        T,
        "[deduplicate, clip_value, clip_norm, global_clip_norm, update]",
        "[deduplicate, clip_norm, clip_value, global_clip_norm, update]",
        ("stages",),
    ),
    Change("extra stage", K, "[deduplicate, unscale,", "[deduplicate, centralize, unscale,", ("stages",)),
    Change("missing stage", V, "[deduplicate, update]", "[update]", ("stages",)),
    Change("correction", K, "        stage: deduplicate\n", "", ("stages",)),
    Change("semantics", K, "epsilon: hat", "epsilon: paper", ("semantics.epsilon",)),
    Change("semantics", T, "bias_correction: both", "bias_correction: none", ("semantics.bias_correction",)),
    Change("kind of decay", K, "clip_value, decoupled_decay,", "clip_value, l2_decay,", ("stages",)),
    Change("semantics", K, "decay_skips: []", "decay_skips: [bias]", ("semantics.decay_skips",)),
    Change("semantics", T, "amsgrad: raw_maximum", "amsgrad: corrected_maximum", ("semantics.amsgrad",)),
    Change("semantics", K, "nesterov: none", "nesterov: blend", ("semantics.nesterov",)),
    Change("semantics", K, "schedule_start: 0", "schedule_start: 1", ("semantics.schedule_start",)),
    Change("semantics", T, "schedule_start: 0", "schedule_start: 1", ("semantics.schedule_start",)),
    Change("semantics", K, "average_start: first_update", "average_start: initial", ("semantics.average_start",)),
    Change("semantics", V, "power_start: beta", "power_start: one", ("semantics.power_start",)),
    Change("semantics", K, "power_start: none", "power_start: one", ("semantics.power_start",)),
    Change("rates", K, "rates: [schedule, callable]", "rates: [schedule]", ("rates",)),
    Change("rates", T, "rates: [schedule, callable]", "rates: [list, schedule, callable]", ("rates",)),
    Change("rates", V, "rates: [callable]", "rates: [schedule, callable]", ("rates",)),
    Change("not given", T, ", read_as_default: [null, 0.0]", "", ("parameters.epsilon.read_as_default",)),
    Change("not given", T, "[null, 0.0]", "[0.0]", ("parameters.epsilon.read_as_default",)),
    Change("not given", T, "[null, 0.0]", "[null]", ("parameters.epsilon.read_as_default",)),
    Change("not given", K, ", read_as_default: [0.0]", "", ("parameters.clipnorm.read_as_default",)),
    Change(
        "not given", K, "read_as_default: [0.0]", "read_as_default: [1.0]", ("parameters.clipnorm.read_as_default",)
    ),
    Change(
        "not given",
        K,
        "absent: ignore, read_as_default: [0]",
        "absent: ignore",
        ("parameters.ema_overwrite_frequency.read_as_default",),
    ),
    Change(
        "not given",
        K,
        'range: "[2, inf)", absent: refuse, read_as_default: [0]',
        'range: "[2, inf)", absent: refuse',
        ("parameters.gradient_accumulation_steps.read_as_default",),
    ),
    Change(
        "not given",
        K,
        'default: 1.0e-7, range: "[0, inf)", absent: refuse',
        'default: 1.0e-7, range: "[0, inf)", absent: refuse, read_as_default: [0.0]',
        ("parameters.epsilon.read_as_default",),
    ),
    Change(
        "missing keyword",
        T,
        "      - {name: gradient_aggregator, canonical: gradient_aggregator, type: function, default: null, "
        "absent: refuse}\n",
        "",
        ("keywords.gradient_aggregator",),
    ),
    Change(
        "keyword meaning",
        T,
        "{name: gradient_transformers, canonical: gradient_transformers",
        "{name: gradient_transformers, canonical: loss_scale",
        ("keywords.gradient_transformers.canonical",),
    ),
    Change(
        "keyword type",
        T,
        "canonical: gradient_transformers, type: functions",
        "canonical: gradient_transformers, type: function",
        ("keywords.gradient_transformers.type",),
    ),
    Change(
        "missing conflict",
        T,
        "      - {pair: [clipvalue, gradient_transformers], original: raises}\n",
        "",
        ("conflicts.[clipvalue, gradient_transformers]",),
    ),
    Change(
        "slot names",
        V,
        "{first_moment: m, second_moment: v",
        "{first_moment: m, second_moment: w",
        ("slot_names.second_moment",),
    ),
    Change("numerics", K, "numerics: keras3", "numerics: tf26", ("numerics",)),
    Change(
        "slot name",
        K,
        '"{parameter}_average"',
        '"{parameter}_ema"',
        ("slots.average", "slots.{parameter}_average", "slots"),
    ),
    Change("slot name", T, "{step: iter}", "{step: iterations}", ("slots.step", "slots.iter", "slots")),
    Change(
        "slot role",
        K,
        '{first_moment: "{parameter}_momentum", second_moment: "{parameter}_velocity"}',
        '{second_moment: "{parameter}_momentum", first_moment: "{parameter}_velocity"}',
        ("slots.first_moment", "slots.second_moment"),
    ),
    Change(
        "slot order",
        K,
        '{first_moment: "{parameter}_momentum", second_moment: "{parameter}_velocity"}',
        '{first_moment: "{parameter}_momentum"}\n      - {second_moment: "{parameter}_velocity"}',
        ("slots",),
    ),
    Change("default", W, "default: 0.004", "default: 0.01", ("parameters.weight_decay.default",)),
    Change("default", W, "default: 1.0e-7,", "default: 1.0e-8,", ("parameters.epsilon.default",)),
    Change(
        "meaning",
        W,
        "canonical: decoupled_weight_decay",
        "canonical: l2_weight_decay",
        ("parameters.weight_decay.canonical",),
    ),
    Change("range", W, '"[2, inf)"', '"[3, inf)"', ("parameters.gradient_accumulation_steps.range",)),
    Change("schedule", "schedules.exponential.classes", "name: decay_rate", "name: rate", ("keras3",)),
    Change("schedule", "schedules.polynomial.classes", "default: 0.0001", "default: 0.001", ("keras3",)),
    *(
        Change("numerics", f"numerics.{dialect}", f"{key}: {value}", f"{key}: {other}", (key,))
        for dialect, key, value, other in (
            ("keras3", "given", "float32_rates", "float64"),
            ("keras3", "given", "float32_rates", "float32"),
            ("tf1", "given", "float32", "float64"),
            ("tf1", "given", "float32", "float32_rates"),
            ("keras3", "scalars", "parameter", "float64"),
            ("keras3", "scalars", "parameter", "float32"),
            ("keras3", "one_minus_beta", "float64", "scalar"),
            ("tf26", "one_minus_beta", "scalar", "float64"),
            ("keras3", "beta_power", "power", "product"),
            ("tf1", "beta_power", "product", "power"),
            ("keras3", "multiply_add", "separate", "fused"),
            ("keras3", "multiply_add", "separate", "fused_blocks"),
            ("tf26", "half", "float16", "float32"),
            ("keras3", "unscale", "quotient", "reciprocal"),
            ("keras3", "surroundings", "stepwise", "once"),
            ("tf26", "surroundings", "stepwise", "once"),
        )
    ),
]


@pytest.fixture(scope="module")
def observed() -> list[Observation]:
    """Measured once; every change is judged by it."""
    from adamcompat.verify.tensorflow import observe

    return observe()


def test_the_mapping_tells_the_truth(observed: list[Observation]) -> None:
    verdicts = judge(MAPPING, observed)
    assert [verdict for verdict in verdicts if verdict.state == DIFFERS] == []
    # TensorFlow 1 has no schedules; everything else is measured.
    assert {verdict.path for verdict in verdicts if verdict.state == UNMEASURED} <= {f"{V}.semantics.schedule_start"}
    assert {verdict.dialect for verdict in verdicts} == {"keras3", "keras3_adamw", "tf26", "tf1"}


@pytest.mark.parametrize("change", CHANGES, ids=ids(CHANGES))
def test_a_changed_fact_is_named(change: Change, observed: list[Observation], tmp_path: Path) -> None:
    verdicts = judge(change.mapping(tmp_path), observed)
    inherited = {f"{HEIRS.get(change.block)}.{path}" for path in change.paths}
    found = {verdict.path for verdict in verdicts if verdict.state == DIFFERS} - inherited
    assert found <= change.expected
    # What an older version does not share need not be judged by the fact.
    unjudged = {
        f"dialects.{dialect}.{fact}" for dialect in ("keras3", "keras3_adamw", "tf26", "tf1") for fact in older(dialect)
    }
    assert change.expected - found <= unjudged


def test_the_order_of_parameters_is_a_fact(observed: list[Observation], tmp_path: Path) -> None:
    lines = TEXT.splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if "{name: beta_1," in line)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    (tmp_path / "mapping.yaml").write_text("".join(lines), encoding="utf-8")
    verdicts = judge(load(tmp_path / "mapping.yaml"), observed)
    assert [verdict.path for verdict in verdicts if verdict.state == DIFFERS] == [f"{K}.parameters"]


def test_the_command_names_what_differs(
    observed: list[Observation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import adamcompat.verify.tensorflow as module

    monkeypatch.setattr(module, "observe", lambda: observed)
    assert cli.main(["verify", "--runtime", "tensorflow"]) == 0
    out = capsys.readouterr().out
    assert "none differs." in out
    assert "\ndiffers " not in out
    Change("semantics", K, "epsilon: hat", "epsilon: paper", ("semantics.epsilon",)).mapping(tmp_path)
    assert cli.main(["verify", "--runtime", "tensorflow", "--mapping", str(tmp_path / "mapping.yaml")]) == 1
    # In a narrow terminal it stands in two lines.
    out = " ".join(capsys.readouterr().out.split())
    assert f"differs {K}.semantics.epsilon: the mapping has paper; Keras {keras.__version__} has hat" in out
