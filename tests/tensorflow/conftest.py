"""Settings for the tests that run the real TensorFlow."""

from __future__ import annotations

import os
from importlib.util import find_spec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest

from adamcompat import once

if find_spec("tensorflow") is None or find_spec("tf_keras") is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/tensorflow" in item.path.as_posix():
            # Warnings of TensorFlow, Keras and their dependencies; ours are asserted with pytest.warns.
            item.add_marker(pytest.mark.filterwarnings("default::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning"))
            # Given once a process, so by whichever test comes first.
            item.add_marker(pytest.mark.filterwarnings("ignore:.*This drop-in does the same, bit for bit:UserWarning"))


@pytest.fixture
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which no warning was given yet."""
    monkeypatch.setattr(once, "_said", set())


@pytest.fixture(autouse=True)
def second_step_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace the second step: which one has the time for it depends on the machine; see test_first_steps.py."""
    from adamcompat.tensorflow import first_steps

    monkeypatch.setattr(first_steps, "WAITS", False)
