"""Files from their public homes: resumed, checked, whole or absent.

A download grows in `<name>.part`, with `<name>.part.json` beside it (where it comes
from, and which version), and takes its name once its length and SHA-256 are right.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from simprod_tf.atomic import write_json
from simprod_tf.errors import SimprodError
from simprod_tf.manifest import file_sha256

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

# Called with bytes done and bytes in all; 0 in all where the server does not say.
Progress = Callable[[int, int], None]

BLOCK = 1 << 20
TIMEOUT_S = (20, 60)
# Tries in a row that brought nothing, before giving up.
ATTEMPTS = 4
WAIT_S = 2.0
BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)

# What the text of a failed connection says, in our words.
REASONS = {
    "timed out": "there was no answer in time",
    "resolve": "the host's name cannot be resolved: there is no network",
    "refused": "the connection was refused",
    "unreachable": "the network cannot be reached",
}


class DownloadError(SimprodError):
    """A file could not be brought whole; says why, and how to bring it by hand."""

    def __init__(
        self,
        reason: str,
        *,
        urls: Sequence[str] = (),
        out: Path | None = None,
        sha256: str = "",
    ) -> None:
        """Keeps `reason`; the advice is made of the rest."""
        self.reason = reason
        advice = ""
        if urls:
            digits = sha256 + ("" if len(sha256) == 64 else "...")
            digest = f" (SHA-256 {digits})" if sha256 else ""
            advice = (
                f" Without a network here: download {' or '.join(urls)} elsewhere, "
                f"put it at {out}{digest}, and run the same command again."
            )
        super().__init__(f"{reason}.{advice}")


class _Cut(Exception):  # noqa: N818
    """The network or the server failed in a way that another try may mend."""


class _Refused(Exception):  # noqa: N818
    """Another try would end the same."""


@dataclass(frozen=True)
class PublicFile:
    """A file at its public homes.

    Attributes:
        name: The file's own name.
        urls: Where it lies, the first choice first; the same bytes at each.
        sha256: Of the whole file, 64 hex digits.
        size: In bytes.
        about: What it holds.
        licence: As its makers state it.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    about: str
    licence: str


PUBLIC_FILES = {
    # The file's name states the first 8 digits of its SHA-256.
    "alexnet": PublicFile(
        "alexnet-owt-7be5be79.pth",
        ("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",),
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        244_408_911,
        "torchvision's AlexNet (Krizhevsky 2014), trained on ImageNet",
        "BSD-3-Clause (torchvision)",
    ),
    # Google's own home is the drive behind code.google.com/archive/p/word2vec.
    "word2vec-google-news": PublicFile(
        "GoogleNews-vectors-negative300.bin.gz",
        (
            "https://s3.amazonaws.com/dl4j-distribution/"
            "GoogleNews-vectors-negative300.bin.gz",
            "https://drive.usercontent.google.com/download"
            "?id=0B7XkCwpI5KDYNlNUTTlSS21pQmM&export=download&confirm=t"
            "&resourcekey=0-wjGZdNAUop6WykTtMip30g",
        ),
        "21c05ae916a67a4da59b1d006903355cced7de7da1e42bff9f0504198c748da8",
        1_647_046_227,
        "Word2Vec of Google News (Mikolov et al. 2013): 3 million words x 300",
        "Apache-2.0 (the word2vec project)",
    ),
}


def public_file(name: str) -> PublicFile:
    """Returns an entry of `PUBLIC_FILES`; ValueError names those there are."""
    if name not in PUBLIC_FILES:
        raise ValueError(
            f"name must be one of {', '.join(PUBLIC_FILES)}, got {name!r}."
        )
    return PUBLIC_FILES[name]


def fetch_public(
    file: PublicFile,
    folder: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
) -> Path:
    """Returns `file` in `folder`, brought from the first of its homes that has it.

    Raises:
        DownloadError: none has it; the reason of each, and what to do by hand.
    """
    out = Path(folder) / file.name
    reasons = []
    for url in file.urls:
        try:
            return fetch(
                url, out, sha256=file.sha256, size=file.size, progress=progress
            )
        except DownloadError as error:
            log.info("%s", error)
            reasons.append(error.reason)
    raise DownloadError("; ".join(reasons), urls=file.urls, out=out, sha256=file.sha256)


