"""The command as a whole: its help, usage errors, failures and exit codes."""

import re
import shlex
import subprocess
import sys

import pytest

import al_rotate
from al_rotate.cli import loop, parser

COMMANDS = (
    "init predict tile rank query review collect train status report demo studio connect serve convert export doctor"
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


def test_help_lists_every_command(al):
    code, out, _ = al("--help")
    assert code == 0
    assert re.findall(r"^    (\w+) +[A-Z]", out, re.M) == COMMANDS


def test_version(al):
    assert al("--version") == (0, f"{al_rotate.__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["query"], ["rank"], ["init", "work"], ["query", "work", "--images", "many"]]
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


# A failure is one line on standard error.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "{}/none"], r"expected a workspace, .*/none is no folder; make one with: al-rotate init .*"),
        (["report", "{}/none"], r"expected a workspace, .*"),
        (["query", "{}/none"], r".*/none is no workspace yet: give images, classes and a detector to make one"),
        (["rank", "{}/none"], r"expected a Parquet file or a folder of them, got .*/none"),
        (["rank", "{}/image_00.png"], r"expected a Parquet file of RotatedInstances, got .*"),
        (["rank", "{}/detections", "--strategy", "entropi"], r"expected a strategy among .* Did you mean 'entropy'\?"),
        (["rank", "{}/detections", "--options", "k"], r"expected --options as KEY=VALUE, got 'k'"),
        (["rank", "{}/detections", "--options", "hows=sum"], r"expected options of 'entropy' among .*, got hows"),
        (["query", "{}/work", "--images", "0"], r"expected a budget of at least one of images, got 0"),
        (["query", "{}/work", "--strategy", "entropi"], r"expected a strategy among .*"),
        (["collect", "{}/work"], r"round 0 has not queried yet: query\(\) first"),
        (["train", "{}/work"], r"nothing is labelled yet: query\(\) and collect\(\) first"),
    ],
)
def test_errors(al, work, detections, arguments, message):
    code, out, err = al(*(argument.format(work.parent) for argument in arguments))
    assert (code, out) == (1, "")
    assert re.fullmatch(f"al-rotate {arguments[0]}: {message}\n", err), err


def test_interrupted(al, detections, monkeypatch):
    def pressed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "rank", pressed)  # where a user might lose patience
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
print([main(arguments) for arguments in (["query", work, "--images", "2"], ["collect", work], ["train", work],
                                 ["train", work, "--cfg-options", "a=1"], ["status", work])])
"""


def test_without_torch_all_but_training_works_and_that_names_the_doctor(work):
    process = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(work)], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == "[0, 0, 1, 1, 0]"
    first, hint, second, _ = process.stderr.splitlines()
    assert re.fullmatch(r"al-rotate train: No module named '(torch|mmengine).*'", first)
    assert hint == "run `al-rotate doctor`: it names what is missing"
    assert second == "al-rotate: No module named 'mmengine'"
