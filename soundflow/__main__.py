"""`python -m soundflow`: the commands."""

from soundflow.cli.app import main

if __name__ == "__main__":
    main()
