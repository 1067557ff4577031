"""The Python API for control scripts: one noun a file, loaded when it is asked for (`from envbuild import Workspace`).

Everything here is a thin layer over the rooms that the command line uses too; errors are the same sentences, raised as
`EnvbuildError`.
"""
