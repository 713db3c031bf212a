"""Train one of the paper's diffusion models on your own pictures, on one device or on many.

    python -m paper.diffusion imagenet_64 --data /data/imagenet --out runs/d64 --accumulation 64
    torchrun --nproc-per-node 8 -m paper.diffusion imagenet_64 ... --accumulation 8 --samples 64
    python -m paper.diffusion --list

With --resume it continues from the last checkpoint. paper/README.md starts every preset here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.utils import save_image

from optforge.files import replacing
from paper import options, training
from paper.augmentation import to_tensor
from paper.examples import Examples, Item, content_seed
from paper.options import TrainingError, option, session
from paper.pictures import open_pictures
from paper.training import TrainingLoop
from paper.training_options import DECAYS, TrainingOptions

PRESETS = options.read_presets("diffusion")
LEVELS = 1000
NOISES = ("linear", "squaredcos_cap_v2")
REDUCED = {"width": 16, "multipliers": (1, 2), "blocks": 1, "image_size": 16, "attention": (8,)}
_HEAD = 64  # features of an attention head


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of a training: a preset replaces these defaults, the command line replaces both."""

    data: str = session(
        "", "folder of train/CLASS/*.jpg and val/..., of Parquet files, or hub:NAME"
    )
    image_size: int = option(64, "pixels along one edge", "count")
    width: int = option(192, "features at the full size of the picture", "count")
    multipliers: list[int] | None = option((1, 2, 3, 4), "of the width at each halving")
    attention: list[int] | None = option((32, 16, 8), "edges of pictures with attention")
    blocks: int = option(3, "residual blocks at each size", "count")
    dropout: float = option(0.1, "share of activations dropped", "share")
    noise: str = option("squaredcos_cap_v2", "schedule of the noise", "|".join(NOISES))
    decay: str = option("constant", "of the rate after the warm-up", "|".join(DECAYS))
    samples: int = session(0, "pictures to draw at each evaluation", "whole")
    sampling_steps: int = session(100, "steps in which they are drawn", "count")


def load_preset(name: str, optimizer: str = "lion", **changes: Any) -> Config:
    """Return the configuration of a preset with options replaced.

    Raises:
        TrainingError: If there is no such preset, or a value is not allowed.

    Example:
        >>> config = load_preset("imagenet_256")
        >>> config.lr, config.weight_decay, config.dropout, config.decay
        (3e-05, 0.1, 0.2, 'constant')
    """
    settings = options.preset_settings(Config, PRESETS, name, optimizer)
    small = REDUCED if changes.get("reduced") else {}
    if "epochs" in changes:
        settings.pop("steps", None)
    return Config(**{**settings, **small, **changes})


def build_model(config: Config, classes: int, device: str = "cpu") -> nn.Module:
    """Build diffusers' U-Net with the widths of the improved one, conditioned on classes.

    Args:
        config: The configuration.
        classes: Number of classes.
        device: ``meta`` builds without memory, to count parameters.

    Returns:
        The model, from pictures [B, 3, size, size], levels [B] and classes [B] to noise.

    Raises:
        TrainingError: If the size of the picture cannot be halved as often as asked for.

    Source: Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, table 11.
    """
    factors, attention = config.multipliers or (1,), config.attention or ()
    sizes = [config.image_size >> level for level in range(len(factors))]
    if config.image_size % (1 << (len(factors) - 1)):
        raise TrainingError(
            f"image_size is {config.image_size}; it must be a multiple of {1 << (len(factors) - 1)}"
        )
    kinds = ["Attn" if size in attention else "" for size in sizes]
    with torch.device(device):
        return UNet2DModel(
            sample_size=config.image_size,
            layers_per_block=config.blocks,
            block_out_channels=tuple(config.width * factor for factor in factors),
            down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
            up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
            downsample_type="resnet",
            upsample_type="resnet",
            resnet_time_scale_shift="scale_shift",
            norm_num_groups=min(32, config.width),
            attention_head_dim=min(_HEAD, config.width),
            dropout=config.dropout,
            num_class_embeds=classes,
        ).train()


