"""Recipes: an optimizer, the space in which it is tuned, and its schedule."""
