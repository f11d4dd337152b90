"""translate between PyTorch's dialects and the others: betas, groups, flags, and where epsilon is added."""

from __future__ import annotations

import math

import pytest

from adamcompat import Translation, translate
from adamcompat.translation import Severity


def codes(result: Translation, severity: Severity) -> list[str]:
    return [message.code for message in result.messages if message.severity is severity]


OURS = "torch.optim.Adam"
GROUPS = "torch.optim.Adam([{{'params': a.parameters(), {}}}, {{'params': b}}], lr=1e-3)"
CALLS = [
    (f"{OURS}(p, lr=1e-3)", "keras3", "keras.optimizers.Adam(learning_rate=1e-3, epsilon=1e-08)"),
    (f"{OURS}(p, 1e-3, (0.9, 0.95), 1e-6, 0, True)", "tf26",
     "tf.keras.optimizers.legacy.Adam(learning_rate=1e-3, beta_1=0.9, beta_2=0.95, epsilon=1e-6, amsgrad=True)"),
    (f"{OURS}(p, betas=(b1, 0.95))", "tf1", "tf.compat.v1.train.AdamOptimizer(beta1=b1, beta2=0.95)"),
    (f"{OURS}(p, betas=b)", "keras3", "keras.optimizers.Adam(beta_1=b[0], beta_2=b[1], epsilon=1e-08)"),
    (f"{OURS}(p, weight_decay=0.1, decoupled_weight_decay=True)", "keras3_adamw",
     "keras.optimizers.AdamW(weight_decay=0.1, epsilon=1e-08)"),
    (f"{OURS}(p, weight_decay=0.1, decoupled_weight_decay=True)", "torch_adamw",
     "torch.optim.AdamW(p, weight_decay=0.1)"),
    (f"{OURS}(p, weight_decay=0.1, decoupled_weight_decay=False)", "mindspore",
     "mindspore.nn.Adam(p, weight_decay=0.1)"),
    ("torch.optim.AdamW(p, 1e-3)", "torch",
     "torch.optim.Adam(p, lr=1e-3, weight_decay=0.01, decoupled_weight_decay=True)"),
    ("torch.optim.AdamW(p)", "keras3", "keras.optimizers.Adam(epsilon=1e-08, weight_decay=0.01)"),
    ("keras.optimizers.Adam(1e-3, beta_1=b1, weight_decay=w)", "torch",
     "torch.optim.Adam(params, lr=1e-3, betas=(b1, 0.999), eps=1e-07, weight_decay=w, decoupled_weight_decay=True)"),
    ("keras.optimizers.Adam(1e-3)", "torch_adamw",
     "torch.optim.AdamW(params, lr=1e-3, eps=1e-07, weight_decay=0.0)"),
    ("nn.Adam(net.trainable_params(), use_amsgrad=True)", "torch", "torch.optim.Adam(net.parameters(), amsgrad=True)"),
    (f"{OURS}(list(a.parameters()) + list(b.parameters()))", "mindspore",
     "mindspore.nn.Adam(list(a.trainable_params()) + list(b.trainable_params()))"),
    (GROUPS.format("'lr': 1e-4, 'weight_decay': 0"), "mindspore",
     "mindspore.nn.Adam([{'params': a.trainable_params(), 'lr': 1e-4, 'weight_decay': 0}, {'params': b}], "
     "learning_rate=1e-3)"),
    (GROUPS.format("'betas': (0.9, 0.999), 'foreach': True, 'amsgrad': False, 'name': 'x'"), "mindspore",
     "mindspore.nn.Adam([{'params': a.trainable_params()}, {'params': b}], learning_rate=1e-3)"),
    (f"{OURS}([dict(params=a, lr=0.1, maximize=False)])", "mindspore",
     "mindspore.nn.Adam([{'params': a, 'lr': 0.1}])"),
    ("nn.Adam([{'params': a, 'grad_centralization': False}, {'order_params': c}])", "torch",
     "torch.optim.Adam([{'params': a}])"),
    ("optim.AdamW(p)", "torch_adamw", "torch.optim.AdamW(p)"),
    (f"{OURS}((a or b).parameters())", "mindspore", "mindspore.nn.Adam((a or b).trainable_params())"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "call"), CALLS)
def test_the_call_is_written_with_the_other_names(source: str, to: str, call: str) -> None:
    assert str(translate(source, to)) == call


