"""Language trainings: presets as in the paper, tokens as the text, losses as of transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import GradientState
from tokenizers import Tokenizer
from torch.nn import functional

from optforge.tasks.language.masks import IGNORED
from paper.folder import CHECKPOINT, read_checkpoint
from paper.language import PRESETS, LanguageTraining, build_model, load_preset, main
from paper.options import TrainingError
from paper.text import Sequences, open_tokens, write_tokens
from paper.text import main as write
from paper.training import train

# Table 12 and section 9 by themselves: AdamW's (or Adafactor's) rate and decay, Lion's; width,
# blocks, heads; tokens of a step.
EXPECTED = {
    "wiki40b_small": ((3e-3, 0.0, 3e-4, 0.0), (768, 12, 12), 2**18),
    "wiki40b_medium": ((3e-3, 0.001, 3e-4, 0.01), (1024, 24, 16), 2**18),
    "pg19_small": ((3e-3, 0.0, 3e-4, 0.0), (768, 12, 12), 2**18),
    "pg19_medium": ((3e-3, 0.0, 3e-4, 0.0), (1024, 24, 16), 2**18),
    "pg19_large": ((3e-3, 0.0, 3e-4, 0.0), (1536, 24, 16), 2**18),
    "c4_small": ((3e-3, 0.0, 3e-4, 0.0), (768, 12, 12), 2**18),
    "c4_medium": ((3e-3, 0.0, 3e-4, 0.0), (1024, 24, 16), 2**18),
    "c4_large": ((3e-3, 0.0, 3e-4, 0.0), (1536, 24, 16), 2**18),
    "large_1b": ((2e-3, 0.0005, 2e-4, 0.005), (1536, 24, 16), 3 * 2**20),
    "large_2b": ((2e-3, 0.0005, 2e-4, 0.005), (2048, 32, 16), 3 * 2**20),
    "large_7b": ((1e-3, 0.001, 1e-4, 0.01), (4096, 32, 32), 3 * 2**20),
}
MILLIONS = {
    "pg19_small": 110, "pg19_medium": 336, "pg19_large": 731,
    "large_1b": 1070, "large_2b": 2140, "large_7b": 7490,
}  # fmt: skip
TINY: dict[str, Any] = {"batch_size": 4, "reduced": True, "steps": 4, "cpu": True, "workers": 0}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The docs of the project in tokens."""
    out = tmp_path_factory.mktemp("text") / "tokens"
    write_tokens(str(Path(__file__).parents[2] / "docs"), out, 300)
    return str(out)


def start(tokens: str, name: str, optimizer: str = "adamw", **changes: Any) -> LanguageTraining:
    config = load_preset(name, optimizer, data=tokens, **{**TINY, **changes})
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=config.accumulation)
    return LanguageTraining(config, accelerator)


def test_settings_are_those_of_the_paper() -> None:
    assert PRESETS.keys() == EXPECTED.keys()
    for name, (rates, sizes, count) in EXPECTED.items():
        baseline = load_preset(name, next(iter(PRESETS[name]["optimizers"])))
        lion = load_preset(name)
        found = (baseline.lr, baseline.weight_decay, lion.lr, lion.weight_decay)
        assert found == rates, name
        assert lion.betas == (0.95, 0.98)
        assert baseline.optimizer == ("adafactor" if "large_" in name else "adamw")
        assert baseline.betas == (None if "large_" in name else (0.9, 0.99))
        assert (lion.width, lion.layers, lion.heads) == sizes
        assert lion.batch_size * lion.length == count
        assert lion.objective == ("masked" if name.startswith("c4") else "next")


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_full_size_models_have_the_parameters_of_the_paper(name: str, millions: float) -> None:
    vocabulary = 256_000 if name.startswith("large") else 32_000
    model = build_model(load_preset(name), vocabulary, device="meta")
    assert all(p.is_meta for p in model.parameters())
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.006)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_steps_and_evaluates_at_reduced_width(name: str, tokens: str) -> None:
    made = start(tokens, name, "lion", steps=1)
    (step,) = made.run(1)
    assert abs(step["loss"] - math.log(300)) < 0.7 and step["taken"]
    score = made.evaluate()
    assert score["perplexity"] == pytest.approx(math.exp(score["loss"]))


def test_tokens_are_the_text_and_parts_are_apart(tmp_path: Path, capsys: Any) -> None:
    for part, words in (("train", ["to be", "or not"]), ("validation", ["that is"])):
        for number, text in enumerate(words):
            file = tmp_path / "text" / part / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    write([str(tmp_path / "text"), "--out", str(tmp_path / "tokens"), "--vocabulary", "260"])
    assert "for training" in capsys.readouterr().out
    assert read_back(tmp_path / "tokens") == [["to be", "or not", ""], ["that is", ""]]
    assert open_tokens(str(tmp_path / "tokens")).vocabulary == 260


