"""Optimizes the image, not a network: the same as `tfstyle stylize`, with the same options.

python scripts/train.py photo.jpg painting.jpg -o result.png
"""

import sys

from tfstyle.cli import main

if __name__ == "__main__":
    sys.exit(main(["stylize", *sys.argv[1:]]))
