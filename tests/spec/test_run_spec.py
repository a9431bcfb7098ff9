"""The run spec: defaults, recipes, the resolved form, and every kind of fault at its place."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
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
from nasforge.errors import PluginError, Problem, SpecError, UsageError
from nasforge.executors.options import SharedWeightsOptions, StandaloneOptions
from nasforge.graph.limits import Bound
from nasforge.graph.supergraph import OperationUse
from nasforge.kinds.recurrent_cell import RecurrentCellSpec
from nasforge.plugins import PluginFailure, Plugins, build_plugins
from nasforge.recipe import Recipe
from nasforge.spec.nodes import plain
from nasforge.spec.resolved import to_plain, to_yaml
from nasforge.spec.run_spec import load_run_spec
from nasforge.spec.specs import RunSpec
from nasforge.spec.yaml_builder import MAX_PROBLEMS
from nasforge.spec.yaml_reader import read_yaml_text
from nasforge.strategies.options import EnasOptions
from nasforge.tasks.options import LanguageModelOptions, LanguageModelRecipe

ROOT = Path(__file__).parents[2]
ACTIVATIONS = ROOT / "plugins" / "nasforge-activations"

SPACE = """\
nasforge: 1
name: tiny
space:
  kind: recurrent_cell
  nodes: 4
  each:
    op: {choose: 1, from: [tanh, relu]}
task:
  kind: language_model
