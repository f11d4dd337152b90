"""Look at what is installed, and say what of it is known to go wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata

from adamcompat.extras import EXTRAS, how_to_install
from adamcompat.installation.frameworks import drop_ins
from adamcompat.mapping.model import release
from adamcompat.mapping.runtimes import ORIGINALS
from adamcompat.mapping.tables import MAPPING

# The newest versions that the tests were run with; a test holds them against scripts/constraints.txt.
TESTED = {
    "numpy": "2.5",
    "numba": "0.68",
    "tensorflow": "2.21",
    "keras": "3.15",
    "tf-keras": "2.21",
    "mindspore": "2.10",
    "torch": "2.13",
}
TESTED_PYTHON = (3, 10), (3, 13)

# What each extra is for, as users know it.
PURPOSES = {
    "fast": "one fused pass over memory on NumPy arrays; without it a step takes three to five times as long",
    "files": "files of state and recordings (`state`, `record`, `compare --gradients`)",
    "migrate": "`migrate`",
    "plot": "`compare --plot`",
}
# Packages that hold the same framework under another name.
_OTHER_NAMES = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tensorflow-rocm", "tf-nightly"),
    "tf-keras": ("tf-keras-nightly",),
    "keras": ("keras-nightly",),
}
_REQUIREMENT = re.compile(r"([\w-]+)(>=|<)(.+)")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Describe something that goes wrong with what is installed.

    Attributes:
        about: the package, or what else it is about.
        what: what goes wrong, as a sentence.
        mend: what to do about it, or "" where nothing need be done.
    """

    about: str
    what: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Examination:
    """Hold what was found.

    Attributes:
        versions: of each package that matters, by name; None where it is not installed.
        stand_ins: for each framework that is installed, pairs of an original and the class that stands in for it.
        faults: what fails, or computes something else than it should.
        remarks: what differs from what was tested, and what is missing.
    """

    versions: Mapping[str, str | None]
    stand_ins: Mapping[str, tuple[tuple[str, str], ...]]
    faults: tuple[Trouble, ...]
    remarks: tuple[Trouble, ...]


def installed_versions() -> dict[str, str | None]:
    """Return the versions of the packages that this one can use, without importing any.

    >>> sorted(name for name in installed_versions() if name.startswith("num"))
    ['numba', 'numpy']
    """
    needed = (required(text)[0] for texts in EXTRAS.values() for text in texts)
    names = dict.fromkeys(["numpy", "protobuf", "triton", *needed])
    return {name: _version(name) for name in names}


def required(text: str) -> tuple[str, str, str]:
    """Return the name, the comparison and the version of a requirement.

    Raises:
        ValueError: the text is not a name, `>=` or `<`, and a version.

    >>> required("torch>=2.6")
    ('torch', '>=', '2.6')
    """
    found = _REQUIREMENT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no requirement such as 'torch>=2.6'")
    return found[1], found[2], found[3]


def examine(versions: Mapping[str, str | None] | None = None, python: tuple[int, int] | None = None) -> Examination:
    """Examine what is installed, or what is said to be.

    Args:
        versions: of each package by name, None where it is not installed. None: what is installed here.
        python: major and minor version. None: that of this process.

    Returns:
        The versions, the classes that would be used, and what is known to go wrong.

    >>> versions = {"numpy": "2.2.0", "numba": "0.68.1", "mindspore": "2.10.0"}
    >>> examine(versions, (3, 11)).faults[0].mend
    "pip install 'numpy<2'"
    """
    found = installed_versions() if versions is None else dict(versions)
    python = sys.version_info[:2] if python is None else python
    there = [name for name, framework in ORIGINALS.items() if found.get(framework.packages[0]) is not None]
    stand_ins = {
        name: tuple((dialect.target, f"{adapter.module}.{adapter.name}") for adapter, dialect in drop_ins(name))
        for name in there
    }
    remarks = (*_older(found), *_untested(found, python), *_missing(found))
    return Examination(found, stand_ins, tuple(_faults(found, python)), remarks)


