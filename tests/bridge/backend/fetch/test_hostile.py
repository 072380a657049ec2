"""Addresses that are none and hosts that are slow: they cost their own task, and no more than its time."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from helpers.bridge.image_host import PNG

from al_rotate.bridge.backend.fetch import Fetcher, Limits, Refused, Wanted

MALFORMED = [
    "http://[::1/x",
    "http://[/x.jpg",
    "//[x",
    "https://[::1]x/a.jpg",
    "http://127.0.0.1:99999/x",
    "http://127.0.0.1:-1/x",
    "http://127.0.0.1:" + "9" * 5000 + "/x",
    "http://xn--/x",
    "http://" + "a" * 300 + "/x",
    "http://a..b/x",
    "http:///x.jpg",
    "http://127.0.0.1\t:80/",
    "http://a.org\r\nX-Evil: 1\r\n/ok.jpg",
    "http://\N{CIRCLED DIGIT ONE}\N{DOUBLE QUESTION MARK}/x",
    "\ud800",
    "http://\ud800/",
    "/data/\ud800",
    "s3://bucket/\ud800.png",
    "/data/local-files/?d=\ud800.png",
    "/data/local-files/?d=" + "a/" * 3000,
    "a" * 100_000,
    "data:image/png;base64,iVBORw0KGgo=",
    "data:,x",
    "x://y://z",
    "javascript:alert(1)",
    " ",
    5,
    ["x"],
    {"a": 1},
    None,
    float("nan"),
]


@pytest.mark.parametrize("known", [True, False], ids=["all known", "nothing known"])
def test_what_is_no_address_is_refused_alone(host, root, tmp_path, known):
    host.pages["/a.png"] = (200, {}, PNG)
    options = {"label_studio": "http://127.0.0.1:9", "document_root": root} if known else {}
    fetcher = Fetcher(**options, hosts=[host.name, "a..b", "a.org"])
    addresses = [f"{host.url}/a.png", *MALFORMED, f"{host.url}/a.png"]
    wanted = {str(k): Wanted(address, tmp_path / str(k), k) for k, address in enumerate(addresses)}
    first, *bad, last = fetcher.fetch_all(wanted).values()
    assert (first.read_bytes(), last.read_bytes()) == (PNG, PNG)
    for address, refused in zip(MALFORMED, bad, strict=True):
        assert isinstance(refused, Refused), address
        assert str(refused).isprintable()
        assert len(str(refused)) <= 1003
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"0", str(len(addresses) - 1), "secret.png"}


@pytest.mark.parametrize("place", ["http://[", "http://127.0.0.1:99999/", "http://\x00/", "//[x", "http://\udcff/", ""])
def test_redirects_to_what_is_no_address(host, tmp_path, place):
    host.pages["/a"] = (302, {"Location": place.encode("latin-1", "replace").decode("latin-1")}, b"")
    with pytest.raises(Refused):
        Fetcher(hosts=[host.name]).fetch(f"{host.url}/a", tmp_path / "t")


def test_a_refusal_shows_no_log_in(tmp_path):
    for address in ("http://me:hunter2@[::1/x", "http://me:hunter2@a.org/x", "s3://me:hunter2@b/x"):
        with pytest.raises(Refused) as refused:
            Fetcher(document_root=tmp_path).fetch(address, tmp_path / "t")
        assert "hunter2" not in str(refused.value)


@contextmanager
def dripping(*pieces, pause=0.1):
    """A host that sends these bytes with a pause after each, and the last one for ever; its name."""
    stop = threading.Event()

    def drip(connection):
        with connection:
            try:
                connection.recv(4096)
                for piece in pieces:
                    connection.sendall(piece)
                    stop.wait(pause)
                while not stop.wait(pause):
                    connection.sendall(pieces[-1])
            except OSError:
                pass

    def accept():
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()


SLOW = {
    "headers": [b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"],
    "the first line": [b"H", b""],
    "the body": [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"],
    "redirects": [b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"],
    "early hints": [b"HTTP/1.1 103 Early Hints\r\n\r\n"],
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
def test_one_deadline_for_the_whole_exchange(tmp_path, pieces):
    pause = 0.15 if len(pieces) == 1 else 0.05
    with dripping(*pieces, pause=pause) as name:
        fetcher = Fetcher(hosts=[name], limits=Limits(seconds=0.5))
        begun = time.monotonic()
        with pytest.raises(Refused, match=r"did not arrive in 0\.5 s|more than 5 redirects"):
            fetcher.fetch(f"http://{name}/x.jpg", tmp_path / "t")
        assert time.monotonic() - begun < 2
    assert not (tmp_path / "t").exists()


def test_a_handshake_that_does_not_end(tmp_path):
    with dripping(b"", b"") as name:
        begun = time.monotonic()
        with pytest.raises(Refused, match=r"in 0\.5 s"):
            Fetcher(hosts=[name], limits=Limits(seconds=0.5)).fetch(f"https://{name}/x.jpg", tmp_path / "t")
        assert time.monotonic() - begun < 2


def test_a_host_that_never_accepts(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        name = f"127.0.0.1:{server.getsockname()[1]}"
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:  # they fill its queue
            connection.setblocking(False)
            connection.connect_ex(server.getsockname())
        begun = time.monotonic()
        with pytest.raises(Refused, match=r"in 0\.5 s"):
            Fetcher(hosts=[name], limits=Limits(seconds=0.5)).fetch(f"http://{name}/x.jpg", tmp_path / "t")
        assert time.monotonic() - begun < 2
        for connection in waiting:
            connection.close()


def test_a_name_server_that_does_not_answer(tmp_path, monkeypatch):
    """There is none here, so its silence is simulated."""
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer.wait(20))
    begun = time.monotonic()
    with pytest.raises(Refused, match=r"in 0\.5 s"):
        Fetcher(hosts=["images.test"], limits=Limits(seconds=0.5)).fetch("http://images.test/a.png", tmp_path / "t")
    assert time.monotonic() - begun < 2
    answer.set()


def test_a_slow_token_exchange_counts(tmp_path):
    with dripping(*SLOW["headers"]) as name:
        fetcher = Fetcher(f"http://{name}", "aaaa.bbbb.cccc", limits=Limits(seconds=0.5))
        with pytest.raises(Refused, match=r"in 0\.5 s"):
            fetcher.fetch("/data/upload/1/a.png", tmp_path / "t")


def test_the_images_of_a_request_have_a_deadline_together(host, tmp_path):
    """What came in time is kept."""
    host.pages["/a.png"] = (200, {}, PNG)
    with dripping(*SLOW["headers"]) as name:
        fetcher = Fetcher(hosts=[name, host.name], limits=Limits(seconds=60))
        wanted = {"good": Wanted(f"{host.url}/a.png", tmp_path / "good")}
        wanted |= {str(k): Wanted(f"http://{name}/{k}.png", tmp_path / str(k)) for k in range(20)}
        begun = time.monotonic()
        good, *late = fetcher.fetch_all(wanted, seconds=1.0).values()
        assert time.monotonic() - begun < 4
    assert good.read_bytes() == PNG
    assert len(late) == 20
    assert all("was not fetched within the 1 s of its request" in str(refused) for refused in late)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
