#!/usr/bin/env python3
"""Write a page for every two dialects, and an index of them; the site has them, and the repository has not.

python scripts/pair_pages.py FOLDER     write them there; docs/conf.py does so in docs/pairs whenever the site is built
"""

from __future__ import annotations

import html
import json
import sys
from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))

from adamcompat.differences import SAME, rows  # noqa: E402
from adamcompat.mapping.formulas import whole  # noqa: E402
from adamcompat.mapping.model import Dialect, Mapping  # noqa: E402
from adamcompat.mapping.tables import MAPPING  # noqa: E402
from adamcompat.render import cells  # noqa: E402
from adamcompat.translation import Translation, translate  # noqa: E402

FIGURES = HOME / "docs/figures/pairs.json"
INDEX = "index.md"

# What a sample call gives for a parameter that a dialect requires, by canonical name.
SAMPLES = {"parameters": "params", "learning_rate": "0.001", "absolute_weight_decay": "0.0001"}

SETTINGS = {
    "defaults": "each one's defaults",
    "equal": "learning rate 0.001, betas 0.9 and 0.999, epsilon 1e-08, no weight decay",
    "decoupled_weight_decay": "the same, and decoupled weight decay of 0.01",
    "l2_weight_decay": "the same, and L2 weight decay of 0.01",
}
HOW = """\
A number is the distance between the two, as a fraction of how far the weights of {source} have moved by then. 0.01 is
one hundredth of the way; what rounding alone does stays below 0.0001. Both get the same random weights and gradients,
and NumPy makes each one's steps with its own formula and rounding. Each element's gradients have one size, from 1e-8 to
1: every eighth is below 1e-7, where epsilon decides. A training without such small gradients drifts less.
`scripts/drift.py` measures it."""
CANONICAL = "The rounding of {title} is not known to the bit; here scalars are computed in float64."
BY_FACTS = "{titles} {are} known by {their} facts alone: adamcompat has no class with {calls}, so nothing was measured."
NEXT = """\
`adamcompat translate 'CALL' --to {target}` translates your own call, with schedules and every other argument: see [one
call](../translate.md), and [whole files](../migrate.md). [The state moves too](../state.md), where both can be run."""


def name_of(dialect: Dialect) -> str:
    """Return the name that people know a class by: with `tf.` where it has such a name.

    >>> name_of(MAPPING.dialects["keras3"]), name_of(MAPPING.dialects["mindspore"])
    ('tf.keras.optimizers.Adam', 'mindspore.nn.Adam')
    """
    return next((name for name in dialect.names if name.startswith("tf.")), dialect.target)


def file_of(source: str, target: str) -> str:
    """Return the name of a pair's page.

    >>> file_of("keras3_adamw", "mindspore")
    'keras3-adamw-to-mindspore.md'
    """
    return f"{source}-to-{target}.md".replace("_", "-")


def sample(dialect: Dialect) -> str:
    """Return a call with nothing but what must be given.

    >>> sample(MAPPING.dialects["torch"]), sample(MAPPING.dialects["optax"])
    ('torch.optim.Adam(params)', 'optax.adam(learning_rate=0.001)')
    """
    given = []
    for fact in dialect.parameters:
        if fact.required:
            value = SAMPLES[fact.parts[0].canonical]
            given.append(value if fact.parts[0].canonical == "parameters" else f"{fact.name}={value}")
    return f"{dialect.target}({', '.join(given)})"


def breakable(name: str) -> str:
    """Return a dotted name for a heading, which may break behind its dots on a narrow screen."""
    return name.replace(".", ".<wbr>")


def the_call(source: Dialect, target: Dialect) -> list[str]:
    """Return the lines that show a call and its translation."""
    call = sample(source)
    found: Translation = translate(call, target.name, from_=source.name)
    lines = ["## The call", "", "```python", call, "```", ""]
    if found.call is None:
        lines += [f"has no counterpart in {target.title} that computes the same. `adamcompat translate` says why:", ""]
    else:
        lines += ["becomes", "", "```python", *found.imports, found.call, "```", ""]
    # As HTML, in which Sphinx changes no quotes and dots: they may be of code.
    remarks = [f"<li>{message.severity.value}: {html.escape(message.text)}</li>" for message in found.messages]
    lines += ["<ul>", *remarks, "</ul>"] if remarks else []
    return [*lines, "", NEXT.format(target=target.name), ""]


def the_formulas(mapping: Mapping, source: Dialect, target: Dialect) -> list[str]:
    """Return the lines that show what both compute."""
    lines = ["## The formulas", ""]
    first, second = (whole(mapping, dialect) for dialect in (source, target))
    if first == second:
        lines += ["Both compute the same:", "", "```text", *first, "```", ""]
    else:
        for dialect, formula in ((source, first), (target, second)):
            lines += [f"{dialect.title}:", "", "```text", *formula, "```", ""]
    return [
        *lines,
        "`g` is the gradient of a parameter `p`, `m` and `v` are its moments, and `t` counts the steps from 1. "
        "Clipping and other stages are left out; the table says who has them.",
        "",
    ]


def cell(text: str) -> str:
    """Return a name or a default as HTML that breaks nowhere but behind a parenthesis."""
    return text if text == "-" else f'<code class="literal">{html.escape(text).replace("(", "(<wbr>")}</code>'


