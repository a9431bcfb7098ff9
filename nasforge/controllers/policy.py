"""The policy network of ENAS (Pham et al. 2018, section 2.2): an LSTM that takes one decision after the other.

At decision t, with the LSTM's hidden state h_t in R^d::

    vocabulary   logit_j = w_j . h_t + b_j                         roles op, bit, number, size, subset
    input        logit_j = v . tanh(W1 a_j + W2 h_t)               role input: attention over the anchors a_j
    both         logit_j <- tanh_constant * tanh(logit_j / temperature)
    both         logit_j <- logit_j + prior_j                      none by default
    input        logit_j <- logit_j - recency_prior * d_j^2        d_j = 1 for the newest option
    choice       p(option j) = softmax(logit)_j
    next input   x_{t+1} = embedding of the option; after an input decision the chosen anchor a_j
    LSTM         h_t, c_t = LSTM(x_t + e_t, h_{t-1}, c_{t-1})      e_t: learned, of the decision; 0 without positions

The anchor of a node is h at the last decision about it; the first input x_0 is learned. Everything is batched over
architectures. A decision that does not exist in one of them leaves that one's h, c and x as they were.

Deviations from the paper and the authors' code (melodyguan/enas at 4bcfd73, the PTB controller):
    * The output layer and the embedding are shared by all decisions of a role, not tied to one another; a decision with
      fewer options uses their rows only.
    * The authors' anchor is h *before* the input decision of a node is known; here it is h at the node's last decision,
      so that it has seen where the node reads from.
    * The authors divide the next input by (0.1 + distance); here it is the plain anchor.
    * Sources without decisions of their own have a learned anchor (authors: the zero vector in the convolutional cell).
    * Biases and the vectors e_t, which the paper does not have, are options. Without e_t two decisions of a role differ
      only by the steps before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.controllers.heads import AnchorAttention, VocabularyHead
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.prior import log_prior
from nasforge.controllers.steps import Layout, Progress, Step, compile_condition, labels_by_role, sources_to_learn
from nasforge.controllers.walk import EXCLUDED, Walk
from nasforge.seeds import derive
from nasforge.space.decision import Decision

Choose = Callable[[int, Tensor], Tensor]
"""``choose(position, logits [count, options]) -> indices [count]``: how the option of each decision is found."""


class LstmPolicy(nn.Module):
    """p(m; theta) over the assignments of a decision list.

    Args:
        decisions: in an order in which each condition reads earlier ones only.
        options: width, temperature, tanh constant, priors, positions, bias and initialisation.
        seed: every weight is drawn from a stream of its own; the global generator is neither read nor moved.
        device: where the weights live.
    """

    def __init__(
        self, decisions: Sequence[Decision], options: LstmOptions, *, seed: int, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        self._options = options
        self._labels = labels_by_role(decisions)
        sources = sources_to_learn(decisions)
        self._source_row: Mapping[str, int] = {name: row for row, name in enumerate(sources)}
        self.start = nn.Parameter(torch.empty(options.units))
        # skip_init: the constructor would draw from the global generator.
        self.cell: nn.LSTMCell = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.LSTMCell, options.units, options.units, bias=options.bias
        )
        self.heads = nn.ModuleDict(
            {role: VocabularyHead(len(rows), options.units, options.bias) for role, rows in self._labels.items()}
        )
        if any(decision.role == "input" for decision in decisions):
            self.attention = AnchorAttention(options.units)
        if options.positions:
            self.positions = nn.Parameter(torch.empty(len(decisions), options.units))
        if sources:
            self.sources = nn.Parameter(torch.empty(len(sources), options.units))
        for name, weight in self.named_parameters():
            generator = torch.Generator().manual_seed(derive(seed, "controller", "weights", name))
            nn.init.uniform_(weight, -options.init_range, options.init_range, generator=generator)
        self.to(device)
        self.steps = tuple(self._compile(decision, decisions) for decision in decisions)
        self._widest = max((len(decision.options) for decision in decisions), default=0)

    def _compile(self, decision: Decision, decisions: Sequence[Decision]) -> Step:
        device, rows = self.start.device, list(range(len(decision.options)))
        if decision.role != "input":
            known = self._labels[decision.role]
            rows = [known[option] for option in decision.options]
        prior = log_prior(decision, self._options)
        # A slice is a view; indexing by a tensor would copy, and scatter in the backward pass.
        in_order = rows == list(range(len(rows)))
        return Step(
            decision=decision,
            terms=compile_condition(decision.when, decisions),
            rows=slice(len(rows)) if in_order else torch.tensor(rows, device=device),
            log_prior=None if prior is None else torch.tensor(prior, device=device),
        )

    def forward(self, count: int, choose: Choose) -> Walk:
        """Take all decisions for `count` architectures at once.

        Args:
            count: number of architectures; may be zero.
            choose: takes each option: by sampling, greedily, or the given one (teacher forcing). What it returns where
                a decision does not exist is ignored.
        """
        progress = self.begin(count)
        padded: list[Tensor] = []
        for position, step in enumerate(self.steps):
            ahead, logits = self.look(progress, step)
            exists = step.exists(progress.chosen, count)
            self.take(progress, step, ahead, choose(position, logits), exists)
            padded.append(F.pad(logits, (0, self._widest - len(step.decision.options)), value=EXCLUDED))
        if not padded:
            return Walk(self.start.new_zeros(count, 0, dtype=torch.int64), self.start.new_zeros(count, 0, 1))
        return Walk(torch.stack(progress.chosen, 1), F.log_softmax(torch.stack(padded, 1), 2))

    def begin(self, count: int) -> Progress:
        """Before the first decision of `count` architectures."""
        zeros = self.start.new_zeros(count, self._options.units)
        anchors = {name: self.sources[row].expand(count, -1) for name, row in self._source_row.items()}
        return Progress(zeros, zeros, self.start.expand(count, -1), anchors)

    def look(self, progress: Progress, step: Step) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """The state (h, c) of the LSTM at a decision, and the logits ``[count, options]`` there."""
        decision, following = step.decision, progress.following
        if self._options.positions:
            following = following + self.positions[len(progress.chosen)]
        ahead = self.cell(following, (progress.hidden, progress.cell))
        if decision.role == "input":
            anchors, keys = progress.anchors, progress.keys
            keys.update({name: self.attention.key(anchors[name]) for name in decision.options if name not in keys})
            logits = self.attention.logits(torch.stack([keys[name] for name in decision.options], 1), ahead[0])
        else:
            logits = self._head(decision.role).logits(ahead[0], step.rows)
        return ahead, self._bounded(logits, step.log_prior)

    def take(
        self, progress: Progress, step: Step, ahead: tuple[Tensor, Tensor], index: Tensor, exists: Tensor | None
    ) -> None:
        """Take the options `index` ``[count]`` of a decision, and move on to the next; see `look` and `Step.exists`."""
        decision, (new_hidden, new_cell) = step.decision, ahead
        if decision.role == "input":
            memory = torch.stack([progress.anchors[name] for name in decision.options], 1)
            following = memory[torch.arange(len(index), device=index.device), index]
        else:
            following = self._head(decision.role).embed(index, step.rows)
        # Before its first decision that certainly exists nobody reads an owner without a learned anchor.
        anchor, old_anchor = new_hidden, progress.anchors.get(decision.owner, new_hidden)
        if exists is not None:
            there = exists.unsqueeze(1)
            index = index.masked_fill(~exists, -1)
            new_hidden = torch.where(there, new_hidden, progress.hidden)
            new_cell = torch.where(there, new_cell, progress.cell)
            following = torch.where(there, following, progress.following)
            anchor = torch.where(there, anchor, old_anchor)
        progress.hidden, progress.cell, progress.following = new_hidden, new_cell, following
        progress.anchors[decision.owner] = anchor
        progress.keys.pop(decision.owner, None)
        progress.chosen.append(index)

    @cached_property
    def plain(self) -> bool:
        """Whether all decisions always exist and none reads anchors, so that given choices say every input."""
        return all(step.terms is None and step.decision.role != "input" for step in self.steps)

    def forced(self, given: Tensor) -> Walk:
        """The walk of given choices (teacher forcing).

        Of a plain policy as one call of the LSTM over all decisions, which goes backward in a third of the time.

        Args:
            given: ``[count, decisions]``; what stands where a decision does not exist is ignored.
        """
        if not self.plain or not given.numel():
            walk: Walk = self(len(given), lambda position, logits: given[:, position])
            return walk
        layout, count = self._layout, len(given)
        labels = layout.rows.gather(1, given.t())
        embedded = torch.cat(
            [F.embedding(labels[places], self._head(role).embedding) for role, places in layout.places.items()]
        )
        inputs = torch.cat([self.start.expand(1, count, -1), embedded[layout.order[:-1]]])
        if self._options.positions:
            inputs = inputs + self.positions.unsqueeze(1)
        zeros = self.start.new_zeros(1, count, self._options.units)
        hidden, _, _ = torch.lstm(
            inputs, (zeros, zeros), list(self.cell.parameters()), self._options.bias, 1, 0.0, False, False, False
        )
        logits = torch.cat(
            [
                self._head(role).logits(hidden[places], slice(None)).gather(2, rows)
                for role, places in layout.places.items()
                for rows in [layout.rows[places].unsqueeze(1).expand(-1, count, -1)]
            ]
        )[layout.order]
        logits = self._bounded(logits, layout.log_prior).masked_fill(layout.excluded, EXCLUDED)
        return Walk(given, F.log_softmax(logits.transpose(0, 1), 2))

    @cached_property
    def _layout(self) -> Layout:
        """Of a plain policy."""
        device, n = self.start.device, len(self.steps)
        rows = torch.zeros(n, self._widest, dtype=torch.int64, device=device)
        excluded = torch.ones(n, 1, self._widest, dtype=torch.bool, device=device)
        prior = torch.zeros(n, 1, self._widest, device=device)
        places: dict[str, list[int]] = {}
        for position, step in enumerate(self.steps):
            options = len(step.decision.options)
            own = torch.arange(options, device=device) if isinstance(step.rows, slice) else step.rows
            rows[position, :options], excluded[position, 0, :options] = own, False
            if step.log_prior is not None:
                prior[position, 0, :options] = step.log_prior
            places.setdefault(step.decision.role, []).append(position)
        by_role = [position for each in places.values() for position in each]
        order = torch.tensor(by_role, device=device).argsort()
        return Layout(
            rows,
            excluded,
            prior if prior.any() else None,
            {role: torch.tensor(each, device=device) for role, each in places.items()},
            order,
        )

    def _head(self, role: str) -> VocabularyHead:
        head = self.heads[role]
        assert isinstance(head, VocabularyHead)
        return head

    def _bounded(self, logits: Tensor, log_prior: Tensor | None) -> Tensor:
        """Temperature, then the tanh, then the prior, which the tanh must not bound."""
        bound = self._options.tanh_constant
        logits = logits / self._options.temperature
        if bound is not None:
            logits = bound * torch.tanh(logits)
        return logits if log_prior is None else logits + log_prior
