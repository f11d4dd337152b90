"""Optax, Paddle and ONNX are known by their facts: their tables, the calls that mean the same, and their formula."""

from __future__ import annotations

import math
from typing import Any

import pytest

from adamcompat import translate
from adamcompat.cli import main
from adamcompat.mapping.originals import originals
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation import Severity
from adamcompat.translation.effects import weight_after
from adamcompat.translation.names import original

ONLY_FACTS = ("optax", "optax_adamw", "paddle", "paddle_adamw", "onnx")
MODEL = "m.parameters()"
CALLS = [
    ("keras.optimizers.AdamW(1e-3, beta_2=b)", "optax_adamw",
     "optax.adamw(learning_rate=1e-3, b2=b, eps=1e-07, weight_decay=0.004)"),
    (f"torch.optim.AdamW({MODEL})", "optax_adamw", "optax.adamw(learning_rate=0.001, weight_decay=0.01)"),
    ("optax.adamw(1e-3, b2=0.95)", "torch_adamw",
     "torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.0001)"),
    ("optax.adam(1e-3, 0.9, 0.99, 1e-6, 0.0)", "torch",
     "torch.optim.Adam(params, lr=1e-3, betas=(0.9, 0.99), eps=1e-6)"),
    ("optax.adam(1e-3, nesterov=False)", "mindspore", "mindspore.nn.Adam(params, learning_rate=1e-3)"),
    (f"torch.optim.AdamW({MODEL}, lr=1e-3, betas=(0.9, b))", "paddle_adamw",
     f"paddle.optimizer.AdamW(learning_rate=1e-3, beta1=0.9, beta2=b, parameters={MODEL})"),
    ("keras.optimizers.Adam(0.1)", "paddle",
     "paddle.optimizer.Adam(learning_rate=0.1, epsilon=1e-07, parameters=parameters)"),
    (f"paddle.optimizer.Adam(1e-3, parameters={MODEL}, amsgrad=True, use_multi_tensor=True)", "torch",
     f"torch.optim.Adam({MODEL}, lr=1e-3, amsgrad=True, foreach=True)"),
    (f"torch.optim.Adam({MODEL}, 1e-3, (0.9, 0.99))", "onnx",
     "ai.onnx.preview.training.Adam(alpha=0.9, beta=0.99, epsilon=1e-08)"),
]  # fmt: skip
REFUSED = [
    ("optax.adam(1e-3, eps_root=1e-8)", "torch", "no-counterpart", "within its square root"),
    ("optax.adamw(1e-3, mask=m)", "torch_adamw", "no-counterpart", "mask=m"),
    ("optax.adamw(1e-3, mu_dtype=d)", "torch_adamw", "no-counterpart", "mu_dtype=d"),
    ("optax.adam(1e-3, nesterov=True)", "mindspore", "no-counterpart", "Nadam"),
    ("optax.adam(lambda step: 0.1)", "torch", "learning-rate-form", "is a callable"),
    (f"torch.optim.Adam({MODEL}, weight_decay=0.1)", "optax", "no-counterpart", "passes through the moments"),
    (f"torch.optim.Adam({MODEL}, weight_decay=0.1)", "optax_adamw", "other-meaning", "passes through the moments"),
    (f"torch.optim.Adam([{{'params': {MODEL}}}])", "optax", "parameter-groups", "which Optax does not have"),
    ("paddle.optimizer.AdamW(parameters=p, grad_clip=c)", "torch_adamw", "no-counterpart", "grad_clip=c"),
    ("paddle.optimizer.AdamW(parameters=p, apply_decay_param_fun=f)", "torch_adamw", "no-counterpart", "decay"),
    ("paddle.optimizer.Adam(parameters=[{'params': p, 'learning_rate': 0.1}])", "torch", "parameter-groups",
     "learning_rate=0.1 of group 0"),
    ("torch.optim.Adam([{'params': p, 'lr': 0.1}])", "paddle", "parameter-groups", "lr=0.1 of group 0"),
    ("keras.optimizers.Adam(weight_decay=0.1)", "onnx", "no-counterpart", "ONNX has no counterpart"),
    ("mindspore.nn.AdamWeightDecay(p)", "optax_adamw", "bias-correction", "3.16, 6.53 and 1.26"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "call"), CALLS)
