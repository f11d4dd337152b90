"""What belongs to a framework is collected where that framework is installed."""

from importlib.util import find_spec

_NEEDED = {"mindspore": "mindspore", "tensorflow": "tf_keras", "torch": "torch"}
collect_ignore = ["tests/data"]
collect_ignore += [
    f"{top}/{folder}" for folder, name in _NEEDED.items() for top in ("adamcompat", "tests") if find_spec(name) is None
]
collect_ignore += ["adamcompat/migrate/rewrite.py"] if find_spec("libcst") is None else []
