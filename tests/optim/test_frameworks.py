"""Lion under transformers' Trainer, Lightning and accelerate: the steps of a plain float64 loop.

A framework that passes AdamW's betas on, or decays biases, ends elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from optforge.optim.lion import Lion

accelerate = pytest.importorskip("accelerate")
lightning = pytest.importorskip("lightning")
transformers = pytest.importorskip("transformers")

STEPS, BATCH, LR, DECAY = 6, 4, 1e-3, 0.5
WIDTH = 16


class Tokens(Dataset[dict[str, Tensor]]):
    """Random tokens; the labels are the inputs, as language models want them."""

    def __init__(self, steps: int = STEPS) -> None:
        generator = torch.Generator().manual_seed(1)
        self.rows = torch.randint(0, 32, (steps * BATCH, 8), generator=generator)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}

    def batch(self, step: int) -> dict[str, Tensor]:
        rows = self.rows[step * BATCH : (step + 1) * BATCH]
        return {"input_ids": rows, "labels": rows}


def language_model() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": WIDTH, "n_positions": 8, "vocab_size": 32}
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    # In float64 no sign hangs on how a framework rounds the mean of a batch.
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **drops)).double()


def decays(name: str) -> bool:
    return not (name.endswith("bias") or ".ln_" in name)


def reference(rates: Callable[[int], float], clip: float = 1.0) -> dict[str, Tensor]:
    """Train with the paper's program 1, written out."""
    model = language_model()
    momenta = {
        name: torch.zeros_like(p, dtype=torch.float64) for name, p in model.named_parameters()
    }
    data = Tokens()
    for step in range(STEPS):
        model.zero_grad()
        model(**data.batch(step)).loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        with torch.no_grad():
            for name, p in model.named_parameters():
                assert p.grad is not None
                update = torch.sign(0.9 * momenta[name] + 0.1 * p.grad)
                decay = DECAY if decays(name) else 0.0
                p.sub_(rates(step) * (update + decay * p))
                momenta[name] = 0.99 * momenta[name] + 0.01 * p.grad
    return {name: p.detach() for name, p in model.named_parameters()}


def assert_reference(model: nn.Module, rates: Callable[[int], float], clip: float = 1.0) -> None:
    wanted = reference(rates, clip)
    for name, p in model.named_parameters():
        # Softmax does not see the keys' bias: its gradient is rounding noise, and so is its sign.
        seen = slice(0, WIDTH) if name.endswith("c_attn.bias") else slice(None)
        torch.testing.assert_close(p.detach()[seen], wanted[name][seen], rtol=1e-9, atol=1e-12)


def linear(step: int) -> float:
    return LR * (1 - step / STEPS)


def constant(step: int) -> float:
    return LR


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    named = list(model.named_parameters())
    return [
        {"params": [(n, p) for n, p in named if decays(n)], "weight_decay": DECAY},
        {"params": [(n, p) for n, p in named if not decays(n)], "weight_decay": 0.0},
    ]


def assert_betas(optimizer: Any) -> None:
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.99)}


def trainer_of(model: nn.Module, folder: Path, **changes: Any) -> Any:
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": 1,
        "learning_rate": 1.0,  # of AdamW; Lion has its own
        "weight_decay": DECAY,
        "lr_scheduler_type": "linear",
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "dataloader_pin_memory": False,
    }
    arguments = transformers.TrainingArguments(**{**settings, **changes.pop("settings", {})})
    trainer = transformers.Trainer(model, arguments, train_dataset=Tokens(), **changes)
    trainer.model_accepts_loss_kwargs = False  # the plain mean: the loss rounds to float32
    return trainer


def test_transformers_trainer_builds_lion_with_lions_betas(tmp_path: Path) -> None:
    model = language_model()
    trainer = trainer_of(model, tmp_path, optimizer_cls_and_kwargs=(Lion, {"lr": LR}))
    trainer.train()
    assert_betas(trainer.optimizer)
    assert_reference(model, linear)


def test_transformers_trainer_takes_a_lion(tmp_path: Path) -> None:
    model = language_model()
    lion = Lion(groups_of(model), lr=LR)
    trainer = trainer_of(
        model, tmp_path, optimizers=(lion, None), settings={"lr_scheduler_type": "constant"}
    )
    trainer.train()
    assert_betas(trainer.optimizer)
    assert_reference(model, constant)


