# Tracking where one session is not enough: prepared transactions, crashes and
# restarts, what cannot run in a transaction block, logical replication, dump and
# restore, standbys.  Always: what a delta tells is what the rows are; and the
# rows were not read for it, or the reason for that is known.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub new_node
{
	my ($name, @init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(@init);
	$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
	  if $ENV{SYNCSTATE_CONF};
	$node->append_conf('postgresql.conf', "max_prepared_transactions = 5\nautovacuum = off");
	return $node;
}

# "rows tracked" or "rows read"; WRONG if what is told is not what is there.
sub told
{
	my ($node, $db, $key) = @_;

	$key //= 'content';
	return $node->safe_psql(
		$db // 'postgres', qq{
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT local::text AS content, pg_stat_get_xact_numscans(local) AS before FROM syncstate.sync_source WHERE type_key = '$key' \\gset
SELECT coalesce(sync_state_delta('$key')->>'local_hash', repeat('0', 32) || ':0') AS told \\gset
SELECT pg_stat_get_xact_numscans(:'content'::regclass) = :before AS tracked \\gset
SELECT CASE WHEN sync_digest(id, title) = :'told' THEN count(*) || CASE WHEN :'tracked' THEN ' tracked' ELSE ' read' END
       ELSE 'WRONG: ' || :'told' || ' is ' || sync_digest(id, title) END FROM :content;
COMMIT;});
}

sub valid
{
	my ($node, $db) = @_;

	return $node->safe_psql($db // 'postgres',
		q{SELECT CASE WHEN v->>'tracked' IS NULL THEN 'did not count' ELSE v->>'valid' END FROM sync_source_verify('content') v});
}

my $content = q{
CREATE EXTENSION syncstate;
CREATE TABLE content (id int PRIMARY KEY, title text);
INSERT INTO content SELECT i, 'title ' || i FROM generate_series(1, 100) i;
SELECT FROM sync_source_attach('content', 'content');
SELECT sync_source_track('content');
};

my $node = new_node('main', allows_streaming => 'logical');
$node->start;
$node->safe_psql('postgres', $content);
is(told($node), '100 tracked', 'tracked');

# ---------------------------------------------------------------- transactions

$node->safe_psql(
	'postgres', q{
BEGIN; INSERT INTO content VALUES (101, 'prepared'), (102, 'prepared');
SAVEPOINT a; DELETE FROM content WHERE id < 10; ROLLBACK TO a;
SAVEPOINT b; UPDATE content SET title = 'prepared' WHERE id = 50; RELEASE b;
PREPARE TRANSACTION 'one';
BEGIN; DELETE FROM content WHERE id = 99; PREPARE TRANSACTION 'two';
BEGIN; DELETE FROM content WHERE id > 60 AND id < 70; PREPARE TRANSACTION 'three';
});
is(told($node), '100 tracked', 'prepared transactions: not yet');
$node->safe_psql('postgres', q{COMMIT PREPARED 'two'});
is(told($node), '99 tracked', '... one is committed');
$node->restart;
is(told($node), '99 tracked', '... a restart in between');
is(valid($node), 'true', '... and verified, beside open ones');
$node->safe_psql('postgres', q{COMMIT PREPARED 'one'; ROLLBACK PREPARED 'three'});
is(told($node), '101 tracked', '... one committed, one rolled back after it');
is(valid($node), 'true', '... and right');

my $open = $node->background_psql('postgres', on_error_stop => 0);
$open->query_safe('BEGIN');
$open->query_safe(q{INSERT INTO content VALUES (1000, 'lost')});
$node->safe_psql('postgres', q{UPDATE content SET title = 'before the crash' WHERE id = 1;
BEGIN; UPDATE content SET title = 'prepared before the crash' WHERE id = 2; PREPARE TRANSACTION 'four'});
$node->stop('immediate');
eval { $open->quit };
$node->start;
is(told($node), '101 tracked', 'a crash: what was committed counts');
$node->safe_psql('postgres', q{COMMIT PREPARED 'four'});
is(told($node), '101 tracked', '... and what was prepared');
is(valid($node), 'true', '... and that is right');

