"""A pytest plugin for the frameworks' own tests: puts our classes under their names, and keeps each test's outcome.

It is told by ``ADAMCOMPAT_UPSTREAM``, JSON: ``swap`` (see `SWAPS`), ``modules`` (to import before the names are
replaced), ``only`` (names of the tests or files to run, none: all) and ``report``, the file that gets lines of JSON:
two for each test, and one for the whole. `tests.upstream.suites` starts it.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Collection, Generator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SWAPS = {
    "stock": "nothing is replaced",
    "installed": "after `adamcompat.install()`",
    "direct": "the drop-ins themselves under every name, as after `from adamcompat.tensorflow import Adam`",
    "fused": "as direct, and TensorFlow's `Adam` has `fused=True`",
}


class Use:
    """How many of our optimizers were made, and whether one was asked for a step."""

    def __init__(self) -> None:
        self._made, self._stepped = 0, False

    @property
    def made(self) -> int:
        return self._made

    @property
    def stepped(self) -> bool:
        return self._stepped

    def watch(self, cls: Any, steps: tuple[str, ...]) -> None:
        """Count what is made of a class, and notice its steps."""

        def made() -> None:
            self._made += 1

        def stepped() -> None:
            self._stepped = True

        cls.__init__ = _noticed(cls.__init__, after=made)
        for name in filter(functools.partial(hasattr, cls), steps):
            setattr(cls, name, _noticed(getattr(cls, name), before=stepped))


class InstalledUse(Use):
    """The same, as adamcompat itself tells it."""

    @property
    def made(self) -> int:
        import adamcompat

        return sum(entry.made for entry in adamcompat.installed().report.replaced)

    @property
    def stepped(self) -> bool:
        import adamcompat

        return adamcompat.installed().report.in_use


def _nothing() -> None:
    pass


def _noticed(
    method: Callable[..., Any], before: Callable[[], None] = _nothing, after: Callable[[], None] = _nothing
) -> Callable[..., Any]:
    @functools.wraps(method)
    def noticed(*args: Any, **kwargs: Any) -> Any:
        before()
        result = method(*args, **kwargs)
        after()
        return result

    return noticed


def replace(swap: str) -> Use:
    """Put our classes under the names of those of the imported frameworks."""
    if swap == "stock":
        return Use()
    import adamcompat
    from adamcompat.installation import names
    from adamcompat.installation.frameworks import recipes
    from adamcompat.installation.stand_in import replacement

    if swap == "installed":
        adamcompat.install()
        assert adamcompat.installed().report.names > 0, "adamcompat.install() replaced no name"
        return InstalledUse()
    use, handed_over = Use(), {}
    for recipe in recipes():
        ours = getattr(import_module(recipe.adapter.module), recipe.adapter.name)
        if swap == "fused" and "fused" in (ours.__init__.__kwdefaults__ or {}):
            ours.__init__.__kwdefaults__["fused"] = True
        use.watch(ours, recipe.steps)
        handed_over[replacement(recipe).original] = ours
    assert all(names.replace(handed_over).values()), "a class has no name that could be replaced"
    return use


def _lent() -> dict[str, ModuleType]:
    """Modules that Keras's tests import for their runs on other backends."""
    conftest = ModuleType("conftest")

    def skip_if_backend(name: str, reason: str) -> pytest.MarkDecorator:
        import keras

        return pytest.mark.skipif(keras.backend.backend() == name, reason=reason)

    vars(conftest)["skip_if_backend"] = skip_if_backend
    return {"conftest": conftest} | ({} if find_spec("jax") else {"jax": ModuleType("jax")})


class Keeper:
    """Writes down what becomes of each test."""

    def __init__(self, use: Use, report: Path, only: Collection[str]) -> None:
        self._use = use
        self._report = report
        self._only = frozenset(only)
        self._outcomes: dict[str, tuple[str, str]] = {}

    def _write(self, **line: Any) -> None:
        with self._report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """Let a test module import what lies beside Keras's sources and not in its wheel."""
        lent = _lent() if isinstance(collector, pytest.Module) else {}
        before = {name: sys.modules.get(name) for name in lent}
        sys.modules.update(lent)
        try:
            return (yield)
        finally:
            for name, module in before.items():
                del sys.modules[name]
                if module is not None:
                    sys.modules[name] = module

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Run those that were asked for: tests, or all of a file."""
        if self._only:
            items[:] = [item for item in items if {item.nodeid, item.nodeid.partition("::")[0]} & self._only]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Write a line before the test too: it may end the process."""
        made = self._use.made
        self._write(test=item.nodeid, outcome="crashed", message="the process ended", made=0)
        result = yield
        outcome, message = self._outcomes.pop(item.nodeid, ("failed", "no report"))
        self._write(test=item.nodeid, outcome=outcome, message=message, made=self._use.made - made)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the first of a test's three phases that did not pass."""
        if self._outcomes.get(report.nodeid, ("passed", ""))[0] == "passed":
            crash = getattr(report.longrepr, "reprcrash", None)
            self._outcomes[report.nodeid] = (report.outcome, str(getattr(crash, "message", report.longrepr or "")))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep a module that cannot be imported as a test that failed."""
        if report.failed:
            self._write(test=report.nodeid, outcome="failed", message=str(report.longrepr), made=0)

    def pytest_sessionfinish(self) -> None:
        """Keep whether ours was used at all."""
        self._write(made=self._use.made, stepped=self._use.stepped)


def pytest_configure(config: pytest.Config) -> None:
    """Replace the names before any test is imported."""
    wanted = json.loads(os.environ["ADAMCOMPAT_UPSTREAM"])
    del sys.argv[1:]  # tests of TensorFlow read the command line
    for module in wanted["modules"]:
        import_module(module)
    keeper = Keeper(replace(wanted["swap"]), Path(wanted["report"]), wanted["only"])
    config.pluginmanager.register(keeper, "adamcompat_upstream")
