from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bench_quality import alone_in, list_runs, parse_arguments, plan_runs, run_all
from benchmarks.quality_faces import image_counts, pictures_of, prepare_faces
from benchmarks.quality_picture import draw_rows
from benchmarks.quality_recipes import BUILT_IN, choose_recipes, read_recipes
from benchmarks.quality_report import format_rows, make_rows
from benchmarks.quality_runs import RESULT, Run, check_settings, read_log
from common.errors import UserError
from data.drawn_faces import FaceOptions
from settings.config import Config
from settings.train_command import resolve_train_config

ROOT = Path(__file__).resolve().parents[2]
FACES = FaceOptions(people=50, images=6, others=20, pairs=40, size=24)


def plan(tmp_path: Path, *words: str) -> list[Run]:
    args, rest = parse_arguments(["--people", "50", "--size", "24", "--steps", "30", "--output", str(tmp_path), *words])
    return plan_runs(args, rest)[1]


def flags_of(run: Run) -> dict[str, str]:
    words = run.train_words()
    return dict(zip(words[::2], words[1::2], strict=True))


# ---------------------------------------------------------------- trainings


def test_forms_differ_in_the_head_alone(tmp_path: Path) -> None:
    runs = plan(tmp_path, "--ratios", "1,0.25", "--row_dtype", "float32,bf16", "--seeds", "3", "--optimizer", "adamw")
    full, narrow, partial, _ = map(flags_of, runs)
    places = {"--models_root", "--log_dir"}
    assert {key for key in full if full[key] != narrow[key]} - places == {"--fc7_dtype"}
    assert {key for key in full if full[key] != partial[key]} - places == {"--partial_fc", "--sample_ratio"}
    assert (full["--num_classes"], full["--image_size"], full["--train_iter"]) == ("50", "24", "30")
    assert full["--optimizer"] == "adamw" and full["--seed"] == "3"  # the command line wins over the recipe


