"""The policy network of ENAS (Pham et al. 2018, section 2.2): an LSTM that takes one decision after the other.

At decision t, with the LSTM's hidden state h_t in R^d::

    vocabulary   logit_j = w_j . h_t + b_j                         roles op, bit, number, size, subset
    input        logit_j = v . tanh(W1 a_j + W2 h_t)               role input: attention over the anchors a_j
    both         logit_j <- tanh_constant * tanh(logit_j / temperature)
    input        logit_j <- logit_j - recency_prior * d_j^2        d_j = 1 for the newest option
    choice       p(option j) = softmax(logit)_j
    next input   x_{t+1} = embedding of the option; after an input decision the chosen anchor a_j

The anchor of a node is h at the last decision about it; the first input x_0 is learned. Everything is batched over
architectures. A decision that does not exist in one of them leaves that one's h, c and x as they were.

Deviations from the paper and the authors' code (melodyguan/enas at 4bcfd73, the PTB controller):
    * The output layer and the embedding are shared by all decisions of a role, not tied to one another; a decision with
      fewer options uses their rows only.
    * The authors' anchor is h *before* the input decision of a node is known; here it is h at the node's last decision,
      so that it has seen where the node reads from.
    * The authors divide the next input by (0.1 + distance); here it is the plain anchor.
    * Sources without decisions of their own have a learned anchor (authors: the zero vector in the convolutional cell).
    * Biases, which the paper does not have, are an option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.controllers.heads import AnchorAttention, VocabularyHead
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.walk import EXCLUDED, Walk
from nasforge.seeds import derive
from nasforge.space.decision import Condition, Decision

Choose = Callable[[int, Tensor], Tensor]
"""``choose(position, logits [count, options]) -> indices [count]``: how the option of each decision is found."""


@dataclass(frozen=True)
class _Step:
    """One decision, with the names of its space replaced by rows and positions.

    Attributes:
        terms: the condition as products of (position, option, positive); None where the decision always exists.
        rows: the rows of its options in the role's head; unused by role ``input``.
        log_prior: ``[options]``, added to the logits; None where it is zero.
    """

    decision: Decision
    terms: tuple[tuple[tuple[int, int, bool], ...], ...] | None
    rows: slice | Tensor
    log_prior: Tensor | None

    def exists(self, chosen: Sequence[Tensor], everywhere: Tensor) -> Tensor | None:
        """Where the decision exists, bool ``[count]``, or None for everywhere.

        Args:
            chosen: the indices ``[count]`` of all decisions before, -1 where they do not exist.
            everywhere: bool ``[count]``, all true.
        """
        if self.terms is None:
            return None
        exists = ~everywhere
        for term in self.terms:
            holds = everywhere
            for position, option, positive in term:
                index = chosen[position]
                holds = holds & ((index == option) if positive else (index != option) & (index >= 0))
            exists = exists | holds
        return exists


@dataclass(frozen=True)
class _Layout:
    """All decisions of a plain policy at once.

    Attributes:
        rows: ``[decisions, most options]``: the row of each option in the head of its decision's role.
        excluded: bool ``[decisions, 1, most options]``: where a decision has no option.
        places: by role the positions of its decisions.
        order: where each decision is found when those of one role stand after those of another.
    """

    rows: Tensor
    excluded: Tensor
    places: Mapping[str, Tensor]
    order: Tensor


class LstmPolicy(nn.Module):
    """p(m; theta) over the assignments of a decision list.

    Args:
        decisions: in an order in which each condition reads earlier ones only.
        options: width, temperature, tanh constant, recency prior, bias and initialisation.
        seed: every weight is drawn from a stream of its own; the global generator is neither read nor moved.
        device: where the weights live.
    """

    def __init__(
        self, decisions: Sequence[Decision], options: LstmOptions, *, seed: int, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__()
        self._options = options
        self._labels = _labels(decisions)
        sources = _sources_to_learn(decisions)
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
        if sources:
            self.sources = nn.Parameter(torch.empty(len(sources), options.units))
        for name, weight in self.named_parameters():
            generator = torch.Generator().manual_seed(derive(seed, "controller", "weights", name))
            nn.init.uniform_(weight, -options.init_range, options.init_range, generator=generator)
        self.to(device)
        self._steps = tuple(self._compile(decision, decisions) for decision in decisions)
        self._widest = max((len(decision.options) for decision in decisions), default=0)

    def _compile(self, decision: Decision, decisions: Sequence[Decision]) -> _Step:
        device, prior, rows = self.start.device, None, list(range(len(decision.options)))
        if decision.role != "input":
            known = self._labels[decision.role]
            rows = [known[option] for option in decision.options]
        elif self._options.recency_prior:
            distance = torch.arange(len(decision.options), 0, -1, device=device, dtype=torch.float32)
            prior = -self._options.recency_prior * distance**2
        # A slice is a view; indexing by a tensor would copy, and scatter in the backward pass.
        in_order = rows == list(range(len(rows)))
        return _Step(
            decision=decision,
            terms=_compile_condition(decision.when, decisions),
            rows=slice(len(rows)) if in_order else torch.tensor(rows, device=device),
            log_prior=prior,
        )

    def forward(self, count: int, choose: Choose) -> Walk:
        """Take all decisions for `count` architectures at once.

        Args:
            count: number of architectures; may be zero.
            choose: takes each option: by sampling, greedily, or the given one (teacher forcing). What it returns where
                a decision does not exist is ignored.
        """
        hidden = cell = self.start.new_zeros(count, self._options.units)
        following = self.start.expand(count, -1)
        anchors = {name: self.sources[row].expand(count, -1) for name, row in self._source_row.items()}
        keys: dict[str, Tensor] = {}
        everywhere = torch.ones(count, dtype=torch.bool, device=self.start.device)
        chosen: list[Tensor] = []
        padded: list[Tensor] = []
        for position, step in enumerate(self._steps):
            decision, exists = step.decision, step.exists(chosen, everywhere)
            new_hidden, new_cell = self.cell(following, (hidden, cell))
            if decision.role == "input":
                keys.update({name: self.attention.key(anchors[name]) for name in decision.options if name not in keys})
                logits = self.attention.logits(torch.stack([keys[name] for name in decision.options], 1), new_hidden)
            else:
                head = self._head(decision.role)
                logits = head.logits(new_hidden, step.rows)
            logits = self._bounded(logits, step.log_prior)
            index = choose(position, logits)
            if decision.role == "input":
                memory = torch.stack([anchors[name] for name in decision.options], 1)
                new_following = memory[torch.arange(count, device=index.device), index]
            else:
                new_following = head.embed(index, step.rows)
            # Before its first decision that certainly exists nobody reads an owner without a learned anchor.
            new_anchor, old_anchor = new_hidden, anchors.get(decision.owner, new_hidden)
            if exists is not None:
                there = exists.unsqueeze(1)
                index = index.masked_fill(~exists, -1)
                new_hidden, new_cell = torch.where(there, new_hidden, hidden), torch.where(there, new_cell, cell)
                new_following = torch.where(there, new_following, following)
                new_anchor = torch.where(there, new_anchor, old_anchor)
            hidden, cell, following, anchors[decision.owner] = new_hidden, new_cell, new_following, new_anchor
            keys.pop(decision.owner, None)
            chosen.append(index)
            padded.append(F.pad(logits, (0, self._widest - len(decision.options)), value=EXCLUDED))
        if not chosen:
            return Walk(self.start.new_zeros(count, 0, dtype=torch.int64), self.start.new_zeros(count, 0, 1))
        return Walk(torch.stack(chosen, 1), F.log_softmax(torch.stack(padded, 1), 2))

    @cached_property
    def plain(self) -> bool:
        """Whether all decisions always exist and none reads anchors, so that given choices say every input."""
        return all(step.terms is None and step.decision.role != "input" for step in self._steps)

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
        logits = self._bounded(logits, None).masked_fill(layout.excluded, EXCLUDED)
        return Walk(given, F.log_softmax(logits.transpose(0, 1), 2))

    @cached_property
    def _layout(self) -> _Layout:
        """Of a plain policy."""
        device, n = self.start.device, len(self._steps)
        rows = torch.zeros(n, self._widest, dtype=torch.int64, device=device)
        excluded = torch.ones(n, 1, self._widest, dtype=torch.bool, device=device)
        places: dict[str, list[int]] = {}
        for position, step in enumerate(self._steps):
            options = len(step.decision.options)
            own = torch.arange(options, device=device) if isinstance(step.rows, slice) else step.rows
            rows[position, :options], excluded[position, 0, :options] = own, False
            places.setdefault(step.decision.role, []).append(position)
        by_role = [position for each in places.values() for position in each]
        order = torch.tensor(by_role, device=device).argsort()
        return _Layout(
            rows, excluded, {role: torch.tensor(each, device=device) for role, each in places.items()}, order
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


def _labels(decisions: Sequence[Decision]) -> dict[str, dict[str, int]]:
    """For each role with a vocabulary the row of every option label."""
    labels: dict[str, dict[str, int]] = {}
    for decision in decisions:
        if decision.role != "input":
            rows = labels.setdefault(decision.role, {})
            for option in decision.options:
                rows.setdefault(option, len(rows))
    return labels


def _sources_to_learn(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """The options of input decisions that may have no hidden state yet when they are read, sorted."""
    decided: set[str] = set()
    sources: set[str] = set()
    for decision in decisions:
        if decision.role == "input":
            sources.update(name for name in decision.options if name not in decided)
        if () in decision.when.terms:
            decided.add(decision.owner)
    return tuple(sorted(sources))


def _compile_condition(
    when: Condition, decisions: Sequence[Decision]
) -> tuple[tuple[tuple[int, int, bool], ...], ...] | None:
    if () in when.terms:
        return None
    place = {decision.name: (position, decision.options) for position, decision in enumerate(decisions)}
    return tuple(
        tuple(
            (place[literal.decision][0], place[literal.decision][1].index(literal.option), literal.positive)
            for literal in term
        )
        for term in when.terms
    )
