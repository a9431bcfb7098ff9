"""Plugins: what is found, what is isolated, and what is said about it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from nasforge import builtins
from nasforge.catalogue import SECTIONS, Catalogue
from nasforge.components import (
    ControllerKind,
    ExecutorKind,
    NoOptions,
    Operation,
    Options,
    StrategyKind,
    TaskKind,
    activation,
)
from nasforge.errors import PluginError, UsageError
from nasforge.plugin_sources import normalized
from nasforge.plugins import PluginFailure, Plugins, build_plugins
from nasforge.recipe import Recipe
from nasforge.spec.nodes import Mark

GOOD = """
from nasforge import hookimpl
from nasforge.components import activation

@hookimpl
def nasforge_operations():
    return [activation("{name}", "a test", f"{{__name__}}:build", "{{x}}")]
"""

HERE = Mark("x.yaml:1:1", "plugins: [a]", 1, 1, 7)

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution with one module on the path; returns the name of the module."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def put(distribution: str, source: str, *, entry_points: str | None = None) -> str:
        # Imported modules stay: every test needs names of its own.
        module = re.sub(r"\W", "_", f"{tmp_path.parent.name}_{tmp_path.name}_{distribution}")
        (site / f"{module}.py").write_text(source, encoding="utf-8")
        folder = site / f"{re.sub(r'[-.]', '_', distribution)}-1.2.dist-info"
        folder.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        (folder / "METADATA").write_text(metadata, encoding="utf-8")
        text = f"[nasforge]\nmain = {module}\n" if entry_points is None else entry_points
        (folder / "entry_points.txt").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return module

    return put


def failure(plugins: Plugins, distribution: str) -> PluginFailure:
    found = [failure for failure in plugins.failures if failure.distribution == distribution]
    assert len(found) == 1
    return found[0]


def distributions(plugins: Plugins) -> list[str | None]:
    return [plugin.distribution for plugin in plugins.listing]


# What is there without any plugin


def test_built_ins_come_through_the_hooks_and_name_their_owner() -> None:
    plugins = build_plugins()
    first = plugins.listing[0]
    assert (first.name, first.origin) == ("nasforge", "built in")
    assert plugins.catalogue.operations["tanh"] in builtins.nasforge_operations()
    for section in SECTIONS:
        assert first.registered[section.name]
        for name in first.registered[section.name]:
            assert getattr(plugins.catalogue, section.name)[name].name == name
            assert plugins.catalogue.owner(section.name, name) == "nasforge"
    with pytest.raises(KeyError):
        plugins.catalogue.owner("operations", "nothing")


def test_collecting_everything_imports_no_torch() -> None:
    code = "import sys; from nasforge.plugins import build_plugins; build_plugins(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_catalogue_cannot_be_changed() -> None:
    catalogue = build_plugins().catalogue
    with pytest.raises(TypeError):
        catalogue.operations["x"] = catalogue.operations["tanh"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        catalogue.tasks = {}  # type: ignore[misc]


# Installed plugins


def test_entry_points_are_loaded_in_the_order_of_distribution_names(install: Install) -> None:
    install("zeta", GOOD.format(name="op_z"))
    module = install("Alpha.Ops", GOOD.format(name="op_a"))
    plugins = build_plugins()
    assert plugins.failures == ()
    ours = [plugin for plugin in plugins.listing if plugin.distribution in ("zeta", "Alpha.Ops")]
    assert [plugin.distribution for plugin in ours] == ["Alpha.Ops", "zeta"]
    assert (ours[0].name, ours[0].version, ours[0].origin) == ("main", "1.2", f"entry point main = {module}")
    assert ours[0].registered == {"operations": ("op_a",)}
    assert plugins.catalogue.owner("operations", "op_a") == "Alpha.Ops"


@pytest.mark.parametrize(
    ("source", "stage", "message"),
    [
        ("1 / 0", "import", r"ZeroDivisionError: division by zero \(.*\.py:1\)"),
        ("def f(:", "import", "SyntaxError"),
        ("import no_such_module_at_all", "import", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("import sys\nsys.exit(3)", "import", "SystemExit: 3"),
        ("class E(Exception):\n  def __str__(self): 1 / 0\nraise E", "import", "cannot be shown"),
        (
            "from nasforge import hookimpl\n@hookimpl\ndef nasforge_operatons(): return []",
            "registration",
            "unknown hook 'nasforge_operatons'. Did you mean 'nasforge_operations'",
        ),
        (
            "from nasforge import hookimpl\n@hookimpl\ndef nasforge_operations(space): return []",
            "registration",
            r"PluginValidationError: .*\{'space'\} are declared in the hookimpl",
        ),
        ("def nasforge_tasks(): return []", "registration", "'nasforge_tasks' looks like a hook, but is not marked"),
        ("x = 1", "registration", "it implements no hook"),
        (
            "from nasforge import hookimpl\n@hookimpl\ndef nasforge_tasks(): raise OSError('disk\\non fire')",
            "collection",
            r"OSError: disk on fire \(.*\.py:3\)",
        ),
        (
            "from nasforge import hookimpl\n@hookimpl\ndef nasforge_tasks(): pass",
            "collection",
            r"nasforge_tasks\(\) must return a list of TaskKind, found None",
        ),
        (
            "from nasforge import hookimpl\n@hookimpl\ndef nasforge_tasks(): return 'x'",
            "collection",
            r"nasforge_tasks\(\) must return a list of TaskKind, found 'x'",
        ),
        (
            "from nasforge import hookimpl\n@hookimpl\ndef nasforge_controllers(): return [3]",
            "collection",
            r"nasforge_controllers\(\) must return a list of ControllerKind, found 3 in it",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_and_the_others_go_on(
    install: Install, source: str, stage: str, message: str
) -> None:
    install("aa-before", GOOD.format(name="before"))
    install("bad", source)
    install("zz-after", GOOD.format(name="after"))
    plugins = build_plugins()
    found = failure(plugins, "bad")
    assert (found.plugin, found.stage) == ("main", stage)
    assert re.search(message, found.message), found.message
    assert "\n" not in found.message
    assert str(found).startswith(f"plugin 'main' of 'bad' failed at {stage}: ")
    assert found.error is not None
    assert "bad" not in distributions(plugins)
    assert {"before", "after", "tanh"} <= set(plugins.catalogue.operations)


def test_a_keyboard_interrupt_is_not_swallowed(install: Install) -> None:
    install("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        build_plugins()


def test_a_plugin_that_fails_in_one_hook_registers_nothing_at_all(install: Install) -> None:
    install("bad", GOOD.format(name="half") + "\n@hookimpl\ndef nasforge_tasks(): 1 / 0\n")
    plugins = build_plugins()
    assert failure(plugins, "bad").stage == "collection"
    assert "half" not in plugins.catalogue.operations


def test_a_name_that_is_taken_names_both_owners_and_overrides_nothing(install: Install) -> None:
    install("bad", GOOD.format(name="tanh"))
    install("first", GOOD.format(name="same"))
    install("second", GOOD.format(name="same"))
    plugins = build_plugins()
    assert failure(plugins, "bad").message == (
        "operation 'tanh' is registered by 'nasforge' and again by 'bad'; names must be unique"
    )
    assert "'first' and again by 'second'" in failure(plugins, "second").message
    assert plugins.catalogue.owner("operations", "tanh") == "nasforge"
    assert plugins.catalogue.owner("operations", "same") == "first"


def test_entry_points_that_cannot_be_parsed_do_not_hide_other_plugins(install: Install) -> None:
    install("broken", "", entry_points="[nasforge]\nno equals sign\n")
    install("elsewhere", "", entry_points="[other]\nno equals sign\n")
    install("good", GOOD.format(name="op_good"))
    plugins = build_plugins()
    assert "op_good" in plugins.catalogue.operations
    assert failure(plugins, "broken").stage == "import"
    assert "elsewhere" not in {failure.distribution for failure in plugins.failures}


def test_an_entry_point_may_name_an_object_and_must_name_what_exists(install: Install) -> None:
    source = GOOD.format(name="op_object") + (
        "\nclass Plugin:\n    @hookimpl\n    def nasforge_operations(self):\n        return nasforge_operations()\n"
        "plugin = Plugin()\n"
    )
    module = install("objects", source, entry_points="")
    install("uses-object", "", entry_points=f"[nasforge]\nmain = {module}:plugin\n")
    install("uses-nothing", "", entry_points=f"[nasforge]\nmain = {module}:plugging\n")
    install("uses-no-module", "", entry_points="[nasforge]\nmain = no_module_of_this_name\n")
    plugins = build_plugins()
    assert plugins.catalogue.owner("operations", "op_object") == "uses-object"
    assert "has no attribute 'plugging'" in failure(plugins, "uses-nothing").message
    assert failure(plugins, "uses-no-module").message == (
        "ModuleNotFoundError: No module named 'no_module_of_this_name'"
    )


# Components that do not fit


class Given(Options):
    given: ClassVar[frozenset[str]] = frozenset({"stride", "absent", "out"})
    stride: int
    out: int = 1


def _text(*_: object) -> str:
    return "x"


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (
            activation("9x", "s", "a:b", "{x}"),
            "operation: the name must be a letter followed by letters, digits and _, found '9x'",
        ),
        (activation("x", "two\nlines", "a:b", "{x}"), "the summary of operation 'x' must be one line"),
        (activation("x", "", "a:b", "{x}"), "the summary of operation 'x' must be one line"),
        (activation("x", "s", "no_colon", "{x}"), "must be a dotted name 'package.module:factory', found 'no_colon'"),
        (activation("x", "s", "a:b", "{x}", config=dict), "must be a subclass of nasforge.components.Options"),  # type: ignore[arg-type]
        (ControllerKind("x", "s", "a:b"), "must return a list of Operation, found ControllerKind"),
        (Operation("x", "s", "a:b", _text, families=()), "must be a tuple of at least one of activation, image, str"),
        (Operation("x", "s", "a:b", _text, families="image"), "at least one of activation, image, structure, found"),  # type: ignore[arg-type]
        (Operation("x", "s", "a:b", _text, families=("pool",)), "families of operation 'x' must be a tuple"),  # type: ignore[arg-type]
        (Operation("x", "s", "a:b", _text, config=Given), "names 'absent' in 'given', which must be a field with a"),
        (Operation("x", "s", "a:b", _text, config=Given), "names 'stride' in 'given', which must be a field with a"),
    ],
)
def test_a_component_that_does_not_fit_is_refused(component: object, message: str) -> None:
    with pytest.raises(PluginError, match=re.escape(message)):
        Catalogue().extended("me", {"operations": [component]})


def test_all_faults_of_a_plugin_are_named_and_the_catalogue_stays_as_it_was() -> None:
    one = Catalogue().extended("a", {"operations": [activation("x", "s", "a:b", "{x}")]})
    with pytest.raises(PluginError) as caught:
        one.extended("b", {"operations": [activation("x", "s", "a:b", "{x}"), 3], "tasks": [None]})
    assert str(caught.value).count(";") == 3
    assert list(one.operations) == ["x"]
    twice = [activation("y", "s", "a:b", "{x}")] * 2
    with pytest.raises(PluginError, match="'y' is registered by 'b' and again by 'b'"):
        one.extended("b", {"operations": twice})


def test_components_of_other_sections_are_checked_too() -> None:
    executor = ExecutorKind("x", "s", "a:b", NoOptions)  # type: ignore[arg-type]
    strategy = StrategyKind(
        "x",
        "s",
        "a:b",
        config=NoOptions,
        passes=float,
        evaluations=None,  # type: ignore[arg-type]
        group=int,
        uniform=dict,
    )
    task = TaskKind("x", "s", "a:b", config=NoOptions, recipe=Recipe, prepare="b", kinds=(), search_recipe={"rate": 1})
    with pytest.raises(PluginError) as caught:
        Catalogue().extended("me", {"executors": [executor], "strategies": [strategy], "tasks": [task]})
    assert str(caught.value).split("; ") == [
        "the config of executor 'x' must be a subclass of nasforge.components.ExecutorOptions",
        "evaluations of strategy 'x' must be a function",
        "the prepare of task 'x' must be a dotted name 'package.module:function', found 'b'",
        "the search_recipe of task 'x': rate: Extra inputs are not permitted",
    ]


# Files


def test_a_file_is_a_plugin_whose_functions_can_be_resolved(tmp_path: Path) -> None:
    path = tmp_path / "my ops.py"
    path.write_text(GOOD.format(name="mine") + "\ndef build(config):\n    return abs\n", encoding="utf-8")
    before = list(sys.path)
    plugins = build_plugins([path, tmp_path / "." / "my ops.py"])
    assert plugins.failures == ()
    info = plugins.listing[-1]
    assert (info.name, info.distribution, info.origin) == ("my ops.py", None, str(path))
    operation: Operation = plugins.catalogue.operations["mine"]
    module, _, name = operation.build.partition(":")
    assert getattr(importlib.import_module(module), name)(None)(-1) == 1
    assert plugins.catalogue.owner("operations", "mine") == str(path)
    assert sys.path == before
    assert list(tmp_path.iterdir()) == [path], "no bytecode beside the user's file"


def test_files_of_one_name_are_two_plugins_and_a_changed_file_is_read_again(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "ops.py", tmp_path / "b" / "ops.py"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(GOOD.format(name=f"op_{path.parent.name}"), encoding="utf-8")
    first = build_plugins(paths)
    assert {"op_a", "op_b"} <= set(first.catalogue.operations)
    assert build_plugins(paths).catalogue.operations["op_a"].build == first.catalogue.operations["op_a"].build
    paths[0].write_text(GOOD.format(name="op_changed"), encoding="utf-8")
    assert {"op_changed", "op_b"} <= set(build_plugins(paths).catalogue.operations)


def test_a_file_that_raises_is_isolated_and_one_that_is_missing_is_a_usage_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("raise ValueError('no')", encoding="utf-8")
    plugins = build_plugins([bad])
    found = plugins.failures[-1]
    assert (found.plugin, found.distribution, found.stage) == ("bad.py", None, "import")
    assert found.message == "ValueError: no (bad.py:1)"
    assert not [
        name for name in sys.modules if name.startswith("nasforge_plugin_file") and str(bad) in repr(sys.modules[name])
    ]
    for missing in (tmp_path / "none.py", tmp_path):
        with pytest.raises(UsageError, match="no such plugin file"):
            build_plugins([missing])


# What a spec needs


def test_a_plugin_that_works_is_found_under_any_spelling(install: Install) -> None:
    install("My_Ops.x", GOOD.format(name="op_spelling"))
    required = build_plugins().require(["my-ops-X", "MY_OPS.X"], [HERE, HERE])
    assert (required.problems, required.missing) == ((), ())
    assert normalized("My_Ops.x") == "my-ops-x"


def test_a_missing_plugin_is_a_problem_with_the_command_to_install_it() -> None:
    required = build_plugins().require(["nasforge-no-such"], [HERE])
    assert required.missing == ("nasforge-no-such",)
    (problem,) = required.problems
    assert str(problem) == (
        "x.yaml:1:1: the space needs the plugin 'nasforge-no-such', which is not installed\n"
        "    1 | plugins: [a]\n"
        "      | ^^^^^^^\n"
        "pip install nasforge-no-such"
    )


def test_a_distribution_without_an_entry_point_is_no_plugin(install: Install) -> None:
    install("no-plugin", "", entry_points="[console_scripts]\nx = y:z\n")
    required = build_plugins().require(["No_Plugin"], [HERE])
    assert required.missing == ()
    assert required.problems[0].message == "'No_Plugin' is installed, but is not a plugin of nasforge"


def test_a_plugin_that_failed_ends_with_exit_6_and_its_cause(install: Install) -> None:
    install("bad-one", "raise OSError('gone')")
    with pytest.raises(PluginError, match=r"x\.yaml:1:1: .*\n.*'bad-one' failed at import: OSError: gone") as caught:
        build_plugins().require(["bad_one"], [HERE])
    assert caught.value.exit_code == 6
    assert isinstance(caught.value.__cause__, OSError)
