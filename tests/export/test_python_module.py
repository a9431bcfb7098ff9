"""The exported file computes what the interpreter computes, stands alone, and cannot be injected into."""

from __future__ import annotations

import ast
import math
import random
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from export_checks import NO_NASFORGE, alone, ruff
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from nasforge.components import Operation, Options, Stage, WeightSpec, activation
from nasforge.errors import NasforgeError
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.network import GraphCore, Network
from nasforge.executors.shared import standalone
from nasforge.export.allowed import check_source
from nasforge.export.names import Namespace, docstring_lines, identifier
from nasforge.export.python_module import ExportedModule, language_model_source
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.plan import Plan, plan_architecture, plan_support
from nasforge.graph.supergraph import OperationUse, Supergraph
from nasforge.kinds import recurrent_cell
from nasforge.ops.recurrent import OPERATIONS
from nasforge.tasks.language_model import LanguageModel, LanguageModelShell
from nasforge.tasks.options import LanguageModelOptions, LanguageModelRecipe
from nasforge.testing.operations import import_source

WIDTH, VOCABULARY_SIZE = 6, 11


class Slope(Options):
    slope: float = 0.1


def leaky(config: Slope) -> Callable[[Tensor], Tensor]:
    return lambda x: F.leaky_relu(x, config.slope)


LEAKY = activation("leaky", "a rectifier with a slope", f"{__name__}:leaky", "F.leaky_relu({x}, {slope})", config=Slope)
CATALOGUE: Mapping[str, Operation] = {each.name: each for each in (*OPERATIONS, LEAKY)}
ACTIVATIONS = ["tanh", "relu", "sigmoid", "identity", {"leaky": {"slope": 0.25}}]


@dataclass(frozen=True)
class Case:
    plan: Plan
    network: Network
    operations: Mapping[str, Operation]

    def export(self, title: str = "A cell", facts: Sequence[tuple[str, str]] = ()) -> ExportedModule:
        return language_model_source(self.plan, self.operations, self.network, title=title, facts=facts)

    def model(self, exported: ExportedModule, folder: Path) -> tuple[ModuleType, Any]:
        module = import_source(exported.source, folder, "model")
        model = module.LanguageModel().double()
        model.load_state_dict({exported.names[name]: p.detach() for name, p in self.network.parameters.items()})
        return module, model


def _compiled(share: str = "node", **block: Any) -> Supergraph:
    each = {"op": {"choose": 1, "from": ACTIVATIONS}}
    spec = recurrent_cell.RecurrentCellSpec.model_validate(
        {"nodes": 12, "each": each, **block}, context={"operations": CATALOGUE}
    )
    builder = GraphBuilder("final")
    recurrent_cell.build(spec, builder, Stage("final", share))
    return builder.finish()


def _network(plan: Plan, operations: Mapping[str, Operation], *, bias: bool = True, width: int = WIDTH) -> Network:
    bank = WeightBank(1, dtype=torch.float64)
    shapes = dict.fromkeys(("inputs", "state", "mask"), (width,))
    core = GraphCore(Program(plan, operations, bank, shapes))
    shell = LanguageModelShell(VOCABULARY_SIZE, width, bias=bias, init_range=1.0, seed=2).double()
    network = Network(shell, core)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        # Biases start at zero, where a lost one would not show.
        for name, parameter in network.parameters.items():
            if name.endswith("bias"):
                parameter.normal_(generator=generator)
    return network


def _case(supergraph: Supergraph, seed: int = 0, *, bias: bool = True, width: int = WIDTH) -> Case:
    plan = plan_architecture(supergraph, supergraph.space.sample(random.Random(seed)))
    return Case(plan, _network(plan, CATALOGUE, bias=bias, width=width), CATALOGUE)


def _one_node() -> Case:
    spec = recurrent_cell.RecurrentCellSpec.model_validate(
        {"nodes": 12, "each": {"op": {"choose": 1, "from": ["tanh"]}}}, context={"operations": CATALOGUE}
    )
    builder = GraphBuilder("final")
    recurrent_cell.build(recurrent_cell.references(spec)["one_node"], builder, Stage("final", "node"))
    return _case(builder.finish())


