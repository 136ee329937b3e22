"""Writes spacing.csv, for the tests in ../spacing.rs: a line is a kind of range, its ends, its count and its values.

    pip install numpy mpmath && python make_goldens.py

`linspace` is NumPy's. `logspace` is first^(1 - t) * last^t of the ends as decimal numbers, by mpmath with 300 bits, and
rounded once; where that is not within a few units in the last place of NumPy's geomspace, this script fails.
Made with numpy 2.4.6 and mpmath 1.3.0.
"""

import pathlib
import random

import mpmath
import numpy

mpmath.mp.prec = 300
random.seed(1)


def nearest(number):
    """mpmath's own conversion to a float rounds once."""
    return float(number)


def geometric(first, last, count):
    a, b = mpmath.mpf(repr(first)), mpmath.mpf(repr(last))
    parts = count - 1
    inner = [nearest(mpmath.exp(((parts - i) * mpmath.log(a) + i * mpmath.log(b)) / parts)) for i in range(1, parts)]
    values = [first, *inner, last]
    assert numpy.allclose(values, numpy.geomspace(first, last, count), rtol=1e-12, atol=0)
    return values


def some(low, high):
    """A number as people write them: of one to five digits, or any."""
    digits = random.choice([1, 1, 2, 2, 3, 5, 17])
    return float(f"{10 ** random.uniform(low, high):.{digits - 1}e}")


lines = []
linear = [(0.1, 0.5, 5), (0, 1, 11), (-1, 1, 21), (0.1, 0.3, 3), (1000, 5000, 5), (0.95, 0.85, 11), (0.001, 0.006, 6)]
linear += [(0.0, 5e-324, 3), (1.0, 1.0, 4), (1e-3, 1e-1, 2), (-1, 1, 99)]
linear += [(some(-6, 2), some(-6, 2), random.choice([2, 3, 4, 5, 7, 10, 11, 21, 50])) for _ in range(150)]
for first, last, count in linear:
    values = numpy.linspace(first, last, count).tolist()
    lines.append(["linspace", first, last, count, *values])

logarithmic = [(10.0**-a, 10.0**-b, n) for a in range(7) for b in range(7) if a != b for n in (2, 4, 7, 10)]
logarithmic = [(float(f"{a:.0e}"), float(f"{b:.0e}"), n) for a, b, n in logarithmic]
logarithmic += [(0.001, 0.008, 4), (0.002, 0.2, 3), (1, 1000, 4), (1, 8, 4), (1e-3, 10.0, 13), (0.001, 0.006, 6)]
logarithmic += [(some(-7, 3), some(-7, 3), random.choice([3, 4, 5, 7, 10, 13, 21])) for _ in range(100)]
logarithmic += [(1e-150, 1e150, 5), (1e-307, 1.0, 9), (1.0, 1.7e308, 5)]
for first, last, count in logarithmic:
    lines.append(["logspace", first, last, count, *geometric(float(first), float(last), count)])

text = "".join(",".join([line[0], *map(repr, line[1:])]) + "\n" for line in lines)
pathlib.Path(__file__).with_name("spacing.csv").write_text(text)
