"""Answers of a language model to questions with choices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BATCH = 64  # questions at a time


def cloze_error(model: nn.Module, windows: Tensor, pieces: Tensor) -> float:
    """Return the share of questions whose right last word is not the likeliest.

    Args:
        model: Maps pieces [B, length], int64, to logits of the next one [B, length, vocabulary].
        windows: Pieces int64 [questions, choices, length + 1], the right choice first.
        pieces: Number of pieces of the last word, int64 [questions].

    Example:
        >>> windows = torch.tensor([[[0, 1], [0, 2]], [[3, 2], [3, 1]]])  # which comes next?
        >>> always_1 = nn.Embedding.from_pretrained(torch.tensor([[0.0, 1.0, 0.0]] * 4))
        >>> cloze_error(always_1, windows, torch.tensor([1, 1]))
        0.5
    """
    device = next(iter(model.parameters())).device
    right = [
        _is_right(model, some.to(device), last.to(device))
        for some, last in zip(windows.split(_BATCH), pieces.split(_BATCH), strict=True)
    ]
    return 1 - torch.cat(right).double().mean().item()


def _is_right(model: nn.Module, windows: Tensor, pieces: Tensor) -> Tensor:
    """Return for each question whether the first choice is likelier than all others."""
    questions, choices, length = windows.shape
    flat = windows.reshape(questions * choices, length)
    likelihoods = model(flat[:, :-1]).log_softmax(-1).gather(2, flat[:, 1:, None]).squeeze(2)
    place = torch.arange(length - 1, 0, -1, device=windows.device)  # counted from the end
    is_last = place <= pieces.repeat_interleave(choices)[:, None]
    first, *others = (likelihoods * is_last).sum(1).view(questions, choices).unbind(1)
    return first > torch.stack(others).amax(0)  # neither equal nor NaN
