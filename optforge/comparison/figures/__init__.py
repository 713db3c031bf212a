"""Figures: what a finished comparison shows, as plain data."""
