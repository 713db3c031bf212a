"""The ladder and what is set aside: batched as alone, disjoint, learnable, true to their source."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

import optforge
from optforge.errors import TaskError
from optforge.tasks import (
    PROXY_TASKS,
    Task,
    batch_order,
    initial_model,
    ladder_task_names,
    load_task,
    refuse_set_aside,
    set_aside_names,
    task_names,
)
from optforge.tasks.data import shakespeare
from optforge.tasks.data.imports import import_graph, import_pairs
from optforge.tasks.draws import augmented
from optforge.tasks.ladder import LADDER, SANITY, SET_ASIDE, set_aside_models
from optforge.tasks.ladder.models import CharacterGRU

NAMES = ["names_cnn", *(task.name for task in (*LADDER, *SANITY, *SET_ASIDE))]


def ready(name: str) -> Task:
    """The task with its data, which for some is downloaded once."""
    task = load_task(name)
    try:
        task.splits  # noqa: B018
    except TaskError as error:
        if "cannot be downloaded" in str(error):
            pytest.skip(str(error))
        raise
    return task


def batch(task: Task, size: int) -> tuple[Tensor, Tensor]:
    train = task.splits.train
    inputs, targets = augmented(task, train.inputs[:size], train.targets[:size], 0, 0)
    return (
        inputs.double() if inputs.is_floating_point() else inputs,
        targets.double() if targets.is_floating_point() else targets,
    )


def test_no_search_sees_them() -> None:
    assert not set(NAMES[1:]) & {*PROXY_TASKS, *task_names()}
    assert list(ladder_task_names()) == [task.name for task in LADDER]
    assert len(LADDER) == 5 and len(SET_ASIDE) == 3


@pytest.mark.parametrize("task", SET_ASIDE)
def test_what_is_set_aside_decides_nothing(task: Any) -> None:
    class Longer(task):  # type: ignore[misc,valid-type]
        steps = 1000

    for chosen in (task(), Longer()):
        with pytest.raises(TaskError, match="set aside for the final table"):
            refuse_set_aside([load_task("mnist_mlp"), chosen], "a search")
    with pytest.raises(TaskError, match="set aside"):
        optforge.search(tasks=[task.name], held_out=(), programs=1)
    with pytest.raises(TaskError, match="set aside"):
        optforge.search(tasks=["mnist_mlp"], held_out=[task()], programs=1)
    with pytest.raises(TaskError, match="set aside.*a simplification"):
        optforge.simplify("lion", tasks=[task.name])


def test_nothing_of_the_package_names_what_is_set_aside() -> None:
    """So that no table, suite or default decides on it; only its own module does."""
    root = Path(optforge.__file__).parent
    files = [path for kind in ("*.py", "*.json", "*.toml") for path in root.rglob(kind)]
    names = "|".join([f"[\"']{name}[\"']" for name in set_aside_names()])
    classes = "|".join(rf"\b{task.__name__}\b" for task in SET_ASIDE)
    words = re.compile(f"{names}|{classes}")
    naming = {path.name for path in files if words.search(path.read_text(encoding="utf-8"))}
    assert naming == {"set_aside.py"}


@pytest.mark.parametrize("name", NAMES)
def test_vmap_equals_row_by_row(name: str) -> None:
    task = ready(name)
    models = [initial_model(task, seed).double() for seed in range(2)]
    rows = [dict(model.named_parameters()) for model in models]
    stacked = {
        key: torch.stack([row[key].detach() for row in rows]).requires_grad_() for key in rows[0]
    }
    inputs, targets = batch(task, 4)

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return task.loss(functional_call(models[0], parameters, (inputs,)), targets)

    losses = torch.vmap(loss)(stacked)
    gradients = torch.autograd.grad(losses.sum(), list(stacked.values()))
    for row, model in enumerate(models):
        alone = task.loss(model(inputs), targets)
        torch.testing.assert_close(losses[row], alone, rtol=1e-12, atol=1e-12)
        expected = torch.autograd.grad(alone, list(model.parameters()))
        for batched, single in zip(gradients, expected, strict=True):
            torch.testing.assert_close(batched[row], single, rtol=1e-8, atol=1e-12)


def trained(task: Task, build: Callable[[Any], torch.optim.Optimizer]) -> tuple[float, float]:
    """Validation losses before and after a few steps."""
    model, order = initial_model(task, 0), batch_order(task, 0)
    optimizer = build(model.parameters())
    train, validation = task.splits.train, task.splits.validation

    def evaluate() -> float:
        with torch.no_grad():
            return task.loss(model(validation.inputs[:512]), validation.targets[:512]).item()

    before = evaluate()
    for step in range(40):
        optimizer.zero_grad()
        rows = order[step]
        inputs, targets = augmented(task, train.inputs[rows], train.targets[rows], 0, step)
        task.loss(model(inputs), targets).backward()
        optimizer.step()
    return before, evaluate()


def adamw(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_adamw_learns(name: str) -> None:
    before, after = trained(ready(name), adamw)
    assert 0 < after < 0.95 * before


@pytest.mark.parametrize("name", ["names_cnn", "mnist_autoencoder", "shakespeare_gru"])
def test_what_is_known_to_be_worse_loses(name: str) -> None:
    """Plain gradient descent at the best of its rates, where adaptive rules are known to lead."""
    _, best = trained(ready(name), adamw)
    for lr in (0.01, 0.1):
        _, plain = trained(ready(name), lambda p, lr=lr: torch.optim.SGD(p, lr=lr))
        assert best < plain


@pytest.mark.parametrize("name", NAMES)
def test_no_example_is_shared(name: str) -> None:
    data = ready(name).splits
    parts = [{x.numpy().tobytes() for x in part.inputs} for part in vars(data).values()]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_gated_units_are_those_of_torch() -> None:
    model = CharacterGRU(16, 8).double()
    oracle = nn.GRU(8, 8, batch_first=True).double()
    weights = (model.inputs.weight, model.recurrent.weight, model.inputs.bias, model.recurrent.bias)
    with torch.no_grad():
        for parameter, weight in zip(oracle.parameters(), weights, strict=True):
            parameter.copy_(weight + 0.1)
            weight += 0.1
    tokens = torch.randint(16, (3, 7))
    states, _ = oracle(model.embedding[tokens])
    torch.testing.assert_close(model(tokens), model.head(states))


def test_the_flow_is_a_density() -> None:
    """Of so few values that it can be summed up over all of them: to 1."""
    torch.manual_seed(0)
    flow = set_aside_models.CouplingFlow(2, 3, 8, levels=4, margin=1e-6).double()
    for layer in flow.second:
        nn.init.normal_(layer.weight, std=0.3)
    middles = (torch.arange(800, dtype=torch.float64) + 0.5) / 200
    density = flow(torch.cartesian_prod(middles, middles)).exp()
    assert density.std() > 0.3 * density.mean()
    assert density.sum().item() / 200**2 == pytest.approx(1.0, abs=2e-3)


def test_noise_is_told_at_every_level() -> None:
    task = load_task("letters_denoiser")
    inputs, noise = augmented(
        task, task.splits.train.inputs[:64], task.splits.train.targets[:64], 3, 5
    )
    clean = task.splits.train.inputs[:64, 0]
    angle = inputs[:, 1] * (torch.pi / 2)
    torch.testing.assert_close(inputs[:, 0], angle.cos() * clean + angle.sin() * noise)
    assert inputs[:, 1].std() > 0.2
    again = augmented(task, task.splits.train.inputs[:64], task.splits.train.targets[:64], 3, 5)
    assert torch.equal(again[0], inputs)


def test_the_graph_shows_training_edges_alone() -> None:
    graph, pairs = import_graph(), import_pairs()
    for part in (pairs.validation, pairs.test):
        edges = part.inputs[part.targets > 0]
        known = {tuple(pair) for pair in pairs.train.inputs[pairs.train.targets > 0].tolist()}
        hidden = [(a, b) for a, b in edges.tolist() if (b, a) not in known]
        assert hidden
        assert all(graph[a, b] == 0 for a, b in hidden)
    eigenvalues = torch.linalg.eigvalsh(graph.double())
    assert eigenvalues.max().item() == pytest.approx(1.0)


def test_whole_works_are_held_back() -> None:
    ready("shakespeare_gru")
    texts = shakespeare.play_texts()
    assert [len(works) for works in texts.values()] == [34, 4, 4]
    assert any("To be, or not to be" in text for text in texts["test"])
    assert not any("To be, or not to be" in text for text in texts["train"])
    assert not any("Of man's first disobedience" in t for works in texts.values() for t in works)


def test_a_missing_archive_is_one_sentence(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(TaskError, match="cannot be downloaded") as failure:
        shakespeare.shakespeare(8, 4, 16)
    assert "\n" not in str(failure.value)
