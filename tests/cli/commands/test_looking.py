"""The commands that make pages."""

import json
import re


def test_report(al, work, tmp_path):
    al("query", work, "--budget", 3)
    code, out, err = al("report", work)
    assert (code, out, err) == (0, f"{work / 'report.html'}\nnext: al-rotate collect {work}\n", "")
    assert "Round 0: 3 of 12 images" in (work / "report.html").read_text()
    code, out, _ = al("report", work, "--out", tmp_path / "elsewhere.html")
    assert (code, out.splitlines()[0]) == (0, str(tmp_path / "elsewhere.html"))
    assert (tmp_path / "elsewhere.html").exists()


def gallery(page):
    """The images of a page's gallery."""
    (data,) = re.findall(r"<script type=\"application/json\">(.*?)</script>", page.read_text(), re.S)
    return json.loads(data)["images"]


def test_look(al, work, tmp_path):
    al("query", work, "--budget", 3)
    code, out, err = al("look", work)
    page = work / "gallery.html"
    assert (code, out, err) == (0, f"12 images, for a browser: {page}\nnext: al-rotate collect {work}\n", "")
    images = gallery(page)
    assert [image["status"] for image in images] == ["queried"] * 3 + ["unlabelled"] * 9
    assert all(image["picture"].startswith("data:image/webp") for image in images)

    elsewhere = tmp_path / "new" / "page.html"
    code, out, _ = al("look", work, "--images", 5, "--side", 32, "--out", elsewhere)
    assert (code, out.splitlines()[0]) == (0, f"5 of 12 images, for a browser: {elsewhere}")
    small = gallery(elsewhere)
    assert [image["id"] for image in small] == [image["id"] for image in images[:5]]
    assert max(len(image["picture"]) for image in small) < min(len(image["picture"]) for image in images)


def test_look_before_anything_happened(al, work):
    code, _, err = al("look", work)
    assert (code, err) == (0, "")
    assert {image["status"] for image in gallery(work / "gallery.html")} == {"unlabelled"}
