# The change feed and prepared transactions, restarts and crashes.
#
# A prepared transaction is one that stays open, across restarts too: it holds
# back nothing that others commit, and what it wrote is told once it is
# committed.  A cursor that was handed out holds after a crash.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
# What is committed asynchronously stays in memory until somebody flushes it.
$node->append_conf(
	'postgresql.conf', q{
max_prepared_transactions = 10
wal_writer_delay = 10s
});
$node->start;

# A reader's copy and its cursor, moved in one transaction; what a page brought,
# as key=hash, or -key for a deletion.
$node->safe_psql(
	'postgres', q{
CREATE EXTENSION syncstate;
CREATE TABLE reader (cursor text);
CREATE TABLE copy (type_key text PRIMARY KEY, hash text);
CREATE FUNCTION follow(max_rows int DEFAULT 1000) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	change syncstate.sync_change;
	position text;
	told text;
BEGIN
	SELECT r.cursor INTO position FROM reader r;
	FOR change IN SELECT * FROM sync_state_changes(position, max_rows) LOOP
		IF change.deleted THEN
			DELETE FROM copy c WHERE c.type_key = change.type_key;
			told := concat_ws(' ', told, '-' || change.type_key);
		ELSE
			INSERT INTO copy VALUES (change.type_key, change.local_hash)
			ON CONFLICT (type_key) DO UPDATE SET hash = EXCLUDED.hash;
			told := concat_ws(' ', told, change.type_key || '=' || change.local_hash);
		END IF;
		position := change.cursor;
	END LOOP;
	UPDATE reader SET cursor = position;
	RETURN told;
END $$;
CREATE VIEW wrong AS
SELECT coalesce(s.type_key, c.type_key) AS type_key, s.local_hash AS is, c.hash AS copy
  FROM syncstate.sync_state s FULL JOIN copy c ON c.type_key = s.type_key
 WHERE s.type_key IS NULL OR c.type_key IS NULL OR s.local_hash IS DISTINCT FROM c.hash;
INSERT INTO reader SELECT sync_state_cursor();
});

sub run
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', $sql);
}

sub observe
{
	my ($key, $hash) = @_;

	return run("SELECT FROM sync_state_observe('$key', '$hash')");
}

