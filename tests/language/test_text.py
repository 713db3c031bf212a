"""Reading and printing programs: inverse, flat, as the paper prints, and nothing is executed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.errors import ProgramError
from optforge.language import FUNCTIONS, load_rule, parse, rule_names, rule_text
from optforge.language.program import Program, Statement, round_constant, round_constants
from tests.helpers.hostile import BODIES, WHOLE, body, texts
from tests.helpers.paper import LISTINGS
from tests.strategies import programs

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = (
    "adabelief adafactor adamw adamw_bias_correction adan ademamix cautious_adamw cautious_lion "
    "lamb lion mars momentum_sgd muon nadam nadamw ortho_adam ortho_lion ortho_momentum "
    "ortho_split program_3 program_4 program_5 program_6 program_7 program_8 signum"
)


def flat(*lines: str, result: str = "u") -> list[str]:
    """Statements of a program with these lines."""
    text = "def train(w, g, m, lr):\n" + "".join(f"    {line}\n" for line in lines)
    return [s.text for s in parse(f"{text}    return {result}, m\n").statements]


@given(programs())
def test_parsing_what_was_printed_gives_the_same_program(program: Program) -> None:
    again = parse(program.text)
    assert again == program
    # repr tells 0.0 from -0.0, which are equal
    assert repr(again.statements) == repr(program.statements)
    assert again.text == str(program) == program.text
    assert hash(again) == hash(program)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_constant_survives_in_every_place(value: float) -> None:
    for function in FUNCTIONS.values():
        for place in range(function.arity):
            arguments = tuple(value if i == place else "g" for i in range(function.arity))
            statement = Statement("u", function.name, arguments)
            program = Program(("w", "g", "lr"), (statement,), ("w",))
            assert repr(parse(program.text).statements) == repr(program.statements)


@pytest.mark.parametrize("name", sorted(LISTINGS))
def test_shipped_rule_is_the_papers_listing_statement_by_statement(name: str) -> None:
    program = load_rule(name)
    listed = [part.strip() for part in LISTINGS[name].body.split("·")]
    parameters = LISTINGS[name].parameters
    text = f"def train({parameters}):\n" + "".join(f"    {line}\n" for line in listed)
    paper = parse(f"{text}    return {LISTINGS[name].outputs}\n")
    assert program == paper
    assert len(program.statements) == len(listed)  # each line is one statement


def test_all_rules_that_are_promised_are_shipped() -> None:
    assert rule_names() == tuple(SHIPPED.split())


@pytest.mark.parametrize("name", SHIPPED.split())
def test_shipped_rule_parses_prints_and_parses(name: str) -> None:
    program = load_rule(name)
    assert parse(program.text) == program
    code = [line for line in rule_text(name).splitlines() if not line.startswith("#")]
    # `load_rule` keeps a file's own digits; what is shipped is printed as we print it
    assert "\n".join(code) + "\n" == program.text
    assert "# " in rule_text(name)


def test_a_rule_is_named_by_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("# mine\n" + load_rule("lion").text)
    assert load_rule(path) == load_rule(str(path)) == load_rule("lion")


def test_digits_of_a_file_are_kept_and_rounded_only_on_demand() -> None:
    program = load_rule("program_8")
    assert "0.8999999761581421" in program.text and "0.6270633339881897" in program.text
    rounded = round_constants(program)
    assert "interp(g, v, 0.9)" in rounded.text and "sqrt(0.627063)" in rounded.text
    assert round_constants(rounded) == rounded
    assert str(round_constant(-1e-320 * 0)) == "0.0"
    assert (round_constant(123456.7), round_constant(-1.0000049e-9)) == (123457.0, -1e-9)


def test_nested_and_infix_text_is_flattened_in_the_order_of_evaluation() -> None:
    assert flat("u = w + g * lr") == ["t1 = g * lr", "u = w + t1"]
    assert flat("u = (w + g) * lr") == ["t1 = w + g", "u = t1 * lr"]
    assert flat("u = interp(square(g), -m, 0.9)") == [
        "t1 = square(g)", "t2 = negative(m)", "u = interp(t1, t2, 0.9)",
    ]  # fmt: skip
    assert flat("t1 = g - w - m", "u = sign(t1 * t1)") == [
        "t2 = g - w", "t1 = t2 - m", "t3 = t1 * t1", "u = sign(t3)",
    ]  # fmt: skip
    assert flat("u = w ** g ** m") == ["t1 = g ** m", "u = w ** t1"]
    assert flat("u = get_pi() * g") == ["t1 = get_pi()", "u = t1 * g"]
    assert flat("u = sign(g)", result="u * lr") == ["u = sign(g)", "t1 = u * lr"]


def test_infix_and_calls_are_the_same() -> None:
    for symbol, name in zip(
        ("+", "-", "*", "/", "**"),
        ("add", "subtract", "multiply", "divide", "power"),
        strict=True,
    ):
        assert flat(f"u = g {symbol} w") == flat(f"u = {name}(g, w)") == [f"u = g {symbol} w"]


def test_min_and_minimum_both_parse_and_one_prints() -> None:
    assert flat("u = min(g, w)") == flat("u = minimum(g, w)") == ["u = minimum(g, w)"]
    assert flat("u = max(g, w)") == flat("u = maximum(g, w)") == ["u = maximum(g, w)"]


def test_negative_constants() -> None:
    assert flat("u = g * -2.0") == ["u = g * -2.0"]
    assert flat("u = -2.0 * g") == ["u = -2.0 * g"]
    assert flat("u = g - -2") == ["u = g - -2.0"]
    assert flat("u = g ** -2.0") == ["u = g ** -2.0"]
    assert flat("u = (-2.0) ** g") == ["u = (-2.0) ** g"]
    assert flat("u = -2.0 ** g") == ["t1 = 2.0 ** g", "u = negative(t1)"]  # as in Python
    assert flat("u = -g") == ["u = negative(g)"]
    assert flat("u = -(-2.0) * g") == ["t1 = negative(-2.0)", "u = t1 * g"]
    assert flat("u = negative(-0.0) * g")[0] == "t1 = negative(-0.0)"


def test_names_are_free_and_order_gives_the_role() -> None:
    lion = load_rule("lion")
    assert lion.parameters == ("weight", "gradient", "momentum", "lr")
    assert (lion.weight, lion.gradient, lion.lr) == ("weight", "gradient", "lr")
    assert lion.states == ("momentum",)
    program = parse(
        "def train(lr, sign, w, exp, g):\n    u = sign(sign) + exp\n    return u, w, exp"
    )
    assert program.gradient == "sign" and program.lr == "g" and program.states == ("w", "exp")
    assert [s.text for s in program.statements] == ["t1 = sign(sign)", "u = t1 + exp"]


@pytest.mark.parametrize("count", range(5))
def test_none_to_four_states(count: int) -> None:
    states = "".join(f", s{i}" for i in range(count))
    text = f"def train(w, g{states}, lr):\n    u = g * lr\n    return u{states}\n"
    program = parse(text)
    assert len(program.states) == count and program.text == text
    assert program.outputs == ("u", *program.states)


def test_comments_blank_lines_and_windows_lines_leave_no_trace() -> None:
    plain = body("u = sign(u)")
    text = plain.replace("\n", "  # \u4f60\u597d \u202e 'quote'; [{( \r\n\r\n  # more\r\n")
    assert parse(text) == parse(plain)


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    with pytest.raises(ProgramError, match=r"^line 5: .*'nowhere'") as caught:
        parse("# a comment\n\n" + "def train(w, g, lr):\n# more\n    return nowhere\n")
    assert caught.value.line == 5


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in ("u = open(g)", "u = exec(g)", "u = print(g)", "u = __import__(g)"):
        with pytest.raises(ProgramError):
            parse(body(line))
    assert list(tmp_path.iterdir()) == []


@given(st.text() | st.text("abdefglmnrtuw01.(),:=+-*/ \n#"))
def test_random_text_gives_a_program_or_one_error(text: str) -> None:
    program_or_error(text)
    program_or_error(f"def train(w, g, lr):\n    u = {text}\n    return u\n")
    program_or_error(f"def train({text}):\n    return w\n")


@given(programs(), st.data())
def test_damaged_programs_give_a_program_or_one_error(
    program: Program, data: st.DataObject
) -> None:
    text = program.text
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 8)))
    middle = data.draw(st.text("()=,*-+.:\n 01ewg[]{}@", max_size=4) | st.text(max_size=2))
    program_or_error(text[:start] + middle + text[stop:])


def program_or_error(text: str) -> None:
    try:
        program = parse(text)
    except ProgramError as error:
        assert error.line is not None and 1 <= error.line <= text.count("\n") + 1
        assert str(error) == f"line {error.line}: {error.reason}" and error.reason
    else:
        assert parse(program.text) == program


@pytest.fixture(scope="module")
def report() -> dict:
    command = [sys.executable, "-m", "tests.helpers.hostile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [*BODIES, *(f"whole: {name}" for name in WHOLE)])
def test_hostile_text_gets_one_clear_error_with_line_and_reason(name: str, report: dict) -> None:
    text, line, word = texts()[name] if "million" not in name else ("", *WHOLE[name[7:]][1:])
    case = report["cases"][name]
    assert case["kind"] == "ProgramError"
    assert case["line"] == line if line is not None else case["line"] >= 1
    assert word in case["reason"]
    assert "\n" not in case["reason"] and len(case["reason"]) < 1000
    assert case["seconds"] < 1.0
    del text


def test_hostile_files_get_one_clear_error(report: dict) -> None:
    files = {name: case for name, case in report["cases"].items() if name.startswith("file")}
    assert len(files) > 8
    for name, case in files.items():
        assert case["kind"] == "ProgramError", name
        assert case["seconds"] < 1.0 and "\n" not in case["reason"], name
    for name, word in [("binary", "not a text file"), ("sparse", "characters"), ("utf-16", "text")]:
        assert word in files[f"file: {name}"]["reason"] and files[f"file: {name}"]["line"]


def test_hostile_texts_take_less_than_200_megabytes(report: dict) -> None:
    assert report["grown"] < 200e6  # over all of them, one after the other


def test_programs_whose_numbers_do_not_fit_are_refused() -> None:
    for parameters, outputs in [(("w", "g"), ()), (("w", "g", "lr"), ()), (tuple("abcdefgh"), ())]:
        with pytest.raises(ProgramError, match="parameters|values"):
            Program(parameters, (), outputs)


@pytest.mark.parametrize("text", [None, 5, b"def train(w, g, lr):", ["a"]])
def test_what_is_no_text_is_no_program(text: Any) -> None:
    with pytest.raises(ProgramError, match="a program is a text"):
        parse(text)
    if not isinstance(text, str):
        with pytest.raises(ProgramError, match="is no rule; give a name or a file"):
            load_rule(text)
