"""The script behind make, up to where it installs: whatever Python runs it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "tools" / "setup_env.py"


@pytest.fixture
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_old_python_can_read_it_to_the_point_where_it_is_refused():
    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))
    assert "__future__" not in SCRIPT.read_text(encoding="utf-8")  # annotations are of 3.7


def test_another_python_that_serves_is_taken(setup_env, tmp_path, monkeypatch):
    log, disabled, serves = tmp_path / "log", tmp_path / "python3.20", tmp_path / "python3.19"
    disabled.write_text("#!/bin/sh\nexit 127\n")
    serves.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    for file in (disabled, serves):
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("setup_env", {str(SCRIPT)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.SUPPORTED = ((3, 19), (3, 20))
module.use_supported_python()
"""
    done = setup_env.subprocess.run([sys.executable, "-c", code, "given"])
    assert done.returncode == 0
    assert log.read_text() == "-c import venv, ensurepip\n-c given\n"


def test_no_python_that_serves(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env, "SUPPORTED", ((3, 98), (3, 99)))
    with pytest.raises(SystemExit) as end:
        setup_env.use_supported_python()
    assert re.fullmatch(
        r"al_rotate needs Python 3\.10, 3\.11, 3\.12, 3\.13 or 3\.14; \S+ is \S+, and no other is on the PATH: install "
        r"one, then run `make PYTHON=/path/to/python3\.13 demo`",
        str(end.value),
    )


def test_a_python_without_venv(setup_env, tmp_path, monkeypatch):
    monkeypatch.setattr(setup_env, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup_env, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SystemExit, match=r"/bin/false cannot create .venv.* apt-get install python3-venv"):
        setup_env.create_venv()


def test_a_clone_that_cannot_be_written(setup_env, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(setup_env, "ROOT", tmp_path / "file")
    with pytest.raises(SystemExit, match=rf"Not a directory: '{tmp_path}/file/.setup.lock': mend that, and run"):
        setup_env.main()


def test_a_failed_step_ends_the_set_up(setup_env, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, "PYTHON", Path(sys.executable))
    with pytest.raises(SystemExit) as end:
        setup_env.run("al_rotate_does_not_exist")
    assert end.value.code == 1
    assert "mend what is said above, and run the same make command again; finished" in capsys.readouterr().out


def test_a_compiler_or_other_ops_change_the_fingerprint(setup_env, monkeypatch):
    monkeypatch.setenv("AL_ROTATE_OPS", "python")
    before = setup_env.fingerprint()
    assert setup_env.fingerprint() == before
    monkeypatch.setenv("AL_ROTATE_OPS", "compiled")
    assert setup_env.fingerprint() != before
    monkeypatch.setenv("AL_ROTATE_OPS", "python")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "none")
    assert setup_env.fingerprint() != before
