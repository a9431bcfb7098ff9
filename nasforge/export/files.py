"""The files that a user takes home: the network as plain torch, its weights, and what else it needs to be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from safetensors.torch import save

from nasforge.components import Operation
from nasforge.executors.network import Network
from nasforge.export.document import ExportedModule
from nasforge.export.image_module import image_classifier_source
from nasforge.export.python_module import language_model_source
from nasforge.graph.plan import Plan
from nasforge.tasks.base import DescribesImages, Task
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
    if isinstance(task, LanguageModel):
        vocabulary = "".join(f"{word}\n" for word in task.corpus.vocabulary.words).encode()
        module = language_model_source(plan, operations, network, title=title, facts=facts)
        return {**_module_and_weights(module, network), "vocabulary.txt": vocabulary}
    if isinstance(task, DescribesImages):
        images = task.image_description()
        module = image_classifier_source(
            plan,
            operations,
            network,
            image_shape=images.shape,
            classes=images.classes,
            mean=images.mean,
            deviation=images.deviation,
            title=title,
            facts=facts,
        )
        return _module_and_weights(module, network)
    return {}


def _module_and_weights(module: ExportedModule, network: Network) -> dict[str, bytes]:
    values = {module.names[name]: value for name, value in network.copy_values().items()}
    return {"model.py": module.source.encode(), "weights.safetensors": save(values)}
