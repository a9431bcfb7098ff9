"""Tables of scores: the format, what is looked up, and every sort of wrong file."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasforge.data.npz import npz_bytes, read_npz
from nasforge.data.table import Table, load_table, save_table
from nasforge.errors import DataError, StorageError

ARCHITECTURES = np.array([[0, 0], [0, 1], [1, 0], [1, 2]], dtype=np.int8)
SCORES = np.array([[10.0, 20.0], [30.0, 50.0], [5.0, 7.0], [60.0, 0.0]], dtype=np.float32)
SECONDS = np.array([1.5, 2.5, 3.5, 4.5])
META = {"name": "tiny", "metric": "accuracy", "direction": "max", "source": "made up"}


def archive(folder: Path, meta: Any = None, **changed: Any) -> Path:
    """A right file with changes; an array that is None is left out."""
    text = meta if isinstance(meta, np.ndarray) else np.array(json.dumps({**META, **(meta or {})}))
    arrays = {"architectures": ARCHITECTURES, "scores": SCORES, "seconds": SECONDS, "meta": text, **changed}
    file = folder / "table.npz"
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


def fault(file: Path, **arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_table(file, **arguments)
    message = str(caught.value)
    assert all(line.startswith(f"{file}: ") for line in message.splitlines())
    return message.removeprefix(f"{file}: ")


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_table_is_read_as_it_is_described(tmp_path: Path) -> None:
    file = archive(tmp_path)
    table = load_table(file)
    assert (table.name, table.metric, table.direction, table.options) == ("tiny", "accuracy", "max", (2, 3))
    assert (len(table), table.n_runs) == (4, 2)
    assert table.architectures.tolist() == ARCHITECTURES.tolist() and table.scores.tolist() == SCORES.tolist()
    assert {name: column.tolist() for name, column in table.columns.items()} == {"seconds": SECONDS.tolist()}
    assert table.meta == META
    assert table.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_rows_are_found_by_the_numbers_of_the_options(tmp_path: Path) -> None:
    table = load_table(archive(tmp_path))
    assert [table.row(indices) for indices in [(1, 2), [0, 0], (0, 1), (1, 0)]] == [3, 0, 1, 2]
    for absent, message in {
        (1, 1): "tiny: the architecture 1, 1 is not in the table, which has 4",
        (0, 3): "tiny: decision 1 has the options 0 to 2, not 3",
        (-1, 0): "tiny: decision 0 has the options 0 to 1, not -1",
        (0,): "tiny: an architecture has 2 decisions, not 1",
    }.items():
        with pytest.raises(DataError) as caught:
            table.row(absent)
        assert str(caught.value) == message


def test_the_truth_is_the_mean_and_the_best_has_no_regret(tmp_path: Path) -> None:
    table = load_table(archive(tmp_path))
    assert [table.truth(row) for row in range(4)] == [15.0, 40.0, 6.0, 30.0]
    assert table.best == 40.0
    assert [table.regret(row) for row in range(4)] == [25.0, 0.0, 34.0, 10.0]
    assert table.reward(3.0) == 3.0


def test_where_lower_is_better_best_regret_and_reward_turn_round(tmp_path: Path) -> None:
    table = load_table(archive(tmp_path, {"direction": "min"}))
    assert table.best == 6.0
    assert [table.regret(row) for row in range(4)] == [9.0, 34.0, 0.0, 24.0]
    assert table.reward(3.0) == -3.0
    assert load_table(archive(tmp_path, {"direction": "min"}), direction="max").best == 40.0


def test_each_run_is_drawn_equally_often(tmp_path: Path) -> None:
    table, rng = load_table(archive(tmp_path)), random.Random(0)
    counts = Counter(table.draw(1, rng) for _ in range(2000))
    assert counts.keys() == {30.0, 50.0} and abs(counts[30.0] - 1000) < 4 * (2000 / 4) ** 0.5
    first, second = ([table.draw(3, random.Random(n)) for n in range(20)] for _ in range(2))
    assert first == second


def test_names_come_from_the_caller_before_the_file(tmp_path: Path) -> None:
    named = {"architectures": "arch", "scores": "acc"}
    other = np.array([[1.0], [2.0], [3.0], [4.0]])
    file = archive(tmp_path, named, architectures=None, scores=None, arch=ARCHITECTURES, acc=SCORES, test=other)
    assert load_table(file).scores.tolist() == SCORES.tolist()
    table = load_table(file, scores="test", metric="test accuracy")
    assert (table.scores.tolist(), table.metric) == (other.tolist(), "test accuracy")
    assert set(table.columns) == {"seconds"}


def test_a_bare_file_needs_the_direction_only(tmp_path: Path) -> None:
    file = archive(tmp_path, np.array("{}"))
    table = load_table(file, direction="min")
    assert (table.name, table.metric, table.direction) == ("table", "scores", "min")
    assert fault(file) == "meta: does not say the direction; expected max (higher scores are better) or min"


def test_options_that_no_row_has_can_be_declared(tmp_path: Path) -> None:
    assert load_table(archive(tmp_path, {"options": [2, 5]})).options == (2, 5)


# Wrong files ---------------------------------------------------------------------------------------------------------

NAN = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0], [7.0, 8.0]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": None}, "holds no array scores."),
        (
            {"architectures": None, "architecture": ARCHITECTURES},
            "holds no array architectures. Did you mean 'architecture'? It holds architecture, scores, seconds",
        ),
        ({"architectures": ARCHITECTURES.astype(float)}, "architectures: of type float64, expected integers"),
        ({"architectures": ARCHITECTURES[:, 0]}, "architectures: of shape (4,), expected (n, decisions)"),
        (
            {"architectures": ARCHITECTURES[:, :0]},
            "architectures: of shape (4, 0), expected (n, decisions), at least one of each",
        ),
        ({"architectures": ARCHITECTURES - 1}, "architectures: row 0, decision 0 is -1, expected 0 to 2147483647"),
        (
            {"architectures": np.array([[0, 0], [0, 2**40], [1, 0], [1, 2]])},
            "architectures: row 1, decision 1 is 1099511627776, expected 0 to 2147483647",
        ),
        (
            {"architectures": np.array([[0, 0], [0, 1], [1, 0], [0, 1]])},
            "architectures: rows 1 and 3 are equal",
        ),
        ({"architectures": ARCHITECTURES[:3]}, "scores: of shape (4, 2), expected (3, runs), at least one run"),
        ({"scores": SCORES[:, 0]}, "scores: of shape (4,), expected (4, runs), at least one run"),
        ({"scores": SCORES[:, :0]}, "scores: of shape (4, 0), expected (4, runs), at least one run"),
        ({"scores": SCORES.astype(int)}, "scores: of type int64, expected floats"),
        ({"scores": NAN}, "scores: row 1, run 1 is nan, expected finite numbers"),
        ({"scores": -np.inf * np.ones((4, 1))}, "scores: row 0, run 0 is -inf, expected finite numbers"),
        ({"seconds": SECONDS[:3]}, "seconds: of type float64 and shape (3,), expected numbers (4,)"),
        ({"seconds": np.array(list("abcd"))}, "seconds: of type <U1 and shape (4,), expected numbers (4,)"),
        ({"seconds": np.array([1, np.nan, 3, 4])}, "seconds: row 1 is not finite"),
        ({"meta": np.array(3)}, "meta: of type int64 and shape (), expected one text"),
        ({"meta": np.array(["{}"])}, "meta: of type <U2 and shape (1,), expected one text"),
        ({"meta": np.array("{]")}, "meta: is not JSON: "),
        ({"meta": np.array("[1]")}, "meta: is JSON, but no object"),
    ],
)
def test_what_is_wrong_in_an_array_is_said_with_its_place(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert fault(archive(tmp_path, **changed)).startswith(message)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"direction": "up"}, "meta: direction is 'up'; expected max (higher scores are better) or min"),
        ({"metric": 3}, "meta: metric is 3, expected a text"),
        ({"name": ""}, "meta: name is '', expected a text"),
        ({"scores": ["a"]}, "meta: scores is ['a'], expected a text"),
        ({"scores": "score"}, "holds no array score. Did you mean 'scores'? It holds"),
        ({"options": [2]}, "meta: options is [2], expected 2 integers, one for each decision"),
        ({"options": [2, 3.0]}, "meta: options is [2, 3.0], expected 2 integers, one for each decision"),
        ({"options": 3}, "meta: options is 3, expected 2 integers, one for each decision"),
        ({"options": [2, 2]}, "architectures: row 3, decision 1 is 2, expected 0 to 1"),
    ],
)
def test_what_is_wrong_in_the_text_is_said(meta: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert fault(archive(tmp_path, meta)).startswith(message)


def test_a_table_without_a_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.npz"
    np.savez(file, architectures=ARCHITECTURES, scores=SCORES)
    assert fault(file) == "holds no array meta; expected one text, a JSON object"


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    file = archive(tmp_path, architectures=ARCHITECTURES - 1, scores=NAN, seconds=SECONDS[:2])
    assert [line.removeprefix(f"{file}: ").split(":")[0] for line in fault(file).splitlines()] == [
        "architectures",
        "scores",
        "seconds",
    ]


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    assert fault(tmp_path / "absent.npz") == "no such file"
    single = tmp_path / "single.npy"
    np.save(single, SCORES)
    assert fault(single).startswith("holds a single array")
    torn = archive(tmp_path)
    torn.write_bytes(torn.read_bytes()[:-40])
    assert fault(torn).startswith("cannot be read as a NumPy archive")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    assert fault(archive(tmp_path, seconds=np.array([{}, 2, 1, None], dtype=object))).startswith(
        "cannot be read as a NumPy archive"
    )


# Writing -------------------------------------------------------------------------------------------------------------


def saved(file: Path, **changed: Any) -> Table:
    arguments: dict[str, Any] = {
        "architectures": ARCHITECTURES,
        "scores": SCORES,
        "name": "tiny",
        "metric": "accuracy",
        "direction": "max",
        "columns": {"seconds": SECONDS},
        "meta": {"source": "made up"},
        **changed,
    }
    return save_table(file, **arguments)


def test_what_is_saved_is_read_as_it_was(tmp_path: Path) -> None:
    made, read = saved(tmp_path / "a.npz"), load_table(archive(tmp_path))
    for table in (made, load_table(tmp_path / "a.npz")):
        assert (table.name, table.metric, table.direction, table.options) == ("tiny", "accuracy", "max", (2, 3))
        assert dict(table.meta) == META
        assert np.array_equal(table.architectures, read.architectures) and np.array_equal(table.scores, read.scores)
        assert table.columns["seconds"].tolist() == SECONDS.tolist()
    assert np.load(tmp_path / "a.npz")["architectures"].dtype == np.int8


def test_equal_tables_are_equal_files(tmp_path: Path) -> None:
    assert saved(tmp_path / "a.npz").sha256 == saved(tmp_path / "b.npz").sha256
    assert saved(tmp_path / "c.npz", name="other").sha256 != saved(tmp_path / "a.npz").sha256


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": NAN}, "scores: row 1, run 1 is nan"),
        ({"columns": {"meta": SECONDS}}, "a column cannot be named meta"),
        ({"columns": {"seconds": [[1], [2], [3], [4]]}}, "seconds: of type int64 and shape (4, 1)"),
        ({"direction": "up"}, "meta: direction is 'up'"),
        ({"name": ""}, "meta: name is ''"),
        ({"options": [2, 2]}, "architectures: row 3, decision 1 is 2"),
    ],
)
def test_what_could_not_be_read_is_not_written(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    first = saved(file)
    with pytest.raises(DataError) as caught:
        saved(file, **changed)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert load_table(file).sha256 == first.sha256 and list(tmp_path.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent.a\.npz: cannot be written"):
        saved(tmp_path / "absent" / "a.npz")


def test_archives_are_made_without_objects(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        npz_bytes({"a": np.array([{}], dtype=object)})
    file = tmp_path / "a.npz"
    file.write_bytes(npz_bytes({"a": SCORES, "b": np.array("text")}))
    read = read_npz(file)
    assert read["a"].tolist() == SCORES.tolist() and str(read["b"]) == "text"


# The real one --------------------------------------------------------------------------------------------------------


def test_nas_bench_macro_is_read_as_it_is_published() -> None:
    file = Path(os.environ.get("NASFORGE_TEST_DATA", "absent")) / "benchmarks" / "nasbench_macro.npz"
    if not file.is_file():
        pytest.skip(
            "NAS-Bench-Macro is not shipped: set NASFORGE_TEST_DATA to a folder with benchmarks/nasbench_macro.npz"
        )
    table = load_table(file, architectures="arch", scores="test_acc", metric="accuracy", direction="max")
    assert (table.name, table.options, len(table), table.n_runs) == ("NAS-Bench-Macro (CIFAR-10)", (3,) * 8, 3**8, 3)
    assert set(table.columns) == {"params", "flops"}
    assert round(table.best, 2) == 93.13
    assert table.truth(table.row([0] * 8)) == pytest.approx(45.363, abs=1e-3)