def _assert_equal_to_the_interpreter(case: Case, folder: Path) -> None:
    exported = case.export()
    module, model = case.model(exported, folder)
    core, weight = case.network.core, case.network.parameters["shell.embedding"]
    generator = torch.Generator().manual_seed(4)
    words = torch.randint(VOCABULARY_SIZE, (7, 3), generator=generator)
    state = torch.randn(3, core.width, dtype=torch.float64, generator=generator)
    mask = torch.empty(3, core.width, dtype=torch.float64).bernoulli_(0.5, generator=generator).mul_(2)
    for before, dropped in ((None, None), (state, None), (state, mask)):
        start = core.start(3, weight) if before is None else before
        outputs, after = core(F.embedding(words, weight), start, dropped)
        expected = F.linear(outputs, weight, case.network.parameters.get("shell.decoder_bias"))
        logits, found = model(words, before, dropped)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
        assert torch.equal(found, after)
    ids = words.flatten().tolist()
    first, carried = model(words[:, :1])
    again, _ = model(words[:2, :1], carried)
    at_once, _ = model(torch.cat((words, words[:2]))[:, :1])
    torch.testing.assert_close(torch.cat((first, again)), at_once, rtol=0, atol=1e-12)
    assert math.isfinite(module.perplexity(model, ids))


def _assert_names_are_a_bijection(case: Case, exported: ExportedModule, folder: Path) -> None:
    module, _ = case.model(exported, folder)
    there = {name: tuple(p.shape) for name, p in module.LanguageModel().named_parameters()}
    mapped = {exported.names[name]: tuple(p.shape) for name, p in case.network.parameters.items()}
    assert mapped == there
    assert set(exported.names) == set(case.network.parameters)
    assert len(set(exported.names.values())) == len(exported.names)


