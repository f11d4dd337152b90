"""`adamcompat doctor` says what is installed and what is known to go wrong with it."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import pytest

from adamcompat import cli
from adamcompat.extras import EXTRAS
from adamcompat.installation import doctor
from adamcompat.installation.doctor import TESTED, TESTED_PYTHON, Examination, examine

ROOT = Path(__file__).parent.parent
PYTHON = TESTED_PYTHON[1]
WHOLE = {
    "numpy": "1.26.4",
    "numba": "0.68.1",
    "tensorflow": "2.21.0",
    "tf-keras": "2.21.0",
    "keras": "3.15.1",
    "mindspore": "2.10.0",
    "protobuf": "7.0.0",
    "torch": "2.13.0+cpu",
    "safetensors": "0.8.0",
    "h5py": "3.14.0",
    "PyYAML": "6.0.3",
    "matplotlib": "3.11.2",
    "libcst": "1.9.0",
}


def changed(**versions: str | None) -> Examination:
    """Return the examination of an environment in which these versions are others."""
    return examine(WHOLE | {name.replace("_", "-"): version for name, version in versions.items()}, PYTHON)


def test_nothing_is_said_of_an_environment_that_was_tested() -> None:
    found = changed()
    assert (found.faults, found.remarks) == ((), ())
    pairs = dict(pair for pairs in found.stand_ins.values() for pair in pairs)
    assert pairs["tf.compat.v1.train.AdamOptimizer"] == "adamcompat.tensorflow.v1.AdamOptimizer"
    assert pairs["mindspore.nn.AdamWeightDecay"] == "adamcompat.mindspore.AdamWeightDecay"
    assert pairs["torch.optim.AdamW"] == "adamcompat.torch.AdamW"


@pytest.mark.parametrize(
    ("versions", "about", "mend"),
    [
        ({"numpy": "2.2.0"}, "numpy", "pip install 'numpy<2'"),
        ({"mindspore": "2.7.0"}, "mindspore", "pip install 'mindspore>=2.7.1'"),
        ({"tensorflow": "2.15.1"}, "tensorflow", "pip install 'tensorflow>=2.16'"),
        ({"keras": "3.2.0"}, "keras", "pip install 'keras>=3.3'"),
        ({"tf_keras": None}, "tf-keras", "pip install 'tensorflow>=2.16' 'tf-keras>=2.16' 'keras>=3.3'"),
        ({"torch": "2.5.1"}, "torch", "pip install 'torch>=2.6'"),
        ({"numba": "0.60.0"}, "numba", "pip install 'numba>=0.61'"),
        ({"mindspore": "2.8.0"}, "protobuf", "pip install 'protobuf<3.21'"),
        ({"triton": "3.7.1"}, "triton", "pip uninstall triton"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_version_that_fails_is_a_fault_and_how_to_mend_it_is_said(
    versions: dict[str, str | None], about: str, mend: str
) -> None:
    assert (about, mend) in [(fault.about, fault.mend) for fault in changed(**versions).faults]


def test_versions_that_do_not_meet_are_no_fault() -> None:
    assert changed(numpy="2.2.0", mindspore=None).faults == ()
    assert changed(triton="3.7.1", mindspore=None).faults == ()
    assert changed(mindspore="2.8.0", protobuf="3.20.3").faults == ()
    assert changed(mindspore="2.8.0", tensorflow=None, keras=None, tf_keras=None).faults == ()


def test_an_older_python_is_a_fault_and_a_newer_one_a_remark() -> None:
    assert [fault.about for fault in examine(WHOLE, (3, 9)).faults] == ["Python"]
    newer = examine(WHOLE, (3, 99))
    assert (newer.faults, [remark.about for remark in newer.remarks]) == ((), ["Python"])


def test_what_an_older_framework_does_otherwise_is_said() -> None:
    said = [remark.what for remark in changed(keras="3.4.1").remarks]
    assert any("keras.optimizers.Adam" in text and "gradient_accumulation_steps" in text for text in said)
    assert any("tf.distribute" in text for text in said)
    assert not any("tf.distribute" in remark.what for remark in changed(keras="3.5.0").remarks)


@pytest.mark.parametrize("name", sorted(TESTED))
def test_what_is_newer_than_the_tests_is_said_and_can_be_measured(name: str) -> None:
    major, minor = map(int, TESTED[name].split("."))
    found = examine(WHOLE | {"mindspore": None} | {name: f"{major}.{minor + 1}.0"}, PYTHON)
    remarks = {remark.about: remark.mend for remark in found.remarks}
    assert list(remarks) == [name]
    assert remarks[name] == ("" if name in ("numpy", "numba") else "adamcompat verify")


@pytest.mark.parametrize("extra", sorted(doctor.PURPOSES))
def test_what_is_missing_is_said_with_the_command_that_installs_it(extra: str) -> None:
    absent = {doctor.required(text)[0]: None for text in EXTRAS[extra]}
    found = examine(WHOLE | {"mindspore": None} | absent, PYTHON)
    assert found.faults == ()
    assert f"pip install '{EXTRAS[extra][0]}'" in found.remarks[0].mend


def test_the_newest_tested_versions_are_those_of_the_constraints_and_of_the_matrix() -> None:
    pinned = dict(
        re.findall(r"^([\w-]+)==(\d+\.\d+)", (ROOT / "scripts/constraints.txt").read_text("utf-8"), re.MULTILINE)
    )
    pinned["keras"] = re.findall(
        r"^keras==(\d+\.\d+)", (ROOT / "scripts/constraints.txt").read_text("utf-8"), re.MULTILINE
    )[0]
    # MindSpore pins NumPy down; the environments without it have newer ones.
    newest = re.findall(
        r"^\| 3\.13-light \| [\d.]+ \| (\d+\.\d+)", (ROOT / "docs/matrix.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name: pinned[name] for name in TESTED if name != "numpy"} | {"numpy": newest[0]} == TESTED


def test_the_tested_pythons_are_those_that_the_package_names() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    named = [tuple(map(int, one.split("."))) for one in re.findall(r"Python :: (3\.\d+)", text)]
    assert (min(named), max(named)) == TESTED_PYTHON
    assert f'requires-python = ">={min(named)[0]}.{min(named)[1]}"' in text


def test_the_command_gives_the_verdict_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "installed_versions", lambda: WHOLE)
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Nothing that is installed is known to fail."
    assert "adamcompat.torch.Adam stands in for torch.optim.Adam" in lines
    monkeypatch.setattr(doctor, "installed_versions", lambda: WHOLE | {"numpy": "2.2.0"})
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "1 fault found.",
        "fault: numpy: 2.2.0 does not work with mindspore.",
        "      pip install 'numpy<2'",
    ]


def test_programs_can_read_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed_versions", lambda: WHOLE | {"torch": None})
    assert cli.main(["doctor", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] is None
    assert "torch" not in found["stand_ins"]
    assert found["stand_ins"]["mindspore"][0] == ["mindspore.nn.Adam", "adamcompat.mindspore.Adam"]


@pytest.mark.parametrize(
    ("versions", "faults"),
    [
        ({"mindspore": "2.7.1+ascend"}, []),
        ({"torch": "2.6+cpu"}, []),
        ({"torch": "v2.6.0a0+git1234"}, []),
        ({"numba": "0.61rc1"}, []),
        ({"tensorflow": "2.16.0.dev20240101"}, []),
        ({"numpy": "2rc1"}, ["numpy"]),
        ({"torch": "1!0.1"}, ["torch"]),
        ({"keras": "3.2+local.9"}, ["keras"]),
    ],
    ids=lambda value: "".join(value.values()) if isinstance(value, dict) else "",
)
def test_what_stands_behind_a_versions_numbers_does_not_make_it_older(
    versions: dict[str, str | None], faults: list[str]
) -> None:
    found = changed(**{"protobuf": "3.20.3", **versions}).faults
    assert [fault.about for fault in found] == faults


@pytest.mark.parametrize("version", ["", "unknown", "dev"])
def test_of_a_version_without_numbers_nothing_is_said(version: str) -> None:
    found = examine(dict.fromkeys(WHOLE, version), PYTHON)
    assert (found.faults, found.remarks) == ((), ())


def test_a_framework_under_another_name_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str | None:
        if name in ("tensorflow-cpu", "numpy", "torch"):
            return None if name == "torch" else "2.21.0"
        raise KeyError("Version") if name == "numba" else metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    found = doctor.installed_versions()
    assert {name: version for name, version in found.items() if version} == {"numpy": "2.21.0", "tensorflow": "2.21.0"}


def test_the_asked_executor_is_shown_as_it_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", "[bold]x")
    monkeypatch.setattr(doctor, "installed_versions", lambda: WHOLE)
    cli.main(["doctor"])
    assert "(ADAMCOMPAT_EXECUTOR=[bold]x)" in capsys.readouterr().out
