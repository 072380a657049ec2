import base64
import io
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from al_rotate.bridge.backend.fetch import Fetcher, Limits, Refused
from al_rotate.bridge.backend.hosts import is_public, parse, shown

TOKEN = "0123456789abcdef0123456789abcdef01234567"


def encoded(format="PNG", size=(40, 30)):
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


PNG = encoded()


class Host:
    """An image host on loopback: path -> (status, headers, body), and what it was asked."""

    def __init__(self):
        host = self
        self.pages, self.asked, self.posted = {}, [], []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.asked.append((self.path, dict(self.headers)))
                status, headers, body = host.pages.get(self.path, (404, {}, b"nothing"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers and not callable(body):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if callable(body):
                    body(self.wfile)
                else:
                    self.wfile.write(body)

            def do_POST(self):
                host.posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                status, _, body = host.pages[self.path]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def host():
    made = Host()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def other():
    made = Host()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def root(tmp_path):
    """A document root with an image in it, and one beside it."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a b.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "root-sibling").mkdir()
    (tmp_path / "root-sibling" / "x.png").write_bytes(PNG)
    return folder


class TestLocalFiles:
    def test_reads_below_the_document_root(self, root, tmp_path):
        fetcher = Fetcher(document_root=root)
        target = tmp_path / "target"
        assert fetcher.fetch("/data/local-files/?d=sub/a%20b.png", target) == root / "sub" / "a b.png"
        assert not target.exists()

    def test_an_absolute_path_is_fine_below_the_root(self, root, tmp_path):
        address = f"/data/local-files/?d={root}/sub/a%20b.png"
        assert Fetcher(document_root=root).fetch(address, tmp_path / "t") == root / "sub" / "a b.png"

    def test_a_symlink_inside_the_root_is_followed(self, root, tmp_path):
        (root / "link.png").symlink_to(root / "sub" / "a b.png")
        assert Fetcher(document_root=root).fetch("/data/local-files/?d=link.png", tmp_path / "t").name == "a b.png"

    @pytest.mark.parametrize(
        "named",
        [
            "../secret.png",
            "sub/../../secret.png",
            "%2e%2e/secret.png",
            "..%2fsecret.png",
            "%2e%2e%2Fsecret.png",
            "//etc/passwd",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "../root-sibling/x.png",
            "link/secret.png",
            "linked.png",
        ],
    )
    def test_nothing_outside_is_read(self, root, tmp_path, named):
        (root / "link").symlink_to(tmp_path)
        (root / "linked.png").symlink_to(tmp_path / "secret.png")
        with pytest.raises(Refused, match="leaves the document root"):
            Fetcher(document_root=root).fetch(f"/data/local-files/?d={named}", tmp_path / "t")

    @pytest.mark.parametrize("named", ["%252e%252e/secret.png", "missing.png", "sub", "", "~/x.png"])
    def test_what_is_no_file_is_refused(self, root, tmp_path, named):
        with pytest.raises(Refused, match="no such file"):
            Fetcher(document_root=root).fetch(f"/data/local-files/?d={named}", tmp_path / "t")

    def test_a_nul_is_refused(self, root, tmp_path):
        for named in ("a%00b.png", "a\0b.png"):
            with pytest.raises(Refused, match=r"NUL|null"):
                Fetcher(document_root=root).fetch(f"/data/local-files/?d={named}", tmp_path / "t")

    def test_a_pipe_is_not_opened(self, root, tmp_path):
        os.mkfifo(root / "pipe.png")
        with pytest.raises(Refused, match="no such file"):
            Fetcher(document_root=root).fetch("/data/local-files/?d=pipe.png", tmp_path / "t")

    def test_another_address_on_a_host_is_not_local(self, root, tmp_path):
        with pytest.raises(Refused, match="may not be fetched"):
            Fetcher(document_root=root).fetch("http://x.test/data/local-files/?d=sub/a%20b.png", tmp_path / "t")


class TestHosts:
    def test_downloads_from_a_named_host_and_port(self, host, tmp_path):
        host.pages["/a.png?x=1"] = (200, {}, PNG)
        fetcher = Fetcher(hosts=[f"127.0.0.1:{host.port}"])
        path = fetcher.fetch(f"{host.url}/a.png?x=1", tmp_path / "t")
        assert path == tmp_path / "t"
        assert path.read_bytes() == PNG
        assert host.asked[0][1]["Host"] == f"127.0.0.1:{host.port}"
        assert "Authorization" not in host.asked[0][1]

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
            Fetcher(hosts=[f"127.0.0.1:{host.port}"]).fetch(address.format(port=host.port), tmp_path / "t")
        assert not host.asked

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
        """A name server that changes its mind: there is none here, so its answers are played."""
        asked = []
        real = socket.getaddrinfo

        def answers(name, *args, **kwargs):
            if name != "images.test":
                return real(name, *args, **kwargs)
            asked.append(name)
            return real("127.0.0.1" if len(asked) == 1 else "192.0.2.1", *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", answers)
        host.pages["/a.png"] = (200, {}, PNG)
        fetcher = Fetcher(hosts=[f"images.test:{host.port}"])
        assert fetcher.fetch(f"http://images.test:{host.port}/a.png", tmp_path / "t").read_bytes() == PNG
        assert asked == ["images.test"]
        assert host.asked[0][1]["Host"] == f"images.test:{host.port}"

    def test_one_private_answer_among_others_is_enough(self, tmp_path, monkeypatch):
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("93.184.216.34", "10.1.2.3")]
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
        fetcher = Fetcher(hosts=[f"127.0.0.1:{host.port}", f"127.0.0.1:{other.port}"])
        assert fetcher.fetch(f"{host.url}/a", tmp_path / "t").read_bytes() == PNG

    @pytest.mark.parametrize("to", ["http://127.0.0.1:{port}/c.png", "//127.0.0.1:{port}/c.png"])
    def test_are_not_followed_out_of_it(self, host, other, tmp_path, to):
        host.pages["/a"] = (302, {"Location": to.format(port=other.port)}, b"")
        with pytest.raises(Refused, match="may not be fetched"):
            Fetcher(hosts=[f"127.0.0.1:{host.port}"]).fetch(f"{host.url}/a", tmp_path / "t")
        assert not other.asked

    def test_not_to_files(self, host, tmp_path):
        host.pages["/a"] = (302, {"Location": "file:///etc/passwd"}, b"")
        with pytest.raises(Refused, match=r"http\(s\)"):
            Fetcher(hosts=[f"127.0.0.1:{host.port}"]).fetch(f"{host.url}/a", tmp_path / "t")

    def test_not_for_ever(self, host, tmp_path):
        host.pages["/a"] = (302, {"Location": "/a"}, b"")
        with pytest.raises(Refused, match="5 redirects"):
            Fetcher(hosts=[f"127.0.0.1:{host.port}"]).fetch(f"{host.url}/a", tmp_path / "t")
        assert len(host.asked) == 6


class TestLabelStudio:
    @pytest.mark.parametrize("address", ["/data/upload/1/x.png", "/storage-data/uploaded/?filepath=x.png"])
    def test_its_own_files_come_with_the_token(self, host, tmp_path, address):
        host.pages[address] = (200, {}, PNG)
        assert Fetcher(host.url, TOKEN).fetch(address, tmp_path / "t").read_bytes() == PNG
        assert host.asked[0][1]["Authorization"] == f"Token {TOKEN}"

    def test_local_files_come_from_it_where_no_document_root_is_known(self, host, tmp_path):
        host.pages["/data/local-files/?d=a.png"] = (200, {}, PNG)
        assert Fetcher(host.url, TOKEN).fetch("/data/local-files/?d=a.png", tmp_path / "t").read_bytes() == PNG

    def test_below_a_prefix(self, host, tmp_path):
        host.pages["/studio/data/upload/x.png"] = (200, {}, PNG)
        fetcher = Fetcher(f"{host.url}/studio/", TOKEN)
        for address in ("/data/upload/x.png", "/studio/data/upload/x.png"):
            assert fetcher.fetch(address, tmp_path / "t").read_bytes() == PNG

    def test_a_personal_token_is_exchanged_once(self, host, tmp_path):
        personal = "aaaa.bbbb.cccc"
        host.pages["/api/token/refresh/"] = (200, {}, b'{"access": "short-lived"}')
        host.pages["/data/upload/x.png"] = (200, {}, PNG)
        fetcher = Fetcher(host.url, personal)
        for _ in range(2):
            fetcher.fetch("/data/upload/x.png", tmp_path / "t")
        assert host.posted == [("/api/token/refresh/", b'{"refresh":"aaaa.bbbb.cccc"}')]
        assert [headers["Authorization"] for _, headers in host.asked] == ["Bearer short-lived"] * 2

    def test_the_token_goes_nowhere_else(self, host, other, tmp_path):
        host.pages["/data/upload/x.png"] = (302, {"Location": f"{other.url}/signed.png?key=1"}, b"")
        other.pages["/signed.png?key=1"] = (200, {}, PNG)
        fetcher = Fetcher(host.url, TOKEN, hosts=[f"127.0.0.1:{other.port}"])
        fetcher.fetch("/data/upload/x.png", tmp_path / "t")
        assert "Authorization" in host.asked[0][1]
        assert "Authorization" not in other.asked[0][1]
        assert TOKEN not in str(other.asked)

    @pytest.mark.parametrize(
        "address",
        [
            "/api/users/1/",
            "/user/login/",
            "/data/../api/users/1/",
            "/data/%2e%2e/api/users/1/",
            "/data/upload/%2E%2E/%2e%2e/api/x",
            "{url}/api/projects/1/export?exportType=JSON",
        ],
    )
    def test_only_what_serves_images_is_asked(self, host, tmp_path, address):
        with pytest.raises(Refused, match="no path of Label Studio"):
            Fetcher(host.url, TOKEN).fetch(address.format(url=host.url), tmp_path / "t")
        assert not host.asked

    @pytest.mark.parametrize("address", ["//127.0.0.1/a.png", "/\\127.0.0.1/a.png", "file:///etc/passwd", "a.png"])
    def test_what_is_no_address(self, host, tmp_path, address):
        with pytest.raises(Refused, match="expected an address"):
            Fetcher(host.url, TOKEN).fetch(address, tmp_path / "t")

    def test_a_wrong_token_is_named(self, host, tmp_path):
        host.pages["/data/upload/x.png"] = (302, {"Location": "/user/login/?next=/data/upload/x.png"}, b"")
        host.pages["/data/upload/y.png"] = (401, {}, b"")
        for name in "xy":
            with pytest.raises(Refused, match="LABEL_STUDIO_API_KEY"):
                Fetcher(host.url, TOKEN).fetch(f"/data/upload/{name}.png", tmp_path / "t")

    def test_its_storages_are_asked_through_it(self, host, other, tmp_path):
        address = "s3://bucket/a b.png"
        named = base64.urlsafe_b64encode(address.encode()).decode()
        host.pages[f"/tasks/7/resolve/?fileuri={named}"] = (303, {"Location": f"{other.url}/signed"}, b"")
        other.pages["/signed"] = (200, {}, PNG)
        fetcher = Fetcher(host.url, TOKEN, hosts=[f"127.0.0.1:{other.port}"])
        assert fetcher.fetch(address, tmp_path / "t", task=7).read_bytes() == PNG

    @pytest.mark.parametrize("address", ["/data/upload/x.png", "/data/local-files/?d=x.png", "s3://bucket/x.png"])
    def test_without_it_what_to_do_is_said(self, tmp_path, address):
        with pytest.raises(Refused, match="set LABEL_STUDIO_URL"):
            Fetcher().fetch(address, tmp_path / "t", task=1)


class TestLimits:
    def fetch(self, host, body, tmp_path, headers=None, **limits):
        host.pages["/a"] = (200, headers or {}, body)
        fetcher = Fetcher(hosts=[f"127.0.0.1:{host.port}"], limits=Limits(**limits))
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
        "body", [b"", b"<html></html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", encoded("GIF")]
    )
    def test_what_is_no_image(self, host, tmp_path, body):
        with pytest.raises(Refused, match="no image"):
            self.fetch(host, body, tmp_path)

    def test_missing(self, host, tmp_path):
        with pytest.raises(Refused, match="answered 404"):
            Fetcher(hosts=[f"127.0.0.1:{host.port}"]).fetch(f"{host.url}/none.png", tmp_path / "t")

    @pytest.mark.parametrize("address", [None, 3, "", "  ", ["a"], {"a": 1}])
    def test_what_is_no_text(self, tmp_path, address):
        with pytest.raises(Refused, match="expected the address"):
            Fetcher().fetch(address, tmp_path / "t")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_public_addresses(address, public):
    assert is_public(address) is public


def test_hosts_and_shown_addresses():
    assert parse("a.org") == ("a.org", None)
    assert parse("a.org:80") == ("a.org", 80)
    assert parse("A.org:9000") == ("a.org", 9000)
    assert parse("[::1]:81") == ("::1", 81)
    assert shown("https://user:pw@a.org/x.png?X-Amz-Signature=abc#f") == "https://a.org/x.png"
    assert shown("/data/local-files/?d=a.png") == "/data/local-files/?d=a.png"
    assert shown("s3://bucket/key") == "s3://bucket/key"
