"""Controllers: they propose architectures from the decision list alone and learn from rewards."""
