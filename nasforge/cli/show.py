"""``nasforge show``: a space, a run or an architecture, as text or as a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from nasforge.cli.common import PluginFiles, Profile, load_plugins
from nasforge.data.files import write_bytes_atomically
from nasforge.errors import SpaceError, UsageError, suggest
from nasforge.graph.builder import GraphBuilder
from nasforge.graph.picture import architecture_picture, space_picture
from nasforge.graph.png import png_bytes
from nasforge.graph.supergraph import Supergraph
from nasforge.graph.svg import svg
from nasforge.graph.text import space_text, text
from nasforge.plugins import Plugins
from nasforge.run.compile import compile_space
from nasforge.run.directory import RunDirectory
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.spec.run_spec import load_run_spec

FORMATS = ("text", "svg", "png")


@dataclass(frozen=True)
class _Subject:
    """What is shown: a graph, an architecture of it or none, a title, and lines about it."""

    supergraph: Supergraph
    architecture: Architecture | None
    title: str
    notes: tuple[str, ...] = ()


def show(
    what: Annotated[Path, typer.Argument(metavar="SPACE|RUN|ARCH.json", help="What to show.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a file; its ending says the format.")
    ] = None,
    format_: Annotated[str | None, typer.Option("--format", help="text, svg or png.")] = None,
    space: Annotated[
        bool, typer.Option("--space", help="Draw the whole space, with the architecture marked in it.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="For a space: show the architecture drawn with it.")
    ] = None,
    profile: Profile = None,
    plugin: PluginFiles = None,
) -> None:
    """Show a space, the best architecture of a run, or an architecture file."""
    chosen = _format(format_, output)
    plugins = load_plugins(plugin)
    if what.is_dir():
        subject = _of_run(RunDirectory(what), plugins)
    elif what.suffix == ".json":
        subject = _of_architecture(what, plugins)
    else:
        spec = load_run_spec(what, plugins, profile=profile)
        supergraph = compile_space(spec, "search")
        drawn = None if seed is None else supergraph.space.sample(stream(seed, "sample"))
        subject = _Subject(supergraph, drawn, spec.name)
    content = _render(subject, chosen, whole_space=space or subject.architecture is None)
    if output is not None:
        write_bytes_atomically(output, content)
        typer.echo(f"wrote {output}")
    else:
        typer.echo(content.decode(), nl=False)


def _format(wanted: str | None, output: Path | None) -> Literal["text", "svg", "png"]:
    name = wanted or (output.suffix.lstrip(".") if output and output.suffix else "text")
    name = "text" if name == "txt" else name
    if name not in FORMATS:
        raise UsageError(f"unknown format '{name}': use {', '.join(FORMATS)}.{suggest(name, FORMATS)}")
    if name == "png" and output is None:
        raise UsageError("a png is not for the terminal: name a file with -o FILE.png")
    return "svg" if name == "svg" else "png" if name == "png" else "text"


def _render(subject: _Subject, chosen: Literal["text", "svg", "png"], *, whole_space: bool) -> bytes:
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
    return svg(picture).encode() if chosen == "svg" else png_bytes(picture)


def _of_run(directory: RunDirectory, plugins: Plugins) -> _Subject:
    run = directory.read_run()
    path = directory.path / "best" / "architecture.json"
    if not (directory.path / "result.json").exists():
        status = run.get("status")
        raise UsageError(f"{directory.path}: no result yet (status: {status}); continue with `nasforge resume`")
    result = json.loads((directory.path / "result.json").read_text())
    trained, proxy = result["best"]["trained"], result["best"]["proxy"]
    notes = (
        f"trained from scratch: test {trained['metric']} {trained['test']}, valid {trained['valid']} "
        f"after {trained['epochs']} epochs, {result['best']['parameters']:,} parameters",
        f"proxy (shared weights, not the result): valid {proxy['metric']} {proxy['value']}",
        result["verdict"]["text"],
    )
    subject = _of_architecture(path, plugins)
    return _Subject(subject.supergraph, subject.architecture, f"{run['name']}: best architecture", notes)


def _of_architecture(path: Path, plugins: Plugins) -> _Subject:
    described = _read_architecture(path)
    kind = plugins.catalogue.kinds.get(described["space"].get("kind"))
    if kind is None:
        raise UsageError(
            f"{path}: its space has the kind {described['space'].get('kind')!r}, which no plugin here offers"
        )
    context = {"operations": plugins.catalogue.operations}
    try:
        config = kind.config.model_validate(described["space"], context=context)
    except ValueError as error:
        raise UsageError(f"{path}: its space cannot be read: {error}") from None
    builder = GraphBuilder("search")
    kind.build(config, builder, "search", kind.share[0])
    supergraph = builder.finish()
    try:
        architecture = supergraph.space.architecture(described["decisions"])
    except SpaceError as error:
        raise UsageError(f"{path}: {error}") from None
    return _Subject(supergraph, architecture, path.stem)


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
        or not isinstance(described.get("decisions"), dict)
    ):
        raise UsageError(f"{path}: not an architecture file (it needs 'space' and 'decisions')")
    return described
