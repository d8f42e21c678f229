# Dump and restore, by the owner of a database who is no superuser.
#
# Every row of the registered tables comes back as it was, apart from
# changed_xid, which the trigger sets anew; tombstones and the feed's incarnation
# do not, since no cursor outlives a restore.  Grants come back, by themselves.
# Row security is put back by a migration, after the extension's owner has
# created the extension and restored into it.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$node->start;

my $dir = PostgreSQL::Test::Utils::tempdir();

# Everything from here on is done by these two.
$node->safe_psql(
	'postgres', q{
CREATE ROLE app_owner LOGIN;
CREATE ROLE reader LOGIN;
CREATE DATABASE source OWNER app_owner;
CREATE DATABASE plain OWNER app_owner;
CREATE DATABASE prepared OWNER app_owner;
});

sub as
{
	my ($role, $db, $sql) = @_;

	return $node->safe_psql($db, $sql, extra_params => [ '-U', $role ]);
}

sub sqlstate
{
	my ($role, $db, $sql) = @_;
	my $stderr;

	$node->psql($db, $sql, stderr => \$stderr,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

# The row security of the application.
my $migration = q{
ALTER TABLE syncstate.sync_state ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader_pages ON syncstate.sync_state FOR SELECT TO reader USING (type_key LIKE 'page%');
};

as('app_owner', 'source', q{
CREATE EXTENSION syncstate;
SELECT sync_state_mark_synced('article', 'l1', 'r1');
SELECT sync_state_mark_synced('page/1', 'l1', NULL);
SELECT sync_state_observe('page/1', 'l2');
SELECT sync_state_mark_synced('page/2', 'l1', 'r1');
SELECT sync_state_observe('page/2', 'l2', 'r2');
SELECT sync_state_observe('page/2', 'l3', 'r3');
SELECT sync_state_mark_synced('page/3', 'l1', 'r1');
SELECT sync_state_observe('page/3', 'l2', remote_absent => true);
SELECT sync_state_mark_synced('page/3', 'l2', 'l2');
SELECT sync_state_checkpoint('failed', run_id, '{"offset": 7, "text": "tab\tand \\\\ and ü"}') FROM sync_state_begin('failed', owner => 'o''wner');
SELECT sync_state_fail('failed', NULL, E'line\none', force => true);
SELECT sync_state_checkpoint('live', run_id, '[1, null]') FROM sync_state_begin('live', lease => '1 day');
SELECT sync_state_checkpoint('gone', run_id, '{"offset": 5}', lease => '1 ms') FROM sync_state_begin('gone', lease => '1 ms');
SELECT sync_state_rollback('gone/2', run_id, 'x') FROM sync_state_begin('gone/2');
SELECT sync_state_update('ключ ' || E'\t\\\\', '{"sync_status": null, "local_hash": "\\\\N"}');
INSERT INTO syncstate.sync_state (type_key) VALUES (repeat('x', 512)), (' ');
INSERT INTO syncstate.sync_state (type_key, last_sync_at, local_hash) VALUES ('orm', '2001-02-03 04:05:06.789 UTC', '');
SELECT sync_state_observe('deleted', 'l1');
SELECT sync_state_forget('deleted');
GRANT USAGE ON SCHEMA syncstate TO reader;
GRANT SELECT ON syncstate.sync_state TO reader;
} . $migration);

is(as('reader', 'source', 'SELECT sync_state_changed_since(\'-infinity\')'),
	"page/1\npage/2\npage/3", 'row security holds before the dump');
is(sqlstate('reader', 'source', 'SELECT * FROM syncstate.sync_run'),
	'42501', 'and what was not granted is refused');

# Rows of all registered tables, as text, without what is set anew.
my @tables = split /\n/,
  as('app_owner', 'source', q{
SELECT t::regclass FROM pg_extension, unnest(extconfig) t WHERE extname = 'syncstate' ORDER BY 1::text});
for my $table (qw(sync_state sync_run sync_conflict))
{
	ok((grep { $_ eq "syncstate.$table" } @tables), "$table is registered");
}
ok(!(grep { /sync_tombstone|sync_feed/ } @tables),
	'tombstones and feed are not');

sub rows
{
	my ($db, $table) = @_;

	return as('app_owner', $db,
		"SELECT to_jsonb(t) - 'changed_xid' FROM $table t ORDER BY (to_jsonb(t) - 'changed_xid')::text"
	);
}

my %before = map { $_ => rows('source', $_) } @tables;
my $xid = as('app_owner', 'source', 'SELECT pg_current_xact_id()');

$node->command_ok(
	[
		'pg_dump', '--format=custom', "--file=$dir/dump",
		'--username=app_owner', 'source'
	],
	'dumped by the owner');

# Into an empty database, and into one in which the extension is there already.
as('app_owner', 'prepared', 'CREATE EXTENSION syncstate');
for my $db (qw(plain prepared))
{
	$node->command_ok(
		[
			'pg_restore', '--exit-on-error', "--dbname=$db",
			'--username=app_owner', "$dir/dump"
		],
		"$db: restored by the owner");

	for my $table (@tables)
	{
		is(rows($db, $table), $before{$table}, "$db: every row of $table is back");
	}

	is( as('app_owner', $db, "SELECT count(*), count(DISTINCT changed_xid), bool_and(changed_xid > $xid) FROM syncstate.sync_state"),
		'12|1|t',
		"$db: changed_xid is that of the restore");
	is( as('app_owner', $db,
			'SELECT count(*) FROM syncstate.sync_tombstone'),
		'0',
		"$db: no tombstones");
	is( as('app_owner', $db, 'SELECT count(*) FROM syncstate.sync_feed'),
		'1', "$db: one feed");
	isnt(
		as('app_owner', $db, 'SELECT incarnation FROM syncstate.sync_feed'),
		as('app_owner', 'source',
			'SELECT incarnation FROM syncstate.sync_feed'),
		"$db: of another incarnation");
	is( as('app_owner', $db, q{
SELECT count(*), count(*) FILTER (WHERE tgenabled <> 'A') FROM pg_trigger
 WHERE tgrelid = 'syncstate.sync_state'::regclass AND NOT tgisinternal}),
		as('app_owner', 'source', q{
SELECT count(*), 0 FROM pg_trigger WHERE tgrelid = 'syncstate.sync_state'::regclass AND NOT tgisinternal}),
		"$db: triggers are all ALWAYS");

	# Privileges are part of a dump.
	is( as('app_owner', $db, q{
SELECT has_schema_privilege('reader', 'syncstate', 'USAGE'),
       has_table_privilege('reader', 'syncstate.sync_state', 'SELECT'),
       has_table_privilege('reader', 'syncstate.sync_state', 'UPDATE'),
       has_table_privilege('reader', 'syncstate.sync_run', 'SELECT')}),
		't|t|f|f',
		"$db: grants are back");
	is( as('app_owner', $db, q{
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'syncstate'::regnamespace AND relkind IN ('r', 'v')}),
		'app_owner',
		"$db: tables and views are the owner's");
}

# Row security: by the migration, as the documentation says.
my $rls = q{
SELECT relrowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid)
  FROM pg_class c WHERE oid = 'syncstate.sync_state'::regclass};
is(as('app_owner', 'source', $rls), 't|1', 'row security before');
is(as('app_owner', 'prepared', $rls), 'f|0', 'is not in the dump');
as('app_owner', 'prepared', $migration);
is(as('app_owner', 'prepared', $rls), 't|1', 'row security after the migration');
is(as('reader', 'prepared', 'SELECT sync_state_changed_since(\'-infinity\')'),
	"page/1\npage/2\npage/3", 'and it holds');

# What was going on goes on.
my $token = as('app_owner', 'source',
	"SELECT run_id FROM sync_state_get('live')");
is( as('app_owner', 'plain',
		"SELECT sync_state_checkpoint('live', '$token', '[2]') > clock_timestamp()"
	),
	't',
	'a live run goes on under its token');
is(sqlstate('app_owner', 'plain', "SELECT sync_state_begin('live')"),
	'55P03', 'and still holds its key');
is( as('app_owner', 'plain',
		"SELECT sync_status, run_number FROM sync_state_mark_synced('live', 'l1', 'l1', '$token')"
	),
	'in_sync|1',
	'and ends');
is( as('app_owner', 'plain', 'SELECT sync_state_detect_interrupted()'),
	'gone', 'an interrupted run is found');
is( as('app_owner', 'plain',
		"SELECT run_number, sync_progress, content_moved FROM sync_state_resume('gone')"
	),
	'2|{"offset": 5}|f',
	'and resumed');
is( as('app_owner', 'plain',
		"SELECT run_number, sync_progress ->> 'offset' FROM sync_state_begin('failed')"
	),
	'2|7',
	'and so is a failed one');
is( as('app_owner', 'plain', q{
SELECT sync_state_observe('page/2', 'l3', 'r3') ->> 'action',
       (SELECT string_agg(conflict_number || coalesce(resolution, ' open'), ' ' ORDER BY conflict_number)
          FROM syncstate.sync_conflict WHERE type_key = 'page/2')}),
	'CONFLICT|1vanished 2 open',
	'a conflict seen again after the restore is still the same');

$node->stop;
done_testing();
