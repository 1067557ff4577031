"""Part 4: the data, uploaded to the workspace's own datastore."""

from azureml.core import Workspace

workspace = Workspace.from_config()
datastore = workspace.get_default_datastore()
datastore.upload(src_dir="./data", target_path="datasets/cifar10", overwrite=True)
