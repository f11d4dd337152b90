from __future__ import annotations

import gc
from importlib.util import find_spec

import pytest

EXECUTORS = ("numpy", "numba")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker has it left at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="module", autouse=True)
def _only_new_objects_are_searched_for_garbage() -> None:
    """Leave what stands when a file begins out of collections: MindSpore collects with each graph, among millions."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with either executor."""
    name = str(request.param)
    if name == "numba" and find_spec("numba") is None:
        pytest.skip("Numba is not installed: pip install 'adamcompat[fast]'")
    monkeypatch.setenv("ADAMCOMPAT_EXECUTOR", name)
    return name
