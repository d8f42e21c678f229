# Behind PgBouncer, in transaction pooling with a single server connection.
#
# Several clients share one backend there, transaction by transaction.  So
# nothing that the extension does may hang on the session: who holds which run,
# how far a reader of the feed is, what a transaction has noted of a tracked
# table, whose rows a kept plan was made for, what was set for one transaction.
#
# A random history is run twice, step by step: by clients with a backend each,
# and by clients of the pooler.  Results and SQLSTATEs must be the same.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

$ENV{PATH} .= ':/usr/sbin';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$node->start;

my $schema = q{
CREATE EXTENSION syncstate;
CREATE TABLE content (id int PRIMARY KEY, title text);
CREATE TABLE other (LIKE content INCLUDING ALL);
INSERT INTO content SELECT g, 'title ' || g FROM generate_series(1, 20) g;
INSERT INTO other TABLE content;
SELECT sync_source_attach('content', 'content', 'other', row_base => true);
SELECT sync_source_track('content');
};
for my $db (qw(direct pooled))
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, $schema);
}

# ---------------------------------------------------------------------------
# The pooler: a socket in a directory of its own, one server connection
# ---------------------------------------------------------------------------
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $port = 6432;
my ($server, $superuser) = ($node->host, $node->safe_psql('postgres', 'SELECT current_user'));
append_to_file(
	"$dir/pgbouncer.ini", qq{
[databases]
* = host=$server port=@{[$node->port]} user=$superuser
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = any
admin_users = $superuser
pool_mode = transaction
default_pool_size = 1
logfile = $dir/pgbouncer.log
});
my $bouncer_output = '';
my $bouncer = IPC::Run::start([ 'pgbouncer', '-q', "$dir/pgbouncer.ini" ], '<', \undef, '>&', \$bouncer_output);
END
{
	my $status = $?;

	$bouncer->kill_kill if $bouncer;
	$? = $status;
}

# The same server by way of the pooler.
my $pooler = bless { %$node, _host => $dir, _port => $port }, ref $node;
# Without a query: a psql that finds nobody may end before it is told one, which is an error then.
$pooler->poll_query_until('pooled', undef, '') or die "no pooler: $bouncer_output";

