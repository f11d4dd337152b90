"""One odd file never ends the run of a folder: it is reported, and the others are done."""

from __future__ import annotations

import cProfile
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat import cli
from adamcompat.migrate import find, migrate, migrate_file, migrate_files, migrate_text, write

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = "import keras\nopt = keras.optimizers.Adam(1e-3)\n"


def notebook(*sources: str) -> str:
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": source} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def deep_call(arguments: str) -> str:
    return f"import keras\nopt = keras.optimizers.legacy.Adam(lr={arguments})\n"


# Files that are text, with the code of what is said.
ODD_TEXTS: dict[str, tuple[str, str]] = {
    "deep.ipynb": ('{"adam": ' + "[" * 100_000 + "]" * 100_000 + "}", "does-not-parse"),
    "sum.ipynb": (notebook(SCRIPT, "x = " + "+".join("1" * 50_000)), "does-not-parse"),
    "unary.ipynb": (notebook(SCRIPT, "x = " + "-" * 50_000 + "1"), "does-not-parse"),
    "worksheets.ipynb": (json.dumps({"worksheets": [{"cells": [{"input": SCRIPT}]}]}), "does-not-parse"),
    "number.ipynb": ('{"cells": [{"cell_type": "code", "source": "Adam"}, 3]}', "does-not-parse"),
    "list.ipynb": ('["Adam"]', "does-not-parse"),
    "no_json.ipynb": ("{'cells': Adam}", "does-not-parse"),
    "sum.py": (SCRIPT + "x = " + "+".join("1" * 50_000) + "\n", "does-not-parse"),
    "parentheses.py": (SCRIPT + "x = " + "(" * 500 + ")" * 500 + "\n", "does-not-parse"),
    "unary.py": (SCRIPT + "x = " + "-" * 50_000 + "1\n", "does-not-parse"),
    "null.py": (SCRIPT + "\0\n", "does-not-parse"),
    "undefined.py": ("# coding: undefined\n" + SCRIPT, "does-not-parse"),
    "unknown.py": ("# coding: nonsense\n" + SCRIPT, "does-not-parse"),
    "rot13.py": ("# coding: rot13\n" + SCRIPT, "does-not-parse"),
    "escapes.py": ("# coding: raw_unicode_escape\nx = '\\u0041'\n" + SCRIPT, "does-not-parse"),
    "python2.py": (SCRIPT + "print 'Adam'\n", "does-not-parse"),
}


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_an_odd_text_is_reported_and_the_other_files_are_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, code = ODD_TEXTS[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    for other in ("a.py", "zz.py"):
        (tmp_path / other).write_text(SCRIPT, encoding="utf-8")
    assert cli.main(["migrate", str(tmp_path), "--to", "shim", "--write"]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / name}" in said
    assert f"ERROR {code}: " in said
    assert "<unknown>" not in said
    for other in ("a.py", "zz.py"):
        assert "adamcompat" in (tmp_path / other).read_text(encoding="utf-8")


def test_a_cell_that_holds_the_mark_is_migrated_as_any_other() -> None:
    from adamcompat.migrate.notebook import migrate_notebook

    source = SCRIPT + "s = '''\n# adamcompat:cell:7\n# adamcompat:cell_:0\npass  # adamcompat:cell:h0\n'''\n%time x = 1"
    after, found = migrate_notebook(notebook(source, SCRIPT), "shim")
    first, second = (cell["source"] for cell in json.loads(after)["cells"])
    assert first == source.replace(SCRIPT, SCRIPT.replace("keras.opt", "adamcompat.tensorflow.opt")).replace(
        "import keras\nopt = adamcompat.tensorflow.optimizers.Adam",
        "import keras\nimport adamcompat.tensorflow\nopt = adamcompat.tensorflow.Adam",
    )
    assert "adamcompat.tensorflow.Adam(1e-3)" in second
    assert not [item for item in found if item.message.severity.value != "INFO"]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    held = socket.socket(socket.AF_UNIX)
    held.bind(str(path))
    held.close()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": make_fifo,
    "a socket": make_socket,
    "a link to itself": make_loop,
    "a link to nothing": make_dangling,
    "a link to a device": make_device,
}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")
@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_no_file_is_reported_not_waited_for(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("src")
    folder.mkdir()
    # Short, because the name of a socket is.
    ODD_FILES[kind](folder / "odd.py")
    (folder / "zz.py").write_text(SCRIPT, encoding="utf-8")
    assert cli.main(["migrate", "src", "src/odd.py", "--to", "shim", "--write"]) == 1
    said = capsys.readouterr().err
    assert said.count("src/odd.py: ERROR cannot-read: ") == 1
    assert "1 file read, 1 with an Adam to migrate" in said
    assert "adamcompat" in (folder / "zz.py").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="root becomes nobody for this")
