"""What calls the code of django.md."""

import os
import uuid

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.db import close_old_connections

from cms.sync import *


def new_connection_if_broken(call):
    """As between two requests, or two rounds of the worker."""
    def wrapped(*arguments):
        close_old_connections()
        return call(*arguments)
    return wrapped


def refused(write):
    try:
        write()
    except (TypeError, RuntimeError) as error:
        return str(error)
    return "taken"


def nested():
    with atomic():
        begin("nested")


def types():
    told = {}
    run = row("SELECT * FROM sync_state_begin(%s, %s)", "types", "90 seconds")
    told["uuid"] = isinstance(run.run_id, uuid.UUID)
    row("SELECT sync_state_checkpoint(%s, %s, %s)", "types", str(run.run_id), json.dumps([1, 2]))
    row("SELECT sync_state_checkpoint(%s, %s, %s)", "types", run.run_id, None)
    told["cursor"] = row("SELECT * FROM sync_state_get('types')").sync_progress
    state = SyncState.objects.get(type_key="types")
    told["model"] = state.sync_progress
    told["zone"] = state.updated_at.tzinfo is not None
    told["microseconds"] = row("SELECT updated_at = %s FROM sync_state_get('types')", state.updated_at)[0]
    told["array"] = row("SELECT sync_state_observe_many(%s, %s, NULL)", ["t1", "t2"], ["h", None])[0]
    told["filter"] = SyncState.objects.filter(type_key__startswith="t", sync_status="syncing").count()
    told["save"] = refused(state.save)
    told["delete"] = refused(state.delete)
    told["nested"] = refused(nested)
    return told


calls = {name: new_connection_if_broken(call) for name, call in {
    "sync": sync, "recover": recover, "follow": lambda: follow(3), "types": types,
    "iterate": lambda: sum(1 for _ in Article.objects.order_by("id").iterator(chunk_size=100)),
}.items()}
