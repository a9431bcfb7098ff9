"""``python -m nasforge`` and the command ``nasforge``."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; see `nasforge.cli.main.main`."""
    try:
        # Here, not above: Ctrl-C while the first second's imports run is no error either.
        from nasforge.cli.main import main as command_line

        command_line()
    except KeyboardInterrupt:
        print("Stopped before anything was begun.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