REFUSED = [
    (f"{OURS}(p, betas=get())", "keras3", "tuple-expression", "betas=get(): Keras 3 takes its elements one by one"),
    (f"{OURS}(p, 1e-3, (0.9, 0.9), 1e-8, 0, False, True)", "keras3", "invalid-call", "takes 6 positional arguments"),
    (f"{OURS}(p, decoupled_weight_decay=flag)", "keras3", "no-counterpart", "decoupled_weight_decay=flag"),
    (f"{OURS}(p, maximize=True)", "keras3", "no-counterpart", "tensorflow.TorchStyleAdam(p, maximize=True) computes"),
    (f"{OURS}(p, capturable=True)", "mindspore", "no-counterpart", "CUDA graph"),
    (f"{OURS}(p, differentiable=True)", "mindspore", "no-counterpart", "differentiable=True"),
    (f"{OURS}(p, weight_decay=0.1)", "torch_adamw", "other-meaning", "passes through the moments"),
    ("torch.optim.AdamW(p)", "mindspore", "other-meaning", "adamcompat.mindspore.TorchStyleAdamW(p) computes the same"),
    (GROUPS.format("'betas': (0.9, 0.95)"), "mindspore", "parameter-groups", "betas=(0.9, 0.95) of group 0"),
    (GROUPS.format("'eps': e, 'amsgrad': True"), "mindspore", "parameter-groups", "eps=e of group 0; amsgrad=True of"),
    (f"{OURS}([*groups, {{'params': a}}])", "mindspore", "parameter-groups", "cannot be read here"),
    ("g = [{'params': m.parameters()}]\ntorch.optim.Adam(g)", "mindspore", "parameter-groups", "it is to be [{"),
    (GROUPS.format("'lr': 0.1"), "keras3", "parameter-groups", "keys of a group: lr, betas, eps,"),
    ("nn.Adam([{'params': a, 'grad_centralization': True}])", "torch", "parameter-groups", "grad_centralization=True"),
    ("keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1, 2, 3))", "torch", "learning-rate-form",
     "PyTorch takes a number"),
    ("keras.optimizers.Adam(clipnorm=1.0)", "torch", "no-counterpart", "clipnorm=1.0: PyTorch has no counterpart"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "code", "reason"), REFUSED)
def test_what_is_lost_is_an_error_that_names_it(source: str, to: str, code: str, reason: str) -> None:
    result = translate(source, to)
    assert result.call is None
    assert code in codes(result, Severity.ERROR)
    assert any(reason in message.text for message in result.errors)


@pytest.mark.parametrize("to", ["torch_adamw", "mindspore_experimental", "mint"])
def test_a_key_of_a_group_that_is_no_setting_stays_where_groups_hold_any(to: str) -> None:
    source = f"{OURS}([{{'params': p, 'name': 'first', 'lr': 0.1}}])"
    result = translate(source, to)
    assert result.call is not None
    assert "{'params': p, 'name': 'first', 'lr': 0.1}" in result.call
    assert "left-out" not in codes(result, Severity.WARNING)
    assert "left-out" in codes(translate(source, "mindspore"), Severity.WARNING)


@pytest.mark.parametrize("hint", ["foreach=True", "fused=True", "foreach=False"])
def test_a_hint_of_speed_is_left_out_with_a_remark(hint: str) -> None:
    result = translate(f"{OURS}(p, {hint})", "keras3")
    assert result.call is not None
    assert any(hint in message.text for message in result.messages if message.code == "left-out")


@pytest.mark.parametrize("form", ["{}(p, eps={}, betas=(0.9, {}))", "keras.optimizers.Adam(epsilon={1}, beta_2={2})"])
@pytest.mark.parametrize("beta2", [0.999, 0.95])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 9e-6, 1e-8])
def test_epsilon_is_an_error_where_it_matters_and_its_numbers_are_computed(
    form: str, beta2: float, epsilon: float
) -> None:
    to = "torch" if form.startswith("keras") else "keras3"
    result = translate(form.format(OURS, epsilon, beta2), to)
    severity = Severity.ERROR if epsilon >= 1e-5 else Severity.WARNING
    (message,) = [item for item in result.messages if item.code == "other-epsilon"]
    assert message.severity is severity
    for step in (1, 1000):
        assert f"{epsilon * math.sqrt(1 - beta2**step):.3g} at t = {step:,}" in message.text


def test_an_epsilon_that_only_running_tells_is_a_warning_with_its_share() -> None:
    result = translate(f"{OURS}(p, eps=e)", "keras3")
    assert "of that of torch.optim.Adam there count 0.0316 at t = 1" in result.warnings[0].text