# A savepoint and an error in a transaction that goes on; a pooled session whose trackers are from before.
my $pooled = $node->background_psql('postgres', on_error_stop => 0);
$pooled->query_safe(q{UPDATE content SET title = 'pooled' WHERE id = 3});
$node->safe_psql('postgres', q{SELECT sync_source_untrack('content'); SELECT FROM sync_source_attach('content', 'content', columns => '{id,title}');
SELECT sync_source_track('content')});
$pooled->query_safe(q{UPDATE content SET title = 'pooled again' WHERE id = 3});
is(told($node), '101 tracked', 'a session that knew the source by another attachment');
is(valid($node), 'true', '... counts for the new one');

# --------------------------------------------------- not in a transaction block

for my $command ('VACUUM', 'VACUUM FULL content', 'VACUUM FULL pg_class', 'VACUUM FREEZE content',
	'CLUSTER content USING content_pkey', 'REINDEX TABLE CONCURRENTLY content',
	'CREATE INDEX CONCURRENTLY ON content (title)', 'VACUUM ANALYZE syncstate.sync_tracking_delta')
{
	$node->safe_psql('postgres', $command);
	is(told($node), '101 tracked', $command);
}

$node->safe_psql('postgres', 'CREATE INDEX unwanted ON syncstate.sync_tracking_delta (source_id)');
my ($status, $stdout, $stderr) = $node->psql('postgres', q{INSERT INTO content VALUES (200, 'x')});
like($stderr, qr/syncstate.sync_tracking_delta must not have an index/, 'an index on the table of deltas is named');
is(told($node), '101 tracked', '... nothing was written');
$node->safe_psql('postgres', q{DROP INDEX syncstate.unwanted; INSERT INTO content VALUES (200, 'x')});
is(told($node), '102 tracked', '... and all is well without it');

# A session writes all its deltas from one tuple: before somebody adds a column to their table, after that, and when it is gone.
my $writer = $node->background_psql('postgres', on_error_stop => 0);
$writer->query_safe(q{UPDATE content SET title = 'before the column' WHERE id = 4});
$node->safe_psql('postgres', q{ALTER TABLE syncstate.sync_tracking_delta ADD note text NOT NULL DEFAULT 'mine'});
$writer->query_safe(q{UPDATE content SET title = 'with the column' WHERE id = 4; DELETE FROM content WHERE id = 200});
is(told($node), '101 tracked', 'a column that somebody added to the table of deltas');
is(valid($node), 'true', '... counts for nothing');
is($node->safe_psql('postgres', q{SELECT DISTINCT note FROM syncstate.sync_tracking_delta}), 'mine', '... and is in new deltas what it is in old ones');
$node->safe_psql('postgres', q{ALTER TABLE syncstate.sync_tracking_delta DROP note});
$writer->query_safe(q{INSERT INTO content VALUES (200, 'x')});
is(told($node), '102 tracked', '... until it is dropped');
is(valid($node), 'true', '... and then');
$writer->quit;