@dataclass
class FixedNoise(Dataset[tuple[Tensor, int]]):
    """Pictures to evaluate on, each with noise and a level of its own.

    An item has seven channels: the noisy picture, the noise, and the level.

    Args:
        pictures: Pictures as tensors, with their classes.
        scheduler: Adds the noise.
    """

    pictures: Examples
    scheduler: Any

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, item: Item) -> tuple[Tensor, int]:
        picture, label = self.pictures[item]
        generator = torch.Generator().manual_seed(content_seed(0, "noise", item[1]))
        noise = torch.randn(picture.shape, generator=generator)
        level = torch.tensor([item[1] * LEVELS // len(self)])
        noisy = self.scheduler.add_noise(picture[None], noise[None], level)[0]
        return torch.cat([noisy, noise, level.float().expand(1, *picture.shape[1:])]), label


class DiffusionTraining(TrainingLoop):
    """A training of a diffusion model."""

    noun = "images"
    evaluated = 32

    @cached_property
    def scheduler(self) -> Any:
        """The schedule of the noise, of 1,000 levels."""
        return DDPMScheduler(LEVELS, beta_schedule=self.config.noise)

    def open_data(self) -> tuple[Examples, FixedNoise]:
        """Return pictures to train on, flipped by chance, and those to evaluate on."""
        data = open_pictures(self.config.data)
        self.classes, self.digest = len(data.classes), data.digest
        train = Examples(data.train, _transform(self.config.image_size, 0.5), self.config.seed)
        held = Examples(data.validation, _transform(self.config.image_size, 0.0))
        return train, FixedNoise(held, self.scheduler)

    def make_model(self) -> nn.Module:
        """Return the U-Net with random weights."""
        return build_model(self.config, self.classes)

    def data_plan(self) -> dict[str, Any]:
        """Return the pictures."""
        return {"classes": self.classes, "pictures": self.digest}

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean squared error of the noise, at a random level of each picture."""
        levels = torch.randint(LEVELS, (len(x),), device=x.device)
        noise = torch.randn_like(x)
        noisy = self.scheduler.add_noise(x, noise, levels)
        return functional.mse_loss(self.forward(noisy, levels, y).sample.float(), noise)

    def sums(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the errors of pictures with fixed noise, and their count."""
        noisy, noise, levels = x[:, :3], x[:, 3:6], x[:, 6, 0, 0].round().long()
        error = (model(noisy, levels, y).sample.double() - noise.double()).square()
        return torch.stack([error.mean((1, 2, 3)).sum(), error.new_tensor(len(x))])

    def score(self, sums: list[float]) -> dict[str, float]:
        """Return the mean squared error of the noise."""
        return {"loss": sums[0] / sums[1]}

    def evaluate(self) -> dict[str, float]:
        """Measure the model, and draw pictures if that is asked for."""
        score = super().evaluate()
        if self.config.samples and self.accelerator.is_main_process:
            self._draw(Path(self.config.out) / f"samples-{self.number}.png")
        return score

    @torch.inference_mode()
    def _draw(self, path: Path) -> None:
        """Draw pictures of one class after the other, from the same noise every time."""
        model: Any = self.model if self.mean is None else self.mean.module
        size = self.config.image_size
        scheduler: Any = DDPMScheduler(LEVELS, beta_schedule=self.config.noise)
        scheduler.set_timesteps(min(self.config.sampling_steps, LEVELS))
        generator = torch.Generator().manual_seed(content_seed(0, "samples"))
        device, shape = self.accelerator.device, (self.config.samples, 3, size, size)
        x = torch.randn(shape, generator=generator).to(device)
        labels = torch.arange(self.config.samples, device=device) % self.classes
        model.eval()
        for level in scheduler.timesteps:
            noise = model(x, level.to(device), labels).sample
            x = scheduler.step(noise.cpu(), level, x.cpu(), generator=generator).prev_sample
            x = x.to(device)
        model.train()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            save_image(x.clamp(-1, 1) / 2 + 0.5, file, format="png")


def _transform(size: int, flip: float) -> Any:
    """Return the middle of a picture, flipped by chance; values from -1 to 1."""
    crop = [v2.Resize(size, antialias=True), v2.CenterCrop(size), v2.RandomHorizontalFlip(flip)]
    return v2.Compose([*crop, *to_tensor()])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    training.run_script(Config, PRESETS, load_preset, DiffusionTraining, str(__doc__), arguments)


if __name__ == "__main__":
    main()
