"""Which file an image's address names, as the server reads it."""

import base64

import pytest

from al_rotate.bridge.conversion.addresses import file_path, image_suffix, local_path, start_of_upload, upload_names
from al_rotate.bridge.conversion.tasks import image_id_of


def encoded(address):
    return base64.urlsafe_b64encode(address.encode()).decode()


@pytest.mark.parametrize(
    ("address", "path"),
    [
        # Local files: Django decodes the query once, the server takes the slash off and the last of several values.
        ("/data/local-files/?d=photos/harbour%203.jpg", "photos/harbour 3.jpg"),
        ("/data/local-files/?d=photos/harbour+3.jpg", "photos/harbour 3.jpg"),
        ("/data/local-files/?d=a%252520b.png", "a%2520b.png"),
        ("/data/local-files/?d=/tiles/a.jpg", "tiles/a.jpg"),
        ("/data/local-files/?d=%2Ftiles%2Fa.jpg", "tiles/a.jpg"),
        ("/data/local-files/?d=tiles//x/../a.jpg", "tiles/a.jpg"),
        ("/data/local-files?d=tiles/a.jpg", "tiles/a.jpg"),
        ("/data/local-files/?d=first.jpg&d=tiles/a.jpg", "tiles/a.jpg"),
        ("/data/local-files/?d=tiles/a%23b.jpg", "tiles/a#b.jpg"),
        ("http://127.0.0.1:8080/data/local-files/?d=%C3%A4/%C3%B6.v2.png", "ä/ö.v2.png"),
        ("https://host/label/data/local-files/?d=tiles/a.jpg", "tiles/a.jpg"),
        ("/data/local-files/?d=dataset1%5C3293148.jpg", "dataset1/3293148.jpg"),
        (r"/data/local-files/?d=dataset1\3293148.jpg", "dataset1/3293148.jpg"),
        # Uploads.
        ("/data/upload/7/0a1b2c3d-P0001.png", "P0001.png"),
        ("/data/upload/0a1b2c3d-P0001.png", "P0001.png"),
        ("upload/3/12345678-a.jpg", "a.jpg"),
        ("/upload/3/12345678-a.jpg", "a.jpg"),
        ("http://127.0.0.1:8080/data/upload/7/0a1b2c3d-0a1b2c3d-a.png", "0a1b2c3d-a.png"),
        ("localhost:8080/data/upload/7/0a1b2c3d-a.png", "a.png"),
        ("/data/upload/7/harbour-P0001.png", "harbour-P0001.png"),
        ("/data/upload/7/0A1B2C3D-P0001.png", "0A1B2C3D-P0001.png"),
        # Keys are no web addresses.
        ("s3://bucket/folder/P0001.png", "folder/P0001.png"),
        ("s3://bucket/x/tile#1.png", "x/tile#1.png"),
        ("s3://bucket/x/50%25.png", "x/50%25.png"),
        ("s3://bucket/x/a b+c.png", "x/a b+c.png"),
        ("gs://bucket/x/a&b=c.png", "x/a&b=c.png"),
        ("azure-blob://container/x/ä.png", "x/ä.png"),
        ("azure_spi://container/x/a#1.png", "x/a#1.png"),
        ("s3://bucket/x/a.png?versionId=b.png", "x/a.png"),
        ("S3://bucket/a%20b.png", "a%20b.png"),
        # The API's addresses of stored files.
        (f"/tasks/1/presign/?fileuri={encoded('s3://bucket/x/a.jpg')}", "x/a.jpg"),
        (f"/tasks/1/resolve/?fileuri={encoded('gs://bucket/x/tile#1.png')}", "x/tile#1.png"),
        (f"https://host/projects/9/resolve/?fileuri={encoded('azure-blob://c/50%25.png')}", "50%25.png"),
        (f"/tasks/1/presign/?fileuri={encoded('s3://bucket/x/ab.jpg').rstrip('=')}", "x/ab.jpg"),
        # Web addresses.
        ("https://example.org/a%20b.tif?token=x.y#z", "a b.tif"),
        ("https://example.org/x/a.png?original=b.png", "x/a.png"),
        ("https://example.org/get?file=a.jpg", "a.jpg"),
        ("https://example.org/get?file=x%2Fa.jpg&size=3", "x/a.jpg"),
        ("https://example.org/get?url=https%3A%2F%2Fcdn.org%2Fx%2Fa.jpg%3Fsig%3D1", "x/a.jpg"),
        ("https://example.org/thumb?from=s3%3A%2F%2Fbucket%2Fx%2Fa%231.png&w=256", "x/a#1.png"),
        ("https://example.org/tiles/P0001", "tiles/P0001"),
        ("https://b.s3.amazonaws.com/x/a.jpg?X-Amz-Signature=1f", "x/a.jpg"),
        ("file:///data/x/a%20b.png", "data/x/a b.png"),
        # Bare paths.
        ("P0001.png", "P0001.png"),
        ("/static/x/P%201.png", "static/x/P 1.png"),
        (r"C:\data\x\a.png", "C:/data/x/a.png"),
        ("  P0001.png\n", "P0001.png"),
    ],
)
def test_the_file_of_an_address(address, path):
    assert str(file_path(address)) == path
    assert image_id_of({"image": address}) == path.rsplit("/", 1)[-1].removesuffix(image_suffix(address))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://example.org/", "that ends in a file's name"),
        ("https://example.org/?id=3", "that ends in a file's name"),
        ("/data/local-files/?d=", "that ends in a file's name"),
        ("/data/local-files/?x=a.png", "that ends in a file's name"),
        ("/data/local-files/?d=../..", "that ends in a file's name"),
        ("/data/upload/7/0a1b2c3d-", "that ends in a file's name"),
        ("s3://bucket", "that ends in a file's name"),
        ("s3://bucket/", "that ends in a file's name"),
        ("https://example.org/a%00.png", "that ends in a file's name"),
        ("   ", "that ends in a file's name"),
        ("http://[/a.png", "Invalid IPv6 URL"),
        ("http://[x]:y/a.png", "got"),
        ("/tasks/1/presign/", "that ends in a file's name"),
        ("/tasks/1/presign/?fileuri=%C3%A4", "expected a base64 fileuri"),
        ("/tasks/1/presign/?fileuri=abcde", "expected a base64 fileuri"),
        ("/tasks/1/presign/?fileuri=_____w==", "expected a base64 fileuri"),
        ("data:image/png;base64,iVBORw0KGgo/abc.png", "got the picture itself"),
        ("DATA:image/png;base64,iVBORw0KGgo", "got the picture itself"),
    ],
)
def test_what_names_no_file(address, message):
    with pytest.raises(ValueError, match=message):
        image_id_of({"image": address})
    assert image_suffix(address) == ""


