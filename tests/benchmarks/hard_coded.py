"""The networks of `conv` and `recurrent` as one writes them by hand in plain torch: what executors are measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)


class _Separable(nn.Module):
    """ReLU, depthwise, 1x1, batch norm, so often."""

    def __init__(self, channels: int, kernel: int, repeat: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ReLU(),
                    nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
                    nn.Conv2d(channels, channels, 1, bias=False),
                    _norm(channels),
                )
                for _ in range(repeat)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


def _calibrate(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(into, out, 1, bias=False), _norm(out))


def _pointwise(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), _norm(channels), nn.ReLU())


class _Reduction(nn.Module):
    """Half the size: two shifted 1x1 convolutions of stride 2, batch norm."""

    def __init__(self, into: int, out: int, *, relu: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(into, out // 2, 1, stride=2, bias=False)
        self.second = nn.Conv2d(into, out - out // 2, 1, bias=False)
        self.norm = _norm(out)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        if self.relu:
            x = torch.relu(x)
        # A slice with gaps has no memory format, and everything after its convolution would be NCHW.
        last = x.is_contiguous(memory_format=torch.channels_last)
        shifted = x[:, :, 1::2, 1::2].contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        result: Tensor = self.norm(torch.cat((self.first(x), self.second(shifted)), 1))
        return result


class _Cell(nn.Module):
    """The cell of `conv.MICRO_CHOICES`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sep2a, self.sep2b = _Separable(channels, 3, 2), _Separable(channels, 5, 2)
        self.sep3, self.sep4 = _Separable(channels, 3, 2), _Separable(channels, 5, 2)
        self.project = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False)) for _ in range(3)
        )
        self.norm = _norm(channels)

    def forward(self, in0: Tensor, in1: Tensor) -> Tensor:
        node2 = self.sep2a(in0) + self.sep2b(in1)
        node3 = F.avg_pool2d(in1, 3, 1, 1, count_include_pad=False) + self.sep3(node2)
        node4 = in0 + self.sep4(node2)
        node5 = F.max_pool2d(node3, 3, 1, 1) + node2
        node6 = in1 + F.avg_pool2d(in0, 3, 1, 1, count_include_pad=False)
        ends = zip(self.project, (node4, node5, node6), strict=True)
        result: Tensor = self.norm(sum(project(value) for project, value in ends))
        return result


class Micro(nn.Module):
    """Two normal cells, a reduction cell, two normal, a reduction, two normal."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), _norm(3 * c))
        self.cells = nn.ModuleList(_Cell(each) for each in (c, c, 2 * c, 2 * c, 2 * c, 4 * c, 4 * c, 4 * c))
        self.calibrated = nn.ModuleList(_calibrate(3 * c, c) for _ in range(3))
        self.reduced = nn.ModuleList(
            nn.ModuleList((_Reduction(each, 2 * each, relu=True), _Reduction(each, 2 * each))) for each in (c, 2 * c)
        )

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        first = self.cells[0](self.calibrated[0](stem), self.calibrated[1](stem))
        older, newer = first, self.cells[1](self.calibrated[2](stem), first)
        for block, (halved_older, halved_newer) in enumerate(self.reduced):  # type: ignore[misc]
            at = 2 + 3 * block
            half = halved_newer(newer)
            older, newer = half, self.cells[at](halved_older(older), half)
            for cell in self.cells[at + 1 : at + 3]:
                older, newer = newer, cell(older, newer)
        return torch.relu(newer)


class Macro(nn.Module):
    """Twelve layers; layer k does `OPS[k % 6]` and adds every third earlier value (`conv.macro_choices`)."""

    REDUCE_AFTER = (4, 8)

    def __init__(self, channels: int, layers: int = 12) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(nn.Conv2d(3, c, 3, padding=1, bias=False), _norm(c))
        self.before = nn.ModuleList(_pointwise(c) for _ in range(layers))
        self.ops = nn.ModuleList(self._op(c, k % 6) for k in range(layers))
        self.norms = nn.ModuleList(_norm(c) for _ in range(layers))
        # Which values are halved after layer 4, after layer 8: those that a later layer reads.
        self.reduced = nn.ModuleDict(
            {f"{value}_{number}": _Reduction(c, c) for value, number in _halved(layers, self.REDUCE_AFTER)}
        )

    @staticmethod
    def _op(channels: int, number: int) -> nn.Module:
        if number < 2:
            kernel = 3 + 2 * number
            return nn.Sequential(
                nn.ReLU(), nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False), _norm(channels)
            )
        if number < 4:
            return _Separable(channels, 2 * number - 1, 1)
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False) if number == 4 else nn.MaxPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        values: list[Tensor] = [self.stem(x)]
        for k, (before, op, norm) in enumerate(zip(self.before, self.ops, self.norms, strict=True)):
            total = torch.relu(op(before(values[k])))
            for earlier in read_by(k + 1):
                total = total + values[earlier]
            values.append(norm(total))
            if k + 1 in self.REDUCE_AFTER:
                number = self.REDUCE_AFTER.index(k + 1) + 1
                for value in range(len(values)):
                    if f"{value}_{number}" in self.reduced:
                        values[value] = self.reduced[f"{value}_{number}"](values[value])
        return values[-1]


def read_by(layer: int) -> range:
    """The earlier values, 0 for the stem, that layer `layer` adds: every third, but not the one right before."""
    return range(layer % 3, layer - 1, 3)


def _halved(layers: int, reduce_after: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of a value and the number of a reduction that it passes, since a later layer reads it."""
    last = {value: value + 1 for value in range(layers)}
    for layer in range(1, layers + 1):
        for value in read_by(layer):
            last[value] = max(last[value], layer)
    return [
        (value, number)
        for value, layer in last.items()
        for number, after in enumerate(reduce_after, 1)
        if value <= after < layer
    ]


