"""The model against scikit-learn's on pairs that are written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from nasforge_predictor import model
from nasforge_predictor.features import Choices, Table
from nasforge_predictor.model import Prediction, Values
from sklearn.linear_model import BayesianRidge

from nasforge.space.decision import Condition, Decision, Literal
from nasforge.space.search_space import SearchSpace

SPACE = SearchSpace(
    [
        Decision("a", ("0", "1", "2"), "op", "a"),
        Decision("b", ("0", "1", "2"), "op", "b"),
        Decision("c", ("0", "1"), "op", "c", Condition(((Literal("a", "0", positive=False),),))),
        Decision("d", ("0", "1", "2"), "op", "d"),
    ]
)


def written_out(rows: Table, interaction: float) -> Table:
    pairs = [interaction * rows[:, i] * rows[:, j] for i, j in combinations(range(rows.shape[1]), 2)]
    return np.column_stack([rows, *pairs]) if interaction else rows


def told(count: int, seed: int = 0) -> tuple[Table, Values, Values]:
    """Rows of different architectures with scores that have pairs and noise in them, and how often each was told."""
    rng = np.random.default_rng(seed)
    rows = Choices(SPACE).table([SPACE.everything()[at] for at in rng.permutation(SPACE.size)[:count]])
    scores = rows @ rng.standard_normal(rows.shape[1]) + rows[:, 0] * rows[:, 4] + 0.3 * rng.standard_normal(count)
    return rows, (scores - scores.mean()) / scores.std(), rng.integers(1, 4, count).astype(float)


def test_a_choice_is_a_one_and_what_does_not_exist_is_zero() -> None:
    choices = Choices(SPACE)
    assert choices.width == 11
    with_c, without_c = SPACE.decode((1, 2, 0, 0)), SPACE.decode((0, 0, -1, 2))
    assert choices.table([with_c, without_c]).tolist() == [
        [0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0],
        [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("count", [4, 25])
@pytest.mark.parametrize("interaction", [0.0, 0.5, 2.0])
def test_draws_have_the_mean_and_the_covariance_of_bayesian_ridge_on_all_pairs(count: int, interaction: float) -> None:
    rows, scores, weights = told(count)
    every = Choices(SPACE).table(SPACE.everything())
    wide = BayesianRidge().fit(written_out(rows, interaction), scores, sample_weight=weights)
    prediction = Prediction(rows, scores, weights, interaction=interaction)

    def centred(values: Values) -> Values:
        return np.asarray(values - values.mean(axis=-1, keepdims=True))

    expected = centred(written_out(every, interaction) @ wide.coef_)
    np.testing.assert_allclose(centred(prediction.mean()(every)), expected, atol=1e-6)

    draws = np.array([centred(prediction.draw(np.random.default_rng(seed))(every)) for seed in range(4000)])
    features = written_out(every, interaction)
    features = features - features.mean(axis=0)
    covariance = features @ wide.sigma_ @ features.T
    np.testing.assert_allclose(draws.mean(axis=0), expected, atol=5 * np.sqrt(covariance.diagonal().max() / 4000))
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1 * covariance.diagonal().max())


def test_what_was_told_more_often_is_believed_more() -> None:
    rows, scores, _ = told(25)
    weights = np.ones(25)
    weights[3] = 100.0
    errors = [
        abs(float((scores - prediction.mean()(rows) - np.average(scores - prediction.mean()(rows), weights=each))[3]))
        for each in (np.ones(25), weights)
        for prediction in [Prediction(rows, scores, each, interaction=0.5)]
    ]
    assert errors[1] < errors[0] / 2


def test_there_are_no_pairs_where_a_draw_of_them_would_take_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, scores, weights = told(25)
    alone = Prediction(rows, scores, weights, interaction=0.0).mean()(rows)
    assert not np.allclose(Prediction(rows, scores, weights, interaction=0.5).mean()(rows), alone)
    monkeypatch.setattr(model, "MOST_PAIRED", 10)
    assert np.array_equal(Prediction(rows, scores, weights, interaction=0.5).mean()(rows), alone)


def test_scores_without_noise_are_predicted_exactly() -> None:
    rows, _, weights = told(40)
    scores = rows @ np.arange(11.0) + 3 * rows[:, 0] * rows[:, 4]
    scores = (scores - scores.mean()) / scores.std()
    for seed in range(5):
        drawn = Prediction(rows, scores, weights, interaction=0.5).draw(np.random.default_rng(seed))(rows)
        np.testing.assert_allclose(drawn - drawn.mean(), scores, atol=0.05)
