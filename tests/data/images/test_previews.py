from al_rotate.data import RotatedInstances
from al_rotate.data.images.previews import MOST_CLASSES, MOST_IMAGES, preview


def test_images_with_boxes_are_drawn():
    labels = RotatedInstances(
        ["<a>", "b", "c"], [0, 1, 1, 3], [[20, 20, 16, 8, 0]] * 3, [0, 1, 1], classes=("x", "<i>")
    )
    shown = preview(labels)
    assert shown.count("<svg") == 2  # b has none
    assert 'aria-label="&lt;a&gt;: 1 label"' in shown
    assert 'viewBox="0 0 28 24"' in shown  # nobody measured the images: as far as the boxes reach
    assert shown.index("&lt;i&gt;") < shown.index("<td>x</td>")  # the commonest class first
    assert "<i>" not in shown
    sized = preview(labels.replace(image_sizes=[[100, 50]] * 3))
    assert 'viewBox="0 0 100 50"' in sized


def test_its_size_is_bounded():
    n = 400
    many = RotatedInstances(
        [f"image{k}" for k in range(n)],
        range(0, 50 * n + 1, 50),
        [[20, 20, 16, 8, 0.3]] * (50 * n),
        [k % 90 for k in range(50 * n)],
        [0.5] * (50 * n),
        classes=[f"class {k}" for k in range(90)],
    )
    shown = preview(many)
    assert shown.count("<svg") == MOST_IMAGES
    assert f"and {n - MOST_IMAGES} more images with boxes" in shown
    assert shown.count("<td>0.500</td>") == MOST_CLASSES
    assert f"and {90 - MOST_CLASSES} more classes" in shown
    assert len(shown) < 300_000
