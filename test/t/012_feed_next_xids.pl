# The change feed and the transaction ids that come next.
#
# A cursor says which transactions had ended.  Ids that were given out, but of
# which nothing was on disk when the server went, are given out again: to
# transactions that the cursor must not take for those of before.  So whatever a
# cursor counts as ended is on disk before somebody has the cursor.
#
# And a row that bears an id which is yet to be given out is not from here, be it
# the very next one: what that transaction writes would not be told from it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
# Nobody writes to disk, or uses an id, but who is asked to here.
$node->append_conf(
	'postgresql.conf', q{
restart_after_crash = on
autovacuum = off
wal_buffers = 1MB
checkpoint_timeout = 1h
bgwriter_delay = 10s
});
$node->start;

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# What a reader would be told after its cursor; and the cursor after that.
sub follow
{
	my ($cursor) = @_;

	return split /;/, query(qq{
		SELECT coalesce(string_agg(type_key || '=' || local_hash, ' ' ORDER BY n), '') || ';'
		       || coalesce(max(cursor) FILTER (WHERE n = last), '$cursor')
		  FROM (SELECT c.*, max(n) OVER () AS last
		          FROM sync_state_changes('$cursor') WITH ORDINALITY AS
		               c (type_key, deleted, sync_status, conflict_status, local_hash, remote_hash,
		                  last_sync_at, updated_at, cursor, n)) c});
}

query('CREATE EXTENSION syncstate');

# ---------------------------------------------------------------------------
# Ids that are given out again
# ---------------------------------------------------------------------------

# Transactions end, none of which waits for the disk; a reader gets its cursor;
# the server goes.  get_cursor: from the cursor before to the new one.
sub lost_with_the_server
{
	my ($how, $get_cursor) = @_;
	my $before = query('SELECT sync_state_cursor()');
	my $key = "$how again";

	query("SELECT sync_state_observe('$how', '1'); CHECKPOINT");

	# Who would write it to disk after a while is stopped, and is the one that crashes.
	my $writer = query(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'});
	kill('STOP', $writer);
	query(qq{
		BEGIN; SELECT sync_state_observe('$key', 'rolled back'); ROLLBACK;
		BEGIN; SELECT sync_state_observe('$key', 'rolled back'); ROLLBACK;
	});
	is(query('SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()'), 't',
		"$how: (what was rolled back is not on disk)");
	my $cursor = $get_cursor->($before);

	my $offset = -s $node->logfile;
	kill('KILL', $writer);
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	$node->poll_query_until('postgres', undef, '') or die 'not up again';

	query("SELECT sync_state_observe('$key', '$_')") for 1 .. 2;
	my ($told) = follow($cursor);
	is($told, "$key=2", "$how: what is written after a crash is told");
	return;
}

lost_with_the_server('cursor', sub { return query('SELECT sync_state_cursor()') });
lost_with_the_server('changes', sub { return (follow($_[0]))[1] });

# ---------------------------------------------------------------------------
# Ids that are yet to be given out
# ---------------------------------------------------------------------------

# Restores a row past the triggers whose id is so far ahead of that of the restore.
sub restored
{
	my ($ahead) = @_;
	my ($stdout, $stderr);

	$node->psql(
		'postgres', qq{
		BEGIN;
		ALTER TABLE syncstate.sync_state DISABLE TRIGGER "~syncstate_touch";
		UPDATE syncstate.sync_state SET changed_xid = pg_current_xact_id()::text::bigint + $ahead WHERE type_key = 'cursor';
		ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_touch";
		COMMIT;
		SELECT 'read' FROM sync_state_cursor();
	}, stdout => \$stdout, stderr => \$stderr, on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stdout . join ' ', $stderr =~ /ERROR:\s+(\w{5})/g;
}

is(restored(0), 'read', 'the id of the restore itself');
is(restored(1), '55000', 'the very next one');
query('SELECT pg_current_xact_id()');
is(query(q{SELECT 'read' FROM sync_state_cursor()}), 'read', '... until it is given out');
is(restored(2), '55000', 'the one after that');
is(query('SELECT sync_state_repair()'), '1', '... which repair mends');
is(query(q{SELECT 'read' FROM sync_state_cursor()}), 'read', '... for good');

$node->stop;
done_testing();
