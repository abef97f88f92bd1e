"""The command `simprod`: one sub-command a stage; parses, calls, prints.

TensorFlow is imported inside the sub-commands that need it, so `--help` is quick.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from simprod_tf import __version__
from simprod_tf.cli import (
    data,
    decider,
    features,
    index,
    matching,
    model,
    train,
    weights,
)
from simprod_tf.cli.blend import blend
from simprod_tf.cli.compare import compare
from simprod_tf.cli.console import print_error, quiet
from simprod_tf.cli.demo import demo
from simprod_tf.cli.encode import encode
from simprod_tf.cli.evaluate import evaluate
from simprod_tf.cli.explain import explain
from simprod_tf.cli.export_index import export_index
from simprod_tf.cli.mining import mine
from simprod_tf.cli.search import search
from simprod_tf.cli.serve import serve
from simprod_tf.cli.split import split
from simprod_tf.cli.threshold import threshold
from simprod_tf.cli.versions import rollback, versions
from simprod_tf.errors import SimprodError

log = logging.getLogger(__name__)

INTERRUPTED = 130

app = typer.Typer(
    name="simprod",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo,
    data.shop,
    mine,
    data.pairs,
    data.convert,
    split,
    features.embed,
    features.words,
    train.train,
    model.export,
    encode,
    index.index,
    index.add,
    index.remove,
    index.compact,
    blend,
    export_index,
    serve,
    search,
    threshold,
    matching.match,
    versions,
    rollback,
    explain,
    evaluate,
    compare,
):
    app.command()(command)
app.add_typer(decider.app)
app.add_typer(weights.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"simprod {__version__}\n")
        raise typer.Exit()


@app.callback()
def simprod(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show the log, TensorFlow's too.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, help="Print the version."),
    ] = False,
) -> None:
    """Find the products of a catalogue that are the same or similar.

    Every step reads and writes plain files, so you can enter anywhere with data of your
    own. See it all at work on a synthetic shop: `simprod demo`
    """
    quiet(verbose)


def main() -> None:
    """Runs the command; what the world causes is one line on stderr, exit code 1."""
    try:
        app()
    except SimprodError as error:
        print_error(str(error))
        sys.exit(1)
    except OSError as error:
        # A full disk, a folder that must not be written; -v shows where it came from.
        log.info("%s", error, exc_info=True)
        where = "" if error.filename is None else f"{error.filename}: "
        print_error(f"{where}{error.strerror or error}.")
        sys.exit(1)
    except SystemExit as stop:
        # Typer answers Ctrl-C with this code, and without a word.
        if stop.code == INTERRUPTED:
            print_error("interrupted; nothing is left half-written.")
        raise
