"""Write a comparison of models as one HTML file: tables and pictures inside, no scripts, nothing to load."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from evaluation.comparison.compare import Cell, Comparison, Measure
from evaluation.comparison.published import SOURCE
from evaluation.comparison.tables import NOTE, show_difference, show_value
from evaluation.text_table import percent

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: .5em 0 1.5em; }
th, td { border: 1px solid #ddd; padding: .3em .7em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
td.best { font-weight: bold; background: #e8f5e9; }
td.worse { color: #b71c1c; }
tr.published { color: #666; font-style: italic; }
small { color: #666; display: block; }
pre { overflow-x: auto; background: #f6f6f6; padding: .8em; }
img { max-width: 100%; border: 1px solid #eee; }
"""


class Picture(NamedTuple):
    """A picture of the page.

    Attributes:
        title: the heading above it.
        content: the bytes of a PNG or JPEG file.
    """

    title: str
    content: bytes


def render_page(comparison: Comparison, pictures: Sequence[Picture], texts: Sequence[tuple[str, str]] = ()) -> str:
    """Return the page.

    Args:
        comparison: the numbers.
        pictures: pictures below the tables.
        texts: title and text of further sections, shown with fixed width.
    """
    parts = ["<h1>Comparison of models</h1>"]
    for measure in comparison.measures:
        parts.append(f"<h2>{escape(measure.name[0].upper() + measure.name[1:])}, %</h2>")
        parts.append(_table(comparison, measure))
    parts.append(f"<p>{escape(NOTE.replace('marked by *', 'green'))} Red: the interval excludes 0.</p>")
    if any(measure.published for measure in comparison.measures):
        parts.append(f"<p>Published: {escape(SOURCE)}.</p>")
    parts += [f"<h2>{escape(title)}</h2>\n<pre>{escape(text)}</pre>" for title, text in texts]
    for picture in pictures:
        kind = "png" if picture.content.startswith(b"\x89PNG") else "jpeg"
        source = f"data:image/{kind};base64,{base64.b64encode(picture.content).decode()}"
        parts.append(f'<h2>{escape(picture.title)}</h2>\n<img alt="{escape(picture.title)}" src="{source}">')
    head = f'<meta charset="utf-8"><title>Comparison of models</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _table(comparison: Comparison, measure: Measure) -> str:
    lines = [f"<tr><th>model</th>{''.join(f'<th>{escape(name)}</th>' for name in comparison.sets)}</tr>"]
    for model in comparison.models:
        cells = "".join(_cell(measure.cells[name][model]) for name in comparison.sets)
        lines.append(f"<tr><td>{escape(model)}</td>{cells}</tr>")
    for model in dict.fromkeys(model for values in measure.published.values() for model in values):
        values = [measure.published.get(name, {}).get(model, float("nan")) for name in comparison.sets]
        cells = "".join(f"<td>{percent(value)}</td>" for value in values)
        lines.append(f'<tr class="published"><td>{escape(model)} (published)</td>{cells}</tr>')
    rows = "\n".join(lines)
    return f"<table>\n{rows}\n</table>"


def _cell(cell: Cell) -> str:
    kind = "best" if cell.is_best else "worse" if cell.to_best and cell.to_best.is_clear else ""
    difference = show_difference(cell).strip()
    small = f"<small>{escape(difference)}</small>" if difference else ""
    return f'<td class="{kind}">{escape(show_value(cell))}{small}</td>'
