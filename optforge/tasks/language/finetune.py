"""Fine-tuning of language models: classification of windows of Python source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from optforge.errors import TaskError, one_line
from optforge.tasks.attributes import set_attributes
from optforge.tasks.data.python_questions import PACKAGES, QUESTIONS, python_questions
from optforge.tasks.language.task import LanguageTask
from optforge.tasks.pretrained import SCRATCH, checkpoint_content, pretrained, read_weights
from optforge.tasks.splits import Data
from optforge.tasks.task import Task

# By architecture: the part of the language model that reads a whole sequence.
READERS = {"bert": "bert", "t5": "encoder"}


class Reader(nn.Module):
    """An encoder of sequences with a new linear head on the mean over their pieces.

    Args:
        reader: The part of a language model that reads a whole sequence.
        width: Features of a piece.
        classes: Number of classes.
    """

    def __init__(self, reader: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.reader, self.head = reader, nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, length], int64, to logits [B, classes]."""
        return self.head(self.reader(input_ids=x).last_hidden_state.mean(1))


class QuestionTask(Task):
    """Answer a question about a window of Python source with a pre-trained model.

    The questions: which of six packages it is from (``package``), whether both halves are from one
    place (``coherent``), whether they are in order (``order``), and whether it is from the first
    third of its file or the last (``place``). No file is in two splits. The model is pre-trained on
    masked pieces or spans of the same source: by default by AdamW, the same for every optimizer;
    with ``checkpoint`` by the optimizer under test (``optforge.training.pretrain`` on
    ``before()``).

    Attributes:
        question: ``package``, ``coherent``, ``order`` or ``place``.
        architecture: ``bert``, or the encoder of a ``t5``.
        vocabulary: Number of different pieces.
        length: Pieces of a window, an even number.
        width: Features of a piece.
        layers: Number of blocks.
        heads: Attention heads of each, a divisor of the width.
        examples: Number of examples for training, validation and test.
        checkpoint: A file of ``pretrain``; ``{seed}`` in it stands for the seed of the run;
            ``scratch`` for random weights; empty for the model that AdamW trained.

    Args:
        name: The task's name, which decides the seeds; the class's name by default.
        changes: Values of attributes.

    Raises:
        TaskError: If there is no such attribute, or its value is not allowed.

    Example:
        >>> QuestionTask("mine", question="order", steps=50).classes
        2

    Source: Devlin et al., BERT, 2019; Lan et al., ALBERT, 2020 (arXiv:1909.11942), for the order.
    """

    steps = 150
    batch_size = 32
    evaluation_period = 10
    question: str = "package"
    architecture: str = "bert"
    vocabulary: int = 1024
    length: int = 64
    width: int = 64
    layers: int = 2
    heads: int = 2
    examples: tuple[int, int, int] = (1536, 768, 768)
    checkpoint: str = ""

    def __init__(self, name: str = "", **changes: Any) -> None:
        set_attributes(self, "a question task", name, changes)
        for key, allowed in (("question", QUESTIONS), ("architecture", READERS)):
            if getattr(self, key) not in allowed:
                raise TaskError(
                    f"{key} of task {self.name!r} is {getattr(self, key)!r}; "
                    f"allowed are {', '.join(allowed)}"
                )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return PACKAGES if self.question == "package" else 2

    def before(self) -> LanguageTask:
        """Return the task of the pre-training."""
        sizes = ("vocabulary", "length", "width", "layers", "heads")
        return LanguageTask(
            f"before_{self.architecture}",
            architecture=self.architecture,
            **{name: getattr(self, name) for name in sizes},
        )

    def data(self) -> Data:
        """Return inputs int64 [N, length] and answers int64 [N]."""
        sequences = self.before().sequences
        return python_questions(
            self.question, self.examples, self.length, self.vocabulary, sequences
        )

    def model(self) -> nn.Module:
        """Return the reader with random weights and its head."""
        model: Any = self.before().model()
        reader = getattr(model.model, READERS[self.architecture])
        return Reader(reader, self.width, self.classes)

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Load the pre-trained encoder.

        Raises:
            TaskError: If the checkpoint cannot be read, or is of another architecture.
        """
        if self.checkpoint == SCRATCH:
            return model
        weights: Mapping[str, Tensor] = (
            read_weights(self.checkpoint, seed, self.name)
            if self.checkpoint
            else pretrained(self.before())
        )
        prefix = f"model.{READERS[self.architecture]}."
        reader_weights = {
            k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)
        }
        whole: Any = model
        try:
            whole.reader.load_state_dict(reader_weights)
        except RuntimeError as error:
            raise TaskError(
                f"the checkpoint of task {self.name!r} is of another architecture: "
                f"{one_line(error)}; pre-train a {self.architecture} of the same sizes"
            ) from error
        return model

    def settings(self) -> dict[str, Any]:
        """Add the content of the checkpoints, in place of their paths."""
        return {**super().settings(), "checkpoint": checkpoint_content(self.checkpoint)}
