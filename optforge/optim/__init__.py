"""Optimizers for `torch.optim` users: Lion, and any rule as an optimizer."""

from optforge.optim.lion import Lion as Lion
from optforge.optim.recipe import lion_from_adamw as lion_from_adamw
