"""The write-ahead log: what was appended is there again; damage is told."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest

from simprod_tf.errors import InputError
from simprod_tf.serving.similar import log_file
from simprod_tf.serving.similar.log_file import LogError, LogHeader
from simprod_tf.serving.similar.write_ahead_log import WriteAheadLog

HEADER = LogHeader(3, "f")


@pytest.fixture
def log(tmp_path):
    with_file = WriteAheadLog(tmp_path / "log")
    with_file.begin(HEADER)
    yield with_file
    with_file.close()


def reopened(log):
    log.close()
    return WriteAheadLog(log.folder)


def payloads(log):
    return [record for _, _, record in log.records()]


def test_records_are_there_again_in_order_with_their_header(log):
    log.append([b"one", b""])
    log.append([b"two"])
    again = reopened(log)
    assert list(again.records()) == [
        (1, HEADER, b"one"),
        (1, HEADER, b""),
        (1, HEADER, b"two"),
    ]
    assert again.num_records == 3
    assert again.num_bytes == (log.folder / "1.log").stat().st_size


def test_an_empty_log_holds_nothing(tmp_path):
    log = WriteAheadLog(tmp_path / "new" / "log")
    assert (payloads(log), log.num_records, log.num_bytes) == ([], 0, 0)


def test_appending_goes_on_after_reopening(log):
    log.append([b"one"])
    again = reopened(log)
    assert again.begin(LogHeader(4, "g")) == 2
    again.append([b"two"])
    third = reopened(again)
    assert [
        (number, header.index_version) for number, header, _ in third.records()
    ] == [
        (1, 3),
        (2, 4),
    ]


def test_an_empty_last_file_is_taken_again(log):
    assert log.begin(HEADER) == 1
    assert log.begin(LogHeader(4, "f")) == 2
    log.append([b"one"])
    assert log.begin(LogHeader(4, "f")) == 3


def test_an_append_before_a_file_is_begun_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="begin a file"):
        WriteAheadLog(tmp_path).append([b"one"])


# A frame of one record of three bytes has 16 + 4 + 3.
@pytest.mark.parametrize("kept", range(1, 23))
def test_an_end_cut_at_any_byte_is_torn_off_and_kept_beside(log, kept):
    log.append([b"one"])
    whole = log.num_bytes
    log.append([b"two"])
    assert log.num_bytes == whole + 23
    log.close()
    path = log.folder / "1.log"
    torn = path.read_bytes()[: whole + kept]
    path.write_bytes(torn)
    assert payloads(WriteAheadLog(log.folder)) == [b"one"]
    assert path.stat().st_size == whole
    assert (log.folder / "1.log.torn").read_bytes() == torn[whole:]


def test_a_last_frame_of_zeros_is_torn(log):
    """A file's length may reach the disk before its content does."""
    log.append([b"one"])
    log.close()
    with open(log.folder / "1.log", "ab") as file:
        file.write(bytes(40))
    assert payloads(WriteAheadLog(log.folder)) == [b"one"]


def test_what_is_appended_after_a_torn_end_is_found(log):
    log.append([b"one"])
    log.close()
    with open(log.folder / "1.log", "ab") as file:
        file.write(b"SPW1\x09")
    again = WriteAheadLog(log.folder)
    assert again.begin(LogHeader(4, "f")) == 2
    again.append([b"two"])
    assert payloads(reopened(again)) == [b"one", b"two"]


def test_a_damaged_byte_anywhere_before_the_last_frame_is_told(log):
    log.append([b"first record"])
    start_of_last = log.num_bytes
    log.append([b"second"])
    log.close()
    path = log.folder / "1.log"
    content = path.read_bytes()
    for at in range(start_of_last):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(InputError, match=r"1\.log: the log is damaged at byte \d+"):
            WriteAheadLog(log.folder)
    path.write_bytes(content)
    assert payloads(WriteAheadLog(log.folder)) == [b"first record", b"second"]


def test_damage_names_the_offset_and_the_way_out(log):
    log.append([b"first record"])
    at = log.num_bytes
    log.append([b"second"])
    log.append([b"third"])
    log.close()
    path = log.folder / "1.log"
    content = bytearray(path.read_bytes())
    content[at + 20] ^= 1
    path.write_bytes(content)
    expected = f"damaged at byte {at} of {len(content)}: .* Put the file back"
    with pytest.raises(InputError, match=expected):
        WriteAheadLog(log.folder)


def test_a_file_before_the_last_one_cannot_be_torn(log):
    log.append([b"one"])
    log.begin(LogHeader(4, "f"))
    log.close()
    path = log.folder / "1.log"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged at byte"):
        WriteAheadLog(log.folder)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "1.log").write_bytes(log_file._frame([b'{"index_version": 1}']))
    with pytest.raises(InputError, match=r"is no log of this simprod_tf \(KeyError"):
        WriteAheadLog(tmp_path)


def test_a_second_process_is_kept_out(log):
    with pytest.raises(InputError, match="another server writes this log"):
        WriteAheadLog(log.folder)


def test_dropping_keeps_the_later_files(log):
    log.append([b"one"])
    log.begin(LogHeader(4, "f"))
    log.append([b"two"])
    last = log.begin(LogHeader(5, "f"))
    log.append([b"three"])
    log.drop_before(last, keep={2})
    assert payloads(reopened(log)) == [b"three"]
    names = sorted(one.name for one in log.folder.iterdir())
    assert names == [".lock", "2.log.left", "3.log"]


def test_the_oldest_file_is_dropped_first(log, monkeypatch):
    for version in (4, 5):
        log.append([b"one"])
        log.begin(LogHeader(version, "f"))
    seen = []
    monkeypatch.setattr(
        "simprod_tf.serving.similar.write_ahead_log.sync_folder",
        lambda folder: seen.append(sorted(one.name for one in folder.glob("*.log"))),
    )
    log.drop_before(3)
    assert seen == [["2.log", "3.log"], ["3.log"]]


def test_a_full_disk_at_the_start_names_the_file(tmp_path):
    (tmp_path / ".1.log").symlink_to("/dev/full")
    log = WriteAheadLog(tmp_path)
    with contextlib.closing(log), pytest.raises(OSError, match=r"No space.*/1\.log'"):
        log.begin(HEADER)


def test_a_full_disk_leaves_the_log_as_it_was_and_usable(log, monkeypatch):
    log.append([b"one"])
    real = log._writer._file

    class Full:
        def write(self, content):
            real.write(content[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name):
            return getattr(real, name)

    log._writer._file = Full()
    with pytest.raises(LogError, match="No space left.*nothing was changed"):
        log.append([b"two"])
    log._writer._file = real
    log.append([b"three"])
    assert payloads(reopened(log)) == [b"one", b"three"]


def test_after_a_failed_sync_nothing_more_is_promised(log, monkeypatch):
    def fail(handle):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(LogError, match="is not known"):
            log.append([b"one"])
    with pytest.raises(LogError, match="until the server is started again"):
        log.append([b"two"])


def test_an_append_syncs_before_it_returns(log, monkeypatch):
    sizes = []
    real = os.fdatasync
    monkeypatch.setattr(
        os,
        "fdatasync",
        lambda handle: (sizes.append(os.fstat(handle).st_size), real(handle)),
    )
    log.append([b"one", b"two"])
    assert sizes == [log.num_bytes]
