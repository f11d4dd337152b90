"""Run the frameworks' own tests with our classes under their names, and write docs/upstream.md.

Every test that passes with a framework's own classes has to pass with ours; the exit status is 1 if one does not,
except those that the page names.

    python scripts/upstream.py                            all suites, in about an hour
    python scripts/upstream.py optimizers saving          some of them; the page keeps the rows of the others
    python scripts/upstream.py --swaps installed          of the ways to replace names only one
    python scripts/upstream.py --rest                     the framework's own classes only where ours did not pass
    python scripts/upstream.py --tf-keras FOLDER tf-keras --mindspore FOLDER mindspore
                                                          from checkouts; without them git fetches what is needed
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from tests.upstream.adamcompat_swap import SWAPS  # noqa: E402
from tests.upstream.suites import Results, Suite, keras, lost, run  # noqa: E402

PAGE = HOME / "docs" / "upstream.md"
START, END = "<!-- measured by scripts/upstream.py -->\n", "<!-- end -->\n"
TITLES = ("suite", "version", "tests", *SWAPS, "lost")
SOURCES = {
    "tf-keras": ("https://github.com/keras-team/tf-keras", "tf_keras"),
    "mindspore": ("https://github.com/mindspore-ai/mindspore", "tests/ut/python"),
}
# Strategies of several devices or hosts wait for ever under pytest, with the original classes too.
ONE_DEVICE = ("-k", "not MultiWorker and not Mirrored")
TF_KERAS = (
    "optimizers/optimizer",
    "optimizers/optimizer_v1",
    "saving/saving_lib",
    "mixed_precision/loss_scale_optimizer",
)
LEGACY = (
    "optimizers/legacy/adam",
    "optimizers/legacy/optimizer_v2",
    "tests/tracking_util",
    "tests/tracking_util_with_v1_optimizers",
    "tests/tracking_util_xla",
)
MINDSPORE = ("test_adam", "test_adam2", "test_optimizer", "test_apply_adam_with_amsgrad")
# Lost, and explained in the page.
NAMED_FUSED = ("::test_convert_to_legacy_optimizer",)


def checkout(package: str, given: Path | None, folder: Path) -> Path:
    """A checkout of the installed version: the one that was given, or what git fetches into a folder."""
    if given is not None:
        return given.resolve()
    address, part = SOURCES[package]
    tag = f"v{metadata.version(package)}"
    clone = [
        "git",
        "-c",
        "advice.detachedHead=false",
        "clone",
        "--quiet",
        "--depth",
        "1",
        "--branch",
        tag,
        "--filter=blob:none",
        "--sparse",
    ]
    subprocess.run([*clone, address, folder], check=True)
    subprocess.run(["git", "-C", folder, "sparse-checkout", "set", part], check=True)
    return folder


def as_in_the_wheel(source: Path, folder: Path) -> Path:
    """A copy of tf_keras's tests that imports what the wheel has, as its own pip_build.py changes imports."""
    for file in source.glob("tf_keras/**/*_test.py"):
        text = re.sub(r"^(\s*import tf_keras)(?= as |\.)", r"\1.src", file.read_text(encoding="utf-8"), flags=re.M)
        copy = folder / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(re.sub(r"^(\s*from tf_keras)(?=[. ])", r"\1.src", text, flags=re.M), encoding="utf-8")
    return folder


def tf_keras(root: Path, *names: str) -> Suite:
    """Tests of tf_keras, where it is tf.keras: our Adam is made for either, and legacy.Adam is there too."""
    files = tuple(f"tf_keras/{name}_test.py" for name in names)
    return Suite(("tensorflow", "tf_keras"), root, files, ONE_DEVICE, {"TF_USE_LEGACY_KERAS": "1"})


