"""``python -m optforge`` is the command ``optforge``."""

from __future__ import annotations

from optforge.cli import main

if __name__ == "__main__":
    main()
