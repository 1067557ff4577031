"""How much of an image moves when one package is added: the example environment, and the example with pip.

Registers both in the demo's home (needs `make demo` to have run), compares the layers by diffID, and prints the
bytes that somebody who has the first image pulls for the second, uncompressed.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEMO_HOME = ROOT / ".demo" / "home"
EXAMPLE = ROOT / "examples" / "cifar10"
ADDED = "pip"


def main() -> None:
    first_file = EXAMPLE / "pytorch-env.yml"
    with tempfile.TemporaryDirectory() as folder:
        second_file = Path(folder) / "pytorch-env-and-pip.yml"
        text = first_file.read_text().replace("name: pytorch-env", "name: pytorch-env-and-pip")
        second_file.write_text(f"{text.rstrip()}\n  - {ADDED}\n")
        first, second = layers(first_file), layers(second_file)
    moved = {diff_id: layer for diff_id, layer in second.items() if diff_id not in first}
    for layer in moved.values():
        print(f"{layer['size']:>12,}  {layer['title']}")
    total, new = (sum(layer["size"] for layer in each.values()) for each in (second, moved))
    print(f"{new:>12,}  of {total:,} bytes move ({100 * new / total:.1f} %): {len(moved)} of {len(second)} layers")


def layers(file: Path) -> dict[str, dict[str, Any]]:
    """The layers of the environment that `file` describes, by diffID."""
    done = subprocess.run(
        [sys.executable, "-m", "envbuild", "register", file, "--json"],
        cwd=EXAMPLE,
        env={**os.environ, "ENVBUILD_HOME": str(DEMO_HOME)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return {layer["diff_id"]: layer for layer in json.loads(done.stdout)["image"]["layers"]}


if __name__ == "__main__":
    main()
