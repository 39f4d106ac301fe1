"""README and docs: links and paths lead somewhere, and every command is one that its program takes."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from settings.legacy.flags import OLD_FLAGS
from settings.train_command import resolve_train_config
from tests.support.own_set import write_own_set
from tests.support.record_sets import run_here

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "README_CH.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
# Files that belong to users, to other programs or to a run, and are not in the repository.
FOREIGN = (
    "config.py",
    "train.py",
    "train_softmax.py",
    "train_v2.py",
    "configs/base.py",
    "configs/ms1mv3_r50.py",
    "generated.py",
    "ijb_11.py",
    "ijb_1n.py",
    "ijb_evals.py",
)
OTHER_PROGRAMS_FLAGS = {
    "--fc7-no-bias",
    "--beta-freeze",
    "--color",
    "--cutoff",
    "--ignore-scripts",
    "--logdir",
    "--prefix",
}


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@functools.cache
def tracked_files() -> list[str]:
    """Return the files of the repository; without Git those below its folders."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    return listed.split("\n") if listed else [str(path.relative_to(ROOT)) for path in ROOT.glob("[a-z]*/**/*")]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = without_code(read(page))
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", without_code(path.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    """What stands in backticks and is named like a source file, by its path or the end of it, or is below a folder."""
    files = tracked_files()
    folders = {path.split("/")[0] for path in files if "/" in path}
    missing = []
    for word in re.findall(r"[\w*.\-/]+", " ".join(re.findall(r"`([^`\n]+)`", read(page)))):
        if word in FOREIGN or "*" in word:
            continue
        if re.search(r"\.(py|cpp|h|c|sh|toml|md)$", word):
            found = any(path == word or path.endswith(f"/{word}") for path in files)
        elif "/" in word and word.split("/")[0] in folders:
            found = (ROOT / word).exists()
        else:
            continue
        if not found:
            missing.append(word)
    assert not missing


def list_commands(page: str) -> list[list[str]]:
    """Return the words of the page's ``python`` commands, in blocks and in backticks, from the script on."""
    text = read(page)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    shell = [block for language, block in blocks if language in ("", "bash")]
    lines = [line for block in shell for line in block.replace("\\\n", " ").splitlines()]
    lines += [
        code for code in re.findall(r"`([^`\n]+)`", without_code(text)) if re.match(r"(python )?[\w/]+\.py ", code)
    ]
    commands = []
    for line in lines:
        words = shlex.split(re.sub(r"[\[\];&]", " ", line), comments=True)
        if words[:1] == ["python"] or (words and words[0].endswith(".py")):
            commands.append(words[1:] if words[0] == "python" else words)
    return [words for words in commands if words and words[0] != "-m"]


COMMANDS = sorted({shlex.join(words) for page in PAGES for words in list_commands(page)})
TRAIN, VERIFY = "insightface_train.py", "insightface_val.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what command lines of train_softmax.py and of arcface_torch read before anything else."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "datasets" / "faces_emore"
    data.mkdir(parents=True)
    (data / "property").write_text("85742,112,112")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/ms1mv3_r50.py").write_text("config = edict(rec='synthetic', num_classes=9, num_image=9)\n")
    return tmp_path


@functools.cache
def help_flags(script: str) -> set[str]:
    """Return the flags that ``--help`` of a script shows."""
    code, shown, _ = run_here(script, "--help")
    assert not code
    return set(re.findall(r"--[a-z][\w-]+", shown))


PASS_ON = ("tools/plan_run.py", "tools/find_lr.py")


def old_flags() -> set[str]:
    return {row.flag for row in OLD_FLAGS}


def with_underscores(flag: str) -> str:
    return "--" + flag[2:].replace("-", "_")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_taken(command: str, folder: Path) -> None:
    script, *flags = shlex.split(command)
    assert (ROOT / script).is_file()
    if script == TRAIN and not {"--help", "--print_config", "--version"} & set(flags):
        write_own_set(flags, folder)
        resolve_train_config(flags, folder)
        return
    known = help_flags(script) | {"--help"}
    if script.startswith("benchmarks/") or script in PASS_ON:  # what they do not know goes to the training
        known |= help_flags(TRAIN)
    if script == VERIFY:
        known |= old_flags()
    assert {with_underscores(flag) for flag in flags if flag.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES)
def test_flags_are_known(page: str) -> None:
    scripts = {script for command in COMMANDS if (ROOT / (script := shlex.split(command)[0])).is_file()}
    known = OTHER_PROGRAMS_FLAGS.union(old_flags(), *map(help_flags, scripts | {TRAIN, VERIFY}))
    named = re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", " ".join(re.findall(r"`([^`\n]+)`", read(page))))
    assert {flag for flag in named if not {flag, with_underscores(flag)} & known} == set()


@pytest.mark.parametrize("page", ["README.md", "README_CH.md"])
def test_quoted_messages_are_those_of_the_code(page: str) -> None:
    """Between numbers and dots, each message of the table of errors stands in the code."""
    sources = [path for path in tracked_files() if re.match(r"(?!tests/|benchmarks/).*\.(py|c)$", path)]
    code = " ".join((ROOT / path).read_text(encoding="utf-8") for path in sources)
    code = re.sub(r"\"\s*f?\"|\{[^{}]*\}", "", code)
    table = read(page).split("|---|---|")[-1]
    for message in re.findall(r"^\| `([^`]+)`", table, re.MULTILINE):
        for piece in re.split(r"\.\.\.|\b(?:loss|nan|node|libc|cu)\b|[\d():]+|\{\w*\}", message):
            assert piece.strip() in code, message
