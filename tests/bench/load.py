"""How long a load into Docker Engine takes: everything, one changed layer, nothing. `make bench-load`.

Takes the environment that `make demo` registers, and the engine of DOCKER_HOST or of the current context. Copies of
its image under names of their own are loaded and removed again, so nothing that the engine had before is touched.
"""

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

from envbuild.builder.image import Image, Layer, make_image
from envbuild.builder.layers.layer import tree_digest
from envbuild.builder.publish.docker import Loaded, load_image
from envbuild.builder.publish.engine import Engine, find_engine
from envbuild.builder.report import Silent
from envbuild.builder.store import Store
from envbuild.errors import EnvbuildError
from envbuild.registry.environments import load
from envbuild.settings import load_settings

TURNS = 3


def main() -> None:
    reference = sys.argv[1] if len(sys.argv) > 1 else "pytorch-env"
    home = load_settings().home
    try:
        environment, engine = load(home, reference), find_engine()
    except EnvbuildError as error:
        sys.exit(str(error))
    print(
        f"{environment.reference}, {len(environment.layers)} layers, {engine.product} {engine.version} {engine.storage}"
    )
    with tempfile.TemporaryDirectory(dir=home) as folder:
        store = Store(Path(folder))
        store.trees.mkdir()
        for layer in environment.layers:
            (store.trees / layer.tree).symlink_to(home / "trees" / layer.tree)
        for turn in range(TURNS):
            _turn(turn, environment.layers, store, engine)


def _turn(turn: int, layers: tuple[Layer, ...], store: Store, engine: Engine) -> None:
    """One image that the engine has nothing of, since its first layer is new; then another last layer; then again."""
    bottom, one, two = (_small_layer(store, f"{os.getpid()}-{turn}-{name}") for name in ("bottom", "one", "two"))
    images = [make_image([bottom, *layers, top], "linux-64", 0, {}, {}) for top in (one, two)]
    try:
        for what, image in (("everything", images[0]), ("one changed layer", images[1]), ("nothing", images[1])):
            seconds, done = _timed(image, store, engine)
            print(f"{what:<18} {seconds:7.2f} s  {done.sent_layers:3} layers  {done.sent_bytes / 1e6:8.1f} MB")
    finally:
        for image in images:
            engine.client.images.remove(image.config_digest, force=True)


def _timed(image: Image, store: Store, engine: Engine) -> tuple[float, Loaded]:
    begin = time.perf_counter()
    done = load_image(image, f"envbuild-bench:{hashlib.sha256(image.config).hexdigest()[:12]}", store, engine, Silent())
    return time.perf_counter() - begin, done


def _small_layer(store: Store, name: str) -> Layer:
    (store.trees / name).mkdir()
    (store.trees / name / name).write_text(name)
    diff_id, size = tree_digest(store.trees / name)
    return Layer(diff_id, size, name, name, ())


if __name__ == "__main__":
    main()
