"""Layer trees merged into one folder of hard links: a root for a bubblewrap that mounts no overlays."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from .. import atomic
from ..layers.unpack_layer import is_opaque, is_whiteout
from .command import RootFilesystem


def merged_folder(root: RootFilesystem, scratch: Path) -> Path:
    """A folder below `scratch` that holds all trees of `root`, hard-linked; made once."""
    key = sha256("\n".join(map(str, root.trees)).encode()).hexdigest()[:16]
    target = scratch / key
    with atomic.key_lock(scratch, key):
        if not target.is_dir():
            with atomic.new_folder(target) as folder:
                merge_trees(root.trees, folder)
    return target


def merge_trees(trees: Sequence[Path], target: Path) -> None:
    """Fill the folder `target` with `trees`, by hard links; of two equal paths the later tree's stays."""
    target.chmod(0o755)
    for tree in trees:
        _merge(str(tree), str(target))


def _merge(tree: str, target: str) -> None:
    with os.scandir(tree) as scan:
        for entry in scan:
            place = os.path.join(target, entry.name)
            if entry.is_dir(follow_symlinks=False):
                if os.path.islink(place) or os.path.isfile(place):
                    os.unlink(place)
                elif is_opaque(entry.path):
                    atomic.remove_tree(Path(place))
                if not os.path.isdir(place):
                    os.mkdir(place)
                _merge(entry.path, place)
                os.chmod(place, entry.stat().st_mode & 0o7777)
                continue
            if os.path.lexists(place):
                if os.path.isdir(place) and not os.path.islink(place):
                    atomic.remove_tree(Path(place))
                else:
                    os.unlink(place)
            if not is_whiteout(entry.stat(follow_symlinks=False)):
                os.link(entry.path, place, follow_symlinks=False)
