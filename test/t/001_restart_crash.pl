# What an interruption of the server leaves behind.
#
# A worker copies rows in batches, each in one transaction with its checkpoint.
# While a batch is under way and not committed, its backend, the postmaster or
# the whole server goes.  Then: what was acknowledged is there, what was not is
# not, the key is reported as interrupted once its lease has ended, another
# worker goes on at the last committed checkpoint, and the old token is refused.
#
# The instant is known here; test/model/crash.py takes random ones.

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
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->start;

$node->safe_psql(
	'postgres', q{
CREATE EXTENSION syncstate;
CREATE TABLE copied (type_key text, id int, PRIMARY KEY (type_key, id));
});

# SQLSTATEs of the statements that fail, in their order.
sub sqlstates
{
	my (@statements) = @_;
	my $stderr;

	$node->psql('postgres', join("\n;\n", @statements), stderr => \$stderr,
		on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return join ' ', $stderr =~ /ERROR:\s+(\w{5})/g;
}

# Ten rows and the checkpoint that speaks of them.  The lease is as short as it
# can be: it has ended before anybody can ask.
sub batch
{
	my ($key, $run, $from) = @_;
	my $to = $from + 10;

	return qq{
INSERT INTO copied SELECT '$key', g FROM generate_series($from + 1, $to) g;
SELECT sync_state_checkpoint('$key', '$run', '{"offset": $to}', lease => '1 ms');
};
}

sub interrupted_by
{
	my ($key, $name, $interrupt) = @_;

	my (undef, $run) = split /\n/, $node->safe_psql('postgres',
		"SELECT sync_state_observe('$key', 'l1', remote_absent => true);"
		  . "SELECT run_id FROM sync_state_begin('$key', lease => '1 ms', owner => 'first')");
	$node->safe_psql('postgres', 'BEGIN;' . batch($key, $run, 0) . 'COMMIT;');

	my $worker = $node->background_psql('postgres');
	my $pid = $worker->query_safe('SELECT pg_backend_pid()');
	$worker->query_safe('BEGIN');
	$worker->query_safe(batch($key, $run, 10));

	$interrupt->($pid);
	$worker->{run}->kill_kill;

	is( $node->safe_psql(
			'postgres', qq{
SELECT s.sync_status, s.run_id = '$run', s.run_number, s.sync_progress, r.owner, r.outcome IS NULL,
       (SELECT count(*) FROM copied WHERE type_key = '$key')
  FROM sync_state_get('$key') s JOIN syncstate.sync_run r USING (type_key, run_number)}),
		'syncing|t|1|{"offset": 10}|first|t|10',
		"$name: the acknowledged checkpoint is there, the other is not");

	ok( $node->poll_query_until(
			'postgres',
			"SELECT EXISTS (SELECT FROM sync_state_detect_interrupted() k WHERE k = '$key')"
		),
		"$name: interrupted, once the lease has ended");
	is( $node->safe_psql('postgres',
			"SELECT owner, reason, sync_progress FROM syncstate.sync_interrupted WHERE type_key = '$key'"
		),
		'first|lease_expired|{"offset": 10}',
		"$name: the view says who, why, and how far");

	my ($new, $number, $progress, $moved) = split /\|/,
	  $node->safe_psql('postgres',
		"SELECT run_id, run_number, sync_progress, content_moved FROM sync_state_resume('$key', owner => 'second')"
	  );
	is("$number $progress $moved", '2 {"offset": 10} f',
		"$name: another worker resumes at the checkpoint");

	is( sqlstates(
			"SELECT sync_state_checkpoint('$key', '$run', '{}')",
			"SELECT sync_state_mark_synced('$key', 'l1', 'l1', '$run')",
			"SELECT sync_state_fail('$key', '$run')",
			'BEGIN', batch($key, $run, 10), 'COMMIT'),
		'55000 55000 55000 55000',
		"$name: the old token cannot checkpoint, mark, fail, nor copy");

	$node->safe_psql('postgres',
			'BEGIN;' . batch($key, $new, 10) . 'COMMIT;'
		  . 'BEGIN;' . batch($key, $new, 20) . 'COMMIT;'
		  . "SELECT sync_state_mark_synced('$key', 'l1', 'l1', '$new')");

	is( $node->safe_psql(
			'postgres', qq{
SELECT s.sync_status, s.run_id IS NULL, s.sync_progress IS NULL, string_agg(r.outcome, ' ' ORDER BY r.run_number),
       (SELECT count(*) || ' ' || min(id) || ' ' || max(id) FROM copied WHERE type_key = '$key')
  FROM sync_state_get('$key') s JOIN syncstate.sync_run r USING (type_key) GROUP BY s.sync_status, s.run_id, s.sync_progress}),
		'in_sync|t|t|superseded synced|30 1 30',
		"$name: nothing lost, nothing copied twice");
	return;
}

interrupted_by(
	'restart',
	'restart',
	sub {
		$node->restart;
	});

interrupted_by(
	'immediate',
	'immediate stop',
	sub {
		$node->stop('immediate');
		$node->start;
	});

interrupted_by(
	'backend',
	'kill -9 of the backend',
	sub {
		my ($pid) = @_;
		my $offset = -s $node->logfile;

		kill('KILL', $pid);
		# Only after this line can no connection be the old server's.
		$node->wait_for_log(qr/all server processes terminated; reinitializing/,
			$offset);
		$node->poll_query_until('postgres', undef, '') or die 'not up again';
	});

interrupted_by(
	'postmaster',
	'kill -9 of the postmaster',
	sub {
		my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
		my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;

		$node->kill9;
		# It is there until its parent has seen its end, and its children until
		# they have; before that nothing can start.
		while (kill(0, $pid) || !$node->start(fail_ok => 1))
		{
			die 'the server does not start again' if --$tries == 0;
			usleep(100_000);
		}
	});

$node->stop;
done_testing();
