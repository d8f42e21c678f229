"""What calls the code of sqlalchemy.md."""

import uuid

from sqlalchemy import func

from sync import *


def refused(write):
    try:
        with Session.begin() as session:
            write(session)
    except TypeError as error:
        return str(error)
    return "taken"


def change(session):
    session.get(SyncState, "types").local_hash = "x"


def delete_it(session):
    session.delete(session.get(SyncState, "types"))


def types():
    told = {}
    with Session.begin() as session:
        run = row(session, "SELECT * FROM sync_state_begin(:key, :lease)", key="types", lease="90 seconds")
        told["uuid"] = str(uuid.UUID(str(run.run_id))) == str(run.run_id)
    with Session.begin() as session:
        session.execute(CHECKPOINT, {"key": "types", "run_id": run.run_id, "progress": {"a": [1]}, "lease": None})
    with Session.begin() as session:
        session.execute(CHECKPOINT, {"key": "types", "run_id": run.run_id, "progress": None, "lease": None})
    with Session.begin() as session:
        state = session.get(SyncState, "types")
        told["model"] = [state.sync_progress, state.sync_status, state.created_at.tzinfo is not None]
        told["cast"] = row(session, "SELECT CAST(:x AS uuid) AS u", x=str(run.run_id)).u is not None
        # Behind the session's back.
        row(session, "SELECT sync_state_observe('types', 'seen')")
        told["loaded"] = state.local_hash
        session.refresh(state)
        told["refreshed"] = state.local_hash
    naive = text("SELECT sync_state_checkpoint(:key, :run_id, :progress)").bindparams(bindparam("progress", type_=JSONB))
    with Session.begin() as session:
        session.execute(naive, {"key": "types", "run_id": run.run_id, "progress": None})
        told["without none_as_null"] = row(session, "SELECT sync_progress::text AS p FROM sync_state_get('types')").p
        told["array"] = row(session, "SELECT sync_state_observe_many(:k, :l, NULL) AS n", k=["t1", "t2"], l=["h", None]).n
    with Session.begin() as session:
        told["func"] = type(session.execute(select(func.sync_state_begin("func"))).scalar()).__name__
    told["parameters of :x::uuid"] = len(text("SELECT :x::uuid").compile().params)
    told["insert"] = refused(lambda session: session.add(SyncState(type_key="new")))
    told["update"] = refused(change)
    told["delete"] = refused(delete_it)
    return told


calls = {"sync": sync, "recover": recover, "follow": lambda: follow(3), "types": types}
