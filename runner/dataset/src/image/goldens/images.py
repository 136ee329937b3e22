"""Makes images.tar.gz: small images of every kind, and their pixels as Pillow and torchvision have them.

    python3 images.py        (Pillow with libjpeg-turbo, NumPy, torch, torchvision)

For each image NAME there is NAME.raw: height, width and channels as little-endian uint32, then the pixels. Those of
NAME.upright.raw are turned by EXIF's orientation, those of NAME.rR.cC.raw resized to R and cropped to C.
"""

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

files = {}


def raw(name, image):
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    files[name + ".raw"] = struct.pack("<III", height, width, channels) + pixels.tobytes()


def scene(height, width, seed):
    """Gradients, edges and some noise: what images are made of."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for channel in range(3):
        plane = 100 + 60 * np.sin(x / (5 + 3 * channel) + channel) + 50 * np.cos(y / (7 - channel))
        for _ in range(4):
            cy, cx, r = rng.integers(0, height), rng.integers(0, width), rng.integers(4, 14)
            plane = np.where((y - cy) ** 2 + (x - cx) ** 2 < r * r, rng.integers(0, 256), plane)
        planes.append(plane + rng.normal(0, 3, plane.shape))
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))


def save(name, image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    files[name] = out.getvalue()
    return Image.open(io.BytesIO(out.getvalue()))


colour = scene(45, 61, 1)
for name, options in {
    "444": dict(quality=92, subsampling=0),
    "422": dict(quality=85, subsampling=1),
    "420": dict(quality=75, subsampling=2),
    "progressive": dict(quality=80, subsampling=2, progressive=True),
    "restart": dict(quality=80, subsampling=2, restart_marker_blocks=3),
}.items():
    raw(f"{name}.jpg", save(f"{name}.jpg", colour, format="JPEG", **options).convert("RGB"))
raw("grey.jpg", save("grey.jpg", colour.convert("L"), format="JPEG", quality=80))

cmyk = colour.convert("CMYK")
raw("cmyk.jpg", save("cmyk.jpg", cmyk, format="JPEG", quality=90).convert("RGB"))
# The same bytes, said to be YCCK: other colours, which every decoder must find.
adobe = files["cmyk.jpg"].index(b"Adobe") + 11
assert files["cmyk.jpg"][adobe] == 0
files["ycck.jpg"] = files["cmyk.jpg"][:adobe] + b"\2" + files["cmyk.jpg"][adobe + 1 :]
raw("ycck.jpg", Image.open(io.BytesIO(files["ycck.jpg"])).convert("RGB"))

for orientation in range(1, 9):
    name = f"turned{orientation}.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = save(name, colour.crop((0, 0, 7, 5)), format="PNG", exif=exif)
    raw(f"turned{orientation}.png", image)
    raw(f"turned{orientation}.png.upright", ImageOps.exif_transpose(image))
exif = Image.Exif()
exif[0x0112] = 6
exif[0x010F] = "a camera"
turned = save("turned6.jpg", colour, format="JPEG", quality=95, subsampling=0, exif=exif)
raw("turned6.jpg", turned)
raw("turned6.jpg.upright", ImageOps.exif_transpose(turned))

raw("rgb.png", save("rgb.png", colour, format="PNG"))
raw("grey.png", save("grey.png", colour.convert("L"), format="PNG"))
raw("palette.png", save("palette.png", colour.quantize(16), format="PNG").convert("RGB"))
raw("bits.png", save("bits.png", colour.convert("1"), format="PNG").convert("L"))
alpha = colour.convert("RGBA")
alpha.putalpha(colour.convert("L"))
raw("alpha.png", save("alpha.png", alpha, format="PNG").convert("RGB"))
raw("grey_alpha.png", save("grey_alpha.png", alpha.convert("LA"), format="PNG").convert("L"))


def png(name, samples, colour_type):
    """A PNG of 16 bits a sample, which Pillow does not write."""
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    files[name] = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


deep = np.random.default_rng(2).integers(0, 65536, (6, 9, 3))
png("sixteen.png", deep, 2)
raw("sixteen.png", Image.open(io.BytesIO(files["sixteen.png"])).convert("RGB"))
png("sixteen_grey.png", deep[..., 0], 0)
# Pillow reads these as 32-bit integers. The upper 8 of 16 bits are what it takes of coloured ones.
raw("sixteen_grey.png", (deep[..., 0] >> 8).astype(np.uint8))

files["truncated.jpg"] = files["420.jpg"][: len(files["420.jpg"]) * 6 // 10]
files["truncated.png"] = files["rgb.png"][: len(files["rgb.png"]) * 6 // 10]

# Sizes of which some need an odd number of pixels cut off, at each parity of the half.
for height, width in [(45, 61), (61, 45), (40, 47), (50, 41), (33, 39)]:
    name = f"size{height}x{width}.png"
    image = save(name, scene(height, width, height), format="PNG")
    for resize, crop in [(32, 24), (32, 27), (32, 32), (64, 64), (24, None), (None, 30)]:
        steps = []
        if resize:
            steps.append(transforms.Resize(resize, interpolation=InterpolationMode.BILINEAR))
        if crop:
            steps.append(transforms.CenterCrop(crop))
        raw(f"{name}.r{resize or ''}.c{crop or ''}", transforms.Compose(steps)(image))

with tarfile.open(Path(__file__).with_name("images.tar.gz"), "w:gz") as archive:
    for name, data in sorted(files.items()):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
