"""The command as a whole: its help, usage errors, failures and exit codes."""

import argparse
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import al_rotate
from al_rotate.cli import parser
from al_rotate.cli.commands import detections as commands

ROOT = Path(al_rotate.__file__).parents[1]
PAGES = ["README.md", *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = (
    "init tile render predict rank query review collect train status report look "
    "add remove unskip classes set undo demo studio connect serve convert export completion doctor install-mm"
).split()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_can_be_typed(al, command):
    code, out, err = al(command, "--help")
    assert (code, err) == (0, "")
    example = re.search(r"example:\n  (al-rotate .*)\n", out).group(1)
    arguments = shlex.split(example)[1:]
    if "--cfg-options" in arguments:
        pytest.importorskip("mmengine")
    parsed = parser.build_parser().parse_args(arguments)
    assert parsed.command == command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option_and_tells_its_default(command):
    (commands,) = parser.build_parser()._subparsers._group_actions
    for action in commands.choices[command]._actions:
        if action.help == argparse.SUPPRESS:  # an old name
            continue
        assert action.help, action.option_strings
        if action.default not in (None, False, argparse.SUPPRESS, []):
            shown = commands.choices[command]._get_formatter()._expand_help(action)
            default = "default" if action.default is True else f"{action.default}"
            assert default in shown, shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", ".", "--config", "c", "--out", "o", "--tile", "0"],
        ["predict", ".", "--config", "c", "--out", "o", "--tile", "-512"],
        ["predict", ".", "--config", "c", "--out", "o", "--score-thr", "2"],
        ["predict", ".", "--config", "c", "--out", "o", "--score-thr", "nan"],
        ["predict", ".", "--config", "c", "--out", "o", "--score-thr", "-0.1"],
        ["predict", ".", "--config", "c", "--out", "o", "--batch-size", "0"],
        ["predict", ".", "--config", "c", "--out", "o", "--workers", "0"],
        ["predict", ".", "--config", "c", "--out", "o", "--tile", "512", "--scales", "0"],
        ["predict", ".", "--config", "c", "--out", "o", "--tile", "512", "--overlap", "-1"],
        ["tile", ".", "--out", "o", "--tile", "0"],
        ["tile", ".", "--out", "o", "--tile", "1.5"],
        ["rank", ".", "--top", "-1"],
        ["rank", ".", "--seed", "-1"],
        ["rank", ".", "--budget", "0"],
        ["query", "w", "--budget", "0"],
        ["query", "w", "--images", "-3"],
        ["query", "w", "--boxes", "0"],
        ["query", "w", "--minutes", "0"],
        ["query", "w", "--minutes", "inf"],
        ["review", "w", "--budget", "ten"],
        ["demo", "d", "--rounds", "0"],
        ["studio", "w", "--port", "0"],
        ["serve", "w", "--port", "65536"],
        ["serve", "w", "--train-every", "-1"],
        ["serve", "w", "--score-thr", "30"],
        ["connect", "w", "--url", "u", "--shown", "1.01"],
    ],
)
def test_numbers_out_of_range(al, arguments):
    code, out, err = al(*arguments)
    assert (code, out) == (2, "")
    option, value = arguments[-2:]
    assert re.search(rf"argument {option}( \w+ \[.*\])?: expected a (whole )?number .*, got '{value}'\n$", err), err


def test_the_old_name_of_the_budget(al, work):
    code, out, err = al("query", work, "--images", 3)
    assert (code, out.count("image_")) == (0, 3)
    assert err == "al-rotate query: warning: --images is now called --budget; the old name will go\n"
    code, _, err = al("connect", work, "--url", "http://127.0.0.1:1", "--images", "nowhere", "--token-file", work)
    assert code == 1
    assert "--images is now called --image-source" in err


def test_help_lists_every_command(al):
    code, out, _ = al("--help")
    assert code == 0
    assert re.findall(r"^    ([\w-]+)\s+[A-Z]", out, re.M) == COMMANDS


def test_version(al):
    assert al("--version") == (0, f"{al_rotate.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["query"], ["rank"], ["init", "work"], ["query", "work", "--budget", "many"]]
)
def test_arguments_it_cannot_parse(al, arguments):
    code, out, err = al(*arguments)
    assert (code, out) == (2, "")
    assert "usage: al-rotate" in err


