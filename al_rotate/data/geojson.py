"""GeoJSON (RFC 7946): rotated boxes in world coordinates, for QGIS, PostGIS and web maps. Needs rasterio."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely import affinity
from shapely.geometry import Polygon, box
from shapely.geometry.polygon import orient

from ..boxes import to_corners
from ..storage.files import atomic_write
from . import images
from .images import Georeference
from .instances import RotatedInstances
from .tiling import Tile

WGS84 = "OGC:CRS84"  # longitude and latitude in degrees: what RFC 7946 prescribes
FROM_FILES = "files"
_DECIMALS = 9  # of degrees: a tenth of a millimetre
_AXIS, _FLATTENING = 6_378_137.0, 1 / 298.257223563  # of the ellipsoid of WGS 84, in metres


def write(
    instances: RotatedInstances,
    path: str | Path,
    image_files: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
    crs: str = WGS84,
) -> Path:
    """Write labels or detections as one GeoJSON file, atomically: a feature per box.

    Its geometry is the box's four corners as a polygon, counterclockwise in the world; one across the antimeridian is
    cut there in two. Its properties are ``image_id``, ``class``, ``score`` of a detection, ``difficult`` if the labels
    have it, ``angle``, the box's angle in its image in degrees, clockwise, in [-90, 90), and ``azimuth``, the direction
    of its longer side in degrees clockwise from true north, in [0, 180). Images without boxes leave no trace.

    Args:
        instances: with `classes`.
        path: the file.
        image_files: a folder, files, or image id -> file, all images with boxes among them; for tiles without a file
            of their own, their scene. Their georeferences place the boxes, see :func:`al_rotate.images.locate`.
        crs: of the coordinates. By default that of RFC 7946, longitude and latitude on WGS 84. Another one, such as
            ``"EPSG:32632"``, or ``"files"`` for that of the image files, is named in a member ``crs``, as GeoJSON had
            it before the RFC: GIS read it, web maps may not.

    Returns:
        The path.

    Raises:
        ValueError: without classes, for images with boxes that are not :func:`located`, for image files of several
            reference systems with ``"files"``, or for a `crs` that is none or has no number; names the image.
        ImportError: without rasterio.
        UnreadableImage: for a file that is no image.
    """
    if instances.classes is None:
        raise ValueError("expected instances with classes, got None; give them by instances.replace(classes=...)")
    found, missing = located(instances, image_files)
    if missing:
        image_id, reason = next(iter(missing.items()))
        raise ValueError(
            f"expected georeferenced images, got {len(missing)} of {int((instances.counts > 0).sum())} with boxes that "
            f"are not, e.g. {image_id!r}: {reason}"
        )
    target, name = _target(crs, found)
    path = Path(path)
    with atomic_write(path) as file:
        file.write('{"type": "FeatureCollection",\n')
        if name:
            member = {"type": "name", "properties": {"name": name}}
            file.write(f'"crs": {json.dumps(member)},\n')
        file.write('"features": [')
        separator = "\n"
        for image_id, image in instances:
            for feature in _features(image_id, image, found[image_id], target) if image.n_boxes else ():
                file.write(separator + json.dumps(feature, ensure_ascii=False, allow_nan=False))
                separator = ",\n"
        file.write("\n]}\n")
    return path


def located(
    instances: RotatedInstances,
    image_files: str | Path | Iterable[str | Path] | Mapping[str, str | Path],
) -> tuple[dict[str, Georeference], dict[str, str]]:
    """Read where the images that have boxes lie.

    Args:
        instances, image_files: as for :func:`write`.

    Returns:
        image id -> georeference, and for the others image id -> why there is none. Boxes of an image of another size
        than the file have no place in it either.
    """
    files = images.resolve(image_files)
    sizes = np.zeros((len(instances), 2), int) if instances.image_sizes is None else instances.image_sizes
    found: dict[str, Georeference] = {}
    missing: dict[str, str] = {}
    for position in np.flatnonzero(instances.counts):
        image_id, of_boxes = instances.image_ids[position], tuple(sizes[position].tolist())
        file, tile = files.get(image_id), _as_tile(image_id)
        try:
            with images.allow_large_images():
                if file is not None:
                    found[image_id] = images.locate(file)
                    if all(of_boxes) and (size := images.size(file)) != of_boxes:
                        del found[image_id]
                        missing[image_id] = "the boxes are of {} x {} pixels, {} has {} x {}".format(
                            *of_boxes, file, *size
                        )
                elif tile is not None and tile.scene in files:
                    found[image_id] = images.locate(files[tile.scene]).of_window(tile.x, tile.y)
                else:
                    missing[image_id] = "there is no such image file"
        except images.NotGeoreferenced as error:
            missing[image_id] = str(error)
    return found, missing


def _as_tile(image_id: str) -> Tile | None:
    try:
        return Tile.of(image_id)
    except ValueError:
        return None


def _target(crs: str, found: Mapping[str, Georeference]) -> tuple[str, str | None]:
    """Return the reference system to write, and its name for the member ``crs``; None for that of RFC 7946."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    if crs == FROM_FILES:
        first: dict[str, str] = {}  # WKT -> image
        for image_id, georeference in found.items():
            first.setdefault(georeference.crs, image_id)
        distinct = {CRS.from_wkt(wkt).to_string(): image_id for wkt, image_id in first.items()}
        if len(distinct) > 1:
            (a, of_a), (b, of_b) = list(distinct.items())[:2]
            raise ValueError(f"expected images of one reference system, got {a} of {of_a!r} and {b} of {of_b!r}")
        crs = next(iter(first), WGS84)
    try:
        authority = CRS.from_user_input(crs).to_authority()
    except CRSError as error:
        raise ValueError(f"expected a reference system such as EPSG:32632, got {crs!r}: {error}") from None
    if authority is None:
        raise ValueError(f"expected a reference system with a number, which GeoJSON can name, got {crs}")
    if authority == ("OGC", "CRS84"):
        return WGS84, None
    return crs, "urn:ogc:def:crs:{}::{}".format(*authority)


