"""Which class of each set becomes which class of the joint set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.editing.merge import SourceSet, join_classes, plan_merge
from data.editing.same_people import SamePerson, read_same_people, write_same_people
from data.label_map import write_label_map
from snapshots.label_map import read_label_map
from tests.support.record_sets import write_records


def source(*labels: int, num_classes: int = 0) -> SourceSet:
    return SourceSet(None, np.array(labels, np.int32), num_classes or max(labels) + 1)


def same(set_1: int, class_1: int, set_2: int, class_2: int) -> SamePerson:
    return SamePerson(set_1, class_1, "", set_2, class_2, "", 0.9)


def plan(*sources: SourceSet, people: tuple[SamePerson, ...] = ()) -> list[list[int]]:
    return [classes.tolist() for classes in plan_merge(sources, people)]


def test_dense_sets_get_an_offset() -> None:
    assert plan(source(0, 0, 1, 2), source(1, 0, 1), source(0)) == [[0, 1, 2], [3, 4], [5]]


def test_classes_without_images_get_no_number() -> None:
    assert plan(source(0, 3), source(1, num_classes=4)) == [[0, -1, -1, 1], [-1, 2, -1, -1]]


def test_the_same_person_has_the_number_of_the_first_class() -> None:
    people = (same(1, 1, 2, 0), same(2, 2, 1, 2))
    assert plan(source(0, 1, 2), source(0, 1, 2), people=people) == [[0, 1, 2], [1, 3, 2]]


def test_pairs_join_chains_and_classes_of_one_set() -> None:
    people = (same(1, 0, 2, 1), same(2, 1, 1, 2), same(2, 0, 3, 0))
    assert plan(source(0, 1, 2), source(0, 1), source(0), people=people) == [[0, 1, 0], [2, 0], [2]]
    assert join_classes(6, np.array([[5, 4], [4, 1], [2, 3]])).tolist() == [0, 1, 2, 2, 1, 1]


def test_equal_labels_are_one_person() -> None:
    sources = source(0, 2), source(1, 4), source(0, num_classes=2)
    assert [classes.tolist() for classes in plan_merge(sources, same_labels=True)] == [
        [0, 1, 2],
        [0, 1, 2, -1, 3],
        [0, 1],
    ]


def test_a_person_whose_first_class_has_no_images_is_kept() -> None:
    assert plan(source(1), source(0), people=(same(1, 0, 2, 0),)) == [[0, 1], [0]]


def test_a_label_map_names_each_class_once(tmp_path: Path) -> None:
    write_label_map(tmp_path / "map.txt", np.array([0, 1, -1, 0, 2]), ["three people"])
    found = read_label_map(tmp_path / "map.txt")
    assert list(zip(found.old.tolist(), found.new.tolist(), strict=True)) == [(0, 0), (1, 1), (4, 2)]
    assert "# 3 0 (the same person)" in (tmp_path / "map.txt").read_text()


def test_a_list_of_people_survives_a_file(tmp_path: Path) -> None:
    people = [SamePerson(1, 3, "Zoë, Z", 2, 0, "\udcb0", 0.75), same(2, 1, 2, 5)]
    write_same_people(tmp_path / "same.csv", people)
    assert read_same_people(tmp_path / "same.csv", [4, 6]) == people
    (tmp_path / "short.csv").write_text("set_1,class_1,set_2,class_2\n1, 2,2,3\n", "utf-8-sig")
    assert read_same_people(tmp_path / "short.csv", [4, 6])[0][:6] == (1, 2, "", 2, 3, "")


def test_mistakes_in_a_list_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "same.csv").write_text("set_1,class_1,set_2,class_2\n1,2,3,0\n1,9,2,0\n1,,2,0\n1,0,2,0\n")
    with pytest.raises(UserError) as error:
        read_same_people(tmp_path / "same.csv", [4, 4])
    lines = str(error.value).splitlines()
    assert [line.split(": ", 1)[1].split(";")[0] for line in lines] == [
        "set 3 does not exist",
        "class 9 of set 1 does not exist",
        "class_1 is '', expected a whole number",
    ]
    assert "line 2" in lines[0]
    (tmp_path / "same.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="its first line lacks set_1, class_1, set_2, class_2"):
        read_same_people(tmp_path / "same.csv", [4, 4])


def test_a_set_with_bad_records_is_refused(tmp_path: Path) -> None:
    write_records(tmp_path, [(b"x", 0), (b"y", 0.5), (b"z", 1)])
    with pytest.raises(UserError, match="label 0.5 is not a class number"):
        SourceSet.open(tmp_path)
