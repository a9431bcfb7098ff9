"""Reads the sections of one merged spec: picks the model of each by its ``kind``, then validates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from nasforge.components import ExecutorKind, Options, SpaceKind, StrategyKind
from nasforge.errors import suggest
from nasforge.graph.limits import Bound
from nasforge.recipe import Recipe
from nasforge.spec.expectation import KeyPath, choices_of, shown
from nasforge.spec.limits import Limits, columns_of
from nasforge.spec.nodes import Node, find, plain, printable
from nasforge.spec.resolved import to_plain
from nasforge.spec.sections import DISTRIBUTION, NAMED, READ_BEFORE, RunSections
from nasforge.spec.validate import Faults

if TYPE_CHECKING:
    from nasforge.plugins import Plugins


class _Component(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def config(self) -> type[Options]: ...


Component = TypeVar("Component", bound=_Component)
SomeRecipe = TypeVar("SomeRecipe", bound=Recipe)


@dataclass(frozen=True)
class TaggedSection(Generic[Component]):
    """A section whose model was chosen by its ``kind``.

    Attributes:
        component: what the kind stands for.
        config: the validated block, None where it has faults.
    """

    component: Component
    config: Any


class SectionReader:
    """Reads sections and collects faults; nothing raises before `Faults.raise_if_any`, but a plugin that failed.

    Attributes:
        faults: what was found so far.
    """

    def __init__(self, root: Node, plugins: Plugins, faulty: Sequence[Node] = ()) -> None:
        """Read the tree `root`; at and below the nodes in `faulty` everything was reported."""
        self.faults = Faults(root, {"operations": plugins.catalogue.operations}, faulty)
        self.faults.also_known = READ_BEFORE
        self._root = root
        self._plugins = plugins
        data = plain(root)
        self._data: dict[str, object] = data if isinstance(data, dict) else {}
        self._check_plugins()

    def top(self, *, without_task: bool = False) -> RunSections | None:
        """Validate the keys at the top, and the sections that belong to no component.

        Args:
            without_task: whether the file may lack a task.
        """
        data = dict(self._data)
        if without_task:
            data.setdefault("task", None)
        train = data.get("train")
        if isinstance(train, dict):
            data["train"] = {key: value for key, value in train.items() if key not in ("recipe", "stack")}
        return self.faults.validate(RunSections, data)

    def limits(self) -> Limits | None:
        """Validate ``limits`` of a space of networks."""
        data = self._limits()
        return None if data is None else self.faults.validate(Limits, data, ("limits",))

    def columns(self) -> dict[str, Bound]:
        """Validate ``limits`` of a table, which are about its columns."""
        return columns_of(self._limits() or {}, self.faults)

    def _limits(self) -> dict[str, Any] | None:
        data = self._data.get("limits")
        if data is None or isinstance(data, dict):
            return data
        self.faults.add(("limits",), f"`limits` must be a mapping, or null, found {shown(data)}")
        return None

    def wrote(self, key: str) -> bool:
        """Whether a key stands at the top of the file, with something other than null."""
        return self._data.get(key) is not None

    @property
    def strategies(self) -> Mapping[str, StrategyKind]:
        """Those that are known, by name."""
        return self._plugins.catalogue.strategies

    @property
    def executors(self) -> Mapping[str, ExecutorKind]:
        """Those that are known, by name."""
        return self._plugins.catalogue.executors

    def tagged(
        self,
        section: str,
        known: Mapping[str, Component],
        what: str,
        *,
        default: str | None = None,
        needed_by: str = "",
        shares: tuple[str, ...] = (),
    ) -> TaggedSection[Component] | None:
        """Validate a tagged section; None where its component is not known.

        Args:
            section: its key.
            known: the components by name.
            what: what messages call the component.
            default: the kind where none is written; None where one must be.
            needed_by: who asks for the section, where it may be left out but has no default.
            shares: the sharing scopes that the space offers, for a section that has the key ``share``.
        """
        if section not in self._data and default is None:
            # A section that may not be left out at all is reported by `top`.
            if needed_by:
                hint = f"{needed_by} has no default for it; {_known(known)}"
                self.faults.add((), f"missing key '{section}'", hint, at_key=True)
            return None
        block = self._data.get(section, {})
        if not isinstance(block, dict):
            form = f"the name of {_a(what)} or a mapping with 'kind'" if section in NAMED else "a mapping with 'kind'"
            self.faults.add((section,), f"`{section}` must be {form}, found {shown(block)}", _known(known))
            return None
        if "kind" not in block and default is None:
            if needed_by or section not in NAMED:
                self.faults.add((section,), f"missing key 'kind' in `{section}`", _known(known), at_key=True)
            return None
        kind = block.get("kind", default)
        if not isinstance(kind, str):
            message = f"`kind` must be the name of {_a(what)}, found {shown(kind)}"
            self.faults.add((section, "kind"), message, _known(known))
            return None
        component = known.get(kind)
        if component is None:
            self.faults.unknown((section, "kind"), what, kind, known)
            return None
        return TaggedSection(component, self._config(section, block, component, shares))

    def recipe(self, path: KeyPath, model: type[SomeRecipe], defaults: Mapping[str, object]) -> SomeRecipe | None:
        """Validate a recipe.

        Args:
            path: where it stands: a section and a key.
            model: the recipe model of the task.
            defaults: what is laid under the user's values, over the defaults of the model.
        """
        section = self._data.get(str(path[0]))
        written = section.get(path[1], {}) if isinstance(section, dict) else {}
        return self.faults.validate(model, {**defaults, **written} if isinstance(written, dict) else written, path)

    def stack(self, kind: SpaceKind) -> Options | None:
        """Validate ``train.stack``, and refuse widths where the space says them itself."""
        train = self._data.get("train")
        if kind.shapes is not None:
            for section in ("executor", "train"):
                block = self._data.get(section)
                if isinstance(block, dict) and "hidden" in block:
                    message = f"a space of kind '{kind.name}' says its widths itself: leave `hidden` out"
                    hint = "the final network may differ by the keys of train.stack" if kind.stack else ""
                    self.faults.add((section, "hidden"), message, hint, at_key=True)
        if not isinstance(train, dict) or train.get("stack") is None:
            return None
        if kind.stack is None:
            message = f"a space of kind '{kind.name}' has no stack: leave `stack` out"
            self.faults.add(("train", "stack"), message, at_key=True)
            return None
        return self.faults.validate(kind.stack, train["stack"], ("train", "stack"))

    def _config(
        self, section: str, block: dict[str, object], component: _Component, shares: tuple[str, ...]
    ) -> Options | None:
        fields = component.config.model_fields
        data = dict(block)
        if "kind" in fields:
            data["kind"] = component.name
        else:
            data.pop("kind", None)
        if section == "executor" and "recipe" in fields:
            # Read by `recipe`, with a model that only the task knows.
            data.pop("recipe", None)
        for key in sorted(component.config.given & set(data)):
            hint = f"`{section}: {{kind: {component.name}}}` has no such key; leave it out"
            self.faults.add((section, key), f"unknown key '{key}'", hint, at_key=True)
            del data[key]
        shared = bool(shares) and "share" in fields
        if shared and "share" not in data and fields["share"].default not in shares:
            known = choices_of(fields["share"].annotation) or shares
            common = [share for share in shares if share in known]
            if common:
                data["share"] = common[0]
        if isinstance(component, SpaceKind) and component.shapes is None:
            hint = (
                "one fixed width is no part of the space: it is executor.hidden in the search, train.hidden at the end"
            )
            self.faults.value_hints[section, "hidden"] = hint
        config = self.faults.validate(component.config, data, (section,))
        if config is not None and shared and "share" not in component.config.given:
            share = to_plain(config).get("share")
            if share not in shares:
                better = suggest(share, shares) if isinstance(share, str) else ""
                message = f"a space of this kind cannot share weights by {shown(share)}{'.' if better else ''}{better}"
                self.faults.add((section, "share"), message, f"known here: {', '.join(shares)}")
        return config

    def _check_plugins(self) -> None:
        names = self._data.get("plugins")
        if not isinstance(names, list):
            names = []
        # A name of a wrong form is reported by `top`.
        written = [(i, name) for i, name in enumerate(names) if isinstance(name, str) and DISTRIBUTION.fullmatch(name)]
        marks = [find(self._root, ("plugins", index)) for index, _ in written]
        required = self._plugins.require([name for _, name in written], marks)
        self.faults.extend(required.problems)
        hints = [
            f"the space needs the plugin '{printable(name, 60)}', which is not installed: pip install "
            f"{printable(name, 60)}"
            for name in required.missing
        ]
        hints += [str(failure) for failure in self._plugins.failures]
        self.faults.unknown_hint = "\n".join(hints)


def _a(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _known(known: Mapping[str, object]) -> str:
    return f"known here: {', '.join(sorted(known))}"
