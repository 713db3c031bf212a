"""Models: batch under vmap, learn, stay causal, agree with torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from optforge.tasks import batch_order, initial_model, load_task, task_names
from optforge.tasks.models import Block, CausalTransformer, Convolution, TransformerSize
from optforge.tasks.task import Task


def _batch(task: Task, size: int) -> tuple[Tensor, Tensor]:
    train = task.splits.train
    inputs = train.inputs[:size]
    return (inputs.double() if inputs.is_floating_point() else inputs), train.targets[:size]


@pytest.mark.parametrize("name", task_names())
def test_vmap_equals_row_by_row(name: str) -> None:
    task = load_task(name)
    models = [initial_model(task, seed).double() for seed in range(3)]
    names = [key for key, _ in models[0].named_parameters()]
    rows = [dict(model.named_parameters()) for model in models]
    stacked = {
        key: torch.stack([row[key].detach() for row in rows]).requires_grad_() for key in names
    }
    inputs, targets = _batch(task, 8)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return task.loss(functional_call(models[0], parameters, (inputs,)), targets)

    losses = torch.vmap(loss)(stacked)
    gradients = torch.autograd.grad(losses.sum(), list(stacked.values()))
    for row, model in enumerate(models):
        alone = task.loss(model(inputs), targets)
        torch.testing.assert_close(losses[row], alone, rtol=1e-12, atol=1e-12)
        expected = torch.autograd.grad(alone, list(model.parameters()))
        for batched, single in zip(gradients, expected, strict=True):
            torch.testing.assert_close(batched[row], single, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", task_names())
def test_sixty_steps_of_adamw_lower_the_loss(name: str) -> None:
    task = load_task(name)
    model, order = initial_model(task, 0), batch_order(task, 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    train, validation = task.splits.train, task.splits.validation

    def evaluate() -> float:
        with torch.no_grad():
            return task.loss(model(validation.inputs), validation.targets).item()

    before = evaluate()
    for step in range(60):
        optimizer.zero_grad()
        task.loss(model(train.inputs[order[step]]), train.targets[order[step]]).backward()
        optimizer.step()
    assert evaluate() < before - 0.3


@pytest.mark.parametrize("name", task_names())
def test_output_metric_and_first_loss(name: str) -> None:
    task = load_task(name)
    validation = task.splits.validation
    output = initial_model(task, 0)(validation.inputs)
    assert output.shape[:-1] == validation.targets.shape
    assert 0 <= task.metric(output, validation.targets).item() <= 1
    # An untrained model guesses: its loss is not far above the logarithm of the classes.
    excess = task.loss(output, validation.targets) - torch.log(torch.tensor(output.shape[-1]))
    assert -0.1 < excess.item() < 1.5


def test_no_look_ahead() -> None:
    model = CausalTransformer(vocabulary=16, length=12).double()
    x = torch.randint(16, (4, 12))
    changed = x.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % 16
    before, after = model(x), model(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])
    torch.testing.assert_close(model(x[:, :5]), before[:, :5])


def test_attention_agrees_with_torch() -> None:
    block = Block(TransformerSize(width=12, layers=1, heads=3)).double()
    qkv = torch.randn(4 * 5, 36, dtype=torch.float64)
    query, key, value = qkv.reshape(4, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    mask = torch.full((5, 5), -1e9, dtype=torch.float64).triu(1)
    expected = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    found = block.attend(qkv, 5, mask)
    torch.testing.assert_close(found, expected.transpose(1, 2).reshape(20, 12))


@pytest.mark.parametrize(("side", "kernel", "stride"), [(8, 3, 2), (9, 3, 2), (6, 5, 1)])
def test_convolution_agrees_with_torch(side: int, kernel: int, stride: int) -> None:
    layer = Convolution(3, 4, kernel, stride).double()
    x = torch.randn(2, side, side, 3, dtype=torch.float64)
    weight = layer.linear.weight.reshape(4, 3, kernel, kernel)
    expected = functional.conv2d(x.permute(0, 3, 1, 2), weight, stride=stride, padding=kernel // 2)
    torch.testing.assert_close(layer(x), expected.permute(0, 2, 3, 1))
