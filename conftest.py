"""What belongs to a framework is collected where that framework is installed."""

from importlib.util import find_spec
from pathlib import Path

_HERE = Path(__file__).parent
_NEEDED = {"mindspore": "mindspore", "tensorflow": "tf_keras", "torch": "torch"}
_MISSING = [name for name, needed in _NEEDED.items() if find_spec(needed) is None]
collect_ignore = ["tests/data"]
collect_ignore += [f"{top}/{name}" for name in _MISSING for top in ("adamcompat", "tests")]
# Its parts of the tools.
collect_ignore += [
    str(path.relative_to(_HERE))
    for name in _MISSING
    for pattern in (f"{name}.py", f"{name}_*.py")
    for path in (_HERE / "adamcompat").rglob(pattern)
]
collect_ignore += ["adamcompat/migrate/rewrite.py"] if find_spec("libcst") is None else []
