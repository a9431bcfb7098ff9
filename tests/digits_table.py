"""``python -m tests.digits_table OUT.npz``: train every network of spaces/digits_standalone.yaml three times.

That is what `spaces/digits_table.npz` holds: 256 networks, each trained from scratch as a search of that file trains its
children, scored on the validation images; beside it stand the test images, parameters and FLOPs. The same versions on a machine of the same type give the same file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nasforge.components import Operation
from nasforge.data.table import save_table
from nasforge.executors.options import StandaloneOptions
from nasforge.executors.standalone import Standalone
from nasforge.graph.count import Meter
from nasforge.graph.supergraph import Supergraph
from nasforge.plugins import build_plugins
from nasforge.recipe import Recipe
from nasforge.run.compile import compile_space
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.spec.run_spec import load_run_spec
from nasforge.tasks.image_classification import ImageClassification
from nasforge.tasks.image_options import ImageClassificationOptions

SPEC = Path(__file__).resolve().parents[1] / "spaces" / "digits_standalone.yaml"
RUNS = 3
EPOCHS = 10


class Source:
    """What the rows of the table come from.

    Args:
        graph: the search stage of the space.
        operations: by name.
        task: the images.
        recipe: of the trainings.
        options: of the executor.
    """

    def __init__(
        self,
        graph: Supergraph,
        operations: Mapping[str, Operation],
        task: ImageClassification,
        recipe: Recipe,
        options: StandaloneOptions,
    ) -> None:
        self.space = graph.space
        self.meter = Meter(graph, operations, lambda choices: task.input_shapes(options.hidden))
        self._task = task
        self._executor = Standalone(graph, operations, task, recipe, options, seed=derive(0, "table"))

    def architectures(self) -> list[Architecture]:
        """The rows, in the order in which the space lists them."""
        return list(self.space.everything())

    def scores(self, row: int, architecture: Architecture) -> NDArray[np.float64]:
        """``[runs, 2]``: the accuracy of each training on the validation and on the test images, in per cent."""
        found = []
        for run in range(RUNS):
            training = self._executor.begin(architecture, RUNS * row + run)
            while training.steps < training.total_steps:
                training.step()
            test = self._task.evaluate(training.network, "test", exact=True)
            valid = self._task.evaluate(training.network, "valid", exact=True)
            found.append((valid.value, test.value))
        return np.array(found)

    def write(self, out: Path) -> None:
        """Train everything, and write the table."""
        rows = self.architectures()
        scores = []
        for row, architecture in enumerate(rows):
            scores.append(self.scores(row, architecture))
            print(f"{row + 1}/{len(rows)} {scores[-1].mean(0).round(2).tolist()}", file=sys.stderr, flush=True)
        both = np.stack(scores)
        counts = [self.meter.count(architecture) for architecture in rows]
        save_table(
            out,
            architectures=[self.space.encode(architecture) for architecture in rows],
            scores=both[:, :, 0],
            name="digits",
            metric="accuracy",
            direction="max",
            options=[len(decision.options) for decision in self.space.decisions],
            columns={
                "test_accuracy": both[:, :, 1],
                "parameters": [count.parameters for count in counts],
                "flops": [count.flops for count in counts],
            },
            meta={
                "source": "scikit-learn's digits; python -m tests.digits_table, from spaces/digits_standalone.yaml",
                "splits": {"scores": "valid", "test_accuracy": "test"},
                "decisions": [decision.name for decision in self.space.decisions],
            },
        )


def source() -> Source:
    """As the file says, with `EPOCHS` in place of its own."""
    plugins = build_plugins()
    spec = load_run_spec(SPEC, plugins)
    operations = plugins.catalogue.operations
    assert isinstance(spec.task, ImageClassificationOptions) and isinstance(spec.executor, StandaloneOptions)
    task = ImageClassification(spec.task, SPEC.parent, seed=spec.seed)
    options = spec.executor.model_copy(update={"epochs": EPOCHS})
    return Source(compile_space(spec, "search", operations), operations, task, spec.search_recipe, options)


def main() -> None:
    """Train, and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.digits_table", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.npz", help="the table")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    source().write(out)


if __name__ == "__main__":
    main()