def fetch(
    url: str,
    out: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Returns `out`, downloaded from `url` unless it is there already.

    What an earlier call left half-way is gone on with, where the server can, and where
    it is still the same file.

    Args:
        url: http or https.
        out: The file to write; without `sha256` it is written anew.
        sha256: Hex digits that the file's SHA-256 must begin with: 64, or fewer.
        size: Its length in bytes, where known.
        progress: Called with bytes done and bytes in all.

    Raises:
        DownloadError: no network, no such file, or not the file that was expected.
    """
    final, wanted = Path(out), _hex_digits(sha256)
    part = final.with_name(f"{final.name}.part")
    try:
        if wanted and final.exists():
            _require_same(final, wanted)
            return final
        final.parent.mkdir(parents=True, exist_ok=True)
        _Download(url, part, size or 0, bool(wanted), progress).run()
        if wanted:
            _require_right(part, wanted, url)
        os.replace(part, final)
    except (_Cut, _Refused) as error:
        raise DownloadError(str(error), urls=[url], out=final, sha256=wanted) from error
    except OSError as error:
        raise DownloadError(f"{final} cannot be written: {error}") from error
    _note_of(part).unlink(missing_ok=True)
    return final


class _Download:
    """One file on its way into `part`."""

    def __init__(
        self,
        url: str,
        part: Path,
        size: int,
        checked: bool,
        progress: Progress | None,
    ) -> None:
        """Takes what is asked for; `checked` says whether a SHA-256 will be."""
        self.url, self.part, self.size = url, part, size
        self.checked, self.progress = checked, progress

    def run(self) -> None:
        """Tries until `part` is whole, or ATTEMPTS times in a row to no avail."""
        failures = 0
        while not (self.size and self._kept() == self.size):
            before = self._kept()
            try:
                return self._attempt(before)
            except _Cut as error:
                failures = 1 if self._kept() > before else failures + 1
                if failures >= ATTEMPTS:
                    raise _Cut(self._gave_up(error)) from error
                log.info("%s: %s; trying again", self.url, error)
                time.sleep(WAIT_S)

    def _attempt(self, start: int) -> None:
        """Asks once for what is missing, and appends it."""
        import requests
        import urllib3

        try:
            with requests.get(
                self.url, headers=self._headers(start), stream=True, timeout=TIMEOUT_S
            ) as answer:
                self._take(answer, start)
        except (
            requests.ConnectionError,
            requests.Timeout,
            urllib3.exceptions.HTTPError,
        ) as error:
            raise _Cut(_reason(error)) from error
        except requests.RequestException as error:
            raise _Refused(f"{self.url}: {error}") from error

    def _headers(self, start: int) -> dict[str, str]:
        # Identity: lengths and ranges count the file's bytes, not a packing of them.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            version = self._note().get("version", "")
            # A weak ETag may not stand here; `_goes_on` compares it.
            if version and not version.startswith("W/"):
                headers["If-Range"] = version
        return headers

    def _take(self, answer: requests.Response, start: int) -> None:
        """Writes the body of an answer to where it belongs."""
        code = answer.status_code
        if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return self._past_the_end(answer, start)
        if code >= HTTPStatus.INTERNAL_SERVER_ERROR or code in BUSY:
            raise _Cut(f"the server answers {code} {answer.reason}")
        if code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise _Refused(f"{self.url} answers {code} {answer.reason}")
        if code == HTTPStatus.PARTIAL_CONTENT and not self._goes_on(answer, start):
            self._forget()
            raise _Cut("the file on the server has changed")
        if code == HTTPStatus.OK:
            start = 0
        total = self._total(answer, start)
        note = {"url": self.url, "version": _version(answer)}
        write_json(_note_of(self.part), note)
        done = self._write(answer, start, total)
        if total and done != total:
            raise _Cut("the connection was cut")

    def _past_the_end(self, answer: requests.Response, start: int) -> None:
        """A range from the end on: the file is whole, or the server has another."""
        if answer.headers.get("Content-Range") != f"bytes */{start}":
            self._forget()
            raise _Cut("the file on the server has changed")

    def _goes_on(self, answer: requests.Response, start: int) -> bool:
        """Whether the answer begins where `part` ends, in the same version."""
        stated = answer.headers.get("Content-Range", "")
        before = self._note().get("version", "")
        return stated.startswith(f"bytes {start}-") and before == _version(answer)

    def _total(self, answer: requests.Response, start: int) -> int:
        """Returns the file's length, 0 if unknown; refuses another than expected."""
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else 0
        if total and self.size and total != self.size:
            kind = answer.headers.get("Content-Type", "of no stated type")
            raise _Refused(
                f"{self.url} gives {total:,} bytes ({kind}), expected {self.size:,}"
            )
        return total or self.size

    def _write(self, answer: requests.Response, start: int, total: int) -> int:
        """Returns the length of `part` after the answer's body."""
        done = start
        with open(self.part, "ab" if start else "wb") as file:
            # As sent: a stored .gz may be labelled as encoded, and must stay packed.
            for block in answer.raw.stream(BLOCK, decode_content=False):
                file.write(block)
                done += len(block)
                if self.progress:
                    self.progress(done, total)
        return done

    def _kept(self) -> int:
        """Returns how many bytes of `part` can be gone on from; deletes others."""
        note = self._note()
        # Without a version only a checksum can tell a mixture from the whole.
        known = note.get("url") == self.url and (note.get("version") or self.checked)
        kept = self.part.stat().st_size if self.part.exists() else 0
        if kept and (not known or (self.size and kept > self.size)):
            self._forget()
            return 0
        return kept

    def _note(self) -> dict[str, str]:
        try:
            note = json.loads(_note_of(self.part).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        _note_of(self.part).unlink(missing_ok=True)

    def _gave_up(self, error: _Cut) -> str:
        reason, kept = f"{self.url}: {error}", self._kept()
        if not kept:
            return reason
        return f"{reason}; {kept:,} bytes are kept, the same command goes on from there"


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _version(answer: requests.Response) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _hex_digits(sha256: str | None) -> str:
    digits = (sha256 or "").lower()
    if not re.fullmatch("[0-9a-f]{0,64}", digits):
        raise ValueError(f"sha256 must be up to 64 hex digits, got {sha256!r}.")
    return digits


def _reason(error: Exception) -> str:
    """Returns why a connection failed, without requests' nest of reprs."""
    import requests

    text = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refuses the connection"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not accepted"
    for sign, reason in REASONS.items():
        if sign in text:
            return reason
    return "the connection was cut"


def _require_same(path: Path, wanted: str) -> None:
    found = file_sha256(path)
    if not found.startswith(wanted):
        raise _Refused(
            f"{path} is there already, but its SHA-256 is {found}, expected {wanted}; "
            "delete or rename it to download it anew"
        )


def _require_right(part: Path, wanted: str, url: str) -> None:
    """Refuses a download with another SHA-256 and deletes it: nothing can mend it."""
    found = file_sha256(part)
    if not found.startswith(wanted):
        part.unlink()
        _note_of(part).unlink(missing_ok=True)
        raise _Refused(
            f"{url} gave a file with SHA-256 {found}, expected {wanted}; it was deleted"
        )
