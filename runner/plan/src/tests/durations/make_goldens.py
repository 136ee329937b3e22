"""Writes goldens.csv: where multiples of a duration fall, in iterations, by Python's fractions. A line is the number of
training images, the batch size, `last_batch`, a number of epochs, and ceil(k * epochs) in iterations for k = 1 to 6.

    python make_goldens.py
"""

import math
import pathlib
from fractions import Fraction

LINES = []
for images, batch in [
    (5000, 32),
    (50_000, 128),
    (50_000, 100),
    (60_000, 256),
    (1_281_167, 256),
    (45_000, 128),
    (4999, 48),
    (101, 100),
    (97, 7),
    (64, 64),
    (17, 3),
]:
    for last_batch in "wrap", "drop", "keep":
        exact = Fraction(images, batch)
        epoch = {"wrap": exact, "drop": Fraction(math.floor(exact)), "keep": Fraction(math.ceil(exact))}[last_batch]
        for epochs in "1", "30", "8.2", "2.5", "1.001", "3", "100", "1.3333333", "7", "90":
            points = [math.ceil(k * Fraction(epochs) * epoch) for k in range(1, 7)]
            LINES.append(",".join(map(str, [images, batch, last_batch, epochs, *points])) + "\n")

pathlib.Path(__file__).with_name("goldens.csv").write_text("".join(LINES))
