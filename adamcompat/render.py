"""Render mapping tables as text: Markdown, JSON, CSV, HTML; and their cells for other renderers."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict

from adamcompat.mapping.compare import Row
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
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = ""
    for row in table:
        code = "".join(
            f"<td><code>{html.escape(cell)}</code></td>" if cell != "-" else "<td>-</td>" for cell in cells(row)[:4]
        )
        body += f"<tr>{code}<td>{html.escape(row.category)}</td><td>{html.escape(row.note)}</td></tr>\n"
    title = f"Adam: {titles[0]} to {titles[2]}"
    return page(title, f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n")


_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24;"
    "background:#fff}table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #d8dee4;"
    "padding:.4rem .6rem;text-align:left;vertical-align:top}th{background:#f3f5f7}code{white-space:nowrap}"
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
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{heading}</title>'
        f"<style>{_STYLE}{style}</style></head>\n<body>\n<h1>{heading}</h1>\n{body}</body>\n</html>\n"
    )


RENDERERS: dict[str, Renderer] = {"markdown": markdown, "json": as_json, "csv": as_csv, "html": as_html}
