"""Render mapping tables as text: Markdown, JSON, CSV, HTML; and their cells for other renderers."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import adamcompat.fragments as fragments
from adamcompat.differences import Row
from adamcompat.mapping.model import Mapping

Renderer = Callable[[Mapping, str, str, Sequence[Row]], str]


def headings(mapping: Mapping, source: str, target: str) -> tuple[str, ...]:
    """Return the titles of the six columns.

    Args:
        mapping: the facts; holds both dialects.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.

    Returns:
        The title of the source, of its default, of the target, of its default, of the category and of the note.
    """
    a, b = mapping.dialects[source].title, mapping.dialects[target].title
    return a, "default", b, "default", "category", "note"


def cells(row: Row) -> tuple[str, ...]:
    """Return the six cells of a row as text; keys of a parameter group are marked, and "-" stands for nothing."""
    mark = " (group)" if row.kind == "group" else ""
    return (
        row.source + mark if row.source else "-",
        row.source_default or "-",
        row.target + mark if row.target else "-",
        row.target_default or "-",
        row.category,
        row.note,
    )


def line_of(row: Row) -> str:
    """Return a row as one line without its note, such as ``beta_1 = 0.9 -> beta1 = 0.9: renamed``."""
    old, old_default, new, new_default, category, _ = cells(row)
    pairs = (old, old_default), (new, new_default)
    ends = (f"{name} = {default}" if default != "-" else name for name, default in pairs)
    return f"{' -> '.join(ends)}: {category}"


def markdown(mapping: Mapping, source: str, target: str, table: Sequence[Row]) -> str:
    """Return a mapping table in GitHub's Markdown.

    Args:
        mapping: the facts; holds both dialects.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.
        table: the rows, as `compare.rows` returns them for these dialects.

    Returns:
        The text of the table, with two lines of headings and one line for each row.
    """
    lines = [headings(mapping, source, target), ("---",) * 6]
    for row in table:
        code = [f"`{cell}`" if cell != "-" else cell for cell in cells(row)[:4]]
        lines.append((*code, *cells(row)[4:]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def as_json(mapping: Mapping, source: str, target: str, table: Sequence[Row]) -> str:
    """Return a mapping table as a JSON object.

    Args:
        mapping: the facts; holds both dialects.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.
        table: the rows, as `compare.rows` returns them for these dialects.

    Returns:
        The text of an object with both dialects under ``source`` and ``target``, and a list of rows under ``rows``.
    """
    ends = {
        side: {"dialect": name, "title": mapping.dialects[name].title, "target": mapping.dialects[name].target}
        for side, name in (("source", source), ("target", target))
    }
    return json.dumps({**ends, "rows": [asdict(row) for row in table]}, indent=2) + "\n"


def as_csv(mapping: Mapping, source: str, target: str, table: Sequence[Row]) -> str:
    """Return a mapping table as comma-separated values.

    Args:
        mapping: the facts; holds both dialects.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.
        table: the rows, as `compare.rows` returns them for these dialects.

    Returns:
        The text of the table, with one line of headings and one line for each row.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("kind", source, f"{source}_default", target, f"{target}_default", "category", "note"))
    for row in table:
        writer.writerow(
            (
                row.kind,
                row.source or "",
                row.source_default,
                row.target or "",
                row.target_default,
                row.category,
                row.note,
            )
        )
    return out.getvalue()


def as_html(mapping: Mapping, source: str, target: str, table: Sequence[Row]) -> str:
    """Return a mapping table as a page of HTML that needs no other file.

    Args:
        mapping: the facts; holds both dialects.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.
        table: the rows, as `compare.rows` returns them for these dialects.

    Returns:
        The text of the page.
    """
    titles = headings(mapping, source, target)
    found = []
    for row in table:
        code = "".join(
            f"<td><code>{html.escape(cell)}</code></td>" if cell != "-" else "<td>-</td>" for cell in cells(row)[:4]
        )
        found.append(f'{code}<td>{html.escape(row.category)}</td><td class="note">{html.escape(row.note)}</td>')
    return page(f"Adam: {titles[0]} to {titles[2]}", html_table(titles, found))


_STYLE = (
    ":root{color-scheme:light dark;--ink:#1b1f24;--ground:#fff;--line:#d8dee4;--head:#f3f5f7;--good:#116329;"
    "--bad:#a40e26}@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--ground:#0d1117;--line:#30363d;"
    "--head:#161b22;--good:#56d364;--bad:#ff7b72}}*{box-sizing:border-box}"
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:var(--ink);"
    "background:var(--ground);overflow-wrap:break-word}h1{line-height:1.2}"
    # Words stay whole: a table that is wider than the page is scrolled, and the page is not.
    ".wide{overflow-x:auto;margin:1rem 0}table{border-collapse:collapse;width:100%}"
    "th,td{border-bottom:1px solid var(--line);padding:.4rem .6rem;text-align:left;vertical-align:top;"
    "overflow-wrap:normal}.note{min-width:22em}th{background:var(--head)}code{white-space:nowrap}"
)


def html_table(titles: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table that is scrolled on a narrow screen; `rows` are the cells of each row, as HTML."""
    return (
        # What is scrolled must be reached by keyboard, too.
        f'<div class="wide" role="region" aria-label="{html.escape(titles[0])}" tabindex="0">\n'
        f"{fragments.grid(titles, rows)}\n</div>\n"
    )


def page(title: str, body: str, style: str = "") -> str:
    """Return a page of HTML that needs no other file.

    Args:
        title: the title and first heading, as plain text.
        body: what stands under the heading, as HTML.
        style: CSS beside that of every page; may be empty.

    Returns:
        The text of the page.
    """
    heading = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{heading}</title>'
        f"<style>{_STYLE}{style}</style></head>\n<body>\n<h1>{heading}</h1>\n{body}</body>\n</html>\n"
    )


RENDERERS: dict[str, Renderer] = {"markdown": markdown, "json": as_json, "csv": as_csv, "html": as_html}
