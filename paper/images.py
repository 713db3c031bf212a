"""Train one of the paper's image models on your own pictures, on one device or on many.

    python -m paper.images vit_b16_augmented --data /data/imagenet --out runs/vit --accumulation 16
    torchrun --nproc-per-node 8 -m paper.images vit_b16_augmented ... --accumulation 2
    python -m paper.images --list

With --resume it continues from the last checkpoint. paper/README.md starts every preset here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.images.finetune import fit
from paper import folder, options, training
from paper.augmentation import evaluation_transform, mix_up, training_transform
from paper.examples import Examples
from paper.models import build_model
from paper.options import option, session
from paper.pictures import open_pictures
from paper.training import TrainingLoop
from paper.training_options import TrainingOptions

PRESETS = options.read_presets("images")


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of a training: a preset replaces these defaults, the command line replaces both."""

    data: str = session(
        "", "folder of train/CLASS/*.jpg and val/..., of Parquet files, or hub:NAME"
    )
    init: str | None = session(None, "checkpoint to fine-tune; give it when resuming too")
    model: str = option("", "timm's name of the architecture")
    model_options: dict[str, Any] | None = option(None, "further options of timm's model")
    image_size: int = option(224, "pixels along one edge", "count")
    dropout: float = option(0.0, "share of activations dropped (Vision Transformers)", "share")
    stochastic_depth: float = option(0.0, "share of branches dropped in the last block", "share")
    randaugment: tuple[int, int] | None = option(None, "operations and magnitude", "count")
    mixup: float = option(0.0, "parameter of Mixup's Beta distribution, or 0", "not negative")
    label_smoothing: float = option(0.0, "share of the label spread over all classes", "share")


def load_preset(name: str, optimizer: str = "lion", **changes: Any) -> Config:
    """Return the configuration of a preset with options replaced.

    Raises:
        TrainingError: If there is no such preset, or a value is not allowed.

    Example:
        >>> config = load_preset("vit_b16_augmented", steps=100)
        >>> config.lr, config.weight_decay, config.steps
        (0.0001, 10.0, 100)
    """
    small = {}
    if changes.get("reduced") and name in PRESETS:
        small["image_size"] = 28 if "patch14" in PRESETS[name]["model"] else 64
    settings = options.preset_settings(Config, PRESETS, name, optimizer)
    if "steps" in changes:
        settings.pop("epochs", None)
    return Config(**{**settings, **small, **changes})


class Training(TrainingLoop):
    """A training of an image model."""

    noun = "images"
    counted = 4

    def open_data(self) -> tuple[Examples, Examples]:
        """Return training pictures, augmented, and those to evaluate on."""
        config = self.config
        data = open_pictures(config.data)
        self.classes, self.digest = len(data.classes), data.digest
        augment = training_transform(config.image_size, config.randaugment)
        train = Examples(data.train, augment, config.seed)
        return train, Examples(data.validation, evaluation_transform(config.image_size))

    def make_model(self) -> nn.Module:
        """Return the model, or that of a checkpoint with a new head and positions if need be."""
        config = self.config
        model = build_model(config, self.classes)
        if config.init is not None:
            weights = folder.read_checkpoint(Path(config.init))["model"]
            model.load_state_dict(fit(weights, model.state_dict(), str(config.preset)))
        return model

    def data_plan(self) -> dict[str, Any]:
        """Return the pictures and what is fine-tuned."""
        init = self.config.init
        initial = None if init is None else folder.file_digest(Path(init))
        return {"classes": self.classes, "pictures": self.digest, "initial": initial}

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the cross entropy, of pictures mixed up by chance if that is asked for."""
        if self.config.mixup:
            x, y = mix_up(x, y, self.config.mixup, self.classes)
        output = self.forward(x).float()
        return functional.cross_entropy(output, y, label_smoothing=self.config.label_smoothing)

    def sums(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the sums of loss, hits and hits among the five likeliest, and the count."""
        output = model(x).float()
        loss = functional.cross_entropy(output.double(), y, reduction="sum")
        hits = (output.topk(min(5, output.shape[1]), dim=1).indices == y[:, None]).double()
        return torch.stack([loss, hits[:, 0].sum(), hits.sum(), loss.new_tensor(len(y))])

    def score(self, sums: list[float]) -> dict[str, float]:
        """Return mean loss and both accuracies."""
        loss, top1, top5, count = sums
        return {"loss": loss / count, "top1": top1 / count, "top5": top5 / count}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    training.run_script(Config, PRESETS, load_preset, Training, str(__doc__), arguments)


if __name__ == "__main__":
    main()
