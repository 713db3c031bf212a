"""Optimizers for `torch.optim` users: Lion, and any rule as an optimizer."""

from optforge.optim.convert import convert_state_dict as convert_state_dict
from optforge.optim.convert import google_state_dict as google_state_dict
from optforge.optim.diagnostics import watch as watch
from optforge.optim.lion import Lion as Lion
from optforge.optim.program import ProgramOptimizer as ProgramOptimizer
from optforge.optim.recipe import lion_from_adamw as lion_from_adamw
