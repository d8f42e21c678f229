#!/usr/bin/python3
"""The pages of doc/clients, as a reader would use them: their code is taken out, run
against a server, and judged by what the database holds afterwards.

    run.py [PAGE]...        all, or psql, psycopg, node-postgres, sqlalchemy, django, pgbouncer, extractor

script/sandbox gives it a cluster.  Each page begins with a new database `cms`.  What all
workers promise is in scenario.py, and what is particular to a page in page_….py; glue/ has
what calls the page's functions.  A block of a page that nothing runs is a failure,
unless the page says that it is not run.
"""

import sys

import page_django
import page_extractor
import page_node_postgres
import page_pgbouncer
import page_psql
import page_psycopg
import page_sqlalchemy
from harness import checks

PAGES = {
    "extractor": page_extractor,
    "psql": page_psql,
    "psycopg": page_psycopg,
    "node-postgres": page_node_postgres,
    "sqlalchemy": page_sqlalchemy,
    "django": page_django,
    "pgbouncer": page_pgbouncer,
}


def main() -> int:
    for name in sys.argv[1:] or PAGES:
        with checks.part(name):
            PAGES[name].run()
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
