"""The benchmarks measure what the table of targets has, and say where the two disagree; nothing is timed here."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "scripts"))

import figures
import speed_page
from bench_first_steps import worst
from measuring import Case, Times, in_turn, output, run
from targets import RUNTIMES, TARGETS, UNITS, Key, MismatchError, Target, check, keys, target

ROOT = Path(__file__).resolve().parent.parent
LIMITED = [key for key in TARGETS if TARGETS[key].limit is not None]


def measured_of(runtime: str) -> list[Key]:
    """What a script would measure."""
    cases = importlib.import_module(f"bench_{runtime}").cases
    everything: Iterator[Case] = cases(fit=True) if runtime == "tensorflow" else cases()
    return [Key(runtime, case.work, case.mode) for case in everything]


def limit_of(key: Key) -> float:
    """The largest figure that meets a target, in seconds, bytes, or as a ratio."""
    limit, unit = TARGETS[key]
    return (1 if limit is None else limit) * UNITS[unit]


def options(**given: object) -> Namespace:
    return Namespace(**({"only": "", "list": False, "json": None} | given))


def cases_at(runtime: str, share: float, called: list[str] | None = None) -> list[Case]:
    """Cases that come to a share of their targets."""

    def at(key: Key) -> Times:
        if called is not None:
            called.append(key.work)
        return Times([limit_of(key) * share])

    return [Case(key.work, key.mode, lambda key=key: at(key)) for key in keys(runtime)]  # type: ignore[misc]


def keep_all(folder: Path, share: float) -> None:
    """Keep figures for all targets, at a share of them."""
    for runtime in RUNTIMES:
        rows = [figures.Measured(key, (limit_of(key) * share,) * 3) for key in keys(runtime)]
        figures.keep(folder / f"speed-{runtime}.json", runtime, rows)


def shown(*arguments: object, columns: int = 80) -> subprocess.CompletedProcess[str]:
    """What `scripts/bench targets` does, without installing anything."""
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/bench_targets.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": str(columns)},
    )


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_scripts_measure_what_the_table_has(runtime: str) -> None:
    found = measured_of(runtime)
    check(runtime, found)
    assert set(found) == set(keys(runtime))


def test_a_quick_run_measures_the_same() -> None:
    for runtime in RUNTIMES:
        cases = importlib.import_module(f"bench_{runtime}").cases
        assert [case[:2] for case in cases(quick=True)] == [case[:2] for case in cases()]


def test_listing_imports_no_framework() -> None:
    code = f"""
import sys
sys.path.append({str(ROOT / "scripts")!r})
for runtime in {RUNTIMES}:
    list(__import__(f"bench_{{runtime}}").cases())
