"""``python -m magflow``."""

from magflow.cli.app import main

if __name__ == "__main__":
    main()
