"""What a training step of a Vision Transformer keeps in memory, computed and tried."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from optforge.comparison.cells.measurements import optimizer_bytes
from optforge.optim import Lion

sys.path.append(str(Path(__file__).resolve().parents[2]))  # `paper` is not installed
from paper.images import load_preset  # noqa: E402
from paper.models import build_model  # noqa: E402
from paper.optimizers import make_optimizer  # noqa: E402

LR, WEIGHT_DECAY, BETAS = 1e-6, 0.1, (0.9, 0.99)
WIDTH, CLASSES = 768, 1000  # of ViT-B/16


@dataclass(frozen=True)
class Row:
    """One optimizer with one kind of momentum."""

    name: str
    optimizer: str
    momentum: str
    fused: bool = False

    def make(self, model: nn.Module) -> Optimizer:
        if self.fused:
            kind: Any = torch.optim.AdamW if self.optimizer == "adamw" else Lion
            options = {} if self.optimizer == "adamw" else {"momentum_dtype": self.dtype}
            return kind(
                model.parameters(),
                lr=LR,
                betas=BETAS,
                weight_decay=WEIGHT_DECAY,
                fused=True,
                **options,
            )
        more: dict[str, Any] = {"momentum_dtype": self.momentum, "fused": False}
        return make_optimizer(self.optimizer, model, LR, WEIGHT_DECAY, BETAS, **more)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.momentum)


ROWS = (
    Row("AdamW", "adamw", "float32"),
    Row("AdamW fused", "adamw", "float32", fused=True),
    Row("Adafactor", "adafactor", "float32"),
    Row("Adafactor bfloat16", "adafactor", "bfloat16"),
    Row("Lion", "lion", "float32"),
    Row("Lion bfloat16", "lion", "bfloat16"),
    Row("Lion fused", "lion", "float32", fused=True),
    Row("Lion bfloat16 fused", "lion", "bfloat16", fused=True),
)


def saved_bytes(model: nn.Module, batch: int, size: int) -> int:
    """Bytes that one forward pass keeps for the backward pass, weights not counted.

    Works on the meta device, where nothing is computed.
    """
    device = next(model.parameters()).device
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, Tensor] = {}  # the tensors themselves, so that no address is used again

    def pack(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.zeros(batch, 3, size, size, device=device))
        functional.cross_entropy(output, torch.zeros(batch, dtype=torch.int64, device=device))
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def state_bytes(row: Row, shapes: list[torch.Size]) -> int:
    """Bytes of the states of an optimizer after a step, on tensors of these shapes."""
    total = 0
    for shape in shapes:
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.zeros_like(weight)
        optimizer = row.make(nn.ParameterList([weight]))
        optimizer.step()
        total += optimizer_bytes(optimizer)
    return total


def vit(depth: int, device: str = "cpu") -> nn.Module:
    """ViT-B/16 with another number of blocks."""
    import timm

    with torch.device(device):
        return timm.create_model(
            "vit_base_patch16_224", depth=depth, num_classes=CLASSES, weight_init="skip"
        )


def try_depth(row: Row, depth: int, megabytes: int, batch: int) -> dict[str, float]:
    """Train two steps in a process that may grow by so many megabytes; raises if it cannot."""
    torch.set_num_threads(1)
    held, before = _status("VmData") * 1024, _status("VmRSS") / 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + (megabytes << 20), resource.RLIM_INFINITY))
    model = vit(depth)
    optimizer = row.make(model)
    x, y = torch.zeros(batch, 3, 224, 224), torch.zeros(batch, dtype=torch.int64)
    for _ in range(2):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    count = sum(p.numel() for p in model.parameters())
    return {"parameters": count, "peak_mb": round(_status("VmHWM") / 1024 - before, 1)}


def _status(field: str) -> int:
    """A field of this process's status, in KB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}; this part needs Linux")


def paper_model(
    name: str, classes: int = CLASSES, device: str = "cpu", **changes: Any
) -> nn.Module:
    """The model of a preset of `paper`, in training mode."""
    return build_model(load_preset(name, **changes), classes, device)
