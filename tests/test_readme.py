"""What the README and the page about rounding show is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adamcompat import TFStyleAdam
from tests.test_goldens import counts

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_one_page() -> None:
    assert len(README.split()) <= 900


def test_the_example_runs() -> None:
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "from adamcompat import MindSporeStyleAdam" in block
    )
    names: dict[str, Any] = {}
    exec(code, names)
    np.testing.assert_allclose(names["weight"], [0.8, 2.2], atol=1e-6)


def test_the_error_is_the_one_that_is_shown() -> None:
    call, shown = re.findall(r">>> TFStyleAdam\((.*)\)\nValueError: (.*)", README)[0]
    with pytest.raises(ValueError) as caught:
        eval(f"TFStyleAdam({call})", {"TFStyleAdam": TFStyleAdam})
    assert str(caught.value) == shown


def test_the_counts_are_those_of_the_goldens() -> None:
    found = counts()
    (tf, tf_all), (ms, ms_all) = found["TensorFlow 2.6.5"], found["MindSpore 2.10"]
    text = " ".join((ROOT / "docs/rounding.md").read_text(encoding="utf-8").split())
    assert f"of {tf_all + ms_all} tensors recorded" in text
    assert f"{tf} of {tf_all} and {ms} of {ms_all} in every bit" in text
