"""The exported image classifier stands alone: its files, its command line, its PNG files, text from users."""

from __future__ import annotations

import ast
import random
import struct
import textwrap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from export_checks import NO_NASFORGE, alone, formatted, ruff
from image_export import CLASSES, Case, sampled
from random_specs import supergraph_of
from torch import Tensor

from nasforge.errors import NasforgeError
from nasforge.export.allowed import check_source
from nasforge.export.files import exported_files
from nasforge.export.names import string_literal, tuple_literal
from nasforge.tasks.base import DescribesImages, ImageDescription, Task
from nasforge.testing.operations import import_source

OPERATIONS = ["identity", {"conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}, {"sep_conv": {"kernel": 3}}]


def _case(channels: int = 3) -> Case:
    block: dict[str, Any] = {
        "kind": "conv_cell",
        "image": [channels, 6, 5],
        "nodes": 2,
        "each": {"op": {"choose": 1, "from": OPERATIONS}},
        "stack": {"normal": 1, "reductions": 1, "channels": 4},
    }
    return sampled(supergraph_of(block, "final"), 1, (channels, 6, 5))


class Images:
    """What the task of the network says."""

    def __init__(self, description: ImageDescription) -> None:
        self._description = description

    def image_description(self) -> ImageDescription:
        return self._description


def _write(case: Case, folder: Path) -> None:
    n = case.shape[0]
    description = ImageDescription(case.shape, CLASSES, (0.5, 0.4, 0.3)[:n], (0.2, 0.3, 0.4)[:n])
    task = Images(description)
    assert isinstance(task, DescribesImages)
    facts = [("test accuracy", "97.3")]
    files = exported_files(cast(Task, task), case.plan, case.operations, case.network, title="Tiny", facts=facts)
    assert set(files) == {"model.py", "weights.safetensors"}
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def taken_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.py and its weights."""
    folder = tmp_path_factory.mktemp("home")
    _write(_case(), folder)
    return folder


def _expected(pixels: Tensor) -> tuple[list[str], list[float]]:
    """Class and probability of each image by nasforge."""
    case = _case()
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1).double() for each in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    with case.network.scoring():
        found = case.logits((pixels.double() / 255 - mean) / deviation).softmax(1).max(1)
    return [CLASSES[i] for i in found.indices.tolist()], found.values.tolist()


def _pixels(n: int = 4) -> Tensor:
    return torch.randint(256, (n, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_task_that_describes_no_images_has_no_files() -> None:
    case = _case()
    task = cast(Task, object())
    assert exported_files(task, case.plan, case.operations, case.network, title="", facts=[]) == {}


def test_the_class_without_nasforge_is_that_of_nasforge(taken_home: Path, tmp_path: Path) -> None:
    documented = ast.get_docstring(ast.parse((taken_home / "model.py").read_text(encoding="utf-8")))
    assert documented is not None
    example = textwrap.dedent(documented.partition("In Python:\n\n")[2])
    own = f"images = torch.tensor({_pixels().tolist()}, dtype=torch.uint8)\nprint(classify(network, images))"
    path = f"sys.path.insert(0, {str(taken_home)!r})\n"
    checked = "assert not any(name.partition('.')[0] == 'nasforge' for name in sys.modules)"
    done = alone("-I", "-c", "\n".join([NO_NASFORGE, path, example, own, checked]), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (ast.literal_eval(line) for line in done.stdout.splitlines())
    classes, probabilities = _expected(_pixels())
    assert len(first) == 5
    assert [name for name, _ in second] == classes
    assert [probability for _, probability in second] == pytest.approx(probabilities, abs=1e-5)


def test_train_and_eval_are_those_of_pytorch(taken_home: Path) -> None:
    module = import_source((taken_home / "model.py").read_text(encoding="utf-8"), taken_home, "model")
    network = module.load()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = module.normalise(_pixels())
    assert not network.training
    network(images)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.train()(images)
    moved = [name for name, value in network.state_dict().items() if not torch.equal(before[name], value)]
    assert moved and all("running" in name or "tracked" in name for name in moved)
    with pytest.raises(
        ValueError, match=r"images must be torch.uint8 of shape \(n, \*\(3, 6, 5\)\), found torch.float"
    ):
        module.classify(network, images)
    with pytest.raises(ValueError, match=r"found torch.uint8 of shape \(4, 3, 6, 4\)"):
        module.classify(network, _pixels()[..., 1:])


# PNG files -----------------------------------------------------------------------------------------------------------


def _png(rows: Sequence[bytes], width: int, *, depth: int = 8, colour: int = 2, interlaced: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, interlaced)
    packed = zlib.compress(b"".join(rows))
    parts = [chunk(b"IDAT", packed[:20]), chunk(b"IDAT", packed[20:])]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"tEXt", b"a\0b"), *parts, chunk(b"IEND", b"")]
    )


def _filtered(pixels: Tensor, kinds: Sequence[int]) -> list[bytes]:
    """The lines of a PNG file of `pixels` ``[channels, height, width]``, with a filter for each (section 9 of PNG)."""
    channels = pixels.shape[0]
    lines = [line.flatten().tolist() for line in pixels.permute(1, 2, 0)]
    above = [0] * len(lines[0])
    rows: list[bytes] = []
    for kind, line in zip(kinds, lines, strict=True):
        made = [kind]
        for i, value in enumerate(line):
            a, c = (line[i - channels], above[i - channels]) if i >= channels else (0, 0)
            b = above[i]
            distances = [abs(a + b - c - each) for each in (a, b, c)]
            paeth = (a, b, c)[distances.index(min(distances))]
            made.append((value - [0, a, b, (a + b) // 2, paeth][kind]) % 256)
        rows.append(bytes(made))
        above = line
    return rows


def _module(channels: int, folder: Path) -> Any:
    return import_source(_case(channels).export().source, folder, f"model{channels}")


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_files_of_every_filter_are_read(colour: int, channels: int, tmp_path: Path) -> None:
    rng = random.Random(colour)
    module = _module(channels, tmp_path)
    for trial in range(10):
        grey = colour in (0, 4) or channels == 1
        pixels = _pixels(1)[0].roll(trial, 2)
        pixels = pixels[:1].expand(3, -1, -1) if grey else pixels
        opaque = torch.full_like(pixels[:1], 255)
        stored = torch.cat((pixels[:1] if colour in (0, 4) else pixels, *([opaque] if colour >= 4 else [])))
        rows = _filtered(stored, [trial % 5] * 6 if trial < 5 else rng.choices(range(5), k=6))
        (tmp_path / "x.png").write_bytes(_png(rows, 5, colour=colour))
        assert torch.equal(module.read_png(tmp_path / "x.png"), pixels[:channels])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_png_files_of_another_program_are_read(mode: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = _pixels(1)[0] if mode.startswith("RGB") else _pixels(1)[0, :1].expand(3, -1, -1)
    whole = image.fromarray(pixels.permute(1, 2, 0).numpy()).convert(mode)
    whole.save(tmp_path / "x.png", optimize=True)
    assert torch.equal(_module(3, tmp_path).read_png(tmp_path / "x.png"), pixels)


FILTERS = [0, 1, 2, 3, 4, 0]
GOOD = _filtered(_pixels(1)[0], FILTERS)
REFUSED: list[tuple[bytes, str]] = [
    (b"GIF89a", "it is no PNG file"),
    (_png(GOOD, 5)[:20], "it is no PNG file"),
    (_png(GOOD, 5)[:28], "it is no PNG file"),
    (_png(GOOD, 5)[:33], "it is damaged"),
    (_png(GOOD[:5], 5), "it has 5 x 5 pixels, but the network reads 6 x 5"),
    (_png(GOOD, 5, depth=16), "only PNG files of 8 bits"),
    (_png(GOOD, 5, colour=3), "without palette"),
    (_png(GOOD, 5, interlaced=1), "not interlaced"),
    (_png(GOOD, 5)[:-40], "it is damaged"),
    (_png([*GOOD[:5], b"\x09" + GOOD[5][1:]], 5), "it is damaged"),
    (_png([*GOOD[:5], GOOD[5][:-1]], 5), "it is damaged"),
    (_png([*GOOD[:5], GOOD[5] * 2], 5), "it is damaged"),
    (_png(_filtered(torch.cat((_pixels(1)[0], _pixels(1)[0, :1])), FILTERS), 5, colour=6), "transparent"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_other_files_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        _module(3, tmp_path).read_png(tmp_path / "x.png")


def test_colours_are_not_made_grey(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(_png(GOOD, 5))
    with pytest.raises(ValueError, match="it has 3 channels, but the network reads 1"):
        _module(1, tmp_path).read_png(tmp_path / "x.png")


def test_command_line_prints_class_and_probability(taken_home: Path, tmp_path: Path) -> None:
    pixels = _pixels(2)
    for number, each in enumerate(pixels):
        (tmp_path / f"{number}.png").write_bytes(_png(_filtered(each, FILTERS), 5))
    done = alone(str(taken_home / "model.py"), "0.png", "1.png", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = zip(range(2), *_expected(pixels), strict=True)
    assert done.stdout == "".join(f"{number}.png: {name} ({value:.1%})\n" for number, name, value in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: python model.py IMAGE.png ..."),
        (["--help"], "usage: python model.py IMAGE.png ..."),
        (["missing.png"], "cannot classify missing.png: [Errno 2] No such file or directory: 'missing.png'"),
        (["text.png"], "cannot classify text.png: it is no PNG file"),
        (["empty.png"], "cannot classify empty.png: it is no PNG file"),
    ],
)
def test_command_line_says_what_is_wrong(arguments: list[str], message: str, taken_home: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    done = alone(str(taken_home / "model.py"), *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_command_line_names_missing_weights(taken_home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_bytes((taken_home / "model.py").read_bytes())
    done = alone("model.py", "x.png", folder=tmp_path)
    assert done.returncode == 1
    assert "cannot read the weights" in done.stderr and "weights.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


# Text from users -----------------------------------------------------------------------------------------------------

HOSTILE = [
    '"); import os; ("',
    "'single' and \"double\"",
    'only "double"',
    "only 'single'",
    "ends with a backslash \\",
    "two\nlines\x00\x1b[31m\u202e",
    "\ud800, \N{SNOWMAN}, \N{GRINNING FACE} and \u2028",
    "",
    "{braces} %s",
    "word " * 60,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_titles_and_facts_stay_text(text: str, tmp_path: Path) -> None:
    case = _case()
    exported = case.export(text, [(text, text)], (text, "b", text))
    exported.source.encode()
    plain, found = ast.parse(case.export().source), ast.parse(exported.source)
    changed = [ast.dump(a) != ast.dump(b) for a, b in zip(plain.body, found.body, strict=True)]
    assert sum(changed) == 2 and changed[0]  # the docstring and the names of the classes
    assert (text, "b", text) == import_source(exported.source, tmp_path, "model").CLASSES
    formatted(exported.source)


def test_many_classes_are_listed_one_a_line() -> None:
    names = [f"class {number}" for number in range(100)]
    source = sampled(
        supergraph_of({"kind": "macro_network", "image": [1, 6, 6], "layers": 1, "each": {"op": "identity"}}),
        0,
        (1, 6, 6),
        classes=100,
    )
    text = source.export(classes=names).source
    formatted(text)
    assert '\n    "class 99",\n)\n' in text


def test_literals_are_what_formatters_write() -> None:
    lines = [f"x{n} = {string_literal(text)}" for n, text in enumerate(HOSTILE)]
    lines += tuple_literal("y", ["1"]) + tuple_literal("z", ["1", "2"]) + tuple_literal("w", ["12345678"] * 30)
    ruff("\n".join(lines) + "\n", "format", "--check")
    check_source("\n".join(lines))


def test_tuples_at_the_top_hold_constants_only() -> None:
    check_source("x = (1, 'a')")
    for line in ("x = (1, print('x'))", "x = ((1, 2),)", "x = [1]"):
        with pytest.raises(NasforgeError, match="runs on import"):
            check_source(line)
