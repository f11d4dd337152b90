"""Whatever form an Adam has in a file: it is rewritten or reported, and --check does not pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat import cli
from adamcompat.migrate import Finding, migrate_text

# Scripts and cells with one Adam each, each in another form. What begins with %% or % is a cell.
FORMS = {
    # Names.
    "attribute": "import tensorflow as tf\nopt = tf.keras.optimizers.Adam(1e-3)",
    "from import": "from keras.optimizers import Adam\nopt = Adam(1e-3)",
    "renamed": "from mindspore.nn import Adam as Optimizer\nopt = Optimizer(net.trainable_params())",
    "star": "from keras.optimizers import *\nopt = Adam()",
    "the defining module": "from mindspore.nn.optim.adam import Adam\nopt = Adam(net.trainable_params())",
    "compat.v2": "import tensorflow.compat.v2 as tf\nopt = tf.keras.optimizers.Adam(1e-3)",
    "compat.v1 in compat.v1": "import tensorflow.compat.v1 as tf\nopt = tf.compat.v1.train.AdamOptimizer(1e-3)",
    "tensorflow.python": "from tensorflow.python.training.adam import AdamOptimizer\nopt = AdamOptimizer(1e-3)",
    "keras.src": "from keras.src.optimizers.adam import Adam\nopt = Adam(1e-3)",
    "optimizers.legacy": "import tensorflow as tf\nopt = tf.optimizers.legacy.Adam(1e-3)",
    "a module in a variable": "import tensorflow as tf\nkeras = tf.keras\nopt = keras.optimizers.Adam(1e-3)",
    "a class in a variable": "import keras\nOptimizer = keras.optimizers.Adam\nopt = Optimizer(1e-3)",
    "two in a tuple": "import keras\nA, S = keras.optimizers.Adam, keras.optimizers.SGD\nopt = A(1e-3)",
    "none where the import fails": "try:\n    import keras\nexcept OSError:\n    keras = None\nkeras.optimizers.Adam()",
    "a full-width letter": "import tensorflow as tf\nopt = tf.keras.optimizers.\uff21dam(1e-3)",
    "a pattern": "import keras\nmatch keras.optimizers:\n    case object(Adam=A):\n        opt = A(1e-3)",
    "attrgetter": "import keras\nfrom operator import attrgetter\nopt = attrgetter('optimizers.Adam')(keras)(1e-3)",
    "eval of a variable": "import keras\nCODE = 'keras.optimizers.Adam(1e-3)'\nopt = eval(CODE)",
    "an argument": "def make(optimizers):\n    return optimizers.Adam(1e-3)",
    "nobody imports it": "opt = Adam(1e-3)",
    "old and lower case": "from keras import optimizers\nopt = optimizers.adam(lr=1e-3)",
    "adam_v2": "from keras.optimizers import adam_v2\nopt = adam_v2.Adam(lr=1e-3)",
    "import_module": "import importlib\nopt = importlib.import_module('keras.optimizers').Adam(1e-3)",
    "a keyword that none has": "import tensorflow as tf\nopt = tf.keras.optimizers.Adam(lr=1e-3, nonsense=1)",
    # Classes that are passed on.
    "a subclass": "import keras\nclass Mine(keras.optimizers.Adam):\n    pass",
    "partial": "import functools, keras\nmake = functools.partial(keras.optimizers.Adam, 1e-3)",
    "a dictionary of classes": "import keras\nALL = {'adam': keras.optimizers.Adam, 'sgd': keras.optimizers.SGD}",
    "a default argument": "import keras\ndef fit(model, kind=keras.optimizers.Adam):\n    return kind(1e-3)",
    "a lambda": "import keras\nmake = lambda rate: keras.optimizers.Adam(rate)",
    "from_config": "import keras\nopt = keras.optimizers.Adam.from_config(config)",
    # Strings.
    "compile": "import keras\nmodel.compile(optimizer='adam', loss='mse')",
    "compile by position": "import keras\nmodel.compile('Adam', 'mse')",
    "compile, without Keras": "def train(model):\n    model.compile(optimizer='adam', loss='mse')",
    "compile, if": "import keras\nmodel.compile(optimizer='adam' if fast else 'sgd', loss='mse')",
    "compile, or": "import keras\nmodel.compile(optimizer=given or 'adam', loss='mse')",
    "compile, unpacked": "import keras\nmodel.compile(**{'optimizer': 'adam', 'loss': 'mse'})",
    "get": "from tensorflow.keras import optimizers\nopt = optimizers.get('adam')",
    "get by keyword": "from tensorflow.keras import optimizers\nopt = optimizers.get(identifier='adam')",
    "get of a dictionary": "import keras\nopt = keras.optimizers.get({'class_name': 'Adam', 'config': {}})",
    "get of whatever": "import keras\nopt = keras.optimizers.get(settings.optimizer)",
    "deserialize": "import keras\nopt = keras.optimizers.deserialize({'class_name': 'Adam', 'config': {}})",
    "deserialize of whatever": "import keras\nopt = keras.optimizers.deserialize(config=saved)",
    "a string in a variable": "import keras\nname = 'adam'\nmodel.compile(optimizer=name, loss='mse')",
    "a name added up": "import keras\nmodel.compile(optimizer='ad' + 'am', loss='mse')",
    "a name in a name": "import keras\nname = 'ad' + 'am'\nmodel.compile(name, 'mse')",
    "literals side by side": "import keras\nname = 'Ad' 'am'\nmodel.compile(optimizer=name)",
    "a name by %": "import keras\nmodel.compile('%sam' % 'ad', 'mse')",
    "a name by format": "import keras\nmodel.compile(optimizer='{}am'.format('ad'), loss='mse')",
    "a name by join": "import keras\nmodel.compile(optimizer=''.join(['ad', 'am']), loss='mse')",
    "a name in an f-string": "import keras\nmodel.compile(optimizer=f\"{'ad'}am\", loss='mse')",
    "a name of bytes": "import keras\nmodel.compile(optimizer=b'adam'.decode(), loss='mse')",
    "a string as default": "import keras\ndef build(optimizer='adam'):\n    model.compile(optimizer=optimizer)",
    "a string in a dictionary": "import keras\nsettings = {'optimizer': 'adam'}\nmodel.compile(loss='mse', **settings)",
    "a string in a list": "import keras\nfor name in ['sgd', 'adam']:\n    model.compile(optimizer=name)",
    "an option": "import keras\nparser.add_argument('--optimizer', default='adam')",
    "a factory": "import keras\nopt = make_optimizer('adam')",
    "a factory by name": "import keras\nopt = make_optimizer(name='adam')",
    "a field": "import keras\nclass Settings:\n    optimizer: str = 'adam'",
    "a dotted name": "import keras\nopt = locate('keras.optimizers.Adam')(1e-3)",
    "getattr": "import keras\nopt = getattr(keras.optimizers, 'Adam')(1e-3)",
    "getattr of whatever": "from mindspore import nn\nopt = getattr(nn, args.optimizer)(params)",
    "vars": "import keras\nopt = vars(keras.optimizers)['Adam'](1e-3)",
    "eval": "import keras\nopt = eval('keras.optimizers.Adam(1e-3)')",
    # Other members.
    "AdamW": "import keras\nopt = keras.optimizers.AdamW(1e-3)",
    "adamw": "import keras\nmodel.compile(optimizer='adamw', loss='mse')",
    "experimental": "from tensorflow.keras.optimizers.experimental import AdamW\nopt = AdamW(1e-3)",
    "AdamWeightDecay": "from mindspore import nn\nopt = nn.AdamWeightDecay(params)",
    "PyTorch": "import torch\nopt = torch.optim.Adam(params, lr=1e-3)",
    # Cells.
    "%%time": "%%time\nopt = keras.optimizers.Adam()",
    "%%timeit with options": "%%timeit -n 1 -r 1\nopt = keras.optimizers.Adam()",
    "%%timeit, the first line": "%%timeit -n 1 opt = keras.optimizers.Adam()\nopt",
    "%%capture": "%%capture out\nopt = keras.optimizers.Adam()",
    "%%capture over %%time": "%%capture\n%%time\nopt = keras.optimizers.Adam()",
    "%%prun": "%%prun -l 5\nopt = keras.optimizers.Adam()",
    "%%memit": "%%memit\nopt = keras.optimizers.Adam()",
    "%%backend": "%%backend tensorflow\nopt = keras.optimizers.Adam()",
    "%%px": "%%px\nopt = keras.optimizers.Adam()",
    "%%px --local": "%%px --local\nopt = keras.optimizers.Adam()",
    "%%writefile": "%%writefile train.py\nimport keras\nopt = keras.optimizers.Adam()",
    "%%writefile, other text": "%%writefile train.yaml\noptimizer: adam",
    "%%python": "%%python3\nimport keras\nopt = keras.optimizers.Adam()",
    "%%script": "%%script python3 -u\nimport keras\nopt = keras.optimizers.Adam()",
    "%%bash": "%%bash\npython train.py --optimizer adam",
    "%%unknown": "%%nobody_knows_this\nopt = keras.optimizers.Adam()",
    "%time": "%time opt = keras.optimizers.Adam()",
    "%timeit": "for _ in (1, 2):\n    %timeit -n 1 -r 1 keras.optimizers.Adam()",
    "%prun": "%prun -l 5 opt = keras.optimizers.Adam()",
    "%px": "%px opt = keras.optimizers.Adam()",
    "an assignment of a magic": "taken = %timeit -o keras.optimizers.Adam()",
    "!": "!python -c 'import keras; keras.optimizers.Adam()'",
    "an automagic": "time opt = keras.optimizers.Adam()",
    "behind an automagic": "pip install keras\nopt = keras.optimizers.Adam()",
    "an indented cell": "  opt = keras.optimizers.Adam()\n  opt",
    "not Python": "opt == = keras.optimizers.Adam()",
}  # fmt: skip
# The forms that are rewritten whatever it takes; the others may be reported instead.
REWRITTEN = {
    *("attribute", "from import", "renamed", "star", "the defining module", "compat.v2", "compat.v1 in compat.v1"),
    *("tensorflow.python", "keras.src", "optimizers.legacy", "a module in a variable", "a class in a variable"),
    *("two in a tuple", "none where the import fails", "a subclass", "partial", "a dictionary of classes"),
    *("a default argument", "a lambda", "from_config", "compile", "compile by position", "compile, if", "compile, or"),
    *("AdamW", "adamw", "AdamWeightDecay", "experimental"),
    *("get", "get by keyword", "%%time", "%%timeit with options", "%%timeit, the first line", "%%capture"),
    *("%%capture over %%time", "%%prun", "%%memit", "%%backend", "%%px --local", "%%writefile", "%%python"),
    *("%%script", "%time", "%timeit", "%prun", "behind an automagic", "an indented cell"),
}
CELLS = list(FORMS)[list(FORMS).index("%%time") :]


def write(form: str, folder: Path) -> Path:
    """A script, or a notebook whose first cell imports Keras."""
    if form not in CELLS:
        path = folder / "train.py"
        path.write_text(f"{FORMS[form]}\n", encoding="utf-8")
        return path
    path = folder / "train.ipynb"
    cells: list[dict[str, object]] = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        for source in ("import keras", FORMS[form])
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    return path


def code_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".py" else "\n".join(cell["source"] for cell in json.loads(text)["cells"])


def test_there_are_many_forms() -> None:
    assert len(FORMS) >= 50
    assert set(FORMS) >= REWRITTEN


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_rewritten_or_reported_and_does_not_pass(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(form, tmp_path)
    before = code_of(path)
    assert cli.main(["migrate", str(path), "--to", "shim", "--check"]) == 1
    said = capsys.readouterr().err.splitlines()[:-1]
    assert any(str(path) in line for line in said)
    cli.main(["migrate", str(path), "--to", "shim", "--write"])
    after = code_of(path)
    assert (after != before) or any("WARNING" in line or "ERROR" in line for line in said), said
    if form in REWRITTEN:
        assert "adamcompat." in after
        assert not any("ERROR" in line for line in said)
        # What else there was in the cell is still there, magics too.
        assert [line for line in before.split("\n") if "Adam" not in line and "adam" not in line] == [
            line for line in after.split("\n") if "Adam" not in line and "adam" not in line
        ]
    capsys.readouterr()
    cli.main(["migrate", str(path), "--to", "shim", "--write"])
    assert code_of(path) == after, "a second run changes nothing"


NO_USE = {
    "a comparison": "if args.optimizer == 'adam':\n    pass",
    "one of several": "assert name in ('adam', 'sgd')",
    "a pattern": "match name:\n    case 'adam':\n        pass",
    "a key": "results['adam'] = losses\nrates = {'adam': 1e-3}",
    "a label": "plt.plot(losses, label='Adam')\nplt.title('Adam')\nplt.legend(['SGD', 'Adam'])",
    "a message": "print('adam')\nlogging.info('Adam')",
    "part of a text": "name = f'adam'",
    "a docstring": "def f():\n    'adam'",
    "a scope": "with tf.name_scope(name='adam'):\n    pass",
    "another optimizer": "opt = keras.optimizers.get('sgd')\nmodel.compile(optimizer='nadam')",
    "an optimizer that is one": "opt = keras.optimizers.get(keras.optimizers.SGD())",
    "another look-up": "opt = getattr(keras.optimizers, 'SGD')",
    "its own class": "class Adam:\n    pass\nopt = Adam()",
    "a comment": "# keras.optimizers.Adam()",
    "ignored": "name = 'adam'  # adamcompat: ignore\nopt = x.Adam()  # adamcompat: ignore",
    "a type": "def f(opt: 'keras.optimizers.Adam') -> None:\n    isinstance(opt, keras.optimizers.AdamW)",
}


@pytest.mark.parametrize("case", NO_USE)
def test_what_is_no_use_is_not_reported(case: str) -> None:
    text = f"import keras\nimport tensorflow as tf\nimport matplotlib.pyplot as plt\n{NO_USE[case]}\n"
    assert migrate_text(text, "shim") == (text, [])


def codes(found: list[Finding], *severities: str) -> list[str]:
    return [item.message.code for item in found if item.message.severity.value in severities]


def test_an_option_in_a_file_of_settings_is_mentioned() -> None:
    """Nothing there tells whose optimizer it is: INFO, which does not keep --check from passing."""
    found = migrate_text("OPTIMIZER = 'adam'\nloss = 'mse'\n", "shim")[1]
    assert [(item.line, item.message.code, item.message.severity.value) for item in found] == [
        (1, "adam-by-name", "INFO")
    ]
    assert migrate_text("names = ['adam', 'eve']\n", "shim")[1] == []
    assert migrate_text("from mindspore import nn\nOPTIMIZER = 'adam'\n", "shim")[1] == []


def test_what_belongs_to_the_target_already_is_no_finding() -> None:
    keras = "import keras\nmodel.compile(optimizer='adam')\nopt = keras.optimizers.AdamW()\nname = 'adam'\n"
    assert migrate_text(keras, "tensorflow") == (keras, [])
    mindspore = "from mindspore import nn\nopt = nn.AdamWeightDecay(p)\n"
    assert migrate_text(mindspore, "mindspore") == (mindspore, [])
    named = "import keras\nmodel.compile(optimizer='AdamW')\nname = 'adamw'\n"
    assert migrate_text(named, "tensorflow") == (named, [])
    assert codes(migrate_text("from keras.optimizers import adam\nadam(lr=1)\n", "tensorflow")[1], "WARNING") == [
        "another-adam"
    ]


# The dialect that fits best.

KEYWORDS = [
    ("lr=1e-3", "adamcompat.tensorflow.legacy.Adam"),
    ("lr=1e-3, decay=0.1, clipnorm=1.0", "adamcompat.tensorflow.legacy.Adam"),
    ("1e-3, weight_decay=1e-4", "adamcompat.tensorflow.Adam"),
    ("learning_rate=1e-3", "adamcompat.tensorflow.Adam"),
]


@pytest.mark.parametrize(("arguments", "ours"), KEYWORDS)
def test_a_call_is_that_of_the_dialect_that_takes_its_keywords(arguments: str, ours: str) -> None:
    text, found = migrate_text(f"import keras\nopt = keras.optimizers.Adam({arguments})\n", "shim")
    assert f"opt = {ours}({arguments})" in text
    assert not codes(found, "ERROR")


@pytest.mark.parametrize("to", ["shim", "tensorflow", "mindspore"])
@pytest.mark.parametrize(
    ("arguments", "dialect"),
    [
        ("lr=1e-3, nonsense=1", "TensorFlow 2.6"),
        ("1e-3, nonsense=1", "Keras 3"),
        ("lr=1e-3, decay=0.1, nonsense=1", "TensorFlow 2.6"),
    ],
)
def test_a_keyword_that_fits_no_dialect_is_an_error_in_the_one_that_fits_best(
    arguments: str, dialect: str, to: str
) -> None:
    for text in (
        f"import keras\nopt = keras.optimizers.Adam({arguments})\n",
        f"from keras.optimizers import Adam\nopt = Adam({arguments})\n",
    ):
        after, found = migrate_text(text, to)
        assert after == text
        (message,) = [item.message for item in found if item.message.code == "unknown-parameter"]
        assert message.severity.value == "ERROR"
        assert f"{dialect} has no parameter 'nonsense'" in message.text


def test_a_name_for_a_class_is_called_in_one_dialect() -> None:
    text, _ = migrate_text("import keras\nA = keras.optimizers.Adam\nopt = A(lr=1e-3)\n", "shim")
    assert "A = adamcompat.tensorflow.legacy.Adam\n" in text
    text, _ = migrate_text("from keras.optimizers import Adam\nA = Adam\nopt = A(lr=1e-3)\n", "shim")
    assert text.startswith("from adamcompat.tensorflow.legacy import Adam\n")
    both = "import keras\nA = keras.optimizers.Adam\na = A(lr=1e-3)\nb = A(weight_decay=0.1)\n"
    after, found = migrate_text(both, "shim")
    assert (after, codes(found, "ERROR")) == (both, ["unclear-dialect"])
    wrong = "import keras\nA = keras.optimizers.Adam\na = A(nonsense=1)\n"
    after, found = migrate_text(wrong, "shim")
    assert (after, codes(found, "ERROR")) == (wrong, ["unknown-parameter"])


# Where the import line goes.

IMPORTS = {
    "behind others": (
        "import keras; x = (\n    1)\nopt = keras.optimizers.Adam()\n",
        "import keras; import adamcompat.tensorflow; x = (\n    1)\nopt = adamcompat.tensorflow.Adam()\n",
    ),
    "in a block of one line": (
        "try: import keras\nexcept OSError: raise\nopt = keras.optimizers.Adam()\n",
        "try: import keras; import adamcompat.tensorflow\nexcept OSError: raise\nopt = adamcompat.tensorflow.Adam()\n",
    ),
    "beside what a variable stands for": (
        "import tensorflow as tf\nk = tf.keras\no = k.optimizers\nopt = o.Adam()\n",
        "import tensorflow as tf\nimport adamcompat.tensorflow\nk = tf.keras\no = k.optimizers\n"
        "opt = adamcompat.tensorflow.Adam()\n",
    ),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_the_import_line_stands_where_it_is_seen(case: str) -> None:
    before, after = IMPORTS[case]
    assert migrate_text(before, "shim")[0] == after


def test_an_import_that_would_give_another_name_a_meaning_is_left_to_the_user() -> None:
    """Otherwise a second run would find more than the first."""
    text = "from mindspore import nn\nopt = nn.Adam(p)\nother = keras.optimizers.legacy.Adam()\n"
    after, found = migrate_text(text, "tensorflow")
    assert (after, codes(found, "ERROR")) == (text, ["not-rewritten"])
    assert (found[0].line, found[0].column) == (3, 9)
    after, found = migrate_text(f"import keras\n{text}", "tensorflow")
    assert "other = keras.optimizers.Adam()" in after
    assert not codes(found, "ERROR")


def test_a_string_is_rewritten_only_where_keras_is_imported() -> None:
    text = (
        "def build():\n    import keras\n    return keras.Sequential()\n"
        "def train(model):\n    model.compile('adam', 'mse')\n"
    )
    after, found = migrate_text(text, "shim")
    assert (after, codes(found, "WARNING")) == (text, ["unclear-string"])
