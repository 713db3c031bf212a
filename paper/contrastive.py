"""Train one of the paper's image-text models on your own pairs, on one device or on many.

    python -m paper.contrastive lit_b16_b --data /data/pairs --init runs/jft/checkpoint.pt --out ...
    torchrun --nproc-per-node 8 -m paper.contrastive basic_l ... --accumulation 8
    python -m paper.contrastive --list

With --resume it continues from the last checkpoint. The image tower of LiT is locked; --init has
it, a checkpoint of paper.images. All pairs of a batch are told apart, however many processes and
micro-batches compute them. --classify PICTURES measures zero-shot accuracy as well. paper/README.md
starts every preset here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from optforge.tasks.images.finetune import fit_tower
from paper import folder, options, training
from paper.augmentation import evaluation_transform, to_tensor
from paper.examples import Examples, content_seed
from paper.models import Towers, build_model
from paper.options import TrainingError, option, session
from paper.pairs import Pairs, open_pairs, recalls
from paper.pictures import Pictures, open_pictures
from paper.training import TrainingLoop
from paper.training_options import TrainingOptions

try:
    from open_clip.loss import ClipLoss
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transformer import TextTransformer
except ImportError as error:
    raise ImportError(f"{error}; install it with: pip install 'optforge[contrastive]'") from error

PRESETS = options.read_presets("contrastive")
LARGEST = 5_000  # pairs of an evaluation, all compared with all; as many as COCO's
REDUCED = {"text_width": 32, "text_layers": 1, "text_heads": 2}


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of a training: a preset replaces these defaults, the command line replaces both."""

    data: str = session("", "folder of train.csv and val.csv, of Parquet files, or hub:NAME")
    init: str | None = session(None, "checkpoint of the image tower; give it when resuming too")
    classify: str | None = session(None, "pictures with classes, as of paper.images, for zero-shot")
    names: str | None = session(None, "file with the names of these classes, one a line")
    prompt: str = session("a photo of a {}.", "what is said of a class")
    model: str = option("", "timm's name of the image tower")
    model_options: dict[str, Any] | None = option(None, "further options of timm's model")
    locked: bool = option(False, "the image tower stays as it is")
    image_size: int = option(224, "pixels along one edge", "count")
    dropout: float = option(0.0, "share of activations dropped (Vision Transformers)", "share")
    stochastic_depth: float = option(0.0, "share of branches dropped in the last block", "share")
    text_width: int = option(768, "features of a token", "count")
    text_layers: int = option(12, "blocks of the text tower", "count")
    text_heads: int = option(12, "attention heads of each", "count")
    length: int = option(16, "tokens of a text, cut or filled up", "count")
    features: int | None = option(None, "of both towers; of a locked one they are its own", "count")
    temperature: float = option(1 / 0.07, "initial factor of the cosines", "positive")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_width % self.text_heads:
            raise TrainingError(
                f"text_width is {self.text_width} and text_heads is {self.text_heads}; the width "
                "must be a multiple"
            )


def load_preset(name: str, optimizer: str = "lion", **changes: Any) -> Config:
    """Return the configuration of a preset with options replaced.

    Raises:
        TrainingError: If there is no such preset, or a value is not allowed.

    Example:
        >>> config = load_preset("lit_g14_l", batch_size=1024)
        >>> config.lr, config.weight_decay, config.locked, config.batch_size
        (0.0002, 0.5, True, 1024)
    """
    settings, small = options.preset_settings(Config, PRESETS, name, optimizer), {}
    if changes.get("reduced"):
        small = {**REDUCED, "image_size": 28 if "patch14" in settings["model"] else 64}
        small |= {} if settings.get("locked") else {"features": 32}
    if "epochs" in changes:
        settings.pop("steps", None)
    return Config(**{**settings, **small, **changes})


def build_towers(config: Config, device: str = "cpu") -> Towers:
    """Build both towers with random weights; nothing is downloaded.

    Args:
        config: The configuration.
        device: ``meta`` builds without memory, to count parameters.

    Example:
        >>> towers = build_towers(load_preset("lit_b32_b"), device="meta")
        >>> sum(p.numel() for p in towers.image.parameters() if p.requires_grad)
        0

    Source: Zhai et al., LiT, 2022 (arXiv:2111.07991); Pham et al., BASIC, 2021 (arXiv:2111.10050).
    """
    image: Any = build_model(config, config.features or 0, device)
    with torch.device(device):
        text = TextTransformer(
            context_length=config.length,
            vocab_size=SimpleTokenizer().vocab_size,
            width=config.text_width,
            heads=config.text_heads,
            layers=config.text_layers,
            output_dim=config.features or image.num_features,
        )
        return Towers(image, text, config.temperature, config.locked).train()


def clip_loss(directions: Tensor, scale: Tensor) -> Tensor:
    """Return the cross entropy of texts given images [B, 0, D] and of images given texts."""
    loss: Any = ClipLoss()(directions[:, 0], directions[:, 1], scale)
    return loss


