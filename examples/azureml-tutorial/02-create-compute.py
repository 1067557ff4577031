"""Part 1: a cluster to run on, made unless it is there."""

from azureml.core import Workspace
from azureml.core.compute import AmlCompute, ComputeTarget
from azureml.core.compute_target import ComputeTargetException

workspace = Workspace.from_config()
try:
    cluster = ComputeTarget(workspace=workspace, name="cpu-cluster")
    print("found", cluster.name)
except ComputeTargetException:
    plan = AmlCompute.provisioning_configuration(
        vm_size="STANDARD_D2_V2", min_nodes=0, max_nodes=4, idle_seconds_before_scaledown=2400
    )
    cluster = ComputeTarget.create(workspace, "cpu-cluster", plan)
    print("created", cluster.name)
cluster.wait_for_completion(show_output=True)
