"""`python -m crm.dev.launch [--reload]`, behind `make run` and `make dev`. Says plainly when a package is missing."""

import sys

try:
    from crm.dev.launcher import main
except ModuleNotFoundError as error:
    sys.exit(
        f"Cannot start: the Python package {str(error.name).split('.')[0]} is missing. Run: rm -rf .venv && make run"
    )

if __name__ == "__main__":
    sys.exit(main(reload="--reload" in sys.argv[1:]))
