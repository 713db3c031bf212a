"""The fused path: placeholder until measured."""

from optforge.optim.step_foreach import foreach_step as fused_step

__all__ = ["fused_step"]
