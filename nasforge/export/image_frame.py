"""The parts of an exported image classifier that are the same for every network."""

from __future__ import annotations

from nasforge.export.document import Usage

FRAME_NAMES = frozenset(
    {
        *("CLASSES", "DEVIATION", "F", "FOLDER", "IMAGE_SHAPE", "MEAN", "Network", "Path", "Tensor", "annotations"),
        *("classify", "decode_png", "load", "load_file", "main", "math", "nn", "normalise", "read_png", "sys", "torch"),
        "zlib",
    }
)
"""The names that the frame defines or imports; nothing else in the file may have them."""

USAGE = Usage(
    introduction=(
        "An image classifier found by architecture search, as one file of plain PyTorch. It needs torch and",
        "safetensors, and beside it `weights.safetensors`.",
    ),
    how=(
        "The class of images of the size that the network was trained on, each a PNG file:",
        "",
        "    python model.py image.png ...",
        "",
        "In Python:",
        "",
        "    import torch",
        "    from model import IMAGE_SHAPE, classify, load, normalise",
        "",
        "    network = load()",
        "    images = torch.randint(256, (5, *IMAGE_SHAPE), dtype=torch.uint8)  # [n, channels, height, width]",
        "    print(classify(network, images))  # the likeliest class of each and its probability",
        "    logits = network(normalise(images))  # [n, classes]",
    ),
)

LOADING = '''\
def load(folder: str | Path = FOLDER) -> Network:
    """The network with its trained weights, `weights.safetensors` in `folder` (where this file lies, if not given).

    It is ready to be used: batch norms take their running statistics. To train it further, call `train()` on it.
    """
    network = Network()
    network.load_state_dict(load_file(Path(folder) / "weights.safetensors"))
    return network.train(False)


def normalise(images: Tensor) -> Tensor:
    """Bytes `[n, channels, height, width]` as the network reads them: mean 0 and deviation 1 in each channel."""
    mean = torch.tensor(MEAN, device=images.device).view(1, -1, 1, 1)
    deviation = torch.tensor(DEVIATION, device=images.device).view(1, -1, 1, 1)
    return (images.float() / 255 - mean) / deviation


@torch.no_grad()
def classify(network: Network, images: Tensor | str | Path) -> list[tuple[str, float]]:
    """The likeliest class of each image and its probability.

    Args:
        network: from `load`.
        images: bytes (uint8) `[n, channels, height, width]`, or the path of one PNG file.
    """
    pixels = images if isinstance(images, Tensor) else read_png(images).unsqueeze(0)
    if pixels.dtype != torch.uint8 or tuple(pixels.shape[1:]) != IMAGE_SHAPE:
        found = f"{pixels.dtype} of shape {tuple(pixels.shape)}"
        raise ValueError(f"images must be torch.uint8 of shape (n, *{IMAGE_SHAPE}), found {found}")
    logits = network(normalise(pixels).to(network.classifier.weight))
    probabilities, classes = logits.softmax(1).max(1)
    return [(CLASSES[i], probability) for i, probability in zip(classes.tolist(), probabilities.tolist())]
'''

READING = '''\
def read_png(path: str | Path) -> Tensor:
    """The bytes (uint8) `[channels, height, width]` of a PNG file of the network's size, which is not resized.

    A grey image becomes three equal channels where the network reads colours; transparency is refused.
    """
    channels, height, width = IMAGE_SHAPE
    data = Path(path).read_bytes()
    if data[:8] != b"\\x89PNG\\r\\n\\x1a\\n" or data[12:16] != b"IHDR" or len(data) < 33:
        raise ValueError("it is no PNG file")
    size = (int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big"))
    if size != (height, width):
        raise ValueError(f"it has {size[0]} x {size[1]} pixels, but the network reads {height} x {width}")
    depth, colour, interlaced = data[24], data[25], data[28]
    if depth != 8 or colour not in (0, 2, 4, 6) or interlaced:
        raise ValueError("only PNG files of 8 bits, without palette and not interlaced, are read: save it as such")
    packed, at = b"", 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += length + 12
    depth = (1, 0, 3, 0, 2, 0, 4)[colour]  # bytes of a pixel
    pixels = decode_png(packed, height, width, depth)
    if depth in (2, 4):
        if (pixels[-1] < 255).any():
            raise ValueError("it is transparent in places: save it without transparency")
        pixels = pixels[:-1]
    if len(pixels) == 3 and channels == 1 and (pixels == pixels[:1]).all():
        pixels = pixels[:1]
    if len(pixels) == 1 and channels == 3:
        pixels = pixels.expand(3, -1, -1)
    if len(pixels) != channels:
        raise ValueError(f"it has {len(pixels)} channels, but the network reads {channels}")
    return pixels


def decode_png(packed: bytes, height: int, width: int, depth: int) -> Tensor:
    """Undo the compression of a PNG file: each line is what differs from a prediction, which its first byte names."""
    try:
        data = zlib.decompress(packed)
    except zlib.error as error:
        raise ValueError(f"it is damaged: {error}") from None
    length = 1 + depth * width
    if len(data) != height * length or max(data[::length]) > 4:
        raise ValueError("it is damaged")
    above, rows = [0] * (depth * width), []
    for begin in range(0, len(data), length):
        kind, *row = data[begin : begin + length]
        for i, up in enumerate(above):
            left, corner = (row[i - depth], above[i - depth]) if i >= depth else (0, 0)
            nearest = min(left, up, corner, key=lambda value: abs(left + up - corner - value))
            row[i] = (row[i] + (0, left, up, (left + up) // 2, nearest)[kind]) % 256
        rows.append(row)
        above = row
    return torch.tensor(rows, dtype=torch.uint8).view(height, width, depth).permute(2, 0, 1)


def main() -> None:
    """`python model.py IMAGE.png ...` prints the likeliest class of each image and its probability."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python model.py IMAGE.png ...    (PNG files of the size that the network was trained on)")
    try:
        network = load()
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read the weights: {error}")
    for path in sys.argv[1:]:
        try:
            found = classify(network, path)
        except (OSError, ValueError) as error:  # a file that is missing, unreadable or of another form
            sys.exit(f"cannot classify {path}: {error}")
        for name, probability in found:
            print(f"{path}: {name} ({probability:.1%})")


if __name__ == "__main__":
    main()
'''
