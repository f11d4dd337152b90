"""translate: names, defaults, meanings, refusals, and the way back."""

from __future__ import annotations

import ast
import doctest
import json
import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adamcompat
from adamcompat import TranslationError, cli, compare, translate
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.convert import convert
from adamcompat.translation.messages import Severity
from adamcompat.translation.names import original

DOCS = Path(__file__).parent.parent / "docs"
PAIRS = list(permutations(MAPPING.dialects, 2))


def codes(result: adamcompat.Translation, severity: Severity | None = None) -> list[str]:
    return [message.code for message in result.messages if severity in (None, message.severity)]


def one(result: adamcompat.Translation, code: str) -> str:
    (text,) = [message.text for message in result.messages if message.code == code]
    return text


SCHEDULED = [
    (f"{target}.{name}({{}})", {"keras3": "keras.optimizers.Adam({})", "mindspore": "nn.Adam(p, {})"}[dialect], to)
    for dialect, to in (("keras3", "mindspore"), ("mindspore", "keras3"), ("mindspore", "tf26"))
    for schedule in MAPPING.schedules.values()
    for target, _, name in [schedule.classes[dialect].target.rpartition(".")]
]


@pytest.mark.parametrize(
    "arguments", ["*a", "0.1, *a", "0.1, 10, *a", "0.1, 0.5, 1, *a", "**k", "0.1, decay_steps=10, **k", "*a, **k"]
)
@pytest.mark.parametrize(("schedule", "call", "to"), SCHEDULED)
def test_a_schedule_with_a_star_among_its_arguments_is_refused(
    schedule: str, call: str, to: str, arguments: str
) -> None:
    """A star may hold any of them; a text with it in the place of one would be another schedule, or no Python."""
    result = translate(call.format(schedule.format(arguments)), to)
    assert result.call is None
    assert "learning-rate-form" in codes(result, Severity.ERROR), result.messages


@pytest.mark.parametrize(
    ("line", "certain"),
    [
        ("", True),
        ("p: list = net.trainable_params()", True),
        ("(p := net.trainable_params())", True),
        ("other, p.first = make()", True),
        ("for p in made(): ...", False),
        ("async def f():\n    async for p in made(): ...", False),
        ("with made() as p: ...", False),
        ("p, q = made()", False),
        ("[q, *p] = made()", False),
        ("del p", False),
        ("import p", False),
        ("import p.q", False),
        ("from made import q as p", False),
        ("def p(): ...", False),
        ("class p: ...", False),
        ("def f(p): ...", False),
        ("lambda *p: 1", False),
        ("[p for p in made()]", False),
        ("try: ...\nexcept OSError as p: ...", False),
        ("match made():\n    case [*p]: ...", False),
    ],
)
def test_parameters_are_told_only_where_nothing_else_gives_their_name_a_value(line: str, certain: bool) -> None:
    code = f"from mindspore.nn import Adam\np = net.trainable_params()\n{line}\nAdam(p)\n"
    result = translate(code, "keras3")
    if certain:
        assert "params-at-each-step" in codes(result, Severity.INFO), result.messages
    else:
        assert "if it holds parameter groups" in one(result, "parameters-not-read")


