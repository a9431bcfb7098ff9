"""What the policy prefers, and whether it collapsed."""

from __future__ import annotations

import math
import statistics

import pytest
from helpers import cell, samples
from random_specs import supergraph_of

from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.strategies import diagnosis
from nasforge.strategies.base import Event
from nasforge.strategies.diagnosis import Rewards, Watch, gain, in_words, rewards

SPACE = cell(4).space
MACRO = supergraph_of(
    {
        "kind": "macro_network",
        "layers": 4,
        "each": {
            "op": {"choose": 1, "from": ["identity", {"conv": {"kernel": 3}}]},
            "skips": {"choose": "any", "from": "previous"},
        },
        "image": [3, 8, 8],
        "channels": 4,
    }
).space


def test_rewards_are_those_that_are_finite() -> None:
    assert rewards([1.0, math.nan, 3.0, math.inf]) == Rewards(2, 2.0, pytest.approx(statistics.stdev([1, 3]) / 2**0.5))
    assert rewards([1.0]) == Rewards(1, 1.0, None)
    assert rewards([math.nan]) is None


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (-5.0, "they score better (+14.1 standard errors)"),
        (-5.98, "they score no differently (+0.3 standard errors)"),
        (-7.0, "they score worse (-14.1 standard errors)"),
    ],
)
def test_the_sentence_goes_by_two_standard_errors(policy: float, said: str) -> None:
    found = gain(Rewards(24, policy, 0.05), Rewards(12, -6.0, 0.05))
    assert found["difference"] == pytest.approx(policy + 6)
    assert found["standard_error"] == pytest.approx(0.05 * 2**0.5)
    assert said in in_words(found, weights="these weights", trained_by_policy=False)
    assert in_words(found, weights="these weights", trained_by_policy=True).endswith(
        "where the policy went, which favours it."
    )


def test_without_two_errors_nothing_is_said() -> None:
    assert gain(None, Rewards(1, 1.0, None)) == {}
    assert in_words({}, weights="", trained_by_policy=True) == ""
    assert in_words(gain(Rewards(1, 1.0, None), Rewards(2, 1.0, 0.1)), weights="", trained_by_policy=True) == ""
    assert in_words(gain(Rewards(2, 1.0, 0.0), Rewards(2, 1.0, 0.0)), weights="", trained_by_policy=True) == ""


def collapsed(space: SearchSpace, role: str, option: int) -> Architecture:
    """The first options, but `option` for the decisions of that role."""
    return space.architecture(
        {d.name: d.options[min(option, len(d.options) - 1) if d.role == role else 0] for d in space.decisions}
    )


def test_one_operation_everywhere_is_an_alarm_and_uniform_proposals_are_none() -> None:
    watch = Watch(SPACE, 0)
    (alarm,) = watch.alarms([collapsed(SPACE, "op", 1)] * 20)
    assert alarm == "100% of the operations that the policy proposes at the end are 'relu'"
    assert watch.alarms(samples(SPACE, 60, seed=1)) == []
    nearly = [collapsed(SPACE, "op", 1)] * 17 + [collapsed(SPACE, "op", 0)] * 3
    assert watch.alarms(nearly) == []


@pytest.mark.parametrize("bit", [0, 1])
def test_all_skips_or_none_are_an_alarm(bit: int) -> None:
    bits = [d for d in MACRO.decisions if d.role == "bit"]
    proposals = [
        MACRO.architecture(
            {
                d.name: d.options[bit] if d.role == "bit" else d.options[(n + i) % len(d.options)]
                for i, d in enumerate(MACRO.decisions)
            }
        )
        for n in range(10)
    ]
    (alarm,) = Watch(MACRO, 0).alarms(proposals)
    assert alarm == f"100% of the skip connections that the policy proposes at the end are '{bits[0].options[bit]}'"


def test_options_are_counted_by_role_where_there_is_a_choice() -> None:
    proposals = [collapsed(MACRO, "bit", 1)] * 2 + [collapsed(MACRO, "op", 1)]
    counted = diagnosis.by_role(MACRO, proposals)
    bits = [d for d in MACRO.decisions if d.role == "bit"]
    assert counted["bit"] == {bits[0].options[0]: len(bits), bits[0].options[1]: 2 * len(bits)}
    ops = [d for d in MACRO.decisions if d.role == "op"]
    assert counted["op"] == {ops[0].options[0]: 2 * len(ops), ops[0].options[1]: len(ops)}
    assert all(len(d.options) > 1 for d in MACRO.decisions) and set(counted) == {"op", "bit"}
    # The first node of a cell has one input only.
    counts = diagnosis.by_role(SPACE, samples(SPACE, 3))
    several = [d for d in SPACE.decisions if d.role == "input" and len(d.options) > 1]
    assert sum(counts["input"].values()) == 3 * len(several)


def step(entropy: float) -> Event:
    return Event("controller_step", {"entropy": entropy})


def test_an_entropy_near_zero_counts_in_the_first_half_only() -> None:
    low = diagnosis.LOW_ENTROPY * math.log(SPACE.size) * 0.9
    proposals = samples(SPACE, 60, seed=1)
    for entropies, alarmed in (([3.0, low, 3.0, 3.0], True), ([3.0, 3.0, low, low], False), ([low] * 4, True)):
        watch = Watch(SPACE, 4)
        for entropy in entropies:
            watch.see(step(entropy))
        watch.see(Event("candidate", {}))
        assert bool(watch.alarms(proposals)) == alarmed
        if entropies[0] == low:
            assert f"had fallen to {low:.2g} nats after 1 of 4 updates" in watch.alarms(proposals)[0]
