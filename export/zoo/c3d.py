"""C3D: eight 3x3x3 convolutions and three fully connected layers.

Tran, Bourdev, Fergus, Torresani and Paluri, "Learning Spatiotemporal Features with 3D Convolutional Networks",
ICCV 2015 (arXiv 1412.0767), figure 3. Names (conv1 to conv5b, fc6 to fc8) are Caffe's, which the ports to PyTorch keep;
conv5's pool pads space, as those ports do, to make 4 x 4 of 7 x 7.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from .parts import DROPOUT

TAP = "relu5b"
"""512 x 2 x 7 x 7; what follows is fully connected, so that the pool behind it, 1 x 4 x 4, says little of where"""
FRAMES, SIZE = 16, 112
"""the only clip the fully connected layers take"""
UNITS = 4096

_CONVOLUTIONS = {"1": 64, "2": 128, "3a": 256, "3b": 256, "4a": 512, "4b": 512, "5a": 512, "5b": 512}
_POOLED = ("1", "2", "3b", "4b", "5b")
"""the convolutions that a pool comes after"""


class C3D(nn.Sequential):
    """Clip [N, 3, 16, 112, 112] float32 RGB, less its mean, in 0..255, to logits [N, classes].

    Its weights were trained on OpenCV's BGR: the channels are put in that order first.
    """

    bgr: Tensor

    def __init__(self, classes: int = 487) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for name, out in _CONVOLUTIONS.items():
            layers[f"conv{name}"] = nn.Conv3d(channels, out, 3, padding=1)
            layers[f"relu{name}"] = nn.ReLU()
            if name in _POOLED:
                kernel, padding = (1 if name == "1" else 2, 2, 2), (0, 1, 1) if name == "5b" else 0
                layers[f"pool{name[0]}"] = nn.MaxPool3d(kernel, padding=padding)
            channels = out
        layers["flatten"] = nn.Flatten()
        for name, inputs in (("6", channels * 4 * 4), ("7", UNITS)):
            layers[f"fc{name}"] = nn.Linear(inputs, UNITS)
            layers[f"relu{name}"] = nn.ReLU()
            layers[f"dropout{name}"] = nn.Dropout(DROPOUT)
        layers["fc8"] = nn.Linear(UNITS, classes)
        super().__init__(layers)
        self.register_buffer("bgr", torch.tensor([2, 1, 0]), persistent=False)

    def forward(self, clip: Tensor) -> Tensor:
        return super().forward(clip.index_select(1, self.bgr))