# Rolled back and dropped.
$node->safe_psql('postgres', q{CREATE DATABASE dropped});
$node->safe_psql('dropped', $content);
my $deltas = 'SELECT count(*) FROM syncstate.sync_tracking_delta';
my $before = $node->safe_psql('dropped', $deltas);
$node->safe_psql('dropped', q{BEGIN; UPDATE content SET title = 'x'; ROLLBACK});
$node->psql('dropped', q{BEGIN; DELETE FROM content; SELECT 1/0; COMMIT}, on_error_stop => 0);
is($node->safe_psql('dropped', $deltas), $before, 'ROLLBACK leaves nothing');
is(told($node, 'dropped'), '100 tracked', '... and changes nothing');
$node->safe_psql('dropped', q{BEGIN; UPDATE content SET title = 'x'; DROP EXTENSION syncstate CASCADE; COMMIT});
is($node->safe_psql('dropped', q{SELECT count(*) FROM content WHERE title = 'x'}), '100', 'DROP EXTENSION with changes that are pending commits');
is($node->safe_psql('dropped', q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~syncstate%'}), '0', '... and leaves no trigger');
$node->safe_psql('dropped', q{UPDATE content SET title = 'y'});

# A partition that is being detached, while others look on.
$node->safe_psql(
	'postgres', q{
CREATE TABLE parted (id int, title text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE high PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted SELECT i, i FROM generate_series(0, 199) i;
SELECT FROM sync_source_attach('parted', 'parted');
SELECT sync_source_track('parted');
});
my $direct = $node->background_psql('postgres', on_error_stop => 0);
$direct->query_safe(q{UPDATE high SET title = 'direct' WHERE id = 150});
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query_safe('BEGIN');
$reader->query_safe('SELECT count(*) FROM parted');
$node->psql('postgres', q{SET lock_timeout = '100 ms'; ALTER TABLE parted DETACH PARTITION high CONCURRENTLY});
is($node->safe_psql('postgres', q{SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'high'::regclass}), 't', 'a partition is being detached');
$node->psql('postgres', q{SET statement_timeout = '10 s'; SELECT sync_source_verify('parted')}, stderr => \$stderr);
like($stderr, qr/cannot be tracked as it is/, '... meanwhile it is not verified');
$reader->query_safe('COMMIT');
$direct->query_safe(q{UPDATE high SET title = 'direct again' WHERE id = 150});
my $parted = q{SELECT coalesce(sync_state_delta('parted')->>'local_hash', repeat('0', 32) || ':0') = (SELECT sync_digest(id, title) FROM parted)};
is($node->safe_psql('postgres', $parted), 't', '... nor told wrongly');
$node->safe_psql('postgres', 'ALTER TABLE parted DETACH PARTITION high FINALIZE');
is($node->safe_psql('postgres', $parted), 't', '... nor once it is');
$node->safe_psql('postgres', q{SELECT sync_source_verify('parted')});
$direct->query_safe(q{UPDATE high SET title = 'not ours' WHERE id = 150});
is($node->safe_psql('postgres', $parted), 't', '... nor when it is verified without that one');
$_->quit for ($direct, $reader, $pooled);

# ------------------------------------------------------------ dump and restore

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
my $data = PostgreSQL::Test::Utils::tempdir() . '/data';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], '... is restored');
is(told($node, 'restored'), '102 read', 'what was restored does not count');
is($node->safe_psql('restored', $deltas), '0', '... there are no deltas of another database');
$node->safe_psql('restored', q{UPDATE content SET title = 'restored' WHERE id = 4});
is(valid($node, 'restored'), 'did not count', '... until verified');
is(told($node, 'restored'), '102 tracked', '... from then on');
is($node->safe_psql('restored', q{SELECT array_agg(DISTINCT tgenabled) FROM pg_trigger WHERE tgname LIKE '~syncstate%'}), '{A}', 'the triggers fire always');

# The data only, past all triggers, into what is tracked, while a session is there that knew no source.
$node->command_ok([ 'pg_dump', '-Fc', '--data-only', '-t', 'content', '-f', $data, $node->connstr('postgres') ], 'a dump of data');
$node->safe_psql('restored', 'DELETE FROM content');
is(told($node, 'restored'), '0 tracked', 'nothing is left');
$node->command_ok([ 'pg_restore', '--disable-triggers', '-d', $node->connstr('restored'), $data ], '... restored with triggers disabled');
is(told($node, 'restored'), '102 read', '... which does not count');
is(valid($node, 'restored'), 'did not count', '... until verified');
is(told($node, 'restored'), '102 tracked', '... as before');

my $early = $node->background_psql('restored', on_error_stop => 0);
$node->safe_psql('restored', q{CREATE TABLE kept AS SELECT * FROM syncstate.sync_source; DELETE FROM syncstate.sync_source; DELETE FROM syncstate.sync_tracking});
$early->query_safe(q{UPDATE content SET title = 'no source yet' WHERE id = 5});
$node->safe_psql('restored', q{INSERT INTO syncstate.sync_source SELECT * FROM kept});
is(valid($node, 'restored'), 'did not count', 'a source that comes after its triggers');
$early->query_safe(q{UPDATE content SET title = 'it is there' WHERE id = 5});
is(told($node, 'restored'), '102 tracked', '... is noticed by sessions that knew none');
$early->quit;

# ----------------------------------------------- with the queue and without it

# How a statement is tracked: EXPLAIN ANALYZE names our trigger if its rows went through the queue.
sub way
{
	my (@statements) = @_;
	my $last = pop @statements;
	my $plan = $node->safe_psql('ways', join(';', @statements, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $last"));

	return $plan =~ /^Trigger ~syncstate_track_\w+.*: calls=\d+$/m ? 'queued' : 'at once';
}

my @statements = (
	[q{INSERT INTO content SELECT i, repeat('long ' || i, 10000) FROM generate_series(101, 110) i}, 110],
	[q{INSERT INTO content VALUES (100, 'there'), (111, 'new') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title}, 111],
	[q{UPDATE content SET title = title || '!' WHERE id % 3 = 0}, 111],
	[q{UPDATE content SET title = NULL, id = id + 200 WHERE id > 105}, 111],
	[q{UPDATE content c SET title = o.title FROM content o WHERE o.id = c.id + 1}, 111],
	[q{MERGE INTO content c USING (VALUES (1, 'merged'), (2, NULL), (120, 'in')) v(id, title) ON v.id = c.id
WHEN MATCHED AND v.title IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET title = v.title
WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.title)}, 111],
	[q{WITH gone AS (DELETE FROM content WHERE id BETWEEN 306 AND 308 RETURNING id) UPDATE content SET title = 'x' WHERE id IN (SELECT id - 300 FROM gone)}, 108],
	[q{DELETE FROM content WHERE id > 100}, 99],
	[q{INSERT INTO content VALUES (2, 'back')}, 100]);
my $load = 'SELECT sync_state_version()';

$node->safe_psql('postgres', 'CREATE DATABASE ways');
$node->safe_psql('ways', $content);
for my $case (['queued'], ['at once', $load])
{
	my ($way, @before) = @$case;

	for my $statement (@statements)
	{
		my ($sql, $rows) = @$statement;

		is(way(@before, $sql), $way, "$way: $sql");
		is(told($node, 'ways'), "$rows tracked", '... is tracked');
	}
	is(valid($node, 'ways'), 'true', "$way: all of it is right");
}
is(way($statements[2][0], $statements[2][0]), 'at once', 'the trigger loads the library for the next statement');
{
	local $ENV{PGOPTIONS} = '-c session_preload_libraries=syncstate';
	is(way($statements[2][0]), 'at once', 'a session that has it from the beginning');
}
(undef, undef, $stderr) = $node->psql('ways', "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET client_min_messages = log; $load; $statements[2][0]");
like($stderr, qr/Update on content/, 'who has hooked the start of statements before is still told');
$node->safe_psql('ways', q{CREATE TABLE watched (id int);
CREATE FUNCTION nested() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM count(*) FROM content; RETURN NULL; END $$;
CREATE TRIGGER nested AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION nested()});
(undef, undef, $stderr) = $node->psql('ways', "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET client_min_messages = log; $load; INSERT INTO watched VALUES (1)");
like($stderr, qr/Insert on watched/, '... and who has hooked their end');
unlike($stderr, qr/Scan.* on content/, '... which is how it knows what triggers do then from what the client asks for');

for my $case (['BEFORE UPDATE ON content FOR EACH ROW', $statements[2][0]], ['AFTER UPDATE ON content FOR EACH STATEMENT', $statements[2][0]],
	['AFTER INSERT ON content FOR EACH STATEMENT', $statements[0][0]])
{
	my ($when, $statement) = @$case;

	(undef, undef, $stderr) = $node->psql('ways', "$load; BEGIN; $statement; ROLLBACK; BEGIN; CREATE TRIGGER \"~syncstate_track_other\" $when EXECUTE FUNCTION syncstate.track('content'); $statement");
	like($stderr, qr/function "syncstate.track" was not called by its trigger/, "$when: an error, as through the queue");
}
$node->safe_psql('ways', q{SELECT FROM sync_source_attach('title', 'content', columns => '{title}', key_columns => '{title}'); SELECT sync_source_track('title')});
is(way($load, $statements[2][0]), 'at once', 'two sources of a table: both at once');
is($node->safe_psql('ways', q{SELECT sync_source_verify(k)->>'valid' FROM unnest('{content,title}'::text[]) k}), "true\ntrue", '... and both right');
$node->safe_psql('ways', q{SELECT sync_source_detach('title')});

# Who runs a statement may want no more than the first of the rows that it returns; then it ends half way.
SKIP:
{
	skip 'a server without PL/Perl', 2
	  if $node->safe_psql('ways', q{SELECT count(*) FROM pg_available_extensions WHERE name = 'plperl'}) eq '0';
	$node->safe_psql('ways', q{CREATE EXTENSION IF NOT EXISTS plperl});
	is($node->safe_psql('ways', "$load; DO LANGUAGE plperl \$\$ spi_exec_query(q{UPDATE content SET title = 'returned' RETURNING id}, 3) \$\$; SELECT count(*) FROM content WHERE title = 'returned'") =~ s/.*\n//sr,
		'3', 'an UPDATE of which three rows are wanted');
	is(told($node, 'ways'), '100 tracked', '... is tracked');
}

my $noted = $node->safe_psql('ways', $deltas);
$node->safe_psql('ways', "$load; ALTER TABLE content DISABLE TRIGGER USER; $statements[2][0]; DELETE FROM content WHERE id = 3; INSERT INTO content VALUES (3, 'unnoticed')");
is($node->safe_psql('ways', $deltas), $noted, 'triggers that are disabled have nothing to do, at once neither');
$node->safe_psql('ways', q{DO $$ DECLARE t record; BEGIN FOR t IN SELECT * FROM pg_trigger WHERE tgrelid = 'content'::regclass LOOP
EXECUTE format('ALTER TABLE content ENABLE ALWAYS TRIGGER %I', t.tgname); END LOOP; END $$});
is(valid($node, 'ways'), 'did not count', '... and do not count until verified');

$node->safe_psql('ways', q{
CREATE TABLE parted (id int, title text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE high PARTITION OF parted FOR VALUES FROM (100) TO (200);
SELECT FROM sync_source_attach('parted', 'parted');
SELECT sync_source_track('parted');
});
is(way($load, q{INSERT INTO parted SELECT i, i FROM generate_series(0, 199) i}), 'queued', 'partitions that the executor finds while it runs: queued');
is(way($load, q{UPDATE parted SET title = 'x' WHERE id % 2 = 0}), 'at once', '... that it knows of: at once');
is(way($load, q{UPDATE parted SET id = 199 - id WHERE id % 10 = 0}), 'at once', '... from one to another, too');
is(way($load, q{DELETE FROM low WHERE id < 20}), 'at once', '... one alone: at once');
is(told($node, 'ways', 'parted'), '180 tracked', '... none is missed');

is(way($load, 'ALTER FUNCTION syncstate.track() SET work_mem = 100', $statements[2][0]), 'queued', 'a trigger function that is no longer ours alone is called');
is(way($load, $statements[2][0], 'ALTER FUNCTION syncstate.track() RESET ALL', $statements[2][0]), 'at once', '... until it is again');
is(way($load, $statements[2][0], 'ALTER FUNCTION syncstate.track() SET work_mem = 100', $statements[2][0]), 'queued', '... also once it was known');
$node->safe_psql('ways', 'ALTER FUNCTION syncstate.track() RESET ALL');
is(told($node, 'ways'), '100 tracked', '... and all that is tracked');

my $name = $node->safe_psql('ways', q{SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = 'content'::regclass AND tgname LIKE '~syncstate_track_%' AND tgtype & 1 = 1});
$node->safe_psql('ways', qq{DROP TRIGGER $name ON content;
CREATE TRIGGER $name AFTER INSERT OR UPDATE OR DELETE ON content FOR EACH ROW WHEN (true) EXECUTE FUNCTION syncstate.track('content')});
is(way($load, $statements[2][0]), 'queued', 'a trigger that somebody has given a condition is asked it');
is(told($node, 'ways'), '100 read', '... and does not count');

# --------------------------------------------------------- logical replication

$node->safe_psql('postgres', 'CREATE DATABASE publisher');
$node->safe_psql('publisher', q{CREATE TABLE content (id int PRIMARY KEY, title text); INSERT INTO content SELECT i, 'title ' || i FROM generate_series(1, 50) i;
CREATE PUBLICATION p FOR TABLE content; SELECT pg_create_logical_replication_slot('s', 'pgoutput')});
$node->safe_psql('postgres', 'CREATE DATABASE subscriber');
$node->safe_psql('subscriber', $content . 'DELETE FROM content;');
$node->safe_psql('subscriber', "CREATE SUBSCRIPTION s CONNECTION 'host=" . $node->host . ' port=' . $node->port . " dbname=publisher' PUBLICATION p WITH (create_slot = false)");

# The publisher is in the same cluster, so wait for the apply worker's own reports.
sub wait_for_apply
{
	my $lsn = $node->safe_psql('publisher', 'SELECT pg_current_wal_lsn()');

	$node->poll_query_until('subscriber', q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')}) or die 'no initial copy';
	$node->poll_query_until('postgres', qq{SELECT coalesce(bool_and(confirmed_flush_lsn >= '$lsn'), false) FROM pg_replication_slots WHERE slot_name = 's'}) or die 'not applied';
}

wait_for_apply();
is(told($node, 'subscriber'), '50 tracked', 'the initial copy of a subscription');
$node->safe_psql('publisher', q{INSERT INTO content VALUES (51, 'applied'), (52, 'applied'); UPDATE content SET title = 'applied' WHERE id < 5; UPDATE content SET id = 60 WHERE id = 6;
BEGIN; DELETE FROM content WHERE id BETWEEN 20 AND 29; SAVEPOINT a; DELETE FROM content; ROLLBACK TO a; COMMIT});
wait_for_apply();
is(told($node, 'subscriber'), '42 tracked', '... what is applied');
$node->safe_psql('publisher', q{TRUNCATE content; INSERT INTO content VALUES (1, 'after')});
wait_for_apply();
is(told($node, 'subscriber'), '1 tracked', '... TRUNCATE');
is(valid($node, 'subscriber'), 'true', '... all of it right');
$node->safe_psql('subscriber', 'DROP SUBSCRIPTION s');

# ------------------------------------------------------------------- a standby

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "shared_preload_libraries = 'syncstate'");
$standby->start;
$node->safe_psql('postgres', q{UPDATE content SET title = 'streamed' WHERE id < 20; BEGIN; DELETE FROM content WHERE id = 100; PREPARE TRANSACTION 'five'});
$node->wait_for_catchup($standby);
is(told($standby), '102 tracked', 'a standby');
$node->safe_psql('postgres', q{COMMIT PREPARED 'five'; SELECT sync_state_prune('0'); ALTER TABLE content ADD passing int});
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT coalesce(sync_state_delta('content')->>'local_hash', repeat('0', 32) || ':0') = (SELECT sync_digest(id, title) FROM content)}), 't', '... what was folded');
$node->safe_psql('postgres', q{ALTER TABLE content DROP passing});
is(valid($node), 'true', 'columns that the source does not have did not matter');
$node->safe_psql('postgres', q{BEGIN; ALTER TABLE content DISABLE TRIGGER ALL; UPDATE content SET title = 'unnoticed' WHERE id = 7; ALTER TABLE content ENABLE TRIGGER ALL; COMMIT});
$node->wait_for_catchup($standby);
is(told($standby), '101 read', '... what went past the triggers there');
is(valid($node), 'did not count', '... until verified there');
$node->wait_for_catchup($standby);
is(told($standby), '101 tracked', '... here too');
my ($rc, $out, $err) = $standby->psql('postgres', q{SELECT sync_source_verify('content')});
like($err, qr/cannot execute sync_source_verify\(\) in a read-only transaction/, 'a standby cannot verify');
$node->stop;
$standby->promote;
is(told($standby), '101 tracked', 'promoted, it still counts');
$standby->safe_psql('postgres', q{UPDATE content SET title = 'promoted' WHERE id < 20; DELETE FROM content WHERE id = 50});
is(told($standby), '100 tracked', '... on');
is(valid($standby), 'true', '... and right');
$standby->stop;

done_testing();