def test_what_may_not_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "open.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "closed.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "inner.py").write_text(SCRIPT, encoding="utf-8")
    for name in ("closed.py", "closed"):
        (tmp_path / name).chmod(0)
    program = (
        "import os\nfrom pathlib import Path\nimport adamcompat.cli, adamcompat.migrate, libcst\nos.setuid(65534)\n"
        "from adamcompat.migrate import find, migrate_files\n"
        "for item in migrate_files(list(find([Path('open.py'), Path('closed.py'), Path('closed'), "
        "Path('closed/inner.py')])), 'shim'):\n"
        "    print(item.path, item.changed, [str(f.message) for f in item.findings if item.failed])\n"
    )
    tmp_path.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    for name in ("closed.py", "closed"):
        (tmp_path / name).chmod(0o700)
    if result.returncode:
        pytest.skip(f"nobody cannot use this Python: {result.stderr.splitlines()[-1]}")
    lines = result.stdout.splitlines()
    assert lines[0] == "open.py True []"
    assert [line.split(" ", 1)[0] for line in lines] == ["open.py", "closed.py", "closed", "closed/inner.py"]
    assert all("ERROR cannot-read: Permission denied" in line for line in lines[1:])


def test_a_fault_of_ours_is_reported_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import adamcompat.migrate.files as files

    def fail(*arguments: object) -> None:
        raise KeyError("odd")

    monkeypatch.setattr(files, "migrated", fail)
    path = tmp_path / "a.py"
    path.write_text(SCRIPT, encoding="utf-8")
    outcome = migrate_file(path, "shim")
    assert (outcome.changed, outcome.failed) == (False, True)
    assert "KeyError in adamcompat" in outcome.findings[0].message.text


