package Recorded;

# A database in which something of everything is recorded, for the tests that
# take it elsewhere: dump and restore, and pg_upgrade.
#
# Where from is another major version, if SYNCSTATE_OLD names one: its
# installation's directory, and in SYNCSTATE_OLD_CONF the file with the settings
# by which its server finds the extension.

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(new_node new_old_node $recorded $content as documented refused registered_tables rows
  server_version told_of_sources);

# What is recorded, by the owner of the database.
our $recorded = q{
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
};

# Sources, of plain, partitioned and odd tables, some of them tracked.
our $content = q{
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE content (id int PRIMARY KEY, dropped text, "Title" text COLLATE "C", mood mood, price numeric, at timestamptz, doc jsonb, tags text[]);
ALTER TABLE content DROP COLUMN dropped;
ALTER TYPE mood ADD VALUE 'calm' BEFORE 'glad';
CREATE TABLE "Other's" (LIKE content INCLUDING ALL);
CREATE TABLE parted (id int PRIMARY KEY, title text) PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (50);
CREATE TABLE high PARTITION OF parted FOR VALUES FROM (50) TO (MAXVALUE);
INSERT INTO content SELECT i, 'tïtle ' || i, (enum_range(NULL::mood))[i % 3 + 1], i * 1.50, '2001-02-03 04:05 UTC'::timestamptz + i * interval '1 h',
  jsonb_build_object('i', i, 'f', i / 8.0), ARRAY['a', NULL, i::text] FROM generate_series(1, 100) i;
INSERT INTO "Other's" TABLE content;
INSERT INTO parted SELECT i, i FROM generate_series(1, 100) i;
SELECT sync_source_attach('content', 'content', '"Other''s"', row_base => true), sync_source_attach('parted', 'parted');
SELECT sync_source_track('content'), sync_source_track('parted');
SELECT sync_state_observe('content'), sync_state_observe('parted');
UPDATE content SET "Title" = 'here' WHERE id < 4;
DELETE FROM "Other's" WHERE id BETWEEN 3 AND 5;
UPDATE parted SET id = id + 60 WHERE id BETWEEN 45 AND 49;
};

# Options are those of init, and install_path: an installation that has the extension.
sub new_node
{
	my ($name, %options) = @_;
	my $path = delete $options{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, $path ? (install_path => $path) : ());

	return prepare($node, $path ? undef : $ENV{SYNCSTATE_CONF}, %options);
}

sub new_old_node
{
	my ($name) = @_;

	return new_node($name) unless $ENV{SYNCSTATE_OLD};
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $ENV{SYNCSTATE_OLD});
	return prepare($node, $ENV{SYNCSTATE_OLD_CONF});
}

sub prepare
{
	my ($node, $conf, %init) = @_;

	$node->init(%init);
	$node->append_conf('postgresql.conf', slurp_file($conf)) if $conf;
	# That of the rows which are compared, and when they were read.
	$node->append_conf('postgresql.conf', 'autovacuum = off');
	return $node;
}

# Its major version.
sub server_version
{
	my ($node) = @_;

	return int($node->safe_psql('postgres', 'SHOW server_version_num') / 10000);
}

sub as
{
	my ($node, $role, $db, $sql) = @_;

	return $node->safe_psql($db, $sql, extra_params => [ '-U', $role ]);
}

# What the documentation says under a heading, in SQL.
sub documented
{
	my ($heading) = @_;
	my ($section) = slurp_file('doc/how-to.md') =~ /^## \Q$heading\E\n(.*?)(?=^## )/ms
	  or die "no section \"$heading\"";

	return join "\n", $section =~ /^```sql\n(.*?)^```/msg;
}

# Why the feed is refused, or what it has answered.
sub refused
{
	my ($node, $db, $call) = @_;
	my ($status, $stdout, $stderr) = $node->psql($db, "SELECT $call",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return $stderr =~ /ERROR:\s+55000: resync required\nDETAIL:\s+(.*)/ ? $1 : "$stdout $stderr";
}

# The tables that a dump has the rows of.
sub registered_tables
{
	my ($node, $db) = @_;

	return sort split /\n/, $node->safe_psql($db, q{
SELECT t::regclass FROM pg_extension, unnest(extconfig) t WHERE extname = 'syncstate'});
}

# The rows of a table as text, but for some columns.
sub rows
{
	my ($node, $db, $table, @without) = @_;
	my $row = "to_jsonb(t) - '{" . join(',', @without) . "}'::text[]";

	return $node->safe_psql($db, "SELECT $row FROM $table t ORDER BY ($row)::text");
}

# What is said of the sources.
sub told_of_sources
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, q{
SELECT k, d ->> 'action', d ->> 'local_hash', d ->> 'remote_hash' FROM unnest('{content,parted}'::text[]) k, sync_state_delta(k) d
UNION ALL SELECT key::text, action, detail, NULL FROM sync_source_diff3('content') ORDER BY 1});
}

1;
