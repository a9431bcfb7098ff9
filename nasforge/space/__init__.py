"""Search spaces as values: decisions, conditions, architectures. Pure Python; knows nothing of graphs or torch."""