def _version(name: str) -> str | None:
    for one in (name, *_OTHER_NAMES.get(name, ())):
        try:
            # None or an error where the package's own description is damaged.
            version: str | None = metadata.version(one)
        except (metadata.PackageNotFoundError, KeyError):
            continue
        if version is not None:
            return version
    return None


def _below(versions: Mapping[str, str | None], name: str, bound: str) -> bool:
    """Return whether a package is installed in an older version."""
    version = versions.get(name)
    return version is not None and () < release(version) < release(bound)


def _faults(versions: Mapping[str, str | None], python: tuple[int, int]) -> Iterator[Trouble]:
    """Yield what fails with these versions."""
    if python < TESTED_PYTHON[0]:
        yield Trouble("Python", f"{_dotted(python)} is older than {_dotted(TESTED_PYTHON[0])}, which is needed.", "")
    for extra, texts in EXTRAS.items():
        first = required(texts[0])[0]
        if versions.get(first) is None:
            continue
        for name, comparison, bound in map(required, texts):
            version = versions.get(name)
            if version is None and extra in ORIGINALS:
                yield Trouble(name, f"It is not installed; classes for {first} need it.", how_to_install(extra))
            elif version is not None and release(version) and _below(versions, name, bound) != (comparison == "<"):
                yield Trouble(
                    name, f"{version} does not work with {first}.", f"pip install '{name}{comparison}{bound}'"
                )
    with_both = versions.get("tensorflow") is not None and _below(versions, "mindspore", "2.9")
    if with_both and versions.get("protobuf") is not None and not _below(versions, "protobuf", "3.21"):
        yield Trouble(
            "protobuf",
            "MindSpore before 2.9 shares a process with TensorFlow with protobuf 3.20 only.",
            "pip install 'protobuf<3.21'",
        )

    if all(versions.get(name) is not None for name in ("tensorflow", "mindspore", "triton")):
        yield Trouble(
            "triton",
            "A program that imports TensorFlow and then MindSpore, which imports triton, ends with a segmentation "
            "fault. Import triton first, as adamcompat's commands do, or leave it out: PyTorch for GPUs brings it.",
            "pip uninstall triton",
        )


def _older(versions: Mapping[str, str | None]) -> Iterator[Trouble]:
    """Yield what an older framework does otherwise than the mapping says."""
    for dialect in MAPPING.dialects.values():
        for fact in dialect.older:
            if _below(versions, fact.framework.lower(), fact.below):
                yield Trouble(
                    fact.framework,
                    f"Before {fact.below}, {dialect.target} has another {fact.fact}: {fact.was}. "
                    "The class here does as the installed one.",
                )
    if _below(versions, "keras", "3.5"):
        yield Trouble(
            "Keras",
            "Before 3.5 the replicas of tf.distribute drift apart; the class here warns.",
            "pip install 'keras>=3.5'",
        )


def _untested(versions: Mapping[str, str | None], python: tuple[int, int]) -> Iterator[Trouble]:
    """Yield what is newer than anything that was tested."""
    if python > TESTED_PYTHON[1]:
        yield Trouble(
            "Python", f"{_dotted(python)} is newer than {_dotted(TESTED_PYTHON[1])}, the newest that was tested."
        )
    for name, bound in TESTED.items():
        version = versions.get(name)
        parts = bound.count(".") + 1
        if version is not None and release(version)[:parts] > release(bound):
            yield Trouble(
                name,
                f"{version} is newer than {bound}, the newest that was tested.",
                "adamcompat verify" if name in _measured() else "",
            )


def _missing(versions: Mapping[str, str | None]) -> Iterator[Trouble]:
    """Yield what cannot be done for lack of a package."""
    for extra, purpose in PURPOSES.items():
        absent = [name for name, _, _ in map(required, EXTRAS[extra]) if versions.get(name) is None]
        if absent:
            yield Trouble(", ".join(absent), f"Not installed. Needed for: {purpose}.", how_to_install(extra))


def _measured() -> set[str]:
    return {package.replace("_", "-") for framework in ORIGINALS.values() for package in framework.packages}


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
