"""The JSON schema: it takes what loading takes, and refuses what loading refuses for its form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import jsonschema
import pytest
from pydantic import Field

from nasforge import builtins
from nasforge.catalogue import SECTIONS, Catalogue
from nasforge.components import (
    ControllerKind,
    ExecutorKind,
    ExecutorOptions,
    NoOptions,
    Options,
    SpaceKind,
    StrategyKind,
    TaskKind,
    activation,
)
from nasforge.errors import SpecError
from nasforge.plugins import Plugins, build_plugins
from nasforge.recipe import Recipe
from nasforge.spec import sections
from nasforge.spec.docstrings import fields_of, summary_of
from nasforge.spec.nodes import plain
from nasforge.spec.run_spec import load_run_spec, load_space_spec
from nasforge.spec.schema import DIALECT, NAME_PATTERN, json_schema
from nasforge.spec.specs import RunSpec
from nasforge.spec.yaml_reader import read_yaml, read_yaml_text

ROOT = Path(__file__).parents[2]


class Slope(Options):
    """Parameters of ``leaky``.

    Attributes:
        slope: of negative inputs, from 0 (``relu``) to 1;
            a second line.

    More text that is no field:
        other: x
    """

    slope: float = Field(default=0.01, ge=0, le=1)


class Sharp(Options):
    power: int = Field(ge=1)


class Strided(Options):
    given: ClassVar[frozenset[str]] = frozenset({"stride"})
    power: int = 2
    stride: Literal[1, 2] = 1


class OtherSpace(Options):
    """Another space."""

    size: int
    when: Literal["early", "late"] = "early"
    shape: tuple[int, ...] = Field(default=(), strict=False)


class OtherExecutor(ExecutorOptions):
    share: Literal["layer", "edge"] = "layer"
    hidden: int = 3


class OtherRecipe(Recipe):
    """Another recipe.

    Attributes:
        rate: of something.
    """

    rate: float
    speed: int


def _none(config: object) -> int:
    return 0


def _nothing(*_: object) -> None:
    """A kind that builds nothing."""


def _strategy(name: str, **options: Any) -> StrategyKind:
    return StrategyKind(
        name, "s", "a:b", config=NoOptions, passes=_none, evaluations=_none, group=_none, uniform=_none, **options
    )


def plugins() -> Plugins:
    """The built-ins, and components of every other shape."""
    extra: dict[Any, Sequence[object]] = {
        "operations": [
            activation("leaky", "s", "a:b", "F.leaky_relu({x}, {slope})", config=Slope),
            activation("sharp", "s", "a:b", "{x}", config=Sharp),
            activation("strided", "s", "a:b", "{x}", config=Strided),
        ],
        "kinds": [SpaceKind("other_kind", "s", OtherSpace, _nothing, share=("layer", "edge"))],
        "controllers": [ControllerKind("plain", "s", "a:b")],
        "executors": [ExecutorKind("other", "s", "a:b", OtherExecutor)],
        "strategies": [_strategy("bare"), _strategy("half", defaults={"controller": "lstm"})],
        "tasks": [
            TaskKind(
                "other_task",
                "s",
                "a:b",
                config=NoOptions,
                recipe=OtherRecipe,
                prepare="a:b",
                kinds=("other_kind",),
                search_recipe={"rate": 2.0, "speed": 1},
            )
        ],
    }
    own = {section.name: getattr(builtins, section.hook)() for section in SECTIONS}
    return Plugins(Catalogue().extended("nasforge", own).extended("extra", extra), (), ())


PLUGINS = plugins()
SCHEMA = json_schema(PLUGINS.catalogue)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

SPACE = """\
nasforge: 1
name: tiny
space:
  kind: recurrent_cell
  nodes: 4
  each:
    input: {choose: 1, from: previous}
    op: {choose: 1, from: [tanh, relu]}
task:
  kind: language_model
