"""Presets say what the paper's tables say, and their models are as large as it reports."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from optforge.optim import Lion, ProgramOptimizer
from paper.images import PRESETS, load_preset
from paper.models import build_model
from paper.optimizers import make_optimizer
from paper.options import TrainingError
from paper.training_options import budget

# Table 12 by itself: model, then dropout, stochastic depth, RandAugment, Mixup; AdamW's (or
# Adafactor's) rate and decay, Lion's rate and decay.
TABLE_12 = {
    "resnet50": (0, 0, None, 0, 3e-3, 0.1, 3e-4, 1.0),
    "mixer_s16": (0, 0.1, None, 0, 1e-2, 0.3, 3e-3, 1.0),
    "mixer_b16": (0, 0.1, None, 0, 1e-2, 0.3, 3e-3, 3.0),
    "vit_s16": (0.1, 0.1, None, 0, 1e-2, 0.1, 1e-3, 1.0),
    "vit_s16_augmented": (0, 0, (2, 15), 0.5, 3e-3, 0.1, 3e-4, 1.0),
    "vit_b16": (0.1, 0.1, None, 0, 3e-3, 0.3, 1e-3, 1.0),
    "vit_b16_augmented": (0, 0, (2, 15), 0.5, 1e-3, 1.0, 1e-4, 10.0),
    "coatnet_1": (0, 0.3, (2, 15), 0.8, 1e-3, 0.05, 2e-4, 1.0),
    "coatnet_3": (0, 0.7, (2, 15), 0.8, 1e-3, 0.05, 2e-4, 1.0),
    "vit_b16_in21k": (0.1, 0.1, None, 0, 1e-3, 0.1, 1e-4, 0.3),
    "vit_l16_in21k": (0.1, 0.1, None, 0, 1e-3, 0.3, 1e-4, 1.0),
    "vit_b16_jft": (0, 0, None, 0, 6e-4, 0.1, 1e-4, 0.3),
    "vit_l16_jft": (0, 0, None, 0, 3e-4, 0.1, 1e-4, 0.3),
    "vit_h14_jft": (0, 0, None, 0, 3e-4, 0.1, 3e-5, 0.3),
    "vit_small_g14_jft": (0, 0, None, 0, 8e-4, 0.03, 3e-5, 0.3),
    "vit_large_g14_jft": (0, 0, None, 0, 8e-4, 0.03, 3e-5, 0.3),
}
# Millions of parameters that tables 2, 3 and 8 report, at the resolution in the name's place.
REPORTED = [
    ("resnet50", 224, 25.56),
    ("mixer_s16", 224, 18.53),
    ("mixer_b16", 224, 59.88),
    ("vit_s16", 224, 22.05),
    ("vit_b16", 224, 86.57),
    ("coatnet_1", 224, 42.23),
    ("coatnet_3", 224, 166.97),
    ("vit_b16_in21k", 384, 86.86),
    ("vit_l16_in21k", 384, 304.72),
    ("vit_b16_jft", 384, 86.86),
    ("vit_l16_jft", 384, 304.72),
    ("vit_l16_jft", 512, 305.18),
    ("vit_h14_jft", 392, 632.72),
    ("vit_h14_jft", 518, 633.47),
    ("vit_small_g14_jft", 518, 1040),
    ("vit_large_g14_jft", 518, 1880),
]


@pytest.mark.parametrize(("name", "size", "millions"), REPORTED)
def test_full_size_models_have_the_parameters_of_the_paper(
    name: str, size: int, millions: float
) -> None:
    model = build_model(load_preset(name, image_size=size), 1000, device="meta")
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert all(p.is_meta for p in model.parameters())
    assert count == pytest.approx(millions, rel=0.003)  # as docs/images.md promises


def test_settings_are_those_of_table_12() -> None:
    assert PRESETS.keys() == TABLE_12.keys()
    for name, row in TABLE_12.items():
        baseline = load_preset(name, next(iter(PRESETS[name]["optimizers"])))
        lion = load_preset(name, "lion")
        found = (lion.dropout, lion.stochastic_depth, lion.randaugment, lion.mixup)
        rates = (baseline.lr, baseline.weight_decay, lion.lr, lion.weight_decay)
        assert (*found, *rates) == row, name
        assert baseline.optimizer == ("adafactor" if "g14" in name else "adamw")
        assert lion.batch_size == (1024 if name == "resnet50" else 4096)
        assert lion.clip_norm == (math.inf if name == "resnet50" else 1)


def test_budgets_are_those_of_the_paper() -> None:
    assert budget(load_preset("resnet50", "sgd"), 1_281_167) == (112_603, 10_000)
    assert budget(load_preset("vit_b16"), 1_281_167) == (93_835, 10_000)
    steps, _ = budget(load_preset("vit_b16_jft"), 303_000_000)
    assert steps == pytest.approx(517_791, rel=1e-3)
    assert budget(load_preset("vit_b16", steps=20), 18) == (20, 4)
    assert load_preset("resnet50", "sgd").lr == 0.4
    with pytest.raises(TrainingError, match="no budget for vit_large_g14_jft"):
        budget(load_preset("vit_large_g14_jft"), 18)
    with pytest.raises(TrainingError, match="warmup_steps is 6 in a run of 5 steps"):
        budget(load_preset("vit_b16", steps=5, warmup_steps=6), 18)


def test_dropout_and_stochastic_depth_reach_the_model() -> None:
    model = build_model(load_preset("vit_s16", image_size=32, reduced=True), 5)
    rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert rates.count(0.1) >= 5
    depths: list[Any] = [m.drop_prob for m in model.modules() if type(m).__name__ == "DropPath"]
    assert max(depths) == pytest.approx(0.1)
    deep = build_model(load_preset("coatnet_3", image_size=64, reduced=True), 5)
    depths = [m.drop_prob for m in deep.modules() if type(m).__name__ == "DropPath"]
    assert max(depths) == pytest.approx(0.7)


@pytest.mark.parametrize("name", ["vit_b16", "resnet50", "vit_small_g14_jft"])
def test_weight_decay_spares_vectors_positions_and_tokens(name: str) -> None:
    config = load_preset(name, image_size=28 if "g14" in name else 32, reduced=True)
    model = build_model(config, 5)
    optimizer = make_optimizer("lion", model, config.lr, config.weight_decay)
    assert isinstance(optimizer, Lion)
    spared, decayed = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0, config.weight_decay]
    assert [group["betas"] for group in optimizer.param_groups] == [(0.9, 0.99)] * 2
    for key, parameter in model.named_parameters():
        small = parameter.ndim < 2 or key in ("pos_embed", "cls_token")
        inside = spared if small or key.endswith("latent") and id(parameter) in spared else decayed
        assert id(parameter) in inside, key
    assert len(spared) + len(decayed) == len(list(model.parameters()))


def test_baselines_have_the_constants_of_the_paper() -> None:
    model = torch.nn.Linear(2, 2)
    adamw, adafactor, sgd = (
        make_optimizer(name, model, 1e-3, 0.1) for name in ("adamw", "adafactor", "sgd")
    )
    assert [(group["eps"], group["betas"]) for group in adamw.param_groups] == [
        (1e-6, (0.9, 0.999))
    ] * 2
    assert adafactor.param_groups[0]["momentum"] == 0.9
    assert adafactor.param_groups[0]["beta2_cap"] == 0.999
    assert sgd.param_groups[0]["momentum"] == 0.9 and sgd.param_groups[0]["nesterov"]


@pytest.mark.parametrize(
    ("width", "momentum", "device", "fused"),
    [
        (2300, "bfloat16", "cpu", True),
        (2300, "float32", "cpu", False),
        (2000, "bfloat16", "cpu", False),
        (2300, "bfloat16", "meta", False),
    ],
)
def test_lion_is_one_kernel_where_that_pays(
    width: int, momentum: str, device: str, fused: bool
) -> None:
    model = torch.nn.Linear(width, width, device=device)
    made = make_optimizer("lion", model, 1e-3, 1.0, momentum_dtype=momentum)
    assert {group["fused"] for group in made.param_groups} == {fused}
    asked = make_optimizer("lion", model, 1e-3, 1.0, momentum_dtype=momentum, fused=False)
    assert {group["fused"] for group in asked.param_groups} == {False}


def test_any_rule_is_an_optimizer_with_its_own_constants_unless_others_are_given() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Embedding(5, 4))
    rule = make_optimizer("adamw_bias_correction", model, None, None)
    assert isinstance(rule, ProgramOptimizer)
    assert [group["weight_decay"] for group in rule.param_groups] == [0.0, 0.01, 0.01]
    assert {group["lr"] for group in rule.param_groups} == {0.001}
    matrices = [p for group in rule.param_groups if group["matrices"] for p in group["params"]]
    assert [id(p) for p in matrices] == [id(model[0].weight)]
    other = make_optimizer("adamw_bias_correction", model, 0.02, 0.3, (0.8, 0.95))
    assert [group["weight_decay"] for group in other.param_groups] == [0.0, 0.3, 0.3]
    assert {(group["lr"], group["beta1"], group["beta2"]) for group in other.param_groups} == {
        (0.02, 0.8, 0.95)
    }


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(TrainingError, match="unknown preset 'vit_x'; there are: resnet50"):
        load_preset("vit_x")
    with pytest.raises(TrainingError, match="multiple of 14 pixels, not 225"):
        build_model(load_preset("vit_h14_jft", image_size=225), 5)
    with pytest.raises(TrainingError, match="no optimizer 'adam'; there are adamw"):
        make_optimizer("adam", torch.nn.Linear(1, 1), 0.1, 0.1)
    with pytest.raises(TrainingError, match="no learning rate and weight decay of sgd; give --lr"):
        make_optimizer("sgd", torch.nn.Linear(1, 1), None, 0.1)
