"""Every example of the README and the pages is run as it stands, and what it writes to stderr is meant for the user."""

from __future__ import annotations

import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import processes
from tests.noise import not_meant
from tests.test_shown_output import shown

NEEDED = ("tensorflow", "tf_keras", "mindspore", "torch", "libcst", "safetensors", "h5py", "yaml")
pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_spec, NEEDED)),
        reason="needs TensorFlow, MindSpore, PyTorch and the extras",
    ),
]

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_IN_TABLE = re.compile(r"^\|(?: .* \|)? `((?:python -m )?adamcompat [^`]*)`", re.MULTILINE)
# Work on this package itself, which takes hours or a network.
_OURS_TO_RUN = ("scripts/", "python scripts/")

# What the pages take for given, by page.
_MODEL = """
import keras, numpy as np
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
x, y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")
"""
_FITTED = f"{_MODEL}model.fit(x, y, epochs=2, verbose=0)\n"
_NET = """
import mindspore as ms, numpy as np
net = ms.nn.Dense(3, 2)
optimizer = ms.nn.Adam(net.trainable_params(), 1e-3, eps=1e-7)
optimizer(tuple(ms.Tensor(np.ones(p.shape, np.float32)) for p in net.trainable_params()))
"""
PRELUDES = {
    "README.md": f"import adamcompat{_MODEL}",
    "docs/use.md": _MODEL,
    "docs/compare.md": _MODEL,
    "docs/install.md": "def train():\n    import keras, numpy as np\n"
    + "".join(f"    {line}\n" for line in _FITTED.strip().splitlines()),
    "docs/state-files.md": f"from adamcompat.state import AdamState\n{_FITTED}{_NET}",
    "docs/state.md": f"{_FITTED}{_NET}old_optimizer, new_optimizer = model.optimizer, keras.optimizers.Adam()\n"
    # The page's own model has the first number of its kind.
    "new_optimizer.build(model.trainable_variables)\nkeras.backend.clear_session()\n",
}
FILES = f"""
import adamcompat{_MODEL}
with adamcompat.record(model.optimizer, "run.safetensors"):
    model.fit(x, y, epochs=2, verbose=0)
model.save("run.keras")
{_NET}
ms.save_checkpoint(optimizer, "fresh.ckpt")
ms.save_checkpoint(optimizer, "run.ckpt")
import torch
model = torch.nn.Linear(3, 2)
optimizer = torch.optim.Adam(model.named_parameters(), lr=1e-3)
model(torch.ones(4, 3)).sum().backward()
optimizer.step()
torch.save({{"model": model.state_dict(), "optimizer": optimizer.state_dict()}}, "run.pt")
"""
SCRIPT = (
    "import sys\nfrom mindspore import nn\nimport mindspore as ms, numpy as np\n"
    + """
ms.set_context(mode=ms.PYNATIVE_MODE)
for _ in range(2):
    net = nn.Dense(3, 2)
    optimizer = nn.Adam(net.trainable_params(), nn.ExponentialDecayLR(1e-3, 0.9, 4))
    for _ in range(2):
        optimizer(tuple(ms.Tensor(np.ones(p.shape, np.float32)) for p in net.trainable_params()))
"""
)