CALLS = [
    ("tf.keras.optimizers.Adam()", "mindspore", "mindspore.nn.Adam(params, eps=1e-07)"),
    ("tf.keras.optimizers.Adam(0.001, amsgrad=True)", "mindspore",
     "mindspore.nn.Adam(params, learning_rate=0.001, eps=1e-07, use_amsgrad=True)"),
    ("tf.keras.optimizers.Adam(lr=1e-5)", "keras3", "keras.optimizers.Adam(learning_rate=1e-5)"),
    ("tf.keras.optimizers.Adam(lr=1e-5)", "mindspore", "mindspore.nn.Adam(params, learning_rate=1e-5, eps=1e-07)"),
    ("tf.compat.v1.train.AdamOptimizer(FLAGS.lr, 0.5)", "keras3",
     "keras.optimizers.Adam(learning_rate=FLAGS.lr, beta_1=0.5, epsilon=1e-08)"),
    ("AdamOptimizer()", "mindspore", "mindspore.nn.Adam(params)"),
    ("nn.Adam(net.trainable_params(), 1, eps=1e-3)", "keras3",
     "keras.optimizers.Adam(learning_rate=1.0, epsilon=1e-3)"),
    ("nn.Adam(net.trainable_params(), loss_scale=1024)", "keras3",
     "keras.optimizers.Adam(epsilon=1e-08, loss_scale_factor=1024)"),
    ("nn.Adam(params=p, learning_rate = a*b, use_amsgrad=False)", "tf26",
     "tf.keras.optimizers.legacy.Adam(learning_rate=a*b, epsilon=1e-08, amsgrad=False)"),
    ("nn.Adam(p, learning_rate=(base := 1e-3))", "tf1",
     "tf.compat.v1.train.AdamOptimizer(learning_rate=(base := 1e-3))"),
    ("keras.optimizers.Adam(clipnorm=1.0, name='a')", "tf26",
     "tf.keras.optimizers.legacy.Adam(name='a', clipnorm=1.0)"),
    ("keras.optimizers.Adam(loss_scale_factor=None, weight_decay=None)", "mindspore",
     "mindspore.nn.Adam(params, eps=1e-07)"),
    ("nn.Adam(p, [0.1, 0.01])", "mindspore", "mindspore.nn.Adam(p, learning_rate=[0.1, 0.01])"),
    ("keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 1, staircase=True))", "mindspore",
     "mindspore.nn.Adam(params, learning_rate=mindspore.nn.ExponentialDecayLR(1e-3, decay_rate=1.0, decay_steps=10, "
     "is_stair=True), eps=1e-07)"),
    ("keras.optimizers.Adam(keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5))", "mindspore",
     "mindspore.nn.Adam(params, learning_rate=mindspore.nn.InverseDecayLR(0.1, decay_rate=0.5, decay_steps=10), "
     "eps=1e-07)"),
    ("nn.Adam(p, nn.InverseDecayLR(0.1, 0.5, 1), eps=1e-7)", "tf26",
     "tf.keras.optimizers.legacy.Adam(learning_rate=0.1, epsilon=1e-7, decay=0.5)"),
    ("nn.Adam(p, nn.InverseDecayLR(0.1, 0.5, 1, True), eps=1e-7)", "tf26",
     "tf.keras.optimizers.legacy.Adam(learning_rate=tf.keras.optimizers.schedules.InverseTimeDecay(0.1, "
     "decay_steps=1, decay_rate=0.5, staircase=True), epsilon=1e-7)"),
    ("nn.Adam(p, nn.PolynomialDecayLR(0.1, 0.0, 10, 1.0))", "keras3",
     "keras.optimizers.Adam(learning_rate=keras.optimizers.schedules.PolynomialDecay(0.1, decay_steps=10, "
     "end_learning_rate=0.0), epsilon=1e-08)"),
    ("keras.optimizers.Adam(tf.keras.optimizers.schedules.PolynomialDecay(0.1, 10))", "mindspore",
     "mindspore.nn.Adam(params, learning_rate=mindspore.nn.PolynomialDecayLR(0.1, end_learning_rate=0.0001, "
     "decay_steps=10, power=1.0), eps=1e-07)"),
    ("keras.optimizers.Adam(tf.keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5))", "tf26",
     "tf.keras.optimizers.legacy.Adam(learning_rate=tf.keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5))"),
    ("keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5))", "tf26",
     "tf.keras.optimizers.legacy.Adam(learning_rate=tf.keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=9, "
     "decay_rate=0.5))"),
    ("tf.keras.optimizers.legacy.Adam(epsilon=0)", "keras3", "keras.optimizers.Adam(epsilon=1e-07)"),
    # Keras 2's documented call, and what TensorFlow 2.6 takes it for.
    ("keras.optimizers.Adam(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0.0, amsgrad=False)", "keras3",
     "keras.optimizers.Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False)"),
    ("keras.optimizers.Adam(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0.0, amsgrad=False)", "mindspore",
     "mindspore.nn.Adam(params, learning_rate=0.001, beta1=0.9, beta2=0.999, eps=1e-07, use_amsgrad=False)"),
    ("adamcompat.tensorflow.legacy.Adam(epsilon=None)", "tf1",
     "tf.compat.v1.train.AdamOptimizer(epsilon=1e-07)"),
    ("keras.optimizers.Adam(epsilon=1e-8, clipnorm=0.0, clipvalue=0, global_clipnorm=0.0)", "mindspore",
     "mindspore.nn.Adam(params, eps=1e-8)"),
    ("keras.optimizers.Adam(gradient_accumulation_steps=0, ema_overwrite_frequency=0)", "tf26",
     "tf.keras.optimizers.legacy.Adam()"),
    ("tf.keras.optimizers.legacy.Adam(gradient_aggregator=None, gradient_transformers=None)", "keras3",
     "keras.optimizers.Adam()"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "call"), CALLS)
def test_the_call_is_written_in_the_other_dialect(source: str, to: str, call: str) -> None:
    result = translate(source, to)
    assert str(result) == call
    assert not result.warnings
    ast.parse(call)


