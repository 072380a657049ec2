"""The al-rotate commands that have to do with Label Studio, and those that carry its labels elsewhere."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import DictAction, as_classes

if TYPE_CHECKING:
    from ..bridge.export import Exported

FORMATS = ("dota", "coco", "yolo-obb")


def add(command: Any) -> None:
    """Add them to the parser.

    Args:
        command: makes a sub-parser of name, function, summary and example.
    """
    studio = command(
        "studio",
        _studio,
        "Start a Label Studio server of your own with the workspace's query in it.",
        "al-rotate studio work",
    )
    studio.add_argument("workspace", type=Path)
    studio.add_argument("--port", type=int, help="8080, or a free one where that is taken")
    studio.add_argument(
        "--venv", type=Path, help="where Label Studio is or shall be installed; by default in the cache"
    )

    connect = command(
        "connect",
        _connect,
        "Let a Label Studio server that runs already answer a workspace; the token comes from LABEL_STUDIO_API_KEY.",
        "al-rotate connect work --url http://localhost:8080 --images local --document-root /data",
    )
    connect.add_argument("workspace", type=Path)
    connect.add_argument("--url", required=True, help="of the server")
    connect.add_argument("--project", help="title of the project, made if there is none; the workspace's name")
    connect.add_argument("--token-file", type=Path, help="instead of LABEL_STUDIO_API_KEY; read each time")
    connect.add_argument(
        "--images", default="upload", help="local, upload, or a template like 's3://bucket/{image_id}{suffix}'"
    )
    connect.add_argument("--document-root", type=Path, help="with local: the server's LOCAL_FILES_DOCUMENT_ROOT")
    connect.add_argument("--shown", type=float, default=0.3, help="least score of a box that is sent")
    connect.add_argument("--policy", choices=("latest", "ground-truth", "agreement"), default="latest")
    connect.add_argument("--polygons", action="store_true", help="take polygons as their smallest rectangle")
    connect.add_argument("--rename", nargs="+", metavar="LABEL=CLASS", help="labels that the project calls otherwise")

    serve = command(
        "serve",
        _serve,
        "Serve predictions and trainings to Label Studio (Settings, Model).",
        "al-rotate serve --config rotated_rtmdet_tiny-3x-dota --checkpoint rtmdet.pth --device cpu --port 8003",
    )
    serve.add_argument("workspace", type=Path, nargs="?", help="its last checkpoint is served, and trained on")
    serve.add_argument("--config", help="without a workspace: path, or the name of a config shipped with MMRotate")
    serve.add_argument("--checkpoint", help="path, or zoo for the published weights")
    serve.add_argument("--device", default="auto")
    serve.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    serve.add_argument("--work-dir", type=Path, help="without a workspace: where trainings go")
    serve.add_argument("--host", default="127.0.0.1", help="another one needs --user, and AL_ROTATE_PASSWORD")
    serve.add_argument("--port", type=int, default=8003)
    serve.add_argument("--user", help="basic auth; the password comes from AL_ROTATE_PASSWORD")
    serve.add_argument("--score-thr", type=float, default=0.3, help="least score of a box that is shown")
    serve.add_argument("--document-root", type=Path, help="Label Studio's LOCAL_FILES_DOCUMENT_ROOT")
    serve.add_argument("--allow-host", nargs="+", default=[], metavar="HOST", help="from which images may be fetched")
    serve.add_argument("--train-every", type=int, default=0, help="fine-tune after so many new annotations")

    convert = command(
        "convert",
        _convert,
        "Convert Label Studio's JSON export to DOTA, COCO or YOLO-OBB, rotation kept.",
        "al-rotate convert export.json --to dota --out labels/",
    )
    convert.add_argument("export", type=Path, help="from Label Studio's Export, JSON")
    convert.add_argument("--to", choices=FORMATS, required=True)
    convert.add_argument("--out", type=Path, help="a folder; by default beside the export")
    convert.add_argument(
        "--classes", type=as_classes, help="names with commas, dota-v1, or a file; as the export has them"
    )
    convert.add_argument("--label-config", type=Path, help="the project's labelling configuration, for its classes")
    convert.add_argument("--images", type=Path, help="the folder of the images; COCO and YOLO-OBB want their sizes")
    convert.add_argument("--rename", nargs="+", metavar="LABEL=CLASS", help="labels that are to be called otherwise")
    convert.add_argument("--policy", choices=("latest", "ground-truth", "agreement"), default="latest")
    convert.add_argument("--polygons", action="store_true", help="take polygons as their smallest rectangle")

    export = command(
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
        names = workspace.classes
    options = {
        "images": args.images,
        "document_root": args.document_root and str(args.document_root.absolute()),
        "token_file": args.token_file and str(args.token_file.absolute()),
        "shown": args.shown,
        "policy": args.policy,
        "polygons": args.polygons,
        "rename": _renamed(args.rename),
    }
    token = Connection(args.url, 0, token_file=options["token_file"]).token()
    made = connect(args.workspace, args.url, token, names, args.project, **options)
    print(f"{args.workspace} is answered by {made.url}/projects/{made.project}/data")
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
    _told(
        convert(
            args.export,
            args.to,
            out,
            args.classes,
            label_config=args.label_config,
            image_files=args.images,
            policy=args.policy,
            polygons=args.polygons,
            rename=_renamed(args.rename),
        )
    )


def _export(args: argparse.Namespace) -> None:
    from ..bridge.export import export_workspace
    from ..workspace import Workspace

    with Workspace.open(args.workspace, read_only=True) as workspace:
        _told(export_workspace(workspace, args.to, args.out or args.workspace / "export" / args.to))


def _told(done: Exported) -> None:
    print(f"{done.folder}: {done.labels!r}")
    if len(done.account):
        print(f"{len(done.account)} notes on what was left out or odd: {done.folder / 'account.csv'}")


def _renamed(pairs: list[str] | None) -> dict[str, str] | None:
    wrong = [pair for pair in pairs or () if "=" not in pair]
    if wrong:
        raise ValueError(f"expected --rename as LABEL=CLASS, got {', '.join(wrong)}")
    return dict(pair.split("=", 1) for pair in pairs or ()) or None
