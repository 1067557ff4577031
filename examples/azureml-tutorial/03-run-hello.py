"""Part 2: the smallest script, submitted."""

from azureml.core import Experiment, ScriptRunConfig, Workspace

workspace = Workspace.from_config()
experiment = Experiment(workspace=workspace, name="day1-experiment-hello")
config = ScriptRunConfig(source_directory="./src", script="hello.py", compute_target="cpu-cluster")
run = experiment.submit(config)
print(run.get_portal_url())
run.wait_for_completion(show_output=True)