@pytest.mark.parametrize(
    ("source", "dialect"),
    [
        ("from tensorflow.keras.optimizers import Adam as A; A(1e-3)", "keras3"),
        ("from tensorflow.keras.optimizers.legacy import Adam\nopt = Adam(1e-3)", "tf26"),
        ("from tensorflow.keras import optimizers as o; o.Adam(decay=0.5, learning_rate=1e-3)", "tf26"),
        ("import tensorflow.compat.v1 as tf\ntf.train.AdamOptimizer(1e-3)", "tf1"),
        ("import tensorflow.keras as k; k.optimizers.Adam()", "keras3"),
        ("import mindspore.nn as layers; layers.Adam(p)", "mindspore"),
        ("from mindspore import nn; nn.Adam(p)", "mindspore"),
        ("from mindspore.nn import *; Adam(p)", "mindspore"),
        ("try:\n    from keras.optimizers import Adam\nexcept ImportError:\n"
         "    from tensorflow.keras.optimizers import Adam\nAdam()", "keras3"),
        ("import adamcompat.mindspore; adamcompat.mindspore.Adam(p)", "mindspore"),
        ("ms.nn.Adam(p)", "mindspore"),
        ("tf.train.AdamOptimizer()", "tf1"),
        ("tf.keras.optimizers.Adam(weight_decay=0.0)", "keras3"),
        ("import tensorflow.compat.v2 as tf; tf.keras.optimizers.Adam()", "keras3"),
        ("import tensorflow.compat.v1 as tf; tf.compat.v1.train.AdamOptimizer()", "tf1"),
        ("from mindspore.nn.optim.adam import Adam; Adam(p)", "mindspore"),
        ("import tensorflow as tf; k = tf.keras; A = k.optimizers.Adam; A(lr=1e-3)", "tf26"),
        ("tf.keras.optimizers.Adam(lr=1e-3, nonsense=1)", "tf26"),
        ("tf.keras.optimizers.Adam(nonsense=1)", "keras3"),
        ("tf.keras.optimizers.experimental.AdamW(1e-3)", "keras3_adamw"),
        ("from tensorflow.keras.optimizers.experimental import AdamW as W; W(1e-3)", "keras3_adamw"),
        ("from tensorflow.keras.optimizers import experimental; experimental.AdamW(1e-3)", "keras3_adamw"),
        ("import tensorflow_addons as tfa; tfa.optimizers.AdamW(1e-4)", "tfa_adamw"),
        ("from tensorflow_addons.optimizers import AdamW; AdamW(weight_decay=1e-4, lr=1e-3)", "tfa_adamw"),
    ],
)  # fmt: skip
def test_a_name_is_found_through_imports_and_keywords(source: str, dialect: str) -> None:
    assert translate(source, "keras3").source == dialect


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "Adam(0.001)",
            "may be any of keras3, tf26, mindspore, torch, paddle, mindspore_experimental, mint; say which with --from",
        ),
        ("optimizers.Adam(0.001)", "optimizers.Adam(...) may be any of keras3, tf26, mindspore, torch"),
        ("float(1)", "none of the calls (float) is of an Adam known here"),
        ("import mine as nn; nn.Adam(p)", "none of the calls (nn.Adam) is of an Adam known here"),
        ("from mine import Adam; Adam(p)", "none of the calls (Adam)"),
        ("tf.keras.optimizers.Adam(", "not valid Python"),
        ("0.001", "there is no call"),
        ("[nn.Adam(p), nn.Adam(q)]", "there are 2 calls of Adam; pass one"),
        ("torch.optim.NAdam(p, lr=1e-3)", "torch.optim.NAdam is not translated yet"),
        ("optim.RAdam(p, lr=1e-3)", "torch.optim.RAdam is not translated yet"),
        ("import torch.optim as o; o.NAdam(p)", "torch.optim.NAdam is not translated yet"),
        ("from transformers import AdamW; AdamW(p)", "transformers.AdamW is not translated yet"),
        ("mindspore.nn.AdamOffload(p)", "mindspore.nn.AdamOffload is not translated yet"),
        ("tfa.optimizers.LazyAdam()", "tensorflow_addons.optimizers.LazyAdam is not translated yet"),
        ("import tensorflow.python.keras.optimizer_v2.adam as a; a.Adam()", "Adam is not translated yet"),
        ("x = 1\nnn.Adam(p", "not valid Python in line 2: '(' was never closed"),
        ("nn.Adam(p)\0", "not valid Python"),
        ("nn.Adam('\ud800')", "not valid Python"),
        ("from keras.optimizers import Adam\nfrom mindspore.nn import Adam\nAdam()", "several meanings"),
        ("from keras.optimizers import Adam\ndef Adam(x): ...\nAdam()", "several meanings"),
    ],
)
def test_what_cannot_be_read_is_said(source: str, reason: str) -> None:
    with pytest.raises(TranslationError) as caught:
        translate(source, "mindspore")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "argument",
    [
        "-" * 20_000 + "1",
        "+".join(["1"] * 20_000),
        "(" * 300 + ")" * 300,
        "-" * 700 + "1",
        "+".join(["x"] * 700),
        "f" + "()" * 700,
        "x" + ".y" * 700,
    ],
    ids=lambda text: text[:9],
)
@pytest.mark.parametrize(
    ("code", "to"), [("tf.keras.optimizers.Adam(lr={})", "mindspore"), ("nn.Adam({}, 1)", "keras3")]
)
def test_code_that_is_too_deep_is_an_error_of_translation(code: str, to: str, argument: str) -> None:
    try:
        translate(code.format(argument), to)
    except TranslationError as problem:
        assert "<unknown>" not in str(problem)


def test_the_code_of_a_foreign_adam_is_no_dialects_even_if_one_is_named() -> None:
    with pytest.raises(TranslationError, match=r"torch\.optim\.NAdam is not translated yet"):
        translate("torch.optim.NAdam(p)", "keras3", from_="mindspore")
    assert str(translate("optim.Adam(1e-3)", "tf1", from_="keras3")).startswith("tf.compat.v1.train.AdamOptimizer(")


def test_numbers_that_no_float_holds_are_out_of_range() -> None:
    huge = "1" + "0" * 400
    assert codes(translate(f"keras.optimizers.Adam({huge})", "mindspore"), Severity.ERROR) == ["invalid-call"]
    schedule = f"keras.optimizers.schedules.ExponentialDecay(1, {huge}, 1)"
    assert huge in str(translate(f"keras.optimizers.Adam({schedule})", "mindspore"))


