"""A task of your own: two interleaved spirals, separated by a small network.

Run it with `python examples/own_task.py`; it searches for one minute.
"""

import torch
from torch import nn

from optforge.tasks import Data, Split, Task


class Spirals(Task):
    """Points of two spirals in the plane; which spiral is it?"""

    steps, batch_size = 100, 32

    def data(self) -> Data:
        """Three draws from one generator, so that the data is the same at every call."""
        generator = torch.Generator().manual_seed(0)
        return Data(*(self.draw(size, generator) for size in (2000, 500, 500)))

    def draw(self, size: int, generator: torch.Generator) -> Split:
        """Points [size, 2] and the number of their spiral [size]."""
        side, turn = torch.arange(size) % 2, 4 * torch.rand(size, generator=generator)
        points = torch.stack([turn * torch.cos(turn), turn * torch.sin(turn)], 1) / 2
        return Split(points * (1 - 2 * side[:, None]), side)

    def model(self) -> nn.Module:
        """Any module that `torch.vmap` can batch trains fast."""
        return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))


if __name__ == "__main__":
    import optforge

    print(optforge.search(tasks=[Spirals()], minutes=1).best)
