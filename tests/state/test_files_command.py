"""``adamcompat state``, as a user runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import adamcompat.cli as cli
from adamcompat.state import AdamState
from adamcompat.state.files import read, write

pytest.importorskip("safetensors", reason="needs safetensors: pip install 'adamcompat[files]'")
pytest.importorskip("yaml", reason="needs PyYAML: pip install 'adamcompat[files]'")

BETAS = {"beta1": 0.9, "beta2": 0.999}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    kernel = np.arange(20, dtype=np.float32).reshape(4, 5)
    moments = {"net/fc/kernel": kernel, "net/out/kernel": kernel + 1}
    other = {"first.weight": np.zeros((5, 4), np.float32), "second.weight": np.zeros((5, 4), np.float32)}
    for name, convention, step, tensors in (("run", "tensorflow", 12, moments), ("fresh", "mindspore", 0, other)):
        state = AdamState(
            step=step,
            first_moment=tensors,
            second_moment=tensors,
            parameters=tensors,
            hyperparameters=BETAS,
            convention=convention,
        )
        write(tmp_path / f"{name}.safetensors", state)
        if name == "fresh":
            write(tmp_path / "fresh.ckpt", state)
    return tmp_path


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["state", "show", "run.safetensors"]) == 0
    shown = capsys.readouterr().out
    norm = f"{np.linalg.norm(np.arange(20)):.6g}"
    line = next(line for line in shown.splitlines() if "net/fc/kernel" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["net/fc/kernel", "(4,5)", "float32", norm, norm, norm]
    assert "AdamState(step 12, 2 parameters, 40 elements" in shown
    assert "beta1=0.9" in shown


def test_convert_with_a_map(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "map.yaml").write_text(
        "rename: {net/fc/kernel: first.weight, net/out/kernel: second.weight}\nlayout: {net/fc/kernel: [1, 0]}\n"
    )
    command = ["state", "convert", "run.safetensors", "out.ckpt", "--like", "fresh.ckpt", "--map", "map.yaml"]
    assert cli.main([*command, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "net/fc/kernel (4, 5)" in shown
    assert "first.weight (5, 4)" in shown
    assert "Nothing was written" in shown
    assert not (folder / "out.ckpt").exists()
    assert cli.main(command) == 0
    assert "wrote out.ckpt" in capsys.readouterr().out
    found = read(folder / "out.ckpt")
    assert found.step == 12
    assert np.array_equal(np.asarray(found.first_moment["first.weight"]), np.arange(20).reshape(4, 5).T)


def test_rules_and_order_in_a_map(folder: Path) -> None:
    for text in ("rename: order\n", "rename: [['net/fc/kernel', first.weight], ['net/out/kernel', second.weight]]\n"):
        (folder / "map.yaml").write_text(text)
        command = ["state", "convert", "run.safetensors", "out.ckpt", "--like", "fresh.ckpt", "--map", "map.yaml"]
        assert cli.main(command) == 0
        assert np.asarray(read(folder / "out.ckpt").first_moment["second.weight"])[0, 1] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nothing.ckpt"], "there is no such file"),
        (["show", "map.yaml"], "expected a name that ends in"),
        (["convert", "run.safetensors", "out.ckpt"], "pass a file that the mindspore program wrote as like"),
        (["convert", "run.safetensors", "out.ckpt", "--like", "fresh.ckpt"], "net/fc/kernel"),
        (
            ["convert", "run.safetensors", "out.ckpt", "--like", "fresh.ckpt", "--map", "map.yaml"],
            "expected rename:, layout: and alone:",
        ),
        (["convert", "run.safetensors", "out.ckpt", "--map", "nothing.yaml"], "cannot be read"),
        (["convert", "run.safetensors", "no/such/folder.safetensors"], "cannot be written"),
    ],
)
def test_what_cannot_be_done(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (folder / "map.yaml").write_text("names: {}\n")
    before = sorted(folder.iterdir())
    assert cli.main(["state", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_what_has_no_partner_in_a_map(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = read(folder / "fresh.ckpt")
    more = {**fresh.first_moment, "third.gamma": np.full(3, 2.0, np.float32)}
    write(
        folder / "more.ckpt",
        AdamState(step=0, first_moment=more, second_moment=more, parameters=more, hyperparameters=BETAS),
    )
    command = ["state", "convert", "run.safetensors", "out.ckpt", "--like", "more.ckpt"]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert "third.gamma (3,) of the target has none in the state" in said
    assert "in a map: `rename: order`" in said
    assert "Here these stand in a file for --map, as rename:, layout: and alone:." in said
    (folder / "map.yaml").write_text("rename: order\nalone: [third.*]\n")
    assert cli.main([*command, "--map", "map.yaml"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "third.gamma" in line)
    assert [cell.strip() for cell in line.split("│")[1:5]] == ["-", "third.gamma (3,)", "moments of zero", "alone"]
    found = read(folder / "out.ckpt")
    assert found.parameters is not None
    assert np.array_equal(np.asarray(found.parameters["third.gamma"]), np.full(3, 2.0))
    assert not np.asarray(found.first_moment["third.gamma"]).any()
    assert found.step == 12
    (folder / "map.yaml").write_text("rename: order\nalone: third\n")
    assert cli.main([*command, "--map", "map.yaml"]) == 2
    assert "alone must be a list of names" in capsys.readouterr().err


def test_a_change_of_container_alone(folder: Path) -> None:
    assert cli.main(["state", "convert", "fresh.ckpt", "same.safetensors", "--mindspore"]) == 0
    assert cli.main(["state", "convert", "same.safetensors", "back.ckpt", "--beta1", "0.9", "--beta2", "0.999"]) == 0
    assert read(folder / "back.ckpt").names == ("first.weight", "second.weight")
