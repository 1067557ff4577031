"""Part 4: the same training, on the uploaded data, with its parameters as arguments."""

from azureml.core import Dataset, Environment, Experiment, ScriptRunConfig, Workspace

if __name__ == "__main__":
    workspace = Workspace.from_config()
    experiment = Experiment(workspace=workspace, name="day1-experiment-data")
    datastore = workspace.get_default_datastore()
    dataset = Dataset.File.from_files(path=(datastore, "datasets/cifar10"))
    config = ScriptRunConfig(
        source_directory="./src",
        script="train.py",
        compute_target="cpu-cluster",
        arguments=[
            "--data_path", dataset.as_named_input("input").as_mount(),
            "--learning_rate", 0.003,
            "--momentum", 0.92,
        ],
    )  # fmt: skip
    environment = Environment.from_conda_specification(name="pytorch-env", file_path="./.azureml/pytorch-env.yml")
    config.run_config.environment = environment
    run = experiment.submit(config)
    print("Submitted. Look at it here:")
    print(run.get_portal_url())
