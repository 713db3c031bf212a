"""Fine-tuning on GLUE: its files as they are, scores as of scikit-learn, presets as of table 6."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from optforge.errors import OptforgeError
from optforge.tasks.data.pieces import END, learn_pieces
from paper.finetune import PRESETS, FineTuning, build_model, load_preset, main
from paper.folder import CHECKPOINT, read_checkpoint
from paper.glue import TASKS, open_glue, write_names
from paper.options import TrainingError
from paper.training import train

TINY: dict[str, Any] = {"batch_size": 4, "reduced": True, "steps": 4, "cpu": True, "workers": 0}
README = Path(__file__).parents[2] / "paper" / "README.md"


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every task of GLUE on a few names of characters."""
    folder = tmp_path_factory.mktemp("glue")
    write_names(folder)
    return str(folder)


def start(glue: str, name: str = "glue_bert_base", **changes: Any) -> FineTuning:
    config = load_preset(name, "adamw", data=glue, **{**TINY, **changes})
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=config.accumulation)
    return FineTuning(config, accelerator)


def test_settings_are_those_of_tables_6_and_12() -> None:
    for name in ("glue_t5_base", "glue_t5_large", "glue_t5_11b"):
        adamw, lion = load_preset(name, "adamw"), load_preset(name)
        assert (adamw.lr, adamw.weight_decay, lion.lr, lion.weight_decay) == (3e-5, 0, 3e-6, 0)
        assert (lion.dropout, lion.batch_size, lion.steps, lion.decay) == (
            *(0.1, 128, 500_000),
            "constant",
        )


@pytest.mark.parametrize("name", PRESETS)
def test_full_size_models_have_the_parameters_of_the_paper(name: str) -> None:
    model = build_model(load_preset(name), 2, device="meta")
    assert all(p.is_meta for p in model.parameters())
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(PRESETS[name]["parameters"], rel=0.05)


@pytest.mark.parametrize("task", TASKS)
def test_the_tables_of_every_task_are_read(task: str, glue: str) -> None:
    found = open_glue(glue, task)
    assert (len(found.train), len(found.validation)) == (24, 12)
    values = {value for _, value in found.train}
    assert values == ({0.0, 5.0} if task == "stsb" else {0.0, 1.0})
    for texts, value in found.train:
        small = [" SMALL " in text for text in texts]
        is_true = small[0] if len(small) == 1 else small[0] == small[1]
        assert (value > 0) is is_true


