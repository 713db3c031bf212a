"""Cloze questions: passages of held-out texts, four words each, and who answers them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.errors import TaskError
from optforge.tasks.data.cloze import CHOICES, cloze_questions
from optforge.tasks.data.pieces import corpus_tokenizer
from optforge.tasks.data.python_source import source_texts
from optforge.tasks.language.cloze import cloze_error
from optforge.tasks.language.task import LanguageTask
from optforge.tasks.pretrained import pretrained

pytest.importorskip("tokenizers", reason="needs the package tokenizers: optforge[language]")
pytest.importorskip("transformers", reason="needs the package transformers: optforge[language]")

SIZES: tuple[Any, ...] = ("python", (512, 64, 64), 24, 384)


def small(**changes: Any) -> LanguageTask:
    corpus, sequences, length, vocabulary = SIZES
    sizes: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "batch_size": 16}
    own = {"corpus": corpus, "sequences": sequences, "length": length, "vocabulary": vocabulary}
    return LanguageTask("small_cloze", **sizes | own | changes)


def test_the_right_word_is_the_text_s_own_and_the_others_are_other_words_as_long() -> None:
    windows, pieces = cloze_questions(*SIZES)
    tokenizer, text = corpus_tokenizer(*SIZES), "\n".join(source_texts()["test"])
    assert windows.shape == (500, CHOICES, 25) and set(pieces) <= {1, 2, 3, 4}
    for rows, count in zip(windows.tolist(), pieces.tolist(), strict=True):
        assert all(row[:-count] == rows[0][:-count] for row in rows)
        words = [tokenizer.decode(row[-count:]) for row in rows]
        assert len(set(words)) == CHOICES and all(word.strip().isalpha() for word in words)
        assert len({word.startswith(" ") for word in words}) == 1
        # A piece may be a part of a character, at the beginning.
        assert tokenizer.decode(rows[0]).lstrip("\ufffd") in f" {text}"


def test_the_error_is_that_of_a_loop_over_pieces() -> None:
    windows, pieces = map(
        torch.from_numpy, (part.astype(np.int64) for part in cloze_questions(*SIZES))
    )
    windows, pieces = windows[:100], pieces[:100]
    torch.manual_seed(0)
    model = small().model().eval()
    wrong = 0
    with torch.no_grad():
        for rows, count in zip(windows, pieces.tolist(), strict=True):
            likelihoods = []
            for row in rows:
                logits = model(row[None, :-1])[0]
                each = [functional.cross_entropy(logits[-n], row[-n]) for n in range(1, count + 1)]
                likelihoods.append(-float(sum(each)))
            wrong += likelihoods[0] <= max(likelihoods[1:])
        assert cloze_error(model, windows, pieces) == pytest.approx(wrong / 100, abs=0.011)
    assert 0.6 < wrong / 100 < 0.9  # it knows nothing: chance is 0.75


@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_a_model_that_says_the_same_of_all_is_wrong(value: float) -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(value))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight.expand(*x.shape, 10)

    windows = torch.arange(8).view(1, 4, 2) + 1
    assert cloze_error(Constant(), windows, torch.tensor([1])) == 1.0


def test_training_answers_more_and_only_causal_models_are_asked() -> None:
    task = small(steps=300, vocabulary=512, length=32, sequences=(4096, 64, 64))
    model, weights = task.model().eval(), pretrained(task)
    with torch.no_grad():
        before = task.scores(model, 0)["cloze_error"]
        model.load_state_dict(weights)
        assert task.scores(model, 0)["cloze_error"] < before - 0.05
    assert small(architecture="bert").scores(model, 0) == {}


def test_too_little_text_is_named() -> None:
    with pytest.raises(TaskError, match="passages of 24 pieces"):
        cloze_questions(*SIZES, questions=10**6)
