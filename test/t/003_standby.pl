# A standby serves every reading function with the same answers as the primary,
# refuses every writing one (25006) and the change feed (55000), and after
# promotion runs go on where they were, but cursors do not.  What the standby had
# not received has never been, and tokens of it are refused.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$primary->start;
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

sub sqlstate
{
	my ($node, $sql) = @_;
	my $stderr;

	$node->psql('postgres', $sql, stderr => \$stderr,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

$primary->safe_psql(
	'postgres', q{
CREATE EXTENSION syncstate;
SELECT sync_state_mark_synced('article', 'l1', 'r1');
SELECT sync_state_observe('article', 'l2', 'r1');
SELECT sync_state_mark_synced('page', 'l1', 'r1');
SELECT sync_state_observe('page', 'l2', 'r2');
SELECT sync_state_update('plain', '{"sync_status": "syncing"}');
SELECT sync_state_checkpoint('gone', run_id, '{"offset": 5}', lease => '1 ms') FROM sync_state_begin('gone', lease => '1 ms');
});
my $gone = $primary->safe_psql('postgres',
	"SELECT run_id FROM sync_state_get('gone')");
my $live = $primary->safe_psql('postgres',
	"SELECT run_id FROM sync_state_begin('live', lease => '1 day')");
my $done = $primary->safe_psql('postgres',
	"SELECT run_id FROM sync_state_begin('done')");
$primary->safe_psql(
	'postgres', qq{
SELECT sync_state_mark_synced('done', 'l1', 'l1', '$done');
SELECT sync_state_checkpoint('live', '$live', '{"offset": 10}');
});
my $taken = $primary->safe_psql('postgres',
	"SELECT run_id FROM sync_state_begin('taken', lease => '1 us')");
my $taker = $primary->safe_psql('postgres',
	"SELECT run_id FROM sync_state_begin('taken', lease => '1 day')");
$primary->safe_psql(
	'postgres', q{
CREATE TABLE content (id int PRIMARY KEY, title text);
INSERT INTO content SELECT g, 'title ' || g FROM generate_series(1, 100) g;
CREATE TABLE other AS TABLE content;
SELECT sync_source_attach('content', 'content', 'other', row_base => true);
SELECT sync_source_attach('measured', 'other');
SELECT sync_source_track('content');
SELECT sync_state_observe('content');
UPDATE content SET title = 'ours' WHERE id IN (1, 2);
UPDATE other SET title = 'theirs' WHERE id IN (2, 3);
});
$primary->wait_for_catchup($standby);

# Reads
my @reads = (
	q{SELECT sync_state_delta('article')},
	q{SELECT sync_state_delta('article', 'l9', remote_absent => true)},
	q{SELECT sync_state_delta('nobody knows')},
	q{SELECT * FROM sync_state_plan() ORDER BY type_key},
	q{SELECT * FROM sync_state_plan('p') ORDER BY type_key},
	q{SELECT * FROM sync_state_plan_for(ARRAY['article', 'new'], ARRAY['l1', 'l1'], NULL, complete => true)},
	q{SELECT * FROM sync_state_get('live')},
	q{SELECT * FROM sync_state_list(sync_status => 'modified') ORDER BY type_key},
	q{SELECT * FROM sync_state_list(prefix => 'p') ORDER BY type_key},
	q{SELECT sync_state_changed_since('-infinity')},
	q{SELECT c.* FROM sync_state_get('article') a, sync_state_get('page') b, sync_state_compare(to_jsonb(a), to_jsonb(b)) c},
	q{SELECT sync_state_detect_interrupted()},
	q{SELECT sync_state_detect_interrupted(clock_timestamp() + interval '2 days')},
	q{SELECT * FROM syncstate.sync_interrupted ORDER BY type_key},
	q{SELECT sync_state_action('a', 'b', 'a', 'a'), sync_state_detail('a', 'b', 'a', 'a'), sync_state_version()},
	q{SELECT type_key, sync_status, action, detail, last_sync_at, run_owner, lease_expires_at, percent FROM syncstate.sync_overview ORDER BY type_key},
	q{SELECT * FROM syncstate.sync_summary ORDER BY sync_status},
	q{SELECT sync_hash('{"a": [1, 2.50]}'), sync_hash_text('a')},
	q{SELECT sync_digest(id, title), sync_digest(title) FROM content},
	q{SELECT sync_row_hash(id, title) FROM content WHERE id < 5 ORDER BY id},
	q{SELECT sync_sketch_diff((SELECT sync_sketch(64, 1, id, title) FROM content), (SELECT sync_sketch(64, 1, id, title) FROM other))::text ORDER BY 1},
	q{SELECT sync_state_delta('content'), sync_state_delta('measured')},
	q{SELECT * FROM sync_source_diff('content') ORDER BY key::text},
	q{SELECT * FROM sync_source_diff3('content') ORDER BY key::text},
);
for my $sql (@reads)
{
	my $expected = $primary->safe_psql('postgres', $sql);

	isnt($expected, '', "primary: $sql");
	is($standby->safe_psql('postgres', $sql), $expected, "standby: $sql");
}
is( $standby->safe_psql('postgres', 'SELECT sync_state_detect_interrupted()'),
	"gone\nplain",
	'the standby names the interrupted runs');

# The feed: its cursors are good on the primary only.
my $cursor = $primary->safe_psql('postgres', 'SELECT sync_state_cursor()');
my $in_set = $primary->safe_psql('postgres', 'SELECT cursor FROM sync_state_changes(NULL, 1)');
$primary->safe_psql('postgres', "SELECT sync_state_observe('told', 'l1')");
is( $primary->safe_psql('postgres', "SELECT type_key FROM sync_state_changes('$cursor')"),
	'told',
	'primary: the feed');
$primary->wait_for_catchup($standby);

# Why the feed is refused, or what it has answered.
sub refused
{
	my ($node, $call) = @_;
	my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT $call",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return $stderr =~ /ERROR:\s+55000: resync required\nDETAIL:\s+(.*)/ ? $1 : "$stdout $stderr";
}

for my $call ('sync_state_changes()', "sync_state_changes('$cursor')",
	"sync_state_changes('$in_set')", 'sync_state_cursor()')
{
	like(refused($standby, $call), qr/^On a standby /, "standby: $call is refused");
}

# Writes, those included that would find nothing to do.
my @writes = (
	q{SELECT sync_state_begin('article')},
	q{SELECT sync_state_begin('new')},
	q{SELECT sync_state_begin('live')},
	q{SELECT sync_state_try_begin('article')},
	q{SELECT sync_state_try_begin('live')},
	q{SELECT sync_state_claim(10)},
	q{SELECT sync_state_claim(10, prefix => 'nothing')},
	q{SELECT sync_state_resume('gone')},
	qq{SELECT sync_state_checkpoint('live', '$live', '{"offset": 20}')},
	qq{SELECT sync_state_checkpoint('live', '$live', NULL)},
	qq{SELECT sync_state_fail('live', '$live')},
	qq{SELECT sync_state_rollback('live', '$live')},
	q{SELECT sync_state_observe('article', 'l3')},
	q{SELECT sync_state_observe('article', 'l2', 'r1')},
	q{SELECT sync_state_observe_many(ARRAY['article'], ARRAY['l3'], NULL)},
	q{SELECT sync_state_observe_many('{}', '{}', NULL)},
	q{SELECT sync_state_update('article', '{"local_hash": "l3"}')},
	q{SELECT sync_state_update_many('{"article": {"local_hash": "l3"}}')},
	q{SELECT sync_state_update_many('[]')},
	q{SELECT sync_state_mark_synced('article', 'l2', 'l2')},
	qq{SELECT sync_state_mark_synced('done', 'l1', 'l1', '$done')},
	q{SELECT sync_state_mark_synced_many(ARRAY['article'], ARRAY['l2'], ARRAY['l2'])},
	q{SELECT sync_state_reset('article')},
	q{SELECT sync_state_forget('article')},
	q{SELECT sync_state_forget('nobody knows')},
	q{SELECT sync_state_resolve('page', 'local')},
	q{SELECT sync_state_import('syncstate.sync_state')},
	q{SELECT sync_state_prune('0')},
	q{SELECT sync_state_repair()},
	q{SELECT sync_source_attach('content', 'content')},
	q{SELECT sync_source_detach('content')},
	q{SELECT sync_source_track('measured')},
	q{SELECT sync_source_untrack('content')},
	q{SELECT sync_source_verify('content')},
);
my @feed = ('sync_state_changes(', 'sync_state_cursor(');

# There are no others: a function that writes is VOLATILE, one that reads is not.
my $functions = q{
SELECT DISTINCT p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
 WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate') AND p.pronamespace = 'public'::regnamespace
   AND (p.provolatile = 'v') = %s ORDER BY 1};
for my $kind ([ 'reads', 'false', @reads, @feed ], [ 'writes', 'true', @writes ])
{
	my ($name, $volatile, @calls) = @$kind;
	my %called = map { $_ => 1 } map { /\b(sync_\w+)\(/g } @calls;

	is( join("\n", sort keys %called),
		$primary->safe_psql('postgres', sprintf $functions, $volatile),
		"every function that $name is called");
}
my $before = $primary->safe_psql('postgres',
	'SELECT (s.ctid, s)::text FROM syncstate.sync_state s ORDER BY type_key');
my %session;
for my $node ($standby, $primary)
{
	$session{ $node->name } = $node->background_psql('postgres', on_error_stop => 0,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
}
$session{primary}->query_safe('SET default_transaction_read_only = on');
for my $sql (@writes)
{
	for my $name (qw(standby primary))
	{
		$session{$name}->{stderr} = '';
		$session{$name}->query($sql);
		like($session{$name}->{stderr}, qr/ERROR:\s+25006$/m, "read only on the $name: $sql");
	}
}
for my $psql (values %session)
{
	$psql->{stderr} = '';
	$psql->quit;
}
is( $primary->safe_psql('postgres',
		'SELECT (s.ctid, s)::text FROM syncstate.sync_state s ORDER BY type_key'),
	$before,
	'and nothing has changed');

# The standby is cut off, while things go on: what it will not know has never been.
$standby->stop;
my $unseen = $primary->safe_psql('postgres', q{SELECT run_id FROM sync_state_begin('unseen', lease => '1 day')});
my $unseen_taker = $primary->safe_psql('postgres', q{SELECT run_id FROM sync_state_begin('gone', lease => '1 day')});
$primary->safe_psql('postgres', q{UPDATE content SET title = 'unseen'; SELECT sync_state_observe('told', 'unseen')});
my $unseen_cursor = $primary->safe_psql('postgres', 'SELECT sync_state_cursor()');

# Promotion
$primary->stop('immediate');
$standby->start;
$standby->promote;

for my $call ("sync_state_checkpoint('unseen', '$unseen', NULL)", "sync_state_mark_synced('unseen', 'h', 'h', '$unseen')",
	"sync_state_checkpoint('gone', '$unseen_taker', NULL)", "sync_state_mark_synced('gone', 'h', 'h', '$unseen_taker')",
	"sync_state_fail('gone', '$unseen_taker')")
{
	like(sqlstate($standby, "SELECT $call"), qr/^(55000|P0002)$/, 'after promotion: a token that it never knew is refused');
}
like(refused($standby, "sync_state_changes('$unseen_cursor')"), qr/another timeline/, '... and so is a cursor');
is($standby->safe_psql('postgres', q{SELECT local_hash FROM sync_state_get('told')}), 'l1', 'what was not received is not there');
for my $call ("sync_state_checkpoint('taken', '$taken', NULL)", "sync_state_mark_synced('taken', 'h', 'h', '$taken')", "sync_state_fail('taken', '$taken')")
{
	is(sqlstate($standby, "SELECT $call"), '55000', 'a run that was superseded before is fenced after promotion, too');
}
is($standby->safe_psql('postgres', "SELECT sync_status FROM sync_state_mark_synced('taken', 'h', 'h', '$taker')"),
	'in_sync', '... and the one that took over ends');
is($standby->safe_psql('postgres', q{SELECT string_agg(outcome, ' ' ORDER BY run_number) FROM syncstate.sync_run WHERE type_key = 'taken'}),
	'superseded synced', '... with its history');
is($standby->safe_psql('postgres', q{UPDATE content SET title = 'theirs' WHERE id = 3; UPDATE other SET title = 'ours' WHERE id = 1;
SELECT key, action FROM sync_source_diff3('content'); SELECT sync_source_verify('content')->>'valid'}),
	qq({"id": 2}|CONFLICT\ntrue), 'sources go on, and tracked digests are right');

for my $old ($cursor, $in_set)
{
	like(refused($standby, "sync_state_changes('$old')"),
		qr/another timeline/, 'after promotion: a cursor of the old primary is refused');
}
is( $standby->safe_psql('postgres',
		q{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_changes()}),
	$standby->safe_psql('postgres',
		q{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_list()}),
	'everything can be read anew');
$cursor = $standby->safe_psql('postgres', 'SELECT sync_state_cursor()');
$standby->safe_psql('postgres', "SELECT sync_state_observe('told', 'l2')");
is( $standby->safe_psql('postgres', "SELECT type_key FROM sync_state_changes('$cursor')"),
	'told',
	'and followed from there');

is( $standby->safe_psql('postgres',
		"SELECT sync_status, run_id = '$live', sync_progress FROM sync_state_get('live')"
	),
	'syncing|t|{"offset": 10}',
	'after promotion: the checkpoint is there');
is(sqlstate($standby, "SELECT sync_state_begin('live')"),
	'55P03', 'the live run still holds its key');
is( $standby->safe_psql('postgres',
		"SELECT sync_state_checkpoint('live', '$live', '{\"offset\": 20}') > clock_timestamp()"
	),
	't',
	'and goes on');
is( $standby->safe_psql('postgres',
		"SELECT sync_status FROM sync_state_mark_synced('live', 'l1', 'l1', '$live')"
	),
	'in_sync',
	'to its end');
is( $standby->safe_psql('postgres',
		"SELECT run_number, sync_progress FROM sync_state_resume('gone')"),
	'2|{"offset": 5}',
	'the interrupted one resumes');
is(sqlstate($standby, "SELECT sync_state_checkpoint('gone', '$gone', NULL)"),
	'55000', 'and its old token is refused');
is( $standby->safe_psql('postgres',
		"SELECT sync_status FROM sync_state_mark_synced('done', 'l1', 'l1', '$done')"
	),
	'in_sync',
	'a lost acknowledgement can be asked for on the new primary');

$standby->stop;
done_testing();