def test_transformers_trainer_resumes_bit_by_bit(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 3}
    choice = {"optimizer_cls_and_kwargs": (Lion, {"lr": LR, "momentum_dtype": "8bit"})}
    straight = language_model()
    trainer_of(straight, tmp_path, settings=settings, **choice).train()
    resumed = language_model()
    trainer = trainer_of(resumed, tmp_path, settings=settings, **choice)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    dtypes = {state["momentum"].dtype for state in trainer.optimizer.state.values()}
    assert dtypes == {torch.int8}
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


# Lightning asks torch's pytrees in a way that torch will drop.
LIGHTNING_WARNINGS = pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning"
)


class Module(lightning.LightningModule):
    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.model = language_model()
        self.choices = {"lr": LR, **(options or {})}

    def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
        return self.model(**batch).loss

    def configure_optimizers(self) -> Any:
        lion = Lion(groups_of(self.model), **self.choices)
        schedule = torch.optim.lr_scheduler.LambdaLR(lion, lambda step: 1 - step / STEPS)
        return [lion], [{"scheduler": schedule, "interval": "step"}]


def lightning_trainer(folder: Path, **changes: Any) -> Any:
    return lightning.Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "max_steps": STEPS,
            "gradient_clip_val": 1.0,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **changes,
        }
    )


@LIGHTNING_WARNINGS
def test_lightning_trains_with_lions_betas(tmp_path: Path) -> None:
    module = Module()
    trainer = lightning_trainer(tmp_path)
    trainer.fit(module, DataLoader(Tokens(), BATCH))
    assert_betas(trainer.optimizers[0])
    assert_reference(module.model, linear)


@LIGHTNING_WARNINGS
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, "8bit"])
def test_lightning_resumes_bit_by_bit(tmp_path: Path, dtype: Any) -> None:
    data = DataLoader(Tokens(1), BATCH)  # one batch: resumed, Lightning begins its epoch anew
    options = {"momentum_dtype": dtype}

    def trainer() -> Any:
        save = lightning.pytorch.callbacks.ModelCheckpoint(
            tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True
        )
        return lightning_trainer(tmp_path, enable_checkpointing=True, callbacks=[save])

    straight, resumed = Module(options), Module(options)
    trainer().fit(straight, data)
    after = trainer()
    after.fit(resumed, data, ckpt_path=tmp_path / "epoch=2.ckpt")
    kept = {state["momentum"].dtype for state in after.optimizers[0].state.values()}
    assert kept == {torch.int8 if dtype == "8bit" else dtype}
    for one, other in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_accelerate_trains_with_lions_betas() -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    model, data = language_model(), Tokens()
    lion = Lion(groups_of(model), lr=LR)
    schedule = torch.optim.lr_scheduler.LambdaLR(lion, lambda step: 1 - step / STEPS)
    loader = DataLoader(data, BATCH)
    model, lion, loader, schedule = accelerator.prepare(model, lion, loader, schedule)
    for batch in loader:
        lion.zero_grad()
        accelerator.backward(model(**batch).loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        lion.step()
        schedule.step()
    assert_betas(lion)
    assert_reference(model, linear)


def test_accelerate_saves_and_loads_bit_by_bit(tmp_path: Path) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    model, data = language_model(), Tokens()
    lion = Lion(groups_of(model), lr=LR, momentum_dtype="8bit")
    model, lion = accelerator.prepare(model, lion)

    def run(steps: range) -> None:
        for step in steps:
            lion.zero_grad()
            accelerator.backward(model(**data.batch(step)).loss)
            lion.step()

    run(range(3))
    accelerator.save_state(str(tmp_path))
    run(range(3, STEPS))
    wanted = copy.deepcopy(model.state_dict())
    accelerator.load_state(str(tmp_path))
    run(range(3, STEPS))
    assert all(torch.equal(wanted[name], value) for name, value in model.state_dict().items())


def test_accelerate_accumulates_gradients() -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, data = language_model(), Tokens()
    lion = Lion(groups_of(model), lr=LR)
    loader = DataLoader(data, BATCH // 2)
    model, lion, loader = accelerator.prepare(model, lion, loader)
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(model(**batch).loss)
            lion.step()
            lion.zero_grad()
    assert_reference(model, constant, clip=0)
