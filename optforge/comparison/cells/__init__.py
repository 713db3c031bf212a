"""Cells: one training run each, from its key to its row in the table of results."""