VARIANTS: list[dict[str, Any]] = [
    {
        "share": ("node", "edge", "edge_op")[i % 3],
        "output": {"of": ("leaves", "all")[i // 3 % 2], "clip_norm": (None, 0.5)[i // 6 % 2]},
        "input_bias": i // 2 % 2 == 0,
    }
    for i in range(30)
]


@pytest.mark.parametrize("i", range(30))
def test_random_cells_equal_the_interpreter_and_map_one_to_one(i: int, tmp_path: Path) -> None:
    case = _case(_compiled(**VARIANTS[i]), i, bias=i % 5 != 0)
    _assert_equal_to_the_interpreter(case, tmp_path)
    _assert_names_are_a_bijection(case, case.export(), tmp_path)


def test_one_node_cell_equals_the_interpreter(tmp_path: Path) -> None:
    case = _one_node()
    _assert_equal_to_the_interpreter(case, tmp_path)
    _assert_names_are_a_bijection(case, case.export(), tmp_path)


@pytest.mark.parametrize("i", range(0, 30, 4))
def test_files_are_formatted_and_pass_the_linter(i: int) -> None:
    source = (
        _case(_compiled(**VARIANTS[i]), i).export("A title", [("test perplexity", "87.3"), ("corpus", "mine")]).source
    )
    ruff(source, "format", "--check")
    ruff(source, "check")
    assert max(map(len, source.splitlines())) <= 120


def test_a_large_cell_is_formatted_and_equals_the_interpreter(tmp_path: Path) -> None:
    case = _case(_compiled(nodes=40, output={"of": "all"}), 0)
    ruff(case.export().source, "format", "--check")
    _assert_equal_to_the_interpreter(case, tmp_path)


def test_the_cell_reads_like_the_paper() -> None:
    supergraph = _compiled(nodes=4, share="edge_op")
    chosen = {"node0.op": "tanh", "node1.input": "node0", "node1.op": "relu", "node2.input": "node1"}
    chosen |= {"node2.op": "leaky(slope=0.25)", "node3.input": "node1", "node3.op": "identity"}
    plan = plan_architecture(supergraph, supergraph.space.architecture(chosen))
    exported = Case(plan, _network(plan, CATALOGUE), CATALOGUE).export()
    lines = exported.source.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("        node_0 = "))
    assert [line.strip() for line in lines[start : start + 6]] == [
        "node_0 = highway(h, x_projected + apply_mask(h, mask) @ self.node_0_h_weight, torch.tanh)",
        "node_1 = highway(node_0, apply_mask(node_0, mask) @ self.node_1_weight, torch.relu)",
        "node_1_masked = apply_mask(node_1, mask)",
        "node_2 = highway(node_1, node_1_masked @ self.node_2_weight, lambda u: F.leaky_relu(u, 0.25))",
        "node_3 = highway(node_1, node_1_masked @ self.node_3_weight, lambda u: u)",
        "return clip_norm(torch.stack((node_2, node_3)).mean(0), 25.0)",
    ]
    assert "        return x @ self.node_0_x_weight + self.node_0_x_bias" in lines
    assert exported.names["core.cell/node2.h.node1.leaky(slope=0.25).weight"] == "cell.node_2_weight"


def test_helpers_are_written_once() -> None:
    source = _case(_compiled()).export().source
    assert [source.count(f"def {name}(") for name in ("highway", "apply_mask", "clip_norm")] == [1, 1, 1]


# A kind of another shape -----------------------------------------------------------------------------------------


def _foreign(operations: Mapping[str, Operation], *, share: bool = False, label: str = "cell") -> Case:
    """A cell that reads x as it is and projected twice, with plumbing that no recurrent cell of ours has."""
    builder = GraphBuilder("final")
    cell = builder.template(label)
    x, h, mask = cell.input("x"), cell.input("h"), cell.input("mask")
    project = OperationUse("projection", (("bias", False),))
    key = ("both", "both") if share else ("one", "two")
    masked_x = cell.op("x masked", OperationUse("mask"), [x, mask])
    one = cell.op("first; import os", project, [masked_x], share=key[0])
    two = cell.op("second.\u202e\n", project, [x], share=key[1])
    both = cell.op("both", OperationUse("add"), [one, two])
    step = cell.op("l", OperationUse("highway", parts=(OperationUse("tanh"),)), [h, both], owner="l")
    scale = cell.op("times", OperationUse("times"), [step, x])
    total = cell.op("sum", OperationUse("add"), [scale, x])
    cell.output(cell.op("again", OperationUse("times"), [total, total]))
    main = builder.template("main")
    inputs, state, dropped = main.input("inputs"), main.input("state"), main.input("mask")
    main.output(main.scan("out", label, sequence={"x": inputs}, carry={"h": state}, constant={"mask": dropped}))
    supergraph = builder.finish()
    plan = plan_architecture(supergraph, {})
    return Case(plan, _network(plan, operations), operations)


def times(config: Options) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda a, b: torch.tanh(a * b)


TIMES = Operation("times", "a product", f"{__name__}:times", lambda c, x, w, p: f"torch.tanh({x[0]} * {x[1]})")
FOREIGN = {**CATALOGUE, "times": TIMES}


@pytest.mark.parametrize("share", [False, True])
def test_other_cells_equal_the_interpreter(share: bool, tmp_path: Path) -> None:
    case = _foreign(FOREIGN, share=share)
    _assert_equal_to_the_interpreter(case, tmp_path)
    exported = case.export()
    _assert_names_are_a_bijection(case, exported, tmp_path)
    assert len(exported.names) == (3 if share else 4)
    ruff(exported.source, "format", "--check")
    ruff(exported.source, "check")


def test_hostile_node_names_become_plain_identifiers() -> None:
    source = _foreign(FOREIGN, label="a\n'''\"\"\"").export().source
    assert "import os" not in source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)):
            name = node.arg if isinstance(node, ast.arg) else node.id
            assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]*", name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("__import__('os').system('x')", "__import__"),
        ("eval('1')", "eval"),
        ("open('x')", "open"),
        ("torch.load('x')", "load"),
        ("torch.os", "torch.os"),
        ("torch.utils", "torch.utils"),
        ("torch.hub", "torch.hub"),
        ("(lambda t: t.os)(torch)", "'torch' as a value"),
        ("x.__class__", "__class__"),
        ("sys.modules", "sys.modules"),
        ("(x := 1)", "NamedExpr"),
        ("a) + (b", "no expression"),
        ("x # gone", "no expression"),
        ("x; import os", "no expression"),
        ("x\n", "one line"),
        ("unknown_function(x)", "unknown_function"),
        ("torch.no_such_thing", "does not exist"),
    ],
)
def test_sources_that_do_more_than_compute_are_refused(source: str, message: str) -> None:
    operations = {**FOREIGN, "times": replace(TIMES, source=lambda c, x, w, p: source.replace("x", x[0], 1))}
    with pytest.raises(NasforgeError, match=re.escape(message)):
        _foreign(operations).export()


@pytest.mark.parametrize(
    ("helper", "message"),
    [
        ("import os", "must consist of functions"),
        ("print('x')", "must consist of functions"),
        ("def f(x:\n", "does not parse"),
        ("def f(x):\n    import os\n    return os.getcwd()", "import os"),
        ("def f(x, y=print('now')):\n    return x", "runs on import"),
        ("@print\ndef f(x):\n    return x", "runs on import"),
        ("def f(x):\n    global y\n    y = 1", "Global"),
        ("def f(x):\n    exec = 1\n    return x", "'exec' is redefined"),
        ("def load(x):\n    return x", "named 'load'"),
        ("def highway(x):\n    return x", "named 'highway'"),
        ("def print(x):\n    return x", "'print' is redefined"),
    ],
)
def test_helpers_that_do_more_than_compute_are_refused(helper: str, message: str) -> None:
    with pytest.raises(NasforgeError, match=re.escape(message)):
        _foreign({**FOREIGN, "times": replace(TIMES, helpers=(helper,))}).export()


