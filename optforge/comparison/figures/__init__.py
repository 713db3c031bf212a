"""Figures: the statistics of a finished comparison, as plain data."""
