"""``python -m nasforge``."""

from nasforge.cli.main import main

if __name__ == "__main__":
    main()
