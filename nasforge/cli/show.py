"""``nasforge show``: a space, a run or an architecture, as text or as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import typer

from nasforge.cli.common import Overrides, PluginFiles, Profile, check_output, load_plugins, write_output
from nasforge.components import Options, SpaceKind
from nasforge.errors import CorruptRunError, SpaceError, SpecError, UsageError, suggest
from nasforge.graph.compile import compile_kind
from nasforge.graph.dot import dot
from nasforge.graph.mermaid import mermaid
from nasforge.graph.picture import Picture, architecture_picture, space_picture
from nasforge.graph.png import png_bytes
from nasforge.graph.supergraph import Supergraph
from nasforge.graph.svg import svg
from nasforge.graph.text import space_text, text
from nasforge.plugins import Plugins
from nasforge.published import read, write
from nasforge.run.columns import compile_within
from nasforge.run.compile import require_within_limits
from nasforge.run.directory import RunDirectory
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.spec.lets import with_names_put_in
from nasforge.spec.nodes import plain, printable
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.yaml_reader import read_yaml_text

Format = Literal["text", "svg", "png", "dot", "mermaid"]

FORMATS: tuple[Format, ...] = ("text", "svg", "png", "dot", "mermaid")
_ENDINGS: Mapping[str, Format] = MappingProxyType({"txt": "text", "gv": "dot", "mmd": "mermaid"})
"""Endings of files that are not the name of their format."""


@dataclass(frozen=True)
class _Declared:
    """A space as it was declared."""

    space_kind: SpaceKind
    space: Options


@dataclass(frozen=True)
class _Subject:
    """What is shown: a space, its graph, an architecture of it or none, a title, and lines about it."""

    declared: _Declared
    supergraph: Supergraph
    architecture: Architecture | None
    title: str
    notes: tuple[str, ...] = ()


def show(
    what: Annotated[Path, typer.Argument(metavar="SPACE|RUN|ARCH.json", help="What to show.", show_default=False)],
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a file; its ending says the format.")
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", help="text, svg, png, dot (Graphviz) or mermaid.")] = None,
    space: Annotated[
        bool, typer.Option("--space", help="Draw the whole space, with the architecture marked in it.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="For a space: show the architecture drawn with it.")
    ] = None,
    from_: Annotated[
        tuple[str, str] | None,
        typer.Option("--from", metavar="NAME TEXT", help="For a space: show what TEXT describes in the encoding NAME."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Print the architecture in the encoding NAME.")
    ] = None,
    profile: Profile = None,
    plugin: PluginFiles = None,
) -> None:
    """Show a space, the best architecture of a run, or an architecture file."""
    check_output(output)
    if to is None:
        chosen = _format(format_, output)
    elif format_ is not None or space:
        raise UsageError("--to writes text: leave out --format and --space")
    elif _says(output) not in (None, "text"):
        raise UsageError(f"--to writes text, but -o {output} names a picture: choose another ending, such as .txt")
    if from_ is not None and seed is not None:
        raise UsageError("--from and --seed both say which architecture is shown: leave one out")
    if what.is_dir() or what.suffix == ".json":
        if overrides or from_ is not None:
            given = "--from" if from_ is not None else f"'{printable((overrides or [''])[0], 80)}'"
            raise UsageError(f"{given} needs a space file (YAML), but {what} holds an architecture")
        if what.is_dir() and not plugin:
            # As `nasforge resume` does: with the plugin files that the run began with.
            plugin = [Path(name) for name in RunDirectory(what).read_run()["plugin_files"]]
        plugins = load_plugins(plugin)
        subject = _of_run(RunDirectory(what), plugins) if what.is_dir() else _of_architecture(what, plugins)
    else:
        plugins = load_plugins(plugin)
        spec = load_space_spec(what, plugins, profile=profile, overrides=overrides or ())
        supergraph = compile_within(spec, "search", plugins.catalogue.operations, what.resolve().parent)
        drawn = None
        if seed is not None:
            require_within_limits(spec, supergraph)
            drawn = supergraph.space.sample(stream(seed, "sample"))
        if from_ is not None:
            drawn = read(*from_, spec, supergraph.space)
        subject = _Subject(_Declared(spec.space_kind, spec.space), supergraph, drawn, spec.name)
    if to is not None:
        content = _encoded(subject, to)
    else:
        content = _render(subject, chosen, whole_space=space or subject.architecture is None)
    if output is not None:
        write_output(output, content)
    else:
        typer.echo(content.decode(), nl=False)


def _says(output: Path | None) -> Format | None:
    """The format that the ending of a file stands for, if it stands for one."""
    return None if output is None else _known(output.suffix.lstrip(".").lower())


def _known(name: str) -> Format | None:
    return _ENDINGS.get(name) or next((known for known in FORMATS if known == name), None)


def _format(wanted: str | None, output: Path | None) -> Format:
    name = wanted or (output.suffix.lstrip(".").lower() if output and output.suffix else "text")
    known, says = _known(name), _says(output)
    if known is None:
        raise UsageError(f"unknown format '{name}': use {', '.join(FORMATS)}.{suggest(name, FORMATS)}")
    if known == "png" and output is None:
        raise UsageError("a png is not for the terminal: name a file with -o FILE.png")
    if says is not None and says != known:
        raise UsageError(f"--format {name} contradicts the ending of -o {output}: leave out one of the two")
    return known


def _render(subject: _Subject, chosen: Format, *, whole_space: bool) -> bytes:
    graph, architecture = subject.supergraph, subject.architecture
    if chosen == "text":
        body = space_text(graph) if architecture is None else text(graph, architecture)
        notes = "".join(f"{note}\n" for note in subject.notes)
        return f"{subject.title}\n{notes}\n{body.rstrip()}\n".encode()
    if whole_space:
        picture = space_picture(graph, architecture=architecture, title=subject.title)
    else:
        assert architecture is not None
        picture = architecture_picture(graph, architecture, title=subject.title)
    return _drawn(picture, chosen)


def _drawn(picture: Picture, chosen: Literal["svg", "png", "dot", "mermaid"]) -> bytes:
    match chosen:
        case "svg":
            return svg(picture).encode()
        case "png":
            return png_bytes(picture)
        case "dot":
            return dot(picture).encode()
        case "mermaid":
            return mermaid(picture).encode()


def _encoded(subject: _Subject, name: str) -> bytes:
    if subject.architecture is None:
        raise UsageError("--to writes an architecture: say which with --from NAME TEXT or --seed N")
    return f"{write(name, subject.architecture, subject.declared, subject.supergraph.space)}\n".encode()


def _of_run(directory: RunDirectory, plugins: Plugins) -> _Subject:
    run = directory.read_run()
    path = directory.path / "best" / "architecture.json"
    if not (directory.path / "result.json").exists():
        status = run.get("status")
        raise UsageError(f"{directory.path}: no result yet (status: {status}); continue with `nasforge resume`")
    try:
        result = json.loads((directory.path / "result.json").read_bytes())
        notes = _notes(result)
    except (ValueError, KeyError, TypeError):
        raise CorruptRunError(f"{directory.path / 'result.json'}: damaged; it is not a result") from None
    subject = _of_architecture(path, plugins)
    return replace(subject, title=f"{run['name']}: best architecture", notes=notes)


def _notes(result: dict[str, Any]) -> tuple[str, ...]:
    if "truth" in result["best"]:
        return (result["verdict"]["text"],)
    trained, proxy = result["best"]["trained"], result["best"]["proxy"]
    test, valid = (_short(trained[split], trained.get(f"{split}_standard_error")) for split in ("test", "valid"))
    return (
        f"trained from scratch: test {trained['metric']} {test}, valid {valid} "
        f"after {trained['epochs']} epochs, {result['best']['parameters']:,} parameters",
        f"proxy ({proxy['scored_by']}, not the result): valid {proxy['metric']} {_short(proxy['value'])}",
        result["verdict"]["text"],
    )


def _short(score: float | None, error: float | None = None) -> str:
    """As the verdict writes it; all digits are in the file."""
    if score is None:
        return "not finite"
    return f"{score:.2f}" if error is None else f"{score:.2f} ± {error:.2f}"


def _of_architecture(path: Path, plugins: Plugins) -> _Subject:
    described = _read_architecture(path)
    kind = plugins.catalogue.kinds.get(described["space"].get("kind"))
    if kind is None:
        raise UsageError(
            f"{path}: its space has the kind {described['space'].get('kind')!r}, which no plugin here offers"
        )
    context = {"operations": plugins.catalogue.operations}
    try:
        block, _, problems = with_names_put_in(read_yaml_text(json.dumps(described["space"]), str(path)))
        config = kind.config.model_validate(plain(block), context=context, by_alias=True, by_name=False)
    except ValueError as error:
        raise UsageError(f"{path}: its space cannot be read: {error}") from None
    if problems:
        raise SpecError(problems)
    supergraph = compile_kind(kind, config)
    try:
        architecture = supergraph.space.architecture(described["decisions"])
    except SpaceError as error:
        raise UsageError(f"{path}: {error}") from None
    return _Subject(_Declared(kind, config), supergraph, architecture, path.stem)


def _read_architecture(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UsageError(f"{path}: not JSON") from None
    if (
        not isinstance(described, dict)
        or not isinstance(described.get("space"), dict)
        or not isinstance(described["space"].get("kind"), str)
        or not isinstance(described.get("decisions"), dict)
        or not all(isinstance(option, str) for option in described["decisions"].values())
    ):
        raise UsageError(f"{path}: not an architecture file (it needs 'space' with a 'kind', and 'decisions' as text)")
    return described
