"""Writes statistics.json, for the tests of ../statistics.rs: Student's distribution and paired tests by SciPy, Holm's
correction by statsmodels.

    pip install scipy statsmodels && python make_goldens.py

Made with scipy 1.17.1 and statsmodels 0.15.0.
"""

import json
import pathlib
import random

import numpy
from scipy import stats
from statsmodels.stats.multitest import multipletests

random.seed(18)
numpy.random.seed(18)

FREEDOMS = [1, 2, 3, 4, 5, 9, 10, 29, 99, 999]
student = [
    [v, t, 2 * float(stats.t.sf(t, v))]
    for v in FREEDOMS
    for t in [0, 1e-6, 0.01, 0.3, 0.7, 1, 1.5, 2, 2.776, 4, 7.5, 12.7, 40, 1000]
]
# Smaller ones are of no use, and below what doubles hold in places.
student = [case for case in student if case[2] > 1e-200]
quantiles = [[v, p, float(stats.t.isf(p / 2, v))] for v in FREEDOMS for p in [0.5, 0.1, 0.05, 0.01, 0.001]]

paired = []
for n in [2, 2, 3, 3, 5, 10, 40]:
    for size in [0.0, 0.01, 0.3]:
        # Accuracies as they are measured: f32, of so many thousand images.
        common = numpy.random.uniform(0.4, 0.9, n)
        images = random.choice([1000, 10_000])
        accuracy = lambda centre: numpy.round(centre * images).astype(numpy.float32) / numpy.float32(images)
        a = accuracy(common + size + numpy.random.normal(0, 0.01, n)).astype(float)
        b = accuracy(common + numpy.random.normal(0, 0.01, n)).astype(float)
        test = stats.ttest_rel(a, b)
        difference = a - b
        interval = stats.t.interval(0.95, n - 1, loc=difference.mean(), scale=stats.sem(difference))
        paired.append(
            {
                "a": a.tolist(),
                "b": b.tolist(),
                "mean": float(difference.mean()),
                "t": float(test.statistic),
                "p": float(test.pvalue),
                "interval": [float(end) for end in interval],
            }
        )

families = [[0.03], [0.01, 0.04], [0.04, 0.01], [0.01, 0.01, 0.01], [0.0, 1.0], [0.02, 0.02, 0.9, 0.03]]
families += [[random.random() ** 4 for _ in range(count)] for count in [3, 5, 8, 20]]
holm = [{"p": family, "corrected": multipletests(family, method="holm")[1].tolist()} for family in families]

text = json.dumps({"student": student, "quantiles": quantiles, "paired": paired, "holm": holm})
text = text.replace("[[", "[\n[").replace("], [", "],\n[").replace("}, {", "},\n{").replace('"', '"') + "\n"
pathlib.Path(__file__).with_name("statistics.json").write_text(text)
