"""The sub-command explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from simprod_tf.cli.console import bars, print_rows, read_products, say
from simprod_tf.cli.data import SkipBad
from simprod_tf.errors import InputError

if TYPE_CHECKING:
    from simprod_tf.matching.explain import Explanation


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
            help="JSON file of a decision. By default the threshold that training "
            "chose for the model."
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
    skip_bad: SkipBad = False,
) -> None:
    """Show why two products are taken for similar, or are not.

    Example: `simprod explain p000001 p000002 --catalog shop/catalog.csv --model
    saved_models/shop --out explanation.html`
    """
    from simprod_tf.data.vectors import read_vectors
    from simprod_tf.evaluation.explanation import write_explanation
    from simprod_tf.export import SavedEncoder
    from simprod_tf.pipeline.explain import explain_pair

    stated = None if decision is None else _read_json(decision)
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
            max_distance=_max_distance(stated or encoder.manifest.get("decision")),
            files=[read_vectors(path) for path in features or ()],
        )
    print_rows(["what", this, that, "finding"], _rows(found))
    say(found.sentence)
    if out is not None:
        write_explanation(out, found)
        say(f"Explanation written to {out}")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError("there is no such file.", path=path) from error
    except ValueError as error:
        raise InputError(f"it is no JSON: {error}.", path=path) from error


def _max_distance(decision: Any) -> float | None:
    from simprod_tf.matching.threshold import Decision

    if not decision or "refused" in decision:
        return None
    return Decision.from_json(decision).max_distance


def _rows(found: Explanation) -> list[list[str]]:
    """Returns what is printed, a line for each thing compared."""
    rows = [["title", found.this.title, found.that.title, ""]]
    for one in found.standings:
        alone = "" if one.modality == "both" else " alone"
        rows.append([f"distance, {one.modality}{alone}", "", "", str(one)])
    rows.append(["words of both", "", "", " ".join(found.shared_tokens)])
    only = [" ".join(found.this_tokens), " ".join(found.that_tokens)]
    rows.append(["words of one", *only, ""])
    for trait in found.traits:
        finding = "conflict" if trait.differs else "same"
        rows.append([trait.kind, trait.this, trait.that, finding])
    return [*rows, ["verdict", "", "", found.verdict]]
