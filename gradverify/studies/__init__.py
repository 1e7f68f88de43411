"""Studies: accuracy, gradient flow, cost and power, each a tidy table that a command writes to ``reports/``."""
