"""What goes wrong in a command becomes one line, and the traceback of what nobody foresaw a log file."""

import errno
import os
import re
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from al_rotate import cli
from al_rotate.cli.commands import detections as commands
from al_rotate.cli.failures import KEPT_LOGS

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "al_rotate" / "logs"


def raising(error):
    def rank(*args, **options):
        raise error  # of this file, which stands for a library's

    return rank


def the_line(outcome):
    code, out, err = outcome
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("error", "what", "to_do"),
    [
        (AttributeError("'ConfigDict' object has no attribute 'x'"), "AttributeError: 'ConfigDict' .*", "check what"),
        (AssertionError(), "AssertionError", "check what you gave it"),
        (NotImplementedError("for\nthis"), "NotImplementedError: for this", "check what you gave it"),
        (RecursionError("maximum recursion depth exceeded"), "RecursionError: .*", "check what you gave it"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device", "free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "w/a.parquet"), "w/a.parquet: Disk quota .*", "free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), "a.png: Permission denied", "check who may read"),
        (sqlite3.OperationalError("database or disk is full"), "OperationalError: .* full", "free some space"),
        (sqlite3.OperationalError("database is locked"), "OperationalError: .* locked", "another process is writing"),
        (MemoryError(), "MemoryError", "take a smaller --batch-size"),
        (RuntimeError("CUDA out of memory. Tried\nto allocate"), "RuntimeError: CUDA out .*", "take a smaller --batch"),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'", "run `al-rotate doc"),
        (ValueError("x" * 2000), r"ValueError: x{600} \.\.\.", "check what you gave it"),
    ],
)
def test_a_foreign_exception(al, detections, monkeypatch, logs, error, what, to_do):
    monkeypatch.setattr(commands, "rank", raising(error))
    line = the_line(al("rank", detections))
    (log,) = logs.iterdir()
    assert re.fullmatch(rf"al-rotate rank: (\S+, line \d+: |\S+: )?{what}; {to_do}.*; details: {log}\n", line), line
    text = log.read_text()
    assert text.startswith(f"al-rotate rank {detections}\n")
    assert "Traceback (most recent call last):" in text
    assert type(error).__name__ in text
    assert log.stat().st_mode & 0o077 == 0


def test_errors_of_this_package_need_no_log(al, detections, logs):
    assert "Did you mean 'entropy'?" in the_line(al("rank", detections, "--strategy", "entropi"))
    assert not logs.exists()


@pytest.mark.parametrize("damage", ["second half", "all", "first page"])
def test_a_damaged_database_is_named(al, work, damage):
    """A lost write leaves zeros: SQLite notices when it comes to that page."""
    al("query", work, "--budget", 2)
    file = work / "state.db"
    content = file.read_bytes()
    start, end = {"second half": (len(content) // 2, None), "all": (0, None), "first page": (100, 4096)}[damage]
    end = end or len(content)
    file.write_bytes(content[:start] + bytes(end - start) + content[end:])
    line = the_line(al("status", work))
    assert str(file) in line
    assert re.search(r"put back a copy|expected", line)


def test_a_slip_in_code_of_the_users_own_is_located(al, detections, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def rank(*args, **options):\n    return undefined_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    import mine

    monkeypatch.setattr(commands, "rank", mine.rank)
    line = the_line(al("rank", detections))
    assert f"{tmp_path / 'mine.py'}, line 2: NameError: name 'undefined_name' is not defined" in line


def test_without_a_place_for_the_log(al, detections, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("no folder")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(commands, "rank", raising(AttributeError("x")))
    line = the_line(al("rank", detections))
    (log,) = (tmp_path / "tmp").iterdir()
    assert line.endswith(f"details: {log}\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "cache" / "none"))
    assert the_line(al("rank", detections)).endswith("its traceback could not be written to a log file\n")


def test_old_logs_go(al, detections, logs, monkeypatch):
    logs.mkdir(parents=True)
    for number in range(KEPT_LOGS + 5):
        (logs / f"20200101-000000-{number:03d}.log").touch()
    monkeypatch.setattr(commands, "rank", raising(AttributeError("x")))
    the_line(al("rank", detections))
    kept = sorted(log.name for log in logs.iterdir())
    assert len(kept) == KEPT_LOGS
    assert kept[0] == "20200101-000000-006.log"


def test_warnings_are_lines(al, detections, monkeypatch):
    real = commands.rank

    def rank(*args, **options):
        for _ in range(3):
            warnings.warn("two\n  lines", stacklevel=1)
        warnings.warn("another", RuntimeWarning, stacklevel=2)
        return real(*args, **options)

    monkeypatch.setattr(commands, "rank", rank)
    code, out, err = al("rank", detections)
    assert (code, err) == (0, "al-rotate rank: warning: two lines\nal-rotate rank: warning: another\n")
    assert out


def test_output_that_nobody_reads_to_the_end(detections):
    command = f"{sys.executable} -m al_rotate rank {detections} --top 12 | true"
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("buffered", ["", "1"])
def test_output_onto_a_full_disk(detections, buffered):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    command = f"{sys.executable} -m al_rotate rank {detections} --top 12 > /dev/full"
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    said = "al-rotate rank: standard output: No space left on device; free some space and give the same command again"
    assert (process.returncode, process.stderr.partition(": it resumes; ")[0]) == (1, said)
    assert process.stderr.count("\n") == 1


def test_names_that_are_no_text_are_printed(detections):
    """An image whose name is not UTF-8, on a terminal that takes only ASCII."""
    code = "import sys; from al_rotate.cli import main, commands; from al_rotate.cli.commands import detections as d\n"
    code += "d.rank = lambda *a, **o: __import__('pandas').DataFrame({'image_id': ['caf\\udce9', 'größe']})\n"
    code += f"sys.exit(main(['rank', {str(detections)!r}]))"
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=Path.cwd())
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"caf\\udce9" in process.stdout
    assert b"gr\\xf6\\xdfe" in process.stdout


@pytest.mark.mm
@pytest.mark.parametrize("part", ["syntax", "name", "attribute", "old", "model only", "missing", "encoding"])
def test_configs_that_are_wrong(al, tmp_path, part):
    """Each is refused in one line with its name, whoever noticed it."""
    texts = {
        "syntax": "model = dict(\n",
        "name": "model = undefined_name\n",
        "attribute": "import os\nmodel = os.nothing\n",
        "old": "model = dict(type='RotatedRetinaNet', bbox_head=dict(type='RotatedRetinaHead', num_classes=1))\n"
        "data = dict(train=dict(type='DOTADataset', classes=('ship',)))\n",
        "model only": "model = dict(type='mmdet.RTMDet')\ndefault_scope = 'mmrotate'\n",
        "missing": "_base_ = './nowhere.py'\n",
        "encoding": "",
    }
    config = tmp_path / "mine.py"
    config.write_text(texts[part])
    if part == "encoding":
        config.write_bytes(b"name = 'caf\xe9'\n")
    arguments = ("--config", config, "--device", "cpu", "--out", tmp_path / "out")
    assert re.search("mine|nowhere", the_line(al("predict", tmp_path, *arguments)))


@pytest.mark.mm
def test_an_exception_of_opencv(al, detections, monkeypatch):
    import cv2
    import numpy as np

    monkeypatch.setattr(commands, "rank", lambda *a, **o: cv2.resize(np.zeros((0, 0, 3), np.uint8), (2, 2)))
    line = the_line(al("rank", detections))
    assert "error: OpenCV" in line
    assert cli.main(["--version"]) == 0
