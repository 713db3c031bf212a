"""Fine-tuning: a task that starts from the weights of a model trained on another task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks.images.task import ImageTask
from optforge.tasks.pretrained import SCRATCH, checkpoint_content, read_weights

HEADS = ("head.", "fc.")
_IMAGE = "image."  # how names begin in the image tower of both towers


class FineTuneTask(ImageTask):
    """Train on from a checkpoint, with a new head and, where the side grew, new positions.

    No optimizer is named here: which one made the checkpoint is the affair of whoever made it,
    with ``optforge.training.pretrain``; of an image-text model the image tower is taken. What a
    change of resolution or classes makes unfit (the head) is as ``model`` drew it; positions are
    interpolated.

    Attributes:
        checkpoint: A file of ``pretrain``; ``{seed}`` in it stands for the seed of the run, so
            that every run starts from a pre-training of its own. ``scratch`` starts from random
            weights, as a control.

    Example:
        >>> task = FineTuneTask("control", checkpoint="scratch", side=24)
        >>> task.prepare(task.model(), seed=0) is not None
        True
    """

    steps = 100
    side = 24
    checkpoint: str = ""

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Load what fits.

        Raises:
            TaskError: If there is no checkpoint, or it is of another architecture.
        """
        if self.checkpoint == SCRATCH:
            return model
        weights = image_tower(read_weights(self.checkpoint, seed, self.name))
        fitted = fit(weights, model.state_dict(), self.name)
        model.load_state_dict(fitted)
        return model

    def settings(self) -> dict[str, Any]:
        """Add the content of the checkpoints, in place of their paths."""
        return {**super().settings(), "checkpoint": checkpoint_content(self.checkpoint)}


def image_tower(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights of the image tower of an image-text model; of others all.

    Example:
        >>> import torch
        >>> weights = {"image.norm.weight": torch.ones(2), "text.log_scale": torch.ones(1)}
        >>> list(image_tower(weights))
        ['norm.weight']
    """
    tower = {
        key.removeprefix(_IMAGE): value for key, value in weights.items() if key.startswith(_IMAGE)
    }
    return tower or weights


def fit_tower(
    weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor], name: str
) -> dict[str, Tensor]:
    """Convert pre-trained weights as :func:`fit` does; a head that they lack stays fresh."""
    kept = {
        key: weights.get(key, value)
        for key, value in fresh.items()
        if key in weights or key.startswith(HEADS)
    }
    return fit(kept, fresh, name)


def fit(weights: Mapping[str, Tensor], fresh: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Convert pre-trained weights to the shapes of a fresh model of the same architecture.

    Args:
        weights: Weights of the pre-trained model.
        fresh: Weights of the model to train; its head is kept if the classes differ.
        name: Name of the task, for errors.

    Returns:
        The full state of the model.

    Raises:
        TaskError: If names or shapes differ in anything but head and resolution.
    """
    if weights.keys() != fresh.keys():
        other = sorted(weights.keys() ^ fresh.keys())[0]
        raise TaskError(
            f"the checkpoint for {name!r} is of another architecture: only one of both has "
            f"{other!r}; pre-train the architecture that is fine-tuned"
        )
    return {key: _fitted(key, weights[key], value, name) for key, value in fresh.items()}


def _fitted(key: str, old: Tensor, fresh: Tensor, name: str) -> Tensor:
    if old.shape == fresh.shape:
        return old
    if key.startswith(HEADS):
        return fresh
    if key == "pos_embed":  # timm's own, as for its published weights
        from timm.layers.pos_embed import resample_abs_pos_embed

        side = int(fresh.shape[1] ** 0.5)
        prefix = fresh.shape[1] - side * side  # a class token, where there is one
        return resample_abs_pos_embed(old, [side, side], num_prefix_tokens=prefix)
    raise TaskError(
        f"the checkpoint for {name!r} has {key!r} of shape {list(old.shape)}, the model "
        f"{list(fresh.shape)}; only heads and positions may differ"
    )
