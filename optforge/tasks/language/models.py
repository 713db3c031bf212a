"""Language models of transformers, built from their configurations; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from optforge.tasks.data.cache import require

ARCHITECTURES = ("gpt2", "bert")


@dataclass(frozen=True)
class LanguageShape:
    """The sizes of a language model.

    Args:
        vocabulary: Number of different pieces; a ``bert`` has one more, the mask.
        length: Largest number of pieces of a sequence.
        width: Features of a piece.
        layers: Number of blocks.
        heads: Attention heads of each, a divisor of the width.
        activation: Of the hidden layers, four times as wide, by its name in transformers.
    """

    vocabulary: int
    length: int
    width: int
    layers: int
    heads: int
    activation: str = "gelu_new"


class Logits(nn.Module):
    """A model of transformers that returns its logits alone.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, T], int64, to logits [B, T, vocabulary]."""
        return self.model(input_ids=x).logits


def build(architecture: str, shape: LanguageShape) -> nn.Module:
    """Build an architecture with random weights, without dropout, its output layer tied.

    Args:
        architecture: ``gpt2`` sees what was before, ``bert`` the whole sequence.
        shape: Its sizes.

    Raises:
        TaskError: If transformers cannot be imported.

    Example:
        >>> model = build("gpt2", LanguageShape(300, 64, 16, layers=1, heads=2))
        >>> sum(p.numel() for p in model.parameters())
        9136

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019; Devlin et
    al., BERT, 2019.
    """
    package = require("transformers", "transformers", "language")
    if architecture == "gpt2":
        return Logits(package.GPT2LMHeadModel(package.GPT2Config(**_gpt2(shape))))
    return Logits(package.BertForMaskedLM(package.BertConfig(**_bert(shape))))


def _gpt2(shape: LanguageShape) -> dict[str, Any]:
    return {
        **{"vocab_size": shape.vocabulary, "n_positions": shape.length, "n_embd": shape.width},
        **{"n_layer": shape.layers, "n_head": shape.heads, "use_cache": False},
        **{"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
        **{"activation_function": shape.activation, "bos_token_id": 0, "eos_token_id": 0},
    }


def _bert(shape: LanguageShape) -> dict[str, Any]:
    return {
        **{"vocab_size": shape.vocabulary + 1, "max_position_embeddings": shape.length},
        **{"hidden_size": shape.width, "intermediate_size": 4 * shape.width},
        **{"num_hidden_layers": shape.layers, "num_attention_heads": shape.heads},
        **{"hidden_act": shape.activation, "pad_token_id": None},
        **{"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    }
