"""Language modelling: exact evaluation, regularisers by hand, masks, rewards, and the LSTM it is compared with."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, cell, language_model, recipe, samples, shapes, write_corpus
from torch import Tensor, nn

from nasforge.errors import DataError
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.network import GraphCore, Network, SequenceCore
from nasforge.graph.plan import plan_architecture
from nasforge.tasks import decoder
from nasforge.tasks import language_model as module
from nasforge.tasks.base import Score
from nasforge.tasks.language_data import check_corpus, prepare
from nasforge.tasks.language_model import LanguageModel, LanguageModelShell
from nasforge.tasks.lstm_reference import LstmCore, lstm_width
from nasforge.tasks.options import LanguageModelOptions

WIDTH = 4


class Spy(SequenceCore):
    """Gives back its inputs, adds one to its state at each call, and remembers what it was given."""

    def __init__(self, width: int = WIDTH) -> None:
        self.width = width
        self.parameters = {}
        self.calls: list[tuple[Tensor, Any, Tensor | None]] = []

    def start(self, batch: int, like: Tensor) -> Tensor:
        return like.new_zeros(batch, self.width)

    def __call__(self, inputs: Tensor, state: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
        self.calls.append((inputs.detach(), state, mask))
        return inputs, state + 1


def spied(task: LanguageModel, width: int = WIDTH) -> tuple[Network, Spy]:
    """A network whose embedding holds 1, 2, 3, ...: every element tells where it comes from."""
    spy = Spy(width)
    shell = task.shell(width, recipe(), seed=0)
    with torch.no_grad():
        shell.embedding.copy_(torch.arange(1.0, shell.embedding.numel() + 1).view_as(shell.embedding) / 10)
    return Network(shell, spy), spy


def double(task: LanguageModel, *, seed: int = 1) -> Network:
    """A searched network in float64."""
    supergraph = cell(3)
    plan = plan_architecture(supergraph, samples(supergraph.space, 1)[0])
    program = Program(plan, OPERATIONS, WeightBank(seed, dtype=torch.float64, init_range=1.0), shapes(WIDTH))
    return Network(task.shell(WIDTH, recipe(embedding_init_range=1.0), seed).double(), GraphCore(program))


@pytest.mark.parametrize("exact", [True, False])
def test_perplexity_of_a_uniform_model_is_the_size_of_the_vocabulary(exact: bool, task: LanguageModel) -> None:
    network = double(task)
    with torch.no_grad():
        network.shell.embedding.zero_()
    vocabulary = len(task.corpus.vocabulary)
    for split in ("train", "valid", "test"):
        score = task.evaluate(network, split, exact=exact)
        assert score.value == pytest.approx(vocabulary, rel=1e-9)
        assert score.loss == pytest.approx(math.log(vocabulary), rel=1e-9)
        single = task.evaluate(Network(network.shell.float(), Spy()), split, exact=exact)
        assert single.value == pytest.approx(vocabulary, rel=1e-6)
        network.shell.double()


@pytest.mark.parametrize("streams", [1, 3, 7, 10_000])
def test_evaluation_counts_every_token_once(streams: int, corpus_folder: Path) -> None:
    task = language_model(corpus_folder, streams=streams)
    network, spy = spied(task)
    for split in ("train", "valid", "test"):
        for exact in (True, False):
            spy.calls.clear()
            score = task.evaluate(network, split, exact=exact)
            assert score.count == task.corpus.tokens[split] == len(task.corpus.split(split))
            assert task.split_items(split) == score.count
            assert spy.calls[0][0].shape[1] == (1 if exact else min(streams, score.count))


@torch.no_grad()
def loop_by_hand(task: LanguageModel, network: Network, split: str) -> float:
    """Mean nats per token: one word after the other, from ``<eos>`` and a zero state, in one stream."""
    weight, bias = network.shell.embedding, network.shell.decoder_bias
    state, previous, total = None, task.corpus.vocabulary.index["<eos>"], 0.0
    for word in task.corpus.split(split).tolist():
        if state is None:
            state = network.core.start(1, weight)
        outputs, state = network.core(weight[previous].view(1, 1, -1), state, None)
        logits = weight @ outputs.view(-1) + bias
        total -= float(logits[word] - torch.logsumexp(logits, 0))
        previous = word
    return total / len(task.corpus.split(split))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_exact_evaluation_equals_a_loop_over_one_stream(split: str, task: LanguageModel) -> None:
    network = double(task)
    score = task.evaluate(network, split, exact=True)
    expected = loop_by_hand(task, network, split)
    assert score.loss == pytest.approx(expected, rel=1e-12)
    assert score.value == pytest.approx(math.exp(expected), rel=1e-12)


def test_streams_of_a_proxy_start_from_zero_and_predict_from_the_word_before(corpus_folder: Path) -> None:
    task = language_model(corpus_folder, streams=3)
    network, spy = spied(task)
    task.evaluate(network, "test", exact=False)
    words = [task.corpus.vocabulary.index["<eos>"], *task.corpus.split("test").tolist()]
    inputs, state, mask = spy.calls[0]
    length = math.ceil((len(words) - 1) / 3)
    assert inputs.shape[:2] == (length, 3)
    for stream in range(3):
        expected = words[stream * length : (stream + 1) * length][: len(words) - 1 - stream * length]
        assert torch.equal(inputs[: len(expected), stream], network.shell.embedding[expected])
    assert torch.equal(state, torch.zeros(3, WIDTH))
    assert mask is None


def test_windows_and_chunks_of_evaluation_change_nothing(task: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    network = double(task)
    for exact in (True, False):
        expected = task.evaluate(network, "valid", exact=exact)
        for window, rows in ((1, 1), (7, 3), (100_000, 1 << 20)):
            monkeypatch.setattr(module, "EVALUATION_WINDOW", window)
            monkeypatch.setattr(decoder, "CHUNK_ROWS", rows)
            found = task.evaluate(network, "valid", exact=exact)
            assert found.loss == pytest.approx(expected.loss, rel=1e-12)
            assert found.count == expected.count
        monkeypatch.undo()


@pytest.mark.parametrize(("nats", "perplexity"), [(50.0, math.exp(50)), (1e4, math.inf)])
def test_a_confidently_wrong_model_is_never_capped(nats: float, perplexity: float, task: LanguageModel) -> None:
    network, _ = spied(task)
    with torch.no_grad():
        network.shell.embedding.zero_()
        network.shell.decoder_bias[task.corpus.vocabulary.index["<unk>"]] = nats  # a word that never comes
    score = task.evaluate(network, "valid", exact=True)
    assert score.loss == pytest.approx(nats, rel=1e-6)
    assert score.value == pytest.approx(perplexity, rel=1e-4)


def test_weights_that_are_not_numbers_give_a_score_and_a_reward_that_are_not(task: LanguageModel) -> None:
    network = double(task)
    with torch.no_grad():
        network.shell.embedding[0, 0] = math.nan
    score = task.evaluate(network, "valid", exact=False)
    assert math.isnan(score.value)
    assert not math.isfinite(task.reward(score))


def test_evaluation_changes_and_grows_nothing(task: LanguageModel) -> None:
    network = double(task)
    before = network.copy_values()
    assert task.evaluate(network, "test", exact=True) == task.evaluate(network, "test", exact=True)
    assert all(torch.equal(value, before[name]) for name, value in network.copy_values().items())
    assert all(parameter.grad is None for parameter in network.parameters.values())


def test_windows_walk_through_the_text_and_targets_are_the_next_words(task: LanguageModel) -> None:
    network, spy = spied(task)
    plan = recipe(batch_size=3, bptt=7)
    ids = task.corpus.split("train")
    per_row = len(ids) // 3
    n_steps = task.steps_per_epoch(plan)
    assert n_steps == math.ceil((per_row - 1) / 7)
    results = [task.loss(network, plan, step, None, seed=0) for step in range(n_steps)]
    assert sum(result.count for result in results) == 3 * (per_row - 1)
    seen = torch.cat([inputs for inputs, _, _ in spy.calls])
    rows = torch.from_numpy(ids[: 3 * per_row].reshape(3, per_row).T.copy())
    assert torch.equal(seen, network.shell.embedding.detach()[rows[:-1]])
    shell = network.shell
    logits = (seen[:7] @ shell.embedding.T + shell.decoder_bias).detach()
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), rows[1:8].flatten())
    torch.testing.assert_close(results[0].data, expected)


def test_training_loss_is_never_capped(task: LanguageModel) -> None:
    network, _ = spied(task)
    with torch.no_grad():
        network.shell.embedding.zero_()
        network.shell.decoder_bias[task.corpus.vocabulary.index["<unk>"]] = 1e4
    assert float(task.loss(network, recipe(), 0, None, seed=0).data) == pytest.approx(1e4, rel=1e-4)


@pytest.mark.parametrize("name", ["dropout_input", "dropout_embedding"])
def test_masks_of_the_input_are_scaled_and_the_same_for_all_time_steps(name: str, task: LanguageModel) -> None:
    network, spy = spied(task, width=50)
    task.loss(network, recipe(), 0, None, seed=0)
    task.loss(network, recipe(**{name: 0.2}), 0, None, seed=0)
    (plain, _, _), (dropped, _, _) = spy.calls
    ratio = dropped / plain
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    kept = ratio[0] > 0
    torch.testing.assert_close(ratio[0][kept], torch.full_like(ratio[0][kept], 1 / 0.8))
    assert ratio[0][~kept].abs().max() == 0
    assert 0.7 < float(kept.float().mean()) < 0.9
    assert not torch.equal(ratio[0, 0], ratio[0, 1])


def test_mask_of_the_state_goes_to_the_core(task: LanguageModel) -> None:
    network, spy = spied(task, width=50)
    task.loss(network, recipe(dropout_hidden=0.25), 0, None, seed=0)
    mask = spy.calls[0][2]
    assert mask.shape == (4, 50)
    values = mask.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 1 / 0.75]))
    assert 0.65 < float((mask > 0).float().mean()) < 0.85
    assert torch.equal(spy.calls[0][0], _plain_inputs(task, network, spy))


def _plain_inputs(task: LanguageModel, network: Network, spy: Spy) -> Tensor:
    task.loss(network, recipe(), 0, None, seed=0)
    assert spy.calls[-1][2] is None
    return spy.calls[-1][0]


def test_word_dropout_drops_every_occurrence_of_a_word_in_the_window(task: LanguageModel) -> None:
    network, spy = spied(task)
    plan = recipe(batch_size=4, bptt=40)
    task.loss(network, plan, 0, None, seed=0)
    task.loss(network, plan.model_copy(update={"dropout_words": 0.4}), 0, None, seed=0)
    (plain, _, _), (dropped, _, _) = spy.calls
    ratio = dropped / plain
    dropped_words = set()
    for word, row in enumerate(network.shell.embedding.detach()):
        places = (plain == row).all(-1)
        if not places.any():
            continue
        (value,) = torch.unique((ratio[places] * 1e4).round() / 1e4).tolist()
        assert value in (0.0, pytest.approx(1 / 0.6, rel=1e-3))
        if value == 0:
            dropped_words.add(word)
    assert 0 < len(dropped_words) < len(task.corpus.vocabulary)


@pytest.mark.parametrize(
    "name", ["dropout_words", "dropout_embedding", "dropout_input", "dropout_hidden", "dropout_output"]
)
def test_masks_are_redrawn_per_window_and_reproducible_by_seed_and_step(name: str, task: LanguageModel) -> None:
    network, _ = spied(task, width=20)
    plan = recipe(**{name: 0.5}, activation_regularization=1.0)
    n_steps = task.steps_per_epoch(plan)

    def seen(step: int, seed: int) -> tuple[float, bytes]:
        spy = network.core
        result = task.loss(network, plan, step, None, seed)
        inputs, _, mask = spy.calls[-1]
        return float(result.total.detach()), inputs.numpy().tobytes() + (
            b"" if mask is None else mask.numpy().tobytes()
        )

    first = seen(0, 5)
    assert seen(0, 5) == first
    assert seen(0, 6) != first
    # The first window of the next epoch holds the same words.
    assert seen(n_steps, 5) != first
    assert seen(0, 5) == first


def test_nothing_is_dropped_in_evaluation_and_rewards(task: LanguageModel) -> None:
    network, spy = spied(task)
    task.evaluate(network, "test", exact=False)
    task.score_minibatch(network, 0, seed=0)
    rows = {tuple(row) for row in network.shell.embedding.detach().tolist()}
    for inputs, _, mask in spy.calls:
        assert mask is None
        assert {tuple(row) for row in inputs.flatten(0, 1).tolist()} <= rows


def test_output_dropout_falls_on_the_decoder_and_ar_not_on_the_state_and_tar(task: LanguageModel) -> None:
    network, spy = spied(task, width=30)
    plain = task.loss(network, recipe(), 0, None, seed=0)
    dropped = task.loss(network, recipe(dropout_output=0.5), 0, None, seed=0)
    tar = task.loss(network, recipe(dropout_output=0.5, temporal_activation_regularization=1.0), 0, None, seed=0)
    ar = task.loss(network, recipe(dropout_output=0.5, activation_regularization=1.0), 0, None, seed=0)
    outputs = spy.calls[0][0]
    assert not torch.allclose(plain.data, dropped.data)
    assert torch.equal(plain.state, dropped.state)
    torch.testing.assert_close(tar.total - tar.data, (outputs[1:] - outputs[:-1]).square().mean())
    assert not torch.allclose(ar.total - ar.data, outputs.square().mean())


def test_regularisers_are_those_of_the_paper_by_hand(task: LanguageModel) -> None:
    network, spy = spied(task)
    result = task.loss(
        network, recipe(activation_regularization=2.0, temporal_activation_regularization=3.0), 0, None, seed=0
    )
    outputs = spy.calls[0][0].tolist()
    ar = [value**2 for step in outputs for row in step for value in row]
    tar = [
        (b - a) ** 2
        for before, after in itertools.pairwise(outputs)
        for one, other in zip(before, after, strict=True)
        for a, b in zip(one, other, strict=True)
    ]
    expected = float(result.data) + 2 * sum(ar) / len(ar) + 3 * sum(tar) / len(tar)
    assert float(result.total.detach()) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(result.data, task.loss(network, recipe(), 0, None, seed=0).total.detach())


def test_a_window_of_one_word_has_a_finite_loss(task: LanguageModel) -> None:
    network, _ = spied(task)
    plan = recipe(bptt=1, temporal_activation_regularization=1.0, activation_regularization=1.0)
    assert torch.isfinite(task.loss(network, plan, 0, None, seed=0).total)


def test_rewards_by_hand(corpus_folder: Path) -> None:
    score = Score(value=20.0, loss=math.log(20), count=10)
    assert language_model(corpus_folder).reward(score) == -math.log(20)
    assert language_model(corpus_folder, reward="c_over_perplexity").reward(score) == 80 / 20
    assert language_model(corpus_folder, reward="c_over_perplexity", reward_scale=10).reward(score) == 0.5


@pytest.mark.parametrize("reward", ["negative_nll", "c_over_perplexity"])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_reward_is_not_finite_where_the_loss_is_not(reward: str, loss: float, corpus_folder: Path) -> None:
    task = language_model(corpus_folder, reward=reward)
    assert not math.isfinite(task.reward(Score(loss, loss, 10)))


def test_better_scores_have_higher_rewards(corpus_folder: Path) -> None:
    for reward in ("negative_nll", "c_over_perplexity"):
        task = language_model(corpus_folder, reward=reward)
        rewards = [task.reward(Score(math.exp(loss), loss, 1)) for loss in (1.0, 2.0, 5.0)]
        assert rewards == sorted(rewards, reverse=True)
        assert task.metric.better(math.exp(1), math.exp(2))


def test_reward_minibatches_are_equal_for_equal_index_whatever_was_asked_before(corpus_folder: Path) -> None:
    first, second = language_model(corpus_folder), language_model(corpus_folder)
    network, spy = spied(first)
    forward = {index: first.score_minibatch(network, index, seed=3) for index in range(8)}
    backward = {index: second.score_minibatch(network, index, seed=3) for index in reversed(range(8))}
    assert forward == backward
    windows = {inputs.numpy().tobytes() for inputs, _, _ in spy.calls}
    assert len(windows) >= 3
    assert (
        first.score_minibatch(network, 0, seed=4) != forward[0]
        or first.score_minibatch(network, 1, seed=4) != forward[1]
    )


def test_reward_minibatches_have_their_size_and_start_from_zero(task: LanguageModel) -> None:
    network, spy = spied(task)
    for index in range(20):
        score = task.score_minibatch(network, index, seed=0)
        assert score.count == task.minibatch_items() == 3 * 5
    assert all(torch.equal(state, torch.zeros(3, WIDTH)) for _, state, _ in spy.calls)
    assert {tuple(inputs.shape) for inputs, _, _ in spy.calls} == {(5, 3, WIDTH)}


def test_a_reward_window_longer_than_the_text_is_the_text(corpus_folder: Path) -> None:
    task = language_model(corpus_folder, reward_bptt=10_000)
    network, _ = spied(task)
    per_row = task.corpus.tokens["valid"] // 3
    assert task.score_minibatch(network, 0, seed=0).count == task.minibatch_items() == 3 * (per_row - 1)


def test_minibatch_score_is_the_loss_of_its_window(task: LanguageModel) -> None:
    network = double(task)
    rows = len(task.corpus.split("valid")) // 3
    table = torch.from_numpy(task.corpus.split("valid")[: 3 * rows].reshape(3, rows).T.copy())
    losses = []
    with torch.no_grad():
        for begin in range(rows - 5):
            words, following = table[begin : begin + 5], table[begin + 1 : begin + 6]
            state = network.core.start(3, network.shell.embedding)
            outputs, _ = network.core(network.shell.embedding[words], state, None)
            logits = outputs @ network.shell.embedding.T + network.shell.decoder_bias
            losses.append(float(nn.functional.cross_entropy(logits.flatten(0, 1), following.flatten())))
    for index in range(5):
        found = task.score_minibatch(network, index, seed=0).loss
        assert min(abs(found - loss) for loss in losses) < 1e-12


@pytest.mark.parametrize(
    ("small", "options", "message"),
    [
        ({"train": 1}, {}, "the train text of corpus 'text' has {n} tokens, too few for 30 parallel sequences"),
        ({"valid": 1}, {}, "the valid text of corpus 'text' has {n} tokens, too few for 9 parallel sequences"),
    ],
)
def test_a_corpus_that_is_too_small_is_refused_with_split_and_numbers(
    small: dict[str, int], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    task = language_model(write_corpus(tmp_path, **small), reward_batch_size=9)
    (split,) = small
    config = LanguageModelOptions.model_validate(
        {"corpus": {name: f"{name}.txt" for name in ("train", "valid", "test")}, "reward_batch_size": 9}
    )
    with pytest.raises(DataError) as error:
        check_corpus(task.corpus, config, recipe(batch_size=30))
    assert message.format(n=task.corpus.tokens[split]) in str(error.value)
    with pytest.raises(DataError, match=f"the {split} text"):
        prepare(config, [recipe(batch_size=1), recipe(batch_size=30)], tmp_path)


def test_the_smallest_corpus_that_passes_can_be_trained_and_scored(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.txt").write_text("a b c\na b c\n")  # eight tokens
    task = language_model(tmp_path, reward_batch_size=4)
    config = LanguageModelOptions.model_validate(
        {"corpus": {name: f"{name}.txt" for name in ("train", "valid", "test")}, "reward_batch_size": 4}
    )
    plan = recipe(batch_size=4)
    check_corpus(task.corpus, config, plan)
    network, _ = spied(task)
    assert task.steps_per_epoch(plan) == 1
    assert task.loss(network, plan, 0, None, seed=0).count == 4
    assert task.score_minibatch(network, 0, seed=0).count == 4
    with pytest.raises(DataError):
        check_corpus(task.corpus, config, recipe(batch_size=5))


def test_facts_name_the_corpus(task: LanguageModel) -> None:
    facts = task.facts()
    assert facts["tokens"] == {split: len(task.corpus.split(split)) for split in ("train", "valid", "test")}
    assert facts["vocabulary"] == len(task.corpus.vocabulary)
    assert len(facts["sha256"]) == 64


def test_shells_are_drawn_from_their_seed(task: LanguageModel) -> None:
    one, same, other = (task.shell(WIDTH, recipe(embedding_init_range=0.1), seed) for seed in (1, 1, 2))
    assert torch.equal(one.embedding, same.embedding)
    assert not torch.equal(one.embedding, other.embedding)
    assert 0.09 < float(one.embedding.detach().abs().max()) <= 0.1
    assert torch.equal(one.decoder_bias, torch.zeros(len(task.corpus.vocabulary)))


def test_the_decoder_bias_can_be_left_out(corpus_folder: Path) -> None:
    task = language_model(corpus_folder, decoder_bias=False)
    shell = task.shell(WIDTH, recipe(), 0)
    assert isinstance(shell, LanguageModelShell)
    assert [name for name, _ in shell.named_parameters()] == ["embedding"]
    score = task.evaluate(Network(shell, Spy()), "test", exact=True)
    assert math.isfinite(score.value)


def test_lstm_with_a_mask_of_ones_equals_the_lstm_without_a_mask() -> None:
    core = LstmCore(6, seed=1)
    inputs = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(0))
    state = tuple(part + 0.1 for part in core.start(3, inputs))
    plain, (h, c) = core(inputs, state, None)
    masked, (h1, c1) = core(inputs, state, torch.ones(3, 6))
    for one, other in ((plain, masked), (h, h1), (c, c1)):
        torch.testing.assert_close(one, other)
    assert torch.equal(h[0], plain[-1])


def test_mask_of_the_lstm_falls_on_its_hidden_state() -> None:
    core = LstmCore(6, seed=1)
    inputs = torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(0))
    h, c = (part + 0.5 for part in core.start(3, inputs))
    mask = torch.tensor([1.0, 0, 2, 0, 1, 2]).expand(3, 6)
    masked, _ = core(inputs, (h, c), mask)
    expected, _ = core(inputs, (h * mask, c), None)
    torch.testing.assert_close(masked, expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("parameters", "vocabulary"), [(200_000, 1000), (3_000_000, 10_000), (24_000_000, 10_000)])
def test_lstm_reference_has_the_wanted_size_within_one_percent(parameters: int, vocabulary: int, bias: bool) -> None:
    width = lstm_width(parameters, vocabulary, bias=bias)
    with torch.device("meta"):
        lstm = nn.LSTM(width, width)
    count = sum(p.numel() for p in lstm.parameters()) + vocabulary * (width + bias)
    assert abs(count - parameters) <= 0.01 * parameters


def test_reference_core_counts_its_weights_as_the_network_does(task: LanguageModel) -> None:
    core = task.reference_cores(WIDTH, 5000, seed=0)["lstm"]
    network = Network(task.shell(core.width, recipe(), 0), core)
    assert abs(network.count() - 5000) <= 0.03 * 5000
    result = task.loss(network, recipe(dropout_hidden=0.2), 0, None, seed=0)
    result.total.backward()
    assert all(parameter.grad is not None for parameter in network.parameters.values())
    assert all(not part.requires_grad for part in result.state)