class ContrastiveTraining(TrainingLoop):
    """A training of two towers; every text of a batch is a wrong answer to all images but its own.

    Micro-batches are computed twice: first for their directions, which tell the gradient of the
    loss of the whole batch with respect to each, then for the gradients of the weights.

    Source: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
    2021 (arXiv:2101.06983).
    """

    noun = "pairs"
    evaluated = 32
    _slopes: tuple[float, Tensor, Tensor] | None = None  # loss, by directions, by log scale
    _place = 0  # of the next micro-batch among this process's

    @cached_property
    def tokenizer(self) -> Any:
        """CLIP's vocabulary, which comes with OpenCLIP."""
        return SimpleTokenizer(context_length=self.config.length)

    def open_data(self) -> tuple[Pairs, Pairs]:
        """Return pairs to train on, their images cropped by chance, and those to evaluate on."""
        config, data = self.config, open_pairs(self.config.data)
        self.digest = data.digest
        crop = v2.RandomResizedCrop(config.image_size, scale=(0.9, 1.0), antialias=True)
        train = Pairs(data.train, v2.Compose([crop, *to_tensor()]), self.tokenizer, config.seed)
        rows = [data.validation[i] for i in range(min(LARGEST, len(data.validation)))]
        return train, Pairs(rows, evaluation_transform(config.image_size), self.tokenizer)

    def make_model(self) -> nn.Module:
        """Return both towers, the image tower from a checkpoint if there is one."""
        config = self.config
        if config.locked and config.init is None and not config.reduced:
            raise TrainingError(
                "the image tower is locked, so it has to be trained before; give --init, a "
                "checkpoint of paper.images"
            )
        towers = build_towers(config)
        if config.init is not None:
            weights = folder.read_checkpoint(Path(config.init))["model"]
            fresh = towers.image.state_dict()
            towers.image.load_state_dict(fit_tower(weights, fresh, str(config.preset)))
        return towers

    def data_plan(self) -> dict[str, Any]:
        """Return the pairs and what the image tower begins from."""
        init = self.config.init
        return {
            "pairs": self.digest,
            "initial": None if init is None else folder.file_digest(Path(init)),
        }

    def _step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        numbers = range(self.process[0], self.micro_batches, self.process[1])
        local_batches = [(number, *next(batches)) for number in numbers]
        self._slopes = None if self.micro_batches == 1 else self._look_ahead(local_batches)
        self._place = 0
        return super()._step(iter([(x, y) for _, x, y in local_batches]))

    def _look_ahead(
        self, local_batches: list[tuple[int, Tensor, Tensor]]
    ) -> tuple[float, Tensor, Tensor]:
        """Return the loss of the whole batch, and its slopes for this process's directions."""
        device, directions = self.accelerator.device, []
        with torch.no_grad(), self.accelerator.autocast():
            for number, x, y in local_batches:
                torch.manual_seed(content_seed(self.config.seed, "step", self.number, number))
                directions.append(self.model(x.to(device), y.to(device))[0])
        rank, world = self.process
        # [world x local_batches, b, 2, D], process by process; their order does not matter.
        gathered: Any = self.accelerator.gather(torch.stack(directions))
        whole = gathered.detach().requires_grad_()
        towers: Any = self.model
        log_scale = towers.log_scale.detach().clone().requires_grad_()
        loss = clip_loss(whole.flatten(0, 1), log_scale.exp())
        by_direction, by_scale = torch.autograd.grad(loss, [whole, log_scale])
        return loss.item(), by_direction.unflatten(0, (world, -1))[rank], by_scale

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of the batch; its gradient is the part of this micro-batch."""
        directions, scale = self.forward(x, y)
        if self._slopes is None:
            return clip_loss(directions, scale)
        value, by_direction, by_scale = self._slopes
        part = (directions * by_direction[self._place]).sum()
        self._place += 1
        # The loop takes the mean over micro-batches of what has to be added up.
        slope = self.micro_batches * part + by_scale * scale.log()
        return value + slope - slope.detach()

    def sums(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the directions of images and texts, which are compared in `evaluate`."""
        return model(x, y)[0]

    def score(self, sums: list[float]) -> dict[str, float]:
        """Return the loss alone."""
        return {"loss": sums[0]}

    def evaluate(self) -> dict[str, float]:
        """Measure loss and recall among all pairs for validation, and zero-shot accuracy."""
        model: Any = self.model if self.mean is None else self.mean.module
        broadcast(list(model.buffers()))
        model.eval()
        with torch.inference_mode(), self.accelerator.autocast():
            directions = self._collect(self.held, lambda x, y: self.sums(model, x, y))
            score = self.score([clip_loss(directions, model.log_scale.exp()).item()])
            score |= recalls(directions, self.held.owners().to(directions.device))
            if self.config.classify is not None:
                score["zero_shot"] = self._zero_shot(model, self._classified)
        model.train()
        return score

    def _collect(self, examples: Any, compute: Any) -> Tensor:
        """Return what is computed of each example, in their order, from all processes."""
        places = self.places(examples)
        mine = torch.cat([compute(x, y).float() for x, y in self.batches(examples, places)])
        whole = mine.new_zeros(len(examples), *mine.shape[1:])
        whole[list(places)] = mine
        return self.reduce(whole, "sum")

    @cached_property
    def _classified(self) -> Pictures:
        return open_pictures(self.config.classify)

    def _zero_shot(self, model: Any, pictures: Pictures) -> float:
        """Return the share of pictures whose class has the nearest text."""
        names = pictures.classes
        if self.config.names is not None:
            names = Path(self.config.names).read_text(encoding="utf-8").splitlines()
        if len(names) != len(pictures.classes):
            raise TrainingError(
                f"{self.config.names} has {len(names)} names for {len(pictures.classes)} classes"
            )
        device, prompts = self.accelerator.device, [self.config.prompt.format(n) for n in names]
        texts = functional.normalize(model.text(self.tokenizer(prompts).to(device)).float(), dim=1)
        held = Examples(pictures.validation, evaluation_transform(self.config.image_size))

        def hits(x: Tensor, y: Tensor) -> Tensor:
            return (functional.normalize(model.image(x).float(), dim=1) @ texts.T).argmax(1) == y

        return self._collect(held, hits).mean().item()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    training.run_script(Config, PRESETS, load_preset, ContrastiveTraining, str(__doc__), arguments)


if __name__ == "__main__":
    main()
