"""Which addresses are public, and how messages may show them."""

import pytest

from al_rotate.bridge.backend.fetch.hosts import is_public, parse_host, safe_address


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


def test_hosts():
    assert parse_host("a.org") == ("a.org", None)
    assert parse_host("a.org:80") == ("a.org", 80)
    assert parse_host("A.org:9000") == ("a.org", 9000)
    assert parse_host("[::1]:81") == ("::1", 81)


def test_addresses_in_messages():
    assert safe_address("https://user:pw@a.org/x.png?X-Amz-Signature=abc#f") == "https://a.org/x.png"
    assert safe_address("/data/local-files/?d=a.png") == "/data/local-files/?d=a.png"
    assert safe_address("s3://bucket/key") == "s3://bucket/key"
