"""Fine-tune a language model on a task of GLUE, or one like it, on one device or on many.

    python -m paper.finetune glue_t5_base --task mnli --data /data/glue --init t5-base --out runs
    torchrun --nproc-per-node 8 -m paper.finetune glue_t5_large --task qqp ... --accumulation 2
    python -m paper.finetune --list

--init is a model that transformers saved or that it downloads, with its tokenizer. With --resume
it continues from the last checkpoint. Table 6 reports the best evaluation of each task, which
log.jsonl has. paper/README.md starts every preset here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from optforge.tasks.data.cache import require
from optforge.tasks.data.pieces import END, learn_pieces
from paper import options, training
from paper.examples import Item
from paper.glue import TASKS, GlueTask, Row, open_glue
from paper.options import TrainingError, option, session
from paper.training import TrainingLoop
from paper.training_options import DECAYS, TrainingOptions

PRESETS = options.read_presets("finetune")
REDUCED = {
    **{"width": 32, "layers": 1, "heads": 2, "head_width": 16, "feed_forward": 64},
    **{"vocabulary": 300, "length": 32},
}
Encode = Callable[[Sequence[str]], tuple[list[int], list[int]]]


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of a training: a preset replaces these defaults, the command line replaces both."""

    data: str = session("", "GLUE's folder, that of the task, or hub:NAME")
    task: str = option("sst2", f"one of {', '.join(TASKS)}", "|".join(TASKS))
    held: str | None = session(None, "part to evaluate on, as dev_mismatched")
    init: str | None = option(None, "model to begin from: a folder or a name of transformers")
    architecture: str = option("t5", "t5, or bert", "t5|bert")
    width: int = option(768, "features of a token", "count")
    layers: int = option(12, "blocks, of a T5's decoder as well", "count")
    heads: int = option(12, "attention heads of each", "count")
    head_width: int = option(64, "features of each head of a T5", "count")
    feed_forward: int = option(3072, "features of the hidden layers", "count")
    vocabulary: int = option(32_128, "different tokens", "count")
    length: int = option(128, "tokens of an example, cut or filled up", "count")
    dropout: float = option(0.1, "share of activations dropped", "share")
    decay: str = option("constant", "of the rate after the warm-up", "|".join(DECAYS))


def load_preset(name: str, optimizer: str = "lion", **changes: Any) -> Config:
    """Return the configuration of a preset with options replaced.

    Raises:
        TrainingError: If there is no such preset, or a value is not allowed.

    Example:
        >>> config = load_preset("glue_t5_large", task="rte")
        >>> config.width, config.lr, config.dropout, config.steps
        (1024, 3e-06, 0.1, 500000)
    """
    settings = options.preset_settings(Config, PRESETS, name, optimizer)
    small = REDUCED if changes.get("reduced") else {}
    for chosen, other in (("epochs", "steps"), ("steps", "epochs")):
        if chosen in changes:
            settings.pop(other, None)
    return Config(**{**settings, **small, **changes})


def build_model(config: Config, outputs: int, device: str = "cpu") -> nn.Module:
    """Build the model with random weights; nothing is downloaded.

    Args:
        config: The configuration.
        outputs: Number of classes, or 1 for a number.
        device: ``meta`` builds without memory, to count parameters.

    Example:
        >>> model = build_model(load_preset("glue_bert_base"), 2, device="meta")
        >>> round(sum(p.numel() for p in model.parameters()) / 1e6)
        109
    """
    package, padding = require("transformers", "transformers", "language"), config.vocabulary - 1
    if config.architecture == "bert":
        model_config = package.BertConfig(
            vocab_size=config.vocabulary,
            max_position_embeddings=512,
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            num_labels=outputs,
            pad_token_id=padding,
        )
        with torch.device(device):
            return package.BertForSequenceClassification(model_config).train()
    model_config = package.T5Config(
        vocab_size=config.vocabulary,
        d_model=config.width,
        d_ff=config.feed_forward,
        d_kv=config.head_width,
        num_layers=config.layers,
        num_heads=config.heads,
        dropout_rate=config.dropout,
        classifier_dropout=config.dropout,
        num_labels=outputs,
        eos_token_id=0,
        pad_token_id=padding,
        decoder_start_token_id=padding,
    )
    with torch.device(device):
        return package.T5ForSequenceClassification(model_config).train()


