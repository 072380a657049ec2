"""Where a server gets images from."""

from al_rotate.bridge.client.addresses import LocalFiles


def test_a_document_root_with_dots_is_that_folder(tmp_path):
    """A workspace made by a path such as ../../images has images without the dots."""

    class Api:
        def get(self, *_, **__):
            return [{"path": str(tmp_path)}]  # a storage of this folder is there already

    file = tmp_path / "pool" / "a b.png"
    files = LocalFiles(tmp_path / "notebooks" / "..").prepare(
        Api(), 1, {"a": tmp_path / "x" / ".." / "pool" / file.name}
    )
    assert files == {"a": "/data/local-files/?d=pool/a%20b.png"}
