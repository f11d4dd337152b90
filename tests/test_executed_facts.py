"""A fact in mapping.yaml changes the step, or the generator refuses it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from adamcompat.hyperparameters import Hyperparameters
from adamcompat.mapping.faults import faults
from adamcompat.mapping.loader import MappingError, load
from adamcompat.mapping.model import Adapter, Numerics
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.program import compile_step
from adamcompat.verify import models
from adamcompat.verify.experiment import BASE
from tests.reference import Reference
from tests.test_generate import ROOT, edit, make_copy, python

FORMS = (("hat", "both"), ("paper", "both"), ("hat", "none"))
ARGUMENTS = {
    "apply_gradients": "[{name: pairs, canonical: gradients}]",
    "call": "[{name: gradients, canonical: gradients}]",
}
# What the two protocols run on beside NumPy.
FRAMEWORKS = {"call": "tensorflow", "apply_gradients": "mindspore"}
STAGES = {
    ("call", "l2"): "unscale, l2_decay, clip_norm, global_clip_norm, clip_value, update",
    ("call", "decoupled"): "decoupled_decay, unscale, clip_norm, global_clip_norm, clip_value, update",
    ("call", "added"): "unscale, clip_norm, global_clip_norm, clip_value, decoupled_decay, update",
    ("call", "none"): "unscale, clip_norm, global_clip_norm, clip_value, update",
    ("apply_gradients", "decoupled"): "unscale, clip_norm, global_clip_norm, clip_value, decoupled_decay, update",
    ("apply_gradients", "added"): "unscale, clip_norm, global_clip_norm, clip_value, decoupled_decay, update",
    ("apply_gradients", "none"): "unscale, clip_norm, global_clip_norm, clip_value, update",
}
# These have one parameter for both betas.
TUPLES = (("call", "decoupled"), ("apply_gradients", "none"))
STEPS = 5


def dialect(protocol: str, decay: str, epsilon: str, correction: str) -> tuple[str, str]:
    """A dialect with names of its own, and its adapters."""
    name = f"mint_{protocol}_{decay}_{epsilon}_{correction}"
    optional = {
        "l2": "{name: shrink, canonical: l2_weight_decay, type: decay, default: 0.0, absent: refuse}",
        "decoupled": "{name: shrink, canonical: decoupled_weight_decay, type: number, default: 0.0, absent: refuse}",
    }
    parameters = ["{name: ps, canonical: parameters, type: parameters, absent: refuse}"] if protocol == "call" else []
    single = [
        "{name: b1, canonical: beta1, type: number, default: 0.9, absent: refuse}",
        "{name: b2, canonical: beta2, type: number, default: 0.999, absent: refuse}",
    ]
    both = "{name: bs, canonical: [beta1, beta2], type: number, default: [0.9, 0.999], absent: refuse}"
    parameters += [
        "{name: speed, canonical: learning_rate, type: learning_rate, default: 0.5, absent: refuse}",
        *([both] if (protocol, decay) in TUPLES else single),
        "{name: tiny, canonical: epsilon, type: number, default: 1.0e-8, absent: refuse}",
        "{name: top, canonical: clip_value, type: number, default: null, absent: refuse}",
        "{name: scale, canonical: loss_scale, type: number, default: null, absent: refuse}",
        *([optional["decoupled" if decay == "added" else decay]] if decay != "none" else []),
        "{name: length, canonical: clip_norm, type: number, default: null, absent: refuse}",
        "{name: together, canonical: global_clip_norm, type: number, default: null, absent: refuse}",
        "{name: fade, canonical: inverse_time_decay, type: number, default: 0.0, absent: refuse}",
    ]  # fmt: skip
    errors = ("unknown_keyword", "wrong_type", "out_of_range", "conflict", "unknown_parameter", "repeated_parameter",
              "wrong_gradients")  # fmt: skip
    lines = [
        f"  {name}:",
        f"    title: {name}",
        f"    target: example.{name}.Adam",
        "    aliases: []",
        "    versions: example",
        f"    protocol: {protocol}",
        f"    methods: [{{name: go, role: step, arguments: {ARGUMENTS[protocol]}}}]",
        "    rates: [list, callable]",
        "    kwargs: false",
        "    parameters:",
        *(f"      - {parameter}" for parameter in parameters),
        "    conflicts: []",
        "    errors: {" + ", ".join(f"{kind}: ValueError" for kind in errors) + "}",
        f"    stages: [{STAGES[protocol, decay]}]",
        f"    semantics: {{epsilon: {epsilon}, bias_correction: {correction}, decay_skips: [], amsgrad: none, "
        "nesterov: none, schedule_start: 0, average_start: none, power_start: none}",
        f"    numerics: {'adding' if decay == 'added' else 'canonical'}",
        '    slots: [{step: t}, {first_moment: "{parameter}.m", second_moment: "{parameter}.v"}]',
        "",
    ]
    adapters = [
        f"  - {{name: {name}, module: {module}, runtime: {runtime}, dialect: {name}, borrows: {{}}}}"
        for module, runtime in (("adamcompat", "numpy"), (f"adamcompat.{FRAMEWORKS[protocol]}", FRAMEWORKS[protocol]))
    ]
    return "\n".join(lines), "\n".join(adapters)


ALL = [(protocol, decay, *form) for protocol, decay in STAGES for form in FORMS]


@pytest.fixture(scope="module")
def minted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package whose mapping has all these dialects, generated anew."""
    root = make_copy(tmp_path_factory.mktemp("minted"))
    texts = [dialect(*one) for one in ALL]
    # A decay that is added to the update is the same algebra as one that is taken off the parameter before it.
    path = root / "mapping.yaml"
    known = path.read_text(encoding="utf-8")
    canonical = known[
        known.index("\n  canonical:\n    about: Scalars") : known.index("\n  keras3:\n    about: As keras")
    ]
    edit(
        path,
        canonical,
        canonical + canonical.replace("canonical:", "adding:").replace("decay: parameter", "decay: update"),
    )
    edit(path, "\nadapters:\n", "\n" + "\n".join(text for text, _ in texts) + "\nadapters:\n"
         + "\n".join(adapters for _, adapters in texts) + "\n")  # fmt: skip
    result = python(root, "scripts/generate.py")
    assert result.returncode == 0, result.stderr
    return root


