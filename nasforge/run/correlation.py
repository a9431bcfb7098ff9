"""Whether proxies order architectures as training from scratch does, in numbers and words.

Asked of a sample that no search has chosen (`nasforge.run.sampling`): among a shortlist, whose proxies are all alike,
even a good proxy would hardly order anything. Beside the proxies stands the number of parameters, which needs no search
at all: a proxy that does no better says little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nasforge.run.statistics import FEWEST, Tau, kendall

PARAMETERS = "parameters"
"""What stands beside the arms."""


def correlation(
    proxies: Mapping[str, Sequence[Mapping[str, Any]]],
    trained: Sequence[float | None],
    *,
    metric: str,
    lower_is_better: bool,
    epochs: int,
) -> dict[str, Any]:
    """Kendall's tau-b of proxies and of sizes with scores after a short training; positive where both agree.

    Architectures with a score that is not finite, of any arm or of the training, are left out of all, and counted.

    Args:
        proxies: by arm, what it found out about each architecture of the sample, in the same order.
        trained: the scores, None where one is not finite; further ones are of no architecture.
        metric: of all scores.
        lower_is_better: its direction.
        epochs: of the trainings.

    Returns:
        Plain data; ``tau`` holds None where there are too few architectures, or nothing that differs.
    """
    arms = list(proxies)
    rows = list(zip(*proxies.values(), trained, strict=False))
    architectures = [
        {
            **{key: row[0][key] for key in ("digest", "canonical_digest", "decisions", "parameters")},
            "proxy": {arm: row[i]["proxy"] for i, arm in enumerate(arms)},
            "trained": row[-1],
        }
        for row in rows
    ]
    whole = [each for each in architectures if None not in (*each["proxy"].values(), each["trained"])]
    scores = [each["trained"] for each in whole]
    tau = {arm: kendall([each["proxy"][arm] for each in whole], scores) for arm in arms}
    # More parameters are taken to be better.
    sign = -1 if lower_is_better else 1
    tau[PARAMETERS] = kendall([sign * each["parameters"] for each in whole], scores)
    left_out = len(architectures) - len(whole)
    return {
        "metric": metric,
        "epochs": epochs,
        "n": len(whole),
        "left_out": left_out,
        "tau": {name: None if each is None else asdict(each) for name, each in tau.items()},
        "text": _in_words(tau, len(whole), left_out, epochs),
        "architectures": architectures,
    }


def _in_words(tau: Mapping[str, Tau | None], n: int, left_out: int, epochs: int) -> str:
    gone = f"; {left_out} left out, whose scores are not finite" if left_out else ""
    said = f"Of {n} architectures of all sizes{gone}"
    if n < FEWEST:
        return f"{said}: too few for a rank correlation of proxies and trained scores."
    with_weights = {"search": "with the weights of the search", "baseline": "with those of random search"}
    parts = [f"{shown(tau[arm])} {with_weights[arm]}" for arm in tau if arm != PARAMETERS]
    return (
        f"{said}: the rank correlation (Kendall's tau, with its 95 % interval) of proxies and scores after "
        f"{epochs} epoch{'s' * (epochs != 1)} from scratch is {', '.join(parts)}; that of the number of parameters "
        f"is {shown(tau[PARAMETERS])}."
    )


def shown(tau: Tau | None) -> str:
    """As text, with its interval where there is one."""
    if tau is None:
        return "undefined"
    return f"{tau.value:.2f}" if tau.low is None else f"{tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}]"
