"""`python -m simprod_tf` is the command `simprod`."""

from __future__ import annotations

from simprod_tf.cli import main

if __name__ == "__main__":
    main()
