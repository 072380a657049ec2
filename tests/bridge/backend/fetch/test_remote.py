"""Images from other hosts: only allowed ones are asked, within limits."""

import socket
import threading

import pytest
from helpers.bridge.image_host import PNG, encode_image

from al_rotate.bridge.backend.fetch import Fetcher, Limits, Refused


class TestHosts:
    def test_downloads_from_a_named_host_and_port(self, host, tmp_path):
        host.pages["/a.png?x=1"] = (200, {}, PNG)
        fetcher = Fetcher(hosts=[host.name])
        path = fetcher.fetch(f"{host.url}/a.png?x=1", tmp_path / "t")
        assert path == tmp_path / "t"
        assert path.read_bytes() == PNG
        assert host.requests[0][1]["Host"] == host.name
        assert "Authorization" not in host.requests[0][1]

    @pytest.mark.parametrize(
        "address",
        [
            "http://localhost:{port}/a.png",  # that very name and port, no other that leads there
            "http://127.0.0.1/a.png",
            "http://127.0.0.2:{port}/a.png",
            "http://2130706433:{port}/a.png",
            "http://[::ffff:127.0.0.1]:{port}/a.png",
            "http://169.254.169.254/latest/meta-data",
            "https://example.org/a.png",
            "http://127.0.0.1:{port}@example.org/a.png",
        ],
    )
    def test_no_other_host_is_asked(self, host, tmp_path, address):
        with pytest.raises(Refused, match=r"may not be fetched|without a log-in"):
            Fetcher(hosts=[host.name]).fetch(address.format(port=host.port), tmp_path / "t")
        assert not host.requests

    def test_a_private_address_needs_its_port_named(self, tmp_path):
        for name in ("localhost", "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]"):
            with pytest.raises(Refused, match="this machine or its network"):
                Fetcher(hosts=[name]).fetch(f"http://{name}/a.png", tmp_path / "t")

    def test_a_host_without_port_covers_only_the_usual_one(self, tmp_path):
        with pytest.raises(Refused, match=r"example\.org:8080"):
            Fetcher(hosts=["example.org"]).fetch("http://example.org:8080/a.png", tmp_path / "t")

    @pytest.mark.parametrize("named", ["", "http://a.org", "a.org/path", "user@a.org", "a b", "a.org:port"])
    def test_a_host_that_is_none(self, named):
        with pytest.raises(ValueError, match="expected a host"):
            Fetcher(hosts=[named])

    def test_the_name_is_looked_up_once(self, host, tmp_path, monkeypatch):
        """A name server that changes its mind; there is none here, so its answers are simulated."""
        looked_up = []
        real = socket.getaddrinfo

        def answers(name, *args, **kwargs):
            if name != "images.test":
                return real(name, *args, **kwargs)
            looked_up.append(name)
            return real("127.0.0.1" if len(looked_up) == 1 else "192.0.2.1", *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", answers)
        host.pages["/a.png"] = (200, {}, PNG)
        fetcher = Fetcher(hosts=[f"images.test:{host.port}"])
        assert fetcher.fetch(f"http://images.test:{host.port}/a.png", tmp_path / "t").read_bytes() == PNG
        assert looked_up == ["images.test"]
        assert host.requests[0][1]["Host"] == f"images.test:{host.port}"

    def test_one_private_answer_among_others_is_enough(self, tmp_path, monkeypatch):
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, 80)) for number in ("93.184.216.34", "10.1.2.3")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: rows)
        with pytest.raises(Refused, match=r"10\.1\.2\.3"):
            Fetcher(hosts=["images.test"]).fetch("http://images.test/a.png", tmp_path / "t")

    def test_an_unknown_name(self, tmp_path):
        with pytest.raises(Refused, match="not known"):
            Fetcher(hosts=["nowhere.invalid"]).fetch("http://nowhere.invalid/a.png", tmp_path / "t")


