#!/usr/bin/env python3
"""CIFAR-10's training statistics by NumPy, for the test of `transforms.rs`. Needs numpy, pyarrow and pillow.

usage: cifar10_statistics.py FOLDER_OF_PARQUET_SHARDS

The sums are integers, so their order does not matter; each number is rounded to float32 once.
"""
import glob
import io
import sys

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

images = []
for path in sorted(glob.glob(f"{sys.argv[1]}/train-*.parquet")):
    for batch in pq.ParquetFile(path).iter_batches(1000, columns=["img"]):
        for image in batch.column("img").to_pylist():
            images.append(np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")))
images = np.stack(images)
pixels = images.reshape(-1, 3).astype(np.int64)
mean_image = (images.sum(0, dtype=np.int64) / len(images)).astype(np.float32).ravel()
np.set_printoptions(precision=10)
print("channel mean", pixels.mean(0).astype(np.float32), pixels.mean(0) / 255)
print("channel deviation", pixels.std(0, dtype=np.float64).astype(np.float32))
print("mean image at 0, 1535 and 3071", mean_image[[0, 1535, 3071]])
