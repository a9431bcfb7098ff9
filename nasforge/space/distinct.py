"""How many architectures are left when those that differ in numbering only are counted once: closed formulas."""

from __future__ import annotations


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