EXPRESSIONS = ["cfg.get('wd', 0.0)", "get_wd()", "cfg['wd']", "args.wd", "wd if use else 0.0", "float(x)", "-f(x)"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_kept_whatever_it_is(expression: str) -> None:
    there = translate(f"nn.Adam(p, {expression}, weight_decay={expression})", "keras3")
    assert f"learning_rate={expression}, epsilon=1e-08, weight_decay={expression})" in str(there)
    assert "the expression is kept as it is written" in one(there, "other-meaning")


def test_from_settles_what_a_name_leaves_open() -> None:
    assert str(translate("Adam(lr=1e-5)", "keras3", from_="tf26")) == "keras.optimizers.Adam(learning_rate=1e-5)"
    assert str(translate("optimizers.Adam(float(x))", "tf1", from_="keras3")) == (
        "tf.compat.v1.train.AdamOptimizer(learning_rate=float(x), epsilon=1e-07)"
    )
    with pytest.raises(TranslationError, match=r"none of the calls \(SGD\)"):
        translate("SGD(0.1)", "tf1", from_="keras3")
    with pytest.raises(TranslationError, match=r"nn.Adam is MindSpore's, not Keras 3's"):
        translate("nn.Adam(p)", "tf1", from_="keras3")
    with pytest.raises(ValueError, match="unknown dialect 'chainer'"):
        translate("nn.Adam(p)", "chainer")


REFUSED = [
    ("nn.Adam(p, use_nesterov=True)", "keras3", "no-counterpart", "not the update of Keras's Nadam"),
    ("nn.Adam(p, use_nesterov=True)", "tf26", "no-counterpart", "not the update of Keras's Nadam"),
    ("nn.Adam(p, use_nesterov=flag)", "keras3", "no-counterpart", "use_nesterov=flag"),
    ("nn.Adam(p, use_lazy=True)", "keras3", "no-counterpart", "use_lazy=True"),
    ("nn.Adam(p, weight_decay=0.01)", "tf26", "no-counterpart", "0.900154 with it and 0.900000 without"),
    ("keras.optimizers.Adam(clipnorm=1.0)", "mindspore", "no-counterpart", "clipnorm=1.0"),
    ("keras.optimizers.Adam(use_ema=True)", "tf1", "no-counterpart", "use_ema=True"),
    ("keras.optimizers.Adam(gradient_accumulation_steps=2)", "tf1", "no-counterpart", "gradient_accumulation_steps=2"),
    ("keras.optimizers.Adam(amsgrad=True)", "tf1", "no-counterpart", "amsgrad=True"),
    ("keras.optimizers.Adam(beta_1=0)", "mindspore", "out-of-range", "beta1 must lie in (0, 1), got 0.0"),
    ("keras.optimizers.Adam(epsilon=0.0)", "mindspore", "out-of-range", "eps must lie in (0, inf), got 0.0"),
    ("keras.optimizers.Adam(epsilon=0.0)", "tf26", "out-of-range", "takes 0.0 for not given and uses 1e-07"),
    ("adamcompat.TFStyleAdam(clipnorm=0.0)", "mindspore", "invalid-call", "clipnorm must lie in (0, inf), got 0.0"),
    ("tf.keras.optimizers.legacy.Adam(gradient_transformers=[f])", "keras3", "no-counterpart", "transformers=[f]"),
    ("tf.keras.optimizers.legacy.Adam(gradient_aggregator=f)", "mindspore", "no-counterpart", "adds up the gradients"),
    ("tf.keras.optimizers.legacy.Adam(gradient_transformers=3)", "tf1", "invalid-call", "must be a list of functions"),
    ("keras.optimizers.Adam(beta_1=2.0)", "tf1", "invalid-call", "beta_1 must lie in [0, 1), got 2.0"),
    ("keras.optimizers.Adam(beta_1='a')", "tf1", "invalid-call", "beta_1 must be a number, got 'a'"),
    ("keras.optimizers.Adam(beta1=0.9)", "tf1", "unknown-parameter", "here it is 'beta_1'"),
    ("nn.Adam(p, betas=(0.9, 0.99))", "tf1", "unknown-parameter", "'betas' is PyTorch's name; here it is 'beta1'"),
    ("keras.optimizers.Adam(1e-3, learning_rate=1e-3)", "tf1", "invalid-call", "'learning_rate' is given twice"),
    ("tf.train.AdamOptimizer(1, 0.9, 0.9, 4, False, 'a', False, 8)", "keras3", "invalid-call", "takes 7 positional"),
    ("nn.Adam()", "keras3", "invalid-call", "MindSpore needs 'params'"),
    ("keras.optimizers.Adam(**options)", "tf1", "unpacked-arguments", "unpacks"),
    ("keras.optimizers.Adam(*options)", "tf1", "unpacked-arguments", "unpacks"),
    ("nn.Adam(p, use_amsgrad=True, use_nesterov=True)", "keras3", "conflict", "ignores one of them without a word"),
    ("tf.keras.optimizers.legacy.Adam(clipnorm=1.0, clipvalue=1.0)", "keras3", "conflict", "clipnorm and clipvalue"),
    ("nn.Adam([{'params': a, 'lr': 0.1}, {'params': b}])", "keras3", "parameter-groups", "parameter groups"),
    ("groups = [{'params': a}]; nn.Adam(groups)", "keras3", "parameter-groups", "parameter groups"),
    ("nn.Adam(p, [0.1, 0.01])", "keras3", "learning-rate-form", "a schedule object or a callable of nothing"),
    ("rates = [0.1 for _ in range(9)]; nn.Adam(p, rates)", "keras3", "learning-rate-form", "is a list"),
    ("keras.optimizers.Adam(lambda: 0.1)", "mindspore", "learning-rate-form", "mindspore.nn.InverseDecayLR"),
    ("keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(0.1, 9))", "mindspore", "learning-rate-form",
     "MindSpore takes a number or a list or a schedule object"),
    ("from keras.optimizers.schedules import CosineDecay\nimport keras\nkeras.optimizers.Adam(CosineDecay(0.1, 9))",
     "mindspore", "learning-rate-form", "CosineDecay(0.1, 9) is a schedule of Keras 3"),
    ("nn.Adam(p, weight_decay=lambda step: 0.1)", "keras3", "other-form", "must be a number"),
    ("tf.keras.optimizers.Adam(lambda: 0.1, decay=0.1)", "keras3", "learning-rate-form", "write one schedule"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "code", "reason"), REFUSED)
def test_what_has_no_translation_is_an_error(source: str, to: str, code: str, reason: str) -> None:
    result = translate(source, to)
    assert result.call is None
    assert str(result) == ""
    assert codes(result, Severity.ERROR) == [code]
    assert reason in result.errors[0].text


@pytest.mark.parametrize(
    ("source", "to", "code", "reason"),
    [
        ("tf.train.AdamOptimizer(use_locking=True)", "keras3", "no-counterpart", "it is left out"),
        ("keras.optimizers.Adam(make_rate())", "mindspore", "kept-expression", "right where the call returns a number"),
        ("tf.keras.optimizers.Adam(decay=0.1)", "tf1", "step-counter", "apply_gradients() or minimize()"),
        ("tf.keras.optimizers.legacy.Adam(clipnorm=a, clipvalue=b)", "keras3", "conflict", "exclude each other"),
    ],
)
def test_what_must_be_looked_at_is_a_warning(source: str, to: str, code: str, reason: str) -> None:
    result = translate(source, to)
    assert result.call is not None
    assert codes(result, Severity.WARNING) == [code]
    assert reason in result.warnings[0].text


# Classes that compute something else of the same arguments.

FORMS = {name: dialect.semantics.bias_correction for name, dialect in MAPPING.dialects.items()}


@pytest.mark.parametrize(("source", "target"), [pair for pair in PAIRS if FORMS[pair[0]] != FORMS[pair[1]]])
def test_a_bias_correction_that_one_side_lacks_is_an_error(source: str, target: str) -> None:
    dialect = MAPPING.dialects[source]
    required = (fact for fact in dialect.parameters if fact.required)
    arguments = ", ".join("p" if fact.type == "parameters" else "0.1" for fact in required)
    result = translate(f"{dialect.target}({arguments})", target)
    assert result.call is None
    text = one(result, "bias-correction")
    assert "3.16, 6.53 and 1.26 times as long at t = 1, 10 and 1,000 (with betas of 0.9 and 0.999)" in text


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_steps_without_bias_correction_are_as_much_longer_as_is_said(betas: tuple[float, float]) -> None:
    given: dict[str, Any] = {"learning_rate": 1e-3, "weight_decay": 0.0}
    weights = [np.zeros(1), np.zeros(1)]
    corrected = adamcompat.TFStyleAdamW(beta_1=betas[0], beta_2=betas[1], epsilon=1e-12, **given)
    plain = adamcompat.MindSporeStyleAdamWeightDecay([weights[1]], beta1=betas[0], beta2=betas[1], eps=1e-12, **given)
    factors: dict[int, str] = {}
    for step in range(1, 1001):
        before = [float(weight[0]) for weight in weights]
        corrected.apply_gradients([(np.ones(1), weights[0])])
        plain((np.ones(1),))
        lengths = [old - float(weight[0]) for old, weight in zip(before, weights, strict=True)]
        factors[step] = f"{lengths[1] / lengths[0]:.3g}"
    text = one(translate(f"nn.AdamWeightDecay(p, 1e-3, {betas[0]}, {betas[1]})", "keras3"), "bias-correction")
    assert f"{factors[1]}, {factors[10]} and {factors[1000]} times as long at t = 1, 10 and 1,000" in text
    assert f"(with betas of {betas[0]} and {betas[1]})" in text


@pytest.mark.parametrize(
    ("source", "to", "code", "right"),
    [
        ("keras.optimizers.AdamW(1e-3)", "mindspore", "other-meaning", "mindspore.TFStyleAdamW(learning_rate=1e-3)"),
        ("keras.optimizers.AdamW()", "mindspore_adamweightdecay", "bias-correction", "mindspore.TFStyleAdamW()"),
        ("keras.optimizers.Adam()", "mindspore_adamweightdecay", "bias-correction", None),
        ("nn.AdamWeightDecay(p)", "keras3_adamw", "bias-correction", "tensorflow.MindSporeStyleAdamWeightDecay(p)"),
        ("nn.AdamWeightDecay(p)", "keras3", "bias-correction", "tensorflow.MindSporeStyleAdamWeightDecay(p)"),
        ("nn.Adam(p, weight_decay=0.1)", "keras3_adamw", "other-meaning", "tensorflow.MindSporeStyleAdam(p, weight_d"),
        (
            "nn.Adam(p, weight_decay=0.1)",
            "keras3",
            "other-meaning",
            "tensorflow.MindSporeStyleAdam(p, weight_decay=0.1)",
        ),
        ("nn.Adam(p, use_nesterov=True)", "keras3", "no-counterpart", "tensorflow.MindSporeStyleAdam(p, use_nesterov"),
        ("tfa.optimizers.AdamW(1e-4)", "mindspore", "other-meaning", "mindspore.TFStyleAdamW(weight_decay=0.1)"),
        ("tfa.optimizers.AdamW(1e-4)", "tf26", "no-counterpart", None),
        # Beside a remark that holds for every class.
        ("keras.optimizers.AdamW(make())", "mindspore", "other-meaning", "mindspore.TFStyleAdamW(learning_rate=make"),
        # Not the class that is called.
        ("nn.Adam(p, weight_decay=0.1)", "mindspore_adamweightdecay", "other-meaning", "mindspore.Adam(p, weight_dec"),
    ],
)
def test_the_class_that_computes_the_same_is_named(source: str, to: str, code: str, right: str | None) -> None:
    result = translate(source, to)
    ends = one(result, code).rpartition("; ")[2]
    if code == "bias-correction" and right is None:
        # The framework's own Adam computes the same.
        assert ends == "mindspore.nn.Adam(params, eps=1e-07) computes the same"
    elif right is None:
        assert "computes the same" not in ends
    else:
        assert ends.startswith(f"adamcompat.{right}"), ends


def test_a_maximum_that_a_class_has_not_got_is_no_other_maximum() -> None:
    found = translate("keras.optimizers.AdamW(amsgrad=True)", "mindspore_adamweightdecay")
    codes = {message.code for message in found.messages}
    assert "no-counterpart" in codes
    assert "other-maximum" not in codes


@pytest.mark.parametrize(
    ("arguments", "decay", "severity"),
    [
        ("1e-4, 1e-3", "0.1", Severity.INFO),
        ("weight_decay=1e-4", "0.1", Severity.INFO),
        ("1e-4, lr=1e-2", "0.01", Severity.INFO),
        ("0.0", "0.0", None),
        ("wd", "wd / 0.001", Severity.WARNING),
        ("2 * wd, cfg.lr", "(2 * wd) / cfg.lr", Severity.WARNING),
        ("1e-4, cfg['lr'] / 2", "1e-4 / (cfg['lr'] / 2)", Severity.WARNING),
        ("1e-4, make_rate()", None, Severity.ERROR),
        ("1e-4, decay=0.1", None, Severity.ERROR),
        ("1e-4, 0.0", None, Severity.ERROR),
        ("1e-4, tf.keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)", None, Severity.ERROR),
        ("1e-4, lambda: 0.1", None, Severity.ERROR),
    ],
)
def test_a_decay_that_the_rate_does_not_scale_is_divided_by_it(
    arguments: str, decay: str | None, severity: Severity | None
) -> None:
    result = translate(f"tfa.optimizers.AdamW({arguments})", "keras3_adamw")
    found = [message.severity for message in result.messages if message.code == "scaled-decay"]
    assert found == ([] if severity is None else [severity])
    assert (result.call is None) == (decay is None)
    if decay is not None:
        node = ast.parse(str(result), mode="eval").body
        assert isinstance(node, ast.Call)
        assert {item.arg: ast.unparse(item.value) for item in node.keywords}["weight_decay"] == ast.unparse(
            ast.parse(decay)
        )


def test_a_decay_that_is_no_number_is_refused() -> None:
    for decay in ("lambda: 1e-4", "schedule(step)"):
        result = translate(f"tfa.optimizers.AdamW(weight_decay={decay})", "keras3_adamw")
        assert codes(result, Severity.ERROR) == ["other-form"]


def test_a_divided_decay_trains_as_the_absolute_one() -> None:
    found = compare(
        "float64:tfa_adamw(weight_decay=1e-4, learning_rate=0.01)", "float64:keras3_adamw(weight_decay=0.01, lr=0.01)",
        steps=20,
    )  # fmt: skip
    assert found.agree
    (weight,) = compare(
        "float64:tfa_adamw(weight_decay=0.5, learning_rate=0.25)", "float64", weights=[np.ones(1)],
        gradients=[np.ones((1, 1))],
    ).runs[0].parameters  # fmt: skip
    assert float(weight[0]) == pytest.approx(1 - 0.5 - 0.25, abs=1e-6)


def test_the_same_decay_is_the_same_in_both_classes_of_keras() -> None:
    there = translate("keras.optimizers.Adam(1e-3, weight_decay=0.01)", "keras3_adamw")
    assert str(there) == "keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.01)"
    assert str(translate(str(there), "keras3")) == "keras.optimizers.Adam(learning_rate=1e-3, weight_decay=0.01)"
    assert not there.messages
    assert str(translate("keras.optimizers.AdamW()", "keras3")) == "keras.optimizers.Adam(weight_decay=0.004)"
    for none in ("keras.optimizers.Adam()", "keras.optimizers.Adam(weight_decay=None)", "tf.train.AdamOptimizer()"):
        assert "weight_decay=0.0" in str(translate(none, "keras3_adamw"))
    assert str(translate("nn.AdamWeightDecay(p)", "keras3", shim=True)) == (
        "adamcompat.tensorflow.MindSporeStyleAdamWeightDecay(p)"
    )


def test_schedules_of_a_member_are_those_of_its_framework() -> None:
    rate = "keras.optimizers.schedules.ExponentialDecay(0.1, 9, 0.5)"
    there = translate(f"keras.optimizers.AdamW({rate}, weight_decay=0.0)", "mindspore")
    assert "learning_rate=mindspore.nn.ExponentialDecayLR(0.1, decay_rate=0.5, decay_steps=9)" in str(there)
    assert str(translate(f"keras.optimizers.Adam({rate})", "keras3_adamw")).startswith(
        f"keras.optimizers.AdamW(learning_rate={rate}, "
    )


def test_weight_decay_says_by_how_much_the_meanings_differ() -> None:
    there = translate("keras.optimizers.Adam(weight_decay=0.01, epsilon=1e-8)", "mindspore")
    assert "weight_decay=0.01" in str(there)
    assert "is 0.899050 in Keras 3 and 0.900154 in MindSpore" in one(there, "other-meaning")
    back = translate("nn.Adam(p, 1e-3, weight_decay=0.01)", "keras3")
    assert "is 0.900154 in MindSpore and 0.899050 in Keras 3" in one(back, "other-meaning")
    unknown = one(translate("keras.optimizers.Adam(weight_decay=wd)", "mindspore"), "other-meaning")
    assert "after 100 steps" not in unknown
    assert translate("keras.optimizers.Adam(weight_decay=0.0)", "mindspore").messages[0].code == "left-out"


@pytest.mark.parametrize("to", ["keras3", "mindspore"])
def test_decay_becomes_inverse_time_decay(to: str) -> None:
    result = translate("tf.keras.optimizers.Adam(1e-3, decay=1e-3)", to)
    assert "Exponential" not in str(result)
    assert "Inverse" in str(result)
    assert "decay_steps=1" in str(result)
    assert "at step 1000 it is 0.0005" in one(result, "schedule")


def test_shim_writes_our_class_and_prefers_the_callers_own_style() -> None:
    result = translate("tf.keras.optimizers.Adam(1e-3)", "mindspore", shim=True)
    assert result.imports == ("import adamcompat.mindspore",)
    assert translate("nn.Adam(p)", "mindspore", shim=True).call == "adamcompat.mindspore.Adam(p)"
    ours = translate("tf.keras.optimizers.Adam(1e-3, weight_decay=0.1)", "keras3", shim=True)
    assert ours.call == "adamcompat.tensorflow.Adam(learning_rate=1e-3, weight_decay=0.1)"
    legacy = translate("tf.keras.optimizers.Adam(lr=1e-3, decay=0.1)", "tf26", shim=True)
    assert legacy.call == "adamcompat.tensorflow.legacy.Adam(learning_rate=1e-3, decay=0.1)"
    assert translate("tf.train.AdamOptimizer()", "tf1", shim=True).call == "adamcompat.tensorflow.v1.AdamOptimizer()"


def test_shim_has_a_class_for_what_the_original_lacks() -> None:
    source = "nn.Adam([{'params': p}], [0.1, 0.2], use_nesterov=True, weight_decay=0.1)"
    assert translate(source, "keras3").call is None
    ours = translate(source, "keras3", shim=True)
    assert ours.imports == ("import adamcompat.tensorflow",)
    assert str(ours) == (
        "adamcompat.tensorflow.MindSporeStyleAdam([{'params': p}], learning_rate=[0.1, 0.2], use_nesterov=True, "
        "weight_decay=0.1)"
    )
    assert [(item.severity.value, item.code) for item in ours.messages] == [("INFO", "parameters-not-read")]
    schedule = translate("nn.Adam(p, nn.ExponentialDecayLR(0.1, 0.9, 4))", "keras3", shim=True)
    assert "MindSporeStyleAdam(p, learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, " in str(schedule)


# The way there and back.


def hyperparameters(call: str, dialect: Dialect) -> dict[str, Any]:
    """What a call sets, under canonical names: read independently of the translator."""
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    given: dict[str, ast.expr] = dict(
        zip((fact.name for fact in dialect.parameters), node.args, strict=False),
        **{keyword.arg or "": keyword.value for keyword in node.keywords},
    )
    for fact in dialect.parameters:
        if len(fact.parts) > 1 and isinstance(whole := given.get(fact.name), ast.Tuple):
            given |= {part.name: item for part, item in zip(fact.parts, whole.elts, strict=True)}
    found: dict[str, Any] = {}
    for fact in dialect.facts:
        entry = MAPPING.canonical[fact.canonical]
        if entry.scope == "hyperparameter" and not (fact.alias_of and fact.name not in given):
            value = ast.literal_eval(given[fact.name]) if fact.name in given else fact.default
            found[fact.canonical] = entry.neutral if value is None else value
    neutral = {n: entry.neutral for n, entry in MAPPING.canonical.items() if entry.scope == "hyperparameter"}
    ignored = {fact.canonical for other in MAPPING.dialects.values() for fact in other.facts if fact.absent != "refuse"}
    return {name: value for name, value in (neutral | found).items() if name not in ignored}


UNIT = st.floats(0.01, 0.9999)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "learning_rate": st.floats(1e-8, 10.0),
    "beta1": UNIT,
    "beta2": UNIT,
    "epsilon": st.floats(1e-12, 1.0),
    "amsgrad": st.booleans(),
    "nesterov": st.booleans(),
    "decoupled_weight_decay": st.floats(0.0, 1.0),
    "l2_weight_decay": st.floats(0.0, 1.0),
    "absolute_weight_decay": st.floats(0.0, 1.0),
    "loss_scale": st.floats(1e-3, 1e6),
    "clip_norm": st.floats(1e-3, 10.0),
    "inverse_time_decay": st.floats(1e-6, 1.0),
    "use_locking": st.booleans(),
    "name": st.sampled_from(["a", "b"]),
}


