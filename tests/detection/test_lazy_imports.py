"""What loads without torch: the command line and the core need no detector."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from al_rotate.detection.inference.processes import this_process
from al_rotate.detection import PredictOptions
assert this_process().total >= 1 and PredictOptions().batch_size is None
heavy = {"torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmrotate", "cv2"}
print(sorted(heavy & {*sys.modules}))
"""


def test_processes_and_options_need_no_torch():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the settings of GNU's OpenMP")
@pytest.mark.parametrize(
    ("own", "spins"), [({}, ["1000"]), ({"OMP_WAIT_POLICY": "passive"}, ["0"]), ({"GOMP_SPINCOUNT": "7"}, ["7"])]
)
def test_threads_spin_briefly_unless_the_user_says_otherwise(own, spins):
    pytest.importorskip("torch")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", "import al_rotate.detection, torch"],
        env={**environment, **own, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr) == spins
