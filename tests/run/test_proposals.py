"""Where candidates come from: draws of the policy, or the most probable architectures that it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import write_toy

from nasforge.controllers.lstm import LstmController
from nasforge.errors import RunFailedError
from nasforge.plugins import build_plugins
from nasforge.run.directory import RunDirectory
from nasforge.run.jobs import Workshop
from nasforge.run.keeper import Keeper
from nasforge.run.plan import Job
from nasforge.space.architecture import Architecture
from nasforge.spec.run_spec import load_run_spec
from nasforge.strategies.base import Event, Report


def candidates(folder: Path, arm: str, *overrides: str) -> list[str]:
    """Digests of the candidates of a search, in the order in which they were ranked."""
    file = write_toy(folder)
    plugins = build_plugins()
    spec = load_run_spec(file, plugins, overrides=[*overrides, "derive.candidates=6", "derive.probes=0"])
    shop = Workshop(spec, plugins, RunDirectory(folder / "run"), base=folder, device="cpu", backend=None)
    reports: list[Report] = []
    shop.run(Job(arm, "search", arm, (), 1.0, arm), Keeper(None, arm, tell=reports.append))
    return [each.facts["digest"] for each in reports if isinstance(each, Event) and each.kind == "candidate"]


def test_a_beam_ranks_the_most_probable_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[Architecture]] = []
    most_likely = LstmController.most_likely

    def kept(controller: LstmController, count: int) -> list[Architecture]:
        found.append(most_likely(controller, count))
        return found[-1]

    monkeypatch.setattr(LstmController, "most_likely", kept)
    assert len(candidates(tmp_path, "search")) == 6
    assert not found  # draws, unless asked
    ranked = candidates(tmp_path, "search", "derive.proposals=beam")
    (likely,) = found
    # In between are isomorphic copies only.
    order = [each.digest for each in likely]
    places = [order.index(digest) for digest in ranked]
    assert places[0] == 0
    assert places == sorted(places)
    candidates(tmp_path, "baseline", "derive.proposals=beam")
    assert len(found) == 1  # uniform sampling has no policy


def test_a_policy_that_holds_nothing_admitted_for_likely_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LstmController, "most_likely", lambda controller, count: [])
    with pytest.raises(RunFailedError, match="set derive.proposals: sample"):
        candidates(tmp_path, "search", "derive.proposals=beam")