HEAD = f"""
import json, os, sys
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", GLOG_v="3", CUDA_VISIBLE_DEVICES="-1")
import numpy as np
ALL = {ALL!r}
TUPLES = {TUPLES!r}
rng = np.random.default_rng(7)
START = [rng.standard_normal(shape) for shape in ((3, 4), (17,))]
GRADIENTS = [[rng.standard_normal(w.shape) for w in START] for _ in range({STEPS})]

def given(protocol, decay):
    more = {{}} if decay == "none" else {{"shrink": 0.1}}
    more |= {{"bs": (0.8, 0.9)}} if (protocol, decay) in TUPLES else {{"b1": 0.8, "b2": 0.9}}
    return dict(speed=0.01, tiny=0.1, top=0.8, scale=1.5, length=2.0, together=2.5, fade=0.3, **more)

def show(found):
    print("FOUND", json.dumps({{name: [np.asarray(w).tolist() for w in ws] for name, ws in found.items()}}))
"""
CODE = {
    "numpy": """
import adamcompat
found = {}
for protocol, decay, *form in ALL:
    name = "_".join(["mint", protocol, decay, *form])
    weights = [w.copy() for w in START]
    cls = getattr(adamcompat, name)
    if protocol == "call":
        optimizer = cls(weights, **given(protocol, decay))
        for step in GRADIENTS:
            optimizer(tuple(step))
    else:
        optimizer = cls(**given(protocol, decay))
        for step in GRADIENTS:
            optimizer.apply_gradients(zip(step, weights))
    found[name] = weights
show(found)
""",
    "tensorflow": """
import tensorflow as tf
import adamcompat.tensorflow.adapters as adapters
found = {}
for mode in ("eager", "function", "xla"):
    for protocol, decay, *form in ALL:
        if protocol != "call":
            continue
        name = "_".join(["mint", protocol, decay, *form])
        weights = [tf.Variable(w) for w in START]
        optimizer = getattr(adapters, name)(weights, **given(protocol, decay))
        run = optimizer if mode == "eager" else tf.function(
            lambda *g, optimizer=optimizer: optimizer(g), jit_compile=mode == "xla", reduce_retracing=True)
        for step in GRADIENTS:
            gradients = tuple(tf.constant(g) for g in step)
            run(gradients) if mode == "eager" else run(*gradients)
        found[f"{mode} {name}"] = [w.numpy() for w in weights]
show(found)
""",
    "mindspore": """
import mindspore as ms
import adamcompat.mindspore.adapters as adapters
found = {}
for mode in ("pynative", "graph"):
    for protocol, decay, *form in ALL:
        if protocol != "apply_gradients":
            continue
        name = "_".join(["mint", protocol, decay, *form])
        weights = [ms.Parameter(ms.Tensor(w), name=f"w{i}") for i, w in enumerate(START)]
        optimizer = getattr(adapters, name)(**given(protocol, decay))
        optimizer.build(weights)
        for step in GRADIENTS:
            gradients = [ms.Tensor(g) for g in step]
            if mode == "pynative":
                optimizer.apply_gradients(zip(gradients, weights))
            else:
                optimizer._compiled(*gradients)
        found[f"{mode} {name}"] = [w.asnumpy() for w in weights]
show(found)
""",
}


