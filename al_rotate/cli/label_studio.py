"""The commands for Label Studio (studio, connect and serve), and those that convert labels (convert and export)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..data import SHOWN_SCORE
from .arguments import AddCommand, DictAction, as_classes

if TYPE_CHECKING:
    from ..bridge.export import Exported

FORMATS = ("dota", "coco", "yolo-obb")
POLICIES = ("latest", "ground-truth", "agreement")


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_studio(add_command)
    _add_connect(add_command)
    _add_serve(add_command)
    _add_convert(add_command)
    _add_export(add_command)


def _add_studio(add_command: AddCommand) -> None:
    studio = add_command(
        "studio",
        _studio,
        "Start a Label Studio server of your own with the workspace's query in it.",
        "al-rotate studio work",
    )
    studio.add_argument("workspace", type=Path)
    studio.add_argument("--port", type=int, help="8080, or a free one when it is taken")
    studio.add_argument("--venv", type=Path, help="environment to install Label Studio into; by default in the cache")


def _add_connect(add_command: AddCommand) -> None:
    connect = add_command(
        "connect",
        _connect,
        "Let a running Label Studio server answer a workspace; the token comes from LABEL_STUDIO_API_KEY.",
        "al-rotate connect work --url http://localhost:8080 --images local --document-root /data",
    )
    connect.add_argument("workspace", type=Path)
    connect.add_argument("--url", required=True, help="of the server")
    connect.add_argument("--project", help="title of the project, created if need be; by default the workspace's name")
    connect.add_argument("--token-file", type=Path, help="instead of LABEL_STUDIO_API_KEY; read each time")
    connect.add_argument(
        "--images", default="upload", help="local, upload, or a template like 's3://bucket/{image_id}{suffix}'"
    )
    connect.add_argument("--document-root", type=Path, help="with local: the server's LOCAL_FILES_DOCUMENT_ROOT")
    connect.add_argument("--shown", type=float, default=SHOWN_SCORE, help="least score of a box that is sent")
    connect.add_argument("--policy", choices=POLICIES, default="latest")
    connect.add_argument("--polygons", action="store_true", help="take polygons as their smallest rectangle")
    connect.add_argument("--rename", nargs="+", metavar="LABEL=CLASS", help="labels with other names in the project")


def _add_serve(add_command: AddCommand) -> None:
    serve = add_command(
        "serve",
        _serve,
        "Serve predictions and trainings to Label Studio (Settings, Model).",
        "al-rotate serve --config rotated_rtmdet_tiny-3x-dota --checkpoint rtmdet.pth --device cpu --port 8003",
    )
    serve.add_argument("workspace", type=Path, nargs="?", help="its latest checkpoint is served and fine-tuned")
    serve.add_argument("--config", help="without a workspace: path, or the name of a config shipped with MMRotate")
    serve.add_argument("--checkpoint", help="path, or zoo for the published weights")
    serve.add_argument("--device", default="auto")
    serve.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    serve.add_argument("--work-dir", type=Path, help="without a workspace: where trainings go")
    serve.add_argument("--host", default="127.0.0.1", help="any other one needs --user and AL_ROTATE_PASSWORD")
    serve.add_argument("--port", type=int, default=8003)
    serve.add_argument("--user", help="basic auth; the password comes from AL_ROTATE_PASSWORD")
    serve.add_argument("--score-thr", type=float, default=SHOWN_SCORE, help="least score of a box that is shown")
    serve.add_argument("--document-root", type=Path, help="Label Studio's LOCAL_FILES_DOCUMENT_ROOT")
    serve.add_argument("--allow-host", nargs="+", default=[], metavar="HOST", help="from which images may be fetched")
    serve.add_argument("--train-every", type=int, default=0, help="fine-tune after this many new annotations")


def _add_convert(add_command: AddCommand) -> None:
    convert = add_command(
        "convert",
        _convert,
        "Convert Label Studio's JSON export to DOTA, COCO or YOLO-OBB, rotation kept.",
        "al-rotate convert export.json --to dota --out labels/",
    )
    convert.add_argument("export", type=Path, help="from Label Studio's Export, JSON")
    convert.add_argument("--to", choices=FORMATS, required=True)
    convert.add_argument("--out", type=Path, help="a folder; by default next to the export")
    convert.add_argument(
        "--classes", type=as_classes, help="names with commas, dota-v1, or a file; by default those of the export"
    )
    convert.add_argument("--label-config", type=Path, help="the project's labelling configuration, for its classes")
    convert.add_argument("--images", type=Path, help="the folder of the images, whose sizes COCO and YOLO-OBB need")
    convert.add_argument("--rename", nargs="+", metavar="LABEL=CLASS", help="labels to rename")
    convert.add_argument("--policy", choices=POLICIES, default="latest")
    convert.add_argument("--polygons", action="store_true", help="take polygons as their smallest rectangle")


def _add_export(add_command: AddCommand) -> None:
    export = add_command(
        "export", _export, "Write a workspace's labels as DOTA, COCO or YOLO-OBB.", "al-rotate export work --to coco"
    )
    export.add_argument("workspace", type=Path)
    export.add_argument("--to", choices=FORMATS, required=True)
    export.add_argument("--out", type=Path, help="a folder; by default in the workspace")


def _studio(args: argparse.Namespace) -> None:
    from ..bridge import studio

    studio.run(args.workspace, args.port, args.venv)


def _connect(args: argparse.Namespace) -> None:
    from ..bridge import Connection, connect
    from ..workspace import Workspace

    with Workspace.open(args.workspace, read_only=True) as workspace:
        classes = workspace.classes
    options = {
        "images": args.images,
        "document_root": args.document_root and str(args.document_root.absolute()),
        "token_file": args.token_file and str(args.token_file.absolute()),
        "shown": args.shown,
        "policy": args.policy,
        "polygons": args.polygons,
        "rename": _as_names(args.rename),
    }
    token = Connection(args.url, 0, token_file=options["token_file"]).token()
    connection = connect(args.workspace, args.url, token, classes, args.project, **options)
    print(f"{args.workspace} is answered by {connection.url}/projects/{connection.project}/data")
    print(f"next: al-rotate query {args.workspace} --images 50")


def _serve(args: argparse.Namespace) -> None:
    from ..bridge.backend.app import serve

    if (args.workspace is None) == (args.config is None):
        raise ValueError("expected a workspace, or --config and --checkpoint")
    serve(
        workspace=args.workspace,
        config=args.config,
        checkpoint=args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        work_dir=args.work_dir,
        host=args.host,
        port=args.port,
        user=args.user,
        password=os.environ.get("AL_ROTATE_PASSWORD"),
        score_thr=args.score_thr,
        document_root=args.document_root,
        allow_hosts=args.allow_host,
        train_every=args.train_every,
    )


def _convert(args: argparse.Namespace) -> None:
    from ..bridge.export import convert

    out = args.out or args.export.with_name(f"{args.export.stem}-{args.to}")
    _print_exported(
        convert(
            args.export,
            args.to,
            out,
            args.classes,
            label_config=args.label_config,
            image_files=args.images,
            policy=args.policy,
            polygons=args.polygons,
            rename=_as_names(args.rename),
        )
    )


def _export(args: argparse.Namespace) -> None:
    from ..bridge.export import export_workspace
    from ..workspace import Workspace

    with Workspace.open(args.workspace, read_only=True) as workspace:
        _print_exported(export_workspace(workspace, args.to, args.out or args.workspace / "export" / args.to))


def _print_exported(exported: Exported) -> None:
    print(f"{exported.folder}: {exported.labels!r}")
    if len(exported.account):
        print(f"{len(exported.account)} notes on what was left out or odd: {exported.folder / 'account.csv'}")


def _as_names(pairs: list[str] | None) -> dict[str, str] | None:
    """Convert ``LABEL=CLASS`` pairs to label -> class; None without any."""
    wrong = [pair for pair in pairs or () if "=" not in pair]
    if wrong:
        raise ValueError(f"expected --rename as LABEL=CLASS, got {', '.join(wrong)}")
    return dict(pair.split("=", 1) for pair in pairs or ()) or None