def test_the_call_is_written_with_the_other_names(source: str, to: str, call: str) -> None:
    written = str(translate(source, to))
    assert written == call
    compile(written, "a call", "eval")


@pytest.mark.parametrize(("source", "to", "code", "reason"), REFUSED)
def test_what_has_no_counterpart_is_an_error(source: str, to: str, code: str, reason: str) -> None:
    errors = [message for message in translate(source, to).messages if message.severity is Severity.ERROR]
    assert [message.code for message in errors if reason in message.text] == [code]


def test_the_inputs_of_a_step_are_named() -> None:
    said = {message.code: message.text for message in translate(f"torch.optim.Adam({MODEL})", "onnx").messages}
    assert "at each step, as R" in said["rate-at-each-step"]
    assert "Adam(R, T, X, G, V, H)" in said["params-at-each-step"]
    assert "no call" in said["operator"]
    said = {message.code: message.text for message in translate(f"torch.optim.Adam({MODEL})", "optax").messages}
    assert "update(updates, state, params)" in said["params-at-each-step"]


@pytest.mark.parametrize("name", ONLY_FACTS)
def test_they_have_a_table_and_nothing_that_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "--from", name, "--to", "torch", "--format", "markdown"]) == 0
    shown = capsys.readouterr().out
    assert all(f"`{fact.name}`" in shown for fact in MAPPING.dialects[name].parameters)
    assert name not in originals()
    assert name not in {adapter.dialect for adapter in MAPPING.adapters}


def test_migrate_names_the_loop_of_paddle(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.py"
    file.write_text(
        "import paddle\n"
        "opt = paddle.optimizer.AdamW(1e-3, parameters=model.parameters(), weight_decay=0.1)\n"
        "for x in data:\n    loss(x).backward()\n    opt.step()\n    opt.clear_grad()\n"
    )
    main(["migrate", "--to", "tensorflow", str(file)])
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "+opt = keras.optimizers.AdamW(learning_rate=1e-3, weight_decay=0.1, epsilon=1e-08)" in text
    for line in ("loss(x).backward()", "opt.step()", "opt.clear_grad()"):
        assert f"{line} is Paddle's and not ported" in text


def reference(*, hat: bool, l2: float = 0.0, decoupled: float = 0.0) -> float:
    """A weight of 1 after 100 steps under a gradient of 0.1, by the formula as its authors write it."""
    rate, beta1, beta2, epsilon = 0.05, 0.9, 0.99, 1e-2
    p, m, v = 1.0, 0.0, 0.0
    for step in range(1, 101):
        g = 0.1 + l2 * p
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        first, second = 1 - beta1**step, 1 - beta2**step
        if hat:
            change = rate * math.sqrt(second) / first * m / (math.sqrt(v) + epsilon)
        else:
            change = rate * (m / first) / (math.sqrt(v / second) + epsilon)
        p = p - rate * decoupled * p - change
    return p


@pytest.mark.parametrize(
    ("name", "given", "form"),
    [
        ("optax", {}, {"hat": False}),
        ("optax_adamw", {"decoupled_weight_decay": 0.1}, {"hat": False, "decoupled": 0.1}),
        ("paddle", {"l2_weight_decay": 0.1}, {"hat": False, "l2": 0.1}),
        ("paddle_adamw", {"decoupled_weight_decay": 0.1}, {"hat": False, "decoupled": 0.1}),
    ],
)
def test_the_facts_make_the_formula(name: str, given: dict[str, float], form: dict[str, Any]) -> None:
    values = {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-2, **given}
    found = weight_after(original(MAPPING.dialects[name]), values)
    assert found == pytest.approx(reference(**form), rel=1e-12)
    assert found != pytest.approx(reference(**{**form, "hat": not form["hat"]}), rel=1e-6)


def test_onnx_adds_epsilon_where_keras_does() -> None:
    assert MAPPING.dialects["onnx"].semantics.epsilon == MAPPING.dialects["keras3"].semantics.epsilon != "paper"
