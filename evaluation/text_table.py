"""Write tables as Markdown, and shares in percent."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows, the first of which is the heading, as a Markdown table; no final newline."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float, digits: int = 2) -> str:
    """Return a share in percent without the sign; ``-`` for NaN."""
    return f"{100 * value:.{digits}f}" if value == value else "-"
