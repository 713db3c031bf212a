"""The text of exported files: clean, self-contained, live code only, nothing of a stranger's."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from optforge.analysis import fingerprint
from optforge.errors import ProgramError
from optforge.exporters import TARGETS, export
from optforge.exporters.names import Names, class_name, identifier
from optforge.language import Program, Statement, load_rule, rule_names
from tests.helpers.exported import module_of
from tests.helpers.rich import rich_program

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ("torch", "optax")
HOSTILE = (
    '"""\nimport os\nos.system("x")\n"""',
    "__import__('os').system('x')",
    "lambda",
    "torch",
    "jnp",
    "self",
    "\\end{align*}\\input{/etc/passwd}",
    "x\n\nprint(1)",
    "weights",
    "lr",
    "beta1",
    "None",
    "print",
    "ü" * 3,
    "#",
    "",
    "9" * 300,
    "clip",
    "count",
)


def write_all(folder: Path, rich: int) -> list[Path]:
    rules = {name: load_rule(name) for name in rule_names()}
    rules |= {f"rich_{seed}": rich_program(seed) for seed in range(rich)}
    rules |= {f"hostile_{i}": hostile_program(i) for i in range(0, len(HOSTILE), 4)}
    files = []
    for name, rule in rules.items():
        for target in PYTHON:
            files.append(folder / f"{name}_{target}.py")
            files[-1].write_text(export(rule, target, name), encoding="utf-8")
    return files


def run(*words: str | Path) -> str:
    tool = Path(sys.executable).parent / words[0]
    done = subprocess.run([tool, *words[1:]], capture_output=True, text=True, timeout=250)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.slow
def test_exported_files_pass_ruff_and_pyright(tmp_path: Path) -> None:
    write_all(tmp_path, 12)
    assert not run("ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "basic"}')
    assert not run("pyright", "--pythonpath", sys.executable, "-p", tmp_path)


def test_shipped_rules_are_written_as_a_formatter_would(tmp_path: Path) -> None:
    write_all(tmp_path, 0)
    for file in tmp_path.glob("hostile*"):
        file.unlink()
    assert not run("ruff", "format", "--no-cache", "--isolated", "--check", tmp_path)


@pytest.mark.parametrize("target", PYTHON)
@pytest.mark.parametrize("name", rule_names())
def test_a_file_needs_no_optforge_and_holds_only_helpers_that_it_calls(
    name: str, target: str
) -> None:
    text = export(load_rule(name), target, name)
    tree = ast.parse(text)
    imports = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imports |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not [module for module in imports if "optforge" in module]
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    loaded = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name)]
    face = identifier(name, "", 40)
    assert [d for d in defined if d not in loaded and d != face] == []
    assert f"{face}_update" in defined


@pytest.mark.parametrize("target", PYTHON)
def test_a_file_says_where_it_came_from(target: str) -> None:
    program = load_rule("lion")
    head = ast.get_docstring(ast.parse(export(program, target, "runs/first/best.py"))) or ""
    assert f"Rule: first/best.py, fingerprint {fingerprint(program)}." in head
    assert f"optforge {version('optforge')}: optforge export first/best.py --to {target}" in head


def test_only_live_code_is_written() -> None:
    for target in TARGETS:
        text = export(load_rule("program_8"), target, "program_8")
        assert "cosh" not in text and "tanh" not in text and "0.627" not in text
        again = export(load_rule("program_8"), target, "program_8")
        assert text == again


def test_equal_rules_under_other_names_give_equal_maths() -> None:
    first = export(load_rule("adamw"), "torch", "rule")
    assert first == export(load_rule("program_3"), "torch", "rule")


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(ProgramError, match="unknown target 'tex'; allowed are torch, optax, latex"):
        export(load_rule("lion"), "tex")


def hostile_program(turn: int) -> Program:
    """A program that was never text, with names that no parser would let pass."""
    n = [*HOSTILE[turn:], *HOSTILE[:turn]]
    body = (
        Statement(n[3], "interp", (n[1], n[2], 0.9)),
        Statement(n[4], "clip", (n[3], 1.5)),
        Statement(n[5], "sign", (n[4],)),
        Statement(n[6], "add", (n[5], n[7])),
        Statement(n[8], "add", (n[2], 1.0)),
        Statement(n[6], "multiply", (n[6], n[9])),
    )
    return Program((n[7], n[1], n[2], n[9]), body, (n[6], n[8]))


@pytest.mark.parametrize("turn", range(len(HOSTILE)))
def test_names_of_a_stranger_never_become_code(turn: int) -> None:
    program, name = hostile_program(turn), HOSTILE[turn]
    for target in PYTHON:
        text = export(program, target, name)
        assert text.isascii()
        tree = ast.parse(text)
        called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
        calls = {node.id for node in called if isinstance(node, ast.Name)}
        assert not calls & {"__import__", "eval", "exec", "print", "open"}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"os", "system", "__import__"}
        modules = [n.names for n in ast.walk(tree) if isinstance(n, ast.Import)]
        assert {a.name for n in modules for a in n} <= {
            "difflib",
            "math",
            "torch",
            "jax",
            "jax.numpy",
            "optax",
        }
        module_of(program, target, name)  # it is valid, and defines things only
    latex = export(program, "latex", name)
    assert "\\input" not in latex and latex.count("\\end{align*}") == 1
    assert latex.isascii()


@given(st.text())
def test_an_identifier_is_an_identifier(text: str) -> None:
    name = Names().fresh(identifier(text, "value"))
    assert name.isidentifier() and name.isascii() and name.lower() == name
    ast.parse(f"{name} = 1")
    assert class_name(text).isidentifier() and class_name(text).isascii()
    ast.parse(f"class {class_name(text)}: pass")


def latex_lines(text: str) -> list[str]:
    """The formulas of an exported block, and the formulas between dollars."""
    inside = text.split("\\begin{align*}\n")[1].split("\n\\end{align*}")
    rows = [row.strip().removesuffix("\\\\").strip() for row in inside[0].split("\n")]
    assert all(row.count("&") == 1 for row in rows)
    return [*(row.replace("&", "") for row in rows), *inside[1].split("$")[1::2]]


@pytest.mark.parametrize("name", rule_names())
def test_every_line_of_latex_is_read_by_an_independent_parser(name: str) -> None:
    parser = MathTextParser("path")
    for line in latex_lines(export(load_rule(name), "latex", name)):
        parser.parse(f"${line}$")


def test_latex_of_random_and_hostile_programs_is_read_too() -> None:
    parser = MathTextParser("path")
    rules = [rich_program(seed) for seed in range(4)]
    for rule in [*rules, *map(hostile_program, range(len(HOSTILE)))]:
        text = export(rule, "latex")
        assert text.count("{") == text.count("}") and text.isascii()
        for line in latex_lines(text):
            parser.parse(f"${line}$")


def test_latex_says_what_lion_is() -> None:
    text = export(load_rule("lion"), "latex", "lion")
    assert r"u &\leftarrow (1 - \beta_{1}) \, g + \beta_{1} \, \mathrm{momentum} \\" in text
    assert r"u &\leftarrow \operatorname{sign}(u) \\" in text
    assert r"w &\leftarrow w - u" in text
    assert r"$\beta_{1} = 0.9$, $\beta_{2} = 0.99$, $\lambda = 0.1$" in text
