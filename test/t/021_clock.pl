# The server's clock steps while it runs: back by hours, forward by a day.
#
# Leases go by that clock, and nothing else does.  A step forward makes leases
# look ended, so that others may take the keys over; a step back makes them last
# longer.  Whatever it does, who holds a key is decided by tokens: a superseded
# run stays fenced, one that nobody took over goes on, updated_at of a key grows
# strictly, a lease is never shortened, and the feed misses nothing.
#
# The server runs under libfaketime, which reads its offset from a file.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my ($faketime) = glob '/usr/lib/*/faketime/libfaketime.so.1';
die 'libfaketime is not installed' unless $faketime;

my $offset_file = PostgreSQL::Test::Utils::tempdir() . '/offset';
my $new_file = "$offset_file.new";

# The server's clock is so many seconds off ours from now on.
sub step
{
	my ($seconds) = @_;

	unlink $new_file;
	append_to_file($new_file, sprintf "%+d\n", $seconds);
	rename $new_file, $offset_file or die "$offset_file: $!";
	return;
}

step(0);
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
# Of the server's own what goes by the clock is not of interest.
$node->append_conf('postgresql.conf', 'autovacuum = off');
{
	local $ENV{LD_PRELOAD} = $faketime;
	local $ENV{FAKETIME_TIMESTAMP_FILE} = $offset_file;
	local $ENV{FAKETIME_NO_CACHE} = 1;
	local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
	local $ENV{DONT_FAKE_MONOTONIC} = 1;
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION syncstate');

my ($hour, $day) = (3600, 86400);

# Two sessions which last through all steps.
my ($one, $two) = map {
	$node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=sqlstate' ])
} 1 .. 2;

# Rows, and the SQLSTATEs of what failed.
sub told
{
	my ($session, $sql) = @_;

	$session->{stderr} = '';
	my $rows = $session->query($sql);
	my @errors = $session->{stderr} =~ /ERROR:\s+(\w{5})/g;
	$session->{stderr} = '';
	return join "\n", grep { $_ ne '' } $rows, @errors;
}

# How far off the server's clock is, as a session sees it.
sub is_off
{
	my ($seconds, $name) = @_;
	my $off = told($one, 'SELECT extract(epoch FROM clock_timestamp())') - time;

	return cmp_ok(abs($off - $seconds), '<', 30, "$name: the clock of a session is $seconds s off");
}

# Every write of a key is noted, with its place in the order of writes.
$node->safe_psql(
	'postgres', q{
CREATE TABLE written (n bigserial PRIMARY KEY, type_key text, updated_at timestamptz, run_number int, by_clock timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO written (type_key, updated_at, run_number) VALUES (NEW.type_key, NEW.updated_at, NEW.run_number);
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON syncstate.sync_state FOR EACH ROW EXECUTE FUNCTION note();
});
my $not_growing = q{
SELECT count(*) FROM (SELECT updated_at <= lag(updated_at) OVER (PARTITION BY type_key ORDER BY n) AS wrong FROM written) w WHERE wrong};
my $clock_stepped_back = q{
SELECT count(*) > 0 FROM (SELECT by_clock < lag(by_clock) OVER (PARTITION BY type_key ORDER BY n) AS wrong FROM written) w WHERE wrong};

sub begin
{
	my ($session, $key, $lease) = @_;

	return told($session, "SELECT run_id FROM sync_state_begin('$key', lease => '$lease', owner => 'worker')");
}

# Nothing that a run says is heard.
sub fenced
{
	my ($session, $key, $run, $name) = @_;

	return is( join(' ',
			map { told($session, "SELECT $_") } "sync_state_checkpoint('$key', '$run', '{}')",
			"sync_state_checkpoint('$key', '$run', NULL)", "sync_state_mark_synced('$key', 'h', 'h', '$run')",
			"sync_state_mark_synced_many('{$key}', '{h}', '{h}', '{$run}')",
			"sync_state_fail('$key', '$run')", "sync_state_rollback('$key', '$run')"),
		'55000 55000 55000 55000 55000 55000',
		"$name: fenced");
}

# ---------------------------------------------------------------------------
# Back two hours
# ---------------------------------------------------------------------------
is_off(0, 'at first');
my $cursor = told($one, 'SELECT sync_state_cursor()');
my $held = begin($one, 'held', '5 min');
my $old = begin($one, 'taken', '5 min');
told($one, qq{SELECT sync_state_checkpoint('taken', '$old', '{"n": 1}')});
told($one, q{SELECT sync_state_mark_synced('marked', 'h1', 'r1'); SELECT sync_state_observe('clash', 'l', 'r'); SELECT sync_state_rollback('failed', NULL, 'x')});

step(600);
is_off(600, 'ten minutes later');
my $new = begin($two, 'taken', '5 min');
like($new, qr/^[0-9a-f-]{36}$/, 'a lease has ended: another takes the key over');
fenced($one, 'taken', $old, 'ten minutes later');

step(-2 * $hour);
is_off(-2 * $hour, 'back');
fenced($one, 'taken', $old, 'back, where its lease would last');
is(told($one, q{SELECT sync_state_begin('taken')}), '55P03', 'back: nor does it get the key again');
my $ends = q{SELECT lease_expires_at FROM sync_state_get('taken')};
my $before = told($two, $ends);
is(told($two, qq{SELECT sync_state_checkpoint('taken', '$new', '{"n": 2}', lease => '1 min') = '$before'}),
	't', 'back: the run that took over goes on, its lease is not shortened');
is(told($two, $ends), $before, '... in the row, too');
is(told($one, q{SELECT sync_state_detect_interrupted()}), '', 'back: no run is interrupted');
is(told($two, q{SELECT sync_state_begin('held')}), '55P03', 'back: a run holds its key, now for longer');
is(told($two, q{SELECT count(*) FROM sync_state_try_begin('held')}), '0', '... from who only tries, too');
is(told($two, q{SELECT count(*) FROM sync_state_claim(10, retry_after => '0')}), '0', '... or takes what there is');
is(told($one, qq{SELECT sync_state_checkpoint('held', '$held', '{"n": 1}') > clock_timestamp() + interval '2 h'}),
	't', '... and its checkpoints count');

# What has happened in the future, for the clock that is back.
is( told($one, q{SELECT sync_status, last_synced_hash, last_synced_remote_hash, last_sync_at < created_at FROM sync_state_mark_synced('marked', 'h2', 'r2')}),
	'in_sync|h2|r2|t', 'back: a sync is recorded, with the time that it is');
is(told($one, q{SELECT sync_state_delta('marked')->>'detail'}), 'unchanged', '... which counts');
is(told($one, q{SELECT sync_state_observe('marked', 'same', 'same')->>'detail'}), 'unchanged', '... as does one that is found');
is(told($one, q{SELECT sync_status FROM sync_state_resolve('clash', 'local')}), 'modified', 'back: a conflict is resolved');
is(told($one, q{SELECT sync_status FROM sync_state_fail('failed', NULL, 'y')}), 'failed', 'back: a key fails');
is(told($one, q{SELECT removed FROM sync_state_prune('1 h')}), "0\n0\n0", 'back: nothing is old');
is(told($two, qq{SELECT sync_status FROM sync_state_mark_synced('taken', 'h', 'h', '$new')}), 'in_sync', 'back: the run ends');
is( told($two, q{SELECT string_agg(outcome, ' ' ORDER BY run_number) FROM syncstate.sync_run WHERE type_key = 'taken'}),
	'superseded synced', '... and all is in the history');
is( told($one, qq{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_changes('$cursor')}),
	'clash failed held marked taken', 'the feed goes by no clock: it tells of all');
$cursor = told($one, 'SELECT sync_state_cursor()');

# ---------------------------------------------------------------------------
# Forward a day
# ---------------------------------------------------------------------------
my $passed = begin($one, 'passed', '5 min');
my $alive = begin($one, 'alive', '5 min');
my $later = begin($one, 'later', '5 min');
my $long = begin($one, 'long', '20 days');

step($day);
is_off($day, 'forward');
is(told($two, q{SELECT sync_state_detect_interrupted()}), "alive\nheld\nlater\npassed", 'forward: leases look ended, but for a long one');
is(told($two, q{SELECT sync_state_begin('long')}), '55P03', '... which holds its key');
is(told($two, qq{SELECT run_number FROM sync_state_resume('held')}), '2', 'forward: a key is taken over');
fenced($one, 'held', $held, 'forward: the run that it was taken from');
is(told($one, qq{SELECT sync_state_checkpoint('alive', '$alive', '{"n": 1}') > clock_timestamp()}), 't',
	'forward: a run that nobody took over goes on');
is(told($two, q{SELECT sync_state_begin('alive')}), '55P03', '... and holds its key again');
is(told($one, qq{SELECT sync_status FROM sync_state_mark_synced('passed', 'h', 'h', '$passed')}), 'in_sync',
	'forward: or ends, without renewing its lease');

# ---------------------------------------------------------------------------
# And right again
# ---------------------------------------------------------------------------
my $taken = begin($two, 'later', '5 min');
step(0);
is_off(0, 'right again');
fenced($one, 'held', $held, 'right again, and still');
fenced($one, 'later', $later, 'right again');
is(told($one, q{SELECT sync_state_begin('later')}), '55P03', 'right again: what was taken in the future is held until then');
is(told($one, q{SELECT sync_state_detect_interrupted()}), '', '... and not found as interrupted');
is(told($one, q{SELECT sync_status FROM sync_state_fail('later', force => true)}), 'failed', '... unless by force');
fenced($two, 'later', $taken, 'right again, revoked by force');
is(told($one, q{SELECT run_number FROM sync_state_begin('later')}), '3', '... for another one');
is( told($one, qq{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_changes('$cursor')}),
	'alive held later long passed', 'the feed has told of all, once');
is(told($one, 'SELECT sync_state_cursor()') eq $cursor, '', '... and is further');

is($node->safe_psql('postgres', $clock_stepped_back), 't', 'the clock has stepped back between writes of a key');
is($node->safe_psql('postgres', $not_growing), '0', '... but its updated_at grows strictly');

# ---------------------------------------------------------------------------
# In the middle of runs: workers on few keys, while the clock steps
# ---------------------------------------------------------------------------
# What a worker does in one transaction: it takes a key, or brings its run on,
# or ends it.  A row of `done` is written under the lock that the call holds, and
# stays only if the call was let through.
$node->safe_psql(
	'postgres', q{
TRUNCATE written;
CREATE TABLE worker (id int PRIMARY KEY, type_key text, run_id uuid, run_number int, superseded int NOT NULL DEFAULT 0);
INSERT INTO worker (id) SELECT generate_series(0, 3);
CREATE TABLE done (n bigserial PRIMARY KEY, type_key text, run_number int, what text);
CREATE FUNCTION work(me int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	w worker;
	r syncstate.sync_run;
	p float := random();
BEGIN
	SELECT * INTO w FROM worker WHERE id = me;
	IF w.run_id IS NULL THEN
		SELECT * INTO r FROM sync_state_try_begin('k' || floor(random() * 3), lease => (ARRAY['20 ms', '1 h', '3 h'])[1 + floor(random() * 3)]::interval);
		IF FOUND THEN
			INSERT INTO done (type_key, run_number, what) VALUES (r.type_key, r.run_number, 'begin');
			UPDATE worker SET type_key = r.type_key, run_id = r.run_id, run_number = r.run_number WHERE id = me;
		END IF;
		RETURN;
	END IF;
	BEGIN
		IF p < 0.95 THEN
			PERFORM sync_state_checkpoint(w.type_key, w.run_id, jsonb_build_object('p', p));
		ELSIF p < 0.98 THEN
			PERFORM sync_state_mark_synced(w.type_key, p::text, p::text, w.run_id);
		ELSE
			PERFORM sync_state_fail(w.type_key, w.run_id, 'x');
		END IF;
		INSERT INTO done (type_key, run_number, what) VALUES (w.type_key, w.run_number, CASE WHEN p < 0.95 THEN 'checkpoint' ELSE 'end' END);
		IF p >= 0.95 THEN
			UPDATE worker SET run_id = NULL WHERE id = me;
		END IF;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		UPDATE worker SET run_id = NULL, superseded = superseded + 1 WHERE id = me;
	END;
END $$;
});

my $script = PostgreSQL::Test::Utils::tempdir() . '/work.sql';
append_to_file($script, "SELECT work(:client_id);\n");
my ($out, $err) = ('', '');
my $seconds = $ENV{SECONDS_OF_STEPS} // 4;
my $pgbench = IPC::Run::start(
	[ $node->installed_command('pgbench'), '-n', '-c', 4, '-j', 2, '-T', $seconds, '-f', $script,
		'-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \$out, '2>', \$err);
my $steps = 0;
srand($ENV{SEED} // 1);
for (my $end = time + $seconds - 0.5; time < $end; $steps++)
{
	# A day on, each time; then often back, at times as far as it goes.
	step($steps * $day);
	usleep(20_000 + int rand 60_000);
	next if rand() < 0.5;
	step((($steps - 1) * $day, $steps * $day - 2 * $hour, $steps * $day - 600, 0)[ int rand 4 ]);
	usleep(20_000 + int rand 60_000);
}
$pgbench->finish;
step(0);
is($err =~ s/^pgbench.*\n//mgr, '', 'workers meet no error but that of being superseded');

my $superseded = $node->safe_psql('postgres', 'SELECT sum(superseded) FROM worker');
my $runs = $node->safe_psql('postgres', q{SELECT count(*) FROM done WHERE what = 'begin'});
note("$steps steps, $runs runs, $superseded superseded");
cmp_ok($superseded, '>', 5, "runs were superseded in the middle: $superseded of $runs in $steps steps");
is( $node->safe_psql('postgres', q{
SELECT count(*) FROM (SELECT run_number < lag(run_number) OVER (PARTITION BY type_key ORDER BY n) AS wrong FROM done) d WHERE wrong}),
	'0', 'no superseded run has done anything after the one that took over');
is( $node->safe_psql('postgres', q{
SELECT count(*) FROM (SELECT what, lag(what) OVER (PARTITION BY type_key, run_number ORDER BY n) AS before FROM done) d
 WHERE (what = 'begin') <> (before IS NULL) OR before = 'end'}),
	'0', 'every run begins once, and does nothing after its end');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM syncstate.sync_run r WHERE type_key ~ '^k\d$' AND (outcome = 'superseded') <>
 (NOT EXISTS (SELECT FROM done d WHERE d.type_key = r.type_key AND d.run_number = r.run_number AND what = 'end')
  AND EXISTS (SELECT FROM done d WHERE d.type_key = r.type_key AND d.run_number > r.run_number))}),
	'0', 'the history says which were superseded');
is($node->safe_psql('postgres', $clock_stepped_back), 't', 'the clock has stepped back between writes of a key');
is($node->safe_psql('postgres', $not_growing), '0', '... but its updated_at grows strictly');

$_->quit for ($one, $two);
$node->stop;
done_testing();
