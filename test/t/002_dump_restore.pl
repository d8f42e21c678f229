# Dump and restore, by the owner of a database who is no superuser.
#
# Every row of the registered tables comes back as it was, apart from
# changed_xid, which the trigger sets anew; tombstones and the feed's incarnation
# do not, since no cursor outlives a restore: it is refused.  So is every one
# after pg_restore --disable-triggers, until sync_state_repair() has been called.
# Grants come back, by themselves.
# Row security is put back by a migration, after the extension's owner has
# created the extension and restored into it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Recorded qw($recorded documented refused);
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

as('app_owner', 'source', $recorded . q{
GRANT USAGE ON SCHEMA syncstate TO reader;
GRANT SELECT ON syncstate.sync_state TO reader;
} . $migration);

# The roles, and a policy on each table, as documented; roles are the cluster's.
my $grants = documented('Roles and grants');
my $policies = documented('Row security');
$node->safe_psql('postgres', join "\n", $grants =~ /^(CREATE ROLE .*?;)$/mg);
$grants =~ s/^CREATE ROLE .*?;$//mg;
as('app_owner', 'source', $grants);
as('app_owner', 'source', join "\n", $policies =~ /^(CREATE POLICY .*?;)$/msg);

my $privileges = q{
SELECT c.relname, a.grantee::regrole, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type)
  FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'syncstate'::regnamespace GROUP BY 1, 2
UNION ALL
SELECT 'schema', a.grantee::regrole, string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type)
  FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'syncstate' GROUP BY 1, 2 ORDER BY 1, 2};
my $granted = as('app_owner', 'source', $privileges);
like($granted, qr/^sync_overview\|sync_reader\|SELECT$/m, 'the documented grants');
like($granted, qr/^sync_tombstone\|sync_admin\|DELETE INSERT UPDATE$/m, '... to the last');

is(as('reader', 'source', 'SELECT sync_state_changed_since(\'-infinity\')'),
	"page/1\npage/2\npage/3", 'row security holds before the dump');
is(sqlstate('reader', 'source', 'SELECT * FROM syncstate.sync_run'),
	'42501', 'and what was not granted is refused');

# Rows of all registered tables, as text, without what is set anew.
my @tables = split /\n/,
  as('app_owner', 'source', q{
SELECT t::regclass FROM pg_extension, unnest(extconfig) t WHERE extname = 'syncstate' ORDER BY 1::text});
for my $table (qw(sync_state sync_run sync_conflict sync_source sync_row_base))
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
my $cursor = as('app_owner', 'source', 'SELECT sync_state_cursor()');
my $in_set = as('app_owner', 'source', 'SELECT cursor FROM sync_state_changes(NULL, 1)');

my $all_keys = q{SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM };

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

	for my $old ($cursor, $in_set)
	{
		like(refused($node, $db, "sync_state_changes('$old')"),
			qr/another database/, "$db: a cursor of before is refused");
	}
	is( as('app_owner', $db, "$all_keys sync_state_changes()"),
		as('app_owner', 'source', "$all_keys sync_state_list()"),
		"$db: the feed tells of every row anew");

	# Privileges are part of a dump.
	is( as('app_owner', $db, q{
SELECT has_schema_privilege('reader', 'syncstate', 'USAGE'),
       has_table_privilege('reader', 'syncstate.sync_state', 'SELECT'),
       has_table_privilege('reader', 'syncstate.sync_state', 'UPDATE'),
       has_table_privilege('reader', 'syncstate.sync_run', 'SELECT')}),
		't|t|f|f',
		"$db: grants are back");
	is(as('app_owner', $db, $privileges), $granted,
		"$db: and so are all those that are documented");
	is(as('app_owner', $db, 'SELECT count(*) FROM pg_policies'),
		'0', "$db: policies are not, documented or other");
	is( as('app_owner', $db, q{
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'syncstate'::regnamespace AND relkind IN ('r', 'v')}),
		'app_owner',
		"$db: tables and views are the owner's");
}

# Row security: by the migration, as the documentation says.
my $rls = q{
SELECT relrowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid)
  FROM pg_class c WHERE oid = 'syncstate.sync_state'::regclass};
