from __future__ import annotations

from pathlib import Path

import pytest

import sample_config
from common.errors import UserError
from settings.protocols import compares_sets, read_protocols
from settings.train_command import read_train_command


def config(text: str, *targets: str) -> dict:
    return {"val_protocols": text.split(","), "val_targets": list(targets)}


def test_names_of_protocols() -> None:
    found = read_protocols(config("identify:a/staff,ijb:b/IJBC,groups:g.txt:pairs.txt", "lfw"))
    assert [(each.name, each.place, each.pairs) for each in found] == [
        ("identify", "a/staff", ""),
        ("ijb", "b/IJBC", ""),
        ("groups", "g.txt", "pairs.txt"),
    ]
    assert str(found[2]) == "groups:g.txt:pairs.txt"
    several = read_protocols(config("identify:a/our staff,identify:b,groups:sets,groups:c/age.txt", "x", "y"))
    assert [each.name for each in several] == ["identify-our_staff", "identify-b", "groups-sets", "groups-age"]
    assert compares_sets(config("groups:sets", "x", "y")) and not compares_sets(config("identify:sets"))
    assert read_protocols({"val_targets": []}) == []


@pytest.mark.parametrize(
    ("text", "targets", "message"),
    [
        ("identify", (), "'identify' is not a protocol and its data; expected identify:DIR, megaface:DIR"),
        ("identfy:a", (), "'identfy:a' is not a protocol .*; did you mean 'identify'"),
        ("identify:a/b,identify:c/b", (), "2 results would be called identify-b; rename a folder or a set"),
        ("ijb:a", ("ijb",), "2 results would be called ijb"),
        ("groups:g", (), "groups:g compares groups of the pairs of a set of --val_targets"),
        ("groups:sets", ("lfw",), "groups of the pairs of at least two sets"),
        ("groups:g:p", ("a", "b"), "p names the images of one set, and --val_targets has 2"),
    ],
)
def test_mistakes(text: str, targets: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_protocols(config(text, *targets))
    assert "\n" not in str(caught.value)


def test_from_the_command_line_and_config_py(tmp_path: Path) -> None:
    argv = ["--dataset", "orl", "--val_protocols", "identify:a,groups:b"]
    assert read_train_command(argv, tmp_path).config.val_protocols == ["identify:a", "groups:b"]
    unused = "--val_protocols has no effect: this run does not verify"
    assert unused not in read_train_command(argv, tmp_path).notices
    assert unused in read_train_command([*argv, "--do_validation_while_train", "0"], tmp_path).notices
    with pytest.raises(UserError, match="--val_protocols: 'mega' is not a protocol"):
        read_train_command(["--dataset", "orl", "--val_protocols", "mega"], tmp_path)
    settings = Path(sample_config.__file__).read_text()
    (tmp_path / "config.py").write_text(f"{settings}\ndefault.val_protocols = ['identify:with, a comma']\n")
    assert read_train_command(["--dataset", "orl"], tmp_path).config.val_protocols == ["identify:with, a comma"]