def python_of(page: str) -> str:
    """What a page shows as Python, as one program."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [body for language, body in _BLOCK.findall(text) if language == "python"]
    return "\n".join(line for block in blocks for line in block.splitlines() if not line.startswith("%"))


def commands_of(page: str) -> list[str]:
    """The commands that a page shows, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        line[2:].partition("  #")[0]
        for language, body in _BLOCK.findall(text)
        if language == "console"
        for line in body.splitlines()
        if line.startswith("$ ")
    ]
    for cell in _IN_TABLE.findall(text):
        choices = re.search(r"(\w+(?:\\\|\w+)+)", cell)
        names = choices[1].split("\\|") if choices else [""]
        found += [cell.replace(choices[1], name) if choices else cell for name in names]
    return [command.strip() for command in found if not command.startswith(_OURS_TO_RUN)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    found = tmp_path_factory.mktemp("examples")
    for name in ("train.py", "package/train.py", "package/__init__.py"):
        (found / name).parent.mkdir(exist_ok=True)
        (found / name).write_text(SCRIPT if name.endswith("train.py") else "", encoding="utf-8")
    (found / "src").mkdir()
    (found / "src" / "model.py").write_text("import keras\nopt = keras.optimizers.Adam()\nname = 'adam'\n", "utf-8")
    (found / "aliases.yaml").write_text((ROOT / "docs/aliases.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    mapping = (ROOT / "mapping.yaml").read_text(encoding="utf-8")
    (found / "changed.yaml").write_text(mapping.replace("epsilon: hat", "epsilon: paper", 1), encoding="utf-8")
    status, said = run(["-c", FILES], found, imported=True)
    assert status == 0, said
    return found


def run(arguments: list[str], folder: Path, *, imported: bool) -> tuple[int, str]:
    """Run Python and return its exit status and what it wrote to stderr.

    Args:
        arguments: those of Python.
        folder: where it runs.
        imported: the frameworks have been imported, as hushed as the command line does it; False: nothing has.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("TF_CPP_MIN_LOG_LEVEL", "GLOG_v")}
    environment |= {"PYTHONPATH": str(ROOT), **({"TF_CPP_MIN_LOG_LEVEL": "3"} if imported else {})}
    frameworks = ("tensorflow", "keras", "mindspore") if imported else ()
    result = processes.run(arguments, environment=environment, imported=frameworks, folder=folder, timeout=600)
    return result.returncode, result.stderr


_SHOWN = {command: page for page in PAGES for command in commands_of(page)}


def _is_part(command: str, other: str) -> bool:
    """Whether all that one command does is done by another one, too."""
    words, more = set(shlex.split(command)), set(shlex.split(other))
    return words < more and "--dry-run" not in more


# Each once, however many pages show it, and with all of its options at once where a page shows that.
# Those whose output a page shows run in test_shown_output.py.
_ELSEWHERE = {
    command
    for page in ("README.md", "docs/compare.md", "docs/verify.md")
    for command in shown(page)
    if command.startswith(("adamcompat compare ", "adamcompat verify"))
}
COMMANDS = [
    (page, command)
    for command, page in _SHOWN.items()
    if not any(_is_part(command, more) for more in _SHOWN) and command not in _ELSEWHERE
]


# Commands that take long say the same of less.
SHORTER = {"compare": ["--steps", "20"], "verify": ["--runtime", "tensorflow"]}


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=lambda text: text[:70])
def test_a_command_says_nothing_that_is_not_meant_for_the_user(page: str, command: str, folder: Path) -> None:
    words = shlex.split(command.removeprefix("python -m "))
    assert words[0] == "adamcompat"
    # A recording has the steps that it has.
    if words[1] in SHORTER and not {SHORTER[words[1]][0], "--gradients"} & set(words):
        words += SHORTER[words[1]]
    # A program that is run, and the demos, show what is written while a framework is imported.
    status, said = run(["-m", *words], folder, imported=words[1] in ("compare", "state", "verify"))
    # Differences that are found are a result; what cannot be done at all would be 2.
    assert status in (0, 1), said
    assert not_meant(said, page) == []


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)])
def test_a_program_says_nothing_that_is_not_meant_for_the_user(page: str, folder: Path) -> None:
    program = f"import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n{PRELUDES.get(page, '')}\n{python_of(page)}"
    # What is installed before an import acts while it happens.
    status, said = run(["-c", program], folder, imported=page != "docs/install.md")
    assert status == 0, said
    assert not_meant(said) == []


@pytest.mark.parametrize("page", [page for page in PAGES if ">>> " in (ROOT / page).read_text(encoding="utf-8")])
def test_a_dialogue_says_nothing_that_is_not_meant_for_the_user(page: str, folder: Path) -> None:
    program = (
        "import doctest, sys\nfrom adamcompat import TFStyleAdam\n"
        f"text = open({str(ROOT / page)!r}, encoding='utf-8').read()\n"
        "for example in doctest.DocTestParser().get_examples(text):\n"
        "    try:\n        exec(compile(example.source, 'page', 'single'))\n"
        "    except Exception:\n        assert example.exc_msg or 'Error: ' in example.want, example.source\n"
    )
    status, said = run(["-c", program], folder, imported=False)
    assert status == 0, said
    assert not_meant(said) == []


def test_every_page_with_examples_is_looked_at() -> None:
    assert len(COMMANDS) > 20
    assert {"README.md", "docs/translate.md", "docs/migrate.md", "docs/state.md", "docs/compare.md"} <= {
        page for page in PAGES if python_of(page) or commands_of(page) or ">>> " in (ROOT / page).read_text("utf-8")
    }


def test_the_judge_finds_noise() -> None:
    ours = (
        '[WARNING] ME(1:2,Main): [api.py:1] The function "values" at the file "adamcompat/x.py" has been compiled again'
    )
    for line in (
        ours,
        "Traceback (most recent call last):",
        "adamcompat/x.py:3: UserWarning: odd",
        "adamcompat: error",
    ):
        assert not_meant(line) == [line]
    meant = ("WARNING other-meaning: text", "a.py:1:2: INFO name-replaced: x", "1 file read, 1 with an Adam to migrate")
    for line in meant:
        assert not_meant(line) == []
