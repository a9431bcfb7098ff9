"""Word-level language modelling: tied embedding, truncated back-propagation, variational dropout, exact evaluation.

Training follows the corrected ENAS code and AWD-LSTM (Merity et al. 2018); what differs is in docs/enas.md. Evaluation
counts every token of a split, carries the state, and never caps a loss: the published 55.8 of ENAS on the Penn Treebank
rested on a cap of 10 nats per token (docs/enas.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.components import Shape
from nasforge.data.catalogue import Corpus, load_corpus
from nasforge.errors import DataError
from nasforge.executors.interpreter import Program
from nasforge.executors.network import Core, GraphCore, Network, SequenceCore
from nasforge.executors.team import ALONE, Team
from nasforge.executors.transfer import sent
from nasforge.seeds import derive
from nasforge.tasks.base import Metric, Score, Split, StepLoss, Task
from nasforge.tasks.decoder import decoder_nll, linear_cross_entropy
from nasforge.tasks.language_data import used_tokens
from nasforge.tasks.lstm_reference import LstmCore, lstm_width
from nasforge.tasks.options import LanguageModelOptions, LanguageModelRecipe, input_shapes

EVALUATION_WINDOW = 200
"""Words per call in evaluation; bounds memory, does not change the result."""


class LanguageModelShell(nn.Module):
    """Embedding and decoder of one tied matrix ``[vocabulary, width]``, optionally a decoder bias ``[vocabulary]``."""

    def __init__(self, vocabulary: int, width: int, *, bias: bool, init_range: float, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(derive(seed, "weights", "embedding"))
        weight = torch.empty(vocabulary, width).uniform_(-init_range, init_range, generator=generator)
        self.embedding = nn.Parameter(weight)
        self.decoder_bias = nn.Parameter(torch.zeros(vocabulary)) if bias else None


class LanguageModel(Task):
    """Predict the next word of a corpus."""

    metric = Metric("perplexity", "min")

    def __init__(
        self, config: LanguageModelOptions, base: Path, *, seed: int, device: str = "cpu", team: Team = ALONE
    ) -> None:
        self._config = config
        self.team = team
        self._device = torch.device(device)
        self.corpus: Corpus = load_corpus(config.corpus, base)
        self._tokens = used_tokens(self.corpus, config)
        self._eos = self.corpus.vocabulary.index["<eos>"]
        self._columns: dict[tuple[Split, int], tuple[Tensor, Tensor]] = {}

    def facts(self) -> Mapping[str, Any]:
        """Name, sha256, token counts and vocabulary size of the corpus."""
        corpus = self.corpus
        return {
            "name": corpus.name,
            "sha256": corpus.sha256,
            "tokens": dict(self._tokens),
            "vocabulary": len(corpus.vocabulary),
        }

    def input_shapes(self, width: int) -> Mapping[str, Shape]:
        """See `Task`."""
        return input_shapes(self._config, width)

    def shell(self, width: int, recipe: LanguageModelRecipe, seed: int) -> LanguageModelShell:
        """See `Task`."""
        bias, spread = self._config.decoder_bias, recipe.embedding_init_range
        shell = LanguageModelShell(len(self.corpus.vocabulary), width, bias=bias, init_range=spread, seed=seed)
        return shell.to(self._device)

    def core(self, program: Program) -> Core:
        """See `Task`."""
        return GraphCore(program)

    # Training --------------------------------------------------------------------------------------------------------

    def steps_per_epoch(self, recipe: LanguageModelRecipe) -> int:
        """Windows of `bptt` words in ``tokens // sequences`` words per sequence, the last one shorter."""
        sequences, tokens = recipe.batch_size * self.team.size, self._tokens["train"]
        if tokens < 2 * sequences:
            raise DataError(
                f"the train text of corpus '{self.corpus.name}' has {tokens} tokens, too few for {sequences} parallel "
                f"sequences of at least 2 (batch_size: {recipe.batch_size} on each of {self.team.size} ranks)"
            )
        return math.ceil((tokens // sequences - 1) / recipe.bptt)

    def _window(self, split: Split, rows: int, begin: int, length: int) -> tuple[Tensor, Tensor]:
        """Words and next words ``[time, rows]`` of `split`, cut into `rows` sequences; a rest is left out."""
        if (split, rows) not in self._columns:
            ids = self.corpus.split(split)[: self._tokens[split]]
            per_row = len(ids) // rows
            table = torch.from_numpy(np.ascontiguousarray(ids[: per_row * rows].reshape(rows, per_row).T))
            table = table.to(self._device)
            self._columns[split, rows] = table[:-1].contiguous(), table[1:].contiguous()
        words, following = self._columns[split, rows]
        return words[begin : begin + length], following[begin : begin + length]

    def loss(self, network: Network, recipe: LanguageModelRecipe, step: int, state: Any, seed: int) -> StepLoss:
        """See `Task`. Regularisers: AR on the dropped output, TAR on the output's change (Merity et al. 2017)."""
        position = step % self.steps_per_epoch(recipe)
        rows = recipe.batch_size * self.team.size
        mine = self.team.rows(recipe.batch_size)
        words, following = (part[:, mine] for part in self._window("train", rows, position * recipe.bptt, recipe.bptt))
        shell = network.shell
        assert isinstance(shell, LanguageModelShell)
        masks = _Masks(derive(seed, "dropout", step), like=shell.embedding, team=self.team)
        core = network.core
        assert isinstance(core, SequenceCore)
        batch, width = words.shape[1], core.width
        embedded = F.embedding(words, shell.embedding)
        if recipe.dropout_words:
            kept = masks.draw(recipe.dropout_words, shell.embedding.shape[0], 1)
            embedded = embedded * F.embedding(words, kept)
        for rate in (recipe.dropout_embedding, recipe.dropout_input):
            if rate:
                embedded = embedded * masks.of_sequences(rate, batch, embedded.shape[2])
        if state is None or position == 0:
            state = core.start(batch, shell.embedding)
        hidden_mask = masks.of_sequences(recipe.dropout_hidden, batch, width) if recipe.dropout_hidden else None
        outputs, state = core(embedded, state, hidden_mask)
        rate = recipe.dropout_output
        dropped = outputs * masks.of_sequences(rate, batch, width) if rate else outputs
        data = linear_cross_entropy(dropped.flatten(0, 1), shell.embedding, shell.decoder_bias, following.flatten())
        total = data
        if recipe.activation_regularization:
            total = total + recipe.activation_regularization * dropped.square().mean()
        # The last window of an epoch may be one word long: nothing changes in it, and the mean of nothing is no number.
        if recipe.temporal_activation_regularization and len(outputs) > 1:
            total = total + recipe.temporal_activation_regularization * (outputs[1:] - outputs[:-1]).square().mean()
        return StepLoss(total, data.detach(), following.numel(), _detach(state))

    # Scoring ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def score_minibatch(self, network: Network, index: int, seed: int) -> Score:
        """The perplexity of a window of the validation text at a place drawn for `index`; the state starts at zero."""
        rows, length = self._config.reward_batch_size, self._config.reward_bptt
        available = self._tokens["valid"] // rows - 1
        begin = derive(seed, "reward window", index) % max(1, available - length + 1)
        words, following = self._window("valid", rows, begin, length)
        return self._score(network, words, following)

    def split_items(self, split: Split) -> int:
        """Tokens of a split."""
        return self._tokens[split]

    def minibatch_items(self) -> int:
        """Tokens of a reward window."""
        rows = self._config.reward_batch_size
        return rows * min(self._config.reward_bptt, self._tokens["valid"] // rows - 1)

    @torch.no_grad()
    def evaluate(self, network: Network, split: Split, *, exact: bool) -> Score:
        """Perplexity over every token of `split`; the first is predicted after ``<eos>``.

        Exact: one stream, so the state is carried over the whole split. Otherwise `streams` equal parts are read side
        by side, each from a zero state.
        """
        ids = self.corpus.split(split)
        streams = 1 if exact else min(self._config.streams, len(ids))
        length = math.ceil(len(ids) / streams)
        targets = np.full(streams * length, -1, dtype=np.int64)
        targets[: len(ids)] = ids
        words = np.full(streams * length, self._eos, dtype=np.int64)
        words[1 : len(ids)] = ids[:-1]
        columns = [torch.from_numpy(np.ascontiguousarray(a.reshape(streams, length).T)) for a in (words, targets)]
        return self._score(network, columns[0].to(self._device), columns[1].to(self._device))

    def _score(self, network: Network, words: Tensor, following: Tensor) -> Score:
        shell = network.shell
        assert isinstance(shell, LanguageModelShell)
        core = network.core
        assert isinstance(core, SequenceCore)
        state = core.start(words.shape[1], shell.embedding)
        total = 0.0
        for begin in range(0, words.shape[0], EVALUATION_WINDOW):
            inputs = F.embedding(words[begin : begin + EVALUATION_WINDOW], shell.embedding)
            outputs, state = core(inputs, state, None)
            target = following[begin : begin + EVALUATION_WINDOW].flatten()
            total += decoder_nll(outputs.flatten(0, 1), shell.embedding, shell.decoder_bias, target)
        count = int((following >= 0).sum())
        loss = total / count
        return Score(_perplexity(loss), loss, count)

    def evaluation(self, network: Network, batch: int) -> Callable[[], Tensor]:
        """From `batch` sequences of `reward_bptt` words to the scores of all next words ``[words, vocabulary]``."""
        shell, core, steps = network.shell, network.core, self._config.reward_bptt
        assert isinstance(shell, LanguageModelShell) and isinstance(core, SequenceCore)
        words = torch.arange(steps * batch, device=self._device).reshape(steps, batch) % len(self.corpus.vocabulary)

        @torch.no_grad()
        def call() -> Tensor:
            outputs, _ = core(F.embedding(words, shell.embedding), core.start(batch, shell.embedding), None)
            return F.linear(outputs.flatten(0, 1), shell.embedding, shell.decoder_bias)

        return call

    def reward(self, score: Score) -> float:
        """``-loss`` in nats per token, or c / perplexity."""
        # A finite loss is a reward, however bad; 80 / inf is one too.
        if not math.isfinite(score.loss):
            return math.nan
        if self._config.reward == "negative_nll":
            return -score.loss
        return self._config.reward_scale / score.value

    def reference_cores(self, width: int, parameters: int, seed: int) -> Mapping[str, Core]:
        """``lstm``: one layer, as wide as makes the whole model about `parameters` weights."""
        vocabulary, bias = len(self.corpus.vocabulary), self._config.decoder_bias
        return {"lstm": LstmCore(lstm_width(parameters, vocabulary, bias=bias), seed, self._device)}


class _Masks:
    """Dropout masks of one window, scaled by 1 / (1 - p), drawn on the CPU so that devices agree."""

    def __init__(self, seed: int, like: Tensor, team: Team) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._like = like
        self._team = team

    def draw(self, rate: float, rows: int, width: int) -> Tensor:
        """A mask ``[rows, width]`` that all ranks have."""
        keep = torch.empty(rows, width).bernoulli_(1 - rate, generator=self._generator).div_(1 - rate)
        return sent(keep, self._like)

    def of_sequences(self, rate: float, batch: int, width: int) -> Tensor:
        """This rank's part ``[batch, width]`` of the mask of all sequences."""
        return self._team.drawn(batch, lambda n: self.draw(rate, n, width))


def _detach(state: Any) -> Any:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def _perplexity(loss: float) -> float:
    """exp(loss); infinite where that is no finite number, never capped."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
