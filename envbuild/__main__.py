"""`python -m envbuild` is the `envbuild` command."""

from envbuild.cli import main

if __name__ == "__main__":
    main()
