"""Label Studio's token goes to the address that the operator gave, whoever names itself as Label Studio."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from helpers.bridge.image_host import PNG
from helpers.bridge.label_studio import local_task, predict_request, wait_until
from helpers.bridge.serving import served, status_page

from al_rotate.bridge.backend.app import serve
from al_rotate.bridge.backend.jobs import jobs
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import synthetic

pytestmark = pytest.mark.mm
XML = to_xml(synthetic.CLASSES)
TOKEN, THEIRS = "0123456789abcdef0123456789abcdef01234567", "f" * 40


@pytest.fixture
def words(finetuned, many_boxes, tmp_path):
    """Of `al-rotate serve` for the small detector."""
    options = [f"{name}={value}" for name, value in many_boxes.items()]
    words = ["--config", finetuned.config, "--checkpoint", finetuned.checkpoint, "--device", "cpu"]
    return [*words, "--work-dir", tmp_path / "backend", "--cfg-options", *options]


def name_itself(url, hostname, token=THEIRS):
    """Any process on this machine may say that it is Label Studio."""
    body = {"project": "1.17", "schema": XML, "hostname": hostname, "access_token": token}
    return httpx.post(f"{url}/setup", json=body).status_code


def all_that(host):
    return str(host.requests) + str(host.posts)


def ask_for_all(url, project=1):
    """Have the service talk to Label Studio: for an image, and for the labels of a training."""
    tasks = [{"id": 1, "data": {"image": "/data/upload/1/a.png"}}, {"id": 2, "data": {"image": "s3://bucket/b.png"}}]
    httpx.post(f"{url}/predict", json=predict_request(*tasks, xml=XML), timeout=60)
    httpx.post(f"{url}/webhook", json={"action": "START_TRAINING", "project": {"id": project}})
    wait_until(lambda: "<td>failed" in status_page(url), "the training ended")


def test_a_key_without_an_address_goes_nowhere(host, words, tmp_path):
    """Neither in a prediction nor in a training."""
    host.pages["/data/upload/1/a.png"] = (200, {}, PNG)
    log = tmp_path / "service.log"
    with served(log, *words, LABEL_STUDIO_API_KEY=TOKEN) as url:
        assert name_itself(url, host.url) == 200
        ask_for_all(url)
        page = status_page(url)
    assert host.requests
    assert TOKEN not in all_that(host)
    assert THEIRS in all_that(host)  # which it had given itself
    said = "LABEL_STUDIO_API_KEY is not used: LABEL_STUDIO_URL must say whose it is; set both"
    assert said in page
    assert said in log.read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".pth", ".jpg")]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize("by_option", [False, True], ids=["from the environment", "as an option"])
def test_a_key_goes_to_the_address_that_was_given(host, other, words, tmp_path, by_option):
    for made in (host, other):
        made.pages["/data/upload/1/a.png"] = (200, {}, PNG)
    words = [*words, "--url", host.url] if by_option else words
    variables = {"LABEL_STUDIO_API_KEY": TOKEN} | ({} if by_option else {"LABEL_STUDIO_URL": host.url})
    with served(tmp_path / "service.log", *words, **variables) as url:
        assert name_itself(url, other.url) == 200
        ask_for_all(url)
        page = status_page(url)
    assert f"Label Studio: {host.url}, with a token" in page
    assert not other.requests
    assert THEIRS not in all_that(host)
    sent = {headers.get("Authorization") for _, headers in host.requests}
    assert f"Token {TOKEN}" in sent


def test_the_environment_of_a_library_user_stays_there(open_service, http, host, monkeypatch, tmp_path):
    """A service that was given no token has none of the environment's in its trainings."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    service = open_service()
    client = http(service)
    body = {"project": "1.17", "schema": XML, "hostname": host.url, "access_token": THEIRS}
    client.post("/setup", json=body)
    client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 1}})
    wait_until(lambda: jobs(service.source.folder)[0].state == "failed", "the training ended")
    assert host.requests
    assert TOKEN not in all_that(host)


def test_a_key_for_another_server_is_refused(finetuned, monkeypatch, tmp_path):
    """The environment says whose the key is; the command names another."""
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://labels.example.org")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)
    options = {"config": finetuned.config, "checkpoint": finetuned.checkpoint, "work_dir": tmp_path / "backend"}
    with pytest.raises(ValueError, match=r"LABEL_STUDIO_URL, .*to be http://other:8080, got http://labels.example.org"):
        serve(**options, label_studio="http://other:8080")


def test_many_that_name_themselves_at_once(service, http):
    """The first is believed, with its own token."""
    client, barrier = http(service), threading.Barrier(8)

    def name_itself(number):
        barrier.wait()
        hostname, token = f"http://127.0.0.1:{9000 + number}", str(number) * 40
        client.post("/setup", json={"schema": XML, "hostname": hostname, "access_token": token})

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(name_itself, range(1, 9)))
    finally:
        sys.setswitchinterval(before)
    address, token = service.status()["studio"]
    assert token == address[-1] * 40


@pytest.mark.parametrize("hostname", ["http://[", "http://127.0.0.1:x", "http://localhost:99999", "\ud800", ""])
def test_an_address_that_is_none(service, http, scenes, hostname):
    """It changes nothing."""
    client = http(service)
    body = json.dumps({"schema": XML, "hostname": hostname, "access_token": TOKEN})
    answer = client.post("/setup", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    page = client.get("/")
    assert page.status_code == 200
    assert "not met yet" in page.text
    task = local_task(scenes.labels.image_ids[0])
    (result,) = client.post("/predict", json=predict_request(task, xml=XML)).json()["results"]
    assert result
