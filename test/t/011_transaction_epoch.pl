# The change feed where more than four thousand million transactions have been.
#
# Rows bear transaction ids of 64 bits, snapshots of the server have 32 of them:
# a cursor must know to which epoch they belong.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
command_ok([ 'pg_resetwal', '--epoch', 5, '-D', $node->data_dir ], 'the epoch is set');
$node->start;

sub query
{
	return $node->safe_psql('postgres', $_[0]);
}

# What follows a cursor, as key=hash, or -key for a deletion; and the cursor after it.
sub follow
{
	my ($cursor, $max_rows) = @_;

	my ($told, $after) = split /;/, query(qq{
		SELECT coalesce(string_agg(CASE WHEN deleted THEN '-' || type_key ELSE type_key || '=' || local_hash END, ' '
		                           ORDER BY n), '')
		       || ';' || coalesce(max(cursor) FILTER (WHERE n = last), '$cursor')
		  FROM (SELECT c.*, max(n) OVER () AS last
		          FROM sync_state_changes('$cursor', $max_rows) WITH ORDINALITY AS
		               c (type_key, deleted, sync_status, conflict_status, local_hash, remote_hash,
		                  last_sync_at, updated_at, cursor, n)) c});
	return ($told, $after);
}

query('CREATE EXTENSION syncstate');
my $cursor = query('SELECT sync_state_cursor()');
my $told;

query(q{SELECT sync_state_observe('a', '1'), sync_state_observe('b', '1')});
is(query('SELECT min(changed_xid) >> 32 FROM syncstate.sync_state'), 5, 'rows bear ids of this epoch');

# A transaction that is open while the cursor is taken, and one that is not.
my $writer = $node->background_psql('postgres');
$writer->query_safe(q{BEGIN; SELECT sync_state_observe('late', '1')});
query(q{SELECT sync_state_observe('c', '1')});

($told, $cursor) = follow($cursor, 2);
is($told, 'a=1 b=1', 'a page of what was committed');
($told, $cursor) = follow($cursor, 2);
is($told, 'c=1', 'the next one, without what is still open');
$writer->query_safe('COMMIT');
($told, $cursor) = follow($cursor, 10);
is($told, 'late=1', 'what was open is told when it is committed');
query(q{SELECT sync_state_forget('a')});
($told, $cursor) = follow($cursor, 10);
is($told, '-a', 'a deletion is told');
($told, $cursor) = follow($cursor, 10);
is($told, '', 'and nothing twice');
is(query(q{SELECT string_agg(type_key, '' ORDER BY type_key) FROM sync_state_changes(NULL)}), 'bclate',
	'who begins anew is told of all there is');

$writer->quit;
$node->stop;
done_testing();
