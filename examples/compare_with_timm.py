"""A model and an optimizer from timm, against AdamW, in a fair comparison.

Needs `pip install 'optforge[vision]'`. Run it with `python examples/compare_with_timm.py`, a few
minutes on a laptop; the directory `runs/timm` keeps every finished run, so that it can be stopped.
"""

import timm
from torch import nn

from optforge.tasks import Data, Split, Task, load_task


class TinyResNet(Task):
    """MNIST with timm's smallest ResNet."""

    steps, batch_size = 60, 64
    target = 0.3  # validation loss to reach: how many steps does each optimizer take?

    def data(self) -> Data:
        """5,000 images that come with a Python package, as [N, 1, 14, 14]."""
        made = load_task("mnist_mlp").splits
        parts = (made.train, made.validation, made.test)
        return Data(*(Split(part.inputs.unsqueeze(1), part.targets) for part in parts))

    def model(self) -> nn.Module:
        """No download: random weights."""
        return timm.create_model("test_resnet", num_classes=10, in_chans=1)


if __name__ == "__main__":
    import optforge

    result = optforge.compare(
        [TinyResNet()],
        ["adamw", "lion", "timm:lamb"],
        trials=8,
        seeds=10,
        out="runs/timm",
        resume=True,
    )
    print(result.markdown)
    for pair in result.pairs:
        print(f"{pair.recipe} against {pair.baseline}: {pair.verdict}")