def suites(checkouts: Mapping[str, Path | None], folder: Path) -> dict[str, tuple[str, Callable[[], Suite]]]:
    """The suites by name, each with the package that it tests; those that need a checkout make it when called."""

    def mindspore() -> Suite:
        root = checkout("mindspore", checkouts["mindspore"], folder / "mindspore")
        files = (root / "tests/ut/python/nn/optim" / f"{name}.py" for name in MINDSPORE)
        return Suite(("mindspore",), root, tuple(str(file.relative_to(root)) for file in files if file.exists()))

    def copied() -> Path:
        source, copy = folder / "tf-keras", folder / "copy"
        return copy if copy.exists() else as_in_the_wheel(checkout("tf-keras", checkouts["tf-keras"], source), copy)

    return {
        "optimizers": ("keras", lambda: keras("optimizers")),
        "saving": ("keras", lambda: keras("saving", "legacy/saving")),
        "callbacks": ("keras", lambda: keras("callbacks")),
        "trainer": ("keras", lambda: keras("trainers/trainer_test.py")),
        "tf-keras": ("tf-keras", lambda: tf_keras(copied(), *TF_KERAS)),
        "tf-keras-legacy": ("tf-keras", lambda: tf_keras(copied(), *LEGACY)),
        "mindspore": ("mindspore", mindspore),
    }


def measure(suite: Suite, swaps: Iterable[str], *, rest: bool) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The cells of a suite's row after its version, and the lost tests by the way of replacing."""
    ours: dict[str, Results] = {}
    for swap in swaps:
        ours[swap] = run(suite, swap)
        assert ours[swap].made and ours[swap].stepped, f"no optimizer of ours was used ({swap})"
        print(f"  {swap}: {len(ours[swap].passed)} of {len(ours[swap].outcomes)} pass", flush=True)
    names = {name for results in ours.values() for name in results.outcomes}
    others = {name for results in ours.values() for name in names - results.passed}
    stock = run(suite, "stock", others if rest else ()) if others or not rest else None
    found = {swap: lost(results, stock) if stock else {} for swap, results in ours.items()}
    passed = len(stock.passed) if stock else 0
    print(f"  stock: {passed} of {len(stock.outcomes) if stock else 0} pass", flush=True)
    cells = {"stock": f"{passed} of the {len(others)} others" if rest else str(passed)}
    cells |= {swap: str(len(results.passed)) for swap, results in ours.items()}
    count = sum(map(len, found.values()))
    return [str(len(names)), *(cells.get(swap, "-") for swap in SWAPS), str(count)], found


def page(text: str, measured: Mapping[str, list[str]], order: Iterable[str]) -> str:
    """The page with the measured rows; of the other suites it keeps those that it has."""
    head, _, tail = text.partition(START)
    table, _, tail = tail.partition(END)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()}
    rows |= {name: f"| {' | '.join([name, *cells])} |" for name, cells in measured.items()}
    lines = [f"| {' | '.join(TITLES)} |", f"|{' --- |' * len(TITLES)}", *(rows[name] for name in order if name in rows)]
    return head + START + "\n".join(lines) + "\n" + END + tail


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    ways = [swap for swap in SWAPS if swap != "stock"]
    parser.add_argument("--swaps", nargs="+", choices=ways, help="; ".join(f"{way}: {SWAPS[way]}" for way in ways))
    parser.add_argument("--rest", action="store_true", help="run the original only where ours did not pass")
    parser.add_argument("--tf-keras", type=Path, metavar="FOLDER", help="a checkout of the installed version")
    parser.add_argument("--mindspore", type=Path, metavar="FOLDER", help="a checkout of the installed version")
    arguments = parser.parse_args()
    worse, folder = False, Path(tempfile.mkdtemp(prefix="adamcompat-upstream-"))
    try:
        known = suites({"tf-keras": arguments.tf_keras, "mindspore": arguments.mindspore}, folder)
        if unknown := set(arguments.suites) - known.keys():
            parser.error(f"no suite is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        for name in arguments.suites or known:
            package, make = known[name]
            print(f"{name}, {package} {metadata.version(package)}", flush=True)
            # Only TensorFlow's Adam has a fused way.
            fitting = [way for way in ways if way != "fused" or name not in ("tf-keras-legacy", "mindspore")]
            suite = make()
            if not suite.files:
                print("  has no tests in this version")
                continue
            cells, found = measure(suite, [w for w in arguments.swaps or fitting if w in fitting], rest=arguments.rest)
            for swap, tests in found.items():
                for test, message in tests.items():
                    worse |= not test.endswith(NAMED_FUSED * (swap == "fused"))
                    print(f"  lost, {swap}: {test}: {message[:300]}")
            row = {name: [f"{package} {metadata.version(package)}", *cells]}
            PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), row, known), encoding="utf-8")
    finally:
        shutil.rmtree(folder)
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
