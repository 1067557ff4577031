"""Make a data set in CIFAR-10's layout out of scikit-learn's handwritten digits, for machines without CIFAR-10.

    python make_data.py [FOLDER]          (default: data/ beside this file)

Needs pip and nothing else: the digits (1797 images of 8 x 8 pixels) are taken out of scikit-learn's wheel without
installing it. Each becomes four images of 32 x 32 pixels in three equal colours, moved a little; the same input gives
the same files. When the folder has a data set already, real or made, nothing is done.
"""

import gzip
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

BATCHES = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
DIGITS = "sklearn/datasets/data/digits.csv.gz"
SIDE, LARGER = 8, 4
VALUES = 3 * (SIDE * LARGER) ** 2
MOVES = [(0, 0), (3, 1), (-2, 3), (-1, -3)]


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent / "data"
    target = folder / "cifar-10-batches-py"
    if (target / "batches.meta").is_file():
        print(f"{target}: the data is there already, nothing to do")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tmp-") as temporary:
        rows = read_digits(download_wheel(Path(temporary)))
        made = Path(temporary) / target.name
        write_batches(rows, made)
        shutil.rmtree(target, ignore_errors=True)  # half a data set, copied by someone and cut short
        made.rename(target)
    print(f"{target}: {len(rows)} images of digits, in CIFAR-10's layout")


def download_wheel(folder: Path) -> Path:
    """Fetch scikit-learn's wheel with the pip of this Python, as it is configured."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, "--dest", str(folder), "scikit-learn"], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        sys.exit(f"pip could not download scikit-learn, whose digits the data is made of:\n{done.stderr.strip()}")
    return wheels[0]


def read_digits(wheel: Path) -> list[tuple[bytes, int]]:
    """(3072 values: the red, green and blue planes; the digit) of each image.

    The four images of one digit stand a multiple of six apart, so that they come into the same batch file.
    """
    with zipfile.ZipFile(wheel) as archive:
        lines = gzip.decompress(archive.read(DIGITS)).decode().split()
    rows = []
    for line in lines:
        *pixels, label = (int(float(field)) for field in line.split(","))
        rows.append((enlarge([min(255, pixel * 16) for pixel in pixels]), label))
    whole = rows[: len(rows) - len(rows) % len(BATCHES)]
    return [(move(plane, right, down) * 3, label) for right, down in MOVES for plane, label in whole]


def move(plane: bytes, right: int, down: int) -> bytes:
    """The plane with its content moved by so many pixels; what comes in is black."""
    side = SIDE * LARGER
    padded = [bytes(side)] * 3 + [plane[row * side : (row + 1) * side] for row in range(side)] + [bytes(side)] * 3
    lines = [bytes(3) + line + bytes(3) for line in padded[3 - down : 3 - down + side]]
    return b"".join(line[3 - right : 3 - right + side] for line in lines)


def enlarge(pixels: list[int]) -> bytes:
    """One plane of 8 x 8 pixels as 32 x 32."""
    out = bytearray()
    for row in range(SIDE):
        line = bytes(pixel for pixel in pixels[row * SIDE : (row + 1) * SIDE] for _ in range(LARGER))
        out += line * LARGER
    return bytes(out)


def write_batches(rows: list[tuple[bytes, int]], folder: Path) -> None:
    """Six files as CIFAR-10's: a dictionary with `data` and `labels`, and `batches.meta` with the names."""
    folder.mkdir()
    for number, name in enumerate(BATCHES):
        part = rows[number :: len(BATCHES)]
        content = {
            b"batch_label": name.encode(),
            b"labels": [label for _, label in part],
            b"data": Array(len(part), b"".join(image for image, _ in part)),
            b"filenames": [b"digit_%04d.png" % (number + len(BATCHES) * each) for each in range(len(part))],
        }
        (folder / name).write_bytes(b"\x80\x02" + opcodes(content) + b".")
    names = [b"%d" % digit for digit in range(10)]
    meta = {b"label_names": names, b"num_cases_per_batch": len(rows) // len(BATCHES), b"num_vis": VALUES}
    (folder / "batches.meta").write_bytes(b"\x80\x02" + opcodes(meta) + b".")


class Array(NamedTuple):
    """Stands for a numpy array of bytes, of shape (rows, 3072)."""

    rows: int
    data: bytes


def opcodes(value: object) -> bytes:
    """The pickle (protocol 2) of `value` as Python 2 wrote it, which is what readers of CIFAR-10 expect.

    Python 3's own pickles have no byte strings of Python 2's kind, and this script has no numpy.
    """
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, Array):
        kind = call("numpy", "dtype", (b"u1", 0, 1)) + opcodes((3, b"|", None, None, None, -1, -1, 0)) + b"b"
        array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + opcodes((0,)) + opcodes(b"b") + b"tR"
        shape = opcodes((value.rows, VALUES))
        return array + b"(" + opcodes(1) + shape + kind + opcodes(0) + opcodes(value.data) + b"tb"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(opcodes, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(opcodes, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(opcodes(key) + opcodes(each) for key, each in value.items()) + b"u"
    return b"N" if value is None else b"J" + struct.pack("<i", value)


def call(module: str, name: str, arguments: tuple) -> bytes:
    return f"c{module}\n{name}\n".encode() + opcodes(arguments) + b"R"


if __name__ == "__main__":
    main()
