"""``nasforge schema``: what it prints, what it writes, and the files that name it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from toy import nasforge

ROOT = Path(__file__).parents[2]
MODELINE = "# yaml-language-server: $schema=nasforge.schema.json"

PLUGIN = '''
from pydantic import Field
from nasforge import hookimpl
from nasforge.components import Options, activation

class EluOptions(Options):
    """Parameters of ``elu``.

    Attributes:
        alpha: the limit of very negative inputs.
    """

    alpha: float = Field(gt=0, le=10)

@hookimpl
def nasforge_operations():
    return [activation("elu", "bent at 0", f"{__name__}:x", "{x}", config=EluOptions)]
'''


def test_the_schema_is_printed_and_written(tmp_path: Path) -> None:
    printed = nasforge("schema", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    jsonschema.Draft202012Validator.check_schema(json.loads(printed.stdout))
    written = nasforge("schema", "-o", "s.json", cwd=tmp_path)
    assert written.returncode == 0 and written.stdout == "wrote s.json\n"
    assert (tmp_path / "s.json").read_text(encoding="utf-8") == printed.stdout
    refused = nasforge("schema", "-o", "no/s.json", cwd=tmp_path)
    assert refused.returncode == 4 and refused.stderr == "-o no/s.json: the folder no does not exist; create it first\n"


def test_a_plugin_s_operations_and_parameters_are_in_it(tmp_path: Path) -> None:
    (tmp_path / "elu.py").write_text(PLUGIN)
    done = nasforge("schema", "--plugin", "elu.py", cwd=tmp_path)
    operation = json.loads(done.stdout)["$defs"]["operation.activation"]
    bare, spelled_out = operation["anyOf"]
    assert "elu" not in bare["enum"]  # it has a parameter without a default
    elu = spelled_out["properties"]["elu"]
    assert elu["required"] == ["alpha"]
    assert elu["properties"]["alpha"]["description"] == "the limit of very negative inputs."
    assert '"elu"' not in nasforge("schema", cwd=tmp_path).stdout


def test_neither_torch_nor_matplotlib_is_imported(tmp_path: Path) -> None:
    space = str(ROOT / "spaces" / "ptb_rnn.yaml")
    code = (
        "import sys\n"
        "from nasforge.cli.main import app\n"
        "from nasforge.errors import NasforgeError\n"
        f"for arguments in (['schema'], ['show', {space!r}, 'space.nodes=2', '--from', 'enas-ptb', '0 0 3', '--to', 'enas-lm'],\n"
        f"                  ['show', {space!r}, 'space.nodes=2', '--from', 'enas-ptb', '0 0 3', '--format', 'svg']):\n"
        "    app(arguments, standalone_mode=False)\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "spaces").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_space_names_the_schema_beside_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").splitlines()[0] == MODELINE
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/spaces/nasforge.schema.json" in ignored
    assert "nasforge schema -o spaces/nasforge.schema.json" in (ROOT / "README.md").read_text(encoding="utf-8")
