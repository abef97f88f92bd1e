"""A work unit's failure, as it travels from the machine where it happened."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simprod_tf.engine.base import Unit
from simprod_tf.errors import SimprodError

# What trying again on the same disk does not mend.
_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


@dataclass(frozen=True)
class Failure:
    """What a unit says is wrong: with its input, or with the disk it writes to."""

    message: str

    def error(self) -> SimprodError:
        """Returns it as the error to raise."""
        return SimprodError(self.message)


def caught(work: Callable[[Unit], Any], unit: Unit) -> Any:
    """Returns what `work` returns, or a Failure where running it again is no use."""
    try:
        return work(unit)
    except SimprodError as error:
        return Failure(str(error))
    except OSError as error:
        if error.errno not in _LASTING:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        return Failure(f"{where}{error.strerror}, on {socket.gethostname()}.")
