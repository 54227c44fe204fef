"""`python -I -m megabar.acquisition.guard SPECIFICATION`: keep a guard."""

import sys

from .keeper import keep
from .specification import load

if __name__ == "__main__":
    sys.exit(keep(load(sys.argv[1])))
