"""The sub-command explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from simprod_tf.cli.console import bars, print_rows, read_products, say
from simprod_tf.cli.data import SkipBad
from simprod_tf.cli.matching import Tables

if TYPE_CHECKING:
    from simprod_tf.matching.explain import Explanation
    from simprod_tf.pipeline.explain import DecidedBy

# Of a decider's features; the page has more of them.
_MOST = 12


def explain(
    this: Annotated[str, typer.Argument(metavar="A", help="The id of a product.")],
    that: Annotated[str, typer.Argument(metavar="B", help="The id of another one.")],
    catalog: Annotated[
        Path, typer.Option(help="CSV, JSONL or Parquet that holds the two.")
    ],
    model: Annotated[Path, typer.Option(help="SavedModel: its folder or a version's.")],
    decision: Annotated[
        Optional[Path],
        typer.Option(
            help="JSON file of `simprod threshold`; by default what training chose."
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="HTML file with both pictures side by side."),
    ] = None,
    features: Annotated[
        Optional[list[Path]],
        typer.Option(help="Precomputed vectors that the encoder takes; repeatable."),
    ] = None,
    decider: Annotated[
        Optional[Path],
        typer.Option(help="Folder of `simprod decider train`: it decides, and why."),
    ] = None,
    index: Annotated[
        Optional[Path],
        typer.Option(help="With --decider: the index that `match` works on."),
    ] = None,
    k: Annotated[
        int, typer.Option("-k", min=1, help="With --index: candidates, as in `match`.")
    ] = 10,
    tables: Tables = "",
    skip_bad: SkipBad = False,
) -> None:
    """Show why two products are taken for similar, or are not.

    Example: `simprod explain p000001 p000002 --catalog shop/catalog.csv --model
    saved_models/shop --out explanation.html`

    Example: `simprod explain p000001 p000002 --catalog shop/catalog.csv --model
    saved_models/shop --decision decision.json`

    Example: `simprod explain p000001 p000002 --catalog shop/catalog.csv --model
    saved_models/shop --decider decider --index index`
    """
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.evaluation.explanation import write_explanation
    from simprod_tf.export import SavedEncoder
    from simprod_tf.matching.decisions import read_decisions, trained_decisions
    from simprod_tf.pipeline.explain import explain_pair

    if decider is None and (index is not None or tables):
        raise typer.BadParameter("--index and --tables go with --decider.")
    if out is not None and out.is_dir():
        raise typer.BadParameter(f"--out is an HTML file, got the folder {out}.")
    stated = None if decision is None else read_decisions(decision)
    decided_by = None if decider is None else _decided_by(decider, index, k, tables)
    with bars() as progress:
        encoder = SavedEncoder(model)
        products = read_products(
            catalog,
            skip_bad=skip_bad,
            progress=progress,
            need_content=not encoder.inputs.has_more,
            check_pictures=False,
        )
        found = explain_pair(
            encoder,
            products,
            (this, that),
            decisions=stated
            if stated is not None or decided_by is not None
            else trained_decisions(
                encoder.manifest.get("decision"), encoder.fingerprint
            ),
            files=[read_vectors(path) for path in features or ()],
            decided_by=decided_by,
            progress=progress,
        )
    print_rows(["what", this, that, "finding"], _rows(found))
    say(found.sentence)
    if out is not None:
        write_explanation(out, found)
        say(f"Explanation written to {out}")


def _decided_by(decider: Path, index: Path | None, k: int, tables: str) -> DecidedBy:
    from simprod_tf.decider.decider import Decider
    from simprod_tf.index.build import load_index
    from simprod_tf.pipeline.explain import DecidedBy

    found = None if index is None else load_index(index)
    return DecidedBy(Decider.load(decider), found, k, tables)


def _rows(found: Explanation) -> list[list[str]]:
    """Returns what is printed, a line for each thing compared."""
    from simprod_tf.matching.views import LABELS

    rows = [["title", found.this.title, found.that.title, ""]]
    for one in found.standings:
        rows.append([f"distance, {LABELS[one.view]}", "", "", str(one)])
    rows.append(["words of both", "", "", " ".join(found.shared_tokens)])
    only = [" ".join(found.this_tokens), " ".join(found.that_tokens)]
    rows.append(["words of one", *only, ""])
    for trait in found.traits:
        finding = "conflict" if trait.differs else "same"
        rows.append([trait.kind, trait.this, trait.that, finding])
    for added in found.contributions[:_MOST]:
        name = f"decider, {added.feature.replace('_', ' ')}"
        value = f"{added.stated}: " if added.stated else ""
        finding = f"{value}adds {added.log_odds:+.3f} to the log-odds"
        rows.append([name, "", "", finding])
    return [*rows, ["verdict", "", "", found.verdict]]
