"""Language models of transformers, built from their configurations; nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from optforge.tasks.data.cache import require

ARCHITECTURES = ("gpt2", "bert", "t5")


@dataclass(frozen=True)
class LanguageShape:
    """The sizes of a language model.

    Args:
        vocabulary: Number of different pieces; a ``bert`` has one more, the mask; of a ``t5`` with
            its marks.
        length: Largest number of pieces of a sequence; of a ``t5`` those that its encoder reads.
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


class SpanLogits(nn.Module):
    """A model with encoder and decoder, which reads the tokens of both from one tensor.

    Args:
        model: The model.
        length: Tokens of the encoder; those after them are the decoder's.
    """

    def __init__(self, model: nn.Module, length: int) -> None:
        super().__init__()
        self.model, self.length = model, length

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, length + asked], int64, to logits [B, asked, vocabulary]."""
        encoder_ids, decoder_ids = x[:, : self.length], x[:, self.length :]
        return self.model(input_ids=encoder_ids, decoder_input_ids=decoder_ids).logits


def build(architecture: str, shape: LanguageShape) -> nn.Module:
    """Build an architecture with random weights, without dropout, its output layer tied.

    Args:
        architecture: ``gpt2`` sees what was before, ``bert`` the whole sequence, ``t5`` has an
            encoder of what is left of a sequence and a decoder of what is missing.
        shape: Its sizes.

    Raises:
        TaskError: If transformers cannot be imported.

    Example:
        >>> model = build("gpt2", LanguageShape(300, 64, 16, layers=1, heads=2))
        >>> sum(p.numel() for p in model.parameters())
        9136

    Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019; Devlin et
    al., BERT, 2019; Raffel et al., T5, 2020.
    """
    package = require("transformers", "transformers", "language")
    if architecture == "gpt2":
        return Logits(package.GPT2LMHeadModel(package.GPT2Config(**_gpt2(shape))))
    if architecture == "t5":
        model = package.T5ForConditionalGeneration(package.T5Config(**_t5(shape)))
        return SpanLogits(model, shape.length)
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


def _t5(shape: LanguageShape) -> dict[str, Any]:
    return {
        **{"vocab_size": shape.vocabulary, "d_model": shape.width, "d_ff": 4 * shape.width},
        **{"d_kv": shape.width // shape.heads, "num_heads": shape.heads},
        **{"num_layers": shape.layers, "num_decoder_layers": shape.layers},
        **{"dropout_rate": 0.0, "use_cache": False, "decoder_start_token_id": 0},
        **{"pad_token_id": 0, "eos_token_id": 0},
    }