sub told
{
	my ($expected, $name, $max_rows) = @_;

	return is(run('SELECT follow(' . ($max_rows // '') . ')'), $expected, $name);
}

sub sqlstate
{
	my ($sql) = @_;
	my $stderr;

	$node->psql('postgres', $sql, stderr => \$stderr,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

# ---------------------------------------------------------------------------
# Open across restarts
# ---------------------------------------------------------------------------
observe('gone', 'g1');
observe('back', 'b1');
told('gone=g1 back=b1', 'before');
run(q{
BEGIN;
SELECT sync_state_observe('top', 't1');
SAVEPOINT s;
SELECT sync_state_observe('sub', 's1');
RELEASE s;
PREPARE TRANSACTION 'writes';
BEGIN;
SELECT sync_state_forget('gone');
PREPARE TRANSACTION 'deletes';
BEGIN;
SELECT sync_state_observe('back', 'b2'), sync_state_observe('never', 'n1');
PREPARE TRANSACTION 'rolled back';
});
observe('other', 'o1');
told('other=o1', 'what others commit is told at once');
told('', 'what is prepared is not');

my $n = 1;
for my $how (qw(fast immediate))
{
	my $cursor = run('SELECT cursor FROM reader');

	$node->stop($how);
	$node->start;
	is(run('SELECT cursor FROM reader'), $cursor, "$how restart: the cursor");
	told('', "$how restart: nothing new");
	$n++;
	observe('other', "o$n");
	told("other=o$n", "$how restart: others go on");
	is(run("SELECT count(*) FROM sync_state_changes() WHERE type_key IN ('top', 'sub', 'never')"),
		'0', "$how restart: nor is it told to who starts from nothing");
}

# One who takes the position now, while they are prepared.
my $now = run('SELECT sync_state_cursor()');

run("COMMIT PREPARED 'writes'");
observe('other', 'o4');
told('sub=s1 top=t1 other=o4', 'committed, it is told, its subtransaction too');
told('', 'once');
run("ROLLBACK PREPARED 'rolled back'");
told('', 'what is rolled back is never told');
run("COMMIT PREPARED 'deletes'");
told('-gone', 'a deletion');
is( run(qq{SELECT string_agg(CASE WHEN deleted THEN '-' ELSE '' END || type_key, ' ') FROM sync_state_changes('$now')}),
	'sub top -gone other',
	'all of it to a cursor that was taken meanwhile');
is(run('SELECT * FROM wrong'), '', 'the copy is what the table is');

# ---------------------------------------------------------------------------
# It ends while a set is read page by page
# ---------------------------------------------------------------------------
observe('p1', '1');
run(q{
BEGIN;
SELECT sync_state_observe('p1', '2'), sync_state_observe('p2', '2');
PREPARE TRANSACTION 'pages';
});
observe('p3', '3');
observe('p4', '3');
told('p1=1', 'a page', 1);
run("COMMIT PREPARED 'pages'");
told('p3=3', 'the next, after the commit', 1);
told('p4=3 p1=2 p2=2', 'the rest, and what was committed');
told('', 'and no more');

# ---------------------------------------------------------------------------
# The reader itself writes, reads, and is prepared
# ---------------------------------------------------------------------------
observe('seen', '1');
run(q{
BEGIN;
SELECT sync_state_observe('own', '1');
SELECT follow();
PREPARE TRANSACTION 'reader';
});
observe('after', '1');
$node->restart;
run("COMMIT PREPARED 'reader'");
told('own=1 after=1', 'what it wrote is told once it has committed');
run(q{
BEGIN;
SELECT sync_state_observe('own', '2');
SELECT follow();
PREPARE TRANSACTION 'reader';
});
run("ROLLBACK PREPARED 'reader'");
observe('after', '2');
told('after=2', 'what was rolled back was neither written nor read');
is(run('SELECT * FROM wrong'), '', 'the copy is what the table is');

# ---------------------------------------------------------------------------
# Notifications
# ---------------------------------------------------------------------------
is( sqlstate(q{
SET syncstate.notify = 'changes';
BEGIN;
SELECT sync_state_observe('notifying', '1');
PREPARE TRANSACTION 'notifying';
}),
	'0A000',
	'a transaction that notifies cannot be prepared');
run(q{
SET syncstate.notify = 'changes';
BEGIN;
SET LOCAL syncstate.notify = 'none';
SELECT sync_state_observe('silent', '1');
PREPARE TRANSACTION 'silent';
COMMIT PREPARED 'silent';
});
told('silent=1', '... one that is told not to can');

# ---------------------------------------------------------------------------
# A cursor holds after a crash, and with it what it has told
# ---------------------------------------------------------------------------
for my $read (
	q{(SELECT c.cursor FROM sync_state_changes((SELECT cursor FROM reader)) c WHERE c.type_key LIKE 'async%' ORDER BY c.updated_at DESC LIMIT 1)},
	'sync_state_cursor()')
{
	$n++;
	my $cursor = run(
		qq{
SET synchronous_commit = off;
SELECT FROM sync_state_observe('async$n', '1');
SELECT FROM sync_state_observe('async', '$n');
SELECT $read;
});
	$node->stop('immediate');
	$node->start;
	like($cursor, qr/:/, 'a cursor: ' . substr($read, 0, 30));
	is( run(qq{SELECT string_agg(local_hash, ' ' ORDER BY type_key) FROM sync_state_list() WHERE type_key IN ('async', 'async$n')}),
		"$n 1",
		'what was told is there after the crash');
	# As many as were lost, had it been: their numbers would have been told.
	observe('after1', $n);
	observe('after2', $n);
	observe('after3', $n);
	is( run(qq{SELECT string_agg(type_key, ' ') FROM sync_state_changes('$cursor')}),
		'after1 after2 after3',
		'and what is written afterwards is new');
}

$node->stop;
done_testing();