print(*sorted({{"tensorflow", "keras", "mindspore", "torch", "numba", "libcst"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_a_misspelt_measurement_is_an_error_that_names_the_nearest() -> None:
    found = [key if key.work != "one of 10M" else key._replace(work="one of 10MB") for key in keys("torch")]
    with pytest.raises(MismatchError, match=r"no torch: one of 10MB, default; it has torch: one of 10M, default$"):
        check("torch", found)


def test_a_target_without_a_measurement_is_an_error() -> None:
    left_out = Key("torch", "200 tensors of 64", "default")
    with pytest.raises(MismatchError, match=r"no measurement for the target of torch: 200 tensors of 64, default$"):
        check("torch", [key for key in keys("torch") if key != left_out])
    # Nothing is asked for here.
    check("torch", [key for key in keys("torch") if key != Key("torch", "ResNet-50's list", "default")])


def test_a_measurement_that_is_there_twice_is_an_error() -> None:
    with pytest.raises(MismatchError, match=r"measured more than once: migrate: --to shim, 1,000 files$"):
        check("migrate", [*keys("migrate"), keys("migrate")[0]])


@pytest.mark.parametrize(("share", "status"), [(0.99, 0), (1.0, 0), (1.01, 1)])
def test_the_exit_status_says_whether_a_target_is_missed(
    share: float, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for runtime in RUNTIMES:
        assert run(runtime, cases_at(runtime, share), options()) == status
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(TARGETS)
    assert sum(line.endswith("above") for line in lines) == (len(LIMITED) if status else 0)


def test_cases_that_do_not_agree_with_the_table_measure_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    called: list[str] = []
    cases = cases_at("migrate", 1, called)
    assert run("migrate", cases[:1], options()) == 2
    assert "no measurement for the target of migrate: --to mindspore, 1,000 files" in capsys.readouterr().err
    assert run("migrate", [*cases, Case("--to shin", "1,000 files", cases[0].measure)], options()) == 2
    assert "it has migrate: --to shim, 1,000 files" in capsys.readouterr().err
    assert run("migrate", cases, options(list=True)) == 0
    assert capsys.readouterr().out == "migrate: --to shim, 1,000 files\nmigrate: --to mindspore, 1,000 files\n"
    assert called == []


def test_a_part_is_measured_and_kept_beside_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speed-torch.json"
    assert run("torch", cases_at("torch", 1), options(json=path)) == 0
    before, called = figures.kept(tmp_path, "torch"), list[str]()
    assert list(before) == keys("torch")
    assert run("torch", cases_at("torch", 0.5, called), options(json=path, only="64, default")) == 0
    assert called == ["200 tensors of 64"]
    after = figures.kept(tmp_path, "torch")
    assert list(after) == keys("torch")
    assert [key for key in after if after[key] != before[key]] == [Key("torch", "200 tensors of 64", "default")]
    assert run("torch", cases_at("torch", 1), options(only="no such work")) == 2
    assert "'no such work'" in capsys.readouterr().err


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_script_ends_with_the_status_of_its_measurements(runtime: str) -> None:
    command = [sys.executable, str(ROOT / f"scripts/bench_{runtime}.py"), "--only", "no such work"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2


def test_what_was_measured_before_a_failure_is_kept(tmp_path: Path) -> None:
    def fail() -> Times:
        raise RuntimeError("exit status 3")

    cases = cases_at("migrate", 1)
    cases[1] = cases[1]._replace(measure=fail)
    with pytest.raises(RuntimeError, match="exit status 3"):
        run("migrate", cases, options(json=tmp_path / "speed-migrate.json"))
    assert list(figures.kept(tmp_path, "migrate")) == keys("migrate")[:1]


def test_a_command_that_fails_is_an_error_with_what_it_said() -> None:
    assert output([sys.executable, "-c", "import sys; print(7); print('remark', file=sys.stderr)"]) == "7\n"
    with pytest.raises(RuntimeError, match=r"(?s)^exit status 3 of .*\nno such thing$"):
        output([sys.executable, "-c", "import sys; sys.stderr.write('no such thing'); sys.exit(3)"])


def test_a_kept_figure_that_the_table_does_not_have_is_an_error(tmp_path: Path) -> None:
    row = {"work": "--to shin", "mode": "1,000 files", "quartiles": [1, 2, 3]}
    (tmp_path / "speed-migrate.json").write_text(json.dumps([row]), encoding="utf-8")
    done = shown("migrate", "--kept", "--folder", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "speed-migrate.json: scripts/targets.py has no migrate: --to shin, 1,000 files; it has"
    )
    assert done.stdout == ""


def test_kept_figures_are_shown_beside_their_targets(tmp_path: Path) -> None:
    rows = [
        {"work": "--to shim", "mode": "1,000 files", "quartiles": [6.25, 7.5, 9]},
        {"work": "--to mindspore", "mode": "1,000 files", "quartiles": [9, 10, 12]},
    ]
    path = tmp_path / "speed-migrate.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    done = shown("migrate", "--kept", "--folder", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "runtime work           mode        target median lower upper\n"
        "migrate --to shim      1,000 files   10 s    7.5  6.25     9 ok\n"
        "migrate --to mindspore 1,000 files   10 s     10     9    12 ok\n"
        "2 targets: 2 ok, 0 above\n"
    )
    rows[1]["quartiles"] = [9, 10.5, 12]
    path.write_text(json.dumps(rows), encoding="utf-8")
    done = shown("migrate", "--kept", "--folder", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "10 s   10.5     9    12 above\n2 targets: 1 ok, 1 above\n" in done.stdout


def test_a_target_whose_figure_is_not_kept_is_named(tmp_path: Path) -> None:
    done = shown("migrate", "startup", "--kept", "--folder", tmp_path)
    assert done.returncode == 2
    wanted = [str(key) for key in LIMITED if key.runtime in ("migrate", "startup")]
    assert done.stderr.splitlines() == ["no measurement for the target of", *(f"  {key}" for key in wanted)]
    assert f"{len(wanted)} targets: 0 ok, 0 above" in done.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_the_whole_table_fits(tmp_path: Path, columns: int) -> None:
    keep_all(tmp_path, 1.01)
    done = shown("--kept", "--folder", tmp_path, columns=columns)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(line.endswith(" above") for line in lines[1:-1]) == len(LIMITED)
    assert lines[-1] == f"{len(LIMITED)} targets: 0 ok, {len(LIMITED)} above"


def test_runtimes_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    done = shown("numpy", "jax", "--kept", "--folder", tmp_path)
    assert done.returncode == 2
    assert "no such runtime: jax; there are numpy, tensorflow" in done.stderr
    assert shown("--kept", "--json", tmp_path).returncode == 2


def test_the_command_names_every_runtime() -> None:
    helped, refused = (
        subprocess.run([str(ROOT / "scripts/bench"), argument], capture_output=True, text=True, check=False)
        for argument in ("--help", "jax")
    )
    assert (helped.returncode, refused.returncode) == (0, 2)
    assert helped.stdout == refused.stderr
    assert helped.stdout.startswith("Measure speed") and helped.stdout.endswith("of targets, scripts/targets.py.\n")
    command = (ROOT / "scripts/bench").read_text(encoding="utf-8")
    for runtime in (*RUNTIMES, "targets"):
        assert f"\n    {runtime}) " in command
        assert (ROOT / f"scripts/bench_{runtime}.py").exists()
        assert runtime == "numpy" or f"scripts/bench {runtime} " in helped.stdout


def test_figures_are_shown_in_the_unit_of_their_target() -> None:
    assert (Target(35, "ms").text, Target(35, "ms").shown(0.03456)) == ("35 ms", "34.6")
    assert Target(35, "ms").met(0.035) and not Target(35, "ms").met(0.0351)
    assert (Target(500, "MB").text, Target(500, "MB").shown(-4.2e8)) == ("500 MB", "-420")
    assert (Target(0.3).text, Target(0.025).text, Target(0.3).shown(0.12345)) == ("0.30", "0.025", "0.123")
    assert Target(0.3).met(0.3) and not Target(0.3).met(0.301)
    assert Target(None, "s").met(1e9)
    with pytest.raises(MismatchError):
        target(Key("jax", "10M", "eager"))


def test_of_the_first_steps_the_worst_sum_counts() -> None:
    # Ratios of sums: 1, 2.5 and 2 in two processes, and more in a third, whose worst step is another.
    some = {"ours": [1.0, 4.0, 1.0], "theirs": [1.0, 1.0, 1.0]}
    odd = {"ours": [9.0, 1.0, 1.0], "theirs": [1.0, 1.0, 1.0]}
    found = worst([some, odd, some])
    assert found == Times([5.0, 10.0, 5.0], [2.0, 2.0, 2.0], "worst after 2 of 3")
    assert worst([{"ours": [3.0], "theirs": [2.0]}]) == Times([3.0], [2.0])


def test_both_sides_take_turns() -> None:
    calls: list[str] = []
    found = in_turn(lambda: calls.append("ours"), lambda: calls.append("theirs"), pairs=4, warm=1)
    assert found.theirs is not None and (len(found.ours), len(found.theirs)) == (4, 4)
    assert calls == ["ours", "theirs", *["theirs", "ours", "ours", "theirs"] * 2]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_target_has_a_figure(runtime: str) -> None:
    figures_kept = figures.kept(figures.FOLDER, runtime)
    assert [key for key in keys(runtime) if target(key).limit is not None and key not in figures_kept] == []


def test_the_page_shows_the_kept_figures() -> None:
    text = speed_page.PAGE.read_text(encoding="utf-8")
    _, measured = text.split("<!-- measured by scripts/bench -->\n")
    measured, _ = measured.split("<!-- end -->\n")
    assert measured.splitlines() == speed_page.lines()


def test_the_page_changes_with_the_figures(tmp_path: Path) -> None:
    keep_all(tmp_path, 1)
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- measured by scripts/bench -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    speed_page.write(page, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- measured by scripts/bench -->\n| float32") and text.endswith("-->\nafter\n")
    assert "\n| TensorFlow `tf.function` / Keras 3 | 0.30 | 0.80 (200 of 64), 0.36 (ResNet-50) |\n" in text
    assert "\n| 12 Dense layers of 512 | 1.10 | 1.10 |\n" in text
    assert "\n| adamcompat translate | 0.25 s | 0.25 s |\n" in text
    assert "old" not in text and speed_page.NONE not in [cell.strip() for cell in text.split("|")[:60]]