def test_a_process_that_dies_takes_one_file_with_it(tmp_path: Path) -> None:
    """A parser that overflows its stack ends the process, whatever catches what."""
    for number in range(220):
        (tmp_path / f"{number:03}.py").write_text("deadly Adam" if number == 37 else SCRIPT, encoding="utf-8")
    program = (
        "import os, sys\nfrom pathlib import Path\nimport adamcompat.migrate.files as files\n"
        "plain = files.migrated\n"
        "def deadly(text, *rest):\n    return os._exit(9) if text.startswith('deadly') else plain(text, *rest)\n"
        "files.migrated = deadly\nfiles.processors = lambda: 2\n"
        "for item in files.migrate_files(list(files.find([Path(sys.argv[1])])), 'shim'):\n"
        "    print(item.path.name, item.changed, [str(f.message) for f in item.findings if item.failed])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=300,
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert [line[:3] for line in lines] == [f"{number:03}" for number in range(220)]
    assert [line for line in lines if not line.endswith("True []")] == [
        "037.py False ['ERROR cannot-read: the process that read it ended abruptly; left alone']"
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "+".join("1" * 700),
        "-" * 700 + "1",
        "a" + ".b" * 700,
        "f" + "()" * 700,
        " and ".join("x" * 20_000),
        "'a'" * 20_000,
        "[x " + "for x in y " * 5_000 + "]",
        "1" + " if x else 1" * 700,
        "**".join("1" * 700),
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("to", ["shim", "tensorflow", "mindspore"])
def test_a_deep_expression_is_rewritten_or_reported(expression: str, to: str) -> None:
    """LibCST's parser ends the process where an expression is too deep for it."""
    program = (
        "import sys\nfrom adamcompat.migrate import migrate_text\ntext = sys.stdin.read()\n"
        "after, found = migrate_text(text, sys.argv[1])\nassert after != text or found\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, to], input=deep_call(expression), capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")


def test_what_python_warns_of_in_a_file_is_not_ours_to_say() -> None:
    text = SCRIPT + "pattern = '\\d'\nif 1 is 1: pass\n"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "adamcompat", "translate", "keras.optimizers.Adam('\\d')", "--to", "tf1"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Warning" not in result.stderr
    assert "adamcompat.tensorflow.Adam" in migrate_text(text, "shim")[0]


def calls(text: str, to: str) -> int:
    """How many functions are called to migrate a text."""
    profile = cProfile.Profile()
    profile.enable()
    after, _ = migrate_text(text, to)
    profile.disable()
    assert after != text
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("letter", ["a", "é"])
@pytest.mark.parametrize("to", ["shim", "mindspore", "tensorflow"])
def test_a_long_line_takes_no_more_calls_than_a_short_one(to: str, letter: str) -> None:
    """Nothing walks over a line letter by letter: what that takes grows with the line, and faster than it."""
    kind = "keras.optimizers.legacy.Adam(1e-3)"

    def script(length: int) -> str:
        return f"import keras\nm = 1\ns = '{letter * length}'; opt = {kind}\nopt.apply_gradients(zip(g, m))\n"

    migrate_text(script(1), to)
    assert calls(script(400_000), to) - calls(script(10), to) < 4_000


# What is written.


def test_a_file_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT, encoding="utf-8")
    outcome = migrate_file(path, "shim")
    path.write_text("# edited\n" + SCRIPT, encoding="utf-8")
    failed = write(outcome)
    assert failed.failed
    assert "changed meanwhile" in failed.findings[-1].message.text
    assert path.read_text(encoding="utf-8") == "# edited\n" + SCRIPT


def test_the_output_of_another_encoding_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import keras\ns = '日本'; opt = keras.optimizers.Adam()\n", encoding="utf-8")
    (tmp_path / "b.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "adamcompat", "migrate", str(tmp_path), "--to", "shim"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run(command, capture_output=True, check=False, env=environment)
    said = result.stderr.decode("cp1252")
    assert result.returncode == 1
    assert "a.py: ERROR cannot-show: the output is in cp1252, which lacks '\\u65e5\\u672c'" in said
    assert b"+opt = adamcompat.tensorflow.Adam(1e-3)" in result.stdout
    assert b"b.py" in result.stdout and b"a.py" not in result.stdout
    written = subprocess.run([*command, "--write"], capture_output=True, check=False, env=environment)
    assert written.returncode == 0
    assert "日本" in (tmp_path / "a.py").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no text")
def test_a_name_that_is_no_text_is_shown_as_its_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.py"
    Path(os.fsdecode(name)).write_text(SCRIPT, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "adamcompat", "migrate", str(tmp_path), "--to", "shim"],
        capture_output=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    assert (result.returncode, b"/\xff.py" in result.stdout) == (0, True)


def test_the_run_ends_with_how_many_files_were_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "b.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "c.py").write_text("import paddle\nopt = paddle.optimizer.Adam(parameters=p)\n", encoding="utf-8")

    def last(*arguments: str) -> tuple[int, str]:
        status = cli.main(["migrate", str(tmp_path), "--to", "shim", *arguments])
        return status, capsys.readouterr().err.splitlines()[-1]

    assert last() == (0, "3 files read, 2 with an Adam to migrate: 1 to change, 1 to look at (WARNING, ERROR)")
    assert last("--write") == (0, "3 files read, 2 with an Adam to migrate: 1 changed, 1 to look at (WARNING, ERROR)")
    assert last("--check") == (1, "3 files read, 1 with an Adam to migrate: 1 to look at (WARNING, ERROR)")
    (tmp_path / "c.py").unlink()
    assert last("--check") == (0, "2 files read, none with an Adam to migrate")
    (tmp_path / "b.py").unlink()
    assert last("--check") == (0, "1 file read, none with an Adam to migrate")


def test_many_files_are_found_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.py", "a.py"):
        (tmp_path / name).write_text(SCRIPT, encoding="utf-8")
    found = list(find([tmp_path, tmp_path / "b.py"]))
    assert [path.name for path in found] == ["a.py", "b.py", "b.py"]
    assert all(outcome.changed for outcome in migrate_files(found, "shim"))


ODD_NAMES = ["a b.py", "tab\there.py", "line\nend.py", 'quo"te.py', "back\\slash.py", "é.py", "-dash.py", "\x01.py"]


@pytest.mark.skipif(os.name != "posix", reason="names that only POSIX systems allow")
@pytest.mark.parametrize("tool", [("git", "apply", "-p1"), ("patch", "-p1", "-s", "-i")], ids=["git", "patch"])
def test_a_diff_can_be_applied_whatever_the_names_are(
    tool: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"needs {tool[0]}")
    folder = tmp_path / "the code"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / name).write_text(SCRIPT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all.diff").write_text(migrate("the code", "shim").diff, encoding="utf-8")
    done = subprocess.run([*tool, "all.diff"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ODD_NAMES:
        assert "adamcompat" in (folder / name).read_text(encoding="utf-8"), name


@pytest.mark.skipif(os.name != "posix", reason="names that only POSIX systems allow")
@pytest.mark.parametrize("options", [(), ("--report",)], ids=["findings", "report"])
def test_a_name_cannot_write_lines_of_its_own(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a\n::error::b\x1b[1m.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    cli.main(["migrate", ".", "--to", "shim", "--check" if not options else options[0]])
    output = "".join(capfd.readouterr())
    assert "a\\n::error::b\\x1b[1m.py:2:7: " in output
    assert not any(line.startswith("::") for line in output.splitlines())


def test_a_file_that_is_named_twice_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "code"
    (code / "inner").mkdir(parents=True)
    (code / "a.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    names = ["code", "code/a.py", str(code), "code/inner/../a.py", "./code"]
    assert migrate(names, "shim").looked_at == 1
    assert cli.main(["migrate", *names, "--to", "shim", "--report", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["found"], report["looked_at"]) == (1, 1)
    assert report["constructions"][0]["path"] == str(Path("code/a.py"))


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_is_another_name_and_leads_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "far" / "inner").mkdir(parents=True)
    for path in (tmp_path / "a.py", tmp_path / "far" / "a.py"):
        path.write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "link").symlink_to("far/inner")
    (tmp_path / "b.py").symlink_to("a.py")
    names = [tmp_path / "a.py", tmp_path / "b.py", tmp_path / "link/../a.py", tmp_path / "far/a.py"]
    assert migrate(names, "shim").looked_at == 3
