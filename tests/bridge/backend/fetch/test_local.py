"""Images in Label Studio's document root: nothing outside of it is read."""

import os

import pytest
from helpers.bridge.image_host import PNG

from al_rotate.bridge.backend.fetch import Fetcher, Refused


class TestLocalFiles:
    def test_reads_below_the_document_root(self, root, tmp_path):
        fetcher = Fetcher(document_root=root)
        target = tmp_path / "target"
        assert fetcher.fetch("/data/local-files/?d=sub/a%20b.png", target) == root / "sub" / "a b.png"
        assert not target.exists()

    @pytest.mark.parametrize(
        "named",
        [
            "/sub/a%20b.png",
            "//sub/a b.png",
            "%2Fsub%2Fa+b.png",
            "./sub/../sub//a%20b.png",
            "/../sub/a%20b.png",
            "sub%5Ca%20b.png",
            "other.png&d=sub/a%20b.png",
            "sub/a%20b.png#top",
        ],
    )
    def test_paths_are_read_as_the_server_reads_them(self, root, tmp_path, named):
        """It takes slashes off the front, the last of several d, and backslashes where it runs on Windows."""
        address = f"/data/local-files/?d={named}"
        assert Fetcher(document_root=root).fetch(address, tmp_path / "t") == root / "sub" / "a b.png"

    def test_a_backslash_may_belong_to_the_name(self, root, tmp_path):
        (root / "sub\\a b.png").write_bytes(PNG)
        address = "/data/local-files/?d=sub%5Ca%20b.png"
        assert Fetcher(document_root=root).fetch(address, tmp_path / "t") == root / "sub\\a b.png"

    @pytest.mark.parametrize(
        "address", ["http://localhost:8080{}", "http://127.0.0.1:8080/studio{}", "/studio{}", "{}"]
    )
    def test_label_studios_own_address_is_local(self, root, tmp_path, address):
        fetcher = Fetcher("http://localhost:8080/studio", document_root=root)
        address = address.format("/data/local-files/?d=sub/a%20b.png")
        assert fetcher.fetch(address, tmp_path / "t") == root / "sub" / "a b.png"

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
            "..%5Csecret.png",
            "sub%5C..%5C..%5Csecret.png",
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

    @pytest.mark.parametrize(
        "named",
        [
            "%252e%252e/secret.png",
            "missing.png",
            "sub",
            "",
            "~/x.png",
            "/etc/passwd",
            "/sub/../../../etc/passwd",
            "%2fetc%2fpasswd",
        ],
    )
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
