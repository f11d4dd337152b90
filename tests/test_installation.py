"""Names handed over and back, and programs run as python runs them; no framework needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import adamcompat
from adamcompat.installation import names
from adamcompat.installation.watcher import Watcher

ROOT = Path(__file__).resolve().parents[1]


def module_of_a_user(monkeypatch: pytest.MonkeyPatch, **namespace: Any) -> dict[str, Any]:
    """The namespace of an imported module."""
    module = ModuleType("users_program")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    vars(module).update(namespace)
    return vars(module)


def test_values_of_other_modules_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        pass

    class Deprecated:
        @property
        def __class__(self) -> Any:
            raise AssertionError("asked")

        @__class__.setter
        def __class__(self, value: Any) -> None: ...

    module_of_a_user(monkeypatch, old=Deprecated())
    assert names.replace({Old: Old}) == {Old: 0}


def test_names_and_entries_are_handed_over_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        pass

    class New(Old):
        pass

    inner = ModuleType("not_in_sys_modules")
    vars(inner)["Adam"] = Old
    found = module_of_a_user(
        monkeypatch,
        Adam=Old,
        again=Old,
        other=int,
        by_name={"adam": Old, "sgd": int},
        by_class={Old: "adam"},
        inner=inner,
        sequence=[Old],
    )
    before = {name: dict(value) if type(value) is dict else value for name, value in found.items()}

    assert names.replace({Old: New}) == {Old: 5}
    assert (found["Adam"], found["again"], found["other"], vars(inner)["Adam"]) == (New, New, int, New)
    assert (found["by_name"], found["by_class"]) == ({"adam": New, "sgd": int}, {Old: "adam", New: "adam"})
    assert found["sequence"] == [Old], "only names and dictionaries of names are handed over"

    found["imported_later"], found["registered_later"] = New, {New: 1}
    names.withdraw({New: Old})
    assert (found.pop("imported_later"), found.pop("registered_later")) == (Old, {Old: 1})
    assert {name: dict(value) if type(value) is dict else value for name, value in found.items()} == before
    assert vars(inner)["Adam"] is Old


def test_a_name_that_a_class_needs_for_itself_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
class Base:
    def __init__(self):
        self.made = True

class Child(Base):
    def __init__(self):
        Base.__init__(self)

class Modern(Base):
    def __init__(self):
        super().__init__()
"""
    decorated = """
def decorator(function):
    return lambda self: function(self)

class Base:
    @decorator
    def __init__(self):
        super(Base, self).__init__()
"""
    found = module_of_a_user(monkeypatch)
    exec(program.replace("Base", "Named"), found)
    named = found["Named"]
    assert names.replace({named: type("New", (named,), {})}) == {named: 0}
    assert found["Named"] is named

    found = module_of_a_user(monkeypatch)
    exec(decorated.replace("Base", "Decorated"), found)
    named = found["Decorated"]
    assert names.replace({named: type("New", (named,), {})}) == {named: 0}

    found = module_of_a_user(monkeypatch)
    exec(program.replace("Base.__init__(self)", "pass").replace("Base", "Modern_"), found)
    base = found["Modern_"]
    assert names.replace({base: type("New", (base,), {})}) == {base: 1}


