"""Sphinx's configuration: `python -m sphinx -W docs build/site` builds the pages."""

import inspect
import sys
from pathlib import Path
from typing import Any

from adamcompat import __version__

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import pair_pages

project = "adamcompat"
project_copyright = "the adamcompat authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_title = f"adamcompat {release}"

default_role = "code"
maximum_signature_line_length = 90
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Keys of a parameter group", "params_style")]
myst_enable_extensions = ["dollarmath"]


def signature_of_the_class(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Keras and MindSpore put a metaclass's `__call__` before it; the class's own is what users see."""
    if what != "class" or "adapters" not in name:
        return None
    found = inspect.signature(obj)
    bare = [parameter.replace(annotation=parameter.empty) for parameter in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=found.empty)), None


def skip_fields_of_tuples(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Skip the fields of named tuples, which the class's docstring describes."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def write_pairs(app: Any) -> None:
    """Write a page for every two dialects, anew with the site."""
    pair_pages.write(Path(app.srcdir) / "pairs")


def setup(app: Any) -> None:
    """Connect these functions; Sphinx calls it."""
    app.connect("builder-inited", write_pairs)
    app.connect("autodoc-skip-member", skip_fields_of_tuples)
    app.connect("autodoc-process-signature", signature_of_the_class)
