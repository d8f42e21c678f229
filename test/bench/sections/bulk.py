"""200,000 calls inside one statement, one for each key: `sync_state_update`, `delta`, `get` and
`action` against plpgsql functions of the same meaning on a table of the same columns and indexes with
a plpgsql touch trigger."""

from bench import Cost


def run(bench):
    session = bench.session()
    bench.load(session, "byhand.sql")
    keys = bench.size(200_000)
    session.run("CREATE TABLE keys AS SELECT 'key-' || i AS k, md5(i::text) AS l, md5((i / 2)::text) AS r,"
                " md5((i - i % 3)::text) AS bl, md5((i / 2 - i % 2)::text) AS br"
                f" FROM generate_series(1, {keys}) AS i ORDER BY md5(i::text)")
    for table in ("syncstate.sync_state", "byhand.sync_state"):
        session.run(f"INSERT INTO {table} (type_key, local_hash, remote_hash, last_synced_hash,"
                    " last_synced_remote_hash, last_sync_at, sync_status, conflict_status)"
                    " SELECT k, l, r, bl, br, now(), 'modified', 'none' FROM keys")
    tables = ("keys", "syncstate.sync_state", "byhand.sync_state")
    session.vacuum(*tables)
    number = 0

    def call(function, columns):
        return session.cost(f"SELECT count(f) FROM (SELECT {function}({columns}) AS f FROM keys OFFSET 0) AS s",
                            per=keys)

    def update(function):
        nonlocal number
        number += 1
        state = f'{{"local_hash": "{number}", "sync_status": "modified"}}'
        return call(function, f"k, '{state}'::jsonb")

    costs = bench.compare({
        "ours": lambda: update("sync_state_update"),
        "theirs": lambda: update("byhand.update"),
    }, rounds=7, before=lambda: session.vacuum(*tables))
    bench.ratio("update ÷ plpgsql", costs, "ours", "theirs", "≤ 0.95")
    for name, columns, target in (("delta", "k", "≤ 0.6"), ("get", "k", None), ("action", "l, r, bl, br", "≤ 0.1")):
        costs = bench.compare({
            "ours": lambda: call(f"sync_state_{name}", columns),
            "theirs": lambda: call(f"byhand.{name}", columns),
            "loop": lambda: call("", "l"),
        }, rounds=9)
        bench.ratio(f"{name} ÷ plpgsql", costs, "ours", "theirs", target)
    # Of the shortest call, much is what is around it.
    net = {name: [Cost(cost.cpu - loop.cpu, cost.wall - loop.wall) for cost, loop in zip(costs[name], costs["loop"])]
           for name in ("ours", "theirs")}
    bench.ratio("action ÷ plpgsql, without what the loop around it takes", net, "ours", "theirs")
