"""What the runs of a comparison say beside their scores, over seeds: what proxies are worth, what policies prefer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nasforge.run.correlation import PARAMETERS, shown
from nasforge.run.statistics import Mean, Tau, mean_of

MOST_SHOWN = 6
"""Options of a role, or seeds, that are listed."""

CLEAR = 2.0
"""Standard errors from which on a gain counts."""


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of proxies with scores after a short training from scratch, of the same architectures.

    Attributes:
        epochs: of the training.
        n: architectures, by seed.
        tau: by strategy, and of the number of parameters under `PARAMETERS`; then by seed, None where not defined.
        mean: over the seeds where it is defined; None where there is no such seed.
    """

    epochs: int
    n: Mapping[int, int]
    tau: Mapping[str, Mapping[int, Tau | None]]
    mean: Mapping[str, Mean | None]


@dataclass(frozen=True)
class Preference:
    """What the policy of a strategy prefers at the end of its searches, beside uniform proposals on the same weights.

    Attributes:
        gains: difference of mean rewards and its standard error, by seed.
        gain: mean of the differences.
        clear: in how many seeds the difference is at least `CLEAR` standard errors.
        proxy: mean, over the seeds, of the mean proxy of the proposals.
        uniform: that of the uniform ones.
        trained_by_policy: whether the policy drew for weight steps, too, which favours it.
        fair: the same gains on the weights of random search, which it has not helped to train, by seed.
        alarms: what looks like a collapse, in sentences, by seed.
        options: how often the proposals of all seeds choose each option, by role of the decisions.
    """

    gains: Mapping[int, Mapping[str, float | None]]
    gain: Mean | None
    clear: int
    proxy: Mean | None
    uniform: Mean | None
    trained_by_policy: bool
    fair: Mapping[int, Mapping[str, float | None]]
    alarms: Mapping[int, Sequence[str]]
    options: Mapping[str, Mapping[str, int]]


def over_seeds(found: Mapping[str, Mapping[int, Mapping[str, Any] | None]]) -> Agreement | None:
    """The rank correlations of runs; None where no run has any.

    Args:
        found: by strategy and seed, ``correlation`` of the result with the taus of the arm and of `PARAMETERS`.
    """
    found = {name: {seed: each for seed, each in own.items() if each} for name, own in found.items()}
    found = {name: own for name, own in found.items() if own}
    if not found:
        return None
    first = next(iter(found.values()))
    said = [each for each in first.values() if each]
    taus = {name: {seed: _tau(each, "proxy") for seed, each in own.items()} for name, own in found.items()}
    # Every arm of a run has the same architectures.
    taus[PARAMETERS] = {seed: _tau(each, PARAMETERS) for seed, each in first.items()}
    return Agreement(
        epochs=int(said[0]["epochs"]),
        n={seed: int(each["n"]) for seed, each in first.items() if each},
        tau=taus,
        mean={name: _mean([tau.value for tau in own.values() if tau]) for name, own in taus.items()},
    )


def of_policy(policies: Mapping[int, Mapping[str, Any] | None]) -> Preference | None:
    """What a policy prefers; None where no run of the strategy has one.

    Args:
        policies: by seed, ``policy`` of the result.
    """
    found = {seed: policy for seed, policy in policies.items() if policy}
    if not found:
        return None
    gains = _gains(found)
    fair = _gains(
        {seed: policy["on_random_weights"] for seed, policy in found.items() if "on_random_weights" in policy}
    )
    proxies = {
        name: [policy["proxy"][name]["value"] for policy in found.values() if policy.get("proxy", {}).get(name)]
        for name in ("policy", "uniform")
    }
    options: dict[str, Counter[str]] = {}
    for policy in found.values():
        for role, counts in policy.get("by_role", {}).items():
            options.setdefault(role, Counter()).update(counts)
    return Preference(
        gains=gains,
        gain=_mean([float(each["difference"] or 0.0) for each in gains.values()]),
        clear=sum((_errors(each) or 0.0) >= CLEAR for each in gains.values()),
        proxy=_mean(proxies["policy"]),
        uniform=_mean(proxies["uniform"]),
        fair=fair,
        trained_by_policy=any(policy.get("trained_by_policy", False) for policy in found.values()),
        alarms={seed: list(policy["alarms"]) for seed, policy in found.items() if policy["alarms"]},
        options={role: dict(counts) for role, counts in options.items()},
    )


def _gains(policies: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, float | None]]:
    return {
        seed: {key: policy["gain"][key] for key in ("difference", "standard_error")}
        for seed, policy in policies.items()
        if policy.get("gain")
    }


