# Dump and restore into another cluster, from the version that SYNCSTATE_OLD
# names, or from this one: with the newer version's pg_dump, as documented, and
# with the older one's, for an archive may have been made before.
#
# Every row of the registered tables comes back as it was, apart from
# changed_xid; sources say the same; cursors are refused; tracking does not count
# until it is verified.  Policies are put back by a migration beforehand.  More
# about dumps, where both ends are of one version: 002_dump_restore.pl.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Recorded;
use Test::More;

my ($old, $new) = (new_old_node('old'), new_node('new'));
my $policies = documented('Row security');
my $grants = documented('Roles and grants');
my @roles = $grants =~ /^(CREATE ROLE .*?;)$/mg;
$grants =~ s/^CREATE ROLE .*?;$//mg;

for my $node ($old, $new)
{
	$node->start;
	$node->safe_psql('postgres', join "\n", 'CREATE ROLE app_owner LOGIN;', @roles);
}
my ($from, $to) = (server_version($old), server_version($new));
note("from $from to $to");

$old->safe_psql('postgres', 'CREATE DATABASE app OWNER app_owner');
as($old, 'app_owner', 'app', $recorded . $content . $grants . $policies);

my @tables = registered_tables($old, 'app');
is("@tables", 'syncstate.sync_conflict syncstate.sync_row_base syncstate.sync_run syncstate.sync_source syncstate.sync_state', 'registered tables');
my %before = map { $_ => rows($old, 'app', $_, 'changed_xid') } @tables;
unlike($before{$_}, qr/^$/, "there are rows of $_") for @tables;
my $sources = told_of_sources($old, 'app');
like($sources, qr/^\{"id": 3\}\|CONFLICT\|edit\/delete\|$/m, 'sources');
my $plan = q{SELECT * FROM sync_state_plan() ORDER BY 1};
my $decided = $old->safe_psql('app', $plan);
my $privileges = q{
SELECT c.relname, a.grantee::regrole, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace = 'syncstate'::regnamespace AND a.grantee <> c.relowner ORDER BY 1, 2, 3};
my $granted = $old->safe_psql('app', $privileges);
my $cursor = $old->safe_psql('app', 'SELECT sync_state_cursor()');
my $live = $old->safe_psql('app', q{SELECT run_id FROM sync_state_get('live')});

my $dir = PostgreSQL::Test::Utils::tempdir();
my %dumper = (newer => $new, older => $old);
for my $which (sort keys %dumper)
{
	command_ok([ $dumper{$which}->installed_command('pg_dump'), '--format=custom', "--file=$dir/$which", '--dbname', $old->connstr('app') . ' user=app_owner' ],
		"dumped with the pg_dump of the $which one");
}

# By the owner: into an empty database, and as documented for row security.
sub restore
{
	my ($db, $which) = @_;

	$new->command_ok([ 'pg_restore', '--exit-on-error', '--username=app_owner', "--dbname=$db", "$dir/$which" ], "$db: restored");
	is(rows($new, $db, $_, 'changed_xid'), $before{$_}, "$db: every row of $_ is back") for @tables;
	is($new->safe_psql($db, $plan), $decided, "$db: the plan is the same");
	is(told_of_sources($new, $db), $sources, "$db: sources say the same");
	is($new->safe_psql($db, $privileges), $granted, "$db: grants are back");
	is($new->safe_psql($db, q{SELECT DISTINCT tgenabled FROM pg_trigger WHERE NOT tgisinternal}), 'A', "$db: triggers fire always");
	is($new->safe_psql($db, q{SELECT (SELECT count(*) FROM syncstate.sync_tombstone), (SELECT count(*) FROM syncstate.sync_feed),
  (SELECT count(*) FROM syncstate.sync_tracking), (SELECT count(*) FROM syncstate.sync_tracking_delta)}), '0|1|0|0', "$db: what no dump has");
	like(refused($new, $db, "sync_state_changes('$cursor')"), qr/another cluster/, "$db: a cursor of before is refused");
	is( $new->safe_psql($db, 'SELECT type_key FROM sync_state_changes() ORDER BY 1'),
		$new->safe_psql($db, 'SELECT type_key FROM sync_state_list() ORDER BY 1'),
		"$db: the feed tells of every row anew");
	is($new->safe_psql($db, q{SELECT sync_source_verify(k)->>'tracked' FROM unnest('{content,parted}'::text[]) k}), "\n",
		"$db: tracked digests do not count until they are verified");
	is($new->safe_psql($db, q{UPDATE content SET "Title" = 'again' WHERE id = 2; DELETE FROM parted WHERE id = 99;
SELECT sync_source_verify(k)->>'valid' FROM unnest('{content,parted}'::text[]) k}), "true\ntrue", "$db: ... and are right from then on");
	is($new->safe_psql($db, qq{SELECT sync_status, run_number FROM sync_state_mark_synced('live', 'l1', 'l1', '$live')}), 'in_sync|1',
		"$db: a live run goes on under its token, and ends");
	is($new->safe_psql($db, q{SELECT run_number, sync_progress FROM sync_state_resume('gone')}), '2|{"offset": 5}', "$db: an interrupted one resumes");
	return;
}

my $secured = q{
SELECT c.relname, p.polname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid WHERE c.relrowsecurity ORDER BY 1};
$new->safe_psql('postgres', "CREATE DATABASE $_ OWNER app_owner") for qw(plain older secured);
restore('plain', 'newer');
is($new->safe_psql('plain', $secured), '', 'plain: policies are not');
restore('older', 'older');
as($new, 'app_owner', 'secured', "CREATE EXTENSION syncstate; $policies");
restore('secured', 'newer');
is($new->safe_psql('secured', $secured), $old->safe_psql('app', $secured), 'secured: policies are those of the migration');
is($new->safe_psql('secured', q{SET ROLE sync_reader; SET app.tenant = 'acme'; SELECT count(*) FROM sync_state_list()}), '0', '... and hold');

$_->stop for ($old, $new);
done_testing();