def test_parameters_that_are_no_parameters_end_no_translation() -> None:
    assert "other-epsilon" in codes(translate(f"{OURS}(1e-3)", "mindspore"), Severity.WARNING)


@pytest.mark.parametrize(("call", "offered"), [("p, lr=0.1", True), ("p, capturable=True", False)])
def test_the_class_that_is_right_is_offered_where_it_takes_the_call(call: str, offered: bool) -> None:
    for to, module in (("keras3", "adamcompat.tensorflow"), ("mindspore", "adamcompat.mindspore")):
        texts = " ".join(message.text for message in translate(f"{OURS}({call})", to).messages)
        assert (f"{module}.TorchStyleAdam({call}) computes the same" in texts) is offered
        assert ("TorchStyleAdam(" in texts) is offered


@pytest.mark.parametrize(
    ("call", "written"),
    [
        ("keras.optimizers.Adam(1e-2)", "adamcompat.torch.TFStyleAdam(params, learning_rate=1e-2)"),
        ("keras.optimizers.AdamW()", "adamcompat.torch.TFStyleAdamW(params)"),
        ("mindspore.nn.Adam(net.trainable_params())", "adamcompat.torch.MindSporeStyleAdam(net.parameters())"),
        ("torch.optim.AdamW(net.parameters(), lr=0.1)", "adamcompat.torch.AdamW(net.parameters(), lr=0.1)"),
    ],
)
def test_ours_on_its_tensors(call: str, written: str) -> None:
    found = translate(call, "torch", shim=True)
    assert str(found) == written
    assert not found.errors
    placeholder = "params-placeholder" in codes(found, Severity.INFO)
    assert placeholder is written.split("(")[1].startswith("params")


def test_groups_are_not_skipped_by_name() -> None:
    grouped, plain = (translate(f"{OURS}({p}, weight_decay=0.1)", "mindspore") for p in ("[{'params': a}]", "p"))
    assert [("other-skips" in codes(found, Severity.WARNING)) for found in (grouped, plain)] == [False, True]


@pytest.mark.parametrize(("params", "severity"), [("p", "INFO"), ("get(p)", "WARNING"), ("m.parameters()", None)])
def test_parameters_that_stay_as_they_are_written_are_named(params: str, severity: str | None) -> None:
    found = [
        item for item in translate(f"{OURS}({params})", "mindspore").messages if item.code == "parameters-not-read"
    ]
    assert [item.severity.value for item in found] == ([severity] if severity else [])


SHIMS = [
    (f"{OURS}(m.parameters(), eps=1e-3)", "keras3",
     "adamcompat.tensorflow.TorchStyleAdam(m.trainable_variables, eps=1e-3)"),
    (f"{OURS}(m.parameters(), eps=1e-3)", "mindspore",
     "adamcompat.mindspore.TorchStyleAdam(m.trainable_params(), eps=1e-3)"),
    (f"{OURS}([{{'params': m.parameters(), 'lr': 0.1}}], eps=1e-3)", "keras3",
     "adamcompat.tensorflow.TorchStyleAdam([{'params': m.trainable_variables, 'lr': 0.1}], eps=1e-3)"),
    (f"{OURS}(m.parameters())", "mint", "adamcompat.mindspore.mint.Adam(m.trainable_params())"),
    ("nn.Adam(m.trainable_params(), use_nesterov=True)", "keras3",
     "adamcompat.tensorflow.MindSporeStyleAdam(m.trainable_variables, use_nesterov=True)"),
    ("adamcompat.tensorflow.TorchStyleAdam(m.trainable_weights)", "mint",
     "adamcompat.mindspore.mint.Adam(m.trainable_params())"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "to", "call"), SHIMS)
def test_our_class_is_given_what_models_of_its_framework_train(source: str, to: str, call: str) -> None:
    result = translate(source, to, shim=True)
    assert str(result) == call
    assert not [item for item in result.messages if item.code == "parameters-not-read"]


@pytest.mark.parametrize(
    ("to", "own"), [("keras3", "Keras 3's own parameters, as model.trainable_variables"), ("mindspore", "MindSpore's")]
)
@pytest.mark.parametrize(("params", "severity"), [("p", "INFO"), ("get(p)", "WARNING"), ("[a,b]", "WARNING")])
def test_our_class_is_given_other_parameters_with_a_remark(params: str, severity: str, to: str, own: str) -> None:
    found = [
        item
        for item in translate(f"{OURS}({params}, eps=1e-3)", to, shim=True).messages
        if item.code == "parameters-not-read"
    ]
    assert [item.severity.value for item in found] == [severity]
    assert own in found[0].text