def test_code_that_runs_on_import_is_refused() -> None:
    for line in ("print('x')", "x = print('x')", "for i in range(3):\n    print(i)", "if True:\n    print(1)"):
        with pytest.raises(NasforgeError, match="runs on import"):
            check_source(line)
    with pytest.raises(NasforgeError, match="import os"):
        check_source("import os")


def test_plans_that_cannot_be_written_are_refused() -> None:
    supergraph = _compiled(nodes=2)
    architecture = supergraph.space.sample(random.Random(0))
    wires = {name: template.open_wires(architecture) for name, template in supergraph.templates.items()}
    plan = plan_support(supergraph, wires)
    with pytest.raises(NasforgeError, match="plan for gates"):
        Case(plan, _network(plan, CATALOGUE), CATALOGUE).export()
    one, two = _case(supergraph), _case(_compiled(nodes=3))
    with pytest.raises(NasforgeError, match=r"differ in their weights: core\.cell/node2"):
        Case(one.plan, two.network, CATALOGUE).export()

    builder = GraphBuilder("final")
    main = builder.template("main")
    main.output(main.op("tanh", OperationUse("tanh"), [main.input("inputs")]))
    plan = plan_architecture(builder.finish(), {})
    with pytest.raises(NasforgeError, match="one loop over time"):
        Case(plan, one.network, CATALOGUE).export()


def test_unknown_weights_of_the_shell_are_refused() -> None:
    case = _case(_compiled(nodes=2))
    case.network.shell.register_parameter("other", torch.nn.Parameter(torch.zeros(1)))
    network = Network(case.network.shell, case.network.core)
    with pytest.raises(NasforgeError, match=re.escape("shell.other")):
        replace(case, network=network).export()


def test_operations_with_other_shapes_write_their_sizes() -> None:
    def bottleneck(config: Any, shapes: Any) -> tuple[WeightSpec, ...]:
        return (WeightSpec("scale", (5,)),)

    scaled = Operation(
        "times", "", f"{__name__}:scaled", lambda c, x, w, p: f"{x[0]} * {x[1]} * {w[0]}.sum()", weights=bottleneck
    )
    source = _foreign({**FOREIGN, "times": scaled}).export().source
    assert "nn.Parameter(torch.empty(5))" in source


def scaled(config: Options) -> Callable[..., Tensor]:
    return lambda a, b, weight: a * b * weight.sum()


# Text from users -------------------------------------------------------------------------------------------------

