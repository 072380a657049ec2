"""The commands that prepare and make detections: predict and tile."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ..data import RotatedInstances, images
from ..data.formats import dota
from ..data.tiling import Tiling, cut, cut_labels
from ..detection.inference.processes import this_process
from .arguments import AddCommand, add_detector_arguments, as_classes


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    predict = add_command(
        "predict",
        _predict,
        "Detect on a folder of images; after a kill the same command resumes. By several processes: "
        "torchrun --nproc_per_node 4 -m al_rotate predict ..., or srun.",
        "al-rotate predict tiles/ --config rotated_rtmdet_tiny-3x-dota --checkpoint rtmdet.pth --out detections/",
    )
    predict.add_argument("images", type=Path)
    add_detector_arguments(predict)
    predict.add_argument("--out", type=Path, required=True, help="folder for the Parquet shards")
    predict.add_argument("--batch-size", type=int, default=8)
    predict.add_argument("--workers", type=int, help="decoding threads")
    predict.add_argument("--score-thr", type=float, help="least score of a box that is kept")
    predict.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    predict.add_argument("--engine", choices=("auto", "torch", "onnxruntime"), default="auto")
    predict.add_argument("--tile", type=int, help="side of the tiles that large scenes are cut into, and merged from")
    _add_tiling_arguments(predict)
    predict.add_argument("--class-scores", action="store_true", help="keep the scores of every class for each box")
    predict.add_argument("--features", action="store_true", help="keep a feature vector of each image and box")

    tile = add_command(
        "tile",
        _tile,
        "Cut scenes into tiles to be ranked, labelled and trained on.",
        "al-rotate tile scenes/ --out tiles/ --labels labelTxt/ --classes dota-v1",
    )
    tile.add_argument("scenes", type=Path)
    tile.add_argument("--out", type=Path, required=True, help="folder for images/ and labelTxt/")
    tile.add_argument("--tile", type=int, default=1024, help="side in pixels")
    _add_tiling_arguments(tile)
    tile.add_argument("--labels", type=Path, help="DOTA labels of the scenes, to be cut as well")
    tile.add_argument("--classes", help="their classes; by default those that occur")


def _add_tiling_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overlap", type=int, help="pixels that neighbouring tiles share; by default 200")
    parser.add_argument("--scales", type=float, nargs="+", help="of the scenes, e.g. 1 0.5; by default 1")


def _predict(args: argparse.Namespace) -> None:
    from ..detection import Detector

    if not args.tile and (args.overlap is not None or args.scales):
        raise ValueError("expected --tile with --overlap or --scales: without it images are not cut")
    detector = Detector(
        args.config, args.checkpoint, args.device, args.cfg_options, precision=args.precision, engine=args.engine
    )
    options = {"batch_size": args.batch_size, "workers": args.workers, "score_thr": args.score_thr}
    options |= {"class_scores": args.class_scores, "features": args.features, "out": args.out}
    parts: Iterable[RotatedInstances]
    if args.tile:
        parts = [detector.predict_scenes(args.images, _tiling(args), **options)]
    else:
        parts = detector.stream(args.images, **options)  # a pool may be larger than memory
    n_images, n_boxes = 0, 0
    skipped: dict[str, str] = {}
    for part in parts:
        n_images, n_boxes, skipped = n_images + len(part), n_boxes + part.n_boxes, skipped | part.skipped
    process = this_process()
    prefix = f"process {process.number} of {process.total}: " if process.total > 1 and not args.tile else ""
    if prefix or process.number == 0:
        print(f"{prefix}{args.out}: {n_images} images, {n_boxes} boxes, {len(skipped)} images could not be read")
        for image_id, reason in skipped.items():
            print(f"  {image_id}: {reason}")


def _tile(args: argparse.Namespace) -> None:
    tiling = _tiling(args)
    scenes = images.resolve(args.scenes)
    labels = dota.read(args.labels, as_classes(args.classes)) if args.labels else None
    if labels and (missing := [image_id for image_id in labels.image_ids if image_id not in scenes]):
        raise ValueError(f"expected a scene for every label file, got none of {missing[0]!r} in {args.scenes}")
    files = cut(scenes, args.out / "images", tiling)
    print(f"{args.out / 'images'}: {len(files)} tiles of {len(scenes)} scenes")
    if labels:
        with images.allow_large_images():
            sizes = {image_id: images.size(scenes[image_id]) for image_id in labels.image_ids}
        tiles = cut_labels(labels, sizes, tiling)
        print(f"{dota.write(tiles, args.out / 'labelTxt')}: {tiles.n_boxes} boxes, of {labels.n_boxes} in the scenes")


def _tiling(args: argparse.Namespace) -> Tiling:
    options = {"overlap": args.overlap, "scales": args.scales and tuple(args.scales)}
    return Tiling(args.tile, **{name: value for name, value in options.items() if value is not None})
