"""Part 1: a workspace, written down in .azureml/config.json."""

from azureml.core import Workspace

workspace = Workspace.create(
    name="tutorial",
    subscription_id="00000000-0000-0000-0000-000000000000",
    resource_group="tutorial-group",
    create_resource_group=True,
    location="westeurope",
)
workspace.write_config(path=".azureml")
print("workspace", workspace.name)