def expected(protocol: str, decay: str, epsilon: str, correction: str) -> list[Any]:
    """The weights by the independent reference, which knows the order of these stages."""
    rng = np.random.default_rng(7)
    weights = [rng.standard_normal(shape) for shape in ((3, 4), (17,))]
    gradients = [[rng.standard_normal(w.shape) for w in weights] for _ in range(STEPS)]
    reference = Reference(
        lr=lambda _: 0.01, b1=0.8, b2=0.9, eps=0.1, scale=1.5, clipvalue=0.8,
        clipnorm=2.0, global_clipnorm=2.5, time_decay=0.3,
        l2=lambda _: 0.1 if decay == "l2" else 0.0, decoupled=lambda _: 0.1 if decay in ("decoupled", "added") else 0.0,
        paper=epsilon == "paper", corrects=correction == "both",
    )  # fmt: skip
    for step in gradients:
        reference.step(weights, step)
    return weights


@pytest.mark.parametrize("framework", ["numpy", "numpy without Numba", "tensorflow", "mindspore"])
def test_every_form_is_executed(minted: Path, framework: str) -> None:
    runtime, _, without = framework.partition(" ")
    if runtime != "numpy" and find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    begin = "import os; os.environ['ADAMCOMPAT_EXECUTOR'] = 'numpy'\n" if without else ""
    result = python(minted, "-c", begin + HEAD + CODE[runtime])
    lines = [line for line in result.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, result.stderr
    found = json.loads(lines[0].removeprefix("FOUND "))
    chosen = [one for one in ALL if runtime == "numpy" or FRAMEWORKS[one[0]] == runtime]
    wanted = {"_".join(["mint", *one]): expected(*one) for one in chosen}
    # Every fact makes another step; the protocol does not.
    assert len({tuple(weights[0].ravel().round(9)) for weights in wanted.values()}) == len(
        {(one[1].replace("added", "decoupled"), *one[2:]) for one in chosen}
    )
    modes = {"tensorflow": 3, "mindspore": 2}.get(runtime, 1)
    assert len(found) == modes * len(wanted)
    for name, weights in found.items():
        for one, other in zip(weights, wanted[name.split()[-1]], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15, err_msg=name)


ATTRIBUTES = """
def refusal(act):
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"

def change(optimizer, value):
    optimizer.bs = value
"""
ATTRIBUTES_ON = {
    "numpy": """
import adamcompat

def made(protocol, weights, bs):
    if protocol == "call":
        return adamcompat.mint_call_decoupled_hat_both(weights, **{**given("call", "decoupled"), "bs": bs})
    return adamcompat.mint_apply_gradients_none_hat_both(**{**given("apply_gradients", "none"), "bs": bs})

def step(optimizer, weights):
    for gradients in GRADIENTS:
        optimizer(tuple(gradients)) if callable(optimizer) else optimizer.apply_gradients(zip(gradients, weights))

for protocol in ("call", "apply_gradients"):
    weights, others = [[w.copy() for w in START] for _ in range(2)]
    optimizer = made(protocol, weights, [0.8, 0.9])
    first, wrong = optimizer.bs, [refusal(lambda: change(optimizer, bs)) for bs in ((0.5,), 0.5, (0.5, "x"))]
    kept = optimizer.bs
    optimizer.bs = [0.5, 0.25]
    print("SEEN", json.dumps([first, wrong, kept, optimizer.bs, isinstance(optimizer.bs, tuple)]))
    step(optimizer, weights)
    step(made(protocol, others, (0.5, 0.25)), others)
    assert all(np.array_equal(one, two) for one, two in zip(weights, others))
""",
    "tensorflow": """
import tensorflow as tf
import adamcompat.tensorflow.adapters as adapters
kind = adapters.mint_call_decoupled_hat_both
weights, others = [[tf.Variable(w) for w in START] for _ in range(2)]
optimizer = kind(weights, **given("call", "decoupled"))
first, wrong = optimizer.bs, [refusal(lambda: change(optimizer, bs)) for bs in ((0.5,), 0.5, (0.5, "x"))]
kept = optimizer.bs
optimizer.bs = [0.5, 0.25]
print("SEEN", json.dumps([first, wrong, kept, optimizer.bs, isinstance(optimizer.bs, tuple)]))
other = kind(others, **{**given("call", "decoupled"), "bs": (0.5, 0.25)})
for one in (optimizer, other):
    for step in GRADIENTS:
        one(tuple(tf.constant(g) for g in step))
assert all(np.array_equal(one.numpy(), two.numpy()) for one, two in zip(weights, others))
again = kind.from_config(optimizer.get_config())
assert again.bs == (0.5, 0.25), again.bs
""",
    "mindspore": """
import adamcompat.mindspore.adapters as adapters
optimizer = adapters.mint_apply_gradients_none_hat_both(**given("apply_gradients", "none"))
wrong = [refusal(lambda: adapters.mint_apply_gradients_none_hat_both(bs=bs)) for bs in ((0.5,), 0.5, (0.5, "x"))]
assert "is part of compiled graphs" in refusal(lambda: change(optimizer, (0.5, 0.25)))
again = adapters.mint_apply_gradients_none_hat_both(bs=[0.5, 0.25])
print("SEEN", json.dumps([optimizer.bs, wrong, optimizer.bs, again.bs, isinstance(again.bs, tuple)]))
""",
}


@pytest.mark.parametrize("framework", list(ATTRIBUTES_ON))
def test_a_tuple_is_one_attribute(minted: Path, framework: str) -> None:
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    result = python(minted, "-c", HEAD + ATTRIBUTES + ATTRIBUTES_ON[framework])
    assert result.returncode == 0, result.stderr
    seen = [json.loads(line.removeprefix("SEEN ")) for line in result.stdout.splitlines() if line.startswith("SEEN ")]
    assert len(seen) == (2 if framework == "numpy" else 1)
    wanted = "ValueError: bs must be a tuple of 2 values (beta1, beta2), got"
    wrong = [f"{wanted} 1: (0.5,)", f"{wanted} 0.5 (float)", "ValueError: bs[1] must be a number, got 'x' (str)"]
    for one in seen:
        assert one == [[0.8, 0.9], wrong, [0.8, 0.9], [0.5, 0.25], True]


EXTENDED = """
  keras3w:
    extends: keras3
    title: Keras 3, decoupled
    target: keras.optimizers.NewAdam
    aliases: []
    versions: example
    defaults: {weight_decay: 0.004}
    without: [amsgrad]

adapters:
  - {name: TFStyleNew, module: adamcompat, runtime: numpy, dialect: keras3w, borrows: {tf26: [lr]}}
"""


def test_a_dialect_that_extends_another_says_what_differs_and_nothing_else(tmp_path: Path) -> None:
    root = make_copy(tmp_path)
    edit(root / "mapping.yaml", "\nadapters:\n", EXTENDED)
    result = python(root, "scripts/generate.py")
    assert result.returncode == 0, result.stderr
    code = """
import inspect, json
import numpy as np
from adamcompat import TFStyleAdam, TFStyleNew
names = [list(inspect.signature(kind).parameters) for kind in (TFStyleAdam, TFStyleNew)]
weights = [np.ones(3) for _ in range(3)]
for optimizer, weight in zip((TFStyleNew(0.1), TFStyleAdam(0.1, weight_decay=0.004), TFStyleAdam(0.1)), weights):
    optimizer.apply_gradients([(np.full(3, 0.5), weight)])
print(json.dumps([names, [weight.tolist() for weight in weights], TFStyleNew.__doc__.count("Default: 0.004")]))
"""
    result = python(root, "-c", code)
    assert result.returncode == 0, result.stderr
    (whole, own), (ours, same, other), documented = json.loads(result.stdout)
    assert own == [name for name in whole if name != "amsgrad"]
    assert (ours == same, ours == other, documented) == (True, False, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("extends: keras3", "extends: keras4", "unknown dialect 'keras4'; extends takes one that is defined above"),
        ("weight_decay: 0.004", "decay: 0.004", "'keras3' has no parameter 'decay'"),
        ("weight_decay: 0.004", "weight_decay: -1.0", "outside its range"),
        ("weight_decay: 0.004", "weight_decay: text", "is not of the type 'number'"),
        ("weight_decay: 0.004", "ema_overwrite_frequency: 0", "outside its range"),
        ("weight_decay: 0.004", "extra: 0.004", "'keras3' has no parameter 'extra'"),
        ("without: [amsgrad]", "without: [nesterov]", "'keras3' has no parameter 'nesterov'"),
        ("without: [amsgrad]", "without: [clipnorm]", "a conflict names 'clipnorm'"),
        ("    title: Keras 3, decoupled\n", "", "the key 'title' is missing"),
        ("    extends: keras3\n", "", "the key 'parameters' is missing"),
    ],
)
def test_a_mistake_in_an_extension_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text((ROOT / "mapping.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    edit(path, "\nadapters:\n", EXTENDED.replace(old, new))
    with pytest.raises(MappingError, match=said) as caught:
        load(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert int(str(caught.value).split(":")[1]) > lines.index("  keras3w:")


def test_a_default_that_is_read_as_itself_is_named_in_an_extension_too(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text((ROOT / "mapping.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    text = EXTENDED.replace("keras3\n", "tf26\n").replace("weight_decay: 0.004", "epsilon: 0.0")
    edit(path, "\nadapters:\n", text)
    with pytest.raises(MappingError, match=r"0\.0 is the default of 'epsilon' and need not be read as it"):
        load(path)


COMPARE = """
import json
from adamcompat.comparison import compare
names = [f"adamcompat.mint_call_none_{form}(tiny=0.1)" for form in ("hat_both", "paper_both", "hat_none")]
found = compare(*names, hyperparameters={"learning_rate": 0.01}, steps=20)
print("FOUND", json.dumps([pair.sentences[0] for pair in found.pairs]))
"""


def test_the_form_explains_a_difference(minted: Path) -> None:
    result = python(minted, "-c", COMPARE)
    lines = [line for line in result.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, result.stderr
    sentences = json.loads(lines[0].removeprefix("FOUND "))
    assert sentences[0] == "form of epsilon: hat against paper explains 100% of it"
    assert any(sentence.startswith("bias correction: both against none") for sentence in sentences[1:])


def refusal(tmp_path: Path, old: str, new: str, count: int = 1) -> str:
    """How the mapping is refused after an edit; the text begins with file and line."""
    text = (ROOT / "mapping.yaml").read_text(encoding="utf-8")
    assert text.count(old) >= count
    parts = text.split(old)
    path = tmp_path / "mapping.yaml"
    path.write_text(old.join(parts[:count]) + new + old.join(parts[count:]), encoding="utf-8")
    load(path)
    with pytest.raises(MappingError) as caught:
        load(path, executed=True)
    line = int(str(caught.value).split(":")[1])
    changed = [i for i, (a, b) in enumerate(zip(path.read_text().splitlines(), text.splitlines(), strict=False), 1)
               if a != b]  # fmt: skip
    assert line in range(changed[0] - 40, changed[0] + 40)
    return str(caught.value)


KERAS = "[deduplicate, unscale, accumulate, clip_norm, global_clip_norm, clip_value, decoupled_decay, update, average]"
MINDSPORE = "[deduplicate, l2_decay, centralize, unscale, update]"


@pytest.mark.parametrize(
    ("old", "new", "count", "said"),
    [
        ("epsilon: hat\n", "epsilon: paper\n", 1, "adamcompat.tensorflow.Adam needs epsilon: paper"),
        ("epsilon: hat\n", "epsilon: paper\n", 2, "adamcompat.tensorflow.legacy.Adam needs epsilon: paper"),
        ("epsilon: hat\n", "epsilon: paper\n", 3, "adamcompat.tensorflow.v1.AdamOptimizer needs epsilon: paper"),
        ("epsilon: hat\n", "epsilon: paper\n", 4, "adamcompat.mindspore.Adam needs epsilon: paper"),
        ("bias_correction: both\n", "bias_correction: none\n", 4, "Adam needs bias_correction: none"),
        ("amsgrad: raw_maximum", "amsgrad: corrected_maximum", 1, "needs amsgrad: corrected_maximum"),
        ("amsgrad: raw_maximum", "amsgrad: none", 1, "nothing executes the parameter 'amsgrad'"),
        ("nesterov: none", "nesterov: blend", 1, "needs nesterov: blend"),
        ("nesterov: blend", "nesterov: none", 1, "nothing executes the parameter 'use_nesterov'"),
        (KERAS, KERAS.replace("clip_norm, global", "global"), 1, "add the stage 'clip_norm'"),
        (KERAS, KERAS.replace("clip_value, decoupled_decay", "decoupled_decay, clip_value"), 1,
         "makes the step of the original"),
        (KERAS, KERAS.replace("clip_value, decoupled_decay, update", "decoupled_decay, update, clip_value"), 1,
         "nothing executes 'clip_value' after 'update'"),
        (KERAS, KERAS.replace("update, average", "average, update"), 1, "'average' takes the parameters after"),
        (KERAS, KERAS.replace("accumulate, ", "").replace("update,", "accumulate, update,"), 1, "at each call"),
        (MINDSPORE, MINDSPORE.replace("centralize, ", ""), 1, "the key 'grad_centralization' of groups"),
        (MINDSPORE, MINDSPORE.replace("unscale, ", ""), 1, "add the stage 'unscale'"),
        *(("schedule_start: 0", "schedule_start: 1", count, "needs schedule_start: 1") for count in (1, 2, 3, 4)),
        ("average_start: first_update", "average_start: initial", 1, "needs average_start: initial"),
        ("amsgrad: none", "amsgrad: raw_maximum", 1, "no parameter asks for amsgrad"),
        ("power_start: none", "power_start: one", 1, "power_start belongs to the slot beta1_power"),
        ("power_start: one", "power_start: none", 1, "power_start belongs to the slot beta1_power"),
        ("decay_skips: []", "decay_skips: [bias]", 1, "needs decay_skips: ('bias',)"),
        ("decay_skips: [beta, gamma]", "decay_skips: [beta]", 1, "needs decay_skips: ('beta',)"),
        ("      - {average: \"{parameter}_average\"}\n", "", 1, "nothing saves the state 'average'"),
        ("      - {maximum_second_moment: \"{parameter}_velocity_hat\"}\n", "", 1, "'maximum_second_moment'"),
        ("      - {accumulated_gradient: \"{parameter}_gradient_accumulator\"}\n", "", 1, "'accumulated_gradient'"),
    ],
)  # fmt: skip
def test_a_fact_that_nothing_executes_is_refused(tmp_path: Path, old: str, new: str, count: int, said: str) -> None:
    assert said in refusal(tmp_path, old, new, count)


def test_there_is_one_epsilon_without_bias_correction(tmp_path: Path) -> None:
    text = (ROOT / "mapping.yaml").read_text(encoding="utf-8")
    both = "epsilon: hat\n      bias_correction: both"
    path = tmp_path / "mapping.yaml"
    path.write_text(text.replace(both, "epsilon: paper\n      bias_correction: none", 1), encoding="utf-8")
    with pytest.raises(MappingError, match="but one epsilon; write epsilon: hat"):
        load(path)


def test_a_runtime_without_a_base_for_a_protocol_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text((ROOT / "mapping.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    edit(path, "runtime: tensorflow_v1\n    dialect: tf1", "runtime: tensorflow_v1\n    dialect: mindspore")
    with pytest.raises(MappingError, match="'tensorflow_v1' has a base class for apply_gradients only"):
        load(path, executed=True)


@pytest.mark.parametrize(
    ("runtime", "name"), [(runtime, base.name) for runtime, record in RUNTIMES.items() for base in record.bases]
)
def test_a_stage_that_a_runtime_no_longer_declares_is_refused(
    monkeypatch: pytest.MonkeyPatch, runtime: str, name: str
) -> None:
    record = RUNTIMES[runtime]
    bases = [
        replace(base, stages=tuple(stage for stage in base.stages if stage != "update")) if base.name == name else base
        for base in record.bases
    ]
    monkeypatch.setitem(RUNTIMES, runtime, replace(record, bases=tuple(bases)))
    with pytest.raises(MappingError, match=r"mapping.yaml:\d+: .*(needs update|makes the step of the original)"):
        load(ROOT / "mapping.yaml", executed=True)


# Each fact of the rounding of each original that has a drop-in.
_ROUNDINGS = [
    (adapter, name)
    for adapter in MAPPING.adapters
    if adapter.replaces(MAPPING.dialects[adapter.dialect])
    for name in get_type_hints(Numerics)
    if name not in ("name", "about", "extends")
]


@pytest.mark.parametrize(
    ("adapter", "name"), _ROUNDINGS, ids=[f"{adapter.runtime}-{adapter.name}-{name}" for adapter, name in _ROUNDINGS]
)
def test_a_rounding_that_an_original_does_not_have_is_refused(adapter: Adapter, name: str) -> None:
    """A drop-in has its original's bits, whatever the mapping says of them."""
    dialect = MAPPING.dialects[adapter.dialect]
    own = MAPPING.numerics[dialect.numerics]
    others = [word for word in get_args(get_type_hints(Numerics)[name]) if word != getattr(own, name)]
    refused = []
    for word in others:
        changed = replace(own, **{name: word})
        mapping = replace(MAPPING, numerics={**MAPPING.numerics, own.name: changed}, adapters=(adapter,))
        refused += [fault.path for fault in faults(mapping)]
    # TensorFlow's drop-ins look this one up.
    executed = name == "one_minus_beta" and adapter.runtime.startswith("tensorflow")
    assert refused == [] if executed else refused == [("numerics", own.name, name)] * len(others) != []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    groups: every\n", "", "'step': write the word 'every' under groups"),
        ("    rates: [callable]\n", "    rates: [callable]\n    groups: every\n",
         "'apply_gradients': write a list of keys, or nothing under groups"),
    ],
)  # fmt: skip
def test_groups_are_of_the_kind_that_the_calling_convention_reads(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text((ROOT / "mapping.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    edit(path, old, new)
    with pytest.raises(MappingError, match=rf"mapping.yaml:\d+: dialects\.(torch|tf1).*{said}"):
        load(path, executed=True)


def test_a_member_gets_no_base_class_of_a_sibling(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text((ROOT / "mapping.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    edit(path, "\nadapters:\n", EXTENDED)
    load(path, executed=True)
    edit(path, "module: adamcompat, runtime: numpy, dialect: keras3w", "module: adamcompat.tensorflow, "
         "runtime: tensorflow, dialect: keras3w")  # fmt: skip
    with pytest.raises(
        MappingError, match=r"mapping.yaml:\d+: .*'tensorflow' has a base class for keras.optimizers.Adam, "
    ):
        load(path, executed=True)


def test_a_stage_without_an_instruction_is_an_error_and_no_step() -> None:
    dialect = replace(MAPPING.dialects["keras3"], stages=("nonsense", "update"))
    with pytest.raises(NotImplementedError, match="no instruction for the stage 'nonsense'"):
        models.engine(dialect, models.CANONICAL, BASE, [np.ones(2)])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("clip_norm", 1.0), ("l2_weight_decay", 0.1), ("inverse_time_decay", 0.1), ("use_ema", True)),
        *(("accumulation_steps", 2), ("gradient_transformers", (np.abs,)), ("loss_scale", 2.0)),
    ],
)
def test_a_hyperparameter_that_nothing_reads_is_an_error_and_no_step(setting: str, value: Any) -> None:
    dialect = replace(MAPPING.dialects["keras3"], stages=("update",))
    values = {name: entry.neutral for name, entry in MAPPING.canonical.items() if entry.scope == "hyperparameter"}
    compile_step(dialect, models.CANONICAL, Hyperparameters(values, {}, {}))
    hyper = Hyperparameters(values | {setting: value}, {}, {})
    if setting == "inverse_time_decay":
        # Every runtime's learning rate obeys it.
        assert compile_step(dialect, models.CANONICAL, hyper).rate.time_decay == value
        return
    with pytest.raises(NotImplementedError, match=f"nothing executes {setting}: .* its stages are update"):
        compile_step(dialect, models.CANONICAL, hyper)


@pytest.mark.frameworks
def test_a_graph_of_mindspore_names_the_stage_that_it_lacks() -> None:
    pytest.importorskip("mindspore")
    from adamcompat.mindspore.tf_graph import GraphStep, State

    dialect = replace(MAPPING.dialects["keras3"], stages=("l2_decay", "centralize", "update"))
    program = compile_step(dialect, models.CANONICAL, models.hyperparameters(BASE))
    with pytest.raises(NotImplementedError, match="GraphStep does not run l2_decay, centralize: write it there"):
        GraphStep(program, models.CANONICAL, None, [], [], State(*[()] * 8))


@pytest.mark.frameworks
def test_a_graph_of_mindspore_refuses_a_look_ahead() -> None:
    pytest.importorskip("mindspore")
    from adamcompat.mindspore.tf_graph import GraphStep, State

    hyper = models.hyperparameters(BASE | {"nesterov": True})
    program = compile_step(MAPPING.dialects["keras3"], models.CANONICAL, hyper)
    with pytest.raises(NotImplementedError, match="no Nesterov look-ahead"):
        GraphStep(program, models.CANONICAL, None, [], [], State(*[()] * 8))


@pytest.mark.frameworks
def test_a_graph_of_mindspore_refuses_lazy_rows() -> None:
    mindspore = pytest.importorskip("mindspore")
    from mindspore.common.sparse_tensor import RowTensorInner

    from adamcompat.mindspore.tf_graph import GraphStep, State

    program = compile_step(MAPPING.dialects["keras3"], models.CANONICAL, models.hyperparameters(BASE | {"lazy": True}))
    weight = mindspore.Parameter(mindspore.Tensor(np.ones((3, 2))), name="w")
    rows = RowTensorInner(mindspore.Tensor([0, 2]), mindspore.Tensor(np.ones((2, 2))), (3, 2))
    graph = GraphStep(program, models.CANONICAL, None, [weight], [True], State(*[()] * 8))
    with pytest.raises(NotImplementedError, match="rows cannot be updated lazily"):
        graph.taken((0,), (rows,), (weight,))
