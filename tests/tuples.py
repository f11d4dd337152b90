"""A dialect with tuples, and a copy of the package that has it: no shipped dialect has one yet."""

from __future__ import annotations

from pathlib import Path

from tests.test_generate import ROOT, edit, make_copy, python

# A call as PyTorch has it, the second with required settings and another order.
TWIN = """
  twin:
    extends: keras3
    title: Twin
    target: example.twin.Adam
    aliases: []
    versions: example
    parameters:
      - {name: lr, canonical: learning_rate, type: learning_rate, default: 0.001, range: "[0, inf)", absent: refuse}
      - name: betas
        canonical: [beta1, beta2]
        type: beta
        default: [0.9, 0.99]
        range: "[0, 1)"
        absent: refuse
      - {name: eps, canonical: epsilon, type: number, default: 1.0e-8, range: "[0, inf)", absent: refuse}
      - {name: amsgrad, canonical: amsgrad, type: flag, default: false, absent: refuse}
    kwargs: false
    conflicts: []
  swapped:
    extends: twin
    title: Swapped
    target: example.swapped.Adam
    aliases: []
    versions: example
    parameters:
      - {name: terms, canonical: [beta2, epsilon], type: number, absent: refuse}
      - {name: lr, canonical: learning_rate, type: learning_rate, default: 0.001, range: "[0, inf)", absent: refuse}
      - {name: switches, canonical: [amsgrad, use_ema], type: flag, default: [false, false], absent: refuse}
      - {name: momentum, canonical: beta1, type: number, default: 0.9, absent: refuse}
  called:
    extends: mindspore
    title: Called
    target: example.called.Adam
    aliases: []
    versions: example
    parameters:
      - {name: params, canonical: parameters, type: parameters, absent: refuse}
      - {name: lr, canonical: learning_rate, type: learning_rate, default: 0.001, range: "[0, inf)", absent: refuse}
      - {name: betas, canonical: [beta1, beta2], type: number, default: [0.9, 0.99], absent: refuse}
      - {name: tiny, canonical: epsilon, type: number, default: 1.0e-8, range: "(0, inf)", absent: refuse}
      - {name: flags, canonical: [amsgrad, nesterov], type: flag, default: [false, false], absent: refuse}
      - {name: shrink, canonical: l2_weight_decay, type: decay, default: 0.0, absent: refuse}
    conflicts: []

adapters:
  - {name: Called, module: adamcompat.tensorflow, runtime: tensorflow, dialect: called, borrows: {}}
  - {name: Twin, module: adamcompat, runtime: numpy, dialect: twin, borrows: {keras3: [beta_1]}}
  - {name: Swapped, module: adamcompat, runtime: numpy, dialect: swapped, borrows: {}}
  - {name: Borrowing, module: adamcompat, runtime: numpy, dialect: keras3, borrows: {twin: [betas]}}
  - {name: Twin, module: adamcompat.mindspore, runtime: mindspore, dialect: twin, borrows: {}}
"""


def with_twins(path: Path, text: str = TWIN) -> Path:
    """Write mapping.yaml with these dialects."""
    path.write_text((ROOT / "mapping.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    edit(path, "\nadapters:\n", text)
    return path


def package_with_twins(root: Path) -> Path:
    """Make a copy of the package with these dialects, generated anew."""
    make_copy(root)
    with_twins(root / "mapping.yaml")
    result = python(root, "scripts/generate.py")
    assert result.returncode == 0, result.stderr
    return root
