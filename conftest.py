"""Doctests of a framework's folder are collected where that framework is installed."""

from importlib.util import find_spec

collect_ignore = [f"adamcompat/{name}" for name in ("mindspore",) if find_spec(name) is None]