def test_a_picture_in_an_address_is_not_repeated_in_the_message():
    with pytest.raises(ValueError, match="the picture itself") as caught:
        file_path("data:image/png;base64," + "A" * 10_000)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("data", [{"image": "a\udce4.png"}, {"al_image_id": "a\udce4"}])
def test_ids_are_utf8(data):
    with pytest.raises(ValueError, match="in UTF-8"):
        image_id_of(data)


def test_paths_below_the_document_root():
    assert local_path("/data/local-files/?d=/tiles/../a%20b.jpg") == "a b.jpg"
    assert local_path(r"/data/local-files/?d=x%5Ca.jpg") == r"x\a.jpg"
    assert local_path("/data/local-files/") == ""
    assert local_path("https://host/a.jpg") is None


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("my image (1).jpg", {"my_image_1.jpg"}),
        ("a+b&c.png", {"abc.png"}),
        (" a .png", {"a_.png"}),
        ("Kühlturm-2.tif", {"Kühlturm-2.tif", "Kuhlturm-2.tif"}),
    ],
)
def test_names_of_uploads(name, changed):
    """As Django's get_valid_filename has it; an accent behind its letter is no letter there."""
    assert upload_names(name) == changed


def test_long_names_of_uploads():
    name = "S2A_MSIL1C_20170105T013442_N0204_R031_T53NMJ_20170105T013443__1024__0"
    kept = name[: 100 - len("upload/12/0a1b2c3d-") - len("_AbCdEf1.jpg")]
    assert start_of_upload(f"{kept}_AbCdEf1") == kept
    assert start_of_upload(f"{kept}_AbCdEf") is None
    assert start_of_upload("P0001_0000001") is None
