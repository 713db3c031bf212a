"""Train one of the paper's language models on your own text, on one device or on many.

    python -m paper.text FOLDER --out runs/tokens --vocabulary 32000
    python -m paper.language pg19_medium --data runs/tokens --out runs/lm --accumulation 16
    torchrun --nproc-per-node 8 -m paper.language pg19_medium ... --accumulation 2
    python -m paper.language --list

With --resume it continues from the last checkpoint. paper/README.md starts every preset here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.language.masks import IGNORED
from optforge.tasks.language.models import LanguageShape, build
from paper import options, training
from paper.options import TrainingError, option, session
from paper.text import Sequences, open_tokens
from paper.training import TrainingLoop
from paper.training_options import DECAYS, TrainingOptions

PRESETS = options.read_presets("language")
OBJECTIVES = {"next": "gpt2", "masked": "bert"}
REDUCED = {"width": 48, "layers": 2, "heads": 4, "length": 32}


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of a training: a preset replaces these defaults, the command line replaces both."""

    data: str = session("", "folder of tokens, written by python -m paper.text")
    objective: str = option("next", "predict the next token, or masked ones", "|".join(OBJECTIVES))
    masked_share: float = option(0.15, "share of the tokens that is asked for", "share")
    length: int = option(512, "tokens of a sequence", "count")
    width: int = option(768, "features of a token", "count")
    layers: int = option(12, "blocks", "count")
    heads: int = option(12, "attention heads of each", "count")
    activation: str = option("gelu_new", "of the hidden layers, by its name in transformers")
    decay: str = option("linear", "of the rate after the warm-up", "|".join(DECAYS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise TrainingError(
                f"width is {self.width} and heads is {self.heads}; the width must be a multiple"
            )


def load_preset(name: str, optimizer: str = "lion", **changes: Any) -> Config:
    """Return the configuration of a preset with options replaced.

    Raises:
        TrainingError: If there is no such preset, or a value is not allowed.

    Example:
        >>> config = load_preset("pg19_large")
        >>> config.width, config.lr, config.betas, config.steps
        (1536, 0.0003, (0.95, 0.98), 125000)
    """
    settings = options.preset_settings(Config, PRESETS, name, optimizer)
    small = REDUCED if changes.get("reduced") else {}
    if "epochs" in changes:
        settings.pop("steps", None)
    return Config(**{**settings, **small, **changes})


def build_model(config: Config, vocabulary: int, device: str = "cpu") -> nn.Module:
    """Build the model with random weights; nothing is downloaded.

    Args:
        config: The configuration.
        vocabulary: Number of different tokens.
        device: ``meta`` builds without memory, to count parameters.

    Returns:
        The model, from tokens [B, length] to logits [B, length, vocabulary].

    Example:
        >>> model = build_model(load_preset("wiki40b_small"), 32_000, device="meta")
        >>> round(sum(p.numel() for p in model.parameters()) / 1e6)
        110
    """
    sizes = (vocabulary, config.length, config.width, config.layers, config.heads)
    with torch.device(device):
        return build(OBJECTIVES[config.objective], LanguageShape(*sizes, config.activation)).train()


class LanguageTraining(TrainingLoop):
    """A training of a language model."""

    noun = "sequences"
    evaluated = 16

    def open_data(self) -> tuple[Sequences, Sequences]:
        """Return the sequences of both parts."""
        config, tokens = self.config, open_tokens(self.config.data)
        self.vocabulary, self.digest = tokens.vocabulary, tokens.digest
        share = config.masked_share if config.objective == "masked" else None
        parts = [
            Sequences(part, config.length, tokens.vocabulary, share, seed)
            for part, seed in ((tokens.train, config.seed), (tokens.validation, 0))
        ]
        for part, sequences in zip(("training", "validation"), parts, strict=True):
            if not len(sequences):
                raise TrainingError(
                    f"{config.data} has no whole sequence of {config.length} tokens for {part}; "
                    "give more text, or a smaller --length"
                )
        return parts[0], parts[1]

    def make_model(self) -> nn.Module:
        """Return the model with random weights."""
        return build_model(self.config, self.vocabulary)

    def data_plan(self) -> dict[str, Any]:
        """Return the text."""
        return {"vocabulary": self.vocabulary, "text": self.digest}

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross entropy of what is asked."""
        return functional.cross_entropy(self.forward(x).float().flatten(0, 1), y.flatten())

    def sums(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the sum of the losses of what is asked, and its count."""
        output = model(x).double().flatten(0, 1)
        loss = functional.cross_entropy(output, y.flatten(), reduction="sum")
        return torch.stack([loss, (y != IGNORED).sum().double()])

    def score(self, sums: list[float]) -> dict[str, float]:
        """Return the mean loss and the perplexity."""
        loss = sums[0] / sums[1]
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    training.run_script(Config, PRESETS, load_preset, LanguageTraining, str(__doc__), arguments)


if __name__ == "__main__":
    main()
