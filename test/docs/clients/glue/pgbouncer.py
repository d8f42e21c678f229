"""Clients of psycopg behind PgBouncer, with the setting of pgbouncer.md and without."""

import sync
from pooled import pooled


def many(connect):
    """Two clients, each with statements that it repeats, on two server connections, which they exchange."""
    first, second = connect(), connect()
    try:
        for round in range(3):
            for _ in range(8):
                first.execute("SELECT sync_state_delta(%s)", ("a",)).fetchall()
                second.execute("SELECT sync_state_get(%s)", ("a",)).fetchall()
            with (first, second)[round % 2].transaction():
                (first, second)[round % 2].execute("SELECT 1")
                for _ in range(8):
                    (second, first)[round % 2].execute("SELECT sync_state_list(%s)", ("new",)).fetchall()
    finally:
        first.close()
        second.close()
    return "fine"


def ask():
    connection = pooled()
    return sync.row(connection, "SELECT count(*) AS n FROM sync_state_try_begin('article')").n


calls = {"ask": ask, "pooled": lambda: many(pooled), "plain": lambda: many(sync.connect)}