def _tau(said: Mapping[str, Any] | None, name: str) -> Tau | None:
    return Tau(**said["tau"][name]) if said and said["tau"][name] else None


def _mean(values: Sequence[float]) -> Mean | None:
    return mean_of(values) if values else None


def _errors(gain: Mapping[str, float | None]) -> float | None:
    """A gain in standard errors; None where its error is not known."""
    difference, error = gain["difference"], gain["standard_error"]
    return difference / error if difference is not None and error else None


# In words ------------------------------------------------------------------------------------------------------------


def agreement_lines(found: Agreement) -> list[str]:
    """A table of rank correlations: a line for each seed, and their mean."""
    numbers = sorted(set(found.n.values()))
    n = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    titles = {name: "parameters alone" if name == PARAMETERS else f"proxies, {name}" for name in found.tau}
    lines = [
        f"Rank correlation (Kendall's tau, with its 95 % interval) with scores after {found.epochs} "
        f"epoch{'s' * (found.epochs != 1)} from scratch, of {n} architectures of all sizes in each seed:",
        f"{'seed':<6}" + "".join(f"{title:>24}" for title in titles.values()),
    ]
    seeds = sorted(found.n)
    for seed in seeds[:MOST_SHOWN]:
        lines.append(f"{seed:<6}" + "".join(f"{shown(own.get(seed)):>24}" for own in found.tau.values()))
    if len(seeds) > MOST_SHOWN:
        lines.append("...")
    means = (
        "-" if mean is None else f"{mean.value:.2f}" + ("" if mean.error is None else f" ± {mean.error:.2f}")
        for mean in found.mean.values()
    )
    return [*lines, f"{'mean':<6}" + "".join(f"{mean:>24}" for mean in means)]


def preference_lines(strategy: str, found: Preference) -> list[str]:
    """What a policy prefers, sentence by sentence."""
    lines = []
    if found.gain is not None:
        n = len(found.gains)
        errors = [_errors(found.gains[seed]) for seed in sorted(found.gains)]
        each = ", ".join("-" if error is None else f"{error:+.1f}" for error in errors[:MOST_SHOWN])
        more = ", ..." if n > MOST_SHOWN else ""
        said = (
            f"With the same shared weights at the end, proposals of {strategy} differ from uniform ones by a mean "
            f"reward of {_brief(found.gain, signed=True)}; they are better by {CLEAR:g} standard errors or more in "
            f"{found.clear} of {n} seed{'s' * (n != 1)} ({each}{more})."
        )
        if found.proxy is not None and found.uniform is not None:
            said += f" Mean proxy: {_brief(found.proxy)}, uniform {_brief(found.uniform)}."
        if found.trained_by_policy:
            said += " The weights were trained where the policy went, which favours it."
        lines.append(said)
    if found.fair:
        n, differences = len(found.fair), [float(each["difference"] or 0.0) for each in found.fair.values()]
        errors = [_errors(found.fair[seed]) for seed in sorted(found.fair)]
        clear = sum(error is not None and error >= CLEAR for error in errors)
        each = ", ".join("-" if error is None else f"{error:+.1f}" for error in errors[:MOST_SHOWN])
        lines.append(
            f"With the weights of random search, which no policy trained, the same proposals differ by a mean reward "
            f"of {_brief(mean_of(differences), signed=True)}; they are better by {CLEAR:g} standard errors or more in "
            f"{clear} of {n} seed{'s' * (n != 1)} ({each}{', ...' if n > MOST_SHOWN else ''})."
        )
    for role, counts in found.options.items():
        most = Counter(counts).most_common(MOST_SHOWN)
        total = sum(counts.values()) or 1
        more = ", ..." if len(counts) > MOST_SHOWN else ""
        lines.append(
            f"{strategy} proposes at the end ({role}): "
            + ", ".join(f"{option} {times / total:.0%}" for option, times in most)
            + more
        )
    lines += [f"warning: {strategy}, seed {seed}: {alarm}" for seed, own in found.alarms.items() for alarm in own]
    return lines


def _brief(mean: Mean, *, signed: bool = False) -> str:
    """As many digits as two of the error need."""
    sign = "+" if signed else ""
    if not mean.error:
        return f"{mean.value:{sign}.4g}"
    digits = max(0, 1 - math.floor(math.log10(mean.error)))
    return f"{mean.value:{sign}.{digits}f} ± {mean.error:.{digits}f}"