is(as('app_owner', 'source', $rls), 't|2', 'row security before');
is(as('app_owner', 'prepared', $rls), 'f|0', 'is not in the dump');
as('app_owner', 'prepared', $migration);
is(as('app_owner', 'prepared', $rls), 't|1', 'row security after the migration');
is(as('reader', 'prepared', 'SELECT sync_state_changed_since(\'-infinity\')'),
	"page/1\npage/2\npage/3", 'and it holds');
as('app_owner', 'prepared', $policies);
is( as('app_owner', 'prepared', q{
SELECT string_agg(c.relname || ' ' || p.polname, ', ' ORDER BY c.relname, p.polname)
  FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relrowsecurity}),
	'sync_conflict tenant, sync_run tenant, sync_state reader_pages, sync_state tenant, sync_tombstone tenant',
	'and so are those that are documented');
is( $node->safe_psql('prepared', q{
SET ROLE sync_reader;
SET app.tenant = 'acme';
SELECT count(*) FROM syncstate.sync_overview;
}),
	'0', 'of which another tenant sees nothing');

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

# Rows alone, into the database that they are from: they are changes like any.
# They get transaction ids that another cluster will not have given out.
$node->safe_psql('source', q{
DO $$
BEGIN
	FOR n IN 1 .. 5000 LOOP
		PERFORM pg_current_xact_id();
		COMMIT;
	END LOOP;
END $$;
});
$node->safe_psql('source', 'DELETE FROM syncstate.sync_state; DELETE FROM syncstate.sync_run; DELETE FROM syncstate.sync_conflict');
$node->command_ok(
	[ 'pg_restore', '--exit-on-error', '--data-only', '--dbname=source', "$dir/dump" ],
	'rows alone, put back');
is( as('app_owner', 'source', "$all_keys sync_state_changes('$cursor') WHERE NOT deleted"),
	as('app_owner', 'source', "$all_keys sync_state_list()"),
	'a cursor of before tells of every row');
is( as('app_owner', 'source', "SELECT type_key FROM sync_state_changes('$cursor') WHERE deleted"),
	'', 'and of no deletion, for all are back');

# Past the triggers, into another cluster.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$other->start;
$node->command_ok([ 'pg_dump', '--format=custom', "--file=$dir/dump2", 'source' ],
	'dumped once more');
$other->safe_psql('postgres', 'CREATE EXTENSION syncstate');
my $there = $other->safe_psql('postgres', 'SELECT sync_state_cursor()');
$other->command_ok(
	[
		'pg_restore', '--exit-on-error', '--data-only', '--disable-triggers',
		'--dbname=postgres', "$dir/dump2"
	],
	'restored with --disable-triggers');
is( $other->safe_psql('postgres', "SELECT to_jsonb(t) - 'changed_xid' FROM syncstate.sync_state t ORDER BY type_key"),
	as('app_owner', 'source', "SELECT to_jsonb(t) - 'changed_xid' FROM syncstate.sync_state t ORDER BY type_key"),
	'--disable-triggers: every row is there');
my @calls = ('sync_state_changes()', "sync_state_changes('$there')", 'sync_state_cursor()');
for my $call (@calls)
{
	like(refused($other, 'postgres', $call), qr/not enabled always/,
		"--disable-triggers: $call is refused");
}
# Mended by hand, the rows are still of the other cluster.
$other->safe_psql('postgres', join ';', map { "ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER $_" }
	  split /\n/, $other->safe_psql('postgres',
		q{SELECT quote_ident(tgname) FROM pg_trigger WHERE tgrelid = 'syncstate.sync_state'::regclass AND NOT tgisinternal}));
for my $call (@calls)
{
	like(refused($other, 'postgres', $call), qr/not yet given out/,
		"--disable-triggers: $call is still refused");
}
is( $other->safe_psql('postgres', 'SELECT sync_state_repair()'),
	'12', 'repair mends every row');
like(refused($other, 'postgres', "sync_state_changes('$there')"),
	qr/another incarnation/, 'a cursor of before is refused');
like(refused($other, 'postgres', "sync_state_changes('$cursor')"),
	qr/another cluster/, 'and so is one of the other cluster');
is( $other->safe_psql('postgres', "$all_keys sync_state_changes()"),
	$other->safe_psql('postgres', "$all_keys sync_state_list()"),
	'everything can be read anew');
$there = $other->safe_psql('postgres', 'SELECT sync_state_cursor()');
$other->safe_psql('postgres', "SELECT sync_state_observe('article', 'l2'), sync_state_forget('page/1')");
is( $other->safe_psql('postgres', "SELECT string_agg(type_key, ' ') FROM sync_state_changes('$there')"),
	'article page/1',
	'and followed from there');

