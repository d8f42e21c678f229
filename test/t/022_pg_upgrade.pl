# pg_upgrade, from the version that SYNCSTATE_OLD names, or from this one.
#
# It takes tables as they are, and transaction ids go on where they were.  So
# everything is back, tombstones and policies too, which no dump has.  But the
# cluster is another one: every cursor of before is refused.  And triggers are
# made anew, so that a tracked digest does not count until it is verified.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Recorded;
use Test::More;

my $old = new_old_node('old');
$old->start;
my $from = server_version($old);

# By an owner who is no superuser, with the documented grants and policies.
$old->safe_psql('postgres', q{CREATE ROLE app_owner LOGIN; CREATE ROLE reader LOGIN; CREATE DATABASE app OWNER app_owner});
as($old, 'app_owner', 'app', $recorded . $content);
my $grants = documented('Roles and grants');
$old->safe_psql('postgres', join "\n", $grants =~ /^(CREATE ROLE .*?;)$/mg);
as($old, 'app_owner', 'app', $grants =~ s/^CREATE ROLE .*?;$//mgr . documented('Row security'));

sub sqlstate
{
	my ($node, $sql) = @_;
	my $stderr;

	$node->psql('app', $sql, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

# All that there is, by what it is called.
my %asked = (
	# From 17 on, types of rows and of arrays are members, too.
	'members of the extension' => q{
SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND (classid <> 'pg_type'::regclass OR NOT EXISTS (
  SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE t.oid = objid AND (t.typcategory = 'A' OR c.relkind <> 'c')))
 ORDER BY pg_describe_object(classid, objid, objsubid) COLLATE "C"},
	'version and registered tables' => q{
SELECT extversion, extnamespace::regnamespace, extconfig::regclass[] FROM pg_extension WHERE extname = 'syncstate'},
	'triggers, and when they fire' => q{
SELECT tgrelid::regclass::text COLLATE "C", tgname COLLATE "C", tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2},
	'row security and policies' => q{
SELECT c.relname, c.relrowsecurity, p.polname, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid)
  FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relnamespace = 'syncstate'::regnamespace AND c.relkind = 'r' ORDER BY 1, 3},
	'owners and privileges' => q{
SELECT c.relname, c.relowner::regrole, a.grantee::regrole, a.privilege_type
  FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = 'syncstate'::regnamespace AND a.privilege_type <> 'MAINTAIN' ORDER BY 1, 2, 3, 4},
	'initial privileges' => q{
SELECT count(*) FROM pg_init_privs WHERE classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM pg_class WHERE relnamespace = 'syncstate'::regnamespace)},
	'indexes and their storage' => q{
SELECT c.relname, c.reloptions, pg_get_indexdef(i.indexrelid) FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
 WHERE c.relnamespace = 'syncstate'::regnamespace ORDER BY 1, 3},
	'the plan' => 'SELECT * FROM sync_state_plan() ORDER BY 1',
	'the overview' => 'SELECT type_key, sync_status, action, detail, last_sync_at, run_owner, lease_expires_at FROM syncstate.sync_overview ORDER BY 1',
	'interrupted runs' => 'SELECT * FROM syncstate.sync_interrupted ORDER BY 1',
	'a hash' => q{SELECT encode(sync_row_hash(id, "Title", mood, price, at, doc, tags), 'hex'), sync_hash(doc) FROM content c ORDER BY id},
);
my @tables = split /\n/, $old->safe_psql('app', q{
SELECT oid::regclass FROM pg_class WHERE relnamespace = 'syncstate'::regnamespace AND relkind = 'r' ORDER BY 1});
cmp_ok(scalar @tables, '>=', 9, 'tables');
$asked{"every row of $_"} = "SELECT to_jsonb(t) FROM $_ t ORDER BY to_jsonb(t)::text" for @tables;
my %before = map { $_ => $old->safe_psql('app', $asked{$_}) } keys %asked;
like($before{'every row of syncstate.sync_tombstone'}, qr/"deleted"/, 'a tombstone');
like($before{'every row of syncstate.sync_tracking_delta'}, qr/row_count/, 'what tracking has noted');
like($before{'triggers, and when they fire'}, qr/\|A\n.*\|A\n/s, 'triggers that fire always');
unlike($before{'triggers, and when they fire'}, qr/\|[^A]$/m, '... only such');
like($before{'interrupted runs'}, qr/^gone\|/m, 'an interrupted run');

my $sources = told_of_sources($old, 'app');
like($sources, qr/^\{"id": 3\}\|CONFLICT\|edit\/delete\|$/m, 'sources');
is($old->safe_psql('app', q{SELECT sync_source_verify(k)->>'tracked' IS NOT NULL FROM unnest('{content,parted}'::text[]) k}), "t\nt", '... are tracked');
$before{'every row of syncstate.sync_tracking'} = $old->safe_psql('app', $asked{'every row of syncstate.sync_tracking'});
$before{'every row of syncstate.sync_tracking_delta'} = $old->safe_psql('app', $asked{'every row of syncstate.sync_tracking_delta'});

my $cursor = $old->safe_psql('app', 'SELECT sync_state_cursor()');
my $in_set = $old->safe_psql('app', 'SELECT cursor FROM sync_state_changes(NULL, 1)');
my $incarnation = $old->safe_psql('app', 'SELECT incarnation FROM syncstate.sync_feed');
my %token = map { $_ => $old->safe_psql('app', "SELECT run_id FROM sync_state_get('$_')") } qw(live gone);

# ---------------------------------------------------------------------------
# The upgrade
# ---------------------------------------------------------------------------
sub pg_config
{
	my ($what) = @_;

	return `pg_config --$what` =~ s/\s+$//r;
}

# Wherever a server is told to find the extension, pg_upgrade asks for its library
# where the server's own are.  So the new installation is a copy, which has it there.
sub copy_of_installation
{
	my ($conf) = @_;
	my ($lib) = $conf =~ /^dynamic_library_path = '(.*?):/m;
	my $root = PostgreSQL::Test::Utils::tempdir();

	for my $what (qw(bindir pkglibdir sharedir))
	{
		my $dir = pg_config($what);

		system_or_bail('mkdir', '-p', "$root$dir");
		# A program goes by where its file is, not by where a link to it is.
		system_or_bail('cp', $what eq 'bindir' ? '-r' : '-rs', "$dir/.", "$root$dir");
	}
	# In place of links to an extension that the machine has, not through them.
	system_or_bail('cp', '--remove-destination', "$lib/syncstate.so", $root . pg_config('pkglibdir'));
	system_or_bail('cp', '--remove-destination', 'syncstate.control', glob('sql/*.sql'), $root . pg_config('sharedir') . '/extension');
	return $root . pg_config('bindir') =~ s/\/bin$//r;
}

# From 18 on a cluster has checksums unless told otherwise, and both must agree.
my ($to) = pg_config('version') =~ /(\d+)/;
my $installation = $ENV{SYNCSTATE_CONF} ? copy_of_installation(slurp_file($ENV{SYNCSTATE_CONF})) : undef;
my $new = new_node('new', install_path => $installation, extra => [ $to >= 18 && $from < 18 ? ('--no-data-checksums') : () ]);
my $old_binaries = $ENV{SYNCSTATE_OLD} ? "$ENV{SYNCSTATE_OLD}/bin" : pg_config('bindir');
my $new_binaries = $installation ? "$installation/bin" : pg_config('bindir');
my @upgrade = (
	"$new_binaries/pg_upgrade", '--old-datadir', $old->data_dir, '--new-datadir', $new->data_dir,
	'--old-bindir', $old_binaries, '--new-bindir', $new_binaries,
	'--old-port', $old->port, '--new-port', $new->port, '--socketdir', $new->host);

$old->stop;
chdir $new->basedir or die;
command_ok([ @upgrade, '--check' ], "pg_upgrade from $from to $to: there is nothing in the way");
command_ok([@upgrade], '... and it is done');
$new->start;
is(server_version($new), $to, "the server is one of version $to");

# ---------------------------------------------------------------------------
# What is there afterwards
# ---------------------------------------------------------------------------
is($new->safe_psql('app', $asked{$_}), $before{$_}, "as before: $_") for sort keys %asked;

# Cursors.
for my $old_cursor ($cursor, $in_set)
{
	like(refused($new, 'app', "sync_state_changes('$old_cursor')"), qr/another cluster/, 'a cursor of before is refused');
}
is($new->safe_psql('app', 'SELECT incarnation FROM syncstate.sync_feed'), $incarnation, '... though the tables are the same');
is( $new->safe_psql('app', 'SELECT type_key FROM sync_state_changes() ORDER BY 1'),
	$new->safe_psql('app', 'SELECT type_key FROM sync_state_list() ORDER BY 1'),
	'the feed tells of every row anew');
is($new->safe_psql('app', 'SELECT count(*) FROM syncstate.sync_state WHERE changed_xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint'), '0',
	'transaction ids go on where they were');
$cursor = $new->safe_psql('app', 'SELECT sync_state_cursor()');
$new->safe_psql('app', q{SELECT sync_state_observe('article', 'l2'), sync_state_forget('orm')});
is($new->safe_psql('app', "SELECT type_key, deleted FROM sync_state_changes('$cursor')"), "article|f\norm|t", 'and it is followed from there');

# Tracking.
my $scans = q{SELECT pg_stat_get_xact_numscans('content'::regclass) + pg_stat_get_xact_numscans('low'::regclass)};
my $read = qq{BEGIN; $scans; SELECT count(sync_state_delta(k)) FROM unnest('{content,parted}'::text[]) k; $scans; COMMIT};
sub is_read
{
	my ($expected, $name) = @_;
	my ($before, undef, $after) = split /\n/, $new->safe_psql('app', $read);

	return is($after - $before, $expected, $name);
}
is(told_of_sources($new, 'app'), $sources, 'sources say the same');
is_read(2, '... for which both tables are read');
is($new->safe_psql('app', q{UPDATE content SET "Title" = 'there' WHERE id = 1; UPDATE parted SET title = 'there' WHERE id = 1;
SELECT sync_source_verify(k)->>'tracked' FROM unnest('{content,parted}'::text[]) k}), "\n", 'tracked digests do not count until they are verified');
is_read(0, '... then no row is read');
is($new->safe_psql('app', q{UPDATE content SET "Title" = 'again' WHERE id = 2; DELETE FROM parted WHERE id = 99;
SELECT sync_source_verify(k)->>'valid' FROM unnest('{content,parted}'::text[]) k}), "true\ntrue", '... and the triggers keep them right');

# Runs.
is($new->safe_psql('app', qq{SELECT sync_state_checkpoint('live', '$token{live}', '[2]') > clock_timestamp()}), 't', 'a live run goes on under its token');
is(sqlstate($new, q{SELECT sync_state_begin('live')}), '55P03', '... holds its key');
is($new->safe_psql('app', qq{SELECT sync_status, run_number FROM sync_state_mark_synced('live', 'l1', 'l1', '$token{live}')}), 'in_sync|1', '... and ends');
is($new->safe_psql('app', q{SELECT run_number, sync_progress FROM sync_state_resume('gone')}), '2|{"offset": 5}', 'an interrupted run resumes');
is(sqlstate($new, qq{SELECT sync_state_checkpoint('gone', '$token{gone}', NULL)}), '55000', '... and its old token is refused');
is($new->safe_psql('app', q{SELECT sync_status FROM sync_state_resolve('page/2', 'local', conflict_number => 2)}), 'modified', 'an open conflict is resolved');

# The extension itself is now that of who ran pg_upgrade, which knows no owners
# of extensions; the tables are still their owner's.
is($new->safe_psql('app', q{SET ROLE sync_reader; SET app.tenant = 'acme'; SELECT count(*) FROM sync_state_list()}), '0', 'row security holds');
is(as($new, 'app_owner', 'app', q{SELECT sync_state_repair()}), '0', 'there is nothing to repair');
is($new->safe_psql('app', q{SELECT extowner::regrole = current_user::regrole FROM pg_extension WHERE extname = 'syncstate'}), 't', 'the extension is that of who ran pg_upgrade');
$new->safe_psql('app', q{DROP EXTENSION syncstate CASCADE});
as($new, 'app_owner', 'app', q{CREATE EXTENSION syncstate});
is($new->safe_psql('app', q{SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('content'::regclass, 'parted'::regclass)}), '0', 'the extension can be dropped');

$new->stop;
done_testing();
