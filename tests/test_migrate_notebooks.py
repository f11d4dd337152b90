"""Magics in notebooks: what is Python is migrated, what is not is shown again byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat.migrate import Finding
from adamcompat.migrate.magics import read, show
from adamcompat.migrate.notebook import migrate_notebook

OPT = "opt = keras.optimizers.Adam()"
OURS = "opt = adamcompat.tensorflow.Adam()"


def notebook(*sources: str | list[str], **more: Any) -> str:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        for source in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1, **more) + "\n"


def migrated(*sources: str | list[str], to: str = "shim") -> tuple[list[str], list[Finding]]:
    raw = notebook(*sources)
    after, found = migrate_notebook(raw, to)
    assert migrate_notebook(after, to)[0] == after
    old, new = json.loads(raw), json.loads(after)
    texts = ["".join(cell.pop("source")) for cell in new["cells"]]
    for cell in old["cells"]:
        del cell["source"]
    assert new == old
    return texts, found


def loud(found: list[Finding]) -> list[tuple[int | None, int, str]]:
    return [(item.cell, item.line, item.message.code) for item in found if item.message.severity.value != "INFO"]


REWRITTEN = {
    "a cell": (f"%%time\n{OPT}", f"%%time\n{OURS}"),
    "empty lines in front": (f"\n\n%%time\n\n{OPT}", f"\n\n%%time\n\n{OURS}"),
    "several": (f"%%capture out\n%%time\n{OPT}\n!ls", f"%%capture out\n%%time\n{OURS}\n!ls"),
    "setup": (f"%%timeit -n 3 -r1 {OPT}\nopt", f"%%timeit -n 3 -r1 {OURS}\nopt"),
    "setup that is none": (f"%%timeit -n 3\n{OPT}", f"%%timeit -n 3\n{OURS}"),
    "a line": (f"%time {OPT}  # peak", f"%time {OURS}  # peak"),
    "a line in a block": (f"if x:\n    %prun -l 5 -s cumtime {OPT}\n", f"if x:\n    %prun -l 5 -s cumtime {OURS}\n"),
    "a loop on a line": (
        "%time for i in x: f(keras.optimizers.Adam())",
        "%time for i in x: f(adamcompat.tensorflow.Adam())",
    ),
    "an import": (
        f"%time import keras as k\n{OPT.replace('keras', 'k')}",
        f"%time import keras as k\nimport adamcompat.tensorflow\n{OURS}",
    ),
    "magics around": (
        f"%autoreload 2\n!pip install keras \\\n   torch\nfor i in x:\n    !ls \\\n  -l\n    y = 1\n{OPT}\nkeras?",
        f"%autoreload 2\n!pip install keras \\\n   torch\nfor i in x:\n    !ls \\\n  -l\n    y = 1\n{OURS}\nkeras?",
    ),
    "automagics around": (f"pip install keras\ncd ..\n{OPT}\nls -l", f"pip install keras\ncd ..\n{OURS}\nls -l"),
    "an expression that looks like a magic": (
        f"x = (y\n    % 2)\n%time z = 1\n{OPT}",
        f"x = (y\n    % 2)\n%time z = 1\n{OURS}",
    ),
    "an indented cell": (f"  {OPT}\n  if x:\n      y = 1\n\n", f"  {OURS}\n  if x:\n      y = 1\n\n"),
    "an indented cell with magics": (f"\n    !ls\n    %time {OPT}\n", f"\n    !ls\n    %time {OURS}\n"),
    "line ends of Windows": (f"%%time\r\n%time {OPT}\r\n!ls\r\nx = 1", f"%%time\r\n%time {OURS}\r\n!ls\r\nx = 1"),
    "a text that holds magics": (
        f"text = '''\n%time x\n!ls\n'''\n%time {OPT}",
        f"text = '''\n%time x\n!ls\n'''\n%time {OURS}",
    ),
    "px here": (f"%%px --local\n{OPT}", f"%%px --local\n{OURS}"),
}


@pytest.mark.parametrize("case", REWRITTEN)
def test_python_behind_magics_is_migrated(case: str) -> None:
    before, after = REWRITTEN[case]
    texts, found = migrated("import keras", before)
    assert texts[1] == after
    assert loud(found) == []


@pytest.mark.parametrize("case", REWRITTEN)
def test_what_is_hidden_is_shown_again(case: str) -> None:
    for source in REWRITTEN[case]:
        cell = read(source, "mark", "cell")
        assert cell.problem is None
        assert show(cell, cell.text, "mark") == source


def test_a_program_of_its_own_sees_its_own_imports() -> None:
    texts, found = migrated(
        "import keras",
        f"%%writefile train.py\nimport keras\n{OPT}",
        f"%%writefile -a train.py\n{OPT}",
        f"%%python3\nfrom keras.optimizers import Adam\n{OPT.replace('keras.optimizers.', '')}",
        f"%%script python3 -u\n{OPT}",
        f"%%px\nimport keras\n{OPT}",
        f"%%px\n{OPT}",
        f"%%writefile other.py\n{OPT}",
        OPT,
    )
    assert texts[0] == "import keras\nimport adamcompat.tensorflow"
    assert texts[1] == f"%%writefile train.py\nimport keras\nimport adamcompat.tensorflow\n{OURS}"
    assert texts[2] == f"%%writefile -a train.py\n{OURS}"
    assert texts[3] == "%%python3\nfrom adamcompat.tensorflow import Adam\nopt = Adam()"
    assert texts[4] == f"%%script python3 -u\n{OPT}"
    assert texts[5] == f"%%px\nimport keras\nimport adamcompat.tensorflow\n{OURS}"
    assert texts[6] == f"%%px\n{OURS}"
    assert texts[7] == f"%%writefile other.py\n{OPT}"
    assert texts[8] == OURS
    assert loud(found) == [(5, 2, "unknown-name"), (8, 2, "unknown-name")]


NOT_READ = {
    "bash": ("%%bash\necho\npython train.py --optimizer adam", 3),
    "behind another": ("%%time\n%%bash\npython train.py --optimizer adam", 3),
    "a file that is no Python": ("%%writefile settings.yaml\noptimizer: adam", 2),
    "R": ("%%R\noptimizer <- keras::Adam()", 2),
    "nobody knows it": ("%%something -x\nopt = keras.optimizers.Adam()", 2),
    "a shell command": ("x = 1\n!python train.py --optimizer=adam", 2),
    "a magic that is no Python": ("%run train.py --optimizer adam", 1),
    "an assignment": ("x = %time keras.optimizers.Adam()", 1),
    "a line that goes on": ("%time opt = keras.optimizers.Adam( \\\n    1e-3)", 1),
    "an automagic": ("x = 1\ntime opt = keras.optimizers.Adam()", 2),
}
NOTHING = {
    "bash": "%%bash\nls -l",
    "a page": "%%html\n<p>Adam</p>",
    "prose": "%%markdown\nAdam is an optimizer: keras.optimizers.Adam()",
    "help": "keras.optimizers.Adam?\n?keras.optimizers.Adam",
    "this package": "!pip install adamcompat\n%load_ext adamcompat",
    "no Python": "this is no Python at all",
    "an unclosed bracket": "x = (1\n!ls",
    "indented": "    x = 1\n  y = 2",
    "automagics": "pip install keras\nls\ncd ..",
    "nothing": "",
    "white": " \n\n",
}


@pytest.mark.parametrize("case", NOT_READ)
def test_an_adam_that_is_not_read_is_reported_where_it_stands(case: str) -> None:
    source, line = NOT_READ[case]
    texts, found = migrated("import keras", source)
    assert texts == ["import keras", source]
    assert loud(found) == [(2, line, "not-read")]


@pytest.mark.parametrize("case", NOTHING)
def test_a_cell_without_an_adam_is_no_finding(case: str) -> None:
    texts, found = migrated("import keras", NOTHING[case], OPT)
    assert texts[1:] == [NOTHING[case], OURS]
    assert loud(found) == []


def test_a_cell_with_an_adam_that_is_no_python_is_an_error() -> None:
    for source in ("opt == = keras.optimizers.Adam()", "print 'Adam'", "    x = 1\n  y = keras.optimizers.Adam("):
        _, found = migrated("import keras", source)
        assert [(cell, code) for cell, _, code in loud(found)] == [(2, "does-not-parse")]


@pytest.mark.parametrize("source", [f"%%time\n%time {OPT}", f"  %time {OPT}\n  x = 1", f"x = 1\n%prun -l 5 {OPT}"])
def test_places_are_those_in_the_cell(source: str) -> None:
    _, found = migrated("import keras", source)
    (place,) = [item for item in found if item.message.code == "name-replaced"]
    lines = source.split("\n")
    assert lines[place.line - 1][place.column - 1 :].startswith("keras.optimizers.Adam")


def test_a_source_in_lines_stays_one() -> None:
    raw = notebook(["%%time\n", "import keras\n", "%time opt = keras.optimizers.Adam()"], ["x = 1\n", "%time y"])
    after, _ = migrate_notebook(raw, "shim")
    assert json.loads(after)["cells"][0]["source"] == [
        "%%time\n", "import keras\n", "import adamcompat.tensorflow\n", "%time opt = adamcompat.tensorflow.Adam()",
    ]  # fmt: skip
    old, new = raw.splitlines(), after.splitlines()
    assert [line for line in old if line not in new] == ['    "%time opt = keras.optimizers.Adam()"']


def test_native_targets_reach_behind_magics_too() -> None:
    texts, found = migrated(
        "import keras\nmodel = make()",
        "%time opt = keras.optimizers.Adam(1e-3)",
        "%%time\nopt.apply_gradients(zip(gradients, model.trainable_variables))",
        to="mindspore",
    )
    assert texts[1] == "%time opt = mindspore.nn.Adam(model.trainable_params(), learning_rate=1e-3, eps=1e-07)"
    assert texts[2] == "%%time\nopt(tuple(gradients))"
    assert loud(found) == [(None, 0, "rest-of-the-model")]