"""
OTHER = """\
nasforge: 1
name: other
space: {kind: other_kind, size: 3}
task: {kind: other_task}
train: {recipe: {rate: 1.0, speed: 2}}
"""


def refusals(text: str) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(plain(read_yaml_text(text, "x")))]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT


def schemas(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from schemas(each)
    elif isinstance(value, list):
        for each in value:
            yield from schemas(each)


def test_every_reference_leads_somewhere_and_every_definition_is_used() -> None:
    named = {each["$ref"] for each in schemas(SCHEMA) if isinstance(each.get("$ref"), str)}
    assert named == {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


# It takes what loading takes


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_space_validates(path: Path) -> None:
    data = plain(read_yaml(path))
    assert isinstance(data, dict)
    installed = build_plugins()
    missing = set(data.get("plugins", [])) - {info.distribution for info in installed.listing}
    if missing:
        pytest.skip(f"not installed here: {missing}")
    validator = jsonschema.Draft202012Validator(json_schema(installed.catalogue))
    assert [error.message for error in validator.iter_errors(data)] == []


VALID = [
    SPACE,
    SPACE + "plugins: []\nworkers: 3\nseed: 5\ncompare: {random: false}\n",
    SPACE + "workers: null\nderive: {}\ntrain: {}\ncompare: {}\n",
    SPACE + "compare: {correlation: 0}\nprofiles: {a: {compare: {correlation: 3}}}\n",
    SPACE + "executor: {share: edge_op, hidden: 3, recipe: {betas: [0.5, 0.6], clip_norm: null}}\n",
    SPACE + "strategy: {epochs: 1, warmup_epochs: 1, controller_steps: 0}\ncontroller: random\n",
    SPACE + "strategy: enas\ncontroller: {units: 8}\nexecutor: shared_weights\n",
    SPACE + "strategy: half\nexecutor: shared_weights\ncontroller: {units: 8}\n",
    SPACE + "strategy: {kind: bare}\nexecutor: shared_weights\ncontroller: plain\n",
    SPACE.replace("[tanh, relu]", "[tanh, leaky, leaky: {slope: 0.5}, sharp: {power: 2}]"),
    SPACE.replace("[tanh, relu]", "[tanh: , relu: {}]"),
    SPACE.replace("[tanh, relu]", "[strided, strided: {power: 3}]"),
    SPACE.replace("  each:", "  first: {op: identity}\n  output: {of: all, clip_norm: null}\n  each:"),
    SPACE.replace("  each:", "  first: {op: {choose: 1, from: [leaky: {slope: 1}]}}\n  each:"),
    SPACE.replace("  each:", "  first: null\n  each:"),
    SPACE + "  corpus: {train: 'a: b', valid: 'no', test: é}\n",
    SPACE + "limits: null\nprofiles: {a: {limits: {depth: 3}}, b: {limits: {count: {relu: {min: 1}}}}}\n",
    SPACE + "limits: {parameters: 5M, flops: {max: 1.5G}, depth: {min: 2, max: 3}, count: {tanh: 0, relu: 2k}}\n",
    SPACE + "profiles: {}\n",
    SPACE
    + "profiles: {a: {space: {nodes: 3}, controller: {units: 3}}, b: {controller: random, strategy: {epochs: 3}}}\n",
    SPACE
    + "profiles: {a: {space: {each: {op: {choose: 1}}}, executor: {recipe: {bptt: 3}}, train: {recipe: {bptt: 3}}}}\n",
    SPACE + "controller: random\nprofiles: {a: {controller: {kind: lstm, units: 3}}}\n",
    OTHER,
    OTHER + "executor: {kind: other, share: layer, recipe: {rate: 3}}\nprofiles: {a: {train: {recipe: {speed: 3}}}}\n",
    OTHER.replace("size: 3", "size: 3, when: late, shape: [1, 2]"),
]


@pytest.mark.parametrize("text", VALID)
def test_what_loading_takes_the_schema_takes(text: str) -> None:
    data = plain(read_yaml_text(text, "x"))
    assert isinstance(data, dict)
    for profile in data.get("profiles", {None: None}):
        load_run_spec(read_yaml_text(text, "x"), PLUGINS, profile=profile)
    assert refusals(text) == []


@pytest.mark.parametrize("text", VALID)
def test_the_resolved_form_validates(text: str) -> None:
    resolved = load_run_spec(read_yaml_text(text, "x"), PLUGINS).resolved()
    # Tuples are lists in the file; `is_valid` knows lists only.
    assert [error.message for error in VALIDATOR.iter_errors(resolved)] == []


# It refuses what loading refuses for its form

BROKEN = {
    "an unknown key at the top": (SPACE + "bogus: 1\n", "bogus"),
    "a misspelt key of the space": (SPACE.replace("nodes:", "ndoes:"), "ndoes"),
    "a misspelt key further in": (SPACE.replace("    op:", "    opp:"), "opp"),
    "an unknown key of the task": (SPACE + "  bogus: 1\n", "bogus"),
    "an unknown key of a strategy": (SPACE + "strategy: {kind: enas, epoch: 3}\n", "epoch"),
    "an unknown key of the default strategy": (SPACE + "strategy: {epoch: 3}\n", "epoch"),
    "an unknown key of the default controller": (SPACE + "controller: {unit: 3}\n", "unit"),
    "an unknown key of a component without options": (SPACE + "controller: {kind: plain, units: 3}\n", "units"),
    "an unknown key of a recipe": (SPACE + "train: {recipe: {btpt: 3}}\n", "btpt"),
    "an unknown key of the search's recipe": (SPACE + "executor: {recipe: {btpt: 3}}\n", "btpt"),
    "a recipe's key of another task": (SPACE + "train: {recipe: {rate: 3.0}}\n", "rate"),
    "a recipe that is no mapping": (SPACE + "train: {recipe: 3}\n", "3"),
    "an unknown parameter": (SPACE.replace("relu]", "leaky: {slop: 1}]"), "slop"),
    "a parameter out of range": (SPACE.replace("relu]", "leaky: {slope: 2}]"), "leaky"),
    "a parameter that the network gives": (SPACE.replace("relu]", "strided: {stride: 2}]"), "stride"),
    "a missing parameter": (SPACE.replace("relu]", "sharp]"), "sharp"),
    "an unknown operation": (SPACE.replace("relu]", "rleu]"), "rleu"),
    "an operation for kinds only": (SPACE.replace("relu]", "projection]"), "projection"),
    "two operations in one": (SPACE.replace("relu]", "{tanh: {}, leaky: {}}]"), "leaky"),
    "an operation twice": (SPACE.replace("relu]", "tanh]"), "non-unique"),
    "no operation": (SPACE.replace("[tanh, relu]", "[]"), "[]"),
    "one operation without a list": (SPACE.replace("[tanh, relu]", "tanh"), "tanh"),
    "an unknown space kind": (SPACE.replace("recurrent_cell", "recurent_cell"), "recurent_cell"),
    "an unknown task": (SPACE.replace("language_model", "language"), "language"),
    "an unknown strategy by name": (SPACE + "strategy: enass\n", "enass"),
    "an unknown controller by kind": (SPACE + "controller: {kind: lstn}\n", "lstn"),
    "a task that does not fit": (SPACE.replace("language_model", "other_task"), "recurrent_cell"),
    "no kind": (SPACE.replace("  kind: recurrent_cell\n", ""), "kind"),
    "no nodes": (SPACE.replace("  nodes: 4\n", ""), "nodes"),
    "no name": (SPACE.replace("name: tiny\n", ""), "name"),
    "a stack of a kind that has none": (SPACE + "train: {stack: {channels: 8}}\n", "False schema"),
    "a strategy that has no default controller": (SPACE + "strategy: bare\nexecutor: shared_weights\n", "controller"),
    "no kind where the strategy has none": (SPACE + "strategy: half\nexecutor: {hidden: 3}\n", "kind"),
    "no nodes at all": (SPACE.replace("nodes: 4", "nodes: 0"), "nodes: 0"),
    "too many nodes": (SPACE.replace("nodes: 4", "nodes: 65"), "nodes: 65"),
    "a text for a number": (SPACE.replace("nodes: 4", "nodes: four"), "four"),
    "a truth for a number": (SPACE.replace("nodes: 4", "nodes: true"), "True"),
    "a number for a truth": (SPACE + "compare: {random: 1}\n", "1"),
    "too few for a correlation": (SPACE + "compare: {correlation: 2}\n", "2"),
    "null for a number": (SPACE.replace("nodes: 4", "nodes:"), "None"),
    "null for a section": (SPACE + "strategy:\n", "None"),
    "another format": (SPACE.replace("nasforge: 1", "nasforge: 2"), "1"),
    "a name with a slash": (SPACE.replace("tiny", "../tiny"), "../tiny"),
    "a fraction of 1": (SPACE + "train: {recipe: {dropout_input: 1}}\n", "maximum"),
    "a list that is too short": (SPACE + "train: {recipe: {betas: [0.9]}}\n", "short"),
    "another word": (SPACE.replace("  each:", "  output: {of: leafs}\n  each:"), "leafs"),
    "choosing two": (SPACE.replace("op: {choose: 1", "op: {choose: 2"), "1"),
    "an unknown corpus": (SPACE + "  corpus: ptp\n", "ptp"),
    "a sharing scope of another kind": (OTHER + "executor: {kind: shared_weights, share: node}\n", "node"),
    "a plugin that is no name": (SPACE + "plugins: ['a b']\n", "a b"),
    "plugins that are no list": (SPACE + "plugins: a\n", "a"),
    "a negative seed": (SPACE + "seed: -1\n", "minimum"),
    "objectives as a mapping": (SPACE + "objectives: {}\n", "objectives"),
    "an objective without a direction": (SPACE + "objectives: [parameters]\n", "parameters"),
    "three objectives": (SPACE + "objectives: [min a, min b, min c]\n", "min a"),
    "a latency of words": (SPACE + "limits: {latency_ms: 3ms}\n", "3ms"),
    "a limit on something else": (SPACE + "limits: {parameter: 5M}\n", "parameter"),
    "a limit with another suffix": (SPACE + "limits: {parameters: 5m}\n", "5m"),
    "a limit of nothing": (SPACE + "limits: {depth: 0}\n", "'depth': 0"),
    "a limit with another side": (SPACE + "limits: {flops: {mx: 5M}}\n", "mx"),
    "a limit with no side": (SPACE + "limits: {flops: {}}\n", "flops"),
    "limits on operations as a list": (SPACE + "limits: {count: [tanh]}\n", "tanh"),
    "a count below zero": (SPACE + "limits: {count: {tanh: -1}}\n", "-1"),
    "a broken limit in a profile": (SPACE + "profiles: {quick: {limits: {flops: 5m}}}\n", "5m"),
    "a profile that is no mapping": (SPACE + "profiles: {quick: 3}\n", "3"),
    "profiles in a profile": (SPACE + "profiles: {quick: {profiles: {}}}\n", "profiles"),
    "the format in a profile": (SPACE + "profiles: {quick: {nasforge: 1}}\n", "nasforge"),
    "an unknown key in a profile": (SPACE + "profiles: {quick: {bogus: 1}}\n", "bogus"),
    "a misspelt key in a profile's section": (SPACE + "profiles: {quick: {space: {node: 3}}}\n", "node"),
    "a misspelt recipe key in a profile": (SPACE + "profiles: {quick: {train: {recipe: {btpt: 3}}}}\n", "btpt"),
    "a wrong type in a profile": (SPACE + "profiles: {quick: {train: {epochs: many}}}\n", "many"),
    "an unknown operation in a profile": (
        SPACE + "profiles: {quick: {space: {each: {op: {from: [tahn]}}}}}\n",
        "tahn",
    ),
    "options of another component in a profile": (
        SPACE + "controller: random\nprofiles: {quick: {controller: {units: 3}}}\n",
        "units",
    ),
    "an unknown kind in a profile": (SPACE + "profiles: {quick: {controller: rnadom}}\n", "rnadom"),
}


def test_a_space_without_a_task_is_sound_for_an_editor_but_cannot_be_run() -> None:
    text = SPACE.replace("task:\n  kind: language_model\n", "")
    assert not refusals(text)
    with pytest.raises(SpecError, match="missing key 'task'"):
        load_run_spec(read_yaml_text(text, "x"), PLUGINS)
    assert not isinstance(load_space_spec(read_yaml_text(text, "x"), PLUGINS), RunSpec)


@pytest.mark.parametrize("what", BROKEN)
def test_what_loading_refuses_for_its_form_the_schema_refuses(what: str) -> None:
    text, said = BROKEN[what]
    with pytest.raises(SpecError):
        load_run_spec(read_yaml_text(text, "x"), PLUGINS)
    found = refusals(text)
    assert found and any(said in each for each in found), found


def test_there_are_more_than_thirty() -> None:
    assert len({text for text, _ in BROKEN.values()}) == len(BROKEN) > 30


# What an editor shows


def test_every_field_of_a_built_in_is_described() -> None:
    installed = {section.name: getattr(builtins, section.hook)() for section in SECTIONS}
    own = json_schema(Catalogue().extended("nasforge", installed))
    bare = [
        f"{name}.{key}"
        for name, definition in [*own["$defs"].items(), ("", own)]
        for key, value in definition.get("properties", {}).items()
        if not value.get("description")
    ]
    assert bare == []


def test_defaults_are_those_of_the_models_and_of_the_search() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["controller.lstm"]["properties"]["units"]["default"] == 100
    assert definitions["task.language_model.recipe"]["properties"]["learning_rate"]["default"] == 1.2e-2
    assert definitions["task.language_model.search_recipe"]["properties"]["learning_rate"]["default"] == 8e-3
    assert definitions["task.other_task.recipe"]["required"] == ["rate", "speed"]
    assert not definitions["task.other_task.search_recipe"]["required"]
    assert definitions["ChooseInput"]["properties"]["from"]["default"] == "previous"


def test_every_default_validates() -> None:
    for schema in schemas(SCHEMA):
        if "default" in schema and isinstance(schema.get("default"), str | int | float | bool | list | None):
            part = {**schema, "$defs": SCHEMA["$defs"]}
            assert jsonschema.Draft202012Validator(part).is_valid(schema["default"]), schema


def test_names_of_runs_have_one_form() -> None:
    assert re.fullmatch(r"\^(.*)\$", NAME_PATTERN).group(1) == sections._NAME.pattern  # type: ignore[union-attr]


def test_docstrings_are_read_up_to_the_next_section() -> None:
    assert summary_of(Slope) == "Parameters of `leaky`."
    assert fields_of(Slope) == {"slope": "of negative inputs, from 0 (`relu`) to 1; a second line."}
    assert fields_of(OtherRecipe)["rate"] == "of something."
    assert fields_of(OtherRecipe)["momentum"] == fields_of(Recipe)["momentum"]
    assert (summary_of(Sharp), fields_of(Sharp)) == ("", {})