"""


class Slope(Options):
    slope: float = Field(default=0.01, ge=0, le=1)


class Strided(Options):
    given: ClassVar[frozenset[str]] = frozenset({"stride"})
    kernel: int
    stride: int = 1


class OtherOptions(ExecutorOptions):
    share: Literal["layer", "edge"] = "layer"
    hidden: int = 3


class Outside(ExecutorOptions):
    share: Literal["layer"] = "layer"
    hidden: int = 3


class OtherRecipe(Recipe):
    rate: float = 1.0


def _none(config: object) -> int:
    return 0


def _nothing(*_: object) -> None:
    """A kind that builds nothing."""


def plugins() -> Plugins:
    """The built-ins, and components that the built-ins have no example of."""
    extra: dict[Any, Sequence[object]] = {
        "operations": [
            activation("leaky", "s", "a:b", "F.leaky_relu({x}, {slope})", config=Slope),
            activation("strided", "s", "a:b", "{x}", config=Strided),
        ],
        "kinds": [SpaceKind("other_kind", "s", NoOptions, _nothing, share=("layer", "edge"))],
        "controllers": [ControllerKind("plain", "s", "a:b")],
        "executors": [ExecutorKind("other", "s", "a:b", OtherOptions), ExecutorKind("outside", "s", "a:b", Outside)],
        "strategies": [
            StrategyKind(
                "bare", "s", "a:b", config=NoOptions, passes=_none, evaluations=_none, group=_none, uniform=_none
            ),
            StrategyKind(
                "half",
                "s",
                "a:b",
                config=NoOptions,
                passes=_none,
                evaluations=_none,
                group=_none,
                uniform=_none,
                defaults={"controller": "lstm"},
            ),
        ],
        "tasks": [
            TaskKind(
                "other_task",
                "s",
                "a:b",
                config=NoOptions,
                recipe=OtherRecipe,
                prepare="a:b",
                kinds=("other_kind",),
                search_recipe={"rate": 2.0},
            )
        ],
    }
    # Not `build_plugins`: what is installed here must not matter.
    own = {section.name: getattr(builtins, section.hook)() for section in SECTIONS}
    return Plugins(Catalogue().extended("nasforge", own).extended("extra", extra), (), ())


PLUGINS = plugins()


def load(text: str, **arguments: Any) -> RunSpec:
    return load_run_spec(read_yaml_text(text, "x.yaml"), arguments.pop("plugins", PLUGINS), **arguments)


def faults(text: str, **arguments: Any) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        load(text, **arguments)
    assert caught.value.exit_code == 2
    return caught.value.problems


def underlined(problem: Problem) -> str:
    assert problem.line is not None and problem.column is not None
    return problem.line[problem.column - 1 : problem.column - 1 + problem.length]


# What a short spec becomes


def test_what_the_network_gives_is_no_parameter() -> None:
    space = load(SPACE.replace("[tanh, relu]", "[strided: {kernel: 3}]")).space
    assert isinstance(space, RecurrentCellSpec)
    assert space.each.op.from_ == (OperationUse("strided", (("kernel", 3),)),)
    (problem, *_) = faults(SPACE.replace("[tanh, relu]", "[strided: {width: 3}]"))
    assert problem.hint == "'strided' takes kernel"


def test_a_section_that_is_absent_takes_its_defaults() -> None:
    spec = load(SPACE)
    assert (spec.name, spec.seed, spec.plugins, spec.workers, spec.profile) == ("tiny", 0, (), None, None)
    assert isinstance(spec.space, RecurrentCellSpec)
    assert spec.space.nodes == 4
    assert spec.space_kind is PLUGINS.catalogue.kinds["recurrent_cell"]
    assert spec.task == LanguageModelOptions()
    assert (spec.strategy, spec.strategy_kind.name) == (EnasOptions(), "enas")
    assert spec.controller_kind.name == "lstm"
    assert (spec.executor, spec.executor_kind.name) == (SharedWeightsOptions(), "shared_weights")
    assert (spec.derive.candidates, spec.derive.shortlist, spec.derive.short_epochs) == (24, 4, 1)
    assert (spec.train.hidden, spec.train.epochs) == (128, 6)
    assert (spec.compare.random, spec.compare.references, spec.compare.correlation) == (True, True, 0)


def test_the_task_lays_its_search_recipe_under_the_users_values() -> None:
    spec = load(SPACE)
    assert spec.search_recipe == LanguageModelRecipe(learning_rate=8e-3)
    assert spec.final_recipe == LanguageModelRecipe()
    text = SPACE + "executor: {recipe: {dropout_input: 0.1}}\ntrain: {recipe: {learning_rate: 20}}\n"
    spec = load(text)
    assert spec.search_recipe == LanguageModelRecipe(learning_rate=8e-3, dropout_input=0.1)
    assert spec.final_recipe == LanguageModelRecipe(learning_rate=20.0)
    spec = load(SPACE, overrides=["executor.recipe.learning_rate=1"])
    assert spec.search_recipe == LanguageModelRecipe(learning_rate=1.0)
    assert spec.executor == SharedWeightsOptions()


@pytest.mark.parametrize("section", ["strategy: enas", "strategy: {kind: enas}", "strategy: {}"])
def test_a_bare_name_is_short_for_a_kind(section: str) -> None:
    assert load(SPACE + section) == load(SPACE)


def test_options_of_a_profile_join_the_section_that_the_file_names() -> None:
    text = SPACE + "strategy: enas\nprofiles: {more: {strategy: {epochs: 9}}, other: {controller: random}}\n"
    assert load(text, profile="more").strategy == EnasOptions(epochs=9)
    assert load(text, profile="other").controller_kind.name == "random"
    text = SPACE + "controller: {kind: lstm, units: 7}\n"
    assert load(text, overrides=["controller=random"]).controller_kind.name == "random"
    assert load(text, overrides=["controller=lstm"]).resolved()["controller"]["units"] == 7


def test_an_override_wins_over_a_profile_and_the_seed_over_both() -> None:
    text = SPACE + "train: {epochs: 2}\nprofiles: {quick: {seed: 3, train: {epochs: 4}}}\n"
    spec = load(text)
    assert (spec.profile, spec.seed, spec.train.epochs) == ("quick", 3, 4)
    spec = load(text, overrides=["train.epochs=5", "seed=6"], seed=7)
    assert (spec.seed, spec.train.epochs) == (7, 5)


def test_a_component_without_options_takes_only_its_kind() -> None:
    spec = load(SPACE + "controller: plain\n")
    assert (spec.controller, spec.controller_kind.name) == (NoOptions(), "plain")
    assert spec.resolved()["controller"] == {"kind": "plain"}
    (problem,) = faults(SPACE + "controller: {kind: plain, units: 3}\n")
    assert (underlined(problem), problem.message, problem.hint) == (
        "units",
        "unknown key 'units' in `controller`.",
        "it takes no keys",
    )


def test_where_the_default_scope_does_not_fit_the_kind_its_first_is_taken() -> None:
    text = "nasforge: 1\nname: a\nspace: {kind: other_kind}\ntask: {kind: other_task}\n"
    resolved = load(text + "executor: {kind: other}").resolved()["executor"]
    assert resolved["recipe"].pop("rate") == 2.0
    rest = {"hidden": 3, "backend": "auto", "precision": "float32", "recipe": to_plain(Recipe())}
    assert resolved == {"kind": "other", "share": "layer", **rest}
    assert load(text).resolved()["executor"]["share"] == "layer"
    (problem,) = faults(text + "executor: {share: node}")
    assert (underlined(problem), problem.message) == ("node", "a space of this kind cannot share weights by 'node'")
    assert problem.hint == "known here: layer, edge"
    (problem,) = faults(SPACE + "executor: outside\n")
    assert (problem.where, underlined(problem)) == ("x.yaml:10:1", "executor")
    assert problem.message == "a space of this kind cannot share weights by 'layer'"


def test_a_strategy_without_defaults_asks_for_what_it_needs() -> None:
    first, second = faults(SPACE + "strategy: bare\n")
    assert (first.message, second.message) == ("missing key 'controller'", "missing key 'executor'")
    assert (
        first.hint
        == "the strategy 'bare' has no default for it; known here: evolution, local_search, lstm, plain, random"
    )
    (problem,) = faults(SPACE + "strategy: bare\ncontroller: lstm\nexecutor: {hidden: 3}\n")
    assert (underlined(problem), problem.message) == ("executor", "missing key 'kind' in `executor`")


# The resolved form

VARIANTS = [
    SPACE,
    SPACE + "plugins: []\nworkers: 3\nseed: 5\ncompare: {random: false}\n",
    SPACE + "executor: {share: edge_op, hidden: 3, recipe: {betas: [0.5, 0.6], clip_norm: null}}\n",
    SPACE + "controller: random\nstrategy: {epochs: 1, warmup_epochs: 1, controller_steps: 0}\n",
    SPACE.replace("[tanh, relu]", "[tanh, leaky, leaky: {slope: 0.5}]"),
    SPACE.replace("  each:", "  first: {op: identity}\n  output: {of: all, clip_norm: null}\n  each:"),
    SPACE.replace("  each:", "  first: {op: {choose: 1, from: [leaky: {slope: 1}]}}\n  each:"),
    SPACE + "  corpus: {train: 'a: b', valid: 'no', test: é}\n",
    "nasforge: 1\nname: a\nspace: {kind: other_kind}\ntask: {kind: other_task}\nexecutor: {kind: other}\n",
]


@pytest.mark.parametrize("text", VARIANTS)
def test_the_resolved_form_loads_to_an_equal_spec(text: str) -> None:
    spec = load(text)
    resolved = spec.resolved()
    for written in (json.dumps(resolved), yaml.safe_dump(resolved, sort_keys=False)):
        again = load(written)
        assert again == spec
        assert again.resolved() == resolved


def test_the_resolved_form_is_written_as_users_write_it() -> None:
    text = SPACE.replace("[tanh, relu]", "[tanh, leaky]")
    resolved = load(text, overrides=["seed=2"]).resolved()
    assert resolved["space"]["each"] == {
        "input": {"choose": 1, "from": "previous"},
        "op": {"choose": 1, "from": ["tanh", {"leaky": {"slope": 0.01}}]},
    }
    assert list(resolved)[:4] == ["nasforge", "name", "plugins", "seed"]
    assert resolved["executor"]["recipe"]["learning_rate"] == 8e-3
    assert resolved["train"]["recipe"]["learning_rate"] == 1.2e-2
    assert "profiles" not in resolved


def test_specs_differ_where_their_resolved_forms_do_and_the_profile_is_no_part_of_it() -> None:
    spec = load(SPACE)
    assert load(SPACE, overrides=["seed=1"]) != spec
    assert load(SPACE, overrides=["executor.recipe.bptt=9"]) != spec
    assert replace(spec, profile="quick") == spec
    compared = {field.name for field in fields(RunSpec) if field.compare}
    assert compared == {field.name for field in fields(RunSpec)} - {"profile", "tree"}


# Limits


@pytest.mark.parametrize(
    ("written", "bound"),
    [
        ("12", Bound(most=12)),
        ("5M", Bound(most=5_000_000)),
        ("1.5M", Bound(most=1_500_000)),
        ("0.001k", Bound(most=1)),
        ("2G", Bound(most=2_000_000_000)),
        ("5e6", Bound(most=5_000_000)),
        ("3.0", Bound(most=3)),
        ("{max: 5M}", Bound(most=5_000_000)),
        ("{min: 300k}", Bound(least=300_000)),
        ("{min: 2, max: 2}", Bound(2, 2)),
        ("{max: 1.25k, min: 1}", Bound(1, 1250)),
    ],
)
def test_a_bound_is_a_number_with_or_without_a_suffix_or_two_of_them(written: str, bound: Bound) -> None:
    for key in ("parameters", "flops", "depth"):
        spec = load(SPACE + f"limits: {{{key}: {written}}}\n")
        assert spec.limits is not None and getattr(spec.limits, key) == bound == getattr(spec.limits.bounds, key)
    spec = load(SPACE + f"limits: {{count: {{tanh: {written}, relu: 0}}}}\n")
    assert spec.limits is not None and spec.limits.bounds.count == {"tanh": bound, "relu": Bound(most=0)}


def test_limits_are_part_of_the_resolved_form() -> None:
    text = SPACE + "limits: {parameters: 1.5M, depth: {min: 2}, count: {tanh: {min: 0, max: 3}}}\n"
    spec = load(text)
    resolved = spec.resolved()
    assert resolved["limits"] == {
        "parameters": 1_500_000,
        "flops": None,
        "depth": {"min": 2},
        "latency_ms": None,
        "count": {"tanh": {"min": 0, "max": 3}},
    }
    assert load(to_yaml(resolved)) == spec != load(SPACE)
    assert load(SPACE).limits is None and load(SPACE).resolved()["limits"] is None
    assert load(text, overrides=["limits=null"]).limits is None
    overridden = load(text, overrides=["limits.depth.max=4", "limits.count.relu=1"]).limits
    assert overridden is not None and overridden.depth == Bound(2, 4)
    assert overridden.count == {"tanh": Bound(0, 3), "relu": Bound(most=1)}


def test_limits_stand_in_profiles_too() -> None:
    text = SPACE + "limits: {depth: 3}\nprofiles: {small: {limits: {parameters: 1k}}, free: {limits: null}}\n"
    small = load(text, profile="small").limits
    assert small is not None and (small.depth, small.parameters) == (Bound(most=3), Bound(most=1000))
    assert load(text, profile="free").limits is None


def test_operations_are_counted_by_the_options_of_the_space() -> None:
    text = SPACE.replace("[tanh, relu]", "[tanh, leaky: {slope: 0.5}]")
    for name in ("leaky", "leaky(slope=0.5)"):
        load(text + f"limits: {{count: {{{name}: 1}}}}\n")
    (problem,) = faults(text + "limits: {count: {leaky(slope=0.6): 1}}\n")
    assert "chooses the operation 'leaky(slope=0.6)'. Did you mean 'leaky(slope=0.5)'?" in problem.message
    # The fixed operation of a node is no choice.
    fixed = SPACE.replace("  each:", "  first: {op: sigmoid}\n  each:") + "limits: {count: {sigmoid: 1}}\n"
    assert "chooses the operation 'sigmoid'" in faults(fixed)[0].message


# Faults, each at its place


@pytest.mark.parametrize(
    ("old", "new", "where", "marked", "message"),
    [
        ("nasforge: 1", "nasforge: 2", "1:11", "2", "`nasforge`, the version of the file format, must be 1, found 2"),
        ("nasforge: 1", "nasforge: true", "1:11", "true", "must be 1, found true"),
        ("nasforge: 1", "nasforge: 1.0", "1:11", "1.0", "must be 1, found 1.0"),
        ("nasforge: 1\n", "", "1:1", "name", "missing key 'nasforge'"),
        ("name: tiny", "name: 3d cell", "2:7", "3d cell", "`name` must start with a letter"),
        ("name: tiny", "name: " + "a" * 65, "2:7", "a" * 65, "64 in all at most"),
        ("name: tiny", "name: 3", "2:7", "3", "`name` must be a text, found 3"),
        ("name: tiny", "name: ../x", "2:7", "../x", "`name` must start with a letter"),
        ("name: tiny", "nam: tiny", "2:1", "nam", "unknown key 'nam'. Did you mean 'name'?"),
        ("  kind: recurrent_cell\n", "", "3:1", "space", "missing key 'kind' in `space`"),
        ("recurrent_cell", "recurent_cell", "4:9", "recurent_cell", "unknown space kind 'recurent_cell'. Did you mean"),
        ("recurrent_cell", "[a]", "4:9", None, "`kind` must be the name of a space kind, found ['a']"),
        ("recurrent_cell", "null", "4:9", "null", "`kind` must be the name of a space kind, found null"),
        ("language_model", "language_mode", "9:9", "language_mode", "unknown task 'language_mode'. Did you mean"),
        (
            "language_model",
            "other_task",
            "9:9",
            "other_task",
            "'other_task' does not fit a space of kind 'recurrent_cell'",
        ),
        ("nodes: 4", "nodes: 0", "5:10", "0", "`nodes` must be a whole number of at least 1 and at most 64, found 0"),
        (
            "nodes: 4",
            "nodes: 65",
            "5:10",
            "65",
            "`nodes` must be a whole number of at least 1 and at most 64, found 65",
        ),
        (
            "nodes: 4",
            "nodes: 4.0",
            "5:10",
            "4.0",
            "`nodes` must be a whole number of at least 1 and at most 64 or a choice of several, "
            "{choose: 1, from: [2, 3]}, found 4.0",
        ),
        ("nodes: 4", "nodes: true", "5:10", "true", "found true"),
        ("nodes: 4", "nodes: '4'", "5:10", "'4'", "found '4'"),
        ("nodes: 4", "nodes:", "5:9", None, "found null"),
        ("nodes: 4", "nodes: [1]", "5:10", None, "found [1]"),
        ("  nodes: 4\n", "", "3:1", "space", "missing key 'nodes' in `space`"),
        ("nodes: 4", "ndoes: 4", "5:3", "ndoes", "unknown key 'ndoes' in `space`. Did you mean 'nodes'?"),
        ("    op:", "    opp:", "7:5", "opp", "unknown key 'opp' in `each`. Did you mean 'op'?"),
        ("from:", "form:", "7:21", "form", "unknown key 'form' in `op`. Did you mean 'from'?"),
        ("from:", "from_:", "7:21", "from_", "unknown key 'from_' in `op`. Did you mean 'from'?"),
        ("choose: 1", "choose: 2", "7:18", "2", "`choose` must be 1, found 2"),
        ("[tanh, relu]", "[tahn, relu]", "7:28", "tahn", "unknown operation 'tahn'. Did you mean 'tanh'?"),
        ("[tanh, relu]", "[relu, tahn: {}]", "7:34", "tahn", "unknown operation 'tahn'. Did you mean 'tanh'?"),
        ("[tanh, relu]", "[highway]", "7:28", "highway", "unknown operation 'highway'."),
        ("[tanh, relu]", "[tanh, tanh]", "7:34", "tanh", "'tanh' is listed twice"),
        ("[tanh, relu]", "[tanh, {}]", "7:34", None, "write an operation as 'name' or as"),
        ("[tanh, relu]", "[tanh, 3]", "7:34", "3", "write an operation as 'name' or as"),
        ("[tanh, relu]", "[]", "7:27", None, "`from` must be a list of at least 1 value, found []"),
        ("[tanh, relu]", "tanh", "7:27", "tanh", "`from` must be a list of at least 1 value, found 'tanh'"),
        (
            "[tanh, relu]",
            "[leaky: {slop: 1}]",
            "7:36",
            "slop",
            "parameter 'slop' of operation 'leaky' is not known. Did",
        ),
        ("[tanh, relu]", "[leaky: {slope: 2}]", "7:43", "2", "parameter 'slope' of operation 'leaky': input should be"),
        ("[tanh, relu]", "[leaky: {slope: 2}]", "7:43", "2", ", found 2"),
        (
            "[tanh, relu]",
            "[strided: {kernel: 3, stride: 2}]",
            "7:49",
            "stride",
            "parameter 'stride' of operation 'strided' is given by the network; leave it out",
        ),
        ("[tanh, relu]", "[strided: {kernal: 3}]", "7:38", "kernal", "not known. Did you mean 'kernel'?"),
        ("[tanh, relu]", "[strided]", "7:28", "strided", "operation 'strided' needs the parameter 'kernel'"),
        ("[tanh, relu]", "[strided: {}]", "7:28", "strided", "operation 'strided' needs the parameter 'kernel'"),
        (
            "{choose: 1, from: [tanh, relu]}",
            "3",
            "7:9",
            "3",
            "`op` must be a choice of several, {choose: 1, from: [tanh, relu]}, found 3",
        ),
        ("  each:", "  first: {op: 3}\n  each:", "6:15", "3", "write an operation as 'name' or as"),
        ("  each:", "  first: {op: tahn}\n  each:", "6:15", "tahn", "unknown operation 'tahn'."),
        ("  each:", "  first: {op: {tahn: {}}}\n  each:", "6:16", "tahn", "unknown operation 'tahn'."),
        ("  each:", "  first: {op: {choose: 1, from: [tahn]}}\n  each:", "6:34", "tahn", "unknown operation 'tahn'."),
        ("  each:", "  first: {op: {choose: 1, form: [tanh]}}\n  each:", "6:13", None, ""),
        ("  each:", "  output: {combine: sum}\n  each:", "6:21", "sum", "`combine` must be 'mean', found 'sum'"),
        (
            "  each:",
            "  output: {of: leafs}\n  each:",
            "6:16",
            "leafs",
            "one of 'leaves', 'all', 'all_but_first', found 'leafs'. Did you mean",
        ),
        (
            "  each:",
            "  output: {clip_norm: 0}\n  each:",
            "6:23",
            "0",
            "`clip_norm` must be a number above 0, or null, found 0",
        ),
        ("  each:", "  input_bias: 1\n  each:", "6:15", "1", "`input_bias` must be true or false, found 1"),
    ],
)
def test_a_fault_in_the_required_sections(old: str, new: str, where: str, marked: str | None, message: str) -> None:
    assert SPACE.count(old) >= 1
    problems = faults(SPACE.replace(old, new, 1))
    matching = [problem for problem in problems if problem.where == f"x.yaml:{where}" and message in problem.message]
    if not message:
        places = [(p.where, p.message) for p in problems]
        assert places == [
            ("x.yaml:6:11", "missing key 'from' in `op`"),
            ("x.yaml:6:27", "unknown key 'form' in `op`. Did you mean 'from'?"),
        ]
        return
    assert matching, [(problem.where, problem.message) for problem in problems]
    if marked is not None:
        assert underlined(matching[0]) == marked


@pytest.mark.parametrize(
    ("line", "where", "marked", "message"),
    [
        ("strategy: ens", "10:11", "ens", "unknown strategy 'ens'. Did you mean 'enas'?"),
        ("strategy: 3", "10:11", "3", "`strategy` must be the name of a strategy or a mapping with 'kind', found 3"),
        ("strategy: null", "10:11", "null", "found null"),
        ("strategy: {epochs: 0}", "10:20", "0", "`epochs` must be a whole number of at least 1, found 0"),
        (
            "strategy: {epochs: 2, warmup_epochs: 3}",
            "10:38",
            "3",
            "`warmup_epochs` must be at most `epochs`, which is 2",
        ),
        ("strategy: {warmup_epochs: 5}", "10:27", "5", "which is 4, found 5"),
        ("strategy: half", "1:1", "nasforge", "missing key 'executor'"),
        ("controller: {kind: lsmt}", "10:20", "lsmt", "unknown controller 'lsmt'. Did you mean 'lstm'?"),
        ("controller: {units: 0}", "10:21", "0", "`units` must be a whole number of at least 1"),
        ("executor: {kind: share_weights}", "10:18", "share_weights", "unknown executor 'share_weights'. Did you mean"),
        (
            "executor: {share: nodes}",
            "10:19",
            "nodes",
            "a space of this kind cannot share weights by 'nodes'. Did",
        ),
        (
            "executor: {kind: other, share: layer}",
            "10:32",
            "layer",
            "a space of this kind cannot share weights by 'layer'",
        ),
        ("executor: {hidden: 0}", "10:20", "0", "`hidden` must be a whole number above 0, found 0"),
        ("executor: {recipe: 3}", "10:20", "3", "`recipe` must be a mapping, found 3"),
        (
            "executor: {recipe: {learning_rat: 1}}",
            "10:21",
            "learning_rat",
            "unknown key 'learning_rat' in `recipe`. Did you",
        ),
        ("executor: {recipe: {dropout_input: 1}}", "10:36", "1", "must be a number of at least 0 and below 1, found 1"),
        (
            "executor: {recipe: {optimizer: adm}}",
            "10:32",
            "adm",
            "one of 'adam', 'sgd', found 'adm'. Did you mean 'adam'?",
        ),
        ("executor: {recipe: {betas: [0.9]}}", "10:28", None, "`betas` must be a list of 2 values, found [0.9]"),
        (
            "executor: {recipe: {betas: [0.9, 2]}}",
            "10:34",
            "2",
            "item 2 of `betas` must be a number of at least 0 and below",
        ),
        (
            "executor: {recipe: {betas: [0.1, 0.2, 0.3]}}",
            "10:28",
            None,
            "must be a list of 2 values, found [0.1, 0.2, 0.3]",
        ),
        ("train: {recipe: {clip_norm: 0}}", "10:29", "0", "`clip_norm` must be a number above 0, or null, found 0"),
        ("train: {recipe: null}", "10:17", "null", "`recipe` must be a mapping, found null"),
        ("train: {epochs: 1.5}", "10:17", "1.5", "`epochs` must be a whole number of at least 1, found 1.5"),
        ("train: {widht: 3}", "10:9", "widht", "unknown key 'widht' in `train`."),
        ("train: []", "10:8", None, "`train` must be a mapping, found []"),
        ("derive: {candidates: 3}", "10:22", "3", "`shortlist` must be at most `candidates`, which is 3, found 4"),
        ("derive: {shortlist: 25}", "10:21", "25", "`shortlist` must be at most `candidates`, which is 24, found 25"),
        ("compare: {random: none}", "10:19", "none", "`random` must be true or false, found 'none'"),
        ("compare: {correlation: 2}", "10:24", "2", "`correlation` must be 0 (none) or at least 3, found 2"),
        ("compare: {correlation: -1}", "10:24", "-1", "`correlation` must be a whole number of at least 0, found -1"),
        ("workers: 0", "10:10", "0", "`workers` must be a whole number of at least 1, or null, found 0"),
        ("seed: -1", "10:7", "-1", "`seed` must be a whole number of at least 0, found -1"),
        ("seed: 1e3", "10:7", "1e3", "`seed` must be a whole number of at least 0, found 1000.0"),
        ("plugins: x", "10:10", "x", "`plugins` must be a list, found 'x'"),
        ("plugins: [3]", "10:11", "3", "item 1 of `plugins` must be a text, found 3"),
        ("plugins: [-r x]", "10:11", "-r x", "a plugin is named as it is installed"),
        ("plugins: [no-such]", "10:11", "no-such", "the space needs the plugin 'no-such', which is not installed"),
        ("objectives: a", "10:13", "a", "`objectives` must be a list, found 'a'"),
        ("objectives: [a]", "10:14", "a", "an objective is written 'max NAME' or 'min NAME', such as min parameters"),
        ("objectives: [mx a]", "10:14", "mx a", "an objective is written 'max NAME' or 'min NAME'"),
        ("objectives: [3]", "10:14", "3", "an objective is written 'max NAME' or 'min NAME', such as min parameters"),
        ("objectives: [min perplexity, min params]", "10:30", "min params", "'params' can be no objective here."),
        ("objectives: [min accuracy, min flops]", "10:14", "min accuracy", "'accuracy' can be no objective here."),
        ("objectives: [max perplexity, min flops]", "10:14", "max perplexity", "lower perplexity is better: the obj"),
        ("objectives: [min flops]", "10:14", "min flops", "the task's metric is missing among the objectives: add"),
        ("objectives: [min perplexity, min perplexity]", "10:30", "min perplexity", "stands there twice"),
        ("latency: {batch: 2}", "10:1", "latency", "`latency` would mean nothing: neither `limits` nor `objectives`"),
        ("limits: {latency_ms: 0}", "10:22", "0", "a time must be above 0, found 0"),
        ("limits: {latency_ms: {min: -2.5}}", "10:28", "-2.5", "a time must be above 0, found -2.5"),
        ("limits: {latency_ms: 3ms}", "10:22", "3ms", "`latency_ms` must be a number, also with k, M or G"),
        ("limits: 5M", "10:9", "5M", "`limits` must be a mapping, or null, found '5M'"),
        ("limits: {parameter: 5M}", "10:10", "parameter", "unknown key 'parameter' in `limits`. Did you mean"),
        ("limits: {parameters: 0}", "10:22", "0", "`parameters` must be a whole number of at least 1, also with k"),
        ("limits: {parameters: true}", "10:22", "true", "such as 5M, found true"),
        ("limits: {parameters: 5m}", "10:22", "5m", "also with k, M or G, such as 5M, found '5m'"),
        ("limits: {parameters: 1.0005k}", "10:22", "1.0005k", "must be a whole number"),
        ("limits: {flops: 1.5}", "10:17", "1.5", "`flops` must be a whole number"),
        ("limits: {flops: [1]}", "10:17", None, "`flops` must be a whole number"),
        ("limits: {flops: {}}", "10:17", None, "a bound must say min, max or both"),
        ("limits: {depth: {mx: 3}}", "10:18", "mx", "unknown key 'mx' in a bound. Did you mean 'max'?"),
        ("limits: {depth: {min: 4, max: 3}}", "10:23", "4", "`min` must be at most `max`, which is 3, found 4"),
        ("limits: {depth: {min: -1}}", "10:23", "-1", "`min` must be a whole number of at least 1"),
        ("limits: {count: 3}", "10:17", "3", "`count` must be a mapping, found 3"),
        ("limits: {count: {tanh: -1}}", "10:24", "-1", "chosen must be a whole number of at least 0"),
        ("limits: {count: {tanh: {max: x}}}", "10:30", "x", "`max` must be a whole number of at least 0"),
        ("limits: {count: {tahn: 1}}", "10:18", "tahn", "no decision of the space chooses the operation 'tahn'."),
        ("limits: {count: {sigmoid: 1}}", "10:18", "sigmoid", "no decision of the space chooses"),
        ("basline: x", "10:1", "basline", "unknown key 'basline'."),
        ("profiles: {a: 3}", "10:12", "a", "profile 'a' must be a mapping"),
        ("  corpus: pt", "10:11", "pt", "unknown corpus 'pt'. Did you mean 'ptb'?"),
        ("  corpus: 3", "10:11", "3", "a corpus is a name"),
        ("  corpus: {train: a, valid: b}", "10:3", "corpus", "missing key 'test' in `corpus`"),
        ("  corpus: {train: a, valid: b, test: 1}", "10:38", "1", "`test` must be a text, found 1"),
        ("  reward_scale: .1e-400", "10:17", ".1e-400", "`reward_scale` must be a number above 0, found 0.0"),
    ],
)
def test_a_fault_in_one_more_line(line: str, where: str, marked: str | None, message: str) -> None:
    (problem,) = faults(SPACE + line + "\n")
    assert message in problem.message
    assert problem.where == f"x.yaml:{where}"
    if marked is not None:
        assert underlined(problem) == marked


def test_groups_that_are_too_small_for_the_controller_are_refused() -> None:
    text = SPACE + "strategy: {candidates_per_step: 1}\n"
    (problem,) = faults(text)
    assert problem.where.startswith("x.yaml:10:")
    assert "groups of 1, but 'lstm' with its options learns from groups of at least 2" in problem.message
    load(text, overrides=["controller=random"])
    load(text, overrides=["controller.update=reinforce_ema", "controller.normalize_advantage=false"])
    load(text, overrides=["strategy.controller_steps=0"])


def test_a_beam_is_refused_where_there_is_no_policy() -> None:
    text = SPACE + "derive: {proposals: beam}\n"
    load(text)
    (problem,) = faults(text, overrides=["controller=random"])
    assert "`proposals: beam` needs a policy, which the controller 'random' has not" in problem.message
    assert (problem.line_number, problem.hint) == (10, "set proposals: sample, or a controller of lstm")
    load(text, overrides=["controller=random", "derive.proposals=sample"])


def test_a_beam_is_refused_where_it_would_propose_what_has_no_score_or_measure_thousands() -> None:
    text = SPACE + "derive: {proposals: beam}\n"
    scratch = ["strategy=black_box", "executor=standalone", "controller=lstm"]
    (problem,) = faults(text, overrides=scratch)
    assert "would propose what has no score" in problem.message
    load(text, overrides=[*scratch, "derive.proposals=sample"])
    (problem,) = faults(text, overrides=["limits.latency_ms=3"])
    assert "would measure the latency of thousands of architectures" in problem.message


FROM_SCRATCH = "executor: {kind: standalone, epochs: 3}\n"


def test_trainings_from_scratch_have_their_own_executor_and_share_nothing() -> None:
    spec = load(SPACE + "strategy: {kind: black_box, queries: 7}\n")
    assert (spec.executor_kind.name, spec.controller_kind.name) == ("standalone", "evolution")
    spec = load(SPACE + "strategy: successive_halving\n" + FROM_SCRATCH)
    assert isinstance(spec.executor, StandaloneOptions) and spec.executor.epochs == 3
    assert "share" not in spec.resolved()["executor"]
    (problem,) = faults(SPACE + "strategy: black_box\nexecutor: {kind: standalone, share: edge}\n")
    assert (problem.message, underlined(problem)) == ("unknown key 'share'", "share")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "strategy: black_box\nexecutor: shared_weights\n",
            "the strategy 'black_box' does not fit the executor 'shared_weights', which shares weights",
            "it fits standalone; with shared_weights go the strategies bare, enas, evolution, half, local_search, "
            "reinforce",
        ),
        (
            "strategy: enas\n" + FROM_SCRATCH,
            "the strategy 'enas' does not fit the executor 'standalone', which trains each child from scratch",
            "it fits other, outside, shared_weights; with standalone go the strategies black_box, successive_halving",
        ),
        (
            "strategy: {kind: successive_halving, first_epochs: 3}\n" + FROM_SCRATCH,
            "`first_epochs` must be below the `epochs` of the executor, which are 3, found 3: there would be one rung, "
            "and nothing to halve",
            None,
        ),
    ],
)
def test_executors_and_strategies_that_do_not_go_together_are_refused(
    text: str, message: str, hint: str | None
) -> None:
    (problem,) = faults(SPACE + text)
    assert problem.message == message
    if hint is not None:
        assert problem.hint == hint


def test_known_names_and_keys_are_listed() -> None:
    assert (
        faults(SPACE + "strategy: x\n")[0].hint
        == "known here: bare, black_box, enas, evolution, half, local_search, reinforce, "
        "successive_halving"
    )
    assert faults(SPACE + "compare: {x: 1}\n")[0].hint == "known here: random, references, correlation"
    assert faults(SPACE.replace("op: {choose: 1, from", "op: {choose: 1, frm"))[0].hint == "known here: choose, from"
    known = "known here: perplexity, flops, latency_ms, parameters"
    assert faults(SPACE + "objectives: [min size]\n")[0].hint == known
    assert faults(SPACE + "limits: {count: {tahn: 1}}\n")[0].hint == "known here: relu, tanh"
    assert faults(SPACE.replace("language_model", "other_task"))[0].hint == "it fits other_kind"


def test_all_faults_are_reported_together_in_the_order_of_their_places() -> None:
    text = """\
