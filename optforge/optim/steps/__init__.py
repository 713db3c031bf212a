"""The paths of Lion's step: loop, foreach, fused and differentiable."""
