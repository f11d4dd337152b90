from __future__ import annotations

import gc
from importlib.util import find_spec

import pytest

from tests.combinations import split

EXECUTORS = ("numpy", "numba")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs all combinations of parameters."""
    parser.addoption(
        "--every-combination",
        action="store_true",
        help="run each test of a framework with every combination of its parameters, not with a choice (hours)",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker has it left at the end, and leave combinations out."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    # Whoever names a test, or a part of its name, means all of it.
    if not config.getoption("--every-combination") and not config.option.keyword:
        items[:], left_out = split(items)
        config.hook.pytest_deselected(items=left_out)


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