nasforge: 3
space:
  kind: recurrent_cell
  nodes: 0
  each: {op: {from: [tahn, relu, sigmid]}, inputs: 3}
task: {kind: language_model, streams: 0}
executor: {hidden: x, recipe: {bptt: 0}}
train: {recipe: {bptt: 0}, epochs: 0}
seed: x
extra: 1
profiles: {quick: 3}
"""
    problems = faults(text, overrides=["derive.shortlist=0", "workers={"])
    places = [(p.line_number, p.column) for p in problems if p.line_number]
    assert places == [
        *((1, 1), (1, 11), (4, 10), (5, 22), (5, 34), (5, 44), (6, 39), (7, 20), (7, 38), (8, 24), (8, 36), (9, 7)),
        *((10, 1), (11, 12)),
    ]
    rest = [p.where for p in problems if not p.line_number]
    assert rest == ["override 'derive.shortlist=0'", "override 'workers={'"]


def test_a_fault_in_a_profile_is_shown_in_the_profile() -> None:
    text = SPACE + "profiles:\n  quick:\n    space: {nodes: 0}\n    trian: {}\n"
    first, second = faults(text)
    assert (first.where, underlined(first)) == ("x.yaml:12:20", "0")
    assert (second.where, underlined(second)) == ("x.yaml:13:5", "trian")
    assert load(text.replace("quick", "other")).profile is None


def test_a_fault_in_an_override_or_the_seed_names_it() -> None:
    problems = faults(SPACE, overrides=["space.nodes=0", "space.nods=1", "controller=lsmt"], seed=-1)
    assert [(p.where, p.message.split(",")[0]) for p in problems] == [
        ("--seed -1", "`seed` must be a whole number of at least 0"),
        ("override 'controller=lsmt'", "unknown controller 'lsmt'. Did you mean 'lstm'?"),
        ("override 'space.nodes=0'", "`nodes` must be a whole number of at least 1 and at most 64"),
        ("override 'space.nods=1'", "unknown key 'nods' in `space`. Did you mean 'nodes'?"),
    ]
    with pytest.raises(UsageError, match="unknown profile 'papr'"):
        load(SPACE, profile="papr")


def test_an_unknown_strategy_does_not_make_its_defaults_a_fault() -> None:
    (problem,) = faults(SPACE + "strategy: x\ncontroller: {units: 3}\nexecutor: {recipe: {}}\n")
    assert problem.message == "unknown strategy 'x'."


@pytest.mark.parametrize("text", ["", "3", "[a]", "null"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    assert "must be a mapping" in faults(text)[0].message


def test_a_fault_is_shown_with_its_line_and_a_caret() -> None:
    text = SPACE.replace("tanh", "tahn")
    with pytest.raises(SpecError) as caught:
        load(text)
    assert str(caught.value) == (
        "x.yaml:7:28: unknown operation 'tahn'. Did you mean 'tanh'?\n"
        "    7 |     op: {choose: 1, from: [tahn, relu]}\n"
        "      |                            ^^^^\n"
        "known here: identity, leaky, relu, sigmoid, strided, tanh"
    )


def test_a_long_or_unprintable_value_is_shown_short() -> None:
    (problem,) = faults(SPACE + f"seed: '{'x' * 5000}'\n")
    assert len(problem.message) < 150
    (problem,) = faults(SPACE + 'seed: "a\\nb"\n')
    assert "\n" not in problem.message


def test_very_many_faults_are_cut_off_in_bounded_time() -> None:
    started = time.process_time()
    problems = faults(SPACE.replace("[tanh, relu]", "[" + "leaky: {slope: 2}, " * 5_000 + "tahn]"))
    assert time.process_time() - started < 10
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].message == "more than 100 faults; the other 4901 are not shown"


_BITS = st.sampled_from(
    ["null", "[]", "{}", "-1", "1e9", "kind", "x: {y: [1]}", "'a\\n'", "[[[{}]]]", "true", "é", "kind: lstm"]
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 8), _BITS, _BITS)
def test_whatever_replaces_a_line_raises_nothing_but_our_errors(line: int, value: str, extra: str) -> None:
    lines = SPACE.splitlines()
    key = lines[line].partition(":")[0]
    text = "\n".join([*lines[:line], f"{key}: {value}", *lines[line + 1 :], f"executor: {extra}", f"train: {value}"])
    try:
        load(text)
    except SpecError as error:
        str(error).encode()
        assert str(error).startswith("x.yaml:")


# Plugins that a space needs


def test_every_unknown_operation_says_which_plugin_is_missing() -> None:
    text = SPACE.replace("[tanh, relu]", "[tanh, gelu, sine]") + "plugins: [nasforge-none, other-none]\n"
    problems = faults(text)
    assert [underlined(problem) for problem in problems] == ["gelu", "sine", "nasforge-none", "other-none"]
    for problem in problems[:2]:
        assert (
            "the space needs the plugin 'nasforge-none', which is not installed: pip install nasforge-none"
            in problem.hint
        )
        assert "the space needs the plugin 'other-none'" in problem.hint
    assert problems[2].hint == "pip install nasforge-none"


def test_a_plugin_that_failed_is_named_where_it_is_needed() -> None:
    failed = PluginFailure("main", "nasforge-bad", "import", "ImportError: no")
    broken = Plugins(PLUGINS.catalogue, (), (failed,))
    with pytest.raises(PluginError, match=r"x\.yaml:10:11: .*\n.*'nasforge-bad' failed at import: ImportError: no"):
        load(SPACE + "plugins: [Nasforge_Bad]\n", plugins=broken)
    (problem,) = faults(SPACE.replace("tanh", "gelu"), plugins=broken)
    assert "plugin 'main' of 'nasforge-bad' failed at import: ImportError: no" in problem.hint
    assert load(SPACE, plugins=broken) == load(SPACE)


# What is shipped


@pytest.fixture
def activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """The built-ins and the example plugin, as if it were installed."""
    folder = tmp_path / "nasforge_activations-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: nasforge-activations\nVersion: 0.1.0\n")
    (folder / "entry_points.txt").write_text("[nasforge]\nactivations = nasforge_activations.declarations\n")
    monkeypatch.syspath_prepend(str(ACTIVATIONS))
    monkeypatch.syspath_prepend(str(tmp_path))
    found = build_plugins()
    assert found.failures == ()
    return found


@pytest.mark.parametrize("profile", [None, "smoke", "quick", "paper"])
@pytest.mark.parametrize("name", ["ptb_rnn", "rnn_activations"])
def test_every_shipped_space_is_valid_with_every_profile(activations: Plugins, name: str, profile: str | None) -> None:
    spec = load_run_spec(ROOT / "spaces" / f"{name}.yaml", activations, profile=profile)
    assert spec.name == name
    assert spec.profile == (profile or "quick")
    again = load_run_spec(read_yaml_text(json.dumps(spec.resolved()), "resolved.yaml"), activations)
    assert again == spec


def test_the_operations_of_the_plugin_are_used(activations: Plugins) -> None:
    spec = load_run_spec(ROOT / "spaces" / "rnn_activations.yaml", activations)
    assert isinstance(spec.space, RecurrentCellSpec)
    assert OperationUse("leaky_relu", (("slope", 0.1),)) in spec.space.each.op.from_
    assert activations.catalogue.owner("operations", "gelu") == "nasforge-activations"


def test_the_quick_profile_of_the_shipped_space_is_what_measured_best() -> None:
    spec = load_run_spec(ROOT / "spaces" / "ptb_rnn.yaml", PLUGINS)
    assert spec.strategy == EnasOptions()
    assert spec.executor == SharedWeightsOptions()
    assert (spec.search_recipe, spec.final_recipe) == (LanguageModelRecipe(learning_rate=8e-3), LanguageModelRecipe())
    assert (spec.derive, spec.train, spec.compare) == tuple(
        getattr(load(SPACE), k) for k in ("derive", "train", "compare")
    )


def test_the_paper_profile_has_the_published_values() -> None:
    resolved = load_run_spec(ROOT / "spaces" / "ptb_rnn.yaml", PLUGINS, profile="paper").resolved()
    assert resolved["task"]["corpus"] == "ptb"
    assert resolved["strategy"]["controller_steps"] == 2000
    assert (resolved["executor"]["share"], resolved["space"]["output"]["clip_norm"]) == ("edge", None)
    controller = resolved["controller"]
    assert (controller["learning_rate"], controller["temperature"], controller["tanh_constant"]) == (3.5e-4, 5.0, 2.5)
    for recipe in (resolved["executor"]["recipe"], resolved["train"]["recipe"]):
        published = {"optimizer": "sgd", "learning_rate": 20.0, "clip_norm": 0.25, "batch_size": 64, "bptt": 35}
        assert published.items() <= recipe.items()


def test_loading_a_spec_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from nasforge.plugins import build_plugins;"
        "from nasforge.spec.run_spec import load_run_spec;"
        "load_run_spec(Path('spaces/ptb_rnn.yaml'), build_plugins()); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_a_catalogue_without_components_knows_nothing() -> None:
    problems = faults(SPACE, plugins=Plugins(Catalogue(), (), ()))
    assert [p.message for p in problems] == [
        "unknown strategy 'enas'.",
        "unknown space kind 'recurrent_cell'.",
        "unknown task 'language_model'.",
    ]


TRICKY = [
    "1e3",
    "1e-3",
    "no",
    "yes",
    "null",
    "~",
    "true",
    "0x1F",
    "0o7",
    "12",
    ".5",
    "a: b",
    "# c",
    "",
    " x",
    "é",
    "1:2",
]


def test_resolved_text_reads_back_as_it_was() -> None:
    data = {"text": TRICKY, "numbers": [0.1, 1e-300, 1e300, 3, -0.0, 1e-3, 2.0], "other": [None, True, False]}
    assert plain(read_yaml_text(to_yaml(data), "here")) == data
