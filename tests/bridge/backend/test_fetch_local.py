"""Images in Label Studio's document root: nothing outside of it is read."""

import os

import pytest

from al_rotate.bridge.backend.fetch import Fetcher, Refused


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