class Classifier(nn.Module):
    """A model of transformers that reads tokens and segments from one tensor.

    Args:
        model: The model.
        padding: The token that fills up.
        has_segments: Whether the model tells the first text from the second by their number.
    """

    def __init__(self, model: nn.Module, padding: int, has_segments: bool) -> None:
        super().__init__()
        self.model, self.padding, self.has_segments = model, padding, has_segments

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens and segments, int64 [B, 2, length], to logits [B, classes]."""
        tokens, segments = x.unbind(1)
        more = {"token_type_ids": segments} if self.has_segments else {}
        mask = (tokens != self.padding).long()
        return self.model(input_ids=tokens, attention_mask=mask, **more).logits


@dataclass
class Texts(Dataset[tuple[Tensor, float]]):
    """Examples as tokens and segments, int64 [2, length], with their class or number.

    Args:
        rows: The examples.
        encode: From the texts of an example to its tokens and their segments.
        length: Tokens of an example.
        padding: The token that fills up.
    """

    rows: Sequence[Row]
    encode: Encode
    length: int
    padding: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Item) -> tuple[Tensor, float]:
        texts, target = self.rows[item[1]]
        tokens, segments = self.encode(texts)
        x = torch.tensor([[self.padding], [0]]).repeat(1, self.length)
        x[:, : len(tokens)] = torch.tensor([tokens, segments])
        return x, target


class FineTuning(TrainingLoop):
    """A fine-tuning on one task."""

    noun = "texts"
    counted = 12
    evaluated = 32

    @property
    def task(self) -> GlueTask:
        """The task."""
        return TASKS[self.config.task]

    def open_data(self) -> tuple[Texts, Texts]:
        """Return the examples of both parts."""
        config = self.config
        data = open_glue(config.data, config.task, config.held)
        self.digest = data.digest
        encode, self.padding = self._encoder([text for row in data.train for text in row[0]])
        return (
            Texts(data.train, encode, config.length, self.padding),
            Texts(data.validation, encode, config.length, self.padding),
        )

    def _encoder(self, texts: Sequence[str]) -> tuple[Encode, int]:
        """Return the tokenizer of the model to begin from, or one learnt from the texts."""
        config = self.config
        if config.init is not None:
            package = require("transformers", "transformers", "language")
            tokenizer = package.AutoTokenizer.from_pretrained(config.init)

            def encode(parts: Sequence[str]) -> tuple[list[int], list[int]]:
                encoded = tokenizer(*parts, truncation=True, max_length=config.length)
                tokens = encoded["input_ids"]
                return tokens, encoded.get("token_type_ids", [0] * len(tokens))

            return encode, tokenizer.pad_token_id
        if not config.reduced:
            raise TrainingError(
                "a fine-tuning begins from a trained model; give --init, a folder or a name of "
                "transformers, or try it with --reduced"
            )
        pieces = learn_pieces(texts, config.vocabulary - 1)
        end, fill = pieces.token_to_id(END), config.vocabulary - 1

        def encode_pieces(parts: Sequence[str]) -> tuple[list[int], list[int]]:
            return _joined([pieces.encode(part).ids for part in parts], end, config.length)

        return encode_pieces, fill

    def make_model(self) -> nn.Module:
        """Return the model to begin from, with a new head; of a reduced one all is new."""
        config, outputs = self.config, len(self.task.classes) or 1
        has_segments = config.architecture == "bert"
        if config.init is None:
            return Classifier(build_model(config, outputs), self.padding, has_segments).train()
        package: Any = require("transformers", "transformers", "language")
        kind = "Bert" if has_segments else "T5"
        make = getattr(package, f"{kind}ForSequenceClassification")
        try:
            model = make.from_pretrained(config.init, num_labels=outputs)
        except (OSError, ValueError, RuntimeError) as error:
            raise TrainingError(f"{config.init} cannot be loaded as a {kind}: {error}") from error
        return Classifier(model, self.padding, has_segments).train()

    def data_plan(self) -> dict[str, Any]:
        """Return the examples."""
        return {"text": self.digest}

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross entropy, or the squared error of a number."""
        return self._losses(self.forward(x).float(), y).mean()

    def _losses(self, output: Tensor, y: Tensor) -> Tensor:
        if not self.task.classes:
            return (output[:, 0] - y.to(output.dtype)).square()
        return functional.cross_entropy(output, y.long(), reduction="none")

    def sums(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return sums of losses and hits, the four counts of yes and no, five sums of numbers."""
        output = model(x).double()
        loss, answer, truth = self._losses(output, y).sum(), output.argmax(1), y.long()
        yes, is_yes = (answer == 1).double(), (truth == 1).double()
        a, b = output[:, 0], y.double()
        values = [
            *(loss, loss.new_tensor(len(y)), (answer == truth).double().sum()),
            *((yes * is_yes).sum(), (yes * (1 - is_yes)).sum()),
            *(((1 - yes) * is_yes).sum(), ((1 - yes) * (1 - is_yes)).sum()),
            *(a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()),
        ]
        return torch.stack(values)

    def score(self, sums: list[float]) -> dict[str, float]:
        """Return loss and the task's scores."""
        return {"loss": sums[0] / sums[1], **self.task.scores(*sums[1:])}


def _joined(parts: Sequence[list[int]], end: int, length: int) -> tuple[list[int], list[int]]:
    """Return an end, and each text with an end after it; longer texts are cut."""
    room = (length - 1) // len(parts) - 1
    tokens, segments = [end], [0]
    for number, part in enumerate(parts):
        tokens += [*part[:room], end]
        segments += [number] * (len(part[:room]) + 1)
    return tokens, segments


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    training.run_script(Config, PRESETS, load_preset, FineTuning, str(__doc__), arguments)


if __name__ == "__main__":
    main()