def joined(dialect: Dialect, given: dict[str, str]) -> dict[str, str]:
    """Arguments with one tuple for the elements of each."""
    found = dict(given)
    for fact in dialect.accepted:
        if len(fact.parts) > 1 and any(part.name in given for part in fact.parts):
            texts = [found.pop(part.name, repr(part.default)) for part in fact.parts]
            found[fact.name] = f"({', '.join(texts)})"
    return found


@st.composite
def calls(draw: st.DrawFn, name: str) -> str:
    """A call in one dialect: some parameters, the first few positional, aliases included."""
    dialect = MAPPING.dialects[name]
    chosen: dict[str, str] = {}
    for fact in dialect.facts:
        strategy = VALUES.get(fact.canonical)
        taken = any(fact.alias_of == other for other in chosen)
        if strategy is not None and not taken and draw(st.integers(0, 2)) == 0:
            chosen[fact.name] = repr(draw(strategy))
    chosen = joined(dialect, chosen)
    first = dialect.parameters[0]
    needed = "params" if first.name == "params" else chosen.pop(first.name, "0.0")
    parts = [needed] if first.required else []
    for parameter in dialect.parameters[len(parts) :]:
        aliased = any(fact.alias_of and fact.name in chosen for fact in dialect.facts)
        if parameter.name not in chosen or parameter.keyword_only or aliased or not draw(st.booleans()):
            break
        parts.append(chosen.pop(parameter.name))
    order = draw(st.permutations(sorted(chosen)))
    return f"{dialect.target}({', '.join([*parts, *(f'{key}={chosen[key]}' for key in order)])})"


