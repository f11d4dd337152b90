"""Generated files follow mapping.yaml, and a change of mapping.yaml is all that a change needs."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import adamcompat
from adamcompat.mapping.tables import MAPPING

ROOT = Path(__file__).parent.parent


def make_copy(root: Path) -> Path:
    """Copy what generation reads and writes."""
    for name in ("adamcompat", "docs", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mapping.yaml", "README.md"):
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return make_copy(tmp_path)


def python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "HOME": str(root)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_committed_files_are_up_to_date(copy: Path) -> None:
    result = python(copy, "scripts/generate.py", "--check")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["adamcompat/mapping/tables.py", "adamcompat/numpy/adapters.py", "README.md", "docs/mapping.md"]
)
def test_a_stale_file_fails_and_names_the_command(copy: Path, name: str) -> None:
    edit(copy / name, "`epsilon`" if name.endswith(".md") else "epsilon", "epsilom")
    # A generated module that does not even parse must not keep the generator from mending it.
    if name.endswith(".py"):
        edit(copy / name, "import", "<<<<<<<")
    result = python(copy, "scripts/generate.py", "--check")
    assert result.returncode == 1
    assert f"{name} is out of date; run: python scripts/generate.py" in result.stderr
    assert python(copy, "scripts/generate.py").returncode == 0
    assert python(copy, "scripts/generate.py", "--check").returncode == 0


def test_a_mistake_in_the_mapping_is_reported_not_raised(copy: Path) -> None:
    edit(copy / "mapping.yaml", "default: 1.0e-7", "default: 1e-7")
    result = python(copy, "scripts/generate.py", "--check")
    assert result.returncode == 1
    assert result.stderr.startswith("mapping.yaml:")
    assert "Traceback" not in result.stderr


def test_a_renamed_parameter_is_a_change_of_the_mapping_alone(copy: Path) -> None:
    edit(copy / "mapping.yaml", "{name: eps, canonical: epsilon", "{name: epsilon_hat, canonical: epsilon")
    assert python(copy, "scripts/generate.py").returncode == 0
    code = """
import inspect, json, numpy
from adamcompat import MindSporeStyleAdam
weight = numpy.array([1.0])
MindSporeStyleAdam([weight], 0.1, epsilon_hat=0.5)((numpy.array([1.0]),))
try:
    MindSporeStyleAdam([weight], eps=0.5)
except KeyError as error:
    print(json.dumps([list(inspect.signature(MindSporeStyleAdam).parameters), weight[0], str(error)]))
"""
    result = python(copy, "-c", code)
    assert result.returncode == 0, result.stderr
    names, weight, error = json.loads(result.stdout)
    assert "epsilon_hat" in names
    assert "eps" not in names
    alpha = 0.1 * 0.001**0.5 / 0.1
    assert weight == pytest.approx(1 - alpha * 0.1 / (0.001**0.5 + 0.5), abs=1e-15)
    assert "eps" in error
    table = python(copy, "-m", "adamcompat", "table", "--format", "csv")
    assert "epsilon_hat" in table.stdout
    assert "epsilon_hat" in (copy / "README.md").read_text(encoding="utf-8")


NEW_DIALECT = """
  newton:
    title: Newton
    target: example.newton.Adam
    aliases: []
    versions: example
    protocol: call
    methods:
      - name: construct
        role: step
        arguments:
          - {name: gradients, canonical: gradients}
    rates: [list, callable]
    kwargs: false
    parameters:
      - {name: params, canonical: parameters, type: parameters, absent: refuse}
      - {name: lr, canonical: learning_rate, type: learning_rate, default: 0.5, absent: refuse}
      - {name: b1, canonical: beta1, type: number, default: 0.9, range: "[0, 1)", absent: refuse}
      - {name: b2, canonical: beta2, type: number, default: 0.999, range: "[0, 1)", absent: refuse}
      - {name: tiny, canonical: epsilon, type: number, default: 1.0e-8, range: "[0, inf)", absent: refuse}
      - {name: shrink, canonical: decoupled_weight_decay, type: number, default: 0.0, range: "[0, inf)", absent: refuse}
    conflicts: []
    errors:
      unknown_keyword: TypeError
      wrong_type: TypeError
      out_of_range: ValueError
      conflict: ValueError
      unknown_parameter: ValueError
      repeated_parameter: ValueError
      wrong_gradients: ValueError
    stages: [decoupled_decay, update]
    semantics:
      epsilon: hat
      bias_correction: both
      decay_skips: []
      amsgrad: none
      nesterov: none
      schedule_start: 0
      average_start: none
      power_start: none
    numerics: canonical
    slots:
      - {step: t}
      - {first_moment: "{parameter}.m", second_moment: "{parameter}.v"}

adapters:
  - name: MintStyleAdam
    module: adamcompat
    runtime: numpy
    dialect: newton
    borrows: {}
"""


def test_a_dialect_is_a_change_of_the_mapping_alone(copy: Path) -> None:
    edit(copy / "mapping.yaml", "\nadapters:\n", NEW_DIALECT)
    result = python(copy, "scripts/generate.py")
    assert result.returncode == 0, result.stderr
    code = """
import numpy
from adamcompat import MintStyleAdam, Parameter
weight = numpy.array([1.0])
optimizer = MintStyleAdam([Parameter(weight, name="w")], shrink=0.1)
optimizer((numpy.array([1.0]),))
print(weight[0], *optimizer.parameters_dict())
"""
    result = python(copy, "-c", code)
    assert result.returncode == 0, result.stderr
    value, *names = result.stdout.split()
    assert float(value) == pytest.approx(0.95 - 0.5, abs=1e-6)
    assert names == ["t", "w.m", "w.v"]
    table = python(copy, "-m", "adamcompat", "table", "--from", "newton", "--to", "keras3", "--format", "csv")
    assert "parameter,shrink,0.0,weight_decay,None,renamed" in table.stdout
    assert "tiny,1e-08,epsilon,1e-07," in table.stdout


@pytest.mark.parametrize("adapter", [a for a in MAPPING.adapters if a.runtime == "numpy"], ids=lambda a: a.name)
def test_signatures_and_help_are_the_dialects(adapter: object) -> None:
    assert isinstance(adapter, type(MAPPING.adapters[0]))
    dialect = MAPPING.dialects[adapter.dialect]
    cls = getattr(adamcompat, adapter.name)
    parameters = list(inspect.signature(cls).parameters.values())
    *named, numerics = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    assert [p.name for p in named] == [fact.name for fact in dialect.parameters]
    for parameter, fact in zip(named, dialect.parameters, strict=True):
        assert parameter.annotation is not parameter.empty
        assert parameter.default == (parameter.empty if fact.required else fact.default)
        assert (parameter.kind is parameter.KEYWORD_ONLY) == fact.keyword_only
    assert (numerics.name, numerics.kind) == ("numerics", numerics.KEYWORD_ONLY)
    documented = inspect.getdoc(cls) or ""
    for fact in dialect.accepted:
        assert f"    {fact.name}: " in documented


def test_generated_files_say_so() -> None:
    for name in ("adamcompat/mapping/tables.py", "adamcompat/numpy/adapters.py"):
        assert (
            (ROOT / name).read_text(encoding="utf-8").startswith("# Generated from mapping.yaml by scripts/generate.py")
        )