class Classifier(nn.Module):
    """Features, averages, a linear layer."""

    def __init__(self, features: nn.Module, width: int, classes: int = 10) -> None:
        super().__init__()
        self.features, self.linear = features, nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.features(images).mean((2, 3)))
        return logits


# Recurrent networks ---------------------------------------------------------------------------------------------------


def _highway(state: Tensor, activation: Callable[[Tensor], Tensor], pre: Tensor) -> Tensor:
    candidate, gate = pre.chunk(2, -1)
    return torch.lerp(state, activation(candidate), torch.sigmoid(gate))


def _itself(x: Tensor) -> Tensor:
    return x


class TreeCell(nn.Module):
    """The cell of `recurrent.TREE`: x is projected for all words at once, candidate and gate are one product."""

    LIMIT = 25.0

    def __init__(self, width: int, spread: float = 0.04) -> None:
        super().__init__()
        self.from_x = nn.Parameter(torch.empty(width, 2 * width).uniform_(-spread, spread))
        self.bias = nn.Parameter(torch.zeros(2 * width))
        weights = (nn.Parameter(torch.empty(width, 2 * width).uniform_(-spread, spread)) for _ in range(12))
        self.weights = nn.ParameterList(weights)

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, ...] | None, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``[words, batch, width]``, a state ``[batch, width]`` or None for zeros, and its mask."""
        words, batch, width = inputs.shape
        w = list(self.weights)
        projected = torch.addmm(self.bias, inputs.flatten(0, 1), self.from_x).view(words, batch, 2 * width)
        h = inputs.new_zeros(batch, width) if state is None else state[0]
        outputs: list[Tensor] = []
        for x in projected.unbind(0):
            s0 = _highway(h, torch.tanh, torch.addmm(x, h * mask, w[0]))
            m0 = s0 * mask
            s1 = _highway(s0, torch.relu, m0 @ w[1])
            m1 = s1 * mask
            s2 = _highway(s1, torch.tanh, m1 @ w[2])
            m2 = s2 * mask
            s3 = _highway(s1, torch.sigmoid, m1 @ w[3])
            s4 = _highway(s2, _itself, m2 @ w[4])
            s5 = _highway(s2, torch.relu, m2 @ w[5])
            s6 = _highway(s5, torch.tanh, (s5 * mask) @ w[6])
            m6 = s6 * mask
            s7 = _highway(s3, torch.relu, (s3 * mask) @ w[7])
            s8 = _highway(s6, torch.sigmoid, m6 @ w[8])
            s9 = _highway(s6, torch.tanh, m6 @ w[9])
            s10 = _highway(s0, _itself, m0 @ w[10])
            s11 = _highway(s9, torch.relu, (s9 * mask) @ w[11])
            mean = torch.stack((s4, s7, s8, s10, s11)).mean(0)
            norm = torch.linalg.vector_norm(mean, dim=-1, keepdim=True)
            h = mean * (self.LIMIT / norm.clamp_min(self.LIMIT))
            outputs.append(h)
        return torch.stack(outputs), (h,)


class LstmCell(nn.Module):
    """Three layers of `nn.LSTM`, which has no mask of the state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, 3)

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, ...] | None, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, after = self.lstm(inputs, state)
        return outputs, after


def whole_loss(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy, with the logits of all words at once."""
    return F.cross_entropy(F.linear(x, weight, bias), targets)


class WordModel(nn.Module):
    """A cell between an embedding and a decoder of one tied matrix."""

    def __init__(self, vocabulary: int, width: int, cell: nn.Module, loss: Callable[..., Tensor] = whole_loss) -> None:
        super().__init__()
        self._loss = loss
        self.embedding = nn.Parameter(torch.empty(vocabulary, width).uniform_(-0.1, 0.1))
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary))
        self.cell = cell

    def forward(
        self, words: Tensor, following: Tensor, state: tuple[Tensor, ...] | None, masks: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss of a window ``[words, batch]``, and the state after it; masks of input, state and output."""
        of_input, of_state, of_output = masks
        outputs, state = self.cell(F.embedding(words, self.embedding) * of_input, state, of_state)
        dropped = (outputs * of_output).flatten(0, 1)
        loss = self._loss(dropped, self.embedding, self.decoder_bias, following.flatten())
        return loss, tuple(part.detach() for part in state)