# Sources, with the tables that they are of: their OIDs are others afterwards.
$node->safe_psql('postgres', "CREATE DATABASE $_ OWNER app_owner")
  for qw(content content_plain content_prepared content_apart);
as('app_owner', 'content', q{
CREATE SCHEMA "Odd ""schema";
CREATE EXTENSION syncstate;
CREATE TABLE article (id int PRIMARY KEY, "Title" text, v int);
CREATE TABLE "Odd ""schema"."Other's table" (id int PRIMARY KEY, "Title" text, v int);
CREATE VIEW short AS SELECT id, "Title" FROM article;
CREATE MATERIALIZED VIEW kept AS SELECT id, "Title" FROM article;
INSERT INTO article SELECT i, 'title ' || i, i FROM generate_series(1, 100) i;
INSERT INTO "Odd ""schema"."Other's table" TABLE article;
REFRESH MATERIALIZED VIEW kept;
SELECT sync_source_attach('both', 'article', '"Odd ""schema"."Other''s table"', row_base => true);
SELECT sync_source_attach('given', 'short', 'kept', ARRAY['id', 'Title'], ARRAY['Title', 'id'], true);
SELECT sync_source_attach('half', 'article');
SELECT sync_state_observe(k) FROM unnest('{both,given,half}'::text[]) k;
UPDATE article SET v = -v WHERE id < 4;
DELETE FROM "Odd ""schema"."Other's table" WHERE id BETWEEN 3 AND 5;
});
my %rows = map { $_ => rows('content', $_) } @tables;
is(as('app_owner', 'content', 'SELECT count(*) FROM syncstate.sync_row_base'), '200', 'bases of rows');
like($rows{'syncstate.sync_source'}, qr/Odd/, 'a source of an odd name');

# What is said of the sources.
my $said = q{
SELECT k, d ->> 'action', d ->> 'local_hash', d ->> 'remote_hash' FROM unnest('{both,given,half}'::text[]) k, sync_state_delta(k) d
UNION ALL
SELECT key::text, action, detail, NULL FROM sync_source_diff3('both') ORDER BY 1};
my $answer = as('app_owner', 'content', $said);
like($answer, qr/\{"id": 3\}\|CONFLICT\|edit\/delete/, 'what a source says');

sub restored
{
	my ($db) = @_;

	for my $table (@tables)
	{
		is(rows($db, $table), $rows{$table}, "$db: every row of $table is back");
	}
	is(as('app_owner', $db, $said), $answer, "$db: sources say the same");
}

sub run_as_owner
{
	my ($what, $db, @command) = @_;

	$node->command_ok([ @command, '--username=app_owner', $db ], $what);
}

run_as_owner('sources dumped', 'content', 'pg_dump', '--format=custom', "--file=$dir/content");
run_as_owner("$_ dumped", 'content', 'pg_dump', "--$_", "--file=$dir/$_") for qw(schema-only data-only);
as('app_owner', 'content_prepared', 'CREATE EXTENSION syncstate');
for my $db (qw(content_plain content_prepared))
{
	$node->command_ok(
		[ 'pg_restore', '--exit-on-error', "--dbname=$db", '--username=app_owner', "$dir/content" ],
		"$db: restored");
	restored($db);
}

# The schema, which brings no rows, and then the rows.
run_as_owner('content_apart: the schema', 'content_apart', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', "--file=$dir/schema-only");
is( as('app_owner', 'content_apart', join ' UNION ALL ', map { "SELECT count(*) FROM $_" } @tables),
	join("\n", map { '0' } @tables),
	'content_apart: the schema has no rows');
run_as_owner('content_apart: the rows', 'content_apart', 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', "--file=$dir/data-only");
as('app_owner', 'content_apart', 'REFRESH MATERIALIZED VIEW kept');
is(rows('content_apart', $_), $rows{$_}, "content_apart: every row of $_ is back") for @tables;

# A materialized view is filled last, and by what is there then.
as('app_owner', 'content', 'REFRESH MATERIALIZED VIEW kept');
is(as('app_owner', 'content_apart', $said), as('app_owner', 'content', $said), 'content_apart: sources say the same');

$other->stop;
$node->stop;
done_testing();