def test_as_a_module():
    process = subprocess.run([sys.executable, "-m", "al_rotate", "status", "nowhere"], capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stdout == ""
    assert re.fullmatch(
        r"al-rotate status: expected a workspace, .*nowhere is no folder; make one with: .*\n", process.stderr
    )


def test_a_closed_standard_output(detections, tmp_path):
    """The work is done, and a file that is opened meanwhile does not take what is printed."""
    command = f'exec "{sys.executable}" -m al_rotate rank "{detections}" --out "{tmp_path / "ranking.csv"}" >&-'
    process = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert process.returncode == 1
    message = "al-rotate rank: standard output is closed: the command did its work, and what it prints is lost\n"
    assert process.stderr == message
    assert len((tmp_path / "ranking.csv").read_text().splitlines()) == 13


# A failure is one line on standard error.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "{}/none"], r"expected a workspace, .*/none is no folder; make one with: al-rotate init .*"),
        (["report", "{}/none"], r"expected a workspace, .*"),
        (
            ["query", "{}/none"],
            r"expected a workspace, .*/none is no folder; make one with: .* init .*/none --images F.*",
        ),
        (["rank", "{}"], r"expected a folder with detections, got .*; of images: al-rotate predict .*"),
        (["rank", "{}/none"], r"expected a Parquet file or a folder of them, got .*/none"),
        (["rank", "{}/image_00.png"], r"expected a Parquet file of RotatedInstances, got .*"),
        (["rank", "{}/detections", "--strategy", "entropi"], r"expected a strategy among .* Did you mean 'entropy'\?"),
        (["rank", "{}/detections", "--options", "k"], r"expected --options as KEY=VALUE, got 'k'"),
        (
            ["rank", "{}/detections", "--options", "hows=sum"],
            r"expected options of 'entropy' among .*, got hows; all .*",
        ),
        (["query", "{}/work", "--strategy", "entropi"], r"expected a strategy among .*"),
        (["collect", "{}/work"], r"no image waits for an answer; next: al-rotate query .*/work --budget 50"),
        (["train", "{}/work"], r"nothing is labelled yet; next: al-rotate query .*/work --budget 50"),
    ],
)
def test_errors(al, work, detections, arguments, message):
    code, out, err = al(*(argument.format(work.parent) for argument in arguments))
    assert (code, out) == (1, "")
    assert re.fullmatch(f"al-rotate {arguments[0]}: {message}\n", err), err


def test_interrupted(al, detections, monkeypatch):
    def pressed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "rank", pressed)  # where a user might lose patience
    assert al("rank", detections) == (130, "", "interrupted; the same command resumes from here\n")


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "mmcv", "mmengine", "mmdet", "mmrotate"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from al_rotate.cli import main
work = sys.argv[1]
print([main(arguments) for arguments in (["query", work, "--budget", "2"], ["collect", work], ["train", work],
                                 ["train", work, "--cfg-options", "a=1"], ["status", work])])
"""


def test_without_torch_all_but_training_works_and_that_names_the_doctor(work):
    process = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(work)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "[0, 0, 1, 1, 0]"
    said = r"al-rotate train: ModuleNotFoundError: No module named '(torch|mmengine).*'; run `al-rotate doctor`: .*; "
    for line in process.stderr.splitlines():
        assert re.fullmatch(said + r"details: .*\.log", line)
    assert len(process.stderr.splitlines()) == 2


def commands_in(page):
    """The commands in the indented blocks and tables of a page, continued lines joined, without comments."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^    (al-rotate .*)$", text, re.M):
        if not re.match(r"al-rotate \w+: ", line):  # what a command said
            yield line.partition(" #")[0]
    yield from re.findall(r"^\|.*\| `(al-rotate [^`.]+)` \|", text, re.M)  # a table's


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_pages_can_be_typed(page):
    found = [*commands_in(page)]
    assert found or page not in ("README.md", "docs/label_studio.md", "docs/starting.md")
    for command in found:
        arguments = shlex.split(command)[1:]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # old names
            assert parser.build_parser().parse_args(arguments).command == arguments[0]
