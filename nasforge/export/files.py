"""The files that a user takes home: the network as plain torch, its weights, its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safetensors.torch import save

from nasforge.components import Operation
from nasforge.executors.network import Network
from nasforge.export.python_module import language_model_source
from nasforge.graph.plan import Plan
from nasforge.tasks.base import Task
from nasforge.tasks.language_model import LanguageModel


def exported_files(
    task: Task,
    plan: Plan,
    operations: Mapping[str, Operation],
    network: Network,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
) -> dict[str, bytes]:
    """``model.py`` (no nasforge import), ``weights.safetensors`` and what else the task needs to be used.

    Args:
        task: the task that the network was trained on.
        plan: the plan of the derived network.
        operations: the catalogue's operations.
        network: the trained network.
        title: the first line of the module's docstring.
        facts: (name, value) lines for it.

    Returns:
        Name to content; nothing for a task that there is no exporter for.
    """
    if not isinstance(task, LanguageModel):
        return {}
    module = language_model_source(plan, operations, network, title=title, facts=facts)
    values = {module.names[name]: value for name, value in network.copy_values().items()}
    return {
        "model.py": module.source.encode(),
        "weights.safetensors": save(values),
        "vocabulary.txt": "".join(f"{word}\n" for word in task.corpus.vocabulary.words).encode(),
    }
