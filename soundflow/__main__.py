"""Run the command line as `python -m soundflow`."""

from soundflow.cli.app import main

if __name__ == "__main__":
    main()
