"""Importing the optimizers loads nothing that takes long and that few programs need."""

from __future__ import annotations

import subprocess
import sys

SLOW = ("torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy", "egglog")


def test_import_loads_neither_the_compiler_nor_distributed_tensors() -> None:
    code = f"import optforge.optim, sys; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
