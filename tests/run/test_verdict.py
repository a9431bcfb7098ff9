"""The words of the verdict are those of the figures."""

from __future__ import annotations

from typing import Any

import pytest

from nasforge.run.result import verdict


def scored(test: float | None, **more: Any) -> dict[str, Any]:
    return {"trained": {"metric": "perplexity", "direction": "min", "test": test}, **more}


@pytest.mark.parametrize(
    ("mine", "theirs", "flag", "said", "concluded"),
    [
        (
            90.0,
            100.0,
            True,
            "It beats random search on the same budget (100.00) by 10.0 %.",
            "was worth it against random",
        ),
        (
            110.0,
            100.0,
            False,
            "It is beaten by random search on the same budget (100.00) by 10.0 %.",
            "was not worth it",
        ),
        (99.0, 100.0, True, "cannot tell from noise", "not told apart from random"),
        (101.0, 100.0, False, "cannot tell from noise", "not told apart from random"),
        (100.0, 100.0, None, "It equals random search on the same budget (100.00).", "not told apart from random"),
        (90.0, None, None, "The training of random search on the same budget failed", "is not known"),
        (None, 100.0, None, "The final training of the searched network failed", "not finite"),
    ],
)
def test_words_and_flags_follow_the_scores(
    mine: float | None, theirs: float | None, flag: bool | None, said: str, concluded: str
) -> None:
    found = verdict(scored(mine), scored(theirs), [])
    assert found["beats_random"] is flag
    assert said in found["text"] and concluded in found["text"]


def test_higher_is_better_where_the_metric_says_so() -> None:
    best = {"trained": {"metric": "accuracy", "direction": "max", "test": 0.9}}
    other = {"trained": {"metric": "accuracy", "direction": "max", "test": 0.8}}
    assert verdict(best, other, [])["beats_random"] is True
    assert verdict(other, best, [])["beats_random"] is False


def test_flags_of_absent_references_are_none_and_those_of_present_ones_are_told() -> None:
    alone = verdict(scored(90.0), None, [], ["lstm", "one_node"])
    assert [alone[f"beats_{name}"] for name in ("random", "lstm", "one_node")] == [None, None, None]
    both = verdict(scored(90.0), None, [scored(100.0, name="lstm"), scored(80.0, name="one_node")])
    assert (both["beats_lstm"], both["beats_one_node"]) == (True, False)
    assert (
        "was worth it against an LSTM" in both["text"] and "was not worth it against the one-node cell" in both["text"]
    )


def accurate(test: float, error: float, name: str = "plain") -> dict[str, Any]:
    trained = {"metric": "accuracy", "direction": "max", "test": test, "test_standard_error": error}
    return {"name": name, "trained": trained}


def test_accuracies_are_told_apart_by_their_standard_errors() -> None:
    close = verdict(accurate(98.0, 0.7), None, [accurate(96.5, 0.9)], ["plain", "largest"])
    assert "98.00 ± 0.70" in close["text"] and "by 1.50 points, which one training each cannot tell" in close["text"]
    assert (close["beats_plain"], close["beats_largest"]) == (True, None)
    far = verdict(accurate(98.0, 0.4), None, [accurate(96.5, 0.5)], ["plain"])
    assert "So the search was worth it against the plain 3x3 network." in far["text"]
