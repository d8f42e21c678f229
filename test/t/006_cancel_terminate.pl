# A call that is broken off leaves every row byte for byte what it was: by
# statement_timeout, by pg_cancel_backend, by pg_terminate_backend.
#
# A row trigger, installed by the test, waits at a gate after the row has been
# written, so that each call is broken off when it has changed something.
# test/model/cancel.py does it at random instants.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
# The test compares tuple headers: nobody else may touch the tables.
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

my $token = '00000000-0000-4000-8000-00000000000a';

$node->safe_psql(
	'postgres', qq{
CREATE EXTENSION syncstate;
SELECT sync_state_mark_synced('live', 'l1', 'r1');
SELECT sync_state_checkpoint('live', run_id, '{"offset": 10}') FROM sync_state_begin('live', lease => '1 day');
UPDATE syncstate.sync_state SET run_id = '$token';
UPDATE syncstate.sync_run SET run_id = '$token';
SELECT sync_state_mark_synced('page', 'l1', 'r1');
SELECT sync_state_observe('page', 'l2', 'r1');
SELECT sync_state_checkpoint('gone', run_id, '{"offset": 10}', lease => '1 ms') FROM sync_state_begin('gone', lease => '1 ms');
SELECT sync_state_observe('clash', 'l2', 'r2');
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
CREATE TRIGGER gate AFTER INSERT OR UPDATE OR DELETE ON syncstate.sync_state
  FOR EACH ROW EXECUTE FUNCTION gate();
});

my $watch = $node->background_psql('postgres');

# Everything there is, with the tuple's address and its writer.
sub everything
{
	return $watch->query_safe(
		join ' UNION ALL ',
		map { "SELECT (t.ctid, t.xmin, t)::text FROM syncstate.$_ t" }
		  qw(sync_state sync_run sync_conflict sync_tombstone));
}

my @calls = (
	qq{sync_state_checkpoint('live', '$token', '{"offset": 20}')},
	qq{sync_state_mark_synced('live', 'l2', 'r2', '$token')},
	qq{sync_state_mark_synced_many(ARRAY['live', 'new'], ARRAY['l2', 'l2'], ARRAY['r2', 'r2'], ARRAY['$token', NULL]::uuid[])},
	qq{sync_state_fail('live', '$token', 'x')},
	qq{sync_state_rollback('live', '$token', 'x')},
	q{sync_state_reset('live', force => true)},
	q{sync_state_forget('live', force => true)},
	q{sync_state_begin('page')},
	q{sync_state_begin('gone')},
	q{sync_state_begin('new')},
	q{sync_state_try_begin('gone')},
	q{sync_state_resume('gone')},
	q{sync_state_claim(10)},
	q{sync_state_observe('page', 'l2', 'r2')},
	q{sync_state_observe('clash', 'l2', 'l2')},
	q{sync_state_observe_many(ARRAY['page', 'clash', 'new'], ARRAY['l3', 'l3', 'l3'], NULL)},
	q{sync_state_update('page', '{"local_hash": "l9"}')},
	q{sync_state_update_many('{"page": {"local_hash": "l9"}, "new": {}}')},
);

my $before = everything();

my $gatekeeper = $node->background_psql('postgres');
$gatekeeper->query_safe('SELECT pg_advisory_lock(1)');

sub victim
{
	my $psql = $node->background_psql('postgres', on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	my $pid = $psql->query_safe('SELECT pg_backend_pid()');

	return ($psql, $pid);
}

# Starts the call and returns when it stands at the gate.
sub start
{
	my ($psql, $pid, $call) = @_;

	$psql->{stderr} = '';
	$psql->query_until(qr/started/, "\\echo started\nSELECT $call;\n");
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $watch->query_safe(
			"SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $pid") eq 't';
		usleep(10_000);
	}
	die "$call does not come to the gate";
}

# statement_timeout
{
	my ($psql) = victim();

	$psql->query_safe("SET statement_timeout = '100 ms'");
	for my $call (@calls)
	{
		$psql->{stderr} = '';
		$psql->query("SELECT $call");
		like($psql->{stderr}, qr/57014/, "statement_timeout: $call");
		is(everything(), $before, '... left everything as it was');
	}
	$psql->quit;
}

# pg_cancel_backend, and the session is usable afterwards
{
	my ($psql, $pid) = victim();

	for my $call (@calls)
	{
		start($psql, $pid, $call);
		$watch->query_safe("SELECT pg_cancel_backend($pid)");
		is($psql->query('SELECT 42'), '42', "cancelled, the session goes on: $call");
		like($psql->{stderr}, qr/57014/, '... by the cancellation');
		is(everything(), $before, '... left everything as it was');
	}
	$psql->{stderr} = '';
	$psql->quit;
}

# pg_terminate_backend
for my $call (@calls)
{
	my ($psql, $pid) = victim();

	start($psql, $pid, $call);
	# This waits for the backend to be gone.
	is($watch->query_safe("SELECT pg_terminate_backend($pid, 60000)"), 't', 'gone');
	$psql->{run}->finish;
	like($psql->{stderr}, qr/57P01/, "terminated: $call");
	is(everything(), $before, '... left everything as it was');
}

# The gate opens: the run that was broken off so often goes on.
$gatekeeper->quit;
$watch->quit;
is( $node->safe_psql('postgres',
		"SELECT sync_state_checkpoint('live', '$token', '{\"offset\": 20}') > clock_timestamp()"
	),
	't',
	'the run goes on');
is( $node->safe_psql('postgres',
		"SELECT sync_status, sync_progress IS NULL FROM sync_state_mark_synced('live', 'l2', 'r2', '$token')"
	),
	'in_sync|t',
	'to its end');

$node->stop;
done_testing();
