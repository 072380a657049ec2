"""Render scenes on one core, with decoding the same scenes from JPEG by Pillow as the peer.

python -m experiments.benchmarks.rendering
"""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
from PIL import Image

from al_rotate.data import synthetic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--size", type=int, default=256, help="of a scene, in pixels")
    args = parser.parse_args()
    started = time.process_time()
    scenes = [synthetic.render(args.size, np.random.default_rng([0, i]))[0] for i in range(args.scenes)]
    rendering = time.process_time() - started
    files = []
    for scene in scenes:
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "JPEG", quality=95, subsampling=0)
        files.append(file)
    started = time.process_time()
    for file in files:
        np.asarray(Image.open(file))
    decoding = time.process_time() - started
    speed, ratio = args.scenes / rendering, rendering / decoding
    print(f"{args.size} px: {speed:.0f} scenes rendered per second of one core, {ratio:.1f} x decoding them")


if __name__ == "__main__":
    main()
