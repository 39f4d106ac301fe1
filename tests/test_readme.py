"""Both READMEs say the same: commands, names of flags and files, links, and the number of parts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def read(name: str) -> tuple[str, list[str]]:
    """Return the text without its blocks of code, and these."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return BLOCK.sub("", text), BLOCK.findall(text)


def commands(block: str) -> list[list[str]]:
    """Return the lines' words, without comments in either language."""
    return [re.findall(r"[!-~]+", re.sub(r"#.*", "", line)) for line in block.splitlines()]


def test_both_languages_say_the_same() -> None:
    (english, blocks), (chinese, translated) = read("README.md"), read("README_CH.md")
    for pattern in (r"`[^`]+`", r"\]\(docs/[^)]+\)", r"arXiv:[\d.]+"):
        assert Counter(re.findall(pattern, english)) == Counter(re.findall(pattern, chinese))
    for mark in ("## ", "| ", "**"):
        lines = [sum(line.startswith(mark) for line in text.splitlines()) for text in (english, chinese)]
        assert lines[0] == lines[1]
    assert len(blocks) == len(translated)
    for block, other in zip(blocks, translated, strict=True):
        if "train.rec" not in block:  # a listing with remarks
            assert commands(block) == commands(other)
