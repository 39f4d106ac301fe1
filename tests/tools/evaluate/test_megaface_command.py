"""tools/evaluate/megaface.py with feature files and files of embeddings, as a user runs it."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from evaluation.embedding_store import describe, read_store, write_store
from evaluation.megaface import report
from tools.evaluate import megaface

PEOPLE = [f"Person_{number // 4}/Person_{number // 4}_{number}.png" for number in range(12)]
DISTRACTORS = [f"{number % 3}/{number}@N01/{number}.jpg_0.jpg" for number in range(150)]


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(3, 32)), 4, axis=0)
    return {
        "facescrub": (centres + 0.9 * rng.normal(size=centres.shape)).astype(np.float32),
        "megaface": rng.normal(size=(150, 32)).astype(np.float32),
    }


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: dict[str, np.ndarray]) -> Path:
    """A folder with lists, feature files and files of embeddings."""
    monkeypatch.chdir(tmp_path)
    for kind, names in (("facescrub", PEOPLE), ("megaface", DISTRACTORS)):
        (tmp_path / f"{kind}_lst").write_text("".join(f"crops/{name}\n" for name in names))
        for name, row in zip(names, features[kind], strict=True):
            path = tmp_path / "features" / kind / f"{name}_mine.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(struct.pack("4i", 32, 1, 4, 5) + struct.pack("32f", *row))
        model = {"model": "m", "model_sha256": "abc", "emb_size": 32}
        about = describe(model, {"source": kind, "images": len(names)}, {}, True, "float32")
        norms = np.linalg.norm(features[kind], axis=1)
        write_store(tmp_path / f"{kind}.npz", [features[kind]], norms, [f"crops/{name}" for name in names], about)
    return tmp_path


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draw_cmc", "draw_roc"):
        monkeypatch.setattr(report, name, lambda handle, results: None)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_nothing(monkeypatch)


BINARY = "--facescrub features/facescrub --megaface features/megaface --facescrub_lst facescrub_lst "
BINARY += "--megaface_lst megaface_lst --algo mine"
STORES = "--facescrub facescrub.npz --megaface megaface.npz --algo mine"


def run(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["megaface.py", *words.split()])
    megaface.main()


def expected_rank_1(features: dict[str, np.ndarray], size: int, lost: int = 0) -> float:
    probes, distractors = (
        rows / np.linalg.norm(rows.astype(float), axis=1, keepdims=True) for rows in features.values()
    )
    hits = [
        probes[i] @ probes[j] > (probes[i] @ distractors[lost:size].T).max()
        for i in range(12)
        for j in range(12)
        if i != j and i // 4 == j // 4
    ]
    assert 0 < np.mean(hits) < 1
    return float(np.mean(hits))


def test_files_and_embeddings_give_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, inside: Path, features: dict[str, np.ndarray]
) -> None:
    for words, output in ((BINARY, "a"), (STORES, "b")):
        with monkeypatch.context() as patch:
            if output == "a":
                draw_nothing(patch)
            run(monkeypatch, f"{words} --output {output}")
        lines = capsys.readouterr().out.splitlines()
        for size in (10, 100, 150):
            assert f"Computing test results with {size} images for set 1" in lines
        assert lines.count("Loaded 12 probes spanning 3 classes") == 3
        assert "distractor score matrix size: 12 150" in lines
        assert f"Rank 1: {expected_rank_1(features, 150):g}" in lines
        assert {path.name for path in (inside / output).iterdir()} == {
            *(f"cmc_facescrub_megaface_mine_{size}_1.json" for size in (10, 100, 150)),
            *("megaface.json", "cmc.png", "roc.png"),
        }
    assert all((inside / "b" / name).read_bytes().startswith(b"\x89PNG") for name in ("cmc.png", "roc.png"))
    for size in (10, 150):
        first, second = (
            json.loads((inside / output / f"cmc_facescrub_megaface_mine_{size}_1.json").read_text()) for output in "ab"
        )
        assert first == second
        assert first["cmc"][0] == list(range(size + 3)) and first["cmc"][1][-1] == 1
        assert first["cmc"][1][0] == (1 if size == 10 else expected_rank_1(features, size))
        assert first["roc"][0] == sorted(first["roc"][0]) and first["roc"][1][-1] == 1


@pytest.mark.usefixtures("without_pictures")
def test_noisy_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, inside: Path, features: dict[str, np.ndarray]
) -> None:
    Path("facescrub_noises.txt").write_text(f"# a comment\n{PEOPLE[0].split('/')[1]}\n")
    Path("megaface_noises.txt").write_text("# a comment\n" + "".join(f"7\t{name}\n" for name in DISTRACTORS[:60]))
    run(monkeypatch, f"{STORES} --output c --megaface_noises megaface_noises.txt --size 150")
    assert f"Rank 1: {expected_rank_1(features, 150, lost=60):g}" in capsys.readouterr().out
    noises = "--megaface_noises megaface_noises.txt --facescrub_noises facescrub_noises.txt"
    run(monkeypatch, f"{STORES} --output d {noises} --size 150")
    expected = capsys.readouterr().out.splitlines()[:-1]
    run(monkeypatch, f"{BINARY} --output for_devkit --write_features 1 {noises}")
    # Written for the development kit, read as another program's: the same scores.
    raw = Path(f"for_devkit/megaface/{DISTRACTORS[0]}_mine.bin").read_bytes()
    assert struct.unpack("4i", raw[:16]) == (33, 1, 4, 5) and struct.unpack("33f", raw[16:])[-1] == 100
    run(monkeypatch, BINARY.replace("features/", "for_devkit/") + " --output e --size 150")
    assert [line for line in capsys.readouterr().out.splitlines()[1:-1] if "Rank" in line] == [
        line for line in expected if "Rank" in line
    ]


@pytest.mark.usefixtures("without_pictures")
def test_lists_of_the_development_kit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, inside: Path, features: dict[str, np.ndarray]
) -> None:
    Path("megaface_features_list.json_90_1").write_text(json.dumps({"path": DISTRACTORS[60:][::-1]}))
    run(monkeypatch, f"{STORES} --megaface_lst megaface_features_list.json_90_1 --output h --size 90")
    assert f"Rank 1: {expected_rank_1(features, 150, lost=60):g}" in capsys.readouterr().out


def test_damage_is_one_line(monkeypatch: pytest.MonkeyPatch, inside: Path) -> None:
    broken = inside / "features" / "megaface"
    for number, content in enumerate(
        (
            b"short",
            struct.pack("4i", 32, 1, 4, 5) + bytes(60),
            struct.pack("4i", 31, 1, 4, 5) + bytes(124),
            b"\x01" * 144,
        )
    ):
        (broken / f"{DISTRACTORS[number + 1]}_mine.bin").write_bytes(content)
    nan = struct.pack("4i", 32, 1, 4, 5) + struct.pack("32f", *([float("nan")] * 32))
    (broken / f"{DISTRACTORS[8]}_mine.bin").write_bytes(nan)
    (broken / f"{DISTRACTORS[9]}_mine.bin").unlink()
    with pytest.raises(UserError) as caught:
        run(monkeypatch, f"{BINARY} --output f")
    text = str(caught.value)
    for words in (
        "5 bytes",
        "expected 144 for 32 numbers",
        "has 31 numbers",
        "begins with",
        "contains NaN",
        "6 of 150",
    ):
        assert words in text
    assert len(text.splitlines()) == 7
    assert not (inside / "f").exists()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("facescrub", f"facescrub.npz: the embedding of {PEOPLE[4]} is NaN or Inf"),
        ("megaface", "--megaface megaface.npz: distractor 4: NaN or Inf in its numbers"),
    ],
)
def test_embeddings_that_are_not_finite(monkeypatch: pytest.MonkeyPatch, inside: Path, flag: str, text: str) -> None:
    store = read_store(f"{flag}.npz")
    rows = np.array(store.embeddings)
    rows[4, 1] = np.inf
    write_store(f"{flag}.npz", [rows], store.norms, store.names.tolist(), store.about)
    with pytest.raises(UserError, match=text):
        run(monkeypatch, f"{STORES} --output i")
    assert not (inside / "i").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (f"{STORES} --size 10,1000", "1000 is not a number from 1 to 150"),
        (STORES.replace("megaface.npz", "features/megaface"), "name its images with --megaface_lst"),
        (f"{BINARY}x", "cannot be read"),
        (f"{STORES} --megaface_noises noises.txt", "none of its 1 image"),
        (f"{STORES} --megaface_noises two.txt", "line 1, a/b, has 2 parts; expected 3"),
        (f"{STORES} --facescrub_lst short.txt", "has 1 part; expected at least 2"),
        (f"{STORES} --facescrub_lst other.txt", "x/y.png is not in facescrub.npz"),
        (f"{STORES} --facescrub_lst empty.txt", "lists no images"),
        (f"{STORES} --facescrub_lst cut.txt", "is not JSON"),
        (f"{STORES} --facescrub_lst keys.txt", "expected the key 'path'"),
    ],
)
def test_mistakes(monkeypatch: pytest.MonkeyPatch, inside: Path, words: str, text: str) -> None:
    for name, content in (
        ("noises", "a/b/c"),
        ("two", "a/b"),
        ("short", "a"),
        ("other", "x/y.png"),
        ("empty", "\n"),
        ("cut", "{"),
        ("keys", "{}"),
    ):
        Path(f"{name}.txt").write_text(f"{content}\n")
    with pytest.raises(UserError, match=text):
        run(monkeypatch, f"{words} --output g")
