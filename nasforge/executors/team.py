"""A team: the processes that train one network together, each on its own part of every batch.

Ranks hold equal weights at all times: each computes the gradients of its part, all apply their mean. What is random is
drawn for the whole batch and cut, so that a team of N ranks of batch b does, in exact arithmetic, what one process does
with a batch of N * b. All ranks must call the same methods in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from nasforge.errors import RunFailedError


@dataclass(frozen=True)
class Team:
    """This process's place in the team. A team of one computes alone, and no method then does anything but its work.

    Attributes:
        rank: of this process, from 0.
        size: how many processes there are; with more than one, the default group of ``torch.distributed`` is theirs.
    """

    rank: int
    size: int

    def rows(self, n: int) -> slice:
        """This rank's rows of a whole batch, of which every rank has `n`."""
        return slice(self.rank * n, (self.rank + 1) * n)

    def drawn(self, n: int, draw: Callable[[int], Tensor]) -> Tensor:
        """This rank's `n` rows of what ``draw(rows of the whole batch)`` gives, ``[rows, ...]``."""
        return draw(n * self.size)[self.rows(n)]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in place; shapes and order are the same on all ranks.

        A number that is not finite on one rank is not finite on any after it.

        Raises:
            RunFailedError: another rank has gone, or does not answer in time.
        """
        if self.size == 1 or not tensors:
            return
        import torch.distributed as distributed

        # One message for all tensors: a message costs more than the few numbers of most tensors.
        buffer = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with self._answered():
            distributed.all_reduce(buffer)
        buffer /= self.size
        parts = torch.split(buffer, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, mean in zip(tensors, parts, strict=True):
                tensor.copy_(mean.view(tensor.shape))

    def share(self, n: int, function: Callable[[int], Sequence[float]], width: int) -> list[tuple[float, ...]]:
        """``function(i)`` for `i` from 0 to ``n - 1``, in order, on every rank; `i` is computed by rank ``i % size``.

        Args:
            n: how many.
            function: gives `width` numbers; it must not call the team.
            width: how many numbers each has.

        Raises:
            RunFailedError: another rank has gone, or does not answer in time.
        """
        if self.size == 1:
            return [tuple(function(i)) for i in range(n)]
        import torch.distributed as distributed

        # Sums with the zeros of the other ranks: doubles come through as they are, NaN and infinities too.
        table = torch.zeros(n, width, dtype=torch.float64)
        for i in range(self.rank, n, self.size):
            table[i] = torch.tensor(tuple(function(i)), dtype=torch.float64)
        with self._answered():
            distributed.all_reduce(table)
        return [tuple(row) for row in table.tolist()]

    def announce(self, text: str = "", rank: int = 0) -> str:
        """The text of one rank, on every rank; what others give does not count.

        Raises:
            RunFailedError: another rank has gone, or does not answer in time.
        """
        if self.size == 1:
            return text
        import torch.distributed as distributed

        said = text.encode() if self.rank == rank else b""
        length = torch.tensor(len(said))
        with self._answered():
            distributed.broadcast(length, rank)
            letters = torch.tensor(list(said) or [0] * int(length), dtype=torch.uint8)
            distributed.broadcast(letters, rank)
        return bytes(letters.tolist()).decode()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Say in words that a collective operation failed; torch raises RuntimeError, whatever the reason."""
        try:
            yield
        except RuntimeError as error:
            # Of gloo's "[/a/pair.cc:537] Read error: Connection reset by peer. This is typically caused by ...".
            why = re.sub(r"^\[[^\]]*\] ", "", str(error)).partition("\n")[0].partition(". ")[0]
            raise RunFailedError(
                f"rank {self.rank} of {self.size}: another rank of this run has ended or does not answer, so that "
                f"this one cannot go on. What was finished is kept; its own message, if it left one, says why. "
                f"(torch: {why})"
            ) from error


ALONE = Team(0, 1)