# ---------------------------------------------------------------------------
# Clients
# ---------------------------------------------------------------------------
sub client
{
	my ($to, $db) = @_;

	return $to->background_psql($db, on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
}

# What a client is told: rows, and the SQLSTATEs of what failed.
sub told
{
	my ($client, $sql) = @_;

	$client->{stderr} = '';
	my $rows = $client->query($sql);
	my @errors = $client->{stderr} =~ /ERROR:\s+(\w{5})/g;
	$client->{stderr} = '';
	return join "\n", grep { $_ ne '' } $rows, @errors;
}

my @direct = map { client($node, 'direct') } 1 .. 3;
my @pooled = map { client($pooler, 'pooled') } 1 .. 3;

my %backends = map { told($_, 'SELECT pg_backend_pid()') => 1 } @pooled;
is(scalar keys %backends, 1, 'the clients of the pooler share a backend');
my ($backend) = keys %backends;

# ---------------------------------------------------------------------------
# A random history, with and without
# ---------------------------------------------------------------------------
my $seed = $ENV{SEED} // 1;
my $steps = $ENV{STEPS} // 400;
srand($seed);

sub pick { return $_[ int rand @_ ] }

# A statement of a transaction; :name: stands for what was told before, which is
# another value on either side.
my @runs = ([ 'a', 'run0' ]);
my $count = 0;

sub begin
{
	my ($call) = @_;
	my $key = pick(qw(a b c));
	my $lease = pick(q{'1 day'}, q{'1 us'}, q{'1 us'});

	$count++;
	push @runs, [ $key, "run$count" ];
	return "SELECT run_id AS run$count, run_number, sync_progress, content_moved FROM $call('$key', lease => $lease)";
}

# What a run says next, often of the latest ones; some have been superseded.
sub of_run
{
	my ($what) = @_;
	my ($key, $run) = @{ rand() < 0.7 ? $runs[-1 - int rand($#runs > 3 ? 3 : $#runs + 1)] : pick(@runs) };

	return sprintf $what, $key, ":$run:";
}

my @calls = (
	sub { begin('sync_state_begin') },
	sub { begin('sync_state_try_begin') },
	sub { begin('sync_state_resume') },
	sub { of_run(q{SELECT sync_state_checkpoint('%s', '%s', '{"n": } . ++$count . q{}') > clock_timestamp()}) },
	sub { of_run(q{SELECT sync_state_checkpoint('%s', '%s', NULL) IS NULL}) },
	sub { of_run(q{SELECT sync_status, run_number FROM sync_state_mark_synced('%s', 'h} . ++$count . q{', 'r', '%s')}) },
	sub { of_run(q{SELECT sync_status, sync_progress FROM sync_state_fail('%s', '%s', 'x')}) },
	sub { of_run(q{SELECT sync_status, sync_progress FROM sync_state_rollback('%s', '%s')}) },
	sub { sprintf q{SELECT sync_status FROM sync_state_mark_synced('%s', 'h%d', 'r')}, pick(qw(a b c d)), ++$count },
	sub { sprintf q{SELECT sync_state_observe('%s', 'h%d', %s)}, pick(qw(a b c d)), ++$count, pick(q{'r'}, 'NULL', "'r$count'") },
	sub { sprintf q{SELECT sync_state_observe_many('{d,a,b}', '{h%d,h1,h2}', NULL)}, ++$count },
	sub { sprintf q{SELECT sync_state_update('%s', '{"local_hash": "u%d"}') IS NULL}, pick(qw(a b c d)), ++$count },
	sub { sprintf q{SELECT sync_state_forget('%s', %s)}, pick(qw(b c d)), pick(qw(true false)) },
	sub { q{SELECT type_key, run_number FROM sync_state_claim(2, lease => '1 us', retry_after => '0')} },
	sub { q{SELECT sync_state_detect_interrupted()} },
	sub { sprintf q{SELECT sync_state_delta('%s')}, pick(qw(a b c d content)) },
	sub { q{SELECT type_key, action, detail, sync_status FROM sync_state_plan() ORDER BY 1} },
	sub { q{SELECT type_key, sync_status, run_number, sync_progress FROM sync_state_list() ORDER BY 1} },
	sub { sprintf q{UPDATE content SET title = 'new %d' WHERE id = %d}, ++$count, 1 + rand 20 },
	sub { sprintf q{INSERT INTO content VALUES (%d, 'x') ON CONFLICT (id) DO UPDATE SET title = content.title || '.'}, 1 + rand 30 },
	sub { sprintf q{DELETE FROM content WHERE id = %d}, 1 + rand 30 },
	sub { q{SELECT sync_state_observe('content')} },
	sub { q{SELECT 'digest is right: ' || (sync_state_delta('content')->>'local_hash' = (SELECT sync_digest(id, title) FROM content))} },
	sub { q{SELECT * FROM sync_source_diff3('content') ORDER BY key::text} },
);

my (@transcript, @steps);
my %value;

# One step: a client's transaction, on both sides.
sub step
{
	my ($who, $statement) = @_;
	my @answers;

	for my $side (0, 1)
	{
		my $sql = $statement =~ s/:(run\d+):/$value{$1}[$side] \/\/ '00000000-0000-4000-8000-000000000000'/ger;
		my $answer = told(($side ? \@pooled : \@direct)->[$who], $sql);

		# Tokens differ, but the same ones must come.
		my ($run) = $statement =~ /AS (run\d+)/;
		$value{$run}[$side] = $1 if $run && $answer =~ s/^([0-9a-f-]{36})\|/token|/;
		push @answers, $answer;
	}
	push @steps, "client $who: $statement";
	push @transcript, \@answers;
	return;
}

# A reader of the feed: its cursor, on both sides.
my @cursor = map { [ map { told($_->[0], 'SELECT sync_state_cursor()') } \@direct, \@pooled ] } 0 .. 2;

sub follow
{
	my ($who) = @_;
	my @answers;

	for my $side (0, 1)
	{
		my @rows = split /\n/, told(($side ? \@pooled : \@direct)->[$who],
			"SELECT cursor, type_key, deleted, sync_status, local_hash FROM sync_state_changes('$cursor[$who][$side]', 3)");

		$cursor[$who][$side] = (split /\|/, $rows[-1])[0] if @rows;
		push @answers, join "\n", map { s/^[^|]*\|//r } @rows;
	}
	push @steps, "client $who: follows";
	push @transcript, \@answers;
	return;
}

for (1 .. $steps)
{
	my $who = int rand 3;
	my $kind = rand;

	if ($kind < 0.15)
	{
		follow($who);
	}
	elsif ($kind < 0.7)
	{
		step($who, pick(@calls)->());
	}
	else
	{
		# In a transaction that ends one way or another: what it took does not
		# outlive it if it was rolled back.
		my @statements = map { pick(@calls)->() } 1 .. 1 + rand 3;

		unshift @statements, q{SET LOCAL syncstate.lease = '1 h'} if rand() < 0.5;
		push @statements, 'SELECT 1/0' if rand() < 0.2;
		s/ AS run\d+// for @statements;
		s/SELECT run_id(, | FROM)/SELECT run_id IS NOT NULL$1/ for @statements;
		step($who, join '; ', 'BEGIN', @statements, pick(qw(COMMIT COMMIT ROLLBACK)));
	}
}

my ($wrong) = grep { $transcript[$_][0] ne $transcript[$_][1] } 0 .. $#transcript;
ok(!defined $wrong, "$steps steps, seed $seed: the pooler makes no difference")
  or diag("step $wrong, $steps[$wrong]:\ndirect: $transcript[$wrong][0]\npooled: $transcript[$wrong][1]");

# It was worth comparing.
for my $state (qw(55000 55P03 P0002))
{
	my $times = grep { $_->[0] =~ /^$state$/m } @transcript;

	cmp_ok($times, '>', 2, "$state in the history, $times times");
}
my $digests = grep { $_->[1] =~ /^digest is right: true$/m } @transcript;
cmp_ok($digests, '>', 3, "a tracked digest was compared, $digests times");
is((grep { $_->[1] =~ /^digest is right: false$/m } @transcript), 0, '... and was right each time');
is(told($pooled[$_], 'SELECT pg_backend_pid()'), $backend, 'still the same backend') for 0 .. 2;

# The ends are the same, too, but for tokens, times and transaction ids.
for my $table (qw(sync_state sync_run sync_conflict sync_tombstone sync_row_base))
{
	my $all = qq{
SELECT j FROM (SELECT to_jsonb(t) - '{changed_xid,run_id,created_at,updated_at,last_sync_at,lease_expires_at,backend_pid,
  started_at,finished_at,detected_at,resolved_at,deleted_at}'::text[] AS j FROM syncstate.$table t) x ORDER BY j::text};

	is($node->safe_psql('pooled', $all), $node->safe_psql('direct', $all), "the same rows of $table");
}

# ---------------------------------------------------------------------------
# Nothing is left in the shared session
# ---------------------------------------------------------------------------
my ($one, $two, $three) = @pooled;

# What a session could keep: settings, locks, temporary objects, statements.
my $left = q{
SELECT 'setting ' || name FROM pg_settings WHERE source = 'session' AND name LIKE 'syncstate.%'
UNION ALL SELECT 'lock ' || locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype NOT IN ('virtualxid')
  AND (locktype <> 'relation' OR relation >= 16384)
UNION ALL SELECT 'prepared ' || name FROM pg_prepared_statements
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
UNION ALL SELECT 'listens ' || c FROM pg_listening_channels() c
UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()};
is(told($two, $left), '', 'nothing is left of what the clients did');

is( told($one, q{BEGIN; SET LOCAL syncstate.lease = '20 d'; SELECT run_number FROM sync_state_begin('leased'); COMMIT;
SELECT lease_expires_at > now() + interval '19 d' FROM sync_state_get('leased')}),
	"1\nt",
	'SET LOCAL counts for the transaction');
is( told($two, q{SELECT run_number FROM sync_state_begin('leased 2'); SELECT lease_expires_at < now() + interval '1 h' FROM sync_state_get('leased 2')}),
	"1\nt",
	'... and not for the next client');
is(told($two, 'SHOW syncstate.lease'), '5min', '... who finds the default');
told($one, q{SET syncstate.lease = '2 h'});
is(told($two, 'SHOW syncstate.lease'), '2h', 'what is set without LOCAL is left to the next client, as the documentation warns');
told($three, 'RESET syncstate.lease');

# A transaction that is open keeps others waiting, in the pooler, not for ever.
told($one, 'BEGIN');
my $token = told($one, q{SELECT run_id FROM sync_state_begin('waited for')});
$two->{stdin} .= "SELECT count(*) FROM sync_state_try_begin('waited for');\n\\echo done\n";
for (my $tries = 500; (my $pools = $pooler->safe_psql('pgbouncer', 'SHOW POOLS')) !~ /^pooled\|\w+\|\d+\|1\|/m; usleep(10_000))
{
	die "no client waits:\n$pools" if --$tries == 0;
	$two->{run}->pump_nb;
}
is($two->{stdout}, '', 'a client waits while another has its transaction open');
told($one, 'COMMIT');
pump_until($two->{run}, $two->{timeout}, \$two->{stdout}, qr/done\n/);
is($two->{stdout}, "0\ndone\n", '... then finds the key held');
$two->{stdout} = '';
is(told($three, qq{SELECT sync_status FROM sync_state_mark_synced('waited for', 'h', 'h', '$token')}),
	'in_sync', '... whose token is good for any client that has it');

# A client that is gone in the middle of its transaction.
$token = told($one, q{SELECT run_id FROM sync_state_begin('lost', lease => '1 us')});
told($one, qq{BEGIN; SELECT sync_state_checkpoint('lost', '$token', '{"n": 1}', lease => '1 us'); COMMIT});
told($one, qq{BEGIN; UPDATE content SET title = 'lost'; SELECT sync_state_checkpoint('lost', '$token', '{"n": 2}')});
$one->{run}->kill_kill;
is(told($two, q{SELECT sync_progress FROM sync_state_resume('lost')}), '{"n": 1}',
	'a client is lost in its transaction: another resumes at what was committed');
is(told($two, qq{SELECT sync_state_checkpoint('lost', '$token', '{"n": 3}')}), '55000', '... and the old token is refused');
my $right = q{SELECT sync_state_delta('content')->>'local_hash' = (SELECT sync_digest(id, title) FROM content), (SELECT count(*) FROM content WHERE title = 'lost')};
is(told($two, $right), 't|0', '... nor is anything left of what it wrote');

# What a transaction noted of a tracked table goes with it.
told($two, q{BEGIN; UPDATE content SET title = 'undone'; SAVEPOINT s; DELETE FROM content WHERE id < 9; ROLLBACK TO s; ROLLBACK});
told($three, q{BEGIN; UPDATE content SET title = 'done' WHERE id = 1; SELECT 1/0; COMMIT});
told($three, q{INSERT INTO content VALUES (1000, 'kept')});
is(told($two, $right), 't|0', 'a digest has only what was committed');
is(told($two, q{SELECT sync_source_verify('content')->>'valid'}), 'true', '... as verify finds');

# Plans that were made for one role are not used for another.
told($two, q{
CREATE ROLE tenant_a; CREATE ROLE tenant_b;
GRANT USAGE ON SCHEMA syncstate TO tenant_a, tenant_b;
GRANT ALL ON ALL TABLES IN SCHEMA syncstate TO tenant_a, tenant_b;
ALTER TABLE syncstate.sync_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON syncstate.sync_state USING (starts_with(type_key, current_setting('app.tenant') || ':'));
SELECT sync_state_observe_many('{a:1,a:2,b:1}', '{h,h,h}', NULL)});

sub as_tenant
{
	my ($client, $tenant, $sql) = @_;

	return told($client, "BEGIN; SET LOCAL ROLE tenant_$tenant; SET LOCAL app.tenant = '$tenant'; $sql; COMMIT");
}
for (1 .. 6)
{
	# Often enough for a plan that is kept to become a generic one.
	is(as_tenant($two, 'a', q{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_plan()}),
		'a:1 a:2', 'a tenant sees his rows');
	is(as_tenant($three, 'b', q{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_plan()}),
		'b:1', '... another one his');
	is(as_tenant($two, 'a', q{SELECT count(*) FROM sync_state_get('a:1') x, sync_state_get('a:2') y}), '1', '... one by one');
	is(as_tenant($three, 'b', q{SELECT count(*) FROM sync_state_get('a:1')}), '0', '... and nothing else');
	is(as_tenant($three, 'b', q{SELECT sync_state_checkpoint('a:1', gen_random_uuid(), NULL)}), 'P0002', '... nor touches it');
}
is(told($two, q{SELECT current_user = session_user, current_setting('app.tenant', true), count(*) FROM sync_state_get('b:1')}),
	't||1', 'a client after them is neither');

# The extension is made anew, in another schema, beside clients with kept plans.
told($two, q{CREATE SCHEMA elsewhere; DROP EXTENSION syncstate CASCADE; CREATE EXTENSION syncstate SCHEMA elsewhere});
is(told($three, q{SELECT sync_state_get('a:1')}), '42883', 'the extension is gone from where it was');
is(told($three, q{SELECT count(*) FROM elsewhere.sync_state_plan()}), '0', '... and has new tables');
is(told($two, q{SELECT run_number FROM elsewhere.sync_state_begin('new'); SELECT sync_status FROM elsewhere.sync_state_get('new')}), "1\nsyncing",
	'... which the same backend uses');

# ---------------------------------------------------------------------------
# Notifications
# ---------------------------------------------------------------------------
my $listener = $node->background_psql('pooled');
$listener->query_safe('LISTEN syncstate');
told($two, q{BEGIN; SET LOCAL syncstate.notify = 'changes'; SELECT elsewhere.sync_state_observe('loud', 'h'); COMMIT});
told($three, q{SELECT elsewhere.sync_state_observe('silent', 'h')});
told($two, q{BEGIN; SET LOCAL syncstate.notify = 'changes'; SELECT elsewhere.sync_state_observe('last', 'h'); COMMIT});
my $heard = $listener->query_safe('SELECT 1');
like($heard, qr/"type_key": "loud"/, 'a notification by way of the pooler');
like($heard, qr/"type_key": "last"/, '... and another');
unlike($heard, qr/silent/, '... but of nobody else');
is(told($two, $left), '', 'and again nothing is left');

$_->quit for (@direct, $two, $three, $listener);
$bouncer->kill_kill;
undef $bouncer;
$node->stop;
done_testing();
