"""The application: commands are collected here, and errors become messages and exit codes here."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn, cast

import typer
from rich.console import Console

from nasforge import __version__
from nasforge.cli import check, compare, data, plugins, run, sample, schema, show
from nasforge.errors import NasforgeError

# Newer typer carries its own copy of click: its exceptions are not those of an installed click.
_UsageFault = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

app = typer.Typer(
    name="nasforge",
    help="Neural architecture search over declarative spaces, with shared weights.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("compare")(compare.compare)
app.command("check")(check.check)
app.command("show")(show.show)
app.command("sample")(sample.sample)
app.command("schema")(schema.schema)
app.add_typer(data.app, name="data")
app.add_typer(plugins.app, name="plugins")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nasforge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Neural architecture search over declarative spaces, with shared weights."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, told apart from Ctrl-C by the exit code."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def main() -> NoReturn:
    """Run the command line and exit with its code (interface: 0 done, 1 failed, 2 usage or spec, 3 to 6, 130, 143)."""
    # Taken out here, so that it may stand before and after the command.
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    signal.signal(signal.SIGTERM, _terminate)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
    try:
        code = app([argument for argument in arguments if argument != "--debug"], standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except NasforgeError as error:
        if debug:
            raise
        errors.print(str(error), markup=False)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        sys.exit(143 if isinstance(error, Terminated) or isinstance(error.__cause__, Terminated) else 130)
    except BrokenPipeError:
        # The reader of our output has gone (a pager that was closed): nothing is wrong.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if not isinstance(error, _UsageFault):
            raise
        cast(typer.BadParameter, error).show()
        sys.exit(2)
