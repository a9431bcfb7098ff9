"""The parts of an exported language model that are the same for every network."""

from __future__ import annotations

from nasforge.export.document import Usage

FRAME_NAMES = frozenset(
    {
        *("Cell", "F", "FOLDER", "LanguageModel", "Path", "Tensor", "VOCABULARY_SIZE", "WIDTH", "annotations"),
        *("encode", "load", "load_file", "main", "math", "nn", "perplexity", "read_vocabulary", "sys", "torch"),
    }
)
"""The names that the frame defines or imports; nothing else in the file may have them."""

USAGE = Usage(
    introduction=(
        "A word-level language model found by architecture search, as one file of plain PyTorch. It needs torch and",
        "safetensors, and beside it `weights.safetensors` and `vocabulary.txt` (one word a line; its place is its id).",
    ),
    how=(
        "The perplexity of a text with one sentence a line, words apart by blanks and in the form of the vocabulary:",
        "",
        "    python model.py text.txt",
        "",
        "In Python:",
        "",
        "    import torch",
        "    from model import encode, load, read_vocabulary",
        "",
        "    model, vocabulary = load(), read_vocabulary()",
        '    words = encode("a list of the", vocabulary)[:-1]  # without <eos>, to see how the sentence goes on',
        "    logits, state = model(torch.tensor(words).unsqueeze(1))  # [time, batch]; `state` goes into the next call",
        "    print([vocabulary[i] for i in logits[-1, 0].topk(5).indices.tolist()])",
    ),
)

LOADING = '''\
def load(folder: str | Path = FOLDER) -> LanguageModel:
    """The model with its trained weights, `weights.safetensors` in `folder` (where this file lies, if not given)."""
    model = LanguageModel()
    model.load_state_dict(load_file(Path(folder) / "weights.safetensors"))
    return model


def read_vocabulary(folder: str | Path = FOLDER) -> list[str]:
    """The words of `vocabulary.txt` in `folder`; a word's id is its place."""
    words = (Path(folder) / "vocabulary.txt").read_text(encoding="utf-8").split()
    if len(words) != VOCABULARY_SIZE:
        raise ValueError(f"vocabulary.txt holds {len(words)} words, but the model knows {VOCABULARY_SIZE}")
    return words


def encode(text: str, vocabulary: list[str]) -> list[int]:
    """The ids of a text with one sentence a line: unknown words become <unk>, every line ends in <eos>."""
    ids = {word: i for i, word in enumerate(vocabulary)}
    sentences = [line.split() for line in text.split("\\n")]
    return [ids.get(word, ids["<unk>"]) for words in sentences if words for word in [*words, "<eos>"]]
'''

SCORING = '''\
@torch.no_grad()
def perplexity(model: LanguageModel, ids: list[int]) -> float:
    """The perplexity of a text: exp of the mean negative log-likelihood per token, every token counted, none capped.

    The text is one stream: the state is carried from its first token to its last. It ends in <eos>, as `encode` makes
    it; so its last token is also what the first one is predicted after.
    """
    targets = torch.tensor(ids, device=model.embedding.device)
    words = targets.roll(1)
    total, state = 0.0, None
    for begin in range(0, len(ids), 200):  # bounds memory, does not change the result
        logits, state = model(words[begin : begin + 200].unsqueeze(1), state)
        losses = F.cross_entropy(logits.squeeze(1), targets[begin : begin + 200], reduction="none")
        total += losses.double().sum().item()
    return torch.tensor(total / len(ids), dtype=torch.float64).exp().item()


def main() -> None:
    """`python model.py TEXT.txt` prints the number of tokens and the perplexity of a text."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python model.py TEXT.txt    (one sentence a line, words apart by blanks)")
    try:
        ids = encode(Path(sys.argv[1]).read_text(encoding="utf-8-sig"), read_vocabulary())
        model = load()
    except (OSError, ValueError) as error:  # a file that is missing, unreadable or not UTF-8
        sys.exit(f"cannot score {sys.argv[1]}: {error}")
    if not ids:
        sys.exit(f"cannot score {sys.argv[1]}: it holds no words")
    print(f"{len(ids)} tokens, perplexity {perplexity(model, ids):.2f}")


if __name__ == "__main__":
    main()
'''
