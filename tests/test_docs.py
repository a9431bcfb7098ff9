"""The documentation says what the code does: its hooks, paths, names, YAML, links, defaults and numbers are checked."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from math import factorial
from pathlib import Path
from typing import Any

import pytest

from nasforge import builtins, hookspecs
from nasforge.catalogue import SECTIONS
from nasforge.components import Operation, Stage
from nasforge.controllers.base import Controller
from nasforge.controllers.options import LstmOptions
from nasforge.graph.builder import GraphBuilder
from nasforge.plugins import Plugins, build_plugins
from nasforge.resolve import resolve
from nasforge.run.compile import compile_space
from nasforge.space.search_space import SearchSpace
from nasforge.spec.nodes import plain
from nasforge.spec.run_spec import load_run_spec, load_space_spec
from nasforge.spec.specs import RunSpec
from nasforge.spec.yaml_reader import read_value, read_yaml_text
from nasforge.testing.controllers import ControllerContract
from nasforge.testing.operations import OperationCase, check_operation

ROOT = Path(__file__).parent.parent
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))}
TUTORIAL = PAGES["writing-a-plugin.md"]
ENAS = PAGES["enas.md"]
TEXTS = {**PAGES, "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"\b(?:nasforge|docs|tests|spaces|plugins)/[\w./-]*[\w/]")
_DOTTED = re.compile(r"\bnasforge(?:\.[A-Za-z_]\w*)+")
_LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\(([^)\s]+)\)")


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in _BLOCK.findall(text) if found == language]


@cache
def signatures() -> Mapping[str, str]:
    """Every hook and its signature, as its source says."""
    tree = ast.parse(Path(hookspecs.__file__).read_text(encoding="utf-8"))
    return {
        node.name: f"def {node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}: ..."
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(each) == "hookspec" for each in node.decorator_list)
        if node.returns is not None
    }


@pytest.fixture(scope="module")
def tutorial_plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    """What a reader has who saved the first Python block of the tutorial."""
    file = tmp_path_factory.mktemp("tutorial") / "my_activations.py"
    file.write_text(blocks(TUTORIAL, "python")[0], encoding="utf-8")
    return build_plugins([file])


# Hooks and components ------------------------------------------------------------------------------------------------


def test_every_hook_is_known() -> None:
    assert set(signatures()) == {section.hook for section in SECTIONS}


@pytest.mark.parametrize("hook", signatures())
def test_a_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    assert signatures()[hook] in [block.strip() for block in blocks(TUTORIAL, "python")]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.word)
def test_every_field_of_a_component_is_documented(section: Any) -> None:
    after = TUTORIAL.partition(signatures()[section.hook])[2].partition("\n### ")[0].partition("\n## ")[0]
    common = TUTORIAL.partition("\n## The hooks")[2].partition("\n### ")[0]
    for field in dataclasses.fields(section.component):
        assert f"| `{field.name}` |" in common + after, f"{section.component.__name__}.{field.name}"


def test_activation_is_documented_with_its_exact_signature() -> None:
    source = (ROOT / "nasforge" / "components.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "activation":
            assert node.returns is not None
            written = re.sub(r"(?<=[\w\]])=(?=[\w'])", " = ", ast.unparse(node.args))
            assert f"`activation({written}) -> {ast.unparse(node.returns)}`" in TUTORIAL
            return
    raise AssertionError("nasforge.components.activation is gone")


# The tutorial works --------------------------------------------------------------------------------------------------


def test_the_plugin_of_the_tutorial_loads(tutorial_plugins: Plugins) -> None:
    mine = [info for info in tutorial_plugins.listing if info.name == "my_activations.py"]
    assert [info.registered["operations"] for info in mine] == [("signed_root", "elu")]
    assert [failure for failure in tutorial_plugins.failures if failure.distribution is None] == []


def test_the_operations_of_the_tutorial_keep_the_contract(tutorial_plugins: Plugins) -> None:
    for name, parameters in {"signed_root": {}, "elu": {"alpha": 0.5}}.items():
        check_operation(tutorial_plugins.catalogue.operations[name], [OperationCase(parameters=parameters)])


class TestTheControllerOfTheTutorial(ControllerContract):
    @pytest.fixture(autouse=True)
    def load(self, tmp_path: Path) -> None:
        (text,) = (block for block in blocks(TUTORIAL, "python") if "def nasforge_controllers():\n" in block)
        (tmp_path / "climb.py").write_text(text, encoding="utf-8")
        plugins = build_plugins([tmp_path / "climb.py"])
        assert [failure for failure in plugins.failures if failure.distribution is None] == []
        self.kind = plugins.catalogue.controllers["climb"]

    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        made: Controller = resolve(self.kind.build)(space, self.kind.config(), seed=seed)
        return made


def test_the_plugin_of_the_tutorial_imports_no_torch_on_loading() -> None:
    tree = ast.parse(blocks(TUTORIAL, "python")[0])
    assert not any("torch" in ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))


SPECS = {
    f"{name}-{number}": block
    for name, text in TEXTS.items()
    for number, block in enumerate(blocks(text, "yaml"))
    if block.startswith("nasforge:")
}


@pytest.mark.parametrize("name", SPECS)
def test_a_whole_spec_in_the_documentation_loads(name: str, tutorial_plugins: Plugins, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPECS[name], encoding="utf-8")
    spec = load_space_spec(file, tutorial_plugins)
    assert compile_space(spec, "search", tutorial_plugins.catalogue.operations).space.size > 0


def test_there_are_specs_to_load() -> None:
    assert SPECS


def test_every_sharing_scope_of_every_kind_is_in_the_table() -> None:
    table = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8").partition("## Sharing weights")[2]
    for kind in builtins.nasforge_space_kinds():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| `{kind.name}` |"))
        assert re.findall(r"`(\w+)` \(", row) == list(kind.share)


# Names, paths, links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", TEXTS)
def test_every_path_that_is_named_exists(page: str) -> None:
    missing = [path for path in _PATH.findall(TEXTS[page]) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("page", TEXTS)
def test_every_dotted_name_exists(page: str) -> None:
    assert [name for name in _DOTTED.findall(TEXTS[page]) if not _exists(name)] == []


def test_every_function_that_is_named_beside_a_file_is_in_it() -> None:
    """In the tables of the algorithm a file is followed by the functions that hold the formula."""
    checked = 0
    for file, names in re.findall(r"`(nasforge/[\w/]+\.py)`((?:, `[\w.]+`)+)", ENAS):
        defined = set(_definitions(ast.parse((ROOT / file).read_text(encoding="utf-8")).body))
        for name in re.findall(r"`([\w.]+)`", names):
            assert name in defined, f"{file} defines no {name}"
            checked += 1
    assert checked > 30


def _definitions(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _definitions(node.body, f"{prefix}{node.name}.")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (prefix + ast.unparse(each) for each in (getattr(node, "targets", None) or [node.target]))  # type: ignore[union-attr]


def _exists(dotted: str) -> bool:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if length > 1 and importlib.util.find_spec(".".join(parts[: length - 1])) is None:
            continue
        try:
            found: Any = importlib.import_module(name)
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", PAGES)
def test_internal_links_lead_somewhere(page: str) -> None:
    for target in _LINK.findall(PAGES[page]):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        assert file == "" or file in PAGES, f"{page}: no page {file}"
        if anchor:
            assert anchor in _anchors(PAGES[file or page]), f"{page}: no heading for {target}"


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#{1,3} (.+)$", re.sub(_BLOCK, "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = PAGES["index.md"].partition("```{toctree}")[2].partition("```")[0].split()
    assert {f"{name}.md" for name in listed if not name.startswith(":")} == PAGES.keys() - {"index.md"}


# What docs/operations.md says -----------------------------------------------------------------------------------------


def test_the_tables_of_operations_hold_the_built_in_ones_with_their_parameters() -> None:
    page = PAGES["operations.md"]
    sections = {
        "activation": "In recurrent cells",
        "image": "In networks of images",
        "structure": "Used by space kinds",
    }
    operations = builtins.nasforge_operations()
    for family, heading in sections.items():
        section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        found = dict(re.findall(r"^\| `(\w+)` \| ?([^|]*?) ?\| .+ \|$", section, re.MULTILINE))
        assert found == {each.name: _parameters(each) for each in operations if family in each.families}


def _parameters(operation: Operation) -> str:
    fields = {name: f for name, f in operation.config.model_fields.items() if name not in operation.config.given}
    return ", ".join(f"`{name}`" + ("" if f.is_required() else f" = {f.default}") for name, f in fields.items())


# What docs/enas.md says ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_spec(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    """A spec that says no more than it must, so that everything else is a default."""
    file = tmp_path_factory.mktemp("plain") / "space.yaml"
    file.write_text(
        "nasforge: 1\nname: plain\ntask: {kind: language_model}\nspace:\n  kind: recurrent_cell\n  nodes: 12\n"
        "  each: {op: {choose: 1, from: [tanh, relu, sigmoid, identity]}}\n",
        encoding="utf-8",
    )
    return load_run_spec(file, build_plugins())


def test_the_table_of_settings_holds_the_defaults(plain_spec: RunSpec) -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \|", ENAS, re.MULTILINE)
    assert len(rows) > 35
    resolved = plain_spec.resolved()
    wrong = {}
    for path, said in rows:
        value: Any = resolved
        for key in path.split("."):
            value = value[key]
        if plain(read_value(said, path)) != value:
            wrong[path] = f"said {said}, is {value}"
    assert wrong == {}


def test_every_option_that_restores_the_paper_exists(plain_spec: RunSpec) -> None:
    resolved = plain_spec.resolved()
    named = set(re.findall(r"`((?:space|task|strategy|controller|executor|derive|train|compare)\.\w+)", ENAS))
    assert len(named) > 20
    assert [name for name in sorted(named) if name.split(".")[1] not in resolved[name.split(".")[0]]] == []


IMAGES = ENAS.partition("\n## The controller of networks for images\n")[2].partition("\n## ")[0]


def test_the_settings_of_the_first_macro_search_are_options() -> None:
    (block,) = blocks(IMAGES, "yaml")
    root: Any = plain(read_yaml_text(block, "block"))
    options = LstmOptions.model_validate(root["controller"])
    assert (options.tanh_constant, options.skip_target) == (1.5, 0.4)
    assert options.skip_weight == pytest.approx(0.8 * 66 / 11)


@pytest.mark.parametrize("name", ["cifar10_micro", "cifar10_macro"])
def test_the_decisions_of_the_spaces_for_images_are_counted_right(name: str) -> None:
    spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", build_plugins())
    roles = Counter(
        each.role for each in compile_space(spec, "search", build_plugins().catalogue.operations).space.decisions
    )
    said = {
        "cifar10_micro": f"{roles['input']} inputs, {roles['op']} operations",
        "cifar10_macro": f"{roles['op']} operations, {roles['bit']} skip connections",
    }
    assert f"| `spaces/{name}.yaml` | {said[name]} |" in IMAGES


def test_the_probabilities_of_the_first_micro_controller_are_right() -> None:
    def most(n_options: int, bound: float) -> float:
        return 1 / (1 + (n_options - 1) * math.exp(-2 * bound))

    def starts(favoured: float, other: float) -> list[str]:
        total = 2 * math.exp(favoured) + 3 * math.exp(other)
        return [f"{math.exp(logit) / total:.3f}" for logit in (favoured, other)]

    without, with_constant = starts(0.44, 0.0), starts(0.44 + 0.25, -0.25)
    assert re.search(rf"probability of {without[0]} each, against {without[1]} of the others", _flat(IMAGES))
    assert f"with the constant: {with_constant[0]} against {with_constant[1]}" in _flat(IMAGES)
    assert f"can ever have is {most(5, 0.44):.3f}" in _flat(IMAGES)
    assert f"one of six can reach {most(6, 1.1):.3f}" in _flat(IMAGES)
    assert f"one operation of five can reach {most(5, 2.5):.3f}" in _flat(IMAGES)
    assert f"{1 - math.tanh(10) ** 2:.0e}".replace("e-0", "e-") in IMAGES
    assert f"= {0.4**2 / (0.4**2 + 0.6**2):.3f}" in IMAGES


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_the_sizes_of_the_space_are_right(plain_spec: RunSpec) -> None:
    size = compile_space(plain_spec, "search", {}).space.size
    assert size == 4**12 * factorial(11)
    trees = _coloured_trees(12, 4)
    assert f"{size:,}" in ENAS
    assert f"{4**12 * factorial(12):,}" in ENAS
    assert f"{trees[12]:,} distinct cells" in ENAS
    assert f"{round(size / trees[12]):,} ways on average" in ENAS
    assert all(f"{trees[n]:,}" in ENAS for n in (1, 2, 3, 4, 5, 6, 8))


def _coloured_trees(n_nodes: int, colours: int) -> list[int]:
    """Rooted unordered trees by number of nodes, whose nodes have one of some colours."""
    trees = [0, colours]
    for n in range(1, n_nodes):
        sums = [sum(d * trees[d] for d in range(1, k + 1) if k % d == 0) for k in range(n + 1)]
        trees.append(sum(sums[k] * trees[n - k + 1] for k in range(1, n + 1)) // n)
    return trees


@pytest.mark.parametrize(("share", "n_sets"), [("node", 13), ("edge", 68), ("edge_op", 272)])
def test_the_sizes_of_the_weight_tables_are_right(plain_spec: RunSpec, share: str, n_sets: int) -> None:
    builder = GraphBuilder("search")
    plain_spec.space_kind.build(plain_spec.space, builder, Stage("search", share))
    cell = builder.finish().template("cell")
    keys = {node.share for node in cell.nodes.values() if node.operation and node.operation.name == "projection"}
    assert len(keys) == n_sets
    assert re.search(rf"^\| `{share}` \|.*{n_sets} \|$", ENAS, re.MULTILINE)
