"""The application: its verbs and its handling of errors."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command as command_of

import optforge
from optforge.cli.console import fail, flush_outputs, print_anything, screen
from optforge.errors import OptforgeError, is_out_of_memory, one_line
from optforge.runs.guard import disk_errors, working_directory

ERROR, USAGE, DEFECT, STOPPED = 1, 2, 70, 130
# In the order of the help; each is a function of its name in a module of its name.
VERBS = (
    *("search", "explain", "show", "simplify", "funnel", "export", "compare"),
    *("rules", "tasks", "runs", "report", "watch"),
)
_NO_MEMORY = (
    "there is not enough memory; give fewer workers, close other programs, or raise the limit of "
    "this one (ulimit -v). What a run has finished is kept"
)
_MOVED = {
    "train-image": "train-image is a script now: run python -m paper.images in a clone of the "
    "repository; docs/images.md shows how."
}
_STATE_BYTES = 4  # of one state for each parameter; --states counted states
# Former names of options, which go on working without being shown.
_OLD = {
    "search": {"--from": "--start", "--run": "--out"},
    "simplify": {"--output": "--out"},
    "export": {"--output": "--out"},
    "compare": {"--task": "--tasks", "-t": "--tasks", "-o": "--optimizers"},
}


class Verbs(TyperGroup):
    """The verbs; every error ends as one plain sentence and an exit code.

    A verb is imported when it is called, because importing all of them takes seconds.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order of the help."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a verb; None if there is no verb of that name."""
        del ctx
        if cmd_name not in VERBS:
            return None
        if cmd_name not in self.commands:
            name = cmd_name.replace("-", "_")
            app = typer.Typer(add_completion=False, rich_markup_mode="rich")
            app.command(cmd_name)(getattr(import_module(f"optforge.cli.{name}"), name))
            self.commands[cmd_name] = command_of(app)
        return self.commands[cmd_name]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command, report errors and exit."""
        words = present_names(sys.argv[1:] if args is None else args)
        print_anything()
        verb = next((word for word in words if not word.startswith("-")), "")
        if verb in _MOVED:
            fail(_MOVED[verb])
            sys.exit(USAGE)
        try:
            working_directory()
            with disk_errors():
                code = super().main(
                    words, prog_name, complete_var, False, windows_expand_args, **extra
                )
                sys.stdout.flush()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # code of the user's may raise any
            code = _report(error, "--debug" in words)
        code = code if isinstance(code, int) else 0
        sys.exit(code if flush_outputs() else code or ERROR)


def present_names(words: Sequence[str]) -> list[str]:
    """Return a command line with former names of options replaced by the present ones.

    Example:
        >>> present_names(["search", "--from=lion", "--run", "first", "--states", "1"])
        ['search', '--start=lion', '--out', 'first', '--max-state-bytes', '4']
    """
    verb = next((word for word in words if not word.startswith("-")), "")
    old, named = _OLD.get(verb, {}), _in_bytes(words) if verb == "search" else list(words)
    for number, word in enumerate(named):
        name, equals, value = word.partition("=")
        if name in old:
            named[number] = f"{old[name]}{equals}{value}"
    return named


def _in_bytes(words: Sequence[str]) -> list[str]:
    """Replace a former number of states of the size of the weights by their bytes."""
    words = list(words)
    for number, word in enumerate(words):
        name, equals, count = word.partition("=")
        if name == "--states" and equals and count.isdecimal():
            words[number] = f"--max-state-bytes={_STATE_BYTES * int(count)}"
        elif word == "--states" and (count := "".join(words[number + 1 : number + 2])).isdecimal():
            words[number : number + 2] = ["--max-state-bytes", str(_STATE_BYTES * int(count))]
    return words


def _report(error: BaseException, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, typer.Abort):
        return STOPPED
    if isinstance(error, OptforgeError):
        fail(_message_or_default(str(error)))
        return ERROR
    if hasattr(error, "format_message"):  # wrong use; the class moved between versions of typer
        return _usage(error)
    if is_out_of_memory(error):
        fail(_NO_MEMORY)
        return ERROR
    if not isinstance(error, Exception):  # what none of optforge's own code raises
        fail(f"code of a task or an optimizer ended the work by {one_line(error)}")
        return ERROR
    if isinstance(error, OSError) and error.strerror:
        what = "the system" if error.filename is None else str(error.filename)
        fail(f"{what} cannot be used: {error.strerror}; --debug shows what it was for")
        return ERROR
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    advice = "" if debug else "; run again with --debug and report it"
    fail(f"optforge failed unexpectedly ({what}){advice}")
    return DEFECT


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "optforge"
    sentence = error.format_message().strip().rstrip(".")
    fail(f"{_message_or_default(sentence)}; '{command} --help' lists what can be given")
    return error.exit_code


def _message_or_default(text: str) -> str:
    """Return a message as it is; a default for an empty one."""
    return text if text.strip() else "something failed and gave no reason"


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Discover optimizers for deep learning by searching over programs.",
    epilog="A rule is a file, or the name of a shipped one: see 'optforge rules'.",
)


def _version(asked: bool) -> None:
    if asked:
        screen().print(f"optforge {optforge.__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Handle the options before the verb."""
