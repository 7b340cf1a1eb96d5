"""python -m tfstyle → the command line."""

from tfstyle.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
