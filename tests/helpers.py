"""Plain functions that several test files use: tiny spaces, tiny corpora, brute force, golden files."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

import nasforge.ops.image
import nasforge.ops.recurrent
from nasforge import published
from nasforge.components import Options, SpaceKind, Stage
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.compile import compile_kind
from nasforge.graph.picture import Picture, architecture_picture, space_picture
from nasforge.graph.supergraph import Supergraph, Template
from nasforge.kinds.recurrent_cell import RecurrentCellSpec, build
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

if TYPE_CHECKING:
    from nasforge.executors.team import Team
    from nasforge.tasks.language_model import LanguageModel
    from nasforge.tasks.options import LanguageModelRecipe

OPERATIONS = {operation.name: operation for operation in nasforge.ops.recurrent.OPERATIONS}
OPS = ("tanh", "relu", "sigmoid", "identity")
GOLDEN = Path(__file__).parent / "golden"


def cell_spec(nodes: Any, *, ops: Sequence[str] = OPS, **options: Any) -> RecurrentCellSpec:
    """The checked ``space`` block of a recurrent cell."""
    block: dict[str, Any] = {"nodes": nodes, "each": {"op": {"choose": 1, "from": list(ops)}}, **options}
    return RecurrentCellSpec.model_validate(block, context={"operations": OPERATIONS})


def compiled(spec: RecurrentCellSpec, share: str = "node") -> Supergraph:
    """The supergraph of a checked block."""
    builder = GraphBuilder()
    build(spec, builder, Stage("search", share))
    return builder.finish()


def cell(nodes: int, share: str = "node", *, ops: Sequence[str] = OPS, **options: Any) -> Supergraph:
    """The supergraph of a recurrent cell."""
    return compiled(cell_spec(nodes, ops=ops, **options), share)


def everything(space: SearchSpace) -> list[dict[str, str]]:
    """Every architecture of a small space: all tuples of options or absence, kept where existence fits the conditions.

    Independent of the counting of `SearchSpace`.
    """
    found = []
    for choice in itertools.product(*[(None, *decision.options) for decision in space.decisions]):
        chosen = {d.name: option for d, option in zip(space.decisions, choice, strict=True) if option is not None}
        if all(decision.when.holds(chosen) == (decision.name in chosen) for decision in space.decisions):
            found.append(chosen)
    return found


def samples(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """`count` uniform draws."""
    rng = random.Random(seed)
    return [space.sample(rng) for _ in range(count)]


def choices(ops: Sequence[str], inputs: Sequence[int], *, first_is_fixed: bool = False) -> dict[str, str]:
    """The choices of a recurrent cell: operations of nodes 0.., predecessors of nodes 1.. ."""
    chosen = {f"node{node}.op": op for node, op in enumerate(ops) if node or not first_is_fixed}
    return chosen | {f"node{node}.input": f"node{source}" for node, source in enumerate(inputs, 1)}


def tree(architecture: Mapping[str, str]) -> nx.DiGraph:
    """The cell as its paper draws it: one vertex per node with its operation, one edge from each predecessor."""
    graph = nx.DiGraph()
    for name, option in architecture.items():
        node, what = name.split(".")
        if what == "op":
            graph.add_node(node, op=option)
    for name, option in architecture.items():
        node, what = name.split(".")
        if what == "input":
            graph.add_edge(option, node)
    return graph


def leaves(architecture: Mapping[str, str]) -> set[int]:
    """The numbers of the nodes that no node reads."""
    graph = tree(architecture)
    return {int(node.removeprefix("node")) for node in graph if graph.out_degree(node) == 0}


@dataclass(frozen=True)
class Declared:
    """A space of images as `nasforge.published` takes it."""

    space: Options
    space_kind: SpaceKind

    @cached_property
    def decisions(self) -> SearchSpace:
        return compile_kind(self.space_kind, self.space).space

    def read(self, name: str, text: str) -> Architecture:
        return published.read(name, text, self, self.decisions)

    def write(self, name: str, architecture: Mapping[str, str]) -> str:
        return published.write(name, architecture, self, self.decisions)


def image_space(kind: SpaceKind, block: Mapping[str, Any]) -> Declared:
    """The checked ``space`` block of a kind of networks of images."""
    operations = OPERATIONS | {operation.name: operation for operation in nasforge.ops.image.OPERATIONS}
    return Declared(kind.config.model_validate(dict(block), context={"operations": operations}), kind)


def all_wires(supergraph: Supergraph) -> dict[str, frozenset[int]]:
    """Every wire of every template."""
    return {name: frozenset(range(len(t.wires))) for name, t in supergraph.templates.items()}


def shapes(width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs of a recurrent cell's main template."""
    return {"inputs": (width,), "state": (width,), "mask": (width,)}


