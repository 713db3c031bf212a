"""Scores of image-text models beyond their loss: retrieval and zero-shot classification."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

RECALLS = (1, 5, 10)
_FEWEST = 10  # training names of a class
# By name: from a character to its class.
KINDS: dict[str, Callable[[str], str]] = {
    "script": lambda character: unicodedata.name(character).split()[0],
    "category": unicodedata.category,
}


def recall(output: Tensor, targets: Tensor, count: int, of_images: bool = True) -> Tensor:
    """Return recall: the share of images whose name is among the nearest names, or the reverse.

    Every row of the split is one query; the rows of one character count as one answer.

    Args:
        output: Directions [B, 2, features].
        targets: Characters int64 [B].
        count: Number of nearest characters.
        of_images: Whether images are the queries, and names the answers.

    Example:
        >>> directions = torch.eye(3).unsqueeze(1).expand(3, 2, 3)
        >>> recall(directions, torch.arange(3), 1).item()
        1.0
    """
    queries, answers = (output[:, 0], output[:, 1]) if of_images else (output[:, 1], output[:, 0])
    distinct, place = targets.unique(return_inverse=True)
    values = (queries @ answers.T).new_full((len(queries), len(distinct)), -torch.inf)
    values.scatter_reduce_(1, place.expand(len(queries), -1), queries @ answers.T, "amax")
    nearest = values.topk(min(count, len(distinct)), 1).indices
    return (nearest == place[:, None]).any(1).to(output.dtype).mean()


def misses(output: Tensor, targets: Tensor) -> dict[str, float]:
    """Return one minus recall at 1, 5 and 10, for images as queries and for names, by name.

    Example:
        >>> directions = torch.eye(12).unsqueeze(1).expand(12, 2, 12)
        >>> misses(directions, torch.arange(12))["missed_at_1_image_to_text"]
        0.0
    """
    ways = {"image_to_text": True, "text_to_image": False}
    return {
        f"missed_at_{count}_{way}": 1 - recall(output, targets, count, of_images).item()
        for way, of_images in ways.items()
        for count in RECALLS
    }


def zero_shot_errors(
    images: Tensor, characters: Tensor, names: Tensor, named: Tensor
) -> dict[str, float]:
    """Return the error of zero-shot classification by script, and by Unicode category.

    The text of a class is the mean direction of the training names of its characters, as CLIP takes
    the mean over its prompts; no image is used. Classes with fewer than ten names are left out.

    Args:
        images: Directions of images [N, features].
        characters: Their characters, int64 [N].
        names: Directions of training names [M, features].
        named: Their characters, int64 [M], each once.

    Source: Radford et al., CLIP, 2021 (arXiv:2103.00020), section 3.1.4.
    """
    errors = {}
    for kind, class_of in KINDS.items():
        labels = [class_of(chr(code)) for code in named.tolist()]
        classes = sorted(name for name, count in Counter(labels).items() if count >= _FEWEST)
        place = torch.tensor([classes.index(c) if c in classes else len(classes) for c in labels])
        texts = names.new_zeros(len(classes) + 1, names.shape[1]).index_add(0, place, names)[:-1]
        truth = [class_of(chr(code)) for code in characters.tolist()]
        known = torch.tensor([name in classes for name in truth])
        right = torch.tensor([classes.index(name) for name in truth if name in classes])
        answers = (images[known] @ functional.normalize(texts, dim=1).T).argmax(1)
        errors[f"zero_shot_error_{kind}"] = (answers != right).double().mean().item()
    return errors
