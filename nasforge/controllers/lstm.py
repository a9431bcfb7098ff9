"""The ENAS controller: an LSTM policy trained by policy gradients (Pham et al. 2018, section 2.2; Williams 1992).

With m_k ~ p(m; theta), rewards R_k and baselines b_k of a group of K proposals, one update is an Adam step on ::

    advantage   A_k = R_k - b_k                     (divided by the standard deviation of R where asked for)
    loss        -1/K sum_k A_k log p(m_k; theta)  -  entropy_weight * 1/K sum_k H(m_k; theta)
                + skip_weight * 1/K sum_k D(m_k; theta)         (with a skip_target rho)
    baseline    reinforce_ema     b_k = b, then b <- decay * b + (1 - decay) * mean R
                reinforce_group   b_k = mean R
                rloo              b_k = mean of the other R   (Kool et al. 2019)
                ppo               b_k = mean R

or, for ppo, `ppo_epochs` such steps, whose first term is the clipped surrogate (Schulman et al. 2017, eq. 7) ::

    ratio       r_k = p(m_k; theta) / p(m_k; theta before the update)
    in place    -1/K sum_k min(r_k A_k, clamp(r_k, 1 - clip, 1 + clip) A_k)

There is no critic, so that a group has one advantage for each network, as in REINFORCE; the gradient of the first step
is that of reinforce_group, since all r_k are 1 there.

H is the entropy of each categorical distribution on the path of m_k, summed over its decisions. D is the mean, over the
decisions of role ``bit`` on the path of m_k, of KL(Bernoulli(p) || Bernoulli(rho)) = p log(p / rho) + (1 - p)
log((1 - p) / (1 - rho)), p being the probability of the second option, and 0 where m_k has no such decision; in macro
networks (section 2.3) these are the skip connections. The network is in `nasforge.controllers.policy`.

Deviations from the authors' code (melodyguan/enas at 4bcfd73, the PTB controller and, for D, the macro controller):
    * The entropy is that of the full distributions and has its own gradient; the authors add -p log p of the sampled
      option to the reward.
    * The advantage uses the baseline from before the update, which starts at the first mean and not at zero; the
      authors' graph leaves the order open.
    * Baselines from the group, PPO, and the division by the deviation, on by default, are not in the paper.
    * D is that of the probability that is sampled from, after temperature and tanh. The authors sample from
      softmax([-q, q]), whose second option has sigmoid(2q), but pull sigmoid(q) to rho: what they sample then goes to
      rho^2 / (rho^2 + (1 - rho)^2), 0.31 for their 0.4.
    * D is a mean over all skip connections of a network; the authors add up those of a layer and average over the
      layers but the first, so that with 12 layers their weight is six times ours.
    * A step whose gradient is not finite is skipped and counted, and the rest of its update left out.
    * Under limits, proposals outside are drawn again (`nasforge.controllers.limited`): they follow q(m) = p(m) / P with
      P the probability of all that is admitted, and updates still use log p. Where b is the mean of other rewards, as
      with rloo, this is unbiased: E_q[(R - b) grad log p] = Cov_q(R, grad log p) = grad E_q[R]. The entropy counts
      options that lead outside, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from nasforge.controllers import advantage
from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.beam import SMALLEST, beam
from nasforge.controllers.options import DEFAULT_BASELINE_DECAY, DEFAULT_CLIP, DEFAULT_PPO_EPOCHS, LstmOptions
from nasforge.controllers.policy import LstmPolicy
from nasforge.controllers.prior import bits, refusal
from nasforge.controllers.walk import Walk
from nasforge.errors import SpaceError
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace


@final
class LstmController(Controller):
    """An autoregressive policy over the decisions of any space.

    Attributes:
        policy: the network; after an update its gradients are those that the step used.
        baseline: the moving average of the rewards; None before the first update and unless ``reinforce_ema``.
        skipped_updates: how many updates were skipped because their gradient was not finite.
    """

    config: LstmOptions

    def __init__(
        self, space: SearchSpace, config: LstmOptions | None = None, *, seed: int, device: str = "cpu"
    ) -> None:
        """See `Controller`.

        Raises:
            SpaceError: an option means nothing for the space (`nasforge.controllers.prior.refusal`).
        """
        super().__init__(space, config or LstmOptions(), seed=seed, device=device)
        refused = refusal(self.config, space)
        if refused:
            raise SpaceError("; ".join(refused.values()))
        self._bits = torch.tensor(bits(space.decisions), dtype=torch.int64, device=device)
        # The policy is one over all assignments; whoever asks for proposals leaves out those outside the limits.
        self._assignments = space.unlimited
        self.policy = LstmPolicy(space.decisions, self.config, seed=seed, device=device)
        self.baseline: float | None = None
        self.skipped_updates = 0
        self._names = [name for name, _ in self.policy.named_parameters()]
        self._optimizer = torch.optim.Adam(self.policy.parameters(), lr=self.config.learning_rate)
        self._generator = torch.Generator().manual_seed(derive(seed, "controller", "sample"))
        self._sampled: tuple[tuple[Architecture, ...], Walk] | None = None

    @property
    def remembers(self) -> bool:
        """Whether the baseline is one over updates."""
        return self.config.update == "reinforce_ema"

    # Sampling --------------------------------------------------------------------------------------------------------

    def propose(self, count: int) -> list[Architecture]:
        # An update wants the gradient of the walk that was just sampled: with it no second walk is needed. That of a
        # plain policy is cheaper to compute once more than to keep.
        keep = count > 1 and not self.policy.plain
        with torch.set_grad_enabled(keep):
            walk = self._sample(count)
        architectures = self._decode(walk.indices)
        self._sampled = (tuple(architectures), walk) if keep else None
        return architectures

    @torch.no_grad()
    def propose_with_log_prob(self, count: int) -> tuple[list[Architecture], Tensor]:
        """Draw `count` architectures; also their log-probabilities ``[count]`` under the current policy."""
        walk = self._sample(count)
        return self._decode(walk.indices), walk.log_prob()

    def _sample(self, count: int) -> Walk:
        widest = max((len(decision.options) for decision in self.space.decisions), default=0)
        # Gumbel maximum: argmax_j (logit_j + g_j) ~ softmax(logit) with g = -log(e), e ~ Exp(1). All noise is drawn at
        # once on the CPU, so the stream does not depend on the path taken or on the device.
        noise = torch.empty(len(self.space), count, widest).exponential_(generator=self._generator)
        gumbel = -noise.log().to(self.device)
        walk: Walk = self.policy(
            count, lambda position, logits: (logits + gumbel[position, :, : logits.shape[1]]).argmax(1)
        )
        return walk

    @torch.no_grad()
    def argmax(self) -> Architecture:
        """The greedy architecture: the most probable option of one decision after the other."""
        return self._decode(self.policy(1, lambda position, logits: logits.argmax(1)).indices)[0]

    @torch.no_grad()
    def most_likely(self, count: int) -> list[Architecture]:
        """The most probable by beam search, none twice, the greedy one always among them; see `Controller`."""
        likely = beam(self.policy, max(SMALLEST, 2 * count))
        found = dict.fromkeys([*self._decode(likely), self.argmax()])
        log_prob = self.log_prob(list(found)).tolist()
        ordered = sorted(zip(found, log_prob, strict=True), key=lambda each: -each[1])
        return [architecture for architecture, _ in ordered[:count]]

    def _decode(self, indices: Tensor) -> list[Architecture]:
        return [self._assignments.decode(each) for each in indices.tolist()]

    # Evaluation ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_prob(self, architectures: Sequence[Architecture]) -> Tensor:
        """Log-probability of each architecture, ``[count]``; raises SpaceError where one is not of the space."""
        log_prob: Tensor = self._forced(architectures).log_prob()
        return log_prob

    @torch.no_grad()
    def entropy(self, architectures: Sequence[Architecture]) -> Tensor:
        """Entropy in nats of each decision given the earlier choices, ``[count, decisions]``; 0 where it is absent.

        Raises:
            SpaceError: an architecture is not of the space.
        """
        entropy: Tensor = self._forced(architectures).entropy()
        return entropy

    def _forced(self, architectures: Sequence[Architecture]) -> Walk:
        """The teacher-forced pass."""
        checked = [self._assignments.encode(self._assignments.architecture(each)) for each in architectures]
        given = torch.tensor(checked, dtype=torch.int64, device=self.device).clamp(min=0)
        return self.policy.forced(given)

    def _walk_of(self, proposals: Sequence[Architecture]) -> Walk:
        """The walk of the last `propose`, if it is about these very proposals; else the teacher-forced one.

        Both have equal values and gradients. After it, or any change of the policy, the sampled walk is no longer good.
        """
        sampled, self._sampled = self._sampled, None
        if sampled is None or len(sampled[0]) != len(proposals):
            return self._forced(proposals)
        same = all(mine is given for mine, given in zip(sampled[0], proposals, strict=True))
        return sampled[1] if same else self._forced(proposals)

    # Learning --------------------------------------------------------------------------------------------------------

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Learn from one group; the report is of the policy before it.

        Raises:
            ValueError: lengths differ, nothing is given, a reward is not finite, or there is one proposal where the
                baseline or the normalisation needs two.
            SpaceError: a proposal is no architecture of the space.
        """
        advantage.check_group(proposals, rewards)
        rewards = [float(reward) for reward in rewards]
        walk = self._walk_of(proposals)
        advantages, baseline = self._advantages(rewards)
        weights = torch.tensor(advantages, dtype=torch.float32, device=self.device)
        entropies = walk.entropy().detach().mean(0)
        before = walk.log_prob().detach()
        loss = self._loss(walk, weights, before)
        stepped = self._step(loss)
        for _ in range(self._steps - 1 if stepped else 0):
            if not self._step(self._loss(self._forced(proposals), weights, before)):
                break
        return ControllerReport(
            reward=advantage.mean(rewards),
            baseline=baseline,
            entropy=entropies.sum().item(),
            loss=loss.item() if stepped else 0.0,
            entropies=dict(zip((d.name for d in self.space.decisions), entropies.tolist(), strict=True)),
        )

    @property
    def _steps(self) -> int:
        if self.config.update != "ppo":
            return 1
        return DEFAULT_PPO_EPOCHS if self.config.ppo_epochs is None else self.config.ppo_epochs

    def _loss(self, walk: Walk, advantages: Tensor, before: Tensor) -> Tensor:
        """What a step descends on. See the module.

        Args:
            walk: of the proposals, under the current policy.
            advantages: ``[count]``.
            before: the log-probabilities ``[count]`` of the proposals when the update began.
        """
        config = self.config
        if config.update == "ppo":
            gain = walk.surrogate(before, advantages, DEFAULT_CLIP if config.clip is None else config.clip)
        else:
            gain = advantages * walk.log_prob()
        loss = -gain.mean() - config.entropy_weight * walk.entropy().mean(0).sum()
        if config.skip_target is not None:
            loss = loss + config.skip_weight * walk.divergence(self._bits, config.skip_target).mean()
        return loss

    def _advantages(self, rewards: Sequence[float]) -> tuple[list[float], float]:
        """The advantages, and the mean of the baselines that they were taken from; moves the moving average."""
        average, following = advantage.mean(rewards), None
        match self.config.update:
            case "rloo":
                baselines = advantage.leave_one_out(rewards)
            case "reinforce_group" | "ppo":
                baselines = advantage.group_mean(rewards, self.config.update)
            case "reinforce_ema":
                baselines = [average if self.baseline is None else self.baseline] * len(rewards)
                given = self.config.baseline_decay
                decay = DEFAULT_BASELINE_DECAY if given is None else given
                following = advantage.moving_average(self.baseline, average, decay)
        advantages = [reward - baseline for reward, baseline in zip(rewards, baselines, strict=True)]
        if self.config.normalize_advantage:
            advantages = advantage.normalized(advantages, rewards)
        self.baseline = following
        return advantages, advantage.mean(baselines)

    def _step(self, loss: Tensor) -> bool:
        """Descend on `loss`; False where that was not possible, and nothing moved."""
        self._optimizer.zero_grad()
        if not loss.requires_grad:  # a space of one architecture without decisions: nothing to learn
            return bool(loss.isfinite())
        loss.backward()  # type: ignore[no-untyped-call]
        limit = math.inf if self.config.clip_norm is None else self.config.clip_norm
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), limit)
        if not (norm.isfinite() and loss.isfinite()):
            self._optimizer.zero_grad()
            self.skipped_updates += 1
            return False
        self._optimizer.step()
        return True

    # State -----------------------------------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Weights, Adam's moments and step counts by weight name, baseline, generator (uint8) and skipped updates."""
        moments = self._optimizer.state_dict()["state"]
        return {
            "weights": {name: _copy(value) for name, value in self.policy.state_dict().items()},
            "adam": {
                self._names[number]: {key: _copy(value) for key, value in moment.items()}
                for number, moment in moments.items()
            },
            "baseline": [] if self.baseline is None else [self.baseline],
            "generator": self._generator.get_state(),
            "skipped_updates": self.skipped_updates,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._sampled = None
        self.policy.load_state_dict(state["weights"])
        # The optimiser keeps what it is given where type and device fit, hence the copies.
        moments = {
            self._names.index(name): {key: value.clone() for key, value in moment.items()}
            for name, moment in state["adam"].items()
        }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.baseline = next(map(float, state["baseline"]), None)
        self._generator.set_state(state["generator"].cpu())
        self.skipped_updates = int(state["skipped_updates"])


def _copy(value: Tensor) -> Tensor:
    return value.detach().cpu().clone()
