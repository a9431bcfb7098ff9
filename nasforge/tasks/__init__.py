"""Tasks: data, loss, metric and reward. Options and declarations import no torch."""
