"""`python -m runlake sync DIR`."""

import sys

from ._sync import main

if __name__ == "__main__":
    if sys.argv[1:2] == ["sync"]:
        sys.exit(main(sys.argv[2:]))
    print("usage: python -m runlake sync [DIR] [--to URI]", file=sys.stderr)
    sys.exit(2)
