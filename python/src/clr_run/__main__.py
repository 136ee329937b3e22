"""`python -m clr_run`: the program `clr-run`."""

import os
import sys

from clr_run.program import find_program

if __name__ == "__main__":
    program = find_program()
    # A plugin that starts a Python starts this one.
    os.environ.setdefault("CLR_PYTHON", sys.executable)
    os.execv(program, [program, *sys.argv[1:]])
