"""Sub-commands on weights from elsewhere: weights convert, weights fetch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from simprod_tf.cli.console import options, print_rows, say, screen
from simprod_tf.errors import MissingLibraryError

if TYPE_CHECKING:
    from simprod_tf.model.weights import Weights

app = typer.Typer(
    name="weights",
    no_args_is_help=True,
    help="Bring weights from their public homes and other formats.",
)


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="PyTorch's .pth, Caffe's AlexNet or SqueezeNet as .npy or .npz, "
            "Keras' .weights.h5, or an .npz of ours."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The .npz to write.")],
    architecture: Annotated[
        Optional[str],
        typer.Option(
            help="What it must be: krizhevsky2012, torchvision, small or squeezenet; "
            "by default its shapes tell."
        ),
    ] = None,
) -> None:
    """Write weights as our .npz, which holds their preprocessing too.

    Prints the architecture, the preprocessing, the source's SHA-256 and the layers.

    Example: `simprod weights convert alexnet-owt-7be5be79.pth alexnet.npz`
    """
    from simprod_tf.model.weights import import_weights, write_weights

    if out.suffix != ".npz":
        raise typer.BadParameter(f"OUT must end in .npz, got {out}.")
    with options():
        weights = import_weights(source, architecture=architecture)
    write_weights(weights, out)
    print_rows(["what", "value"], _described(weights))
    say(f"Weights written to {out}; use them: --image-tower {out}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="alexnet or word2vec-google-news.")],
    out: Annotated[Path, typer.Option(help="Folder to put them into.")] = Path(
        "weights"
    ),
) -> None:
    """Download weights from their public home, check them, and convert them.

    An interrupted download goes on where it stopped. AlexNet (244 MB) becomes
    alexnet.npz, which needs PyTorch (the extra `convert`); the vectors of Google News
    (1.6 GB) stay as they are.

    Example: `simprod weights fetch alexnet --out weights`
    """
    from simprod_tf.download import fetch_public, public_file

    with options():
        file = public_file(name)
    converted = out / f"{name}.npz"
    if name == "alexnet" and _holds(converted, file.sha256):
        say(f"{converted} is there already; use it: --image-tower {converted}")
        return
    say(f"{file.about}; {file.size / 1e6:,.0f} MB; licence: {file.licence}")
    with _download_bar(file.name, file.size) as progress:
        path = fetch_public(file, out, progress=progress)
    say(f"SHA-256 {file.sha256}: {path}")
    if name == "alexnet":
        _convert_fetched(path, converted)
    else:
        say(f"Use them: --word-vectors {path}")


def _convert_fetched(path: Path, converted: Path) -> None:
    try:
        convert(path, converted, "torchvision")
    except MissingLibraryError as error:
        raise MissingLibraryError(
            f"{path} is downloaded and right, but not yet converted: {error} Then: "
            f"simprod weights convert {path} {converted}"
        ) from error


def _holds(path: Path, sha256: str) -> bool:
    """Whether `path` holds weights that were converted from the file with `sha256`."""
    from simprod_tf.errors import ModelError
    from simprod_tf.model.weights import read_weights

    if not path.exists():
        return False
    try:
        return read_weights(path).source.get("sha256") == sha256
    except ModelError:
        return False


def _described(weights: Weights) -> list[list[str]]:
    """Returns what a file of weights holds, as rows of name and value."""
    expects, norm = weights.preprocessing, weights.response_norm
    rows = [
        ["architecture", weights.architecture],
        ["source", str(weights.source.get("file", ""))],
        ["format", str(weights.source.get("format", ""))],
        ["sha256", str(weights.source.get("sha256", ""))],
        ["channels", expects.channels],
        ["mean", _numbers(expects.mean)],
        ["std", _numbers(expects.std)],
        ["resize_to", str(expects.resize_to)],
        ["image_size", str(expects.image_size)],
    ]
    if norm is not None:
        constants = f"bias {norm.bias:g}, alpha {norm.alpha:g}"
        rows.append(["response_norm", constants])
    for name, array in weights.arrays.items():
        layer, _, kind = name.partition("/")
        if kind == "kernel":
            rows.append([layer, " x ".join(map(str, array.shape))])
    return rows


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


@contextlib.contextmanager
def _download_bar(name: str, size: int) -> Iterator[Callable[[int, int], None]]:
    """Yields a bar with amount, rate and time left."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
    ) as progress:
        task = progress.add_task(name, total=size)
        yield lambda done, total: progress.update(
            task, completed=done, total=total or None
        )