@pytest.mark.parametrize(
    ("params", "offered"),
    [
        ("m.parameters()", "TorchStyleAdam(m.trainable_variables, maximize=True) computes the same"),
        ("get(p)", "TorchStyleAdam(get(p), maximize=True) computes the same, where it is given Keras 3's own"),
    ],
)
def test_the_class_that_is_offered_is_given_its_own_parameters(params: str, offered: str) -> None:
    result = translate(f"{OURS}({params}, maximize=True)", "keras3")
    assert any(offered in message.text for message in result.errors)


# What a group holds, what it becomes in nn.Adam, and whether that is certain to be right there.
HELD = [
    ("m.parameters()", "m.trainable_params()", True),
    ("list(m.parameters()) + [*n.parameters()]", "list(m.trainable_params()) + [*n.trainable_params()]", True),
    ("filter(lambda p: p.requires_grad, m.parameters())",
     "list(filter(lambda p: p.requires_grad, m.trainable_params()))", True),
    ("filter(lambda p: p.is_cuda, m.parameters())", "list(filter(lambda p: p.is_cuda, m.trainable_params()))", False),
    ("(p for p in m.parameters())", "list((p for p in m.trainable_params()))", True),
    ("[p for p in m.parameters() if p.requires_grad]", "[p for p in m.trainable_params() if p.requires_grad]", True),
    ("itertools.chain(a.parameters(), b.parameters())",
     "list(itertools.chain(a.trainable_params(), b.trainable_params()))", True),
    ("chain(a.parameters(), get(b))", "list(chain(a.trainable_params(), get(b)))", False),
    ("chain(*[i.parameters() for i in (a, b)])", "list(chain(*[i.trainable_params() for i in (a, b)]))", True),
    ("map(f, m.parameters())", "list(map(f, m.trainable_params()))", False),
    ("[p for n,p in m.named_parameters() if 'x' in n]", "[p for n,p in m.named_parameters() if 'x' in n]", False),
    ("m.parameters(recurse=False)", "m.parameters(recurse=False)", False),
    ("m.bias", "m.bias", False),
    ("get(m.parameters())", "get(m.trainable_params())", False),
]  # fmt: skip


@pytest.mark.parametrize(("held", "written", "certain"), HELD)
def test_a_group_holds_a_list_and_what_is_uncertain_has_a_remark(held: str, written: str, certain: bool) -> None:
    result = translate(f"{OURS}([{{'params': {held}, 'lr': .1}}])", "mindspore")
    assert str(result) == f"mindspore.nn.Adam([{{'params': {written}, 'lr': .1}}])"
    assert ("parameters-not-read" in codes(result, Severity.WARNING)) is not certain


@pytest.mark.parametrize(
    "before", ["q = filter(None, m.trainable_params())\n", "def q():\n    yield from m.trainable_params()\n"]
)
def test_an_iterator_is_known_by_its_name(before: str) -> None:
    held = "q()" if before.startswith("def") else "q"
    text = f"{before}mindspore.mint.optim.Adam([{{'params': {held}}}])"
    assert str(translate(text, "mindspore")) == f"mindspore.nn.Adam([{{'params': list({held})}}])"


@pytest.mark.parametrize("params", ["[p for n,p in m.named_parameters()]", "list(m.parameters()) + get(x)"])
@pytest.mark.parametrize("shim", [False, True])
def test_a_part_of_the_parameters_that_is_not_read_has_a_remark(params: str, shim: bool) -> None:
    assert "parameters-not-read" in codes(translate(f"{OURS}({params})", "mindspore", shim=shim), Severity.WARNING)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "held", ["filter(lambda p: p.requires_grad, net.parameters())", "(p for p in net.parameters())"]
)
def test_mindspores_class_steps_with_what_a_group_becomes(held: str) -> None:
    mindspore = pytest.importorskip("mindspore", reason="needs MindSpore")
    net = mindspore.nn.Dense(2, 3)
    before = [parameter.asnumpy().copy() for parameter in net.trainable_params()]
    call = str(translate(f"{OURS}([{{'params': {held}, 'lr': .1}}])", "mindspore"))
    optimizer = eval(call, {"mindspore": mindspore, "net": net})
    optimizer(tuple(mindspore.ops.ones_like(parameter) for parameter in net.trainable_params()))
    after = [parameter.asnumpy() for parameter in net.trainable_params()]
    assert all((old != new).all() for old, new in zip(before, after, strict=True))
