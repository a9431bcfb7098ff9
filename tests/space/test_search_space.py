"""Search spaces against brute force: sizes, uniform sampling, encoding, digests and what errors say."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers import everything, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

import nasforge
from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.decision import ALWAYS, NEVER, Condition, Decision, Literal, all_of
from nasforge.space.search_space import SearchSpace


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Up to five decisions of up to three options; conditions may overlap, contradict themselves or read far back."""
    decisions: list[Decision] = []

    def literal() -> Literal:
        read = draw(st.sampled_from(decisions))
        return Literal(read.name, draw(st.sampled_from(read.options)), draw(st.booleans()))

    for number in range(draw(st.integers(1, 5))):
        options = ("x", "y", "z")[: draw(st.integers(1, 3))]
        when = ALWAYS
        if decisions and draw(st.booleans()):
            terms = [tuple(literal() for _ in range(draw(st.integers(1, 2)))) for _ in range(draw(st.integers(0, 2)))]
            when = Condition(tuple(terms))
        decisions.append(Decision(f"d{number}", options, "op", f"node{number}", when))
    return SearchSpace(decisions)


def conditional() -> SearchSpace:
    """``a = y`` alone, or ``a = x`` with b of three options, of which the first brings c of four: 1 + 4 + 2."""
    return SearchSpace(
        [
            Decision("a", ("x", "y"), "op", "a"),
            Decision("b", ("x", "y", "z"), "op", "b", all_of(Literal("a", "x"))),
            Decision("c", ("k", "l", "m", "n"), "op", "c", all_of(Literal("b", "x"))),
        ]
    )


@given(spaces())
@settings(deadline=None, max_examples=100)
def test_size_equals_brute_force_count(space: SearchSpace) -> None:
    assert space.size == len(everything(space))


@given(spaces())
@settings(deadline=None, max_examples=50)
def test_everything_is_what_brute_force_lists_each_once_and_valid(space: SearchSpace) -> None:
    listed = space.everything()
    assert all(space.architecture(each) == each for each in listed)
    assert {each.digest for each in listed} == {space.architecture(each).digest for each in everything(space)}
    assert len(listed) == len(set(listed)) == space.size


def test_architectures_of_a_large_space_come_one_by_one_in_the_order_of_options() -> None:
    space = SearchSpace([Decision(f"d{index}", ("a", "b"), "op", "") for index in range(200)])
    first, second, third = itertools.islice(space.each(), 3)
    assert set(first.values()) == {"a"}
    assert [name for name in second if second[name] == "b"] == ["d199"]
    assert [name for name in third if third[name] == "b"] == ["d198"]


@given(spaces(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=100)
def test_a_sample_is_valid_and_in_order(space: SearchSpace, seed: int) -> None:
    drawn = space.sample(random.Random(seed))
    assert dict(drawn) in everything(space)
    assert space.architecture(drawn) == drawn
    assert list(drawn) == [decision.name for decision in space.active(drawn)]


@given(spaces())
@settings(deadline=None, max_examples=50)
def test_every_architecture_can_be_drawn(space: SearchSpace) -> None:
    drawn = {tuple(dict(architecture).items()) for architecture in samples(space, 30 * space.size)}
    assert len(drawn) == space.size


def test_sampling_is_uniform_over_assignments_not_over_paths() -> None:
    space, draws = conditional(), 7000
    assert space.size == 7
    counts = Counter(architecture.digest for architecture in samples(space, draws, seed=1))
    assert len(counts) == 7
    statistic = sum((count - draws / 7) ** 2 / (draws / 7) for count in counts.values())
    assert statistic < chi2.ppf(0.999, df=6)


def test_sampling_reads_no_other_randomness() -> None:
    space = conditional()
    random.seed(1)
    one = samples(space, 20, seed=5)
    random.seed(2)
    assert samples(space, 20, seed=5) == one


def test_a_space_of_ten_to_the_eighty_is_counted_and_sampled_fast() -> None:
    ops, most = ("a", "b", "c", "d"), 60
    decisions = [Decision("nodes", tuple(str(n) for n in range(1, most + 1)), "size", "")]
    for node in range(1, most + 1):
        # Node number `node` exists for every size from `node` on: one term per size.
        exists = Condition(tuple((Literal("nodes", str(n)),) for n in range(node, most + 1)))
        if node > 1:
            decisions.append(Decision(f"in{node}", tuple(map(str, range(1, node))), "input", f"{node}", exists))
        decisions.append(Decision(f"op{node}", ops, "op", f"{node}", exists))
    began = time.perf_counter()
    space = SearchSpace(decisions)
    size = space.size
    sample = space.sample(random.Random(0))
    seconds = time.perf_counter() - began
    assert size == sum(4**n * math.factorial(n - 1) for n in range(1, most + 1))
    assert size > 10**80
    assert space.architecture(sample) == sample
    assert seconds < 5


@given(spaces())
@settings(deadline=None, max_examples=60)
def test_decode_is_the_inverse_of_encode(space: SearchSpace) -> None:
    encodings = set()
    for chosen in everything(space):
        architecture = space.architecture(chosen)
        assert space.decode(space.encode(architecture)) == architecture
        encodings.add(space.encode(architecture))
    assert len(encodings) == space.size


def test_absent_decisions_are_encoded_as_minus_one() -> None:
    space = conditional()
    assert space.encode({"a": "y"}) == (1, -1, -1)
    assert space.encode({"a": "x", "b": "x", "c": "m"}) == (0, 0, 2)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ((0, 1), "an encoding of this space has 3 numbers, not 2"),
        ((2, -1, -1), "'a' has 2 options, not number 2"),
        ((-2, -1, -1), "'a' has 2 options, not number -2"),
        ((0, -1, -1), "'b' is missing; one of x, y, z"),
        ((1, 0, -1), "'b' is given, but exists only when a = x"),
    ],
)
def test_decode_refuses_what_encode_cannot_give(indices: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpaceError) as error:
        conditional().decode(indices)
    assert message in str(error.value)