def _features(image_id: str, image: RotatedInstances, georeference: Georeference, crs: str) -> Iterator[dict[str, Any]]:
    """Yield the features of an image's boxes, at least one."""
    corners = georeference.to_world(to_corners(image.boxes.astype(np.float64)))
    degrees = _reprojected(corners, image_id, georeference.crs, WGS84)
    world = degrees if crs == WGS84 else _reprojected(corners, image_id, georeference.crs, crs)
    assert image.classes is not None
    azimuths = _azimuths(degrees)
    for row in range(image.n_boxes):
        properties: dict[str, Any] = {"image_id": image_id, "class": image.classes[image.labels[row]]}
        if image.scores is not None:
            properties["score"] = round(float(image.scores[row]), 6)
        if image.difficult is not None:
            properties["difficult"] = int(image.difficult[row])
        properties["angle"] = round(float(np.degrees(image.boxes[row, 4])), 4)
        properties["azimuth"] = round(float(azimuths[row]), 4) % 180
        geometry = _geometry(world[row], wraps=crs == WGS84)
        yield {"type": "Feature", "geometry": geometry, "properties": properties}


def _reprojected(points: NDArray[np.float64], image_id: str, source: str, target: str) -> NDArray[np.float64]:
    """Map points (N, 4, 2) from one reference system to another; easting or longitude first in both."""
    from rasterio.warp import transform

    try:
        x, y = transform(source, target, points[..., 0].ravel().tolist(), points[..., 1].ravel().tolist())
        problem = "" if np.isfinite([x, y]).all() else "outside of what it can map"
    except Exception as error:  # of GDAL's own kind, which rasterio does not make public
        problem = str(error)
    if problem:
        raise ValueError(
            f"expected boxes that lie in the world, got some of {image_id!r} without a place in {target}: {problem}"
        )
    return np.stack([x, y], axis=-1).reshape(points.shape)


def _azimuths(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction of the longer side of boxes (N, 4, 2), in degrees of longitude and latitude: (N,).

    On the ellipsoid a small step of longitude is cos(latitude) times the prime vertical's radius of curvature, and one
    of latitude the meridian's (Snyder, Map Projections, 1987, equations 4-18 to 4-21).
    """
    latitude = np.radians(corners[..., 1].mean(axis=1))
    eccentricity = _FLATTENING * (2 - _FLATTENING)
    share = 1 - eccentricity * np.sin(latitude) ** 2
    across, along = _AXIS / np.sqrt(share), _AXIS * (1 - eccentricity) / share**1.5
    sides = corners[:, [1, 2]] - corners[:, [0, 1]]
    sides[..., 0] = (sides[..., 0] + 180) % 360 - 180  # of two points on both sides of the antimeridian
    metres = np.radians(sides) * np.stack([across * np.cos(latitude), along], axis=-1)[:, None]
    longer = metres[np.arange(len(metres)), np.hypot(*np.moveaxis(metres, -1, 0)).argmax(axis=1)]
    return np.degrees(np.arctan2(longer[:, 0], longer[:, 1])) % 180


def _geometry(corners: NDArray[np.float64], wraps: bool) -> dict[str, Any]:
    """Return four corners as GeoJSON's polygon; cut at the antimeridian as RFC 7946, 3.1.9, asks."""
    if wraps:  # an image beyond the antimeridian may count on, to longitudes of more than 180 degrees
        beyond = np.abs(corners[:, 0]) > 180
        corners = np.column_stack([np.where(beyond, (corners[:, 0] + 180) % 360 - 180, corners[:, 0]), corners[:, 1]])
    if wraps and np.ptp(corners[:, 0]) > 180:
        east = Polygon(np.column_stack([corners[:, 0] % 360, corners[:, 1]]))
        halves = [east.intersection(box(0, -90, 180, 90)), east.intersection(box(180, -90, 360, 90))]
        parts = [halves[0], affinity.translate(halves[1], -360)]
        rings = [[_ring(part.exterior.coords[:-1])] for part in parts if part.area > 0]
        if len(rings) == 2:
            return {"type": "MultiPolygon", "coordinates": rings}
        corners = np.array(rings[0][0][:-1])
    return {"type": "Polygon", "coordinates": [_ring(corners)]}


def _ring(points: Any) -> list[list[float]]:
    """Return a closed ring, counterclockwise."""
    return [[round(x, _DECIMALS), round(y, _DECIMALS)] for x, y in orient(Polygon(points)).exterior.coords]