def test_lines_of_json_hold_the_same(glue: str, tmp_path: Path) -> None:
    table = open_glue(glue, "rte")
    for part, rows in (("train", table.train), ("validation", table.validation)):
        keys = ("sentence1", "sentence2", "label")
        lines = [json.dumps(dict(zip(keys, (*texts, int(y)), strict=True))) for texts, y in rows]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines))
    assert open_glue(str(tmp_path), "rte") == table


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_scikit_learn(task: str, glue: str) -> None:
    made = start(glue, task=task)
    rows = [made.held[0, i] for i in range(len(made.held))]
    x, y = torch.stack([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    outputs = len(TASKS[task].classes) or 1
    chance = torch.randn(len(y), outputs, generator=torch.Generator().manual_seed(3))

    def model(x: torch.Tensor) -> torch.Tensor:
        return chance

    halves = [made.sums(model, x, y)]  # type: ignore[arg-type]
    found = made.score(sum(halves).tolist())  # type: ignore[union-attr]
    answers, truth = chance.argmax(1), y.long()
    if task == "stsb":
        assert found["pearson"] == pytest.approx(pearsonr(chance[:, 0], y).statistic)
    else:
        assert found["accuracy"] == pytest.approx(accuracy_score(truth, answers))
    if task in ("mrpc", "qqp"):
        assert found["f1"] == pytest.approx(f1_score(truth, answers))
    if task == "cola":
        assert found["matthews"] == pytest.approx(matthews_corrcoef(truth, answers))


@pytest.mark.parametrize("name", ["glue_t5_base", "glue_bert_base"])
def test_the_loss_is_that_of_transformers(name: str, glue: str) -> None:
    made = start(glue, name, task="mnli", dropout=0.0)
    rows = [made.examples[0, i] for i in range(6)]
    x, y = torch.stack([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
    inner: Any = made.model
    more = {"token_type_ids": x[:, 1]} if "bert" in name else {}
    mask = (x[:, 0] != 299).long()
    assert 0 < mask.sum() < mask.numel()
    expected = inner.model(x[:, 0], attention_mask=mask, labels=y.long(), **more).loss
    torch.testing.assert_close(made.loss(x, y), expected)


def test_it_learns_which_names_are_small(glue: str) -> None:
    common = {"lr": 3e-3, "steps": 60, "batch_size": 8, "dropout": 0.0}
    made = start(glue, task="sst2", **common)
    losses = [step["loss"] for step in made.run(60)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_a_saved_model_and_its_tokenizer_are_the_beginning(glue: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    texts = [text for row in open_glue(glue, "rte").train for text in row[0]]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=learn_pieces(texts, 290), pad_token=END
    )
    config = transformers.BertConfig(
        vocab_size=290, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    saved = transformers.BertForMaskedLM(config)
    saved.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    made = start(glue, task="rte", init=str(tmp_path), reduced=False, length=24)
    inner: Any = made.model
    weights = inner.model.bert.state_dict()
    for key, value in saved.bert.state_dict().items():
        assert torch.equal(weights[key], value), key
    (step,) = made.run(1)
    assert 0.2 < step["loss"] < 2.0


def test_resuming_changes_no_bit(glue: str, tmp_path: Path) -> None:
    def run(name: str, **more: Any) -> None:
        common = {**TINY, "accumulation": 2, "data": glue, "task": "mrpc"}
        train(
            load_preset("glue_t5_base", "lion", **common, out=str(tmp_path / name), **more),
            FineTuning,
        )

    run("whole")
    run("parts", stop_after=2)
    torch.manual_seed(77)
    run("parts", resume=True)
    first, second = (read_checkpoint(tmp_path / f / CHECKPOINT) for f in ("whole", "parts"))
    assert first["number"] == second["number"] == 4
    for key, value in first["model"].items():
        assert torch.equal(value, second["model"][key]), key


def test_the_commands_of_the_page_start_every_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = README.read_text().replace("\\\n", "")
    (written,) = re.findall(r"^python -m paper\.glue (.*)$", page, re.MULTILINE)
    (command,) = re.findall(r"^python -m paper\.finetune (all .*)$", page, re.MULTILINE)
    write_names(Path(written))
    main(shlex.split(command))
    main([*shlex.split(command), "--resume"])
    assert sorted(file.parent.name for file in Path().rglob("checkpoint.pt")) == sorted(PRESETS)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": "nowhere"}, "nowhere has no train.tsv or train.jsonl"),
        ({"task": "snli"}, "task is 'snli'; it must be cola or sst2"),
        ({"reduced": False}, "begins from a trained model; give --init"),
        ({"held": "dev_mismatched"}, "has no dev_mismatched.tsv"),
    ],
)
def test_what_does_not_fit_is_a_sentence(changes: dict[str, Any], text: str, glue: str) -> None:
    with pytest.raises(TrainingError, match=text):
        start(changes.pop("data", glue), **changes)


def test_a_label_that_is_none_is_named(glue: str, tmp_path: Path) -> None:
    for part in ("train", "dev"):
        (tmp_path / f"{part}.tsv").write_text("sentence\tlabel\nfine\tmaybe\n")
    with pytest.raises(TrainingError, match="a label of SST-2 is 'maybe'; allowed is 0, 1"):
        open_glue(str(tmp_path), "sst2")


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(OptforgeError, match="install it with: pip install datasets"):
        open_glue("hub:glue", "rte")
