"""The commands that make and rank detections: predict and rank."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...data import RotatedInstances
from ...detection.inference.processes import this_process
from ...sampling import rank
from ...storage.files import atomic_write
from ...storage.plurals import many
from ..arguments import (
    AddCommand,
    add_budget,
    add_detector_arguments,
    add_strategy_arguments,
    as_class_map,
    as_options,
    score,
    whole_number,
)
from ..json_output import add_json, only_json, print_json
from . import cfg_options
from .images import add_depth, add_tiling_arguments, as_depth, as_tiling
from .label_files import is_parquet

SHOWN_ROWS = 10  # of a ranking


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_predict(add_command)
    _add_rank(add_command)


def _add_predict(add_command: AddCommand) -> None:
    predict = add_command(
        "predict",
        _predict,
        "Detect on a folder of images; after a kill the same command resumes. By several processes: "
        "torchrun --nproc_per_node 4 -m al_rotate predict ..., or srun.",
        "al-rotate predict tiles/ --config rotated_rtmdet_tiny-3x-dota --checkpoint rtmdet.pth --out detections/",
    )
    predict.add_argument("images", type=Path, help="a folder, or one file")
    add_detector_arguments(predict)
    predict.add_argument("--out", type=Path, required=True, help="folder for the Parquet shards")
    at_once = "images at once; by default 8 on a CPU, 32 on a GPU or fewer if its memory holds no more"
    predict.add_argument("--batch-size", type=whole_number(1), metavar="N", help=at_once)
    predict.add_argument("--workers", type=whole_number(1), metavar="N", help="decoding threads; by default the cores")
    least = "least score of a box that is kept; by default the config's"
    predict.add_argument("--score-thr", type=score, metavar="SCORE", help=least)
    precision = "bf16 is faster where the device has it, fp32 equals MMRotate; by default %(default)s"
    predict.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help=precision)
    engine = "of the networks on a CPU; by default %(default)s: ONNX Runtime where it is installed"
    predict.add_argument("--engine", choices=("auto", "torch", "onnxruntime"), default="auto", help=engine)
    tile = "side in pixels of the tiles that large scenes are cut into, and merged from; by default they are not cut"
    predict.add_argument("--tile", type=whole_number(1), metavar="PIXELS", help=tile)
    add_tiling_arguments(predict)
    add_depth(predict)
    predict.add_argument("--class-scores", action="store_true", help="keep the scores of every class for each box")
    predict.add_argument("--features", action="store_true", help="keep a feature vector of each image and box")


def _add_rank(add_command: AddCommand) -> None:
    ranking = add_command(
        "rank",
        _rank,
        "Rank the images of predicted detections.",
        "al-rotate rank detections/ --strategy entropy --options how=sum --out ranking.csv",
    )
    ranking.add_argument("detections", type=Path, help="a Parquet file or a folder of shards")
    add_strategy_arguments(ranking, default="entropy")
    add_budget(ranking, "how many to pick, for strategies that pick a set; by default all")
    ranking.add_argument("--out", type=Path, help="CSV of the whole ranking")
    rows = f"rows to print; by default {SHOWN_ROWS}, or all as JSON"
    ranking.add_argument("--top", type=whole_number(0), metavar="N", help=rows)
    add_json(ranking)


def _predict(args: argparse.Namespace) -> None:
    from ...detection import Detector

    if args.tile is None and (args.overlap is not None or args.scales):
        raise ValueError("expected --tile with --overlap or --scales: without it images are not cut")
    cfg_options.check(args.config, args.cfg_options)
    run = {"precision": args.precision, "engine": args.engine, "class_map": as_class_map(args.map)}
    detector = Detector(args.config, args.checkpoint, args.device, args.cfg_options, **run)
    options = {"batch_size": args.batch_size, "workers": args.workers, "score_thr": args.score_thr}
    options |= {"class_scores": args.class_scores, "features": args.features, "out": args.out}
    options |= as_depth(args)
    parts: Iterable[RotatedInstances]
    if args.tile:
        parts = [detector.predict_scenes(args.images, as_tiling(args), **options)]
    else:
        parts = detector.stream(args.images, **options)  # a pool may be larger than memory
    n_images, n_boxes = 0, 0
    skipped: dict[str, str] = {}
    for part in parts:
        n_images, n_boxes, skipped = n_images + len(part), n_boxes + part.n_boxes, skipped | part.skipped
    process = this_process()
    prefix = f"process {process.number} of {process.total}: " if process.total > 1 and not args.tile else ""
    if prefix or process.number == 0:
        unread = f"{many(len(skipped), 'image')} could not be read"
        print(f"{prefix}{args.out}: {many(n_images, 'image')}, {many(n_boxes, 'box')}, {unread}")
        for image_id, reason in skipped.items():
            print(f"  {image_id}: {reason}")
        if not n_images and not prefix:
            raise ValueError(f"expected images that can be read, got none: delete {args.out} before the next try")
        print(f"next: al-rotate rank {shlex.quote(str(args.out))}")


def _rank(args: argparse.Namespace) -> None:
    if args.detections.is_dir() and not is_parquet(args.detections):
        options = "--config CONFIG --checkpoint WEIGHTS --out FOLDER"
        predict = f"al-rotate predict {shlex.quote(str(args.detections))} {options}"
        raise FileNotFoundError(f"expected a folder with detections, got {args.detections}; of images: {predict}")
    rng = np.random.default_rng(args.seed)
    with only_json(args.json):
        ranking = rank(args.detections, args.strategy, rng, budget=args.budget, **as_options(args.options))
    if args.out:
        with atomic_write(args.out) as file:
            ranking.to_csv(file, index=False)
    if args.json:
        return print_json(ranking if args.top is None else ranking.head(args.top))
    print(ranking.head(SHOWN_ROWS if args.top is None else args.top).to_string(index=False))
    whole = f"all of them: {args.out}" if args.out else "for all of them: --out ranking.csv"
    print(f"{many(len(ranking), 'image')} ranked by {args.strategy}; {whole}")
    init = "al-rotate init WORK --images FOLDER --classes NAMES --config CONFIG --checkpoint WEIGHTS"
    print(f"next, to have them labelled and train on them: {init}")
