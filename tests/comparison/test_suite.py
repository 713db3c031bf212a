"""Suites: what is written is used, and what cannot be is refused in a sentence."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from optforge.comparison.settings import ComparisonSettings
from optforge.comparison.suite import (
    _KEYS,
    _RECIPE_KEYS,
    comparison_from,
    read_suite,
    suite_tables,
)
from optforge.errors import CompareError
from optforge.language import rule_text

HEAD = 'tasks = ["digits_mlp"]\noptimizers = ["adamw"]\n'


def suite(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text)
    return path


def test_the_page_lists_every_key_and_shows_a_suite() -> None:
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text(encoding="utf-8")
    _, *sections = page.split("\n## ")
    listed = [set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) for section in sections]
    assert listed[:3] == [
        set(_KEYS), {field.name for field in fields(ComparisonSettings)}, set(_RECIPE_KEYS),
    ]  # fmt: skip
    shown = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    assert set(shown) <= set(_KEYS) and set(shown["recipes"]["mine"]) <= set(_RECIPE_KEYS)
    ComparisonSettings.read(shown["settings"])


def test_a_recipe_is_found_by_the_name_that_is_written_and_by_the_one_that_is_shown(
    tmp_path: Path,
) -> None:
    (tmp_path / "rule.txt").write_text(rule_text("lion"))
    path = suite(
        tmp_path,
        'tasks = ["digits_mlp"]\n'
        'optimizers = ["twin=adamw", "rule.txt", "other=rule.txt", "lion"]\n'
        "[recipes.twin]\nclip = 2.0\n"
        '[recipes."rule.txt"]\nspace = { lr = [1e-4, 1e-3] }\n'
        '[recipes."other=rule.txt"]\nclip = 3.0\n',
    )
    recipes = {recipe.name: recipe for recipe in read_suite(path)["suite"].recipes}
    assert list(recipes) == ["twin", "rule.txt", "other", "lion"]
    assert recipes["twin"].clip == 2.0 and recipes["lion"].clip is None
    assert recipes["rule.txt"].space.names == ("lr",) and recipes["rule.txt"].clip is None
    assert recipes["other"].clip == 3.0


def test_a_shared_recipe_is_for_the_experiments_that_name_it(tmp_path: Path) -> None:
    text = (
        'tasks = ["digits_mlp"]\n[recipes.adamw]\nclip = 2.0\n'
        '[[experiment]]\nname = "a"\noptimizers = ["adamw"]\n'
        '[[experiment]]\nname = "b"\noptimizers = ["lion"]\n'
    )
    found = read_suite(suite(tmp_path, text))
    assert found["a"].recipes[0].clip == 2.0 and found["b"].recipes[0].clip is None
    # Optimizers may come from the command line; then nothing can be said about the tables.
    text = 'tasks = ["digits_mlp"]\n[recipes.mine]\noptimizer = "adamw"\n'
    assert "recipes" in suite_tables(suite(tmp_path, text))["suite"]


def test_paths_of_one_experiment_are_not_resolved_twice(tmp_path: Path) -> None:
    (tmp_path / "rule.txt").write_text(rule_text("lion"))
    text = (
        'tasks = ["digits_mlp"]\noptimizers = ["mine"]\n[recipes.mine]\noptimizer = "rule.txt"\n'
        '[[experiment]]\nname = "a"\n[[experiment]]\nname = "b"\n'
    )
    places = {
        t["recipes"]["mine"]["optimizer"] for t in suite_tables(suite(tmp_path, text)).values()
    }
    assert places == {str(tmp_path / "rule.txt")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + "[recipes.adamww]\nclip = 1.0", r"\[recipes.adamww\] is of no optimizer; there"),
        (
            HEAD + '[[experiment]]\nname = "a"\n[experiment.recipes.b]\nclip = 1.0',
            r"\[recipes.b\] is of no optimizer",
        ),
        (
            HEAD + '[[experiment]]\nname = "a"\n[[experiment]]\nname = "a"',
            "two experiments are called 'a'",
        ),
        (HEAD + '[experiment]\nname = "a"', r"write \[\[experiment\]\]"),
        (HEAD + "name = 5", "name is 5; it must be a text"),
        (HEAD + "device = 3", "device is 3; it must be a text"),
        (HEAD + "settings = 5", "settings is 5; it must be a table"),
        (HEAD + "axes = 5", "axes is 5; it must be a table"),
        (HEAD + "axes = { batch_size = 16 }", "axes.batch_size is 16; give a list"),
        (HEAD + "axes = { batch_size = [] }", "axes.batch_size is "),
        (HEAD + "fixed = [1]", "fixed is .* it must be a table"),
        (HEAD + "recipes = 5", "recipes is 5; it must be a table"),
        (HEAD + "recipes = { adamw = 5 }", "recipes.adamw is 5; write a table"),
        (HEAD + "[recipes.adamw]\nspace = 3", "recipes.adamw.space is 3; it must be a table"),
        (HEAD + '[recipes.adamw]\nspace = { lr = ["a", "b"] }', "end of the range of lr is 'a'"),
        (HEAD + '[recipes.adamw]\nspace = { lr = "ab" }', "range of lr is 'ab'; give two numbers"),
        (HEAD + "[recipes.adamw]\nfixed = 3", "recipes.adamw.fixed is 3; it must be a table"),
        (HEAD + '[recipes.adamw]\nclip = "x"', "clip 'x' of adamw"),
        (HEAD + "[recipes.adamw]\nschedule = 3", "recipes.adamw.schedule is 3"),
        (HEAD + 'settings = { tune = "lr" }', "tune is 'lr'; give a list of names"),
        (HEAD + "settings = { seeds = true }", "seeds is True"),
        (HEAD + "[recipes.adamw]\nfixed = { eps = 1979-05-27 }", "1979-05-27 is a date or a time"),
        (HEAD + "[axes]\nwarmup = [[07:32:00]]", "07:32:00 is a date or a time.*in quotes"),
        (HEAD + f"[recipes.adamw]\nspace = {{ lr = [1, 1{'0' * 400}] }}", "end of the range of lr"),
        (HEAD + f"[recipes.adamw]\nclip = 1{'0' * 400}", "largest norm of the gradients"),
        (HEAD + f"fixed = {{ target = 1{'0' * 400} }}", "target .* a finite number"),
        (HEAD + f"fixed = {{ samples = 1{'0' * 400} }}", "samples .* at most 250,000,000"),
        ('tasks = "digits_mlp"\noptimizers = ["adamw"]', "a suite needs tasks = "),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CompareError, match=says):
        read_suite(suite(tmp_path, text))


def test_what_the_command_line_gives_is_looked_at_too() -> None:
    with pytest.raises(CompareError, match="device is 3; it must be a text"):
        comparison_from({"tasks": ["digits_mlp"], "optimizers": ["adamw"], "device": 3})


def test_a_misspelt_name_to_tune_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = suite(tmp_path, HEAD + 'settings = { tune = ["lr", "weight_dcay"] }')
    with pytest.raises(CompareError, match="no optimizer has 'weight_dcay' to tune"):
        _ = read_suite(path)["suite"].bench


@pytest.mark.parametrize("name", ["a/b", "../a", "/a", "..", ".", "", "a\\nb", "x" * 201])
def test_a_name_of_which_no_directory_can_be_made_is_refused(tmp_path: Path, name: str) -> None:
    """One with a slash was written outside of --out, or could not be resumed."""
    path = suite(tmp_path, f'{HEAD}[[experiment]]\nname = "{name}"\n')
    with pytest.raises(CompareError, match="an experiment is called"):
        suite_tables(path)
    path = suite(tmp_path, f'{HEAD}[[experiment]]\nname = "größe: lr=0.1, 50 %"\n')
    assert list(suite_tables(path)) == ["größe: lr=0.1, 50 %"]
