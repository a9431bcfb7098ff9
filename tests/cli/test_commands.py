"""The commands besides run: what they print, how fast they answer, how they refuse."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from toy import nasforge, write_toy

from nasforge.cli import check
from nasforge.cli.common import alike

ROOT = Path(__file__).parents[2]
ACTIVATIONS = importlib.util.find_spec("nasforge_activations") is not None
PTB = Path(os.environ.get("NASFORGE_TEST_DATA", "")) / "ptb"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path)


def test_commands_that_train_nothing_import_neither_torch_nor_matplotlib(toy: Path) -> None:
    code = (
        "import sys\n"
        "from nasforge.cli.main import app\n"
        "for arguments in (['--help'], ['check', 'toy.yaml'], ['show', 'toy.yaml'],\n"
        "                  ['show', 'toy.yaml', '--format', 'svg'],\n"
        "                  ['show', 'toy.yaml', '--format', 'dot'],\n"
        "                  ['show', 'toy.yaml', '--format', 'mermaid'],\n"
        "                  ['sample', 'toy.yaml'], ['plugins', 'ls'], ['data', 'ls'], ['run', '--help']):\n"
        "    try:\n"
        "        app(arguments, standalone_mode=False)\n"
        "    except SystemExit:\n"
        "        pass\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=toy.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_check_prints_the_exact_size(toy: Path) -> None:
    done = nasforge("check", toy, cwd=toy.parent)
    assert done.returncode == 0
    assert "54 architectures" in done.stdout and "5 decisions" in done.stdout


def test_check_writes_large_numbers_as_strings_in_json() -> None:
    done = nasforge("check", "spaces/ptb_rnn.yaml", "--json", cwd=ROOT)
    (report,) = json.loads(done.stdout)
    assert report["size"] == 669692775628800
    done = nasforge("check", "spaces/ptb_rnn.yaml", "--json", "--profile", "paper", cwd=ROOT)
    assert done.returncode == 0


def test_check_writes_size_and_distinct_alike_in_json() -> None:
    (report,) = json.loads(nasforge("check", "spaces/ptb_rnn.yaml", "space.nodes=13", "--json", cwd=ROOT).stdout)
    assert (report["size"], report["distinct"]) == ("32145253230182400", "323839605124")
    assert alike({"size": 2**53, "distinct": None}) == {"size": 2**53, "distinct": None}
    assert alike({"size": 2**53 + 1, "distinct": None}) == {"size": "9007199254740993", "distinct": None}


def test_check_prints_sizes_that_can_be_read() -> None:
    said = nasforge("check", "spaces/ptb_rnn.yaml", "space.nodes=64", cwd=ROOT).stdout.splitlines()[0]
    assert "of about 10^125.8 architectures, about 10^63.7 of them distinct, 127 decisions" in said
    one = nasforge(
        "check", "spaces/ptb_rnn.yaml", "space.nodes=1", "space.each.op={choose: 1, from: [tanh]}", cwd=ROOT
    ).stdout
    assert "of 1 architecture, 1 of them distinct, 1 decision (1 op)\n" in one and "the 1 architecture:" in one
    fixed = nasforge("check", "spaces/ptb_rnn.yaml", "space.nodes=1", "space.first={op: tanh}", cwd=ROOT).stdout
    assert "1 of them distinct, 0 decisions\n" in fixed


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0.0 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (1023 * 2**20, "1,023.0 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (2**52, "4,096.0 TiB"),
    ],
)
def test_memory_is_said_in_the_unit_that_fits(size: int, said: str) -> None:
    assert check.memory(size) == said


def test_check_counts_parameters_flops_and_the_bank() -> None:
    (report,) = json.loads(nasforge("check", "spaces/ptb_rnn.yaml", "--json", cwd=ROOT).stdout)
    # 13 products of 128 by 256 and a bias of 256, whatever is chosen: a matrix for each node and two for the first.
    assert report["parameters"] == dict.fromkeys(("min", "median", "max"), 13 * 128 * 256 + 256)
    assert report["flops"]["min"] < report["flops"]["median"] < report["flops"]["max"]
    # Shared by node, so the bank is as large as one cell of the search's width.
    assert report["bank_bytes"] == 4 * (13 * 96 * 192 + 192)
    assert [report[key] for key in ("counted", "exhaustive", "seed")] == [1000, False, 0]
    assert [report[key] for key in ("hidden", "bank_hidden")] == [128, 96]
    text = " ".join(nasforge("check", "spaces/ptb_rnn.yaml", cwd=ROOT).stdout.split())
    assert "1,000 architectures drawn uniformly (seed 0): min median max parameters 426,240 426,240 426,240" in text
    assert "shared bank of the search, 96 features in float32: 0.9 MiB" in text


def test_check_takes_overrides_and_counts_small_spaces_whole() -> None:
    done = nasforge("check", "spaces/ptb_rnn.yaml", "spaces/rnn_small.yaml", "space.nodes=2", "--json", cwd=ROOT)
    for report in json.loads(done.stdout):
        assert (report["size"], report["counted"], report["exhaustive"], report["seed"]) == (16, 16, True, None)
    # Of two nodes the cheapest has two identities, the dearest none: 128 FLOPs each.
    assert report["flops"]["max"] - report["flops"]["min"] == 2 * 128
    assert "all 16 architectures:" in nasforge("check", "spaces/ptb_rnn.yaml", "space.nodes=2", cwd=ROOT).stdout
    for arguments, said in (
        (["space.nodes=2"], "name the space file"),
        (["spaces/ptb_rnn.yaml", "space.nodez=2"], "override 'space.nodez=2': unknown key 'nodez'"),
    ):
        done = nasforge("check", *arguments, cwd=ROOT)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def _profiles(path: Path) -> list[str]:
    """Those of the two that every space with a task has, and of the published settings, that the file names."""
    text = path.read_text(encoding="utf-8")
    return [name for name in ("smoke", "quick", "paper") if re.search(rf"\n  {name}:", text)] or [""]


@pytest.mark.parametrize(
    ("space", "profile"),
    [(path.name, profile) for path in sorted((ROOT / "spaces").glob("*.yaml")) for profile in _profiles(path)],
)
def test_every_shipped_space_is_sound_in_every_profile(space: str, profile: str) -> None:
    if space == "rnn_activations.yaml" and not ACTIVATIONS:
        pytest.skip("the example plugin is not installed: pip install plugins/nasforge-activations")
    done = nasforge("check", f"spaces/{space}", *(["--profile", profile] if profile else []), cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_sample_gives_valid_distinct_architectures_and_repeats_with_the_seed(toy: Path) -> None:
    first = nasforge("sample", toy, "-n", "20", "--seed", "3", cwd=toy.parent)
    assert first.stdout == nasforge("sample", toy, "-n", "20", "--seed", "3", cwd=toy.parent).stdout
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert len(rows) == 20 and len({row["digest"] for row in rows}) > 5
    assert all(set(row) == {"digest", "canonical_digest", "decisions"} for row in rows)


def test_show_draws_a_space_and_an_architecture_of_it(toy: Path) -> None:
    assert "node1.input" in nasforge("show", toy, cwd=toy.parent).stdout
    cell = nasforge("show", toy, "--seed", "1", cwd=toy.parent).stdout
    assert "h = " in cell
    done = nasforge("show", toy, "--seed", "1", "-o", "cell.svg", cwd=toy.parent)
    assert done.returncode == 0 and (toy.parent / "cell.svg").read_text().startswith("<")
    done = nasforge("show", toy, "-o", "space.png", cwd=toy.parent)
    assert done.returncode == 0 and (toy.parent / "space.png").read_bytes().startswith(b"\x89PNG")


def test_show_takes_runs_and_architecture_files(toy_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run, _ = toy_run
    shown = nasforge("show", run, cwd=run.parent)
    assert shown.returncode == 0
    assert re.search(r"trained from scratch: test perplexity \d+\.\d\d, valid \d+\.\d\d after", shown.stdout)
    again = nasforge("show", run / "best" / "architecture.json", cwd=run.parent)
    assert again.returncode == 0 and again.stdout.splitlines()[-3:] == shown.stdout.splitlines()[-3:]


def test_plugins_ls_lists_every_kind_of_component() -> None:
    done = nasforge("plugins", "ls", "--json", cwd=ROOT)
    builtin = json.loads(done.stdout)["plugins"][0]["registered"]
    assert {"tanh", "relu", "sigmoid", "identity"} <= set(builtin["operations"])
    assert builtin["kinds"] == ["recurrent_cell", "conv_cell", "macro_network", "choices"]
    assert builtin["strategies"] == [
        "enas",
        "black_box",
        "successive_halving",
        "evolution",
        "local_search",
        "reinforce",
    ]


FAULTS = {
    "an unknown operation": (("identity]", "identiti]"), "6", "Did you mean 'identity'?"),
    "a misspelt key": (("  reward_bptt: 10", "  reward_btpt: 10"), "12", "reward_bptt"),
    "a wrong type": (("nodes: 3", "nodes: three"), "5", "found 'three'"),
    "no nodes": (("nodes: 3", "nodes: 0"), "5", "found 0"),
    "a switch for a number": (("epochs: 2, recipe", "epochs: true, recipe"), "18", "found true"),
    "an unknown strategy": (("kind: enas", "kind: enass"), "14", "Did you mean 'enas'?"),
    "a kind of another section": (("kind: recurrent_cell", "kind: language_model"), "4", "recurrent_cell"),
    "a shortlist longer than the candidates": (("shortlist: 2", "shortlist: 5"), "17", "found 5"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_fault_is_shown_at_its_line_and_nothing_is_written(toy: Path, fault: str, command: str) -> None:
    (old, new), _, said = FAULTS[fault]
    text = toy.read_text()
    assert text.count(old) == 1
    toy.write_text(text.replace(old, new))
    line = next(n for n, each in enumerate(toy.read_text().splitlines(), 1) if new.strip() in each)
    before = sorted(toy.parent.iterdir())
    done = nasforge(command, "toy.yaml", cwd=toy.parent)
    assert done.returncode == 2, done.stdout
    assert f"toy.yaml:{line}:" in done.stderr and said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(toy.parent.iterdir()) == before


def test_all_faults_are_shown_at_once(toy: Path) -> None:
    text = toy.read_text()
    for old, new in (("nodes: 3", "nodes: 0"), ("units: 8", "unitz: 8"), ("identity", "identiti")):
        text = text.replace(old, new)
    toy.write_text(text)
    done = nasforge("check", "toy.yaml", cwd=toy.parent)
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("found 0", "unitz", "identiti"))


def test_data_faults_end_the_run_before_it_begins(toy: Path) -> None:
    (toy.parent / "valid.txt").unlink()
    done = nasforge("run", "toy.yaml", "--run-dir", "r", cwd=toy.parent)
    assert done.returncode == 2 and "valid.txt" in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.startswith("toy.yaml:10:11: ")
    assert not (toy.parent / "r").exists()


def test_a_corpus_smaller_than_one_batch_is_refused(toy: Path) -> None:
    (toy.parent / "train.txt").write_text("one two\n")
    done = nasforge("run", "toy.yaml", "--run-dir", "r", cwd=toy.parent)
    assert done.returncode == 2 and "3 tokens" in done.stderr and "batch_size" in done.stderr
    assert done.stderr.startswith("toy.yaml:10:11: ")
    assert not (toy.parent / "r").exists()


def test_missing_files_unknown_profiles_and_devices_are_refused(toy: Path) -> None:
    for arguments, said in (
        (["run", "tox.yaml"], "toy.yaml"),
        (["run", "toy.yaml", "--profile", "quik"], "profile"),
        (["run", "toy.yaml", "--device", "tpu"], "cpu, cuda"),
        (["run", "toy.yaml", "nodes"], "key"),
        (["run", "toy.yaml", "space.nodez=3"], "override 'space.nodez=3'"),
        (["resume", "."], "no run here"),
        (["show", "toy.yaml", "--format", "jpg"], "unknown format"),
        (["data", "add", "ptp", "."], "Did you mean 'ptb'?"),
        (["run", "toy.yaml", "task.corpus=ptb"], "override 'task.corpus=ptb': Penn Treebank is not here"),
        (["frobnicate"], "frobnicate"),
    ):
        done = nasforge(*arguments, cwd=toy.parent, env={"NASFORGE_DATA": str(toy.parent / "data")})
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert said in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--debug", "run", "tox.yaml"), ("run", "tox.yaml", "--debug")])
def test_debug_adds_the_traceback_wherever_it_stands(toy: Path, arguments: tuple[str, ...]) -> None:
    done = nasforge(*arguments, cwd=toy.parent)
    assert done.returncode != 0 and "Traceback" in done.stderr
    assert "Traceback" not in nasforge("run", "tox.yaml", cwd=toy.parent).stderr


def test_an_interrupt_during_the_imports_ends_in_one_line() -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'nasforge.cli.main':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from nasforge.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "Stopped before anything was begun.\n")


def test_wrong_ptb_files_are_refused_and_nothing_is_placed(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / f"ptb.{split}.txt").write_text(" no it was n't\n")
    env = {"NASFORGE_DATA": str(tmp_path / "data")}
    done = nasforge("data", "add", "ptb", ".", cwd=tmp_path, env=env)
    assert done.returncode == 2 and "929,589" in done.stderr.replace("929589", "929,589")
    assert not (tmp_path / "data" / "ptb").exists()


@pytest.mark.skipif(not PTB.is_dir(), reason="the Penn Treebank is not here (NASFORGE_TEST_DATA)")
def test_ptb_is_added_and_known(tmp_path: Path) -> None:
    env = {"NASFORGE_DATA": str(tmp_path / "data")}
    done = nasforge("data", "add", "ptb", PTB, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    rows = json.loads(nasforge("data", "ls", "--json", cwd=tmp_path, env=env).stdout)
    (ptb,) = (row for row in rows if row["name"] == "ptb")
    assert ptb["present"] and "929,589" in ptb["detail"]
