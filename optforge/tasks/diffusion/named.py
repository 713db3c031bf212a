"""Images of characters from their Unicode names, and larger ones from smaller ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks.contrastive.pairs import WORDS, pairs
from optforge.tasks.contrastive.task import LockedImageText
from optforge.tasks.data.cache import require
from optforge.tasks.data.characters import PARTS
from optforge.tasks.diffusion.scores import DRAWN, STEPS, distances, draw, noise_errors
from optforge.tasks.diffusion.task import GlyphDiffusion, even_levels
from optforge.tasks.images.tower import letters_tower
from optforge.tasks.pretrained import pretrained
from optforge.tasks.splits import Data, Split


class NamedDenoiser(nn.Module):
    """A U-Net that attends to the words of a name.

    Args:
        model: Maps images, levels and words [B, 10, width] to noise.
        words: Number of different words; 0 stands for none.
        width: Features of a word.

    Its input has the channels noisy image, level, words (in its first ten pixels) and, if there is
    one, the small image at the size of the large one.
    """

    def __init__(self, model: nn.Module, words: int, width: int) -> None:
        super().__init__()
        self.model = model
        self.embedding = nn.Embedding(words + 1, width)
        self.positions = nn.Parameter(0.02 * torch.randn(WORDS, width))
        self.block = nn.TransformerEncoderLayer(
            width, 2, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, 3 or 4, side, side] to noise [B, 1, side, side]."""
        names = x[:, 2].flatten(1)[:, :WORDS].round().long()
        words = self.block(self.embedding(names) + self.positions)
        images, levels = torch.cat([x[:, :1], x[:, 3:]], 1), x[:, 1, 0, 0].round().long()
        is_word = (names > 0).to(x.dtype)
        return self.model(images, levels, words, encoder_attention_mask=is_word).sample


class NamedDiffusion(GlyphDiffusion):
    """Tell noise from images of characters, given their names and, if wanted, smaller images.

    Noise and loss are those of :class:`GlyphDiffusion`; names and typefaces of the test are new, as
    in the contrastive tasks. The encoder of the text is trained with the U-Net (Imagen's is
    pre-trained and locked), nothing is trained or drawn without a name, and the small image is
    exact. Scores: the distances of drawn images, and one minus the mean cosine of image and name in
    an image-text model trained on the same parts, as a CLIP score is.

    Attributes:
        side: Pixels along one edge, a multiple of 8 from 16 on.
        widths: Features at each of three sizes of the image, multiples of 8.
        copies: Variants of each character and typeface, for training, validation and test.
        text_width: Features of a word, an even number.
        enlarges: Whether the image at half the size is given as well.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> NamedDiffusion("mine", enlarges=True, side=32).enlarges
        True

    Source: Saharia et al., Photorealistic Text-to-Image Diffusion Models, 2022 (arXiv:2205.11487),
    sections 2.1 and 2.5.
    """

    copies: tuple[int, int, int] = (2, 1, 1)
    text_width: int = 32
    enlarges: bool = False

    def data(self) -> Data:
        """Return inputs [N, 3 or 4, side, side]; those of training have no noise, at level 0."""
        generator, splits = torch.Generator().manual_seed(0), []
        for part, images, conditions in zip(PARTS, self.images(), self._conditions(), strict=True):
            if part == PARTS[0]:
                inputs, noise = torch.cat([images, torch.zeros_like(images)], 1), images
            else:
                inputs, noise = self._noisy(images, even_levels(len(images)), generator)
            splits.append(Split(torch.cat([inputs, conditions], 1), noise))
        return Data(*splits)

    def images(self) -> tuple[Tensor, ...]:
        """Return the images of each part, [N, 1, side, side], from -1 to 1."""
        arrays = pairs(self.side, self.copies)
        images = (torch.from_numpy(arrays[f"{part}_images"]) for part in PARTS)
        return tuple(x.unsqueeze(1) / 127.5 - 1 for x in images)

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Add noise of a random level to each image; the targets are the noise."""
        noisy, noise = super().augment(inputs, targets, generator)
        return torch.cat([noisy, inputs[:, 2:]], 1), noise

    def model(self) -> nn.Module:
        """Return diffusers' U-Net with attention to the name at its smallest size."""
        package = require("diffusers", "diffusers", "diffusion")
        model = package.UNet2DConditionModel(
            sample_size=self.side,
            in_channels=2 if self.enlarges else 1,
            out_channels=1,
            layers_per_block=1,
            block_out_channels=tuple(self.widths),
            norm_num_groups=8,
            cross_attention_dim=self.text_width,
            attention_head_dim=8,
            down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        )
        words = len(pairs(self.side, self.copies)["words"])
        return NamedDenoiser(model, words, self.text_width)

    def scores(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Return the distances of 200 drawn images, and how little they show what is named."""
        drawn, errors = self.drawn(model, DRAWN, STEPS, seed), noise_errors(model, self.splits.test)
        mismatch = self.mismatch(drawn, self._rows(DRAWN))
        return {**distances(self.images()[2], drawn), **errors, "name_mismatch": mismatch}

    def drawn(self, model: nn.Module, count: int, steps: int, seed: int) -> Tensor:
        """Draw images of names spread over the test, [count, 1, side, side], from -1 to 1."""
        conditions = self.splits.test.inputs[self._rows(count), 2:]
        return draw(model, count, self.side, steps, seed, conditions)

    def mismatch(self, drawn: Tensor, rows: Tensor) -> float:
        """Return one minus the mean cosine of images and names in an image-text model.

        Args:
            drawn: Images [N, 1, side, side], from -1 to 1.
            rows: Of the test, whose names they should show, int64 [N].
        """
        judge = LockedImageText("glyph_names_judge", side=self.side, copies=self.copies)
        tower, train = letters_tower(judge.image_tower, self.side), self.images()[0]
        model = judge.model()
        model.load_state_dict(pretrained(judge))
        with torch.no_grad():
            known, shown = (tower((x + 1) / 2) for x in (train, drawn))
            seen = (shown - known.mean(0)) / (known.std(0) + 1e-6)
            inputs = torch.cat([seen, judge.splits.test.inputs[rows, seen.shape[1] :]], 1)
            images, names = functional.normalize(model(inputs), dim=2).unbind(1)
        return 1 - (images * names).sum(1).mean().item()

    def _conditions(self) -> list[Tensor]:
        """Return names and, if wanted, small images of each part, [N, 1 or 2, side, side]."""
        arrays, conditions = pairs(self.side, self.copies), []
        for part, images in zip(PARTS, self.images(), strict=True):
            names = torch.from_numpy(arrays[f"{part}_names"]).float()
            plane = functional.pad(names, (0, self.side**2 - WORDS)).reshape(images.shape)
            small = functional.interpolate(functional.avg_pool2d(images, 2), scale_factor=2)
            conditions.append(torch.cat([plane, small], 1) if self.enlarges else plane)
        return conditions

    def _rows(self, count: int) -> Tensor:
        return torch.arange(count) * len(self.splits.test.inputs) // count
