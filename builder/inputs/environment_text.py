"""A spec in, the text of an `environment.yml` out that reads back as an equal spec: for those that have no file."""

import yaml

from ..spec import EnvironmentSpec


def environment_text(spec: EnvironmentSpec) -> str:
    """The file that asks for what `spec` asks for; constraints need a file of their own and are left out."""
    virtual = [f"{name}={version}" for name, version in spec.virtual_packages]
    dependencies: list[object] = [*virtual, *(dependency.text for dependency in spec.dependencies)]
    if spec.pip:
        dependencies.append({"pip": list(spec.pip)})
    document: dict[str, object] = {
        "name": spec.name,
        "channels": list(spec.channels),
        "dependencies": dependencies,
    }
    if spec.variables:
        document["variables"] = dict(spec.variables)
    return yaml.safe_dump(document, sort_keys=False, width=200)
