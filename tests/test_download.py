"""Downloads from a server in this process: resumed, checked, whole or absent."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from simprod_tf import download
from simprod_tf.download import (
    PUBLIC_FILES,
    DownloadError,
    PublicFile,
    fetch,
    fetch_public,
    public_file,
)

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """What the server has, how it behaves, and what it was asked for."""

    def __init__(self):
        self.content, self.etag, self.type = CONTENT, '"one"', "text/plain"
        self.ranges = True
        # Bytes after which each of the next answers is cut, None for a whole one.
        self.cuts: list[int | None] = []
        # Statuses of the next answers, ahead of any content.
        self.statuses: list[int] = []
        self.extra: dict[str, str] = {}
        self.asked: list[str | None] = []
        self.url = ""

    def start_of(self, headers):
        """Returns where the answer begins, or None for the whole file."""
        wanted = headers.get("Range")
        if not self.ranges or not wanted:
            return None
        if headers.get("If-Range") not in (None, self.etag):
            return None
        return int(wanted.removeprefix("bytes=").rstrip("-"))


def handler_of(server):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            server.asked.append(self.headers.get("Range"))
            if server.statuses:
                self.send_error(server.statuses.pop(0))
                return
            start, total = server.start_of(self.headers), len(server.content)
            if start is not None and start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200 if start is None else 206)
            if start is not None:
                stated = f"bytes {start}-{total - 1}/{total}"
                self.send_header("Content-Range", stated)
            body = server.content[start or 0 :]
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", server.type)
            if server.etag:
                self.send_header("ETag", server.etag)
            for name, value in server.extra.items():
                self.send_header(name, value)
            self.end_headers()
            cut = server.cuts.pop(0) if server.cuts else None
            self.wfile.write(body if cut is None else body[:cut])

    return Handler


@contextmanager
def running(server):
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(server))
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listener.server_port}/files/a.bin"
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "WAIT_S", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running(Server()) as found:
        yield found


def left_half_way(server, out, bytes_there=1_000_000):
    """Makes what a killed download leaves."""
    server.cuts = [bytes_there] + [0] * 10
    with pytest.raises(DownloadError):
        fetch(server.url, out, sha256=SHA256)
    assert out.with_name("a.bin.part").read_bytes() == CONTENT[:bytes_there]
    server.cuts, server.asked = [], []


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_with_progress(server, tmp_path):
    told = []
    out = tmp_path / "new" / "a.bin"
    found = fetch(
        server.url, out, sha256=SHA256, progress=lambda *both: told.append(both)
    )
    assert found == out
    assert out.read_bytes() == CONTENT
    assert names_in(out.parent) == ["a.bin"]
    assert told[-1] == (3_000_000, 3_000_000)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_file_that_is_there_and_right_is_not_asked_for(server, tmp_path):
    out = tmp_path / "a.bin"
    out.write_bytes(CONTENT)
    fetch(server.url, out, sha256=SHA256)
    assert server.asked == []


def test_a_file_that_is_there_and_wrong_is_kept_and_named(server, tmp_path):
    out = tmp_path / "a.bin"
    out.write_bytes(b"something of the user's")
    with pytest.raises(DownloadError, match="a.bin is there already, but its SHA-256"):
        fetch(server.url, out, sha256=SHA256)
    assert out.read_bytes() == b"something of the user's"
    assert server.asked == []


def test_a_cut_connection_is_gone_on_with_in_the_same_call(server, tmp_path):
    server.cuts = [1_000_000, 500_000]
    out = fetch(server.url, tmp_path / "a.bin", sha256=SHA256)
    assert out.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]


def test_the_next_call_goes_on_where_a_killed_one_stopped(server, tmp_path):
    out = tmp_path / "a.bin"
    left_half_way(server, out)
    told = []
    fetch(server.url, out, sha256=SHA256, progress=lambda *both: told.append(both))
    assert out.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000000-"]
    assert told[0][0] > 1_000_000
    assert names_in(tmp_path) == ["a.bin"]


def test_what_is_kept_is_said(server, tmp_path):
    server.cuts = [1_000_000] + [0] * 10
    with pytest.raises(DownloadError) as found:
        fetch(server.url, tmp_path / "a.bin", sha256=SHA256)
    assert "1,000,000 bytes are kept, the same command goes on" in str(found.value)
    assert len(server.asked) == download.ATTEMPTS


def test_a_server_without_ranges_begins_again(server, tmp_path):
    out = tmp_path / "a.bin"
    left_half_way(server, out)
    server.ranges = False
    fetch(server.url, out, sha256=SHA256)
    assert out.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000000-"]


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changed_on_the_server_begins_again(server, tmp_path, honest):
    out = tmp_path / "a.bin"
    left_half_way(server, out)
    server.content, server.etag = CONTENT[::-1], '"two"'
    if not honest:
        # It answers with the range of the new file, whatever If-Range asks.
        server.start_of = lambda headers: (
            int(headers["Range"][6:-1]) if "Range" in headers else None
        )
    wanted = hashlib.sha256(server.content).hexdigest()
    fetch(server.url, out, sha256=wanted)
    assert out.read_bytes() == CONTENT[::-1]


def test_a_part_from_elsewhere_begins_again(server, tmp_path):
    out = tmp_path / "a.bin"
    left_half_way(server, out)
    note = tmp_path / "a.bin.part.json"
    note.write_text(json.dumps({"url": "http://other/a.bin", "version": '"one"'}))
    fetch(server.url, out, sha256=SHA256)
    assert out.read_bytes() == CONTENT
    assert server.asked == [None]


@pytest.mark.parametrize(
    ("sha256", "asked"), [(SHA256, "bytes=1000000-"), (None, None)]
)
def test_without_an_etag_only_a_checksum_allows_going_on(
    server, tmp_path, sha256, asked
):
    server.etag = None
    out = tmp_path / "a.bin"
    left_half_way(server, out)
    fetch(server.url, out, sha256=sha256)
    assert out.read_bytes() == CONTENT
    assert server.asked == [asked]


def test_a_part_that_is_whole_already_takes_its_name(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    note = json.dumps({"url": server.url, "version": '"one"'})
    (tmp_path / "a.bin.part.json").write_text(note)
    out = fetch(server.url, tmp_path / "a.bin", sha256=SHA256)
    assert out.read_bytes() == CONTENT
    assert server.asked == ["bytes=3000000-"]
    assert names_in(tmp_path) == ["a.bin"]


def test_a_part_longer_than_the_file_begins_again(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"x")
    note = json.dumps({"url": server.url, "version": '"one"'})
    (tmp_path / "a.bin.part.json").write_text(note)
    out = fetch(server.url, tmp_path / "a.bin", sha256=SHA256)
    assert out.read_bytes() == CONTENT
    assert server.asked == ["bytes=3000001-", None]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=f"SHA-256 {SHA256}, expected {'0' * 64}"):
        fetch(server.url, tmp_path / "a.bin", sha256="0" * 64)
    assert names_in(tmp_path) == []


def test_a_prefix_of_the_checksum_is_enough(server, tmp_path):
    out = fetch(server.url, tmp_path / "a.bin", sha256=SHA256[:8])
    assert out.read_bytes() == CONTENT


def test_another_length_than_expected_is_refused_before_it_is_read(server, tmp_path):
    server.type = "text/html"
    with pytest.raises(
        DownloadError, match=r"gives 3,000,000 bytes \(text/html\), expected 7"
    ):
        fetch(server.url, tmp_path / "a.bin", size=7)
    assert names_in(tmp_path) == []


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    server.statuses = [404, 404]
    with pytest.raises(DownloadError) as found:
        fetch(server.url, tmp_path / "a.bin", sha256=SHA256)
    assert f"{server.url} answers 404 Not Found" in str(found.value)
    assert f"put it at {tmp_path / 'a.bin'} (SHA-256 {SHA256})" in str(found.value)
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429]
    out = fetch(server.url, tmp_path / "a.bin")
    assert out.read_bytes() == CONTENT


def test_no_network_says_what_to_do_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WAIT_S", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running(Server()) as gone:
        url = gone.url
    with pytest.raises(DownloadError) as found:
        fetch(url, tmp_path / "a.bin", sha256=SHA256[:8])
    assert "the connection was refused" in str(found.value)
    assert f"download {url} elsewhere, put it at" in str(found.value)
    assert f"(SHA-256 {SHA256[:8]}...)" in str(found.value)


def test_bytes_are_kept_as_sent_where_they_are_labelled_as_packed(server, tmp_path):
    server.extra = {"Content-Encoding": "gzip"}
    out = fetch(server.url, tmp_path / "a.bin", sha256=SHA256)
    assert out.read_bytes() == CONTENT


def test_a_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="file/a.bin cannot be written"):
        fetch(server.url, tmp_path / "file" / "a.bin")


def test_an_address_that_is_none_is_refused(tmp_path):
    with pytest.raises(DownloadError, match="No connection adapters"):
        fetch("ftp://127.0.0.1/a.bin", tmp_path / "a.bin")


def test_a_checksum_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="up to 64 hex digits, got 'sha'"):
        fetch("http://127.0.0.1", tmp_path / "a.bin", sha256="sha")


def test_the_second_home_serves_where_the_first_does_not(server, tmp_path):
    server.statuses = [403]
    file = PublicFile("a.bin", (server.url, server.url), SHA256, len(CONTENT), "", "")
    assert fetch_public(file, tmp_path).read_bytes() == CONTENT


def test_the_reasons_of_all_homes_are_told(server, tmp_path):
    server.statuses = [403, 404]
    file = PublicFile("a.bin", (server.url, server.url), SHA256, len(CONTENT), "", "")
    with pytest.raises(DownloadError, match="403 Forbidden; .*404 Not Found"):
        fetch_public(file, tmp_path)


def test_public_files_have_a_whole_checksum_and_a_name_of_their_own():
    assert {len(file.sha256) for file in PUBLIC_FILES.values()} == {64}
    # PyTorch puts the first 8 digits into the name.
    alexnet = public_file("alexnet")
    assert alexnet.sha256[:8] in alexnet.name
    with pytest.raises(ValueError, match="one of alexnet, word2vec-google-news"):
        public_file("resnet")
