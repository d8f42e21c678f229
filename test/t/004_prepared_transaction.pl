# A prepared transaction holds a row for as long as nobody ends it, across
# restarts.  Those who only look never wait for it; begin waits no longer than
# lock_timeout says; the checkpoint in it counts from COMMIT PREPARED on.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->start;

# Nothing that must not wait may take long, or it fails by statement_timeout.
my $limits = "SET lock_timeout = '100 ms'; SET statement_timeout = '60 s';";

sub quick
{
	my ($sql) = @_;

	return $node->safe_psql('postgres', "$limits $sql");
}

sub sqlstate
{
	my ($sql) = @_;
	my $stderr;

	$node->psql('postgres', "$limits $sql", stderr => \$stderr,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

sub begin
{
	my ($key, $lease) = @_;

	return quick("SELECT run_id FROM sync_state_begin('$key', lease => '$lease')");
}

$node->safe_psql('postgres', 'CREATE EXTENSION syncstate');
my $live = begin('live', '1 day');
my $gone = begin('gone', '1 ms');
my $back = begin('back', '1 ms');
quick("SELECT sync_state_checkpoint('gone', '$gone', '{\"offset\": 10}', lease => '1 ms')");
quick("SELECT sync_state_checkpoint('back', '$back', '{\"offset\": 10}', lease => '1 ms')");
quick(q{SELECT sync_state_observe_many(ARRAY['a', 'b'], ARRAY['1', '1'], ARRAY[NULL, NULL])});

$node->safe_psql(
	'postgres', qq{
BEGIN;
SELECT sync_state_checkpoint('live', '$live', '{"offset": 20}');
PREPARE TRANSACTION 'live';
BEGIN;
SELECT sync_state_checkpoint('gone', '$gone', '{"offset": 20}');
PREPARE TRANSACTION 'gone';
BEGIN;
SELECT sync_state_mark_synced('back', 'l1', 'l1', '$back');
PREPARE TRANSACTION 'back';
BEGIN;
SELECT sync_state_begin('a');
PREPARE TRANSACTION 'a';
});
pass('transactions of the extension can be prepared');

for my $when ('before a restart', 'after a restart')
{
	$node->restart if $when eq 'after a restart';

	is(quick('SELECT sync_state_detect_interrupted()'),
		"back\ngone", "$when: detect_interrupted does not wait");
	is( quick('SELECT type_key, sync_progress FROM syncstate.sync_interrupted ORDER BY 1'),
		qq(back|{"offset": 10}\ngone|{"offset": 10}),
		"$when: nor does the view");
	is( quick(q{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_plan()}),
		'a b back gone live',
		"$when: nor does plan");
	is(quick(q{SELECT count(*) FROM sync_state_try_begin('live')}),
		'0', "$when: nor try_begin for a live row");
	is(sqlstate(q{SELECT sync_state_begin('gone')}),
		'55P03', "$when: begin waits for lock_timeout");
	like(
		($node->psql('postgres', "$limits SELECT sync_state_begin('gone')"))[2],
		qr/canceling statement due to lock timeout/,
		"$when: and it is the server that says so");
	is(sqlstate(q{SELECT sync_state_resume('gone')}),
		'55P03', "$when: so does resume");
	is( sqlstate(qq{SELECT sync_state_checkpoint('gone', '$gone', NULL)}),
		'55P03',
		"$when: so does a second checkpoint");
}

is( quick(q{SELECT type_key FROM sync_state_claim(10)}),
	'b', 'claim passes by what prepared transactions hold');

$node->safe_psql('postgres',
	"COMMIT PREPARED 'live'; COMMIT PREPARED 'gone'; ROLLBACK PREPARED 'back'; ROLLBACK PREPARED 'a'");

is( quick(q{SELECT type_key, sync_status, sync_progress FROM sync_state_list() ORDER BY type_key}),
	qq(a|new|\nb|syncing|\nback|syncing|{"offset": 10}\ngone|syncing|{"offset": 20}\nlive|syncing|{"offset": 20}),
	'what was committed counts, what was rolled back does not');
is(quick('SELECT sync_state_detect_interrupted()'),
	'back', 'the renewed lease counts from the commit on');
is(sqlstate(q{SELECT sync_state_begin('gone')}),
	'55P03', 'a run renewed in a prepared transaction is live');
is( quick(qq{SELECT sync_state_checkpoint('gone', '$gone', '{"offset": 30}') > clock_timestamp()}),
	't',
	'and goes on');
is( quick(q{SELECT run_number, sync_progress FROM sync_state_resume('back')}),
	'2|{"offset": 10}',
	'the one rolled back is taken over');
is( sqlstate(qq{SELECT sync_state_mark_synced('back', 'l1', 'l1', '$back')}),
	'55000',
	'and its token refused');

$node->stop;
done_testing();
