"""Starting and stopping a Label Studio server, and interrupts meanwhile."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from helpers.bridge.label_studio import ENVIRONMENT, assert_no_server

from al_rotate.bridge.local_server import LocalServer, find_python, install
from al_rotate.bridge.signals import uninterrupted

# Methods of Popen, and when a KeyboardInterrupt in them does harm.
HARMFUL = {
    "_execute_child": lambda process: process.pid is not None,  # nobody knows which process was started
    "_internal_poll": lambda process: process._waitpid_lock.locked(),  # it stays locked, and wait() waits for it
    "wait": lambda process: True,  # the server is not stopped
}


@contextmanager
def ctrl_c(*methods):
    """Press Ctrl-C in each of these methods of Popen once, when it does harm.

    Yields:
        A list of the methods in which it was pressed.
    """
    pressed = []

    def inside(frame, event, argument):
        method = frame.f_code.co_name
        if method not in pressed and HARMFUL[method](frame.f_locals["self"]):
            pressed.append(method)
            signal.raise_signal(signal.SIGINT)
        return inside

    def call(frame, event, argument):
        code = frame.f_code
        return inside if code.co_filename == subprocess.__file__ and code.co_name in methods else None

    trace = sys.gettrace()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    sys.settrace(call)
    try:
        yield pressed
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        sys.settrace(trace)
        signal.signal(signal.SIGINT, handler)


@pytest.fixture
def server(tmp_path):
    """A server, not started; it is killed when the test ends."""
    server = LocalServer(tmp_path / "server", tmp_path, install(ENVIRONMENT))
    yield server
    with suppress(ValueError, OSError):
        os.killpg(int((server.folder / "lock").read_text()), signal.SIGKILL)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("methods", [("_execute_child",), ("_internal_poll",), ("_internal_poll", "wait")])
def test_ctrl_c_leaves_no_server(methods, server):
    subprocess._active.clear()  # of other tests: they are polled when a process is started
    with ctrl_c(*methods) as pressed, pytest.raises(KeyboardInterrupt):
        server.start()
    assert pressed == list(methods)
    assert_no_server(server.folder)


def test_signals_are_handled_after_the_block(server):
    """Every signal, in nested blocks; in another thread nothing is held back."""
    handled = []
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, frame: handled.append(number)) for number in numbers]
    ours = [signal.getsignal(number) for number in numbers]
    try:
        with uninterrupted():
            with uninterrupted():
                for number in numbers:
                    signal.raise_signal(number)
            assert handled == []
        assert handled == list(numbers)
        assert [signal.getsignal(number) for number in numbers] == ours
        with ThreadPoolExecutor() as threads:
            assert threads.submit(lambda: server.running).result() is False
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_what_cannot_start(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected Label Studio at .*none.bin.label-studio"):
        LocalServer(tmp_path, tmp_path, tmp_path / "none").start()
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    with taken, pytest.raises(RuntimeError, match=r"port \d+ is taken"):
        LocalServer(tmp_path, tmp_path, ENVIRONMENT, port=taken.getsockname()[1]).start()


def test_packages_from_elsewhere_do_not_reach_label_studio(tmp_path, monkeypatch):
    """With another SDK on PYTHONPATH the server would drop predictions that are imported."""
    program = tmp_path / "environment" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho path ${PYTHONPATH-none} home ${PYTHONHOME-none} mine ${MINE-none}\n")
    program.chmod(0o755)
    for name in ("PYTHONPATH", "PYTHONHOME", "MINE"):
        monkeypatch.setenv(name, "set")
    with pytest.raises(RuntimeError, match=r"ended while it started.*\npath none home none mine set"):
        LocalServer(tmp_path / "server", tmp_path, program.parents[1]).start()


def test_a_python_that_label_studio_runs_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python((3, 13)) == sys.executable
    with pytest.raises(RuntimeError, match=r"runs on Python 3.10 to 3.13, this is 3.14, .* install python3.13, or run"):
        find_python((3, 14))
    disabled, served = tmp_path / "python3.13", tmp_path / "python3.12"
    disabled.write_text("#!/bin/sh\nexit 127\n")
    disabled.chmod(0o755)
    served.symlink_to(sys.executable)
    assert find_python((3, 14)) == str(served)
