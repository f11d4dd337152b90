"""migrate: what changes, what is left alone, and that nothing else happens to a file."""

from __future__ import annotations

import ast
import difflib
import doctest
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install 'adamcompat[migrate]'")

import adamcompat.commands.migrate as command
from adamcompat import cli
from adamcompat.migrate import Finding, find, migrate_file, migrate_files, migrate_text, write
from adamcompat.migrate.notebook import migrate_notebook

ROOT = Path(__file__).parent.parent


def errors(findings: list[Finding]) -> list[str]:
    return [finding.message.code for finding in findings if finding.message.severity.value == "ERROR"]


SHIM = {
    "attribute": (
        """
        import tensorflow as tf  # the framework
        opt = tf.keras.optimizers.Adam(1e-3)  # fast
        """,
        """
        import tensorflow as tf  # the framework
        import adamcompat.tensorflow
        opt = adamcompat.tensorflow.Adam(1e-3)  # fast
        """,
    ),
    "from, alone": (
        "from tensorflow.keras.optimizers import Adam as A  # noqa\nopt = A(1e-3)\n",
        "from adamcompat.tensorflow import Adam as A  # noqa\nopt = A(1e-3)\n",
    ),
    "from, with others": (
        "from keras.optimizers import SGD, Adam, schedules  # noqa\nopt = Adam()\n",
        "from adamcompat.tensorflow import Adam\nfrom keras.optimizers import SGD, schedules  # noqa\nopt = Adam()\n",
    ),
    "from, with others in parentheses": (
        """
        from mindspore.nn import (
            Adam,  # ours
            Dense,  # a layer
        )
        opt = Adam(net.trainable_params())
        """,
        """
        from adamcompat.mindspore import Adam
        from mindspore.nn import (
            Dense,  # a layer
        )
        opt = Adam(net.trainable_params())
        """,
    ),
    "one line, several statements": (
        "import os; from keras.optimizers import Adam; opt = Adam()\n",
        "import os; from adamcompat.tensorflow import Adam; opt = Adam()\n",
    ),
    "inside a function": (
        """
        def train():
            from mindspore import nn
            return nn.Adam(params)
        """,
        """
        def train():
            from mindspore import nn
            import adamcompat.mindspore
            return adamcompat.mindspore.Adam(params)
        """,
    ),
    "either import": (
        """
        try:
            from tensorflow.keras.optimizers import Adam
        except ImportError:
            from keras.optimizers import Adam
        """,
        """
        try:
            from adamcompat.tensorflow import Adam
        except ImportError:
            from adamcompat.tensorflow import Adam
        """,
    ),
    "star": (
        "from keras.optimizers import *\nopt = Adam()\n",
        "from keras.optimizers import *\nfrom adamcompat.tensorflow import Adam\nopt = Adam()\n",
    ),
    "TensorFlow 1": (
        "import tensorflow.compat.v1 as tf\ntrain = tf.train.AdamOptimizer(1e-3).minimize(loss)\n",
        "import tensorflow.compat.v1 as tf\nimport adamcompat.tensorflow.v1\n"
        "train = adamcompat.tensorflow.v1.AdamOptimizer(1e-3).minimize(loss)\n",
    ),
    "TensorFlow 2.6": (
        "import tensorflow as tf\nopt = tf.keras.optimizers.Adam(lr=1e-3, decay=0.1)\n",
        "import tensorflow as tf\nimport adamcompat.tensorflow.legacy\n"
        "opt = adamcompat.tensorflow.legacy.Adam(lr=1e-3, decay=0.1)\n",
    ),
    "a subclass and a value": (
        "import keras\nclass Mine(keras.optimizers.Adam): pass\nmake = keras.optimizers.Adam\n",
        "import keras\nimport adamcompat.tensorflow\nclass Mine(adamcompat.tensorflow.Adam): pass\n"
        "make = adamcompat.tensorflow.Adam\n",
    ),
    "strings": (
        "import keras\nmodel.compile('adam', 'mse')\nmodel.compile(loss='mse', optimizer=\"Adam\")\n"
        "opt = keras.optimizers.get('adam')\n",
        "import keras\nimport adamcompat.tensorflow\nmodel.compile(adamcompat.tensorflow.Adam(), 'mse')\n"
        "model.compile(loss='mse', optimizer=adamcompat.tensorflow.Adam())\n"
        "opt = keras.optimizers.get(adamcompat.tensorflow.Adam())\n",
    ),
    "characters of several bytes": (
        "import keras\nlabel = 'Größe, 学習'; opt = keras.optimizers.Adam()  # é\n",
        "import keras\nimport adamcompat.tensorflow\nlabel = 'Größe, 学習'; opt = adamcompat.tensorflow.Adam()  # é\n",
    ),
    "an indented import": (
        "if True:\n    import keras\nopt = keras.optimizers.Adam()\n",
        "if True:\n    import keras\n    import adamcompat.tensorflow\nopt = adamcompat.tensorflow.Adam()\n",
    ),
    "an import that is there": (
        "import keras\nimport adamcompat.tensorflow\nopt = keras.optimizers.Adam()\n",
        "import keras\nimport adamcompat.tensorflow\nopt = adamcompat.tensorflow.Adam()\n",
    ),
}
K = "import keras\n"
MADE = f"{K}m = n = 1\nopt = keras.optimizers.Adam()\n"
TF = "import tensorflow as tf\n"
MS = "from mindspore import nn\n"
NATIVE = {
    "to MindSpore": (
        "mindspore",
        """
        import tensorflow as tf
        model = make()
        optimizer = tf.keras.optimizers.Adam(
            # measured
            1e-3,  # peak

            beta_2=0.99,  # short memory
            name="mine",
        )

        def step(x):
            gradients = evaluate(x)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        """,
        """
        import tensorflow as tf
        import mindspore
        model = make()
        optimizer = mindspore.nn.Adam(
            model.trainable_params(),
            # measured
            learning_rate=1e-3,  # peak

            beta2=0.99,  # short memory
            eps=1e-07,
        )

        def step(x):
            gradients = evaluate(x)
            optimizer(tuple(gradients))
        """,
    ),
    "to MindSpore, by the names that are there": (
        "mindspore",
        """
        from tensorflow.keras.optimizers import Adam
        from mindspore import nn
        weights = [w, b]
        opt = Adam(decay=0.1)
        opt.apply_gradients(zip((dw, db), weights))
        """,
        """
        from mindspore import nn
        weights = [w, b]
        opt = nn.Adam(weights, learning_rate=nn.InverseDecayLR(0.001, decay_rate=0.1, decay_steps=1), eps=1e-07)
        opt((dw, db))
        """,
    ),
    "to TensorFlow": (
        "tensorflow",
        """
        from mindspore import nn
        import tensorflow as tf
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.opt = nn.Adam(self.net.trainable_params(), RATE)
            def step(self, gradients):
                self.opt(gradients)
        """,
        """
        from mindspore import nn
        import tensorflow as tf
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.opt = tf.keras.optimizers.Adam(learning_rate=RATE, epsilon=1e-08)
            def step(self, gradients):
                self.opt.apply_gradients(zip(gradients, self.net.trainable_variables))
        """,
    ),
    "from TensorFlow 2.6 to Keras 3": (
        "tensorflow",
        "import tensorflow as tf\nopt = tf.keras.optimizers.Adam(lr=1e-5)\n"
        "opt2 = tf.keras.optimizers.legacy.Adam(1e-3)\n",
        "import tensorflow as tf\nopt = tf.keras.optimizers.Adam(learning_rate=1e-5)\n"
        "opt2 = tf.keras.optimizers.Adam(learning_rate=1e-3)\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SHIM)
def test_shim_changes_imports_alone(case: str) -> None:
    before, after = map(dedent, SHIM[case])
    text, findings = migrate_text(before, "shim")
    assert text == after
    assert not errors(findings)
    assert migrate_text(after, "shim") == (after, [])


@pytest.mark.parametrize("case", SHIM)
def test_windows_line_ends_survive(case: str) -> None:
    before, after = (dedent(text).replace("\n", "\r\n") for text in SHIM[case])
    assert migrate_text(before, "shim")[0] == after


@pytest.mark.parametrize("case", NATIVE)
def test_native_rewrites_the_call_and_its_steps(case: str) -> None:
    to, before, after = NATIVE[case][0], *map(dedent, NATIVE[case][1:])
    before = before.replace("RATE", "nn.ExponentialDecayLR(0.1, 0.9, 4)")
    schedule = "tf.keras.optimizers.schedules.ExponentialDecay(0.1, decay_steps=4, decay_rate=0.9)"
    after = after.replace("RATE", schedule)
    text, findings = migrate_text(before, to)
    assert text == after
    assert not errors(findings)
    again, _ = migrate_text(after, to)
    assert again == after


UNTOUCHED = {
    "a comment asks": "import keras\nopt = keras.optimizers.Adam()  # adamcompat: ignore\n",
    "a type is asked for": "import keras\nif isinstance(opt, keras.optimizers.Adam): pass\n",
    "an annotation": "import keras\ndef f(opt: keras.optimizers.Adam) -> keras.optimizers.Adam: ...\n",
    "another Adam": "import torch\nopt = torch.optim.NAdam(p)\nfrom mine import Adam\nAdam()\n",
    "no import": "opt = Adam(1e-3)\n",
    "words": "import keras\nname = 'adam'\n# keras.optimizers.Adam()\nprint('keras.optimizers.Adam')\n",
    "a regular expression": "import keras, re\nre.compile('adam')\n",
    "no Keras": "machine.compile(optimizer='adam')\n",
}


TYPES = ("a type is asked for", "an annotation")
LEFT = [(case, "shim") for case in UNTOUCHED] + [(case, "mindspore") for case in UNTOUCHED if case not in TYPES]


@pytest.mark.parametrize(("case", "to"), LEFT)
def test_what_is_no_use_of_adam_is_left_alone(case: str, to: str) -> None:
    text, findings = migrate_text(UNTOUCHED[case], to)
    assert text == UNTOUCHED[case]
    assert not errors(findings)


UNCLEAR = [
    ("shim", "unclear-name", "from keras.optimizers import Adam\nfrom mindspore.nn import Adam\nopt = Adam(x)\n"),
    ("shim", "unclear-name", f"{TF}tf = other\nopt = tf.keras.optimizers.Adam()\n"),
    ("shim", "unclear-name", "from keras.optimizers import Adam\ndef make(Adam):\n    return Adam()\n"),
    ("shim", "unclear-dialect", "from keras.optimizers import Adam\na = Adam(lr=1)\nb = Adam(weight_decay=1.0)\n"),
    ("shim", "unclear-string", f"{K}thing.compile('adam')\n"),
    ("shim", "does-not-parse", f"{K}print 'Adam'\n"),
    ("mindspore", "string-form", f"{K}model.compile(optimizer='adam')\n"),
    ("mindspore", "parameters-unknown", f"{K}opt = keras.optimizers.Adam()\n"),
    ("mindspore", "parameters-unknown", f"{MADE}late = 1\nopt.apply_gradients(zip(g, late.trainable_weights))\n"),
    ("mindspore", "parameters-unknown", f"{MADE}opt.apply_gradients(zip(g, m))\nopt.apply_gradients(zip(g, n))\n"),
    ("mindspore", "parameters-unknown", f"{MADE}def f(m):\n    opt.apply_gradients(zip(g, m.trainable_weights))\n"),
    ("mindspore", "step-method", f"{MADE}opt.apply_gradients(pairs)\n"),
    ("mindspore", "step-method", f"{MADE}x = opt.apply_gradients(zip(g, m))\n"),
    ("mindspore", "step-method", f"{MADE}opt.apply_gradients(zip(g, m), name='x')\n"),
    ("mindspore", "step-method", f"{TF}opt = tf.compat.v1.train.AdamOptimizer()\nopt.minimize(loss)\n"),
    ("mindspore", "unclear-optimizer", f"{MADE}def f(opt):\n    opt.apply_gradients(zip(g, m))\n"),
    ("mindspore", "class-as-value", f"{K}make = keras.optimizers.Adam\n"),
    ("tensorflow", "no-counterpart", f"{MS}opt = nn.Adam(p, use_nesterov=True)\n"),
    ("tensorflow", "no-counterpart", f"{TF}opt = tf.keras.optimizers.legacy.Adam(gradient_transformers=[f])\n"),
    ("tensorflow", "step-method", f"{MS}opt = nn.Adam(p)\nx = opt(g)\n"),
    ("tensorflow", "parameters-unknown", f"{MS}opt = nn.Adam(filter(f, net.get_parameters()))\nopt(g)\n"),
    ("tensorflow", "parameters-unknown",
     f"{MS}class T:\n    def __init__(self, a):\n        self.net = a\n"
     "        self.opt = nn.Adam(self.net.trainable_params())\n    def swap(self, b):\n        self.net = b\n"
     "    def step(self, g):\n        self.opt(g)\n"),
    ("tensorflow", "step-method", f"{TF}opt = tf.keras.optimizers.legacy.Adam()\nopt.minimize(f, v)\n"),
    ("tensorflow", "step-method", f"{TF}op = tf.compat.v1.train.AdamOptimizer(0.1).minimize(loss)\n"),
    ("tensorflow", "step-method",
     f"{TF}opt = tf.compat.v1.train.AdamOptimizer()\nopt.apply_gradients(pairs, global_step=s)\n"),
]  # fmt: skip


@pytest.mark.parametrize(("to", "code", "text"), UNCLEAR)
def test_what_is_not_certain_is_reported_and_left_alone(to: str, code: str, text: str) -> None:
    after, findings = migrate_text(text, to)
    assert code in errors(findings)
    assert after == text
    (finding,) = [finding for finding in findings if finding.message.code == code]
    assert 0 < finding.line <= text.count("\n")


@pytest.mark.parametrize(
    "expression",
    [
        "f'Größe {keras.optimizers.Adam()!r}'",
        "f'''\n{1}\n  {keras.optimizers.Adam()}'''",
        "('a' f'{1}' 'b'\n   f'{keras.optimizers.Adam(1e-3):>{9}}')",
        "f'{[f\"{keras.optimizers.Adam()}\" for _ in (1, 2)]}'",
        "f'{{}} {{x}} {keras.optimizers.Adam()}'",
    ],
)
def test_inside_an_f_string_it_is_right_or_reported(expression: str) -> None:
    """Before Python 3.12 the parts of an f-string have no certain places in the text."""
    text = f"{K}x = {expression}\n"
    after, findings = migrate_text(text, "shim")
    right = text.replace(K, f"{K}import adamcompat.tensorflow\n").replace(
        "keras.optimizers.Adam", "adamcompat.tensorflow.Adam"
    )
    assert (after, errors(findings)) in [(right, []), (text, ["not-rewritten"])]


DOCUMENTED = "Adam(lr=0.001, beta_1=0.9, beta_2=0.999, epsilon=None, decay=0.0, amsgrad=False)"


def test_the_call_that_keras_2_documents() -> None:
    text = f"from keras.optimizers import Adam\nmodel.compile(loss='mse', optimizer={DOCUMENTED})\n"
    after, findings = migrate_text(text, "tensorflow")
    assert "Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False))" in after
    assert errors(findings) == []
    assert "epsilon=None is epsilon=1e-07" in " ".join(finding.message.text for finding in findings)
    after, findings = migrate_text(text, "shim")
    assert after == text.replace("keras.optimizers", "adamcompat.tensorflow.legacy")
    assert errors(findings) == []


def test_native_says_what_else_uses_the_optimizer() -> None:
    text = (
        "from mindspore import nn\nnet = Net()\nopt = nn.Adam(net.trainable_params())\nnn.TrainOneStepCell(net, opt)\n"
    )
    after, findings = migrate_text(text, "tensorflow")
    assert "opt = keras.optimizers.Adam(epsilon=1e-08)" in after
    said = {finding.message.code: finding for finding in findings}
    assert said["other-use"].line == 4
    assert "model, data, gradients and the training loop are left as they are" in said["rest-of-the-model"].message.text


def test_steps_are_found() -> None:
    text = "import keras\nopt = keras.optimizers.Adam()\nopt.apply_gradients(pairs)\nopt.learning_rate\n"
    findings = migrate_text(text, "shim")[1]
    assert [(f.line, f.message.code) for f in findings] == [(2, "name-replaced"), (3, "step-kept")]


# Files.

SCRIPT = "import keras\nopt = keras.optimizers.Adam()\n"
SHIMMED = "import keras\nimport adamcompat.tensorflow\nopt = adamcompat.tensorflow.Adam()\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_file_keeps_encoding_and_mode(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    head = "# -*- coding: latin-1 -*-\n# Größe\n" if encoding == "latin-1" else "# Größe\n"
    path.write_bytes((head + SCRIPT).encode(encoding))
    path.chmod(0o750)
    assert write(migrate_file(path, "shim")).changed
    assert path.read_bytes() == (head + SHIMMED).encode(encoding)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert [item.name for item in tmp_path.iterdir()] == ["train.py"]


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    outcome = migrate_file(path, "shim")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    failed = write(outcome)
    assert (failed.changed, failed.failed) == (False, True)
    assert "disk full" in failed.findings[-1].message.text
    assert path.read_text() == SCRIPT
    assert [item.name for item in tmp_path.iterdir()] == ["train.py"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "real.py", tmp_path / "link.py"
    path.write_text(SCRIPT)
    link.symlink_to(path)
    write(migrate_file(link, "shim"))
    assert link.is_symlink()
    assert path.read_text() == SHIMMED


def test_folders_are_searched_without_what_is_not_theirs(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "sub/b.ipynb",
        "c.txt",
        ".hidden/d.py",
        "venv/lib/e.py",
        "__pycache__/f.py",
        "node_modules/g.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "venv/pyvenv.cfg").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find([tmp_path])] == ["a.py", "sub/b.ipynb"]
    assert list(find([tmp_path / "c.txt"])) == [tmp_path / "c.txt"]
    with pytest.raises(FileNotFoundError):
        list(find([tmp_path / "none.py"]))


def test_many_files_go_through_processes_in_order(tmp_path: Path) -> None:
    for number in range(220):
        (tmp_path / f"{number:03}.py").write_text(SCRIPT if number % 2 else "x = 1\n")
    outcomes = list(migrate_files(list(find([tmp_path])), "shim"))
    assert [outcome.path.name for outcome in outcomes] == [f"{number:03}.py" for number in range(220)]
    assert [outcome.after for outcome in outcomes[:2]] == ["", SHIMMED]
    assert sum(outcome.changed for outcome in outcomes) == 110


# Notebooks.


def notebook(*cells: Any, **options: Any) -> str:
    document = {
        "cells": [
            {
                "cell_type": kind,
                "execution_count": None,
                "metadata": {"tags": ["Adam"]},
                "outputs": [],
                "source": source,
            }
            for kind, source in cells
        ],
        "metadata": {"a": 1.50, "b": "keras.optimizers.Adam()"},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, **options)


CELLS = (
    ("markdown", ["# keras.optimizers.Adam()"]),
    (
        "code",
        ["%matplotlib inline\n", "!pip install keras \\\n", "   torch\n", "import keras  # größer\n", "files = !ls"],
    ),
    ("code", "for i in range(2):\n    %time opt = 1\nkeras?"),
    ("code", ["opt = keras.optimizers.Adam()\n", "\n", "opt = keras.optimizers.Adam()\n"]),
    ("code", ["%%bash\n", "keras.optimizers.Adam(\n"]),
    ("code", ["%%time\n", "again = keras.optimizers.Adam()"]),
    ("code", ["x = (1\n", "     % 2)\n", "'''\n", "%not a magic\n", "'''"]),
    ("code", ["Adam = = 1\n"]),
)


@pytest.mark.parametrize("options", [{"indent": 1}, {"indent": 4}, {}, {"indent": 1, "ensure_ascii": False}], ids=str)
def test_in_a_notebook_only_the_source_of_code_cells_changes(options: dict[str, Any]) -> None:
    raw = notebook(*CELLS, **options) + "\n"
    after, findings = migrate_notebook(raw, "shim")
    old, new = json.loads(raw), json.loads(after)
    sources = {number: "".join(cell["source"]) for number, cell in enumerate(new["cells"], 1)}
    assert sources[2] == (
        "%matplotlib inline\n!pip install keras \\\n   torch\nimport keras  # größer\n"
        "import adamcompat.tensorflow\nfiles = !ls"
    )
    assert sources[4] == "opt = adamcompat.tensorflow.Adam()\n\nopt = adamcompat.tensorflow.Adam()\n"
    assert sources[6] == "%%time\nagain = adamcompat.tensorflow.Adam()"
    for number in (2, 4, 6):
        new["cells"][number - 1]["source"] = old["cells"][number - 1]["source"]
    assert new == old
    assert raw.isascii() == after.isascii()
    changed = [line for line in difflib.ndiff(raw.splitlines(), after.splitlines()) if line[0] in "+-"]
    assert len(changed) == (2 if "indent" not in options else 7)
    assert [(f.cell, f.line, f.message.code) for f in findings if f.message.severity.value != "INFO"] == [
        (5, 2, "not-read"),
        (8, 1, "does-not-parse"),
    ]
    assert (4, 3) in [(finding.cell, finding.line) for finding in findings]
    assert migrate_notebook(after, "shim")[0] == after


def test_a_file_that_is_no_notebook_is_left_alone(tmp_path: Path) -> None:
    for text in ("{Adam", '["Adam"]', '{"cells": [{"Adam": 1}]}', '{"cells": "Adam", "cells": "Adam"}'):
        path = tmp_path / "a.ipynb"
        path.write_text(text)
        outcome = migrate_file(path, "shim")
        assert (outcome.changed, [f.message.code for f in outcome.findings]) == (False, ["does-not-parse"])


# The command.


def test_the_command_shows_checks_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    arguments = ["migrate", str(tmp_path), "--to", "shim"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert path.read_text() == SCRIPT
    assert f"{path}:2:7: INFO name-replaced: keras.optimizers.Adam becomes adamcompat.tensorflow.Adam" in err
    if shutil.which("patch"):
        patched = subprocess.run(["patch", "-p1", "-d", "/", "--dry-run"], input=out, capture_output=True, text=True)
        assert patched.returncode == 0, patched.stdout
    assert cli.main([*arguments, "--check"]) == 1
    assert path.read_text() == SCRIPT
    assert cli.main([*arguments, "--write"]) == 0
    assert path.read_text() == SHIMMED
    assert cli.main([*arguments, "--check"]) == 0
    capsys.readouterr()
    assert cli.main([*arguments, "--diff"]) == 0
    assert capsys.readouterr().out == ""


def test_the_command_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "broken.py").write_text("Adam = = 1\n")
    assert cli.main(["migrate", str(tmp_path), "--to", "shim", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    broken, script = found["files"]
    assert (found["to"], found["action"], found["looked_at"]) == ("shim", "diff", 2)
    assert broken["findings"][0] | {"text": ""} == {
        "line": 1, "column": 1, "cell": None, "code": "does-not-parse", "severity": "ERROR", "text": "",
    }  # fmt: skip
    assert (broken["changed"], script["changed"]) == (False, True)
    assert "+import adamcompat.tensorflow" in script["diff"]


def test_wrong_usage_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", str(tmp_path / "none.py"), "--to", "shim"]) == 2
    assert "none.py does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        cli.main(["migrate", str(tmp_path), "--to", "pytorch"])
    assert caught.value.code == 2


def test_without_libcst_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert cli.main(["migrate", str(tmp_path), "--to", "shim"]) == 2
    assert "migrate needs LibCST: pip install 'libcst" in capsys.readouterr().err


def test_the_hook_for_pre_commit_fails_where_something_is_left(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["language"] == "python"
    assert re.search(
        rf'^migrate = \["{hook["additional_dependencies"][0]}"\]', (ROOT / "pyproject.toml").read_text(), re.M
    )
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    name, *arguments = shlex.split(hook["entry"])
    assert name == "adamcompat"
    assert cli.main([*arguments, str(path)]) == 1
    path.write_text(SHIMMED)
    assert cli.main([*arguments, str(path)]) == 0


def test_the_page_shows_what_happens() -> None:
    result = doctest.testfile(str(ROOT / "docs" / "migrate.md"), module_relative=False)
    assert result.attempted >= 3
    assert result.failed == 0


def test_the_page_lists_every_code() -> None:
    pages = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("migrate.md", "translate.md"))
    cells = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", pages, re.MULTILINE)
    listed = {code for cell in cells for code in re.findall(r"[\w-]+", cell)}
    used: set[str] = set()
    for path in (ROOT / "adamcompat" / "migrate").glob("*.py"):
        used |= set(re.findall(r"\b(?:info|warning|error)\(\s*\"([\w-]+)\"", path.read_text("utf-8")))
    assert len(used) > 15
    assert used <= listed


def test_migrating_needs_no_framework_and_no_libcst_until_something_changes() -> None:
    code = (
        "import sys\nfrom adamcompat.migrate import migrate_text\nmigrate_text('x = 1', 'shim')\n"
        "assert not {'libcst', 'tensorflow', 'mindspore', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_every_case_is_python() -> None:
    for before, after in SHIM.values():
        ast.parse(dedent(before))
        ast.parse(dedent(after))
