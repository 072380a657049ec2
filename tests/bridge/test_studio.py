"""The command that opens a Label Studio with the workspace's query in it."""

import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import httpx
import numpy as np
import pytest
from helpers.bridge.label_studio import ENVIRONMENT, assert_no_server

from al_rotate import ActiveLoop, Workspace
from al_rotate.bridge.local_server import is_free
from al_rotate.bridge.studio import open_studio, run
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm


def command(*words):
    return [sys.executable, "-m", "al_rotate", *map(str, words)]


@contextmanager
def studio(work):
    """The command in a process of its own; killed with its server when the block ends, so that no test hangs."""
    words = command("studio", work, "--venv", ENVIRONMENT)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
            with suppress(FileNotFoundError), open(work / "label_studio" / "lock") as lock:
                with suppress(ValueError, ProcessLookupError):
                    os.killpg(int(lock.read()), signal.SIGKILL)
                fcntl.flock(lock, fcntl.LOCK_EX)  # when it has gone


def wait_for(process, word):
    """Return what a command printed up to the line with this word."""
    seen = ""
    for line in process.stdout:
        seen += line
        if word in line:
            return seen
    raise AssertionError(f"it ended ({process.wait()}) after:\n{seen}")


class Finalised:
    """Presses Ctrl-C in its finaliser."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_studio_of_ones_own(scenes, detector, tmp_path):
    """Started, answered, collected, killed, started again: the same project, no task twice; it stops cleanly."""
    work = tmp_path / "work"
    ActiveLoop(work, scenes.images, synthetic.CLASSES, detector, "entropy", budget=3).close()
    with studio(work) as process:
        printed = wait_for(process, "Ctrl-C")
        url, project = re.search(r"open +(http://127\.0\.0\.1:\d+)/projects/(\d+)/data", printed).groups()
        email, password = re.search(r"log in (\S+) +password (\S+)", printed).groups()
        assert f"al-rotate collect {work}" in printed

        # A person can log in with the printed password.
        with httpx.Client(base_url=url, follow_redirects=True) as page:
            page.get("/user/login/")
            form = {"email": email, "password": password, "csrfmiddlewaretoken": page.cookies["csrftoken"]}
            assert "/user/login" not in str(page.post("/user/login/", data=form).url)
            assert page.get(f"/api/projects/{project}/").json()["task_number"] == 3

        token_file = work / "label_studio" / "token"
        for secret in (token_file, work / "label_studio" / "password"):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE((work / "label_studio").stat().st_mode) == 0o700
        api = httpx.Client(
            base_url=f"{url}/api/", headers={"Authorization": f"Token {token_file.read_text()}"}, timeout=60
        )
        tasks = api.get("tasks", params={"project": project, "fields": "all"}).json()["tasks"]
        assert httpx.get(f"{url}{tasks[0]['data']['image']}", headers=api.headers).status_code == 200
        first = tasks[0]["data"]["al_image_id"]
        body = {"result": tasks[0]["predictions"][0]["result"], "lead_time": 12.5}
        api.post(f"tasks/{tasks[0]['id']}/annotations/", json=body).raise_for_status()
        collected = subprocess.run(command("collect", work), capture_output=True, text=True)
        assert collected.returncode == 0, collected.stderr
        assert "1 labelled" in collected.stdout

        # A second one finds it running, and brings it what it lacks.
        assert "3 tasks wait for labels there" in printed
        api.delete(f"tasks/{tasks[2]['id']}/").raise_for_status()
        second = subprocess.run(command("studio", work, "--venv", ENVIRONMENT), capture_output=True, text=True)
        assert second.returncode == 0, second.stderr
        assert f"open   {url}/projects/{project}/data   where Label Studio runs already" in second.stdout
        assert "2 tasks wait for labels there" in second.stdout
        assert f"log in {email}  password in {work / 'label_studio' / 'password'}" in second.stdout
        assert len(api.get("tasks", params={"project": project}).json()["tasks"]) == 3

        # Killed, its server lives on and keeps its folder; the next one reports it instead of sharing a database.
        process.kill()
        process.wait()
        with (
            pytest.raises(RuntimeError, match=r"works on .* already.* kill \d+") as error,
            open_studio(work, environment=ENVIRONMENT),
        ):
            pass
        server = int((work / "label_studio" / "lock").read_text())
    assert str(server) in str(error.value)

    with open_studio(work, environment=ENVIRONMENT) as (server, connection):
        assert server.running
        assert connection.project == int(project)
        with ActiveLoop(work) as loop:
            loop.collect()
        headers = {"Authorization": f"Token {server.token}"}
        tasks = httpx.get(f"{server.url}/api/tasks", params={"project": project, "fields": "all"}, headers=headers)
        assert len(tasks.json()["tasks"]) == 3
        port = server.port
    assert is_free(port)
    with Workspace.open(work, read_only=True) as workspace:
        assert workspace.labels().image_ids.tolist() == [first]
        assert np.isclose(workspace.ledger()["seconds"], 12.5).all()

    # An interrupt that comes where Python drops exceptions stops it as well.
    lines = []

    def say(line):
        lines.append(line)
        if "log in" in line:
            Finalised()

    run(work, environment=ENVIRONMENT, say=say)
    assert lines[-1] == "stopped"
    assert lines[-2].startswith("Ctrl-C")  # it was dropped: the start continued
    assert_no_server(work / "label_studio")

    secret = (work / "label_studio" / "token").read_text()
    assert secret not in json.dumps((work / "label_studio.json").read_text())
    assert secret not in (work / "label_studio" / "server.log").read_text(errors="replace")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_command_ends_with_ctrl_c_and_its_terminal(number, scenes, detector, tmp_path):
    """Before the server answers; nothing of it is left."""
    if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("started by nohup")
    work = tmp_path / "work"
    ActiveLoop(work, scenes.images, synthetic.CLASSES, detector, "entropy", budget=3).close()
    with studio(work) as process:
        wait_for(process, "starting Label Studio")
        lock = work / "label_studio" / "lock"
        while not (lock.exists() and lock.read_text()):
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert "stopped" in process.stdout.read()
        assert_no_server(work / "label_studio")
