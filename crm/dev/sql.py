"""`make sql`: psql on the database of this machine."""

import subprocess
import sys

from crm.core import config
from crm.dev import local


def main(arguments: list[str]) -> int:
    """Run psql with these arguments; return its exit status."""
    settings = config.load()
    program = "psql" if settings.database_url else str(local.psql(settings.local_dir))
    url = settings.database_url or local.postgres_url(settings.local_dir)
    return subprocess.run([program, url.replace("+psycopg", ""), *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