def table_of(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table as HTML, which Sphinx need not take apart: there are hundreds of them.

    Args:
        headings: of the columns.
        lines: the cells of each line, as HTML.
    """
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in line)}</tr>\n" for line in lines)
    return (
        '<div class="table-wrapper pair"><table class="docutils">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>"
    )


def what_differs(mapping: Mapping, source: Dialect, target: Dialect) -> list[str]:
    """Return the lines with the table of what differs, and the names of what does not."""
    table = rows(mapping, source.name, target.name)
    other = [(cells(row), row) for row in table if row.category != SAME]
    same = [f"`{row.source}`" for row in table if row.category == SAME]
    lines = ["## What differs", ""]
    if other:
        titles = (source.title, "default", target.title, "default", "how they differ")
        how = [f"<em>{html.escape(row.category)}</em>. {html.escape(row.note)}".strip() for _, row in other]
        shown = [(*map(cell, four[:4]), text) for (four, _), text in zip(other, how, strict=True)]
        lines += [table_of(titles, shown)]
    if same:
        lines += ["", f"The same in both: {', '.join(same)}."]
    return [*lines, ""]


def shown(value: float) -> str:
    """Return a fraction for people.

    >>> [shown(value) for value in (0, 3.2071, 0.0123, 0.00000123)]
    ['0', '3.2', '0.012', '1.2e-06']
    """
    return f"{value:.2g}"


def how_far(mapping: Mapping, source: Dialect, target: Dialect, figures: dict[str, Any]) -> list[str]:
    """Return the lines that say how far two dialects drift apart.

    Args:
        mapping: whose dialects they are.
        source, target: the dialects.
        figures: what `scripts/drift.py` wrote.
    """
    lines = ["## How far they drift apart", ""]
    measured = figures["settings"]["defaults"]["moved"]
    unknown = [dialect.title for dialect in (source, target) if dialect.name not in measured]
    if unknown:
        one = len(unknown) == 1
        words = {"are": "is", "their": "its", "calls": "its call"} if one else {"calls": "their calls"}
        return [
            *lines,
            BY_FACTS.format_map({"titles": " and ".join(unknown), "are": "are", "their": "their"} | words),
            "",
        ]
    lines_of = []
    for name, title in SETTINGS.items():
        found = figures["settings"][name]
        ends = (f"{source.name} {target.name}", f"{target.name} {source.name}")
        apart = next((found["apart"][key] for key in ends if key in found["apart"]), None)
        if apart is not None:
            parts = [a / b for a, b in zip(apart, found["moved"][source.name], strict=True)]
            lines_of.append((title, *map(shown, parts)))
    lines += [table_of(("hyperparameters", *(f"step {step:,}" for step in figures["steps"])), lines_of)]
    exact = [one for one in (source, target) if mapping.numerics[one.numerics].name == "canonical"]
    notes = [CANONICAL.format(title=dialect.title) for dialect in exact]
    return [*lines, "", " ".join([HOW.format(source=source.title), *notes]), ""]


def page(mapping: Mapping, source: Dialect, target: Dialect, figures: dict[str, Any]) -> str:
    """Return the page of a pair.

    Args:
        mapping: whose dialects they are.
        source, target: the dialects.
        figures: what `scripts/drift.py` wrote.
    """
    ends = [f"`{dialect.target}` ({dialect.versions})" for dialect in (source, target)]
    lines = [
        # The index is searched; hundreds of pages that say nearly the same would hide the others.
        *("---", "orphan: true", "nosearch: true", "---"),
        *(f"# {breakable(name_of(source))} to {breakable(name_of(target))}", ""),
        f"Port code from {ends[0]} to {ends[1]}: the call, both formulas, what differs, and how far they drift apart.",
        f"There is a page for [the other way]({file_of(target.name, source.name)}) and for [every pair]({INDEX}).",
        "",
        *the_call(source, target),
        *the_formulas(mapping, source, target),
        *what_differs(mapping, source, target),
        *how_far(mapping, source, target, figures),
    ]
    return "\n".join(lines)


def index(mapping: Mapping) -> str:
    """Return the index, by the dialect that code comes from."""
    lines = [
        *("# From every Adam to every other", ""),
        "Find the Adam that your code has, and the one that it is to have. Each page has one call translated, both",
        "formulas, a table of what differs, and how far the two drift apart.",
        "",
    ]
    for source in mapping.dialects.values():
        lines += [f"## From {breakable(name_of(source))}", "", f"{source.title}: {source.versions}.", ""]
        others = (target for target in mapping.dialects.values() if target is not source)
        lines += [f"- [to {name_of(target)}]({file_of(source.name, target.name)})" for target in others]
        lines += [""]
    return "\n".join(lines)


def pages(mapping: Mapping = MAPPING) -> dict[str, str]:
    """Return all pages by the names of their files."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    pairs = permutations(mapping.dialects.values(), 2)
    found = {file_of(a.name, b.name): page(mapping, a, b, figures) for a, b in pairs}
    return {INDEX: index(mapping), **found}


def write(folder: Path) -> None:
    """Write the pages that are new or other than they were, and delete those of no pair."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
