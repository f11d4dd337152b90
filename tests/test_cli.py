"""The command line, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adamcompat
import adamcompat.cli as cli
import adamcompat.demo as demo
from adamcompat.drive.catalogue import entries
from adamcompat.extras import EXTRAS, how_to_install
from adamcompat.mapping.tables import MAPPING
from tests import processes
from tests.combinations import chosen

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adamcompat", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_demo_says_the_result_first_and_then_the_outputs() -> None:
    result = run("demo", COLUMNS="200")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "Same bits? Yes: both calls end in the same bits.",
        "How far from float64? 5.0e-06 at most.",
        "Against the originals? The same bits as TensorFlow 1's, MindSpore's and PyTorch's Adam, as recorded; "
        "--runtime trains them here.",
    ]
    assert lines[4].startswith("The network: One dense layer of two inputs and two outputs")
    assert lines.count("      5.89988756  11.10011292") == lines.count("     12.29980755  24.70019531") == 2
    assert lines[-2:] == ["      5.89988898  11.10011102", "     12.29980970  24.70019030"]


def test_demo_prints_the_table_when_it_is_asked_to() -> None:
    assert "same name, other meaning" not in run("demo").stdout
    result = run("demo", "--table", COLUMNS="80")
    assert result.stdout.startswith("Same bits? Yes")
    assert "weight_decay = None -> weight_decay = 0.0: same name, other meaning" in result.stdout


@pytest.mark.parametrize("columns", [40, 80])
def test_demo_breaks_no_word_and_no_number(columns: int) -> None:
    found = [run("demo", COLUMNS=str(width)).stdout for width in (columns, 200)]
    narrow, wide = (text.split() for text in found)
    assert max(map(len, found[0].splitlines())) <= columns
    assert narrow == wide


def test_the_truth_of_the_demo_is_its_float64_run() -> None:
    for result in demo.run(lambda: None, np.float64):
        np.testing.assert_allclose(result.output, demo.TRUTH, rtol=0, atol=1e-8)


def test_a_demo_whose_styles_differ_exits_with_1(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    results = [demo.Result("one", demo.TRUTH), demo.Result("other", demo.TRUTH + 1)]
    monkeypatch.setattr(demo, "run", lambda advance: results)
    assert cli.main(["demo"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("Same bits? No: one and other differ.")
    assert "How far from float64? 1.0e+00 at most." in out


def test_a_demo_that_differs_from_what_was_recorded_says_how_far(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    results = [demo.Result("one", demo.RECORDED + 0.5), demo.Result("other", demo.RECORDED + 0.5)]
    monkeypatch.setattr(demo, "run", lambda advance: results)
    assert cli.main(["demo"]) == 0
    assert "Against the originals? 5.0e-01 at most from TensorFlow 1's, MindSpore's" in capsys.readouterr().out


def test_table_has_the_same_rows_in_every_format() -> None:
    rows = json.loads(run("table", "--from", "tf26", "--format", "json").stdout)["rows"]
    for form in ("rich", "markdown", "csv", "html"):
        result = run("table", "--from", "tf26", "--to", "mindspore", "--format", form, COLUMNS="200")
        assert (result.returncode, result.stderr) == (0, "")
        for row in rows:
            assert (row["source"] or row["target"]) in result.stdout


def test_the_table_as_a_page_is_for_narrow_screens_and_for_dark_ones() -> None:
    text = run("table", "--format", "html").stdout
    assert '<meta name="viewport" content="width=device-width' in text
    assert "@media(prefers-color-scheme:dark)" in text
    assert re.search(r'<div class="wide" role="region" aria-label="[^"]+" tabindex="0">\n<table>', text)
    assert ".wide{overflow-x:auto" in text
    assert '<td class="note">Keep an exponential moving average of the parameters.</td>' in text


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_names_are_whole_in_a_narrow_terminal(columns: str) -> None:
    text = run("table", COLUMNS=columns).stdout
    for name in ("gradient_accumulation_steps", "use_nesterov", "epsilon", "eps"):
        assert re.search(rf"(^| ){name} ", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("kears3", "did you mean keras3?"),
        ("mindspor", "did you mean mindspore?"),
        ("x", f"known: {', '.join(MAPPING.dialects)}"),
    ],
)
def test_an_unknown_dialect_gets_a_suggestion(name: str, hint: str) -> None:
    result = run("table", "--from", name)
    assert result.returncode == 2
    assert f"unknown dialect '{name}'" in result.stderr
    assert hint in result.stderr


def test_a_table_says_what_a_step_computes_differently() -> None:
    arguments = ("table", "--from", "keras3_adamw", "--to", "mindspore_adamweightdecay", "--format", "csv")
    rows = {row["keras3_adamw"]: [*row.values()][1:] for row in csv.DictReader(run(*arguments).stdout.splitlines())}
    assert rows["bias correction"][:5] == ["bias correction", "both", "bias correction", "none", "other computation"]
    assert "3.16, 6.53 and 1.26 times as long at t = 1, 10 and 1,000" in rows["bias correction"][5]
    assert rows["epsilon"][1:5] == ["1e-07", "eps", "1e-06", "renamed, other default"]
    assert rows["weight_decay"][1:5] == ["0.004", "weight_decay", "0.0", "other default"]
    assert "bias correction" not in run("table", "--format", "csv").stdout


def test_the_help_of_compare_lists_every_original() -> None:
    text = " ".join(run("compare", "--help").stdout.split())
    for entry in entries():
        assert entry.adapter is not None or re.search(rf"\b{entry.name}\b", text), entry.name


def test_a_dialect_can_be_named_by_its_class() -> None:
    by_class = run("table", "--from", "tf.keras.optimizers.Adam", "--to", "mindspore.nn.Adam", "--format", "csv")
    assert by_class.stdout == run("table", "--format", "csv").stdout


@pytest.mark.parametrize("arguments", [(), ("dance",), ("table", "--format", "pdf"), ("demo", "--runtime")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "usage: adamcompat" in result.stderr


def test_help_has_examples() -> None:
    for arguments in (("--help",), ("table", "--help")):
        result = run(*arguments)
        assert result.returncode == 0
        assert "adamcompat table --from tf26 --to mindspore" in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"adamcompat {adamcompat.__version__}\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("migrat", "did you mean migrate?"), ("tabel", "did you mean table?"), ("dance", "known: table,")],
)
def test_a_misspelt_command_gets_a_suggestion(name: str, hint: str) -> None:
    result = run(name, "--to", "shim")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"adamcompat: error: there is no command '{name}'; {hint}")


@pytest.mark.parametrize(("name", "meant"), [("keras", "keras3"), ("keras_adamw", "keras3_adamw")])
def test_originals_have_the_names_that_compare_has_for_them(name: str, meant: str) -> None:
    assert run("table", "--from", name, "--format", "csv").stdout.startswith(f"kind,{meant},")
    call = ("translate", "torch.optim.AdamW(p, weight_decay=0.1)", "--to")
    assert run(*call, name).stdout == run(*call, meant).stdout != ""


# Small, with no framework.
LIGHT = ("float64", "adamcompat.TFStyleAdam")
WORKING = {
    "table": ("table",),
    "table as csv": ("table", "--format", "csv"),
    "translate": ("translate", "nn.Adam(p)", "--to", "keras3"),
    "migrate": ("migrate", "train.py", "--to", "shim"),
    "migrate as json": ("migrate", "train.py", "--to", "shim", "--format", "json"),
    "compare": ("compare", *LIGHT, "--steps", "3"),
    "compare as json": ("compare", *LIGHT, "--steps", "3", "--format", "json"),
    "demo": ("demo",),
    "doctor": ("doctor",),
    "help": ("--help",),
    "help of a command": ("compare", "--help"),
    "version": ("--version",),
}


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("libcst") is None:
        pytest.skip("needs LibCST: pip install libcst")
    (tmp_path / "train.py").write_text("import keras\nopt = keras.optimizers.Adam()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # To load Numba takes most of the time of the commands that compute, and is no matter of what they write.
    monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", "numpy")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("case", WORKING)
@pytest.mark.usefixtures("script")
def test_a_full_disk_is_said(case: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "adamcompat", *WORKING[case]], stdout=full, stderr=subprocess.PIPE, text=True,
            check=False, env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "adamcompat: cannot write the output: No space left on device"
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("case", WORKING)
@pytest.mark.usefixtures("script")
def test_a_reader_that_has_left_is_no_error_for_any_command(case: str, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", *WORKING[case]], stdout=writer, stderr=subprocess.PIPE, text=True,
        check=False, env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr


# Each command with two ways of closing, and each way with many commands.
EVERY = [(case, closed) for case in WORKING for closed in (">&-", ">&- 2>&-", "2>&-", "<&-")]
CLOSED = [EVERY[i] for i in chosen([(i // 4, i % 4) for i in range(len(EVERY))], times=2)]


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(("case", "closed"), CLOSED)
@pytest.mark.usefixtures("script")
def test_closed_files_are_no_reason_to_fail(case: str, closed: str) -> None:
    command = shlex.join([sys.executable, "-m", "adamcompat", *WORKING[case]])
    result = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("case", ["table", "demo", "compare", "help"])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.usefixtures("script")
def test_any_encoding_will_do(case: str, encoding: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", *WORKING[case]], capture_output=True, check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, b"")
    assert len(result.stdout.decode(encoding)) > 500


# Arguments that no command can do anything with, with what is said.
ABSURD: dict[tuple[str, ...], str] = {
    ("compare", *LIGHT, "--steps", "9" * 23): "steps must be at most 10,000,000, got about 1e+23",
    ("compare", *LIGHT, "--steps", "9" * 400): "steps must be at most 10,000,000, got far more",
    ("compare", *LIGHT, "--steps", "0"): "steps must be at least 1, got 0",
    ("compare", *LIGHT, "--steps", "-5"): "steps must be at least 1, got -5",
    ("compare", *LIGHT, "--steps", "1e3"): "argument --steps: invalid int value: '1e3'",
    ("compare", *LIGHT, "--steps", ""): "argument --steps: invalid int value: ''",
    ("compare", *LIGHT, "--seed", "-1"): "the seed must be at least 0, got -1",
    ("compare", *LIGHT, "--shape", "99999999x99999999"): "the shapes have about 1e+16 elements; 1,000,000,000 are",
    ("compare", *LIGHT, "--shape", "0x3"): "'0x3' is no shape such as 64x32 or 10",
    ("compare", *LIGHT, "--shape", "-3"): "'-3' is no shape such as 64x32 or 10",
    ("compare", *LIGHT, "--tolerance", "nan"): "tolerance must be at least 0, got nan",
    ("compare", *LIGHT, "--tolerance", "-1"): "tolerance must be at least 0, got -1.0",
    ("compare", *LIGHT, "--set", "learning_rate=1e999"): "learning_rate must lie in the finite numbers, got inf",
    ("compare", *LIGHT, "--set", "beta_1=5"): "beta_1 must lie in [0, 1), got 5.0",
    ("compare", *LIGHT, "--set", "learning_rate"): "'learning_rate' is not of the form name=value",
    ("compare", *LIGHT, "--set", "learning_rate=nan"): "'nan' is no number",
    ("compare", *LIGHT, "--gradients", "."): ". is no file; adamcompat.record(optimizer, path) writes one",
    ("compare", *LIGHT, "--gradients", ""): "a path is empty; name a file or folder",
    ("compare", *LIGHT, "--html", "."): ".: it is a folder, and no file; give the name of a file",
    ("compare", *LIGHT, "--html", "/dev/null"): "/dev/null: it is a device, and no file; give the name of a file",
    ("compare", *LIGHT, "--html", "none/page.html"): "none/page.html: the folder does not exist; make it first",
    ("compare", "float64"): "got 1 optimizers; name at least two to compare",
    ("compare", "float64", "float64"): "'float64' is given twice",
    ("compare", "keras", "kears"): "unknown optimizer 'kears'; did you mean 'keras",
    ("compare", "adamcompat.tensorflow.Adam", "mindspore", "nonsense"): "unknown optimizer 'nonsense'",
    ("compare", "keras", "mindspore", "--steps", "0"): "steps must be at least 1, got 0",
    ("compare", "keras(", "mindspore"): "'keras(' is not a name with hyperparameters such as",
    ("compare", "keras", "recorded"): "'recorded' stands for the parameters of a recording; give one as gradients",
    ("table", "--from", ""): "unknown dialect ''; known: keras3",
    ("translate", "", "--to", "keras3"): "there is no call; expected something like",
    ("translate", "x = 1\nf(", "--to", "keras3"): "not valid Python in line 2: '(' was never closed",
    ("translate", "Adam(0.1)", "--to", "chainer"): "unknown dialect 'chainer'",
    ("migrate", "none.py", "--to", "shim"): "adamcompat migrate: none.py does not exist",
    ("migrate", "", "--to", "shim", "--write"): "a path is empty; name a file or folder",
    ("verify", "--mapping", "."): "cannot read .: Is a directory",
    ("verify", "--mapping", ""): "a path is empty; name a file or folder",
    ("verify", "--runtime", "pytorch"): "invalid choice: 'pytorch'",
    ("demo", "--runtime", "jax"): "invalid choice: 'jax'",
    ("demo", "--runtime", ""): "invalid choice: ''",
    ("state", "show", "none.ckpt"): "none.ckpt: there is no such file",
    ("state", "show", ""): "a path is empty; name a file",
    ("state", "convert", "none.ckpt", ""): "a path is empty; name a file",
    ("run", ""): "adamcompat run: can't open '': no such file or folder",
    ("run", "none.py"): "adamcompat run: can't open 'none.py': no such file or folder",
    ("run",): "name a script, or -m and a module",
}
# What shows that a framework was loaded.
LOADED = """
import sys
from adamcompat.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(status, sorted({"tensorflow", "keras", "tf_keras", "mindspore"} & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", ABSURD, ids=lambda arguments: " ".join(arguments)[:60])
def test_absurd_arguments_are_refused_before_a_framework_is_loaded(arguments: tuple[str, ...], tmp_path: Path) -> None:
    if arguments[0] == "migrate" and find_spec("libcst") is None:
        pytest.skip("needs LibCST: pip install libcst")
    result = processes.run(
        ["-c", LOADED, *arguments], environment=os.environ | {"PYTHONPATH": str(ROOT)},
        imported=("adamcompat.cli", "adamcompat.comparison"), folder=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "2 []"
    assert ABSURD[arguments] in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_or_module_without_a_program_is_said_as_python_says_it(tmp_path: Path) -> None:
    for arguments, said in (
        ((str(tmp_path),), f"adamcompat run: can't find '__main__' module in {str(tmp_path)!r}"),
        (("-m", "nonsense_module"), "adamcompat run: no module named nonsense_module"),
        (("-m", "json.nonsense"), "No module named json.nonsense"),
    ):
        result = run("run", *arguments)
        assert result.returncode == 1
        assert said in result.stderr
        assert "Traceback" not in result.stderr


def test_the_command_line_hushes_tensorflow_unless_the_user_wants_to_hear_it(tmp_path: Path) -> None:
    program = "import os, adamcompat.cli as cli; cli.main({}); print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'))"
    (tmp_path / "p.py").write_text("pass", encoding="utf-8")

    def level(arguments: list[str], **environment: str) -> str:
        clean = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        result = subprocess.run(
            [sys.executable, "-c", program.format(arguments)], capture_output=True, text=True, check=True,
            env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        )  # fmt: skip
        return result.stdout.splitlines()[-1]

    assert level(["table"]) == "3"
    assert level(["table"], TF_CPP_MIN_LOG_LEVEL="0") == "0"
    # A program is run as it is.
    assert level(["run", str(tmp_path / "p.py")]) == "None"


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupt)
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "adamcompat: interrupted\n"


# What to install.


def test_the_extras_are_those_of_the_project() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: tuple(found) for name, found in project["optional-dependencies"].items()}
    assert extras == EXTRAS | {name: extras[name] for name in ("docs", "dev")}


def test_hints_name_packages_that_an_index_has() -> None:
    """This package is on none: what its checkout says to install must work beside the checkout."""
    assert how_to_install("mindspore") == "pip install 'mindspore>=2.7.1' 'numba>=0.61' 'numpy<2'"
    for path in (ROOT / "adamcompat").rglob("*.py"):
        assert "adamcompat[" not in path.read_text(encoding="utf-8"), path


def test_a_demo_without_its_framework_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from adamcompat.mapping import runtimes

    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert cli.main(["demo", "--runtime", "mindspore"]) == 1
    assert capsys.readouterr().err == f"adamcompat demo: mindspore is not installed: {how_to_install('mindspore')}\n"
    assert cli.main(["demo", "--runtime", "tensorflow"]) == 1
    assert "tensorflow and keras and tf_keras are not installed: pip install " in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m adamcompat table --format html | head -c 10"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("<!doctype ", "")
