"""Whatever stands in a file: migrating it fails on nothing, gives Python, and a second run changes nothing."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from hypothesis import given, settings
from hypothesis import strategies as st

from adamcompat import TranslationError, translate
from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate import migrate_text
from adamcompat.migrate.magics import problem, read, show
from adamcompat.migrate.notebook import migrate_notebook
from adamcompat.migrate.text import TARGETS

IMPORTS = [
    "import tensorflow as tf", "import keras", "from keras.optimizers import Adam", "from tensorflow import keras",
    "import mindspore.nn as nn", "from keras.optimizers import Adam, SGD", "from keras.optimizers import *",
    "import tensorflow.compat.v1 as tf", "from mindspore.nn import Adam as A", "import keras; import os",
    "try:\n    import keras\nexcept ImportError:\n    keras = None", "keras = tf.keras", "A = keras.optimizers.Adam",
    "A = Adam", "o = keras.optimizers", "def f(Adam): pass", "if x: import keras", "with x as keras: pass",
    "from keras.optimizers import (\n    Adam,  # a\n    SGD,\n)", "import os; from keras.optimizers import Adam; 1",
    "sched = keras.optimizers.schedules.ExponentialDecay(0.1, n, 0.9)", "sched = nn.PolynomialDecayLR(0.1, 0, 9, 1.0)",
    "n = 3", "n += 1", "model = make()", "net = Net()", "groups = [{'params': a}]", "groups.append(b)",
]  # fmt: skip
CALLEES = [
    "tf.keras.optimizers.Adam", "keras.optimizers.Adam", "Adam", "A", "nn.Adam", "tf.train.AdamOptimizer",
    "tf.compat.v1.train.AdamOptimizer", "keras.optimizers.legacy.Adam", "o.Adam", "x.Adam", "torch.optim.Adam",
    "keras.optimizers.AdamW", "getattr(keras.optimizers, 'Adam')",
]  # fmt: skip
ARGUMENTS = [
    "1e-3", "lr=1e-3", "learning_rate=sched", "sched", "beta_1=0.9", "beta1=0.9", "epsilon=1e-8", "eps=1e-8",
    "decay=0.1", "*a", "**k", "params", "net.trainable_params()", "groups", "weight_decay=1e-4", "clipnorm=1.0",
    "nonsense=1", "amsgrad=True", "use_nesterov=True", "learning_rate=nn.Adam(p)", "keras.optimizers.Adam()",
    "lambda: 1", "[0.1, 0.2]", "epsilon=None", "'x'", "# c\n    1e-3", "learning_rate=(y := 1)", "name=f'{1}'",
    "-f(x)", "1" + "0" * 400, "é", "(",
]  # fmt: skip
PLACES = [
    "opt = {}", "opt: object = {}", "self.opt = {}", "model.compile(optimizer={}, loss='mse')", "f({})",
    "model.compile({}, 'mse')", "print(f'{{{}}}')", "x = ({},)", "opt, b = {}, 1", "(opt := {})", "d = {{'adam': {}}}",
    "if a: opt = {}", "class C:\n    o = {}", "def g(o={}):\n    return o", "async def h():\n    await {}",
    "lambda: {}", "{}.minimize(l)",
    "opt = {}; opt.apply_gradients(zip(g, v))", "%time opt = {}", "%%time\nopt = {}", "!python -c '{}'", "  x = {}",
    "%%timeit -n 1 opt = {}\nopt", "%%writefile a.py\nimport keras\nopt = {}",
]  # fmt: skip
STEPS = [
    "opt.apply_gradients(zip(g, model.trainable_variables))", "opt(g)", "opt.minimize(loss, v)", "x = opt(g)",
    "del opt", "opt.lr = 1", "model.compile('adam', 'mse')", "model.compile(optimizer='adam' if x else 'sgd')", "ls -l",
    "keras.optimizers.get('adam')", "keras.optimizers.get(name)", "name = 'adam'", "m = {'optimizer': 'adam'}",
    "eval('keras.optimizers.Adam()')", "pip install keras", "%matplotlib inline", "%%bash\nadam", "x = '''\n%time\n'''",
    "# adamcompat: ignore", "", "    ",
]  # fmt: skip


@st.composite
def parts(draw: st.DrawFn) -> list[str]:
    """Pieces of a file, or the cells of a notebook."""
    found = draw(st.lists(st.sampled_from(IMPORTS), max_size=4))
    for _ in range(draw(st.integers(1, 3))):
        arguments = draw(st.lists(st.sampled_from(ARGUMENTS), max_size=3, unique=True))
        call = f"{draw(st.sampled_from(CALLEES))}({', '.join(arguments)})"
        found += [draw(st.sampled_from(PLACES)).format(call), *draw(st.lists(st.sampled_from(STEPS), max_size=2))]
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return [part.replace("\n", end) for part in draw(st.permutations(found) | st.just(found))]


@pytest.mark.parametrize("to", TARGETS)
@settings(max_examples=150, deadline=None)
@given(parts=parts())
def test_a_file(to: str, parts: list[str]) -> None:
    text = "\n".join(part for part in parts if problem(part) is None)
    after, _ = migrate_text(text, to)
    ast.parse(after)
    assert migrate_text(after, to)[0] == after


@pytest.mark.parametrize("to", TARGETS)
@settings(max_examples=150, deadline=None)
@given(parts=parts(), lines=st.booleans())
def test_a_notebook(to: str, parts: list[str], lines: bool) -> None:
    sources: list[Any] = [part.splitlines(keepends=True) if lines else part for part in parts]
    cells = [{"cell_type": "code", "source": source, "outputs": [{"text": ["Adam"]}]} for source in sources]
    raw = json.dumps({"cells": cells, "metadata": {"Adam": 1.50}})
    after, _ = migrate_notebook(raw, to)
    assert migrate_notebook(after, to)[0] == after
    assert "adamcompat:cell" not in after
    old, new = json.loads(raw), json.loads(after)
    for cell in old["cells"] + new["cells"]:
        del cell["source"]
    assert new == old


@settings(max_examples=150, deadline=None)
@given(parts=parts())
def test_what_is_hidden_of_a_cell_is_shown_again(parts: list[str]) -> None:
    for source in (*parts, "\n".join(parts)):
        cell = read(source, "mark", "cell")
        if cell.program is not None and cell.problem is None:
            assert show(cell, cell.text, "mark") == source


@settings(max_examples=150, deadline=None)
@given(parts=parts(), to=st.sampled_from(sorted(MAPPING.dialects)), shim=st.booleans())
def test_a_call(parts: list[str], to: str, shim: bool) -> None:
    for code in (*parts, "\n".join(parts)):
        try:
            found = translate(code, to, shim=shim)
        except TranslationError:
            continue
        assert found.errors if found.call is None else ast.parse(found.call)
