"""Optimizers for `torch.optim` users: Lion, and any rule as an optimizer."""

from optforge.optim.diagnostics import watch as watch
from optforge.optim.lion import Lion as Lion
from optforge.optim.migration.convert import convert_state_dict as convert_state_dict
from optforge.optim.migration.convert import google_state_dict as google_state_dict
from optforge.optim.migration.recipe import lion_from_adamw as lion_from_adamw
from optforge.optim.program import ProgramOptimizer as ProgramOptimizer
