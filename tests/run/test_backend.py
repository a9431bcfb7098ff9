"""The backend of a run: settled before it begins, recorded, and the same after a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import nasforge, write_toy

from nasforge.executors.loops import Loops


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return write_toy(tmp_path)


def no_compiler(folder: Path) -> dict[str, str]:
    """An environment in which no program is found."""
    (folder / "bin").mkdir(exist_ok=True)
    return {"PATH": str(folder / "bin"), "CXX": "", "NASFORGE_CACHE": str(folder / "cache")}


def losses(run: Path) -> list[float]:
    lines = (json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line.get("loss") is not None]


def test_native_is_recorded_and_its_losses_are_those_of_python_up_to_rounding(native: Loops, space: Path) -> None:
    folder = space.parent
    recorded = {}
    for backend in ("native", "python", "interpreter"):
        done = nasforge("run", space, f"executor.backend={backend}", "--run-dir", backend, cwd=folder)
        assert done.returncode == 0, done.stderr
        recorded[backend] = json.loads((folder / backend / "run.json").read_text())
        assert recorded[backend]["backend"] == backend
    assert len(recorded["native"]["native_build"]) == 16
    assert recorded["python"]["native_build"] is None
    first = losses(folder / "interpreter")[0]
    assert losses(folder / "native")[0] == pytest.approx(first, rel=1e-5)
    assert losses(folder / "python")[0] == pytest.approx(first, rel=1e-5)


def test_without_a_compiler_auto_takes_python_and_says_so_once_and_native_is_refused_at_its_line(space: Path) -> None:
    folder = space.parent
    env = no_compiler(folder)
    done = nasforge("run", space, "--run-dir", "run", "--quiet", cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("recurrent cells run in Python, not natively: there is no C++ compiler") == 1
    assert json.loads((folder / "run" / "run.json").read_text())["backend"] == "python"
    text = space.read_text().replace("executor: {", "executor: {backend: native, ")
    space.write_text(text)
    done = nasforge("run", space, "--run-dir", "other", cwd=folder, env=env)
    assert done.returncode == 2
    line = text[: text.index("backend")].count("\n") + 1
    assert f"toy.yaml:{line}:" in done.stderr
    assert "there is no C++ compiler" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "other").exists()


def test_resume_takes_the_recorded_backend_or_refuses(native: Loops, space: Path) -> None:
    folder = space.parent
    done = nasforge("run", space, "--run-dir", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    whole = (folder / "run" / "result.json").read_bytes()
    run_file = folder / "run" / "run.json"
    facts = json.loads(run_file.read_text())
    for job in (folder / "run" / "checkpoints").glob("search-*"):
        for file in job.iterdir():
            file.unlink()
        job.rmdir()
    (folder / "run" / "result.json").unlink()

    run_file.write_text(json.dumps({**facts, "status": "interrupted", "native_build": "0" * 16}))
    done = nasforge("resume", "run", cwd=folder)
    assert done.returncode == 2
    assert "another build (0000000000000000, here " in done.stderr

    run_file.write_text(json.dumps({**facts, "status": "interrupted"}))
    done = nasforge("resume", "run", cwd=folder, env=no_compiler(folder))
    assert done.returncode == 2
    assert "cannot be had here: there is no C++ compiler" in done.stderr
    assert not (folder / "run" / "result.json").exists()

    done = nasforge("resume", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "result.json").read_bytes() == whole
