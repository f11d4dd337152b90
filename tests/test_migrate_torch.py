"""migrate on PyTorch's scripts: what is ported, and that each line that mentions an optimizer is named."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat.migrate import Finding, migrate_text

ADAM = """\
import torch
from torch import nn
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR

model = nn.Linear(3, 2)
optimizer = optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
scheduler = StepLR(optimizer, step_size=10)
scaler = torch.cuda.amp.GradScaler()
for x, y in data:
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    optimizer.param_groups[0]["lr"] = 1e-4
    scheduler.step()
torch.save(optimizer.state_dict(), "x")
optimizer.load_state_dict(torch.load("x"))
"""
ADAMW = """\
import torch
from torch.optim import AdamW

class Trainer:
    def __init__(self, net):
        self.net = net
        self.optimizer = AdamW(
            [{"params": net.body.parameters(), "lr": 1e-4}, {"params": net.bias, "weight_decay": 0.0}],
            lr=1e-3,  # peak
            weight_decay=0.05,
        )
        self.plan = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda t: 0.9**t)

    def fit(self, data, evaluate):
        def closure():
            self.optimizer.zero_grad()
            loss = evaluate(self.net, data)
            loss.backward()
            return loss
        self.optimizer.step(closure)
        self.plan.step()
        for group in self.optimizer.param_groups:
            group["lr"] *= 0.5
        self.optimizer.add_param_group({"params": self.net.late.parameters()})
        log(self.optimizer)
"""
GAN = """\
import torch
from torch import optim

def make(net):
    return optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999))

generator, critic = Generator(), Critic()
opt_g, opt_d = optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999)), optim.Adam(critic.parameters(), 2e-4, eps=1e-3)
opt_e = make(encoder)
opt_s = optim.SGD(style.parameters(), 0.1)

def train(opt_g, opt_d):
    for real in data:
        opt_d.zero_grad()
        loss_d = critic(real).mean()
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad(); critic(generator(noise())).mean().backward(); opt_g.step()
        opt_e.step()
        opt_s.step()