def test_each_training_has_a_folder_and_one_seed_follows_the_other(tmp_path: Path) -> None:
    runs = plan(tmp_path, "--recipes", "plain,bench", "--seeds", "1,2", "--ranks", "1,2")
    assert [run.name for run in runs[:3]] == [
        "drawn-plain-1-float32-1-1",
        "drawn-plain-1-float32-1-2",
        "drawn-bench-1-float32-1-1",
    ]
    assert len({run.folder for run in runs}) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--people", "0"], "--people: invalid positive whole number value: '0'"),
        (["--bogus", "1"], "recipe 'bench': unknown flag --bogus 1"),
        (["--recipe", "x=--lr fast"], "recipe 'x': --lr"),
        (["--recipes", "plan"], "unknown recipe 'plan'.*did you mean 'plain'"),
        (["--recipes", "plain", "--recipe", "plain=--lr 1"], "recipe plain occurs twice"),
        (["--recipe", "--lr 1"], "expected NAME=FLAGS"),
        (["--sets", "lfw"], "--sets lfw: unknown set lfw; known: drawn, noisy, tail, orl"),
        (["--recipes", "demo"], "no recipe is for these sets"),
        (["--baseline", "plain"], "unknown --baseline 'plain'; known: bench"),
    ],
)
def test_a_mistake_is_one_clear_line_before_anything_is_drawn(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(tmp_path, *words)
    assert not list(tmp_path.iterdir())


def test_a_finished_training_is_read_and_the_others_are_listed(tmp_path: Path) -> None:
    done, other = runs = plan(tmp_path, "--seeds", "1,2")
    done.folder.mkdir(parents=True)
    (done.folder / RESULT).write_text(json.dumps({"accuracy": 0.9, "seconds": 100.0}))
    assert run_all(runs[:1], keep_models=False) == ([{"accuracy": 0.9, "seconds": 100.0}], [])
    (other.folder / "models" / "run" / "snapshot_8").mkdir(parents=True)
    table = list_runs(runs)
    assert "drawn-bench-1-float32-1-1  finished     30    0" in table
    assert "drawn-bench-1-float32-1-2  resumes      30  100" in table
    assert "1 of 2 trainings are left, about 2 minutes" in table


def test_other_settings_than_those_of_the_folder_are_refused(tmp_path: Path) -> None:
    (run,) = plan(tmp_path, "--seeds", "1")
    check_settings(run, Config({"lr": 0.1}))  # not started yet
    run.folder.mkdir(parents=True)
    (run.folder / "settings.json").write_text('{"lr": 0.1, "seed": 1}')
    check_settings(run, Config({"lr": 0.1, "seed": 1, "newer": 2}))
    with pytest.raises(UserError, match=r"was trained with lr 0\.1, now 0\.2: use another --output or recipe name"):
        check_settings(run, Config({"lr": 0.2, "seed": 1}))


def test_the_time_of_the_steps_is_added_up(tmp_path: Path) -> None:
    lines = [
        {"kind": "train", "step": 20, "loss": 9, "images_per_second": 64.0},
        {"kind": "drawn", "step": 20, "accuracy": 0.5},
        {"kind": "train", "step": 30, "loss": 8, "images_per_second": 32.0},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_log(path, 64) == {"losses": [9, 8], "seconds": 40.0}


# ---------------------------------------------------------------- recipes


def test_shares_of_the_steps_are_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "recipes.json"
    path.write_text('{"a": {"flags": "--lr_steps 60%,85% --warmup_steps 2.5% --loss_m2 0.5"}}')
    (recipe,) = choose_recipes(["a"], [], read_recipes(path))
    assert recipe.words(400) == ["--lr_steps", "240,340", "--warmup_steps", "10", "--loss_m2", "0.5"]


def test_a_recipe_may_begin_with_another(tmp_path: Path) -> None:
    path = tmp_path / "recipes.json"
    path.write_text('{"mine": {"from": "plain", "flags": "--lr 0.2"}, "more": {"from": "mine", "flags": "--lr 0.3"}}')
    known = read_recipes(path, read_recipes(BUILT_IN))
    assert known["more"].flags == (*known["plain"].flags, "--lr", "0.2", "--lr", "0.3")
    (run, *_) = plan(tmp_path / "out", "--recipe_file", str(path), "--recipes", "more", "--seeds", "1")
    words = [*run.train_words(), "--use_synthetic_data", "1"]
    for flag in ("--dataset_dir", "--name"):
        del words[words.index(flag) : words.index(flag) + 2]
    assert resolve_train_config(words).lr == 0.3  # the last one wins


def test_all_mistakes_of_a_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipes.json"
    wrong = {"a-b": {"flags": ""}, "c": {"flag": ""}, "d": {"flags": "", "set": 1}, "e": {"flags": "'"}}
    path.write_text(json.dumps({**wrong, "f": {"from": "e", "flags": ""}}))
    with pytest.raises(UserError) as raised:
        read_recipes(path)
    first, second, third, fourth, fifth = str(raised.value).splitlines()
    assert "'a-b': a name has letters" in first and "'c': expected" in second
    assert (
        "'d': unknown key set; known: about, flags, from, sets, verify" in third
        and "'e': No closing quotation" in fourth
    )
    assert "'f': from: no recipe 'e' comes before it" in fifth
    path.write_text("{")
    with pytest.raises(UserError, match="recipes.json: Expecting"):
        read_recipes(path)


def test_the_built_in_recipes_have_descriptions() -> None:
    assert all(recipe.about for recipe in read_recipes(BUILT_IN).values())


def test_the_recipe_of_the_demo_is_that_of_the_demo(tmp_path: Path) -> None:
    from tools.demo import RECIPE, SCHEDULE, STEPS

    words = read_recipes(BUILT_IN)["demo"].words(STEPS)
    flags = {flag[2:]: value for flag, value in zip(words[::2], words[1::2], strict=True)}
    settings = {"loss": "arcface", "train_iter": STEPS, **RECIPE, **SCHEDULE}
    assert {key: str(value) for key, value in settings.items()} == {**flags, "train_iter": str(STEPS)}


# ---------------------------------------------------------------- sets


def test_the_long_tail_has_2_to_100_images_a_person() -> None:
    counts = image_counts("tail", FaceOptions(2000, 6, 500, 3000, 40))
    assert (counts[0], counts[-1], len(counts)) == (100, 2, 2000) and (np.diff(counts) <= 0).all()
    assert image_counts("noisy", FACES).tolist() == [6] * 50


def test_the_noisy_set_has_wrong_labels_and_strangers() -> None:
    many = FaceOptions(people=1000, images=6, others=20, pairs=40, size=24)
    noisy, plain = list(pictures_of("noisy", many)), list(pictures_of("drawn", many))
    assert noisy == list(pictures_of("noisy", many)) and len(noisy) == len(plain) == 6000
    person, _, label = np.array(noisy).T
    strangers = person >= 1020
    assert 0.09 < strangers.mean() < 0.11
    assert 0.19 < (person != label)[~strangers].mean() * (~strangers).mean() < 0.21
    assert label.max() < 1000 and not ((person >= 1000) & (person < 1020)).any()  # no person of the verification
    assert all(person == label for person, _, label in plain)


def test_faces_are_written_once_and_of_one_kind(tmp_path: Path) -> None:
    options = FaceOptions(people=4, images=2, others=5, pairs=10, size=24)
    train = prepare_faces(tmp_path, "tail", options)
    made = train.stat().st_mtime_ns
    assert prepare_faces(tmp_path, "tail", options) == train and train.stat().st_mtime_ns == made
    with pytest.raises(UserError, match="use another --output"):
        prepare_faces(tmp_path, "drawn", FaceOptions(people=5, images=2, others=5, pairs=10, size=24))


# ---------------------------------------------------------------- results


def result(recipe: str, seed: str, right: str, ratio: float = 1, row_dtype: str = "float32", ranks: int = 1) -> dict:
    about = {"set": "drawn", "recipe": recipe, "ratio": ratio, "row_dtype": row_dtype, "ranks": ranks, "seed": seed}
    accuracy = right.count("1") / len(right)
    return {**about, "accuracy": accuracy, "rank_1": 0.5, "folds": 2, "right": right, "losses": [9, 3], "seconds": 7}


def test_recipes_are_compared_by_seed_with_the_baseline_in_the_same_form() -> None:
    results = [
        result("plain", "1", "1100"),
        result("plain", "2", "1110"),
        result("plain", "1", "1000", 0.1),
        result("new", "1", "1110"),
        result("new", "2", "1111"),
        result("new", "1", "1110", 0.1),
    ]
    plain, partial, new, new_partial = make_rows(results, "plain")
    assert plain.reference is None and plain.to_reference is None and plain.accuracy.mean == 0.625
    assert partial.reference == plain.kind and partial.to_reference.mean == -0.25
    assert new.reference == plain.kind
    assert (new.to_reference.mean, new.to_reference.low, new.to_reference.high) == (0.25, 0.25, 0.25)
    assert new_partial.reference == partial.kind and new_partial.to_reference.mean == 0.5


def test_seeds_that_only_one_of_both_has_do_not_count_in_the_difference() -> None:
    results = [result("plain", "1", "1100"), result("new", "1", "1110"), result("new", "2", "0000")]
    _, new = make_rows(results, "plain")
    assert new.to_reference.mean == 0.25 and new.accuracy.mean == 0.375
    (alone,) = make_rows(results[1:], "plain")
    assert alone.reference is None


def test_forms_on_other_numbers_of_ranks_are_not_compared() -> None:
    rows = make_rows([result("a", "1", "1100"), result("a", "1", "1100", row_dtype="bf16", ranks=2)], "a")
    assert [row.reference for row in rows] == [None, None]


def test_table_and_picture(tmp_path: Path) -> None:
    results = [result(recipe, seed, ("1" * int(seed)).ljust(4, "0")) for recipe in ("plain", "new") for seed in "123"]
    results.append(result("bf", "1", "1111", row_dtype="bf16"))
    rows = make_rows(results, "plain")
    lines = format_rows(rows).splitlines()
    assert lines[1].split()[:6] == ["drawn", "plain", "full", "float32", "1", "3"]
    assert "50.00 +- 62.10" in lines[1] and "+0.00 +- 0.00" in lines[2] and "100.00" in lines[3]
    draw_rows(rows, tmp_path / "quality.png")
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")


def test_two_at_once_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with ExitStack() as held:
        held.enter_context(alone_in(tmp_path / "a"))
        held.enter_context(alone_in(tmp_path / "b"))
        with pytest.raises(UserError, match="another bench_quality trains there"):
            held.enter_context(alone_in(tmp_path / "a"))
    with alone_in(tmp_path / "a"):
        pass


@pytest.mark.slow
def test_recipes_are_trained_verified_and_compared(tmp_path: Path) -> None:
    sizes = "--people 8 --images 3 --others 6 --pairs 20 --size 24 --steps 4 --net_blocks 1,1,1,1 --nrof_folds 2"
    command = [sys.executable, str(ROOT / "benchmarks/bench_quality.py"), "--output", str(tmp_path), *sizes.split()]
    command += ["--recipes", "plain,bench", "--seeds", "1,2", "--train_batch_size", "8", "--recipe", "bad=--lr 1e30"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, done.stderr  # of the recipe that diverges; the others are done all the same
    assert "failed: drawn-bad-1-float32-1-1: insightface_train.py failed (error: the loss" in done.stderr
    written = json.loads((tmp_path / "quality.json").read_text())
    assert [each["recipe"] for each in written["results"]] == ["plain", "plain", "bench", "bench"]
    assert [row["kind"][1] for row in written["rows"]] == ["plain", "bench"] and (tmp_path / "quality.png").is_file()
    again = subprocess.run(command[:-2], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and "of 4:" not in again.stdout  # nothing is trained again
