import csv
import os
from pathlib import Path

from data.rejected import Rejection, summarize, write_rejected


def test_list_keeps_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xd5\xc5/a,b.jpg")
    rows = [Rejection(name, "no face"), Rejection("x.png", "not decodable", "at byte 7"), Rejection("y.png", "no face")]
    write_rejected(tmp_path / "rejected.csv", rows)
    with open(tmp_path / "rejected.csv", encoding="utf-8", errors="surrogateescape", newline="") as handle:
        assert list(csv.reader(handle)) == [list(Rejection._fields), *map(list, rows)]
    assert summarize(rows) == "2 no face, 1 not decodable"