def read_back(folder: Path) -> list[list[str]]:
    """The documents of both parts."""
    opened, tokenizer = (
        open_tokens(str(folder)),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    parts = (opened.train, opened.validation)
    texts = [tokenizer.decode(part, skip_special_tokens=False) for part in parts]
    return [[document.strip() for document in text.split("<end>")] for text in texts]


def test_parquet_files_are_read_as_a_data_set(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    for part in ("train", "validation"):
        rows = pandas.DataFrame({"text": [f"{part} one", f"{part} two"]})
        rows.to_parquet(tmp_path / f"{part}.parquet")
    write_tokens(str(tmp_path), tmp_path / "tokens", 270)
    assert read_back(tmp_path / "tokens") == [
        ["train one", "train two", ""],
        ["validation one", "validation two", ""],
    ]


def test_sequences_follow_one_another() -> None:
    found = Sequences(numpy.arange(21, dtype=numpy.uint16), 5, 30)
    assert len(found) == 4
    x, y = found[0, 3]
    assert x.tolist() == [15, 16, 17, 18, 19] and y.tolist() == [16, 17, 18, 19, 20]
    masked = Sequences(numpy.arange(21, dtype=numpy.uint16), 20, 30, masked_share=0.25)
    (first, asked), (again, _), (other, _) = masked[0, 0], masked[0, 0], masked[1, 0]
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (asked != IGNORED).sum() == 5


def test_the_loss_is_that_of_transformers(tokens: str) -> None:
    made = start(tokens, "wiki40b_small")
    x, y = (
        torch.stack(part) for part in zip(*(made.examples[0, i] for i in range(4)), strict=True)
    )
    whole = torch.cat([x, y[:, -1:]], 1)
    model: Any = made.model
    logits = model.model(input_ids=whole[:, :-1]).logits
    expected = functional.cross_entropy(logits.transpose(1, 2), whole[:, 1:])
    torch.testing.assert_close(made.loss(x, y), expected)
    sums = made.sums(made.model, x, y)
    assert (sums[0] / sums[1]).item() == pytest.approx(expected.item(), rel=1e-5)
    assert sums[1] == y.numel()


def test_the_rate_falls_in_a_line(tokens: str) -> None:
    rates = [step["lr"] for step in start(tokens, "pg19_small", steps=6, warmup_steps=2).run(6)]
    assert rates == pytest.approx([3e-3 * share for share in (0.5, 1.0, 0.75, 0.5, 0.25, 0.0)])


@pytest.mark.parametrize(("name", "accumulation"), [("wiki40b_medium", 1), ("c4_small", 2)])
def test_resuming_changes_no_bit(name: str, accumulation: int, tokens: str, tmp_path: Path) -> None:
    def run(folder: str, **more: Any) -> None:
        common = {**TINY, "accumulation": accumulation, "data": tokens}
        train(
            load_preset(name, "lion", **common, out=str(tmp_path / folder), **more),
            LanguageTraining,
        )

    run("whole")
    run("parts", stop_after=2)
    torch.manual_seed(77)
    run("parts", resume=True)
    first, second = (read_checkpoint(tmp_path / f / CHECKPOINT) for f in ("whole", "parts"))
    assert first["number"] == second["number"] == 4
    for key, value in first["model"].items():
        assert torch.equal(value, second["model"][key]), key


def test_accumulation_changes_nothing_but_rounding(tokens: str) -> None:
    """Masks belong to an example and not to the micro-batch in which it is seen."""
    more = {"lr": 0.1, "weight_decay": 0.0}
    found = []
    for accumulation in (1, 2):
        GradientState._reset_state()  # accelerators of one process share it
        made = start(tokens, "c4_small", "sgd", accumulation=accumulation, **more)
        found.append([step["loss"] for step in made.run(3)])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_the_command_trains_every_preset_and_resumes(tokens: str, tmp_path: Path) -> None:
    words = ["all", "--data", tokens, "--out", str(tmp_path), "--reduced", "--steps", "1"]
    words += ["--batch-size", "2", "--workers", "0", "--cpu"]
    main(words)
    main([*words, "--resume"])
    for name in PRESETS:
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        assert "perplexity" in json.loads(lines[2])["validation"], name


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": "nowhere"}, "nowhere is no folder of tokens"),
        ({"length": 10**6}, "has no whole sequence of 1000000 tokens for training"),
        ({"width": 50}, "width is 50 and heads is 4"),
        ({"objective": "both"}, "objective is 'both'; it must be next or masked"),
    ],
)
def test_what_does_not_fit_is_a_sentence(changes: dict[str, Any], text: str, tokens: str) -> None:
    with pytest.raises(TrainingError, match=text):
        start(changes.pop("data", tokens), "wiki40b_small", **changes)


def test_damaged_tokens_are_noticed(tokens: str, tmp_path: Path) -> None:
    for file in Path(tokens).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (tmp_path / "train.bin").read_bytes()
    (tmp_path / "train.bin").write_bytes(content[: len(content) // 2 // 2 * 2])
    with pytest.raises(TrainingError, match="tokens where .* were written"):
        open_tokens(str(tmp_path))
