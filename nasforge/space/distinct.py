"""How many architectures are left when those that differ in numbering only are counted once: closed formulas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby, product
from math import comb, factorial, gcd

_Cycles = tuple[tuple[int, int], ...]
"""How many cycles of each length a permutation has: (length, number), the longest first."""


def rooted_trees(n_nodes: int, n_colours: int, n_root_colours: int) -> int:
    """The number of rooted unordered trees whose nodes are coloured, up to isomorphism.

    With T(n) trees of n nodes in L colours and F(n) forests of n nodes in all (Cayley 1857; Knuth, The Art of Computer
    Programming, volume 1, section 2.3.4.4)::

        F(0) = 1,  T(n) = L F(n - 1),  n F(n) = sum over k = 1..n of (sum over the divisors d of k of d T(d)) F(n - k)

    A tree is a root with a forest below it, so R colours of the root give R F(n - 1) trees.

    Args:
        n_nodes: nodes of the tree, at least 1.
        n_colours: colours of every node but the root.
        n_root_colours: colours of the root.
    """
    trees, forests = [0], [1]
    for n in range(1, n_nodes):
        trees.append(n_colours * forests[n - 1])
        weights = [sum(d * trees[d] for d in range(1, k + 1) if k % d == 0) for k in range(1, n + 1)]
        forests.append(sum(weight * forests[n - k] for k, weight in enumerate(weights, 1)) // n)
    return n_root_colours * forests[n_nodes - 1]


def acyclic_cells(most: int, n_inputs: int, n_branches: int, n_colours: int) -> tuple[int, ...]:
    """The numbers of cells of 0, 1, ..., `most` nodes up to the numbering of their nodes.

    A node is a multiset of branches; a branch has one of L colours and reads an input or another node, without cycles.
    The inputs are told apart. By Burnside's lemma there are as many cells of n nodes as ::

        sum over the types c of permutations of n nodes of  a(c) / z(c)

    where a(c) is the number of cells, on numbered nodes, that a permutation with cycles c leaves as they are, and
    n! / z(c) the number of those permutations. Every cell has leaves: nodes that no node reads. Choose some cycles s of
    c whose nodes may be leaves, and any cell of the other nodes; by inclusion and exclusion (Robinson 1977, "Counting
    unlabeled acyclic digraphs") ::

        a(c) = sum over s in c, s not empty, of (-1)^(|s| + 1) a(c - s) product over the cycles in s of x(c - s, length)

    Of the leaves in a cycle of length l one says what the others are, and the l-th power of the permutation must leave
    it as it is: x(r, l) is the number of multisets of branches, reading the inputs and nodes with cycles r, that do so.

    The sum runs over all pairs of partitions: 24 nodes take about a second, 30 about ten seconds.

    Args:
        most: the largest number of nodes.
        n_inputs: inputs of the cell, at least 1.
        n_branches: branches of each node, at least 1.
        n_colours: colours of a branch.
    """

    @cache
    def leaves(read: _Cycles, length: int) -> int:
        """x(r, l): multisets of `n_branches` branches that the power `length` leaves as they are."""
        cycles = {1: n_inputs}
        for size, number in read:
            # The power of a cycle falls into equal cycles.
            parts = gcd(size, length)
            cycles[size // parts] = cycles.get(size // parts, 0) + parts * number
        ways = [1] + [0] * n_branches
        for size, number in cycles.items():
            times = [comb(number * n_colours + k - 1, k) for k in range(n_branches // size + 1)]
            ways = [sum(times[k] * ways[n - k * size] for k in range(n // size + 1)) for n in range(n_branches + 1)]
        return ways[n_branches]

    @cache
    def fixed(cycles: _Cycles) -> int:
        """a(c)."""
        total = 0
        for taken in product(*(range(number + 1) for _, number in cycles)):
            if not any(taken):
                continue
            rest = tuple((size, number - k) for (size, number), k in zip(cycles, taken, strict=True) if k < number)
            ways = fixed(rest)
            for (size, number), k in zip(cycles, taken, strict=True):
                if k:
                    ways *= comb(number, k) * leaves(rest, size) ** k
            total += ways if sum(taken) % 2 else -ways
        return total if cycles else 1

    numbers = []
    for n in range(most + 1):
        total = 0
        for partition in _partitions(n, n):
            cycles = tuple((size, len(list(equal))) for size, equal in groupby(partition))
            total += fixed(cycles) * _permutations(n, cycles)
        numbers.append(total // factorial(n))
    return tuple(numbers)


def _permutations(n: int, cycles: _Cycles) -> int:
    """n! / z(c): how many permutations of n things have these cycles."""
    alike = 1
    for size, number in cycles:
        alike *= size**number * factorial(number)
    return factorial(n) // alike


def _partitions(n: int, largest: int) -> Iterator[tuple[int, ...]]:
    """The ways to write n as a sum of numbers up to `largest`, the largest first."""
    if n == 0:
        yield ()
    for first in range(min(n, largest), 0, -1):
        for rest in _partitions(n - first, first):
            yield (first, *rest)
