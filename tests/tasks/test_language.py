"""Language tasks: which pieces a model sees, which it is asked for, and who wins."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

import optforge
from optforge.errors import TaskError
from optforge.tasks import family_task_names, load_task
from optforge.tasks.data.pieces import END, learn_pieces, piece_windows
from optforge.tasks.data.python_source import source_texts
from optforge.tasks.language.masks import IGNORED, corrupt_spans, span_sizes
from optforge.tasks.language.task import LanguageTask

pytest.importorskip("tokenizers", reason="needs the package tokenizers: optforge[language]")
transformers: Any = pytest.importorskip(
    "transformers", reason="needs the package transformers: optforge[language]"
)

SMALL = {
    "vocabulary": 384, "length": 24, "width": 32, "layers": 1, "heads": 2,
    "sequences": (512, 64, 64), "batch_size": 16, "steps": 30,
}  # fmt: skip


def small(architecture: str = "gpt2", **changes: Any) -> LanguageTask:
    return LanguageTask(f"small_{architecture}", architecture=architecture, **SMALL | changes)


def test_pieces_hold_every_byte_of_a_text() -> None:
    tokenizer = learn_pieces(["def main():\n    return 1\n"] * 4, 300)
    for text in ("def main", "Grüße, 世界 \t\n", "\x00"):
        assert tokenizer.decode(tokenizer.encode(text).ids).removeprefix(" ") == text
    assert tokenizer.get_vocab_size() <= 300 and tokenizer.token_to_id(END) == 0


def test_no_window_of_one_split_is_in_another() -> None:
    windows = piece_windows("python", SMALL["sequences"], SMALL["length"], SMALL["vocabulary"])
    seen = {part: {tuple(row[:-1]) for row in rows.tolist()} for part, rows in windows.items()}
    assert {part: len(rows) for part, rows in seen.items()} == dict(
        zip(("train", "validation", "test"), SMALL["sequences"], strict=True)
    )
    assert not seen["train"] & (seen["validation"] | seen["test"])
    assert not seen["validation"] & seen["test"]


def test_windows_are_text_of_their_split() -> None:
    """With pieces of single bytes, tokens are read without the vocabulary."""
    windows = piece_windows("python", (64, 16, 16), 24, 257)
    alphabet = learn_pieces([], 257)
    text = {part: "\n".join(texts) for part, texts in source_texts().items()}
    for part, rows in windows.items():
        for row in rows[:16].tolist():
            assert alphabet.decode(row) in f" {text[part]}"


def test_the_next_piece_is_the_target() -> None:
    train = small().splits.train
    assert torch.equal(train.inputs[:, 1:], train.targets[:, :-1])


def test_a_gpt_sees_what_was_before_and_a_bert_everything() -> None:
    for architecture, changed in (("gpt2", False), ("bert", True)):
        model = small(architecture).model().eval()
        x = torch.randint(1, SMALL["vocabulary"], (3, SMALL["length"]))
        y = x.clone()
        y[:, -1] = (y[:, -1] + 1) % SMALL["vocabulary"]
        with torch.no_grad():
            before, after = model(x)[:, :-1], model(y)[:, :-1]
        assert torch.allclose(before, after, atol=1e-6) is not changed


def test_masks_are_those_of_bert() -> None:
    task, generator = small("bert", length=100), torch.Generator().manual_seed(1)
    pieces = torch.randint(1, task.vocabulary, (400, task.length))
    inputs, targets = task.augment(pieces, pieces, generator)
    asked = targets != IGNORED
    assert (asked.sum(1) == 15).all()
    assert torch.equal(targets[asked], pieces[asked])
    assert torch.equal(inputs[~asked], pieces[~asked])
    masked, kept = inputs[asked] == task.vocabulary, inputs[asked] == pieces[asked]
    count = math.sqrt(400 * 15)  # standard deviations of the shares are below 0.4 over it
    assert masked.double().mean().item() == pytest.approx(0.8, abs=2 / count)
    assert kept.double().mean().item() == pytest.approx(0.1, abs=2 / count)
    again, _ = task.augment(pieces, pieces, generator)
    assert not torch.equal(again, inputs)


def test_evaluation_asks_for_the_same_pieces_every_time() -> None:
    first, second = small("bert").splits, small("bert").splits
    assert torch.equal(first.test.inputs, second.test.inputs)
    assert ((first.test.targets != IGNORED).sum(1) == round(0.15 * SMALL["length"])).all()
    assert torch.equal(first.train.inputs, first.train.targets)  # masked anew in each batch


def test_loss_and_metric_count_what_is_asked() -> None:
    task, generator = small("bert"), torch.Generator().manual_seed(2)
    output = torch.randn(4, SMALL["length"], SMALL["vocabulary"] + 1, generator=generator)
    _, targets = task.augment(*(task.splits.train.inputs[:4],) * 2, generator)
    asked = targets != IGNORED
    expected = functional.cross_entropy(output[asked], targets[asked])
    torch.testing.assert_close(task.loss(output, targets), expected)
    right = (output[asked].argmax(-1) == targets[asked]).float().mean()
    torch.testing.assert_close(task.metric(output, targets), right)


def test_models_are_those_of_transformers() -> None:
    task = small()
    config = transformers.GPT2Config(
        vocab_size=384, n_positions=24, n_embd=32, n_layer=1, n_head=2, bos_token_id=0,
        eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    other = transformers.GPT2LMHeadModel(config)
    model: Any = task.model()
    other.load_state_dict(model.model.state_dict())
    x = task.splits.train.inputs[:2]
    torch.testing.assert_close(model(x), other(x).logits)


SIZED = [name for name in family_task_names("language") if not name.startswith("finetune")]


@pytest.mark.parametrize("name", SIZED)
def test_shipped_language_tasks_grow_and_say_what_they_are(name: str) -> None:
    task: Any = load_task(name)
    assert name == f"{task.corpus}_{task.architecture}_{name.rsplit('_', 1)[1]}"
    sizes = [
        sum(
            p.numel()
            for p in load_task(f"{task.corpus}_{task.architecture}_{size}").model().parameters()
        )
        for size in ("small", "medium", "large")
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"corpus": "latin"}, "unknown corpus 'latin'; there are: python, shakespeare"),
        ({"architecture": "rnn"}, "is 'rnn'; allowed are gpt2, bert, t5"),
        ({"depth": 3}, "no attribute 'depth'"),
        ({"masked_share": 1.5}, "masked_share of task 'wrong' is 1.5"),
    ],
)
def test_what_is_not_allowed_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(TaskError, match=text):
        _ = LanguageTask("wrong", **changes).splits


@pytest.mark.parametrize("architecture", ["gpt2", pytest.param("bert", marks=pytest.mark.slow)])
def test_sgd_loses_to_adamw(architecture: str) -> None:
    """Attention needs rates of their own for its arrays (Zhang et al., 2020, arXiv:1912.03194)."""
    few: Any = {"trials": 3, "seeds": 3, "finalists": 1, "again": 0, "extensions": 0}
    result = optforge.compare([small(architecture)], ["adamw", "sgd"], workers=0, **few)
    (row,) = (row for row in result.table if row["optimizer"] == "sgd")
    assert row["runs"] == 3 and row["log_ratio_low"] > 0


def test_spans_and_what_is_left_make_the_sequence() -> None:
    """Each mark replaced by what is asked for after it gives the pieces back."""
    pieces = torch.arange(1, 41).repeat(50, 1)
    left, asked = corrupt_spans(pieces, 100, 0.3, torch.Generator().manual_seed(2))
    spans, *sizes = span_sizes(40, 0.3)
    assert (spans, list(left.shape), list(asked.shape)) == (4, [50, sizes[0]], [50, sizes[1]])
    for row, told in zip(left.tolist(), asked.tolist(), strict=True):
        answers: dict[int, list[int]] = {}
        mark = -1
        for piece in told:
            mark = piece if piece >= 100 else mark
            answers.setdefault(mark, []).extend([piece] if piece < 100 else [])
        assert sorted(answers) == [100, 101, 102, 103, 104] and answers[104] == []
        assert all(answers[mark] for mark in range(100, 104))
        whole = [p for piece in row for p in (answers[piece] if piece >= 100 else [piece])]
        assert whole == list(range(1, 41)) and row[0] == 1
    assert len({tuple(row) for row in left.tolist()}) > 45


def test_a_t5_is_told_what_came_before_and_asked_for_what_comes() -> None:
    task = small("t5")
    x, y = task.splits.validation.inputs[:4], task.splits.validation.targets[:4]
    _, left, asked = span_sizes(24, 0.15)
    assert x.shape == (4, left + asked) and y.shape == (4, asked)
    assert (x[:, left] == 0).all() and torch.equal(x[:, left + 1 :], y[:, :-1])
    model: Any = task.model().eval()
    expected = model.model(input_ids=x[:, :left], decoder_input_ids=x[:, left:], labels=y).loss
    torch.testing.assert_close(task.loss(model(x), y), expected)
    train = task.splits.train
    changed, targets = task.augment(
        train.inputs[:4], train.targets[:4], torch.Generator().manual_seed(0)
    )
    assert changed.shape == x.shape and (targets >= 384).sum() == 4 * 2  # a mark, and the last
    rest = changed[:, :left]
    assert torch.equal(rest[:, 0], train.inputs[:4, 0]) and (rest >= 384).sum() == 4
