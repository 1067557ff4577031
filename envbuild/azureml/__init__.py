"""Control scripts written for `azureml.core`, run unedited: a clean-room module of its names (docs/python-api.md)."""
