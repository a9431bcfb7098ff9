"""A prediction with uncertainty, of which functions can be drawn; scikit-learn finds its two precisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge

from nasforge_predictor.features import Table

Values = NDArray[np.float64]
Function = Callable[[Table], Values]
"""From rows `[n, width]` of 0 and 1 to scores `[n]`, up to a constant."""

MOST_PAIRED = 2000
"""Options in all of which pairs are looked at, at most: a draw takes memory for the square of their number."""


@final
class Prediction:
    """Bayesian linear regression on all choices and all pairs of choices, its two precisions by the evidence.

    The worth of a choice is N(0, 1/lambda) before anything is known, that of a pair N(0, interaction^2/lambda), and a
    score that was told w times has noise N(0, 1/(w alpha)). `BayesianRidge` finds lambda and alpha (MacKay 1992).

    Pairs are never written out, so that tens of thousands cost nothing: with m choices in common, two rows have
    k = m + interaction^2 m (m - 1) / 2 as their inner product, and the evidence depends on inner products only. So
    the fit is to rows of any root of their matrix. A draw of the posterior is a draw of the prior, corrected by what it
    gets wrong of the scores, themselves with noise drawn (Matheron's rule; Wilson et al. 2020, "Efficiently Sampling
    Functions from Gaussian Process Posteriors", eq. 9).
    """

    def __init__(self, rows: Table, scores: Values, weights: Values, *, interaction: float) -> None:
        """Fit.

        Args:
            rows: `[n, width]`, 0 and 1.
            scores: `[n]`, not all equal, of a variance of about 1.
            weights: `[n]`, how often each was told.
            interaction: how much a pair is worth beside a choice; 0 for nothing.
        """
        self._rows = rows
        self._interaction = interaction if rows.shape[1] <= MOST_PAIRED else 0.0
        variances, axes = np.linalg.eigh(self._inner(rows))
        root = axes * np.sqrt(np.maximum(variances, 0.0))  # rounding leaves tiny negative ones
        fitted = BayesianRidge().fit(root, scores, sample_weight=weights)
        self._share = weights / weights.sum()
        self._deviation = 1 / np.sqrt(fitted.lambda_)
        self._noise = 1 / np.sqrt(fitted.alpha_ * weights)
        # The intercept is free: scores and functions are compared after their weighted means are taken off.
        root = root - self._share @ root
        self._scores = scores - self._share @ scores
        self._covariance = root @ root.T * self._deviation**2 + np.diag(self._noise**2)

    def _inner(self, rows: Table) -> Table:
        common = rows @ self._rows.T
        inner: Table = common + self._interaction**2 * common * (common - 1) / 2
        return inner

    def draw(self, rng: np.random.Generator) -> Function:
        """One function that may be the truth, as probable as it is."""
        width = self._rows.shape[1]
        single = rng.standard_normal(width)
        pair = np.triu(rng.standard_normal((width, width)), 1) * self._interaction if self._interaction else None

        def prior(rows: Table) -> Values:
            values = rows @ single
            if pair is not None:
                values = values + np.einsum("ij,ij->i", rows @ pair, rows)
            return np.asarray(values * self._deviation)

        before = prior(self._rows)
        return self._corrected(prior, before - self._share @ before + self._noise * rng.standard_normal(len(before)))

    def mean(self) -> Function:
        """The mean of all draws."""
        return self._corrected(lambda rows: np.zeros(len(rows)), np.zeros(len(self._scores)))

    def _corrected(self, function: Function, values: Values) -> Function:
        solved = np.linalg.solve(self._covariance, self._scores - values) * self._deviation**2
        pull = solved - self._share * solved.sum()
        return lambda rows: function(rows) + self._inner(rows) @ pull
