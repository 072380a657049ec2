"""A Label Studio server that is started and stopped, and what interrupts that."""

import fcntl
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from bridge.conftest import ENVIRONMENT

from al_rotate.bridge.local_server import LocalServer

# Methods of Popen, and when a KeyboardInterrupt in them does harm.
HARMFUL = {
    "_execute_child": lambda process: process.pid is not None,  # nobody is told which process was started
    "_internal_poll": lambda process: process._waitpid_lock.locked(),  # for ever; wait() waits for it
    "wait": lambda process: True,  # the server is not stopped
}


@contextmanager
def ctrl_c(*methods):
    """Ctrl-C is pressed in each of these methods of Popen once, when it does harm.

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

    trace, handler = (
        sys.gettrace(),
        signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # a background job ignores it
    sys.settrace(call)
    try:
        yield pressed
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        sys.settrace(trace)
        signal.signal(signal.SIGINT, handler)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("methods", [("_execute_child",), ("_internal_poll",), ("_internal_poll", "wait")])
def test_ctrl_c_leaves_no_server(methods, tmp_path):
    server = LocalServer(tmp_path / "server", tmp_path, ENVIRONMENT)
    with ctrl_c(*methods) as pressed, pytest.raises(KeyboardInterrupt):
        server.start()
    assert pressed == list(methods)
    assert not server.running
    with open(server.folder / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_cannot_start(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected Label Studio at .*none.bin.label-studio"):
        LocalServer(tmp_path, tmp_path, tmp_path / "none").start()
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    with taken, pytest.raises(RuntimeError, match=r"port \d+ is taken"):
        LocalServer(tmp_path, tmp_path, ENVIRONMENT, port=taken.getsockname()[1]).start()