HOSTILE = [
    '"""; import os; """',
    '"starts and ends with quotes"',
    "ends with a backslash \\",
    "\\",
    '\\"""',
    "two\nlines\r\nand\ttabs \x00\x1b[31m\u202e",
    "braces {title} {0} {} %s $x @y",
    "\ud800 a lone surrogate, \N{SNOWMAN}, \N{GRINNING FACE} and \u2028",
    "",
    "'''",
    '""""""',
    "word " * 60,
    "x" * 400,
    "\\N{DIGIT ONE} \\u0041 \\x41",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_titles_and_facts_stay_text(text: str, tmp_path: Path) -> None:
    case = _case(_compiled(nodes=2))
    exported = case.export(text, [(text, text), ("name", text), (text, "value")])
    plain, found = ast.parse(case.export().source), ast.parse(exported.source)
    assert [ast.dump(node) for node in plain.body[1:]] == [ast.dump(node) for node in found.body[1:]]
    exported.source.encode()
    docstring = ast.get_docstring(found)
    assert docstring is not None
    assert " ".join(text.split()) in " ".join(docstring.split())
    case.model(exported, tmp_path)
    ruff(exported.source, "format", "--check")
    ruff(exported.source, "check")


def test_identifiers_follow_one_pattern() -> None:
    assert identifier("node3.masked") == "node_3_masked"
    assert identifier("9; DROP \N{SNOWMAN}") == "value_9_drop"
    assert identifier("") == "value"
    names = Namespace({"highway"})
    taken = [names.take(text) for text in ("class", "self", "print", "l", "highway", "a", "A", "a.", "x" * 99)]
    assert taken == ["class_2", "self_2", "print_2", "l_2", "highway_2", "a", "a_2", "a_3", "x" * 32]
    assert docstring_lines("a" * 10, first="> ") == ["> aaaaaaaaaa"]


# Alone -----------------------------------------------------------------------------------------------------------

ALONE = """
sys.path.insert(0, {folder!r})
import model

network, vocabulary = model.load(), model.read_vocabulary()
text = open({text!r}, encoding="utf-8").read()
print(model.perplexity(network, model.encode(text, vocabulary)))
assert not any(name.partition(".")[0] == "nasforge" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def taken_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, int]:
    """A folder with model.py, its weights and vocabulary, and a text; its perplexity by nasforge, and its tokens."""
    folder = tmp_path_factory.mktemp("home")
    rng = random.Random(0)
    words = ["the", "a", "list", "of", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "rare"]
    for split, lines in (("train", 60), ("valid", 30), ("test", 80)):
        known = [*words, "unseen"] if split == "test" else words
        sentences = [" ".join(rng.choices(known, k=rng.randint(1, 9))) for _ in range(lines)]
        (folder / f"{split}.txt").write_text("\n".join(sentences) + "\n\n", encoding="utf-8")
    corpus = {split: f"{split}.txt" for split in ("train", "valid", "test")}
    task = LanguageModel(LanguageModelOptions.model_validate({"corpus": corpus}), folder, seed=0)
    supergraph = _compiled(nodes=5)
    architecture = supergraph.space.sample(random.Random(1))
    recipe = LanguageModelRecipe(embedding_init_range=2.0)
    network = standalone(supergraph, architecture, CATALOGUE, task, recipe, width=8, seed=3)
    exported = language_model_source(
        plan_architecture(supergraph, architecture), CATALOGUE, network, title="Tiny", facts=[]
    )
    (folder / "model.py").write_text(exported.source, encoding="utf-8")
    save_file(
        {exported.names[name]: value for name, value in network.copy_values().items()}, folder / "weights.safetensors"
    )
    (folder / "vocabulary.txt").write_text("\n".join(task.corpus.vocabulary.words) + "\n", encoding="utf-8")
    score = task.evaluate(network, "test", exact=True)
    return folder, score.value, score.count


def test_perplexity_without_nasforge_is_that_of_nasforge(taken_home: tuple[Path, float, int], tmp_path: Path) -> None:
    folder, expected, n_tokens = taken_home
    assert n_tokens > 400
    documented = ast.get_docstring(ast.parse((folder / "model.py").read_text(encoding="utf-8")))
    assert documented is not None
    example = documented.partition("In Python:\n\n")[2]
    code = NO_NASFORGE + ALONE.format(folder=str(folder), text=str(folder / "test.txt")) + textwrap.dedent(example)
    done = alone("-I", "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    printed, likely_words = done.stdout.splitlines()
    assert float(printed) == pytest.approx(expected, abs=1e-4)
    assert len(ast.literal_eval(likely_words)) == 5


def test_command_line_prints_tokens_and_perplexity(taken_home: tuple[Path, float, int], tmp_path: Path) -> None:
    folder, expected, n_tokens = taken_home
    done = alone(str(folder / "model.py"), str(folder / "test.txt"), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{n_tokens} tokens, perplexity {expected:.2f}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: python model.py TEXT.txt"),
        (["--help"], "usage: python model.py TEXT.txt"),
        (["missing.txt"], "cannot score missing.txt: [Errno 2] No such file or directory: 'missing.txt'"),
        (["empty.txt"], "cannot score empty.txt: it holds no words"),
        (["latin.txt"], "cannot score latin.txt: 'utf-8' codec can't decode"),
    ],
)
def test_command_line_says_what_is_wrong(
    arguments: list[str], message: str, taken_home: tuple[Path, float, int], tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    done = alone(str(taken_home[0] / "model.py"), *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_command_line_names_missing_weights(taken_home: tuple[Path, float, int], tmp_path: Path) -> None:
    for name in ("model.py", "vocabulary.txt"):
        (tmp_path / name).write_bytes((taken_home[0] / name).read_bytes())
    done = alone("model.py", str(taken_home[0] / "test.txt"), folder=tmp_path)
    assert done.returncode == 1
    assert "weights.safetensors" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "vocabulary.txt").write_text("one\ntwo\n", encoding="utf-8")
    done = alone("model.py", str(taken_home[0] / "test.txt"), folder=tmp_path)
    assert "vocabulary.txt holds 2 words" in done.stderr