def dump(supergraph: Supergraph) -> str:
    """Everything that a compiled space holds, as text: decisions, and the nodes of each template with their wires."""
    lines = [f"stage {supergraph.stage}", ""]
    for decision in supergraph.space.decisions:
        lines.append(f"decision {decision.name} [{decision.role}, {decision.owner}] {' | '.join(decision.options)}")
        lines[-1] += "" if str(decision.when) == "always" else f" when {decision.when}"
    for template in supergraph.templates.values():
        lines += ["", f"template {template.name}", *_template_lines(template), f"  output {template.output}"]
        lines += [f"  output {name} = {node}" for name, node in template.outputs.items()]
    return "\n".join(lines) + "\n"


def _template_lines(template: Template) -> Iterator[str]:
    for node in template.nodes.values():
        what = {"input": "", "merge": node.combine, "scan": node.template, "op": ""}.get(node.role, node.template)
        if node.operation is not None:
            what = node.operation.whole_label
        share = f" share={node.share}" if node.share and node.share != node.name else ""
        share += f" scope={node.scope}" if node.scope and node.scope != node.name else ""
        owner = f" owner={node.owner}" if node.owner else ""
        share += f" drop={node.drop:.3g}" if node.drop else ""
        reads = f" <- {', '.join(node.inputs)}" if node.inputs and node.role not in ("merge", "scan") else ""
        yield f"  {node.role} {node.name}{f' = {what}' if what else ''}{reads}{share}{owner}"
        for number in node.wires:
            yield f"    wire {number} {template.wires[number].source} when {template.wires[number].when}"
        for key, mode, source in node.bind:
            yield f"    {mode} {key} <- {source}"


def pictures(supergraph: Supergraph) -> list[Picture]:
    """An architecture, the space, and the one laid over the other."""
    architecture = supergraph.space.sample(random.Random(0))
    return [
        architecture_picture(supergraph, architecture, title="an architecture"),
        space_picture(supergraph),
        space_picture(supergraph, architecture=architecture),
    ]


def golden_text(name: str, text: str) -> str:
    """The golden text of that name; first replaced by `text` where UPDATE_GOLDEN=1 is set."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


WORDS = ("the", "a", "cat", "dog", "sees", "likes", "red", "big", "runs", "sleeps")


def write_corpus(folder: Path, *, train: int = 60, valid: int = 25, test: int = 20, seed: int = 0) -> Path:
    """Write three files of as many sentences of 2 to 6 words; returns the folder."""
    rng = random.Random(seed)
    for name, count in (("train", train), ("valid", valid), ("test", test)):
        sentences = [" ".join(rng.choices(WORDS, k=rng.randint(2, 6))) for _ in range(count)]
        (folder / f"{name}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return folder


def language_model(folder: Path, *, team: Team | None = None, **options: Any) -> LanguageModel:
    """The task of the three files in `folder`; rewards are read from 3 sequences of 5 words unless told otherwise."""
    from nasforge.executors.team import ALONE
    from nasforge.tasks.language_model import LanguageModel
    from nasforge.tasks.options import LanguageModelOptions

    corpus = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
    block = {"corpus": corpus, "reward_batch_size": 3, "reward_bptt": 5, "streams": 4, **options}
    return LanguageModel(LanguageModelOptions.model_validate(block), folder, seed=0, team=team or ALONE)


PLAIN = {
    "batch_size": 4,
    "bptt": 5,
    "dropout_input": 0.0,
    "dropout_output": 0.0,
    "warmup_steps": 0,
    "schedule": "constant",
    "weight_decay": 0.0,
    "clip_norm": None,
}
"""A recipe without dropout, decay, clipping or schedule."""


def recipe(**options: Any) -> LanguageModelRecipe:
    """The plain recipe with changes."""
    from nasforge.tasks.options import LanguageModelRecipe

    return LanguageModelRecipe.model_validate({**PLAIN, **options})