train(opt_g, opt_d)
"""
SCRIPTS = {"Adam": ADAM, "AdamW": ADAMW, "GAN": GAN}
MENTIONS = re.compile(r"\b(opt\w*|AdamW?|scheduler|scaler|plan|param_groups)\b|\.(step|backward)\(|clip_grad|LR\b")


def names(found: list[Finding]) -> set[tuple[int, str]]:
    return {(item.line, item.message.code) for item in found}


@pytest.mark.parametrize("to", ["mindspore", "tensorflow"])
@pytest.mark.parametrize("case", SCRIPTS)
def test_each_line_that_mentions_an_optimizer_is_ported_or_named(case: str, to: str) -> None:
    text = SCRIPTS[case]
    after, found = migrate_text(text, to)
    named = {item.line for item in found}
    kept = set(after.splitlines())
    mentioned = [n for n, line in enumerate(text.splitlines(), 1) if MENTIONS.search(line)]
    assert len(mentioned) > 9
    silent = [n for n in mentioned if n not in named and text.splitlines()[n - 1] in kept]
    assert not silent, [text.splitlines()[n - 1] for n in silent]
    assert migrate_text(after, to)[0] == after


@pytest.mark.parametrize(
    ("case", "to", "line"),
    [
        ("Adam", "mindspore",
         "optimizer = mindspore.nn.Adam(model.trainable_params(), learning_rate=1e-3, beta1=0.9, beta2=0.95)"),
        ("Adam", "tensorflow",
         "optimizer = keras.optimizers.Adam(learning_rate=1e-3, beta_1=0.9, beta_2=0.95, epsilon=1e-08)"),
        ("GAN", "mindspore",
         "    return mindspore.nn.Adam(net.trainable_params(), learning_rate=2e-4, beta1=0.5, beta2=0.999)"),
        ("GAN", "tensorflow",
         "    return keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5, beta_2=0.999, epsilon=1e-08)"),
    ],
)  # fmt: skip
def test_a_call_is_ported_where_it_is_right(case: str, to: str, line: str) -> None:
    assert line in migrate_text(SCRIPTS[case], to)[0].splitlines()


LOST = [
    ("Adam", 8, "schedule-not-ported", "learning_rate of the constructor"),
    ("Adam", 9, "loop-not-ported", "scale"),
    ("Adam", 11, "loop-not-ported", "nothing to forget"),
    ("Adam", 13, "loop-not-ported", "gradients|tape"),
    ("Adam", 14, "loop-not-ported", "scale"),
    ("Adam", 15, "loop-not-ported", "clip"),
    ("Adam", 16, "loop-not-ported", "scale"),
    ("Adam", 18, "loop-not-ported", "learning rate"),
    ("Adam", 19, "schedule-not-ported", "counts steps"),
    ("Adam", 20, "loop-not-ported", "the state has another form"),
    ("Adam", 21, "loop-not-ported", "the state has another form"),
    ("AdamW", 12, "schedule-not-ported", "counts steps"),
    ("AdamW", 20, "loop-not-ported", "forward"),
    ("AdamW", 22, "loop-not-ported", "learning rate"),
    ("AdamW", 24, "loop-not-ported", "learning rate"),
    ("AdamW", 25, "other-use", "not ported"),
    ("GAN", 10, "other-use", "torch.optim.SGD is no Adam"),
    ("GAN", 12, "other-use", "stays as it is"),
    ("GAN", 19, "loop-not-ported", "optimizer"),
    ("GAN", 20, "loop-not-ported", "optimizer"),
    ("GAN", 22, "other-use", "not ported"),
]


@pytest.mark.parametrize("to", ["mindspore", "tensorflow"])
@pytest.mark.parametrize(("case", "line", "code", "reason"), LOST)
def test_a_part_of_the_loop_is_named_with_what_stands_for_it(
    case: str, line: int, code: str, reason: str, to: str
) -> None:
    found = [item.message for item in migrate_text(SCRIPTS[case], to)[1] if item.line == line]
    assert any(message.code == code and re.search(reason, message.text) for message in found), found


@pytest.mark.parametrize("to", ["mindspore", "tensorflow"])
def test_a_call_that_would_train_otherwise_stays(to: str) -> None:
    text, found = migrate_text(ADAMW, to)
    assert "self.optimizer = AdamW(" in text
    assert (7, "parameter-groups" if to == "tensorflow" else "other-meaning") in names(found)
    kept, found = migrate_text(GAN, to)
    assert "optim.Adam(critic.parameters(), 2e-4, eps=1e-3)" in kept
    assert (8, "other-epsilon") in names(found)


@pytest.mark.parametrize("case", SCRIPTS)
def test_ours_take_the_place_of_its_classes_and_the_loop_stays(case: str) -> None:
    text, found = migrate_text(SCRIPTS[case], "shim")
    loop = [line for line in SCRIPTS[case].splitlines() if "Adam" not in line]
    assert [line for line in text.splitlines() if "Adam" not in line and line != "import adamcompat.torch"] == loop
    assert "adamcompat.torch" in text
    assert not [line for line in text.splitlines() if "optim.Adam" in line and "adamcompat" not in line]
    assert "loop-not-ported" not in {item.message.code for item in found}


def test_a_comment_asks_to_pass_a_line_over() -> None:
    marked = ADAM.replace("    optimizer.zero_grad()", "    optimizer.zero_grad()  # adamcompat: ignore")
    assert 11 not in {item.line for item in migrate_text(marked, "mindspore")[1]}


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import torch, itertools\nopt = torch.optim.Adam(itertools.chain(G.parameters(), E.parameters()), 1e-3)\n",
         "params=itertools.chain(G.parameters(), E.parameters())"),
        ("import torch\nopt = torch.optim.Adam(G.parameters(), 1e-3)\n", "params=G.parameters()"),
        ("import torch\nopt = torch.optim.Adam([G.a, G.b], 1e-3)\n", "params=[G.a, G.b]"),
        ("from mindspore import nn\nmake(nn.Adam(net.trainable_params()))\n", "params=net.trainable_params()"),
    ],
)  # fmt: skip
def test_what_an_optimizer_trains_is_named_where_no_step_can_name_it(code: str, what: str) -> None:
    text, found = migrate_text(code, "tensorflow")
    assert "keras.optimizers.Adam(" in text
    assert "parameters()" not in text
    assert any(f"at each step instead of {what}" in item.message.text for item in found)


# Work on gradients by hand, what stands for it, and the imports beside Adam's.
BY_HAND = [
    ("p.grad.data.clamp_(-1, 1)", "gradients are values"),
    ("p.grad /= 2", "gradients are values"),
    ("p.grad = q", "gradients are values"),
    ("p.grad = None", "nothing to forget"),
    ("G.weight.grad.zero_()", "gradients are values"),
    ("norm = sum(p.grad.norm() for p in G.parameters())", "gradients are values"),
    ("p.register_hook(lambda g: g.clamp(-1, 1))", "gradients are values"),
    ("g = torch.autograd.grad(loss, params)", "tape.gradient|mindspore.grad"),
    ("import torch; g = torch.autograd.grad(loss, params)", "tape.gradient|mindspore.grad"),
    ("from torch import autograd as a; g = a.grad(loss, params)[0]", "tape.gradient|mindspore.grad"),
    ("from torch.autograd import grad; g = grad(loss, params)", "tape.gradient|mindspore.grad"),
    ("from torch.func import grad_and_value as f; g = f(loss)(params)", "tape.gradient|mindspore.grad"),
    ("from torch import nn; nn.utils.clip_grad_norm(G.parameters(), 1)", "clip"),
    ("from torch.nn.utils import clip_grad_norm as c; c(G.parameters(), 1)", "clip"),
    ("nn.utils.clip_grad_norm_(G.parameters(), 1)", "clip"),
    ("self.clip_gradients(opt, 1)", "clip"),
    ("self.manual_backward(loss)", "tape|value_and_grad"),
]


@pytest.mark.parametrize("to", ["mindspore", "tensorflow"])
@pytest.mark.parametrize(("line", "reason"), BY_HAND)
def test_work_on_gradients_by_hand_is_named(line: str, reason: str, to: str) -> None:
    text = f"from torch.optim import Adam\nopt = Adam(G.parameters())\n{line}\n"
    found = [item.message for item in migrate_text(text, to)[1] if item.line == 3]
    texts = [message.text for message in found if message.code == "loop-not-ported"]
    assert any(re.search(reason, item.rpartition(f"in {'MindSpore' if to == 'mindspore' else 'Keras 3'}")[2])
               for item in texts), found  # fmt: skip


QUIET = [
    "import tensorflow as tf; opt = tf.keras.optimizers.Adam(); {}",
    "from mindspore import nn; opt = nn.Adam(net.trainable_params()); {}",
]


@pytest.mark.parametrize("to", ["mindspore", "tensorflow"])
@pytest.mark.parametrize("file", QUIET)
@pytest.mark.parametrize("line", ["p.grad /= 2", "g = tape.grad(x)", "clip_grad_norm(g)", "self.manual_backward(x)"])
def test_files_without_its_optimizers_have_no_such_findings(file: str, line: str, to: str) -> None:
    assert "loop-not-ported" not in {item.message.code for item in migrate_text(file.format(line), to)[1]}


@pytest.mark.parametrize(
    "line",
    [
        "import mindspore; g = mindspore.grad(f)(x)",
        "import jax; g = jax.grad(f)(x)",
        "self.grad = Layer()",
        "y = self.func.grad(x)",
        "p.requires_grad = False",
        "from torch import no_grad; no_grad()",
    ],
)
def test_what_is_no_work_on_gradients_is_not_named_so(line: str) -> None:
    text = f"from torch.optim import Adam\nopt = Adam(G.parameters())\n{line}\n"
    assert (3, "loop-not-ported") not in names(migrate_text(text, "tensorflow")[1])
