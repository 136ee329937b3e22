"""Writes pickles.tar.gz: CIFAR-10 batches of two images as Python 3 and NumPy pickle them, in every protocol.

    python3 pickles.py pickles.tar.gz          # NumPy 2.4.6, Python 3.11

Image i has the byte (31 * i + 7 * place) % 251 at each place of its three planes, and the label 3 + i. A name says the
protocol, then what differs from the published files: the type of keys, of labels, and the layout of the images.
"""

import gzip
import io
import pickle
import sys
import tarfile

import numpy as np

PLACES = np.arange(3072)
IMAGES = np.stack([(31 * image + 7 * PLACES) % 251 for image in range(2)]).astype(np.uint8)
LABELS = [3, 4]

TEXT = {"data": "data", "labels": "labels", "batch_label": "batch_label", "filenames": "filenames"}
BYTES = {key: value.encode() for key, value in TEXT.items()}

READ_ONLY = IMAGES.copy()
READ_ONLY.flags.writeable = False

VARIANTS = {
    "text-list": (TEXT, IMAGES, LABELS),
    "bytes-list": (BYTES, IMAGES, LABELS),
    "text-uint8": (TEXT, IMAGES, np.array(LABELS, np.uint8)),
    "bytes-int64": (BYTES, IMAGES, np.array(LABELS, np.int64)),
    "text-bigendian": (TEXT, IMAGES, np.array(LABELS, ">i4")),
    "text-column": (TEXT, IMAGES, np.array(LABELS, np.int16).reshape(2, 1)),
    "text-scalars": (TEXT, IMAGES, [np.int64(label) for label in LABELS]),
    "text-tuple": (TEXT, IMAGES, tuple(LABELS)),
    "text-fortran": (TEXT, np.asfortranarray(IMAGES), LABELS),
    "text-readonly": (TEXT, READ_ONLY, LABELS),
    "text-wide": (TEXT, IMAGES.astype(np.int64), LABELS),
    "text-planes": (TEXT, IMAGES.reshape(2, 3, 32, 32), LABELS),
    "text-pixels": (TEXT, np.ascontiguousarray(IMAGES.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1)), LABELS),
    "text-transposed": (TEXT, IMAGES.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1), LABELS),
}

with open(sys.argv[1], "wb") as out, gzip.GzipFile("", "wb", mtime=0, fileobj=out) as packed:
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for name, (keys, images, labels) in VARIANTS.items():
                value = {
                    keys["batch_label"]: "training batch 1 of 5" if keys is TEXT else b"training batch 1 of 5",
                    keys["labels"]: labels,
                    keys["data"]: images,
                    keys["filenames"]: ["caf\u00e9.png", "b.png"] if keys is TEXT else [b"caf\xe9.png", b"b.png"],
                }
                content = pickle.dumps(value, protocol)
                entry = tarfile.TarInfo(f"{protocol}-{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
