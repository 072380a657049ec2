"""How fast scenes are rendered on one core, beside decoding the same scenes from JPEG with Pillow as the peer.

python experiments/benchmarks/render.py
"""

from __future__ import annotations

import io
import time

import numpy as np
from PIL import Image

from al_rotate.data import synthetic

SCENES, SIZE = 200, 256


def main() -> None:
    started = time.process_time()
    scenes = [synthetic.render(SIZE, np.random.default_rng([0, i]))[0] for i in range(SCENES)]
    drawing = time.process_time() - started
    files = []
    for scene in scenes:
        file = io.BytesIO()
        Image.fromarray(scene).save(file, "JPEG", quality=95, subsampling=0)
        files.append(file)
    started = time.process_time()
    for file in files:
        np.asarray(Image.open(file))
    decoding = time.process_time() - started
    print(
        f"{SIZE} px: {SCENES / drawing:.0f} scenes drawn a second of one core, {drawing / decoding:.1f} x decoding them"
    )


if __name__ == "__main__":
    main()
