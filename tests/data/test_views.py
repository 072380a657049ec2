"""Views of an image: where its pixels and boxes go, and that they come back."""

import numpy as np
import pytest
import shapely

from al_rotate.boxes import canonical, to_corners
from al_rotate.data.views import DIHEDRAL, View

WIDTH, HEIGHT = 60, 40
ODD = [View(degrees=7.5), View(scale=0.75), View(True, 1, -12, 1.3), View(quarters=3, degrees=3, scale=0.5)]


def some_boxes(seed=0, n=50):
    rng = np.random.default_rng(seed)
    place, sides = rng.uniform([-20, -20], [80, 60], (n, 2)), rng.uniform(1, 40, (n, 2))
    return canonical(np.column_stack([place, sides, rng.uniform(-2, 2, n)]))


@pytest.mark.parametrize(
    ("view", "place"),
    [
        (View(), (10, 5)),
        (View(flip=True), (50, 5)),
        (View(quarters=1), (35, 10)),  # the left edge becomes the top
        (View(quarters=2), (50, 35)),
        (View(quarters=3), (5, 50)),
        (View(flip=True, quarters=1), (35, 50)),
        (View(quarters=-1), (5, 50)),
        (View(scale=2), (20, 10)),
        (View(degrees=90), (45, 0)),  # about the middle (30, 20): (-20, -15) -> (15, -20)
    ],
)
def test_where_a_place_goes(view, place):
    matrix = view.matrix(WIDTH, HEIGHT)
    np.testing.assert_allclose(matrix[:, :2] @ [10, 5] + matrix[:, 2], place, atol=1e-9)


@pytest.mark.parametrize("view", [*DIHEDRAL, *ODD], ids=lambda view: view.name)
def test_boxes_come_back(view):
    in_image = some_boxes()
    in_view = view.boxes(in_image, WIDTH, HEIGHT)
    np.testing.assert_allclose(view.back(in_view, WIDTH, HEIGHT), in_image, atol=1e-9)
    # The same shape, elsewhere: as shapely moves it.
    a, b, c, d, e, f = view.matrix(WIDTH, HEIGHT).ravel()
    for box, moved in zip(in_image, in_view, strict=True):
        shape = shapely.Polygon(to_corners(box[None])[0])
        expected = shapely.affinity.affine_transform(shape, [a, b, d, e, c, f])
        assert expected.symmetric_difference(shapely.Polygon(to_corners(moved[None])[0])).area < 1e-6


@pytest.mark.parametrize("view", [View(), *DIHEDRAL], ids=lambda view: view.name)
def test_exact_views_move_pixels_and_change_none(view):
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    seen = view.pixels(image)
    assert seen.shape == (*view.size(WIDTH, HEIGHT)[::-1], 3)
    matrix = view.matrix(WIDTH, HEIGHT)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = (matrix[:, :2] @ [columns.ravel() + 0.5, rows.ravel() + 0.5] + matrix[:, 2:]).astype(int)
    np.testing.assert_array_equal(seen[y, x], image.reshape(-1, 3))


@pytest.mark.parametrize("view", ODD, ids=lambda view: view.name)
def test_a_thing_is_where_its_box_is(view):
    """A disc drawn in the image: its middle in the view is where the view's matrix says."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    disc = (np.hypot(columns + 0.5 - 35, rows + 0.5 - 17) < 6) * np.uint8(255)
    image = np.repeat(disc[..., None], 3, axis=2)
    seen = view.pixels(image)[..., 0].astype(float)
    assert seen.shape == view.size(WIDTH, HEIGHT)[::-1]
    seen[seen < 130] = 0  # the grey beyond the edge
    rows, columns = np.mgrid[: seen.shape[0], : seen.shape[1]]
    middle = [np.average(columns + 0.5, weights=seen), np.average(rows + 0.5, weights=seen)]
    matrix = view.matrix(WIDTH, HEIGHT)
    np.testing.assert_allclose(middle, matrix[:, :2] @ [35, 17] + matrix[:, 2], atol=0.15)


def test_noise():
    image = np.full((200, 200, 3), 128, np.uint8)
    view = View(noise=8)
    seen = view.pixels(image, seed=1)
    assert seen.std() == pytest.approx(8, rel=0.05)
    np.testing.assert_array_equal(seen, view.pixels(image, seed=1))
    assert (seen != view.pixels(image, seed=2)).any()
    np.testing.assert_allclose(view.boxes(some_boxes(), 200, 200), some_boxes(), atol=1e-9)


def test_names_are_distinct():
    everything = [View(), *DIHEDRAL, *ODD, View(noise=8), View(degrees=-7.5)]
    assert len({view.name for view in everything}) == len(everything)
    assert (View().name, View(True, 5).name) == ("same", "flip+90")
    assert len(DIHEDRAL) == 7


@pytest.mark.parametrize("options", [{"scale": 0}, {"noise": -1}, {"degrees": float("nan")}])
def test_what_is_no_view(options):
    with pytest.raises(ValueError, match="expected finite degrees, scale > 0 and noise >= 0"):
        View(**options)