def test_architecture_puts_choices_in_the_order_of_the_space() -> None:
    architecture = conditional().architecture({"c": "k", "b": "x", "a": "x"})
    assert list(architecture) == ["a", "b", "c"]
    assert architecture == conditional().architecture({"a": "x", "b": "x", "c": "k"})
    assert hash(architecture) == hash(conditional().architecture({"a": "x", "b": "x", "c": "k"}))


def test_digest_is_the_sha256_of_sorted_compact_json() -> None:
    architecture = Architecture((("b", "x"), ("a", "é")))
    assert architecture.digest == hashlib.sha256(b'{"a":"\\u00e9","b":"x"}').hexdigest()


def test_digests_differ_between_architectures() -> None:
    space = conditional()
    assert len({space.architecture(chosen).digest for chosen in everything(space)}) == space.size


CHILD = """
import random
from nasforge.space.decision import Decision, Literal, all_of
from nasforge.space.search_space import SearchSpace
space = SearchSpace([
    Decision("a", ("x", "y"), "op", "a"),
    Decision("b", ("x", "y", "z"), "op", "b", all_of(Literal("a", "x"))),
    Decision("c", ("k", "l", "m", "n"), "op", "c", all_of(Literal("b", "x"))),
])
rng = random.Random(3)
print(*[space.sample(rng).digest for _ in range(20)])
"""


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_samples_and_digests_are_equal_in_every_process_and_hash_seed(hash_seed: str) -> None:
    root = str(Path(nasforge.__file__).parent.parent)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
    child = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True)
    assert child.stdout.split() == [architecture.digest for architecture in samples(conditional(), 20, seed=3)]


def test_all_faults_are_listed_with_suggestions() -> None:
    space = SearchSpace(
        [
            Decision("node0.op", ("tanh", "relu"), "op", "node0"),
            Decision("node1.input", ("node0",), "input", "node1"),
            Decision("node1.op", ("tanh", "relu"), "op", "node1"),
            Decision("extra", ("on", "off"), "bit", "", all_of(Literal("node1.op", "relu"))),
        ]
    )
    with pytest.raises(SpaceError) as error:
        space.architecture({"node0.op": "tahn", "node1.inputs": "node0", "node1.op": "tanh", "extra": "on"})
    text = str(error.value)
    assert "there is no decision 'node1.inputs'. Did you mean 'node1.input'?" in text
    assert "'node0.op' cannot be 'tahn'; one of tanh, relu. Did you mean 'tanh'?" in text
    assert "'node1.input' is missing; one of node0" in text
    assert "'extra' is given, but exists only when node1.op = relu" in text


def test_unknown_decision_is_refused_with_a_suggestion() -> None:
    assert conditional().decision("b").options == ("x", "y", "z")
    with pytest.raises(SpaceError, match=r"no decision 'node0\.opp'\. Did you mean 'node0\.op'\?"):
        SearchSpace([Decision("node0.op", ("x",), "op", "")]).decision("node0.opp")


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ([Decision("a", ("x",), "op", ""), Decision("a", ("x",), "op", "")], "two decisions are named 'a'"),
        ([Decision("a", (), "op", "")], "'a' needs distinct options, at least one"),
        ([Decision("a", ("x", "x"), "op", "")], "'a' needs distinct options, at least one"),
        (
            [Decision("a", ("x",), "op", "", all_of(Literal("b", "x"))), Decision("b", ("x",), "op", "")],
            "'a' depends on 'b', which is not before it",
        ),
        ([Decision("a", ("x",), "op", "", all_of(Literal("a", "x")))], "'a' depends on 'a', which is not before it"),
        (
            [Decision("a", ("x",), "op", ""), Decision("b", ("x",), "op", "", all_of(Literal("a", "q")))],
            "'b' depends on 'a = q', which is no option of it",
        ),
    ],
)
def test_decisions_that_make_no_space_are_refused(decisions: list[Decision], message: str) -> None:
    with pytest.raises(SpaceError) as error:
        SearchSpace(decisions)
    assert message in str(error.value)


def test_a_decision_that_never_exists_adds_nothing() -> None:
    space = SearchSpace([Decision("a", ("x", "y"), "op", ""), Decision("b", ("x", "y"), "op", "", NEVER)])
    assert space.size == 2
    assert all("b" not in architecture for architecture in samples(space, 20))
