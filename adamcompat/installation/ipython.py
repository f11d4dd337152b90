"""``%load_ext adamcompat`` in a notebook."""

from __future__ import annotations

from typing import Any

from adamcompat.installation.manager import install, uninstall


def load_ipython_extension(ipython: Any) -> None:
    """Called by ``%load_ext adamcompat``: the same as ``adamcompat.install()``."""
    install()


def unload_ipython_extension(ipython: Any) -> None:
    """Called by ``%unload_ext adamcompat``: the same as ``adamcompat.uninstall()``."""
    uninstall()
