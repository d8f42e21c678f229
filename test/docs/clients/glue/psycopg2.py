"""What calls the code for psycopg2 in psycopg.md."""

import uuid

from once import *


def types():
    connection = psycopg2.connect(dbname="cms", cursor_factory=psycopg2.extras.NamedTupleCursor)
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM sync_state_begin('types 2')")
    run = cursor.fetchone()
    told = {"uuid": isinstance(run.run_id, str)}
    try:
        cursor.execute("SELECT %s", (uuid.UUID(run.run_id),))
    except psycopg2.ProgrammingError:
        told["UUID"] = "refused"
    psycopg2.extras.register_uuid()
    cursor.execute("SELECT sync_state_checkpoint('types 2', %s, NULL)", (uuid.UUID(run.run_id),))
    try:
        cursor.execute("SELECT * FROM sync_state_begin('types 2')")
    except errors.LockNotAvailable as error:
        told["pgcode"] = error.pgcode
    connection.close()
    return told


calls = {"push_once": push_once, "types": types}
