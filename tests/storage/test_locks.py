"""File locks: exclusive and shared, and who holds them."""

import subprocess
import sys

import pytest

from al_rotate.storage.locks import FileLock, Locked, is_held


def test_one_at_a_time(tmp_path):
    path = tmp_path / "lock"
    assert not is_held(path)
    with FileLock(path) as lock:
        assert lock.held
        assert is_held(path)
        with pytest.raises(Locked, match=r"lock is held by process \d+ on ") as caught:
            FileLock(path).acquire()
        assert caught.value.holder == path.read_text()
    assert not lock.held
    assert not is_held(path)
    FileLock(path).acquire(note="me").release()
    assert path.read_text() == "me"


def test_looking_takes_nothing(tmp_path):
    path = tmp_path / "lock"
    FileLock(path).acquire(note="before").release()
    looks = FileLock(path).acquire(shared=True)
    assert not is_held(path)
    with pytest.raises(Locked, match="before"):
        FileLock(path).acquire()
    looks.release()
    looks.release()
    assert path.read_text() == "before"


def test_a_child_keeps_it(tmp_path):
    lock = FileLock(tmp_path / "lock").acquire()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    lock.release()
    assert is_held(lock.path)
    child.communicate(b"\n")
    assert not is_held(lock.path)
