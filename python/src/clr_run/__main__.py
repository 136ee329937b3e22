"""`python -m clr_run`: the program `clr-run`."""

import os
import sys

from clr_run.program import find_program

if __name__ == "__main__":
    program = find_program()
    os.execv(program, [program, *sys.argv[1:]])
