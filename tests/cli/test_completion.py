"""The completion of commands, in a real shell."""

import shutil
import subprocess

import pytest

LAST_WORD = "COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _shtab_al_rotate; echo ${{COMPREPLY[@]}}"


@pytest.fixture
def completed(al, tmp_path):
    """Complete the last of some words in bash, in a folder with one file."""
    code, script, err = al("completion", "bash")
    assert (code, err) == (0, "")
    (tmp_path / "script").write_text(script)
    (tmp_path / "detections").mkdir()
    (tmp_path / "detections" / "a.parquet").touch()

    def run(words):
        command = f"source ./script; {LAST_WORD.format(words=words)}"
        ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        return ran.stdout.split()

    return run


def test_in_bash(completed):
    assert completed("al-rotate stu") == ["studio"]
    assert completed("al-rotate query work --bu") == ["--budget"]
    assert completed("al-rotate predict x --precision b") == ["bf16"]
    assert completed("al-rotate rank detections/a.p") == ["detections/a.parquet"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_in_zsh(al, tmp_path):
    (tmp_path / "script").write_text(al("completion", "zsh")[1])
    subprocess.run(["zsh", "-n", tmp_path / "script"], check=True)


def test_another_shell_is_refused(al):
    code, _, err = al("completion", "fish")
    assert code == 2
    assert "'bash'" in err
