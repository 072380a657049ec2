"""Ctrl-C ends the service within seconds, whatever it waits for."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
from helpers.bridge.label_studio import local_task, predict_request, wait_until
from helpers.bridge.serving import served, status_page

from al_rotate.bridge.backend.fetch import Fetcher, Limits
from al_rotate.bridge.backend.fetch.fetcher import Wanted
from al_rotate.bridge.backend.predictor import SMALLEST_PART
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import synthetic

XML = to_xml(synthetic.CLASSES)
# A name server that does not answer; a real one would be needed otherwise.
SLOW_NAMES = """
import socket, time
real = socket.getaddrinfo
def slow(host, *args, **kwargs):
    if host == "slow.example.org":
        print("asked for", host, flush=True)
        time.sleep(50)
    return real(host, *args, **kwargs)
socket.getaddrinfo = slow
"""


@pytest.fixture
def endless(host):
    """A host that sends an image a byte at a time, until the test ends."""
    over = threading.Event()

    def drip(out):
        while not over.wait(0.2):
            out.write(b"x")
            out.flush()

    host.pages["/slow.png"] = (200, {}, drip)
    yield host
    over.set()


def test_a_fetch_is_given_up(endless, tmp_path):
    stopped = threading.Event()
    fetcher = Fetcher(hosts=[endless.name], stopped=stopped, limits=Limits(seconds=60))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(fetcher.fetch_all, {"a": Wanted(f"{endless.url}/slow.png", tmp_path / "a.png")})
        wait_until(lambda: endless.requests, "it is being fetched")
        stopped.set()
        assert str(answer.result(10)["a"]).endswith("was not fetched: the service was being stopped")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.mm
def test_no_further_image_is_predicted_on(service, http, scenes):
    """Those that were begun are answered, and the others not as images without an object."""
    detect, calls = service.predictor.loaded()[1].predict, []

    def predict(files, **options):
        calls.append(len(files))
        service.interrupt()
        return detect(files, **options)

    service.predictor.loaded()[1].predict = predict
    tasks = [local_task(image_id, number) for number, image_id in enumerate(scenes.labels.image_ids, start=1)]
    results = http(service).post("/predict", json=predict_request(*tasks, xml=XML)).json()["results"]
    assert calls == [SMALLEST_PART]
    assert [bool(result) for result in results] == [position < SMALLEST_PART for position in range(len(tasks))]


@pytest.mark.mm
def test_ctrl_c_waits_for_nobody(endless, finetuned, tmp_path):
    """A host that drips, a name server that is silent, and a caller that does not finish its request."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SLOW_NAMES)
    log = tmp_path / "service.log"
    words = ["--config", finetuned.config, "--checkpoint", finetuned.checkpoint, "--device", "cpu"]
    words += ["--work-dir", tmp_path / "backend", "--allow-host", endless.name, "slow.example.org:80"]
    addresses = (f"{endless.url}/slow.png", "http://slow.example.org/a.png")
    request = predict_request(*({"id": k, "data": {"image": a}} for k, a in enumerate(addresses)), xml=XML)
    with ThreadPoolExecutor() as threads, socket.socket() as caller:
        with served(log, *words, PYTHONPATH=str(tmp_path / "site")) as url:
            caller.connect((urlsplit(url).hostname, urlsplit(url).port))
            caller.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
            answer = threads.submit(httpx.post, f"{url}/predict", json=request, timeout=60)
            wait_until(lambda: endless.requests and "asked for slow.example.org" in log.read_text(), "both are fetched")
            assert "1 requests wait" in status_page(url)
            begun = time.monotonic()
        assert time.monotonic() - begun < 20  # an image alone may take 30 s
        assert answer.result().json()["results"] == [[], []]
    assert log.read_text().count("was not fetched: the service was being stopped") == 2
