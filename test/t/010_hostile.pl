# What others may have made hostile, with transactions that commit: the trigger of
# an owner on the table of deltas; a foreign server that answers nonsense; and a
# hostile search_path where statements go to another server.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('hostile');

$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$node->start;
my ($host, $port) = ($node->host, $node->port);

sub sql
{
	my ($sql, $db) = @_;

	return $node->safe_psql($db || 'postgres', $sql);
}

sub error
{
	my ($sql) = @_;
	my $stderr;

	$node->psql('postgres', $sql, stderr => \$stderr, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $stderr;
}

# --------------------------------------------------- the owner of the deltas

sql(q{
CREATE ROLE owner;
GRANT CREATE ON DATABASE postgres TO owner;
GRANT CREATE ON SCHEMA public TO owner;
SET ROLE owner;
CREATE EXTENSION syncstate;
RESET ROLE;
CREATE TABLE content (id int PRIMARY KEY, body text);
CREATE TABLE secret (id int);
CREATE TABLE ran (who name, tried text, outcome text);
GRANT INSERT ON ran TO PUBLIC;
SELECT sync_source_attach('content', 'content');
SELECT sync_source_track('content');
CREATE FUNCTION attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE statement; RETURN 'ok'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.ran SELECT current_user, s, public.attempt(s) FROM unnest(ARRAY['SELECT FROM public.secret', 'SET ROLE NONE', 'RESET ROLE',
		'SET SESSION AUTHORIZATION DEFAULT', 'ALTER ROLE owner SUPERUSER', 'SET LOCAL ROLE postgres']) s;
	RETURN NEW;
END $$;
SET ROLE owner;
CREATE TRIGGER spy BEFORE INSERT ON syncstate.sync_tracking_delta FOR EACH ROW EXECUTE FUNCTION spy();
RESET ROLE;
INSERT INTO content VALUES (1, 'x')});
is(sql('SELECT count(*) FROM syncstate.sync_tracking_delta'), '1', 'a superuser has written, and it was noted');
is(sql(q{SELECT count(*) FROM ran WHERE who <> 'owner' OR outcome <> '42501'}), '0',
	'if a trigger of the owner on the deltas runs, then as the owner, and it gets no further');
is(sql(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'}), 'f', 'the owner is no superuser');
sql('DROP TRIGGER spy ON syncstate.sync_tracking_delta; SELECT sync_source_verify(\'content\')');

# ------------------------------------------- a server that answers nonsense

sql('CREATE DATABASE far TEMPLATE template0');
sql(q{
CREATE SCHEMA syncstate;
CREATE TABLE content (id int, body text);
INSERT INTO content SELECT n, 'x' FROM generate_series(1, 10) n;
CREATE TABLE syncstate.answer (digest text, sketch bytea, row_hash bytea);
INSERT INTO syncstate.answer VALUES ('nonsense', 'nonsense', 'nonsense');
CREATE FUNCTION syncstate.more(text, text, int) RETURNS text LANGUAGE sql AS 'SELECT digest FROM syncstate.answer';
CREATE AGGREGATE syncstate.sync_digest(text, int) (sfunc = syncstate.more, stype = text);
CREATE FUNCTION syncstate.more_turned(text, int, text) RETURNS text LANGUAGE sql AS 'SELECT digest FROM syncstate.answer';
CREATE AGGREGATE syncstate.sync_digest(int, text) (sfunc = syncstate.more_turned, stype = text);
CREATE FUNCTION syncstate.more_cells(bytea, int, int, int, text) RETURNS bytea LANGUAGE sql AS 'SELECT sketch FROM syncstate.answer';
CREATE AGGREGATE syncstate.sync_sketch(int, int, int, text) (sfunc = syncstate.more_cells, stype = bytea);
CREATE FUNCTION syncstate.more_cells_turned(bytea, int, int, text, int) RETURNS bytea LANGUAGE sql AS 'SELECT sketch FROM syncstate.answer';
CREATE AGGREGATE syncstate.sync_sketch(int, int, text, int) (sfunc = syncstate.more_cells_turned, stype = bytea);
CREATE FUNCTION syncstate.sync_row_hash(int) RETURNS bytea LANGUAGE sql AS 'SELECT row_hash FROM syncstate.answer';
}, 'far');
sql(qq{
CREATE EXTENSION postgres_fdw;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'far', extensions 'syncstate');
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE FOREIGN TABLE far (id int, body text) SERVER far OPTIONS (table_name 'content');
SELECT sync_source_attach('far', 'content', 'far', row_base => true)});

my $sketch = sql(q{SELECT sync_sketch(192, 1, id, body) FROM content});
my $digest = '0123456789abcdef0123456789abcdef:10';
my @answers = (
	[ 'no digest', 'nonsense', $sketch, '\x00' ], [ 'an empty one', '', $sketch, '\x00' ], [ 'half of one', '0123456789abcdef', $sketch, '\x00' ],
	[ 'one of too many rows', '0123456789abcdef0123456789abcdef:99999999999999999999999', $sketch, '\x00' ],
	[ 'one of less than none', '0123456789abcdef0123456789abcdef:-1', $sketch, '\x00' ],
	[ 'a long one', 'f' x 1000000, $sketch, '\x00' ], [ 'one with something behind it', "$digest:1", $sketch, '\x00' ],
	[ 'no sketch', $digest, 'nonsense', '\x00' ], [ 'an empty sketch', $digest, '\x', '\x00' ], [ 'half a sketch', $digest, substr($sketch, 0, 200), '\x00' ],
	[ 'another sketch', $digest, $sketch =~ s/00/ff/gr, '\x00' ],
	[ 'NULL', undef, undef, undef ], [ 'a digest, and NULL for a sketch', $digest, undef, '\x00' ], [ 'hashes that are NULL', $digest, $sketch, undef ],
	[ 'hashes of the wrong length', $digest, $sketch, '\x00' ], [ 'long hashes', $digest, $sketch, '\x' . 'ff' x 1000 ]);

# Nonsense is refused, or taken for what it looks like; never an internal error.
# Asked for while we work or before, by turns.
sql(q{ALTER SERVER far OPTIONS (ADD async_capable 'false')});
for my $case (map { my $answer = $_; map { [ $_, @$answer ] } 'false', 'true' } @answers)
{
	my ($async, $name, $text, $cells, $hash) = @$case;

	sql("ALTER SERVER far OPTIONS (SET async_capable '$async')");
	my $values = join ', ', map { defined $_ ? "'$_'" : 'NULL' } ($text, $cells, $hash);
	sql("UPDATE syncstate.answer SET (digest, sketch, row_hash) = ROW($values)", 'far');
	for my $call ("sync_state_delta('far')", "sync_state_observe('far')", "sync_source_diff('far')", "sync_source_diff3('far')", "sync_state_mark_synced('far', 'a', 'a')")
	{
		my $stderr = error("BEGIN; SET LOCAL statement_timeout = '20s'; SELECT $call; ROLLBACK");

		unlike($stderr, qr/ERROR:  (XX|57)|server closed|FATAL/, "$name (async_capable $async): $call");
		like($stderr, qr/ERROR:  22023: /, '... is refused') if ($text // '') ne $digest && $call =~ /delta/;
	}
}
is(sql('SELECT 1'), '1', 'the server lives');

# -------------------------------------------------- a hostile path, over there

sql(q{DROP SCHEMA syncstate CASCADE; CREATE EXTENSION syncstate}, 'far');
my $trap = q{
CREATE SCHEMA trap;
CREATE FUNCTION trap.caught() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
CREATE FUNCTION trap.more(text, text, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
CREATE AGGREGATE trap.sync_digest(text, int) (sfunc = trap.more, stype = text);
CREATE AGGREGATE public.sync_digest(text, int) (sfunc = trap.more, stype = text);
CREATE FUNCTION trap.sync_row_hash(int) RETURNS bytea LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
CREATE FUNCTION trap.equal(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
CREATE OPERATOR trap.= (FUNCTION = trap.equal, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION trap.equal(bytea, bytea) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
CREATE OPERATOR trap.= (FUNCTION = trap.equal, LEFTARG = bytea, RIGHTARG = bytea);
CREATE DOMAIN trap.bytea AS pg_catalog.bytea CHECK (trap.caught());
CREATE DOMAIN trap.int4 AS pg_catalog.int4 CHECK (trap.caught());
CREATE TABLE trap.content (id pg_catalog.int4, body pg_catalog.text);
};
sql($trap . "ALTER DATABASE $_ SET search_path = trap, pg_catalog, public", $_) for qw(far postgres);
my @calls = ("sync_state_delta('far')", "sync_state_observe('far')", "sync_source_diff('far')", "sync_source_diff3('far')", "sync_state_mark_synced('far', 'a', 'a')",
	"sync_source_attach('again', 'public.content', 'public.far')");
is(error("SELECT 1 = 1") =~ /planted/ ? 'caught' : '', 'caught', 'the trap works');
is(error("SELECT public.$_"), '', "under the hostile path, here and over there: $_") for @calls;
is(sql(q{SELECT string_agg(difference, ' ' ORDER BY key) FROM public.sync_source_diff('far')}), 'different' eq '' ? '' : join(' ', ('remote_only') x 9),
	'and the answer is right: of ten rows over there, nine are missing here');

$node->stop;
done_testing();
