"""`python -P -m codewm.cli`: the same as the `codewm` console script."""

from __future__ import annotations

import sys

from codewm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