def ignored(dialect: Dialect) -> set[str]:
    """What an original accepts and does nothing with."""
    return {fact.canonical for fact in dialect.facts if fact.name in dialect.ignored}


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_there_and_back_gives_the_same_hyperparameters(source: str, target: str, data: st.DataObject) -> None:
    call = data.draw(calls(source))
    there = translate(call, target, from_=source)
    before = hyperparameters(call, MAPPING.dialects[source])
    wanted = {n for n, v in before.items() if v != MAPPING.canonical[n].neutral}
    ignored_here, ignored_there = (wanted & ignored(MAPPING.dialects[name]) for name in (source, target))
    if ignored_here - ignored_there:
        # Done there, and no original here does it, so that there is no way back.
        assert there.call is None or "ignored-before" in codes(there, Severity.WARNING)
        return
    if there.call is None:
        # Refused, and rightly: something is set that the other side does not have, or does not take together.
        lacks = wanted - {fact.canonical for fact in MAPPING.dialects[target].facts}
        lacks |= ignored_there - ignored_here
        forms = {MAPPING.dialects[name].semantics.bias_correction for name in (source, target)}
        far = "other-epsilon" in codes(there, Severity.ERROR)
        assert lacks or "conflict" in codes(there) or len(forms) == 2 or far
        return
    back = translate(there.call, source, from_=target)
    assert back.call is not None, (there.call, back.messages)
    after = hyperparameters(back.call.replace("=learning_rate", "=0.1"), MAPPING.dialects[source])
    if "scaled-decay" in codes(there):
        # Divided by the learning rate, and multiplied by it.
        decays = {name: pytest.approx(value) for name, value in before.items() if name.endswith("weight_decay")}
        before |= decays
    if "other-meaning" in codes(there):
        # Carried over as it is written, which is the other kind of decay; one framework says both kinds with a flag.
        before, after = ({n: v for n, v in item.items() if n != "decouples_decay"} for item in (before, after))
    if "rate-at-each-step" in codes(there):
        # An argument of each step, which no call of the class holds.
        before, after = ({n: v for n, v in item.items() if n != "learning_rate"} for item in (before, after))
    assert after == before, there.call


