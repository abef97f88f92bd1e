"""`python -m simprod_tf` is the command `simprod`; spark-submit takes this file."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Run by its path, the rooms of the package would be modules of their own.
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    from simprod_tf.cli import main

    main()