class TestRedirects:
    def test_are_followed_within_the_list(self, host, other, tmp_path):
        host.pages["/a"] = (302, {"Location": "/b"}, b"")
        host.pages["/b"] = (307, {"Location": f"{other.url}/c.png"}, b"")
        other.pages["/c.png"] = (200, {}, PNG)
        fetcher = Fetcher(hosts=[host.name, other.name])
        assert fetcher.fetch(f"{host.url}/a", tmp_path / "t").read_bytes() == PNG

    @pytest.mark.parametrize("to", ["http://127.0.0.1:{port}/c.png", "//127.0.0.1:{port}/c.png"])
    def test_are_not_followed_out_of_it(self, host, other, tmp_path, to):
        host.pages["/a"] = (302, {"Location": to.format(port=other.port)}, b"")
        with pytest.raises(Refused, match="may not be fetched"):
            Fetcher(hosts=[host.name]).fetch(f"{host.url}/a", tmp_path / "t")
        assert not other.requests

    def test_not_to_files(self, host, tmp_path):
        host.pages["/a"] = (302, {"Location": "file:///etc/passwd"}, b"")
        with pytest.raises(Refused, match=r"http\(s\)"):
            Fetcher(hosts=[host.name]).fetch(f"{host.url}/a", tmp_path / "t")

    def test_not_for_ever(self, host, tmp_path):
        host.pages["/a"] = (302, {"Location": "/a"}, b"")
        with pytest.raises(Refused, match="5 redirects"):
            Fetcher(hosts=[host.name]).fetch(f"{host.url}/a", tmp_path / "t")
        assert len(host.requests) == 6


class TestLimits:
    def fetch(self, host, body, tmp_path, headers=None, **limits):
        host.pages["/a"] = (200, headers or {}, body)
        fetcher = Fetcher(hosts=[host.name], limits=Limits(**limits))
        try:
            return fetcher.fetch(f"{host.url}/a", tmp_path / "t")
        finally:
            assert not (tmp_path / "t").exists() or (tmp_path / "t").read_bytes() == PNG

    def test_bytes_said_and_bytes_sent(self, host, tmp_path):
        assert self.fetch(host, PNG, tmp_path, bytes=len(PNG)).read_bytes() == PNG
        (tmp_path / "t").unlink()
        with pytest.raises(Refused, match="bytes"):
            self.fetch(host, PNG, tmp_path, bytes=len(PNG) - 1)

        def endless(out):
            for _ in range(1000):
                try:
                    out.write(b"x" * 1000)
                except OSError:
                    return

        with pytest.raises(Refused, match="more than 5000 bytes"):
            self.fetch(host, endless, tmp_path, bytes=5000)

    def test_pixels(self, host, tmp_path):
        assert self.fetch(host, PNG, tmp_path, pixels=40 * 30).exists()
        (tmp_path / "t").unlink()
        with pytest.raises(Refused, match="40 x 30 pixels"):
            self.fetch(host, PNG, tmp_path, pixels=40 * 30 - 1)

    def test_seconds(self, host, tmp_path):
        stop = threading.Event()

        def slow(out):
            while not stop.wait(0.02):
                try:
                    out.write(b"x")
                    out.flush()
                except OSError:
                    return

        with pytest.raises(Refused, match=r"in 0\.2 s"):
            self.fetch(host, slow, tmp_path, seconds=0.2)
        stop.set()

    def test_compressed_bodies_are_not_inflated(self, host, tmp_path):
        with pytest.raises(Refused, match="compressed"):
            self.fetch(host, PNG, tmp_path, {"Content-Encoding": "gzip"})

    @pytest.mark.parametrize(
        "body", [b"", b"<html></html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", encode_image("GIF")]
    )
    def test_what_is_no_image(self, host, tmp_path, body):
        with pytest.raises(Refused, match="no image"):
            self.fetch(host, body, tmp_path)

    def test_missing(self, host, tmp_path):
        with pytest.raises(Refused, match="answered 404"):
            Fetcher(hosts=[host.name]).fetch(f"{host.url}/none.png", tmp_path / "t")

    @pytest.mark.parametrize("address", [None, 3, "", "  ", ["a"], {"a": 1}])
    def test_what_is_no_text(self, tmp_path, address):
        with pytest.raises(Refused, match="expected the address"):
            Fetcher().fetch(address, tmp_path / "t")
