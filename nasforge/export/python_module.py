"""A searched language model as one readable file of plain torch: no nasforge is needed to load, score or train it.

The file computes what the interpreter computes, with the same calls in the same order. Its parts are the functions that
the operations bring (`Operation.helpers`), a class ``Cell`` written from the derived plan, and a fixed frame: the
model around the cell, reading of weights and vocabulary, perplexity, and a command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nasforge.components import Operation
from nasforge.errors import NasforgeError
from nasforge.export.cell import CellSource, cell_source
from nasforge.export.document import ExportedModule, docstring, module_text
from nasforge.export.frame import FRAME_NAMES, LOADING, SCORING, USAGE
from nasforge.graph.plan import Plan
from nasforge.graph.supergraph import Node

if TYPE_CHECKING:
    from nasforge.executors.network import Network


def language_model_source(
    plan: Plan,
    operations: Mapping[str, Operation],
    network: Network,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
) -> ExportedModule:
    """Write a derived language model as a module that needs torch and safetensors only.

    The text is laid out as ``ruff format --line-length 120`` does, as far as the operations' own sources are.

    Args:
        plan: the plan of one architecture (`plan_architecture`); plans for soft gates are refused where they show.
        operations: the catalogue's operations.
        network: the network of that plan; names and sizes are taken from it, values are not.
        title: what the model is, for the file's docstring; any text.
        facts: (name, value) pairs for the docstring, e.g. the test perplexity; any text.

    Raises:
        NasforgeError: the plan is not one scan over words, its weights are not those of `network`, or an operation's
            source holds what does not belong into an exported network.
    """
    scan = _only_scan(plan)
    vocabulary_size, width, bias = _sizes(network)
    shapes = {key: (width,) for key, _, _ in scan.bind}
    cell = cell_source(plan.templates[scan.template], scan.bind, operations, shapes, width, FRAME_NAMES)
    names = {"shell.embedding": "embedding"}
    if bias:
        names["shell.decoder_bias"] = "decoder_bias"
    names |= {f"core.{name}": f"cell.{attribute}" for name, attribute in cell.parameters.items()}
    if set(names) != set(network.parameters):
        differing = ", ".join(sorted(set(names) ^ set(network.parameters)))
        raise NasforgeError(f"the plan and the network that are exported differ in their weights: {differing}")
    constants = f"WIDTH = {width}\nVOCABULARY_SIZE = {vocabulary_size}\nFOLDER = Path(__file__).parent"
    code = [*cell.helpers, cell.text, _model(cell, bias=bias), LOADING, SCORING]
    source = module_text(docstring(title or "A language model", facts, USAGE), constants, code)
    return ExportedModule(source, names)


def _only_scan(plan: Plan) -> Node:
    """The scan that the main template consists of."""
    steps = plan.main.steps
    if len(steps) != 1 or steps[0].node.role != "scan" or plan.main.output != steps[0].name:
        shown = ", ".join(step.name for step in steps)
        raise NasforgeError(f"the export writes networks that are one loop over time; this one has the steps {shown}")
    node = steps[0].node
    bound = sorted((mode, source) for _, mode, source in node.bind)
    if bound not in ([("carry", "state"), *masked, ("sequence", "inputs")] for masked in ([], [("constant", "mask")])):
        raise NasforgeError(f"the export writes loops over 'inputs' that carry 'state'; this one is bound to {bound}")
    return node


def _sizes(network: Network) -> tuple[int, int, bool]:
    """Vocabulary size, width, and whether the decoder has a bias."""
    shell = {name for name in network.parameters if name.startswith("shell.")}
    if not {"shell.embedding"} <= shell <= {"shell.embedding", "shell.decoder_bias"}:
        raise NasforgeError(f"the export writes tied language models; this one's shell has the weights {sorted(shell)}")
    vocabulary_size, width = network.parameters["shell.embedding"].shape
    if network.core.width != width:
        raise NasforgeError(f"the decoder is tied to words of {width} features; the cell gives {network.core.width}")
    return vocabulary_size, width, "shell.decoder_bias" in shell


def _model(cell: CellSource, *, bias: bool) -> str:
    mask_argument = ", mask: Tensor | None = None" if cell.constants else ""
    mask = ", mask" if cell.constants else ""
    lines = [
        "class LanguageModel(nn.Module):",
        '    """Embedding, cell, and a decoder tied to the embedding; weights are not set until they are loaded."""',
        "",
        "    def __init__(self, vocabulary_size: int = VOCABULARY_SIZE, width: int = WIDTH) -> None:",
        "        super().__init__()",
        "        self.embedding = nn.Parameter(torch.empty(vocabulary_size, width))",
        *(["        self.decoder_bias = nn.Parameter(torch.empty(vocabulary_size))"] if bias else []),
        "        self.cell = Cell(width)",
        "",
        "    def start(self, batch: int) -> Tensor:",
        '        """The state before the first word: zeros `[batch, width]`."""',
        "        return self.embedding.new_zeros(batch, self.embedding.shape[1])",
        "",
        f"    def forward(self, words: Tensor, state: Tensor | None = None{mask_argument}) -> tuple[Tensor, Tensor]:",
        '        """Predict the word after each of `words`.',
        "",
        "        Args:",
        "            words: ids `[time, batch]`.",
        "            state: from the call before, or None at the start of a text.",
        *(["            mask: dropout mask of the state `[batch, width]`; None for none."] if mask else []),
        "",
        "        Returns:",
        "            Logits `[time, batch, vocabulary]`, and the state after the last word `[batch, width]`.",
        '        """',
        "        state = self.start(words.shape[1]) if state is None else state",
        *_loop(cell, mask),
        f"        return F.linear(torch.stack(outputs), self.embedding{', self.decoder_bias' if bias else ''}), state",
    ]
    return "\n".join(lines)


def _loop(cell: CellSource, mask: str) -> list[str]:
    embedded = "F.embedding(words, self.embedding)"
    constants = mask if cell.projects_with_constants else ""
    once = f"self.cell.project({embedded}{constants})" if cell.projects else embedded
    several = cell.per_step > 1
    steps = "zip(*(each.unbind(0) for each in inputs))" if several else "inputs.unbind(0)"
    return [
        f"        inputs = {once}  # for all time steps at once",
        "        outputs = []",
        f"        for step in {steps}:",
        f"            state = self.cell({'*step' if several else 'step'}, state{mask})",
        "            outputs.append(state)",
    ]