def test_most_of_the_space_has_a_translation() -> None:
    """The test above would pass if everything were refused."""
    for source, target in PAIRS:
        dialect = MAPPING.dialects[source]
        plain = {"parameters": "params", "learning_rate": "0.1", "beta1": "0.5", "epsilon": "1e-6"}
        plain |= dict.fromkeys(("decoupled_weight_decay", "absolute_weight_decay"), "0.0")
        chosen = {
            fact.name: plain[fact.canonical]
            for fact in dialect.facts
            if fact.canonical in plain and fact.alias_of is None
        }
        given = [f"{name}={text}" for name, text in joined(dialect, chosen).items()]
        found = translate(f"{dialect.target}({', '.join(given)})", target)
        forms = {MAPPING.dialects[name].semantics.bias_correction for name in (source, target)}
        assert codes(found, Severity.ERROR) == (["bias-correction"] if len(forms) == 2 else [])


# The command.


def test_the_command_prints_code_and_remarks_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["translate", "tf.keras.optimizers.Adam(0.001, amsgrad=True)", "--to", "mindspore"]) == 0
    out, err = capsys.readouterr()
    assert out == ("import mindspore\nmindspore.nn.Adam(params, learning_rate=0.001, eps=1e-07, use_amsgrad=True)\n")
    assert err.startswith("INFO params-placeholder: ")


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["translate", "Adam(lr=1e-5, decay=0.1)", "--from", "tf26", "--to", "keras3", "--format", "json"]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["from"], found["to"]) == ("tf26", "keras3")
    assert found["imports"] == ["import keras"]
    assert found["messages"][0]["code"] == "schedule"
    assert found["call"].startswith(
        "keras.optimizers.Adam(learning_rate=keras.optimizers.schedules.InverseTimeDecay(1e-5"
    )


