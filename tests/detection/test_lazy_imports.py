"""What loads without torch: the command line and the core need no detector."""

import subprocess
import sys

CODE = """
import sys
from al_rotate.detection.inference.processes import this_process
from al_rotate.detection import PredictOptions
assert this_process().total >= 1 and PredictOptions().batch_size == 8
heavy = {"torch", "torchvision", "mmcv", "mmengine", "mmdet", "mmrotate", "cv2"}
print(sorted(heavy & {*sys.modules}))
"""


def test_processes_and_options_need_no_torch():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
