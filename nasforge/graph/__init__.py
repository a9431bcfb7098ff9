"""The gated supergraph: every alternative as an operation node of a networkx graph, with conditions on wires."""
