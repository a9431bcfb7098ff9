"""The auxiliary classifier of ENAS for images (Pham et al. 2018, the authors' code; after Szegedy et al. 2015).

It reads features on the way, in training only, so that the lower part of a network gets a gradient of its own::

    ReLU, average of windows of 5x5 pixels with stride 3, 1x1 convolution to 128 channels, batch norm, ReLU,
    convolution of all that is left to 768 features, batch norm, ReLU, linear classifier

On smaller images than 5x5 pixels the window is the image. In the authors' code its weights are left out of those that
are trained; here they are trained.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.components import Shape
from nasforge.executors.norms import EPS
from nasforge.seeds import derive

WINDOW, STRIDE = 5, 3
HIDDEN, FEATURES = 128, 768


class AuxiliaryClassifier(nn.Module):
    """From values ``[batch, channels, height, width]`` to logits ``[batch, classes]``; matrices: U(±1/sqrt(fan_in)).

    Args:
        shape: (channels, height, width) of the values.
        classes: how many.
        seed: derives the weights.
    """

    def __init__(self, shape: Shape, classes: int, seed: int) -> None:
        super().__init__()
        channels, height, width = shape
        self._window = min(WINDOW, height), min(WINDOW, width)
        left = [(size - window) // STRIDE + 1 for size, window in zip((height, width), self._window, strict=True)]
        generator = torch.Generator().manual_seed(derive(seed, "weights", "auxiliary classifier"))

        def matrix(*size: int) -> nn.Parameter:
            bound = 1 / math.sqrt(math.prod(size[1:]))
            return nn.Parameter(torch.empty(size).uniform_(-bound, bound, generator=generator))

        self.first = matrix(HIDDEN, channels, 1, 1)
        self.first_scale, self.first_offset = nn.Parameter(torch.ones(HIDDEN)), nn.Parameter(torch.zeros(HIDDEN))
        self.second = matrix(FEATURES, HIDDEN, *left)
        self.second_scale = nn.Parameter(torch.ones(FEATURES))
        self.second_offset = nn.Parameter(torch.zeros(FEATURES))
        self.weight, self.bias = matrix(classes, FEATURES), nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        """The logits; batch norms take the statistics of the batch, since it runs in training only."""
        x = F.avg_pool2d(torch.relu(x), self._window, STRIDE)
        x = _normalised(F.conv2d(x, self.first), self.first_scale, self.first_offset)
        x = _normalised(F.conv2d(x, self.second), self.second_scale, self.second_offset)
        return F.linear(x.flatten(1), self.weight, self.bias)


def _normalised(x: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return torch.relu(F.batch_norm(x, None, None, scale, offset, True, 0.0, EPS))
