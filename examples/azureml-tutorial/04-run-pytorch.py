"""Part 3: training in an environment that a conda file describes; train.py downloads CIFAR-10."""

from azureml.core import Environment, Experiment, ScriptRunConfig, Workspace

if __name__ == "__main__":
    workspace = Workspace.from_config()
    experiment = Experiment(workspace=workspace, name="day1-experiment-train")
    config = ScriptRunConfig(source_directory="./src", script="train.py", compute_target="cpu-cluster")
    environment = Environment.from_conda_specification(name="pytorch-env", file_path="./.azureml/pytorch-env.yml")
    config.run_config.environment = environment
    run = experiment.submit(config)
    print(run.get_portal_url())
