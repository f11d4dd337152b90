"""The real MindSpore, or a skip that says why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before MindSpore is imported: errors only.
os.environ.setdefault("GLOG_v", "3")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """MindSpore warns about itself; only what it says about itself is let through."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:mindspore"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*getName.*:DeprecationWarning"))


@pytest.fixture(params=["pynative", "graph"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both modes, one after the other."""
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield request.param
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.fixture(autouse=True)
def _says_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some warnings come once a process; here once a test, so that none depends on another."""
    from adamcompat import once

    monkeypatch.setattr(once, "_said", set())


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MindSpore writes reports of failed compilations into the working directory."""
    monkeypatch.chdir(tmp_path)
