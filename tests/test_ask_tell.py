"""The loop that a user owns: every controller, plugins included, in any order, and from a state."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nasforge.ask_tell import AskTell
from nasforge.data.table import load_table
from nasforge.errors import RunFailedError, SpaceError, SpecError, UsageError
from nasforge.plugins import Plugins, build_plugins
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace

ROOT = Path(__file__).parents[1]
SPACE = SearchSpace(Decision(f"layer{n}", ("a", "b", "c", "d"), "op", f"layer{n}") for n in range(4))
PLUGIN = """\
import nasforge


@nasforge.hookimpl
def nasforge_controllers():
    from nasforge.components import ControllerKind

    return [ControllerKind("theirs", "s", "nasforge.controllers.random:RandomController", smallest_group=lambda c: 3)]
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    file = tmp_path_factory.mktemp("plugin") / "theirs.py"
    file.write_text(PLUGIN)
    return build_plugins([file])


def worth(architecture: Architecture) -> float:
    return sum(option == "c" for _, option in architecture.items())


def controllers() -> list[str]:
    return [*build_plugins().catalogue.controllers, "theirs"]


@pytest.mark.parametrize("name", controllers())
def test_every_controller_is_asked_told_and_goes_on_from_a_state(name: str, plugins: Plugins) -> None:
    def made() -> AskTell:
        return AskTell(SPACE, name, seed=3, plugins=plugins)

    def go_on(search: AskTell, turns: int) -> list[Architecture]:
        found = []
        for turn in range(turns):
            proposals = search.ask(1 + turn % 3)
            # The last is never told, and what was not asked for is.
            for architecture in proposals[:2]:
                search.tell(architecture, math.nan if worth(architecture) == 1 else worth(architecture))
            search.tell({f"layer{n}": "d" for n in range(4)}, 0.0)
            found += proposals
        return found

    whole = made()
    first = go_on(whole, 9)
    state = whole.state()
    rest = go_on(whole, 9)
    other = made()
    assert go_on(other, 9) == first
    again = made()
    again.load_state(state)
    assert go_on(again, 9) == rest
    assert (again.asked, again.told, again.failed) == (whole.asked, whole.told, whole.failed)
    assert again.best() == whole.best() and again.archive == whole.archive
    assert (whole.asked, whole.told) == (36, 18 + 30)


@pytest.mark.parametrize("name", ["evolution", "local_search"])
def test_what_is_told_is_learned(name: str) -> None:
    search = AskTell(SPACE, name, seed=1)
    for _ in range(120):
        (architecture,) = search.ask()
        search.tell(architecture, worth(architecture))
    assert search.best().mean == 4.0


def test_lower_scores_can_be_better() -> None:
    search = AskTell(SPACE, seed=1, direction="min")
    for _ in range(120):
        (architecture,) = search.ask()
        search.tell(architecture, -worth(architecture))
    best = search.best()
    assert (best.mean, best.scores[0], dict(best.architecture)) == (-4.0, -4.0, {f"layer{n}": "c" for n in range(4)})


def test_the_best_is_that_of_the_best_mean() -> None:
    search = AskTell(SPACE, "random")
    one, other = ({f"layer{n}": option for n in range(4)} for option in "ab")
    for architecture, score in ((one, 9.0), (other, 6.0), (one, 1.0), (other, math.inf), (other, 6.5)):
        search.tell(architecture, score)
    assert dict(search.best().architecture) == other
    assert (search.best().mean, search.best().scores, search.failed) == (6.25, (6.0, 6.5), 1)


def test_groups_are_told_when_they_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    search = AskTell(SPACE, "random", group=3)
    sizes: list[int] = []
    update = search.controller.update
    monkeypatch.setattr(search.controller, "update", lambda m, r: (sizes.append(len(m)), update(m, r))[1])
    for score in (1.0, math.nan, 2.0, 3.0, 4.0):
        search.tell(search.ask()[0], score)
    assert sizes == [3]
    assert AskTell(SPACE, "lstm", options={"units": 8})._group == 5


def test_a_file_gives_the_space_with_its_limits(tmp_path: Path) -> None:
    text = (ROOT / "spaces" / "digits_standalone.yaml").read_text() + "limits: {count: {conv: 1}}\n"
    file = tmp_path / "space.yaml"
    file.write_text(text)
    search = AskTell(file, "random", seed=0)
    for architecture in search.ask(50):
        assert sum(option.startswith("conv") for _, option in architecture.items()) <= 1
    with pytest.raises(SpaceError):
        search.tell({f"layer{n}.op": "conv(kernel=3)" for n in range(1, 5)}, 1.0)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("evoluton", {}, "Did you mean 'evolution'?"),
        ("lstm", {"group": 1}, "learns from groups of at least 2, not 1"),
        ("theirs", {"group": 2}, "learns from groups of at least 3, not 2"),
    ],
)
def test_what_cannot_be_is_refused(name: str, more: dict[str, Any], said: str, plugins: Plugins) -> None:
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        AskTell(SPACE, name, plugins=plugins, **more)


def test_nothing_told_is_no_answer() -> None:
    search = AskTell(SPACE)
    search.tell(search.ask()[0], math.nan)
    with pytest.raises(RunFailedError, match="none of 1 queries gave a finite score"):
        search.best()


def test_the_state_of_a_controller_without_tensors_is_json() -> None:
    search = AskTell(SPACE, "evolution", group=4)
    for _ in range(6):
        search.tell(search.ask()[0], 1.5)
    assert json.loads(json.dumps(search.state())) == search.state()


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", example], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "conv(kernel=3)" in done.stdout


def test_limits_on_columns_hold_and_latency_is_refused(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "spaces" / "digits_table.yaml").read_text()
    table = (Path(__file__).parents[1] / "spaces" / "digits_table.npz").read_bytes()
    (tmp_path / "digits_table.npz").write_bytes(table)
    limited = tmp_path / "limited.yaml"
    limited.write_text(text + "limits: {parameters: 1500}\n")
    looked_up = load_table(tmp_path / "digits_table.npz")
    search = AskTell(limited, controller="random", seed=0)
    parameters = looked_up.columns["parameters"]
    rows = [looked_up.row(search.space.encode(architecture)) for architecture in search.ask(50)]
    assert max(parameters[row] for row in rows) <= 1500 < parameters.max()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text + "limits: {parms: 5}\n")
    with pytest.raises(SpecError, match="no column 'parms'"):
        AskTell(wrong)
    timed = tmp_path / "timed.yaml"
    timed.write_text(
        (Path(__file__).parents[1] / "spaces" / "digits_macro.yaml").read_text() + "limits: {latency_ms: 3}\n"
    )
    with pytest.raises(UsageError, match="latency_ms is measured by `nasforge run` only"):
        AskTell(timed)
