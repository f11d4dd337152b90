"""Tell how to install what this package can use beside NumPy."""

from __future__ import annotations

# The optional dependencies of pyproject.toml, which an installed package cannot read; a test holds them equal.
EXTRAS: dict[str, tuple[str, ...]] = {
    "fast": ("numba>=0.61",),
    "tensorflow": ("tensorflow>=2.16", "tf-keras>=2.16", "keras>=3.3"),
    "mindspore": ("mindspore>=2.7.1", "numba>=0.61", "numpy<2"),
    "torch": ("torch>=2.6",),
    "files": ("safetensors>=0.4", "h5py>=3.10", "PyYAML>=6"),
    "plot": ("matplotlib>=3.8",),
    "migrate": ("libcst>=1.1",),
    "aliases": ("PyYAML>=6",),
}


def how_to_install(extra: str) -> str:
    """Return the command that installs the packages of an extra of this package.

    The command names the packages themselves. So it also works for a checkout, which is in no package index.

    Args:
        extra: a key of `EXTRAS`, such as ``fast``.

    Raises:
        KeyError: there is no such extra.

    >>> how_to_install("migrate")
    "pip install 'libcst>=1.1'"
    """
    return "pip install " + " ".join(f"'{package}'" for package in EXTRAS[extra])