def test_the_command_fails_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["translate", "nn.Adam(p, use_nesterov=True)", "--to", "keras3"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "ERROR no-counterpart: use_nesterov=True: Keras 3 has no counterpart" in err
    assert cli.main(["translate", "torch.optim.NAdam(p)", "--to", "keras3"]) == 2
    assert "torch.optim.NAdam is not translated yet" in capsys.readouterr().err
    assert cli.main(["translate", "Adam(0.1)", "--to", "mindspore"]) == 2
    assert "say which with --from" in capsys.readouterr().err


def test_the_command_reads_standard_input() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", "translate", "-", "--to", "tf1", "--shim"],
        input="from keras.optimizers import Adam\nopt = Adam(0.1)\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == (
        "adamcompat.tensorflow.v1.AdamOptimizer(learning_rate=0.1, epsilon=1e-07)"
    )


def test_the_page_shows_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    # The page names a file beside it.
    monkeypatch.chdir(DOCS)
    result = doctest.testfile(str(DOCS / "translate.md"), module_relative=False)
    assert result.attempted >= 8
    assert result.failed == 0


def test_the_page_lists_every_code() -> None:
    page = dict(
        re.findall(r"^\| `([\w-]+)` \| ([A-Z, ]+) \|", (DOCS / "translate.md").read_text("utf-8"), re.MULTILINE)
    )
    used: dict[str, set[str]] = {}
    package = Path(adamcompat.__file__).parent / "translation"
    for path in package.glob("*.py"):
        for severity, code in re.findall(r"\b(info|warning|error)\(\s*\"([\w-]+)\"", path.read_text("utf-8")):
            used.setdefault(code, set()).add(severity.upper())
    assert {code: set(text.split(", ")) for code, text in page.items()} == used


def test_every_pair_of_signatures_converts_its_defaults() -> None:
    """No parameter of any dialect is without a rule."""
    from adamcompat.translation.arguments import arguments
    from adamcompat.translation.bindings import Bindings
    from adamcompat.translation.conversion import Context
    from adamcompat.translation.source import Source

    for source, target in PAIRS:
        dialect = MAPPING.dialects[source]
        text = ", ".join(fact.name if fact.required else f"{fact.name}={fact.default!r}" for fact in dialect.accepted)
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        code = Source(f"f({text})")
        context = Context(code, Bindings(), {})
        given = tuple(item for item in arguments(call, code) or () if item.keyword not in ("lr",))
        result = convert(given, original(dialect), original(MAPPING.dialects[target]), context)
        decays = [fact for fact in dialect.facts if fact.canonical.endswith("weight_decay")]
        works = any(fact.required or fact.default not in (None, 0.0) for fact in decays)
        allowed = {"no-counterpart", "other-meaning", "other-skips", "scaled-decay"} if works else set()
        if MAPPING.dialects[target].protocol == "node":
            allowed.add("operator")
        if dialect.protocol == "node":
            allowed.add("rate-at-each-step")
        if MAPPING.dialects[target].devices:
            allowed.add("other-device")
        here, there = dialect.semantics, MAPPING.dialects[target].semantics
        if here.bias_correction != there.bias_correction:
            allowed.add("bias-correction")
        elif here.epsilon != there.epsilon:
            allowed.add("other-epsilon")
        assert {message.code for message in result.messages if message.severity is not Severity.INFO} <= allowed


@pytest.mark.parametrize(
    ("source", "target", "rest"),
    [
        ("tf.keras.optimizers.Adam(0.1)(0.2)", "mindspore", "(0.2)"),
        ("step = tf.compat.v1.train.AdamOptimizer(0.1).minimize(loss)", "keras3", ".minimize"),
        ("nn.Adam(params)(gradients)", "keras3", "(gradients)"),
    ],
)
def test_what_follows_the_call_is_said_to_be_left_out(source: str, target: str, rest: str) -> None:
    found = [item.text for item in translate(source, target).warnings if item.code == "use-left-out"]
    assert found == [f"only the call of Adam is translated; {rest} after it is left out"]
    alone = translate(source.removeprefix("step = ").split(rest)[0], target)
    assert "use-left-out" not in [item.code for item in alone.messages]
