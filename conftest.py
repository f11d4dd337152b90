"""Doctests of a framework's folder are collected where that framework is installed."""

from importlib.util import find_spec

_NEEDED = {"mindspore": "mindspore", "tensorflow": "tf_keras"}
collect_ignore = [f"adamcompat/{folder}" for folder, name in _NEEDED.items() if find_spec(name) is None]
