"""Whether the environments that `--nodes` names exist: python -m deploy.local.environments qa staging

For a database that is not new; of a new one it is known beforehand which it will have. Exit code 2 with one line.
"""

from __future__ import annotations

import sys

import psycopg

from config.settings import settings_or_exit
from deploy.local.exit_codes import EXIT_DONE, EXIT_USAGE

_UNKNOWN = """
select array(select asked from unnest(%(asked)s::text[]) asked
              where lower(asked) not in (select lower(name) from environments)),
       array(select name from environments order by position, name)
"""


def main(asked: list[str]) -> int:
    settings = settings_or_exit()
    with psycopg.connect(settings.database_url, connect_timeout=round(settings.database_connect_timeout)) as connection:
        row = connection.execute(_UNKNOWN, {"asked": asked}).fetchone()
    assert row is not None
    unknown, known = row
    if unknown:
        has = f"this stack has {', '.join(known)}"
        print(f"--nodes: there is no environment {', '.join(unknown)}: {has}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
