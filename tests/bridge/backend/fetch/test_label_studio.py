"""Images that Label Studio serves: its token goes to it alone."""

import base64

import pytest
from helpers.bridge.image_host import PNG

from al_rotate.bridge.backend.fetch import Fetcher, Refused

TOKEN = "0123456789abcdef0123456789abcdef01234567"


class TestLabelStudio:
    @pytest.mark.parametrize("address", ["/data/upload/1/x.png", "/storage-data/uploaded/?filepath=x.png"])
    def test_its_own_files_come_with_the_token(self, host, tmp_path, address):
        host.pages[address] = (200, {}, PNG)
        assert Fetcher(host.url, TOKEN).fetch(address, tmp_path / "t").read_bytes() == PNG
        assert host.requests[0][1]["Authorization"] == f"Token {TOKEN}"

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
        assert host.posts == [("/api/token/refresh/", b'{"refresh":"aaaa.bbbb.cccc"}')]
        assert [headers["Authorization"] for _, headers in host.requests] == ["Bearer short-lived"] * 2

    def test_the_token_goes_nowhere_else(self, host, other, tmp_path):
        host.pages["/data/upload/x.png"] = (302, {"Location": f"{other.url}/signed.png?key=1"}, b"")
        other.pages["/signed.png?key=1"] = (200, {}, PNG)
        fetcher = Fetcher(host.url, TOKEN, hosts=[other.name])
        fetcher.fetch("/data/upload/x.png", tmp_path / "t")
        assert "Authorization" in host.requests[0][1]
        assert "Authorization" not in other.requests[0][1]
        assert TOKEN not in str(other.requests)

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
        assert not host.requests

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
        fetcher = Fetcher(host.url, TOKEN, hosts=[other.name])
        assert fetcher.fetch(address, tmp_path / "t", task=7).read_bytes() == PNG

    @pytest.mark.parametrize("address", ["/data/upload/x.png", "/data/local-files/?d=x.png", "s3://bucket/x.png"])
    def test_without_it_what_to_do_is_said(self, tmp_path, address):
        with pytest.raises(Refused, match="set LABEL_STUDIO_URL"):
            Fetcher().fetch(address, tmp_path / "t", task=1)

    @pytest.mark.parametrize("address", ["localhost:8080", "ftp://localhost", "http://", "http://[::1", "studio"])
    def test_an_address_that_is_none(self, address):
        with pytest.raises(ValueError, match=r"expected Label Studio's address, like http://localhost:8080, got"):
            Fetcher(address)
