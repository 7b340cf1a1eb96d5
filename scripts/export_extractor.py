"""Writes the style and content extractor as a SavedModel, like `tfstyle export extractor`, with the same options.

python scripts/export_extractor.py -o extractor
"""

import sys

from tfstyle.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", "extractor", *sys.argv[1:]]))