def test_a_failure_half_way_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from adamcompat.installation import manager
    from adamcompat.installation.stand_in import Replacement, Use
    from adamcompat.mapping.tables import MAPPING

    class Stubborn(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            raise PermissionError("this module is read-only")

    class Old:
        pass

    class New(Old):
        pass

    # Modules are visited in the reverse order of their import.
    stubborn = Stubborn("stubborn")
    vars(stubborn)["Adam"] = Old
    items = dict(sys.modules)
    sys.modules.clear()
    try:
        sys.modules.update({"stubborn": stubborn, **items})
        found = module_of_a_user(monkeypatch, Adam=Old)
        entry = Replacement("x", MAPPING.adapters[0], Old, New, Use())
        with pytest.raises(PermissionError):
            manager._manager._commit([entry])
        assert found["Adam"] is Old
        assert entry not in manager._manager._replaced
    finally:
        sys.modules.pop("stubborn", None)


def test_installed_tells_and_nests() -> None:
    assert not adamcompat.installed()
    finders = list(sys.meta_path)
    with adamcompat.installed() as outer:
        assert adamcompat.installed()
        with adamcompat.installed():
            adamcompat.install()
            adamcompat.install()
        assert adamcompat.installed()
        adamcompat.uninstall()
        assert adamcompat.installed(), "the block is still open"
        assert "adamcompat: installed, not in use" in str(outer)
    assert not adamcompat.installed()
    assert outer.report.active, "it tells what was, at the end of the block"
    adamcompat.uninstall()
    assert sys.meta_path == finders


def test_threads_do_not_uninstall_for_each_other() -> None:
    failures: list[str] = []

    def work() -> None:
        for _ in range(6):
            with adamcompat.installed():
                if not adamcompat.installed():
                    failures.append("uninstalled within a block")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not adamcompat.installed()


def test_the_watcher_calls_back_once_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "watched_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    finished: list[tuple[str, int]] = []
    watcher = Watcher({"watched_module"}, lambda name: finished.append((name, sys.modules[name].value)))
    monkeypatch.setattr(sys, "meta_path", [watcher, *sys.meta_path])
    module = __import__("watched_module")
    assert finished == [("watched_module", 1)]
    assert "exec_module" not in vars(module.__loader__)
    with pytest.raises(ModuleNotFoundError):
        Watcher({"no_such_module"}, lambda name: None)
        __import__("no_such_module")


# What a program can tell about how it was started; python itself is the reference.
PROGRAM = """
import sys
import __main__
print(sys.argv[1:], __name__, __file__, __spec__ is None, __package__, sys.path[0])
print(sys.argv[0], __main__.__dict__ is globals(), __cached__ is None, __loader__.name)
class C: pass
import pickle
print(type(pickle.loads(pickle.dumps(C()))) is C)
"""


def python(*arguments: str, cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        input=text,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def both(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], ...]:
    """The same under python and under `adamcompat run`."""
    return python(*arguments, cwd=tmp_path), python("-m", "adamcompat", "run", *arguments, cwd=tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--report", "-m", "x", "--", "-h"], ["a b", ""]])
def test_a_script_is_run_as_python_runs_it(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.py").write_text(PROGRAM)
    theirs, ours = both(tmp_path, "folder/train.py", *arguments)
    assert theirs.returncode == 0
    assert (ours.stdout.splitlines(), ours.stderr, ours.returncode) == (theirs.stdout.splitlines(), "", 0)


def test_a_module_is_run_as_python_runs_it(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "train.py").write_text(PROGRAM)
    theirs, ours = both(tmp_path, "-m", "package.train", "--report", "--", "-m")
    assert theirs.returncode == 0
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, "", 0)


def test_a_folder_with_a_main_is_run(tmp_path: Path) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "__main__.py").write_text("import sys, helper\nprint(helper.word, sys.argv)\n")
    (tmp_path / "program" / "helper.py").write_text("word = 'found'\n")
    theirs, ours = both(tmp_path, "program", "x")
    assert (ours.stdout, ours.stderr) == (theirs.stdout, "")


@pytest.mark.parametrize(
    "program",
    [
        "def f():\n    raise ValueError('wrong')\nf()\n",
        "def (:\n",
        "import sys\nsys.exit(7)\n",
        "import sys\nsys.exit('a reason')\n",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e\n",
        "raise BrokenPipeError('the program says so')\n",
        "import atexit\natexit.register(lambda: print('at exit'))\nraise RuntimeError\n",
    ],
    ids=["error", "syntax", "status", "reason", "chained", "pipe", "atexit"],
)
def test_a_program_fails_as_under_python(tmp_path: Path, program: str) -> None:
    (tmp_path / "train.py").write_text(program)
    theirs, ours = both(tmp_path, "train.py")
    assert theirs.returncode != 0
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_a_program_as_under_python(tmp_path: Path) -> None:
    # Whoever runs the tests in the background of a shell has them ignore Ctrl-C.
    heed = "import os, signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    (tmp_path / "train.py").write_text(f"{heed}os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n")
    theirs, ours = both(tmp_path, "train.py")
    assert ours.returncode == theirs.returncode == -signal.SIGINT
    assert ours.stderr == theirs.stderr


def test_wrong_usage_of_run(tmp_path: Path) -> None:
    for arguments in ([], ["-m"], ["--no-such-option", "train.py"], ["nothing.py"]):
        result = python("-m", "adamcompat", "run", *arguments, cwd=tmp_path)
        assert result.returncode == 2, arguments
        assert "Traceback" not in result.stderr
    assert "can't open 'nothing.py'" in result.stderr


def test_run_imports_no_framework(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys\nprint({'tensorflow', 'keras', 'tf_keras', 'mindspore', 'numba'} & set(sys.modules))\n"
    )
    result = python("-m", "adamcompat", "run", "--report", "train.py", cwd=tmp_path)
    assert result.stdout == "set()\n"
    assert result.stderr.splitlines() == [
        "adamcompat: installed, not in use",
        "  tensorflow is not imported",
        "  mindspore is not imported",
        "  torch is not imported",
    ]


def test_a_process_started_by_spawn_runs_the_program_itself(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        """
import multiprocessing
def double(x):
    return 2 * x
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(double, [1, 2]))
"""
    )
    theirs, ours = both(tmp_path, "train.py")
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr) == ("[2, 4]\n", "")
