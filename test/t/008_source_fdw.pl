# Sources on another server, by postgres_fdw: the aggregates run where the rows
# are and a few rows cross the wire, or all of them do and attach says so; the
# answers are the same, whatever the other database's encoding and time zone.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub node
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
	  if $ENV{SYNCSTATE_CONF};
	$node->start;
	return $node;
}

my $here = node('here');
my $far = node('far');
my ($host, $port) = ($far->host, $far->port);

$far->append_conf('postgresql.conf', "log_statement = 'all'\nlog_line_prefix = '%d '\ntimezone = 'Asia/Kathmandu'");
$far->reload;
$far->safe_psql('postgres', q{
CREATE DATABASE utf8 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
});
$here->safe_psql('postgres',
	"CREATE DATABASE here ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");

sub sql
{
	my ($sql) = @_;

	return $here->safe_psql('here', $sql);
}

# What psql says on stderr.
sub says
{
	my ($sql, @set) = @_;
	my $stderr;

	$here->psql('here', $sql, stderr => \$stderr, extra_params => [ map { ('-v', $_) } @set ]);
	return $stderr;
}

# Columns of all kinds; the texts are those which every encoding here has.
my $make = q{
CREATE EXTENSION syncstate;
CREATE TYPE mood AS ENUM ('sad', 'glücklich', 'so so');
CREATE TABLE article (
	id bigint NOT NULL, lang text NOT NULL, title text, body varchar(400), price numeric, feeling mood, doc jsonb,
	at timestamptz, day date, ratio float8, small float4, flag boolean, tags text[], raw bytea, uid uuid, span interval,
	padded char(12), valid tstzrange, PRIMARY KEY (id, lang));
};
my $fill = q{
INSERT INTO article
SELECT i, CASE WHEN i % 2 = 0 THEN 'de' ELSE 'en' END, 'Überschrift ' || i, repeat('größer ', i % 50), i * 1.10,
	(enum_range(NULL::mood))[1 + i % 3], jsonb_build_object('n', i * 1.50, 'ä', ARRAY['ß', NULL]),
	'2001-02-03 04:05:06.789 UTC'::timestamptz + i * interval '1 hour', '2001-02-03'::date + i, i / 3.0, (i / 7.0)::float4, i % 2 = 0,
	ARRAY['é', i::text, NULL], decode(md5(i::text), 'hex'), md5(i::text)::uuid, i * interval '90 min', 'x' || i,
	tstzrange('2001-02-03 04:05 UTC'::timestamptz, '2001-02-03 04:05 UTC'::timestamptz + i * interval '1 day')
  FROM generate_series(1, 2000) i;
};
sql($make . $fill);
$far->safe_psql($_, "SET client_encoding = 'UTF8'; $make $fill") for qw(utf8 latin1);

# postgres_fdw leaves columns of other types than built-in ones to us, so an enum
# is a text there; the label is what is hashed anyway.
my $columns = sql(q{
SELECT string_agg(format('%I %s%s', attname, CASE atttypid WHEN 'mood'::regtype THEN 'text' ELSE format_type(atttypid, atttypmod) END, CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END), ', ' ORDER BY attnum)
  FROM pg_attribute WHERE attrelid = 'article'::regclass AND attnum > 0});

# Two servers for each database: one that may be asked for the aggregates.
sql('CREATE EXTENSION postgres_fdw');
for my $db (qw(utf8 latin1))
{
	for my $kind (qw(shipped fetched))
	{
		my $options = $kind eq 'shipped' ? ", extensions 'syncstate'" : '';

		sql(qq{
CREATE SERVER ${db}_$kind FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname '$db'$options);
CREATE USER MAPPING FOR CURRENT_USER SERVER ${db}_$kind;
CREATE FOREIGN TABLE ${db}_$kind ($columns) SERVER ${db}_$kind OPTIONS (table_name 'article');
});
	}
}

# What the other server was asked for since, and how many rows it gave.
my $log_from = 0;

sub asked
{
	my $log = slurp_file($far->logfile, $log_from);

	$log_from = -s $far->logfile;
	# A statement's other lines begin with a tab.
	$log =~ s/\n\t/ /g;
	return join "\n", grep { !/SET |TRANSACTION|CLOSE/ } $log =~ /LOG:  (?:execute [^:]*|statement): (.*)/g;
}

# ---------------------------------------------------------------- attaching

asked();

for my $db (qw(utf8 latin1))
{
	is(says("SELECT sync_source_attach('$db', 'article', '${db}_shipped', row_base => true)"),
		'', "$db: nothing to say where the server knows the extension");
	my $notice = says("SELECT sync_source_attach('$db fetched', 'article', '${db}_fetched', row_base => true)");
	like($notice, qr/NOTICE:  all rows of the foreign table "${db}_fetched" will be fetched to be hashed\nDETAIL: .*\nHINT: .*extensions 'syncstate'/,
		"$db: otherwise attach says that rows will be fetched");
	unlike($notice, qr/ERROR/, "$db: and attaches it");
}
like(says("SELECT sync_source_attach('local', 'utf8_fetched', 'article', key_columns => '{id,lang}')"),
	qr/NOTICE:  all rows of the foreign table "utf8_fetched"/, 'a foreign table can be our side too, and it is said');
is(says("SELECT sync_source_attach('local', 'utf8_shipped', 'article', key_columns => '{id,lang}')"), '', 'or not');
is(asked(), '', 'attaching asks the other server for nothing');

# ------------------------------------------------------------- what is asked

my $list = sql(q{SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname COLLATE "C") FROM pg_attribute WHERE attrelid = 'article'::regclass AND attnum > 0});
like(sql("EXPLAIN (VERBOSE, COSTS off) SELECT sync_digest($list) FROM utf8_shipped"),
	qr/^Foreign Scan\n.*Remote SQL: SELECT public\.sync_digest\(/s, 'EXPLAIN shows the aggregate in Remote SQL');
unlike(sql("EXPLAIN (VERBOSE, COSTS off) SELECT sync_digest($list) FROM utf8_fetched"),
	qr/Remote SQL: .*sync_digest/, 'and not without the option');

my $digest = sql("SELECT sync_digest($list) FROM article");
for my $key ('utf8', 'latin1', 'utf8 fetched', 'latin1 fetched')
{
	$log_from = -s $far->logfile;
	is(sql("SELECT d->>'local_hash', d->>'remote_hash', d->>'detail' FROM sync_state_delta('$key') d"),
		"$digest|$digest|adopt", "$key: the digests are the same");
	my $asked = asked();
	if ($key =~ /fetched/)
	{
		unlike($asked, qr/sync_/, "$key: rows were fetched");
	}
	else
	{
		like($asked, qr/^DECLARE c1 CURSOR FOR\s+SELECT syncstate\.sync_digest\([^()]*\) FROM public\.article\nFETCH 100 FROM c1\z/, "$key: a digest was asked for, and nothing else");
	}
	is(sql("SELECT count(*) FROM sync_source_diff('$key')"), '0', "$key: no row differs");
	is(sql("SELECT sync_state_observe('$key')->>'detail'"), 'unchanged', "$key: observed");
	is(sql("SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = '$key'"), '2000', "$key: with the bases of rows");
}
is(sql("SELECT d->>'local_hash' = d->>'remote_hash' FROM sync_state_delta('local') d"), 't', 'a foreign table as our side');

# -------------------------------------------------------------- differences

my $edit = q{
UPDATE article SET title = 'geändert' WHERE id IN (1, 2, 3);
DELETE FROM article WHERE id BETWEEN 10 AND 14;
INSERT INTO article (id, lang, feeling) VALUES (3000, 'de', 'glücklich'), (3001, 'é', NULL);
};
$far->safe_psql($_, "SET client_encoding = 'UTF8'; $edit") for qw(utf8 latin1);
sql(q{UPDATE article SET price = price + 1 WHERE id IN (3, 4); DELETE FROM article WHERE id IN (14, 15); UPDATE article SET price = price * 1.00 WHERE id = 5});
my $diff = q{1 different, 2 different, 3 different, 4 different, 10 local_only, 11 local_only, 12 local_only, 13 local_only, 15 remote_only, 3000 remote_only, 3001 remote_only};
my $plan = q{1 PULL edit, 2 PULL edit, 3 CONFLICT edit/edit, 4 PUSH edit, 10 PULL delete, 11 PULL delete, 12 PULL delete, 13 PULL delete, 15 PUSH delete, 3000 PULL create, 3001 PULL create};
for my $key ('utf8', 'latin1', 'utf8 fetched', 'latin1 fetched')
{
	is(sql("SELECT string_agg((key->>'id') || ' ' || difference, ', ' ORDER BY (key->>'id')::int) FROM sync_source_diff('$key')"),
		$diff, "$key: the rows that differ");
	is(sql("SELECT string_agg(concat_ws(' ', key->>'id', action, detail), ', ' ORDER BY (key->>'id')::int) FROM sync_source_diff3('$key')"),
		$plan, "$key: and what is to be done about each");
	is(sql("SELECT key->>'lang' FROM sync_source_diff('$key') WHERE key->>'id' = '3001'"), 'é', "$key: keys in our encoding");
}
is(sql("SELECT string_agg((key->>'id') || ' ' || difference, ', ' ORDER BY (key->>'id')::int) FROM sync_source_diff('local')"),
	($diff =~ s/local_only/@/gr =~ s/remote_only/local_only/gr =~ s/@/remote_only/gr), 'and with the sides exchanged');

# Only a few rows cross the wire: what the plans of those statements say.
for my $key ('utf8', 'latin1')
{
	my $plans = says(qq{
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_verbose = on;
SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off; SET client_min_messages = log;
SELECT count(*) FROM sync_source_diff('$key');
SELECT count(*) FROM sync_source_diff3('$key')});
	my @scans = $plans =~ /Foreign Scan[^\n]*\(actual rows=(\d+)/g;
	my @remote = $plans =~ /Remote SQL: (SELECT .*)/g;

	cmp_ok(scalar(@scans), '>=', 4, "$key: it was asked for sketches and keys");
	is(scalar(grep { $_ > 11 } @scans), 0, "$key: never for more rows than differ");
	is(scalar(grep { !/syncstate\.sync_(sketch|digest)\(/ } @remote), 0, "$key: always for an aggregate");
	ok((grep { /sync_sketch/ } @remote) && (grep { /GROUP BY/ } @remote), "$key: of all rows, and of those keys");
}

# Both sides at once, where the server is said to answer while others work.
sub async_scans
{
	my ($sql) = @_;
	my $plans = says(qq{
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log;
$sql});

	return scalar(() = $plans =~ /Async Foreign Scan/g);
}

is(async_scans("SELECT sync_state_delta('utf8'); SELECT sync_source_diff('utf8')"), 0, 'one side after the other');
sql("ALTER SERVER utf8_$_ OPTIONS (ADD async_capable 'true')") for qw(shipped fetched);
for my $key ('utf8', 'utf8 fetched')
{
	# Rows that are fetched to be hashed here are not waited for elsewhere.
	my $scans = $key eq 'utf8' ? 1 : 0;

	is(async_scans("SELECT sync_state_delta('$key')"), $scans, "$key, asynchronous: delta");
	is(async_scans("SELECT sync_source_diff('$key')"), 2 * $scans, "$key, asynchronous: diff, sketches and keys");
	is(sql("SELECT d->>'local_hash', d->>'remote_hash' FROM sync_state_delta('$key') d"),
		sql("SELECT sync_digest($list), (SELECT sync_digest($list) FROM utf8_shipped) FROM article"),
		"$key, asynchronous: each digest is its side's");
	is(sql("SELECT string_agg((key->>'id') || ' ' || difference, ', ' ORDER BY (key->>'id')::int) FROM sync_source_diff('$key')"),
		$diff, "$key, asynchronous: the rows that differ");
	is(sql("SELECT string_agg(concat_ws(' ', key->>'id', action, detail), ', ' ORDER BY (key->>'id')::int) FROM sync_source_diff3('$key')"),
		$plan, "$key, asynchronous: and what is to be done about each");
}
$far->safe_psql('utf8', 'ALTER TABLE article RENAME title TO headline');
like(says("SELECT sync_state_delta('utf8')"), qr/ERROR:  column "title" does not exist.*CONTEXT:  .*reading the sources of "utf8"/s,
	'asynchronous: an error names the key');
$far->safe_psql('utf8', 'ALTER TABLE article RENAME headline TO title');
sql("ALTER FOREIGN TABLE utf8_shipped OPTIONS (ADD async_capable 'false')");
is(async_scans("SELECT sync_state_delta('utf8')"), 0, 'not for a table that is said to be otherwise');
sql("ALTER FOREIGN TABLE utf8_shipped OPTIONS (SET async_capable 'true'); ALTER SERVER utf8_shipped OPTIONS (DROP async_capable)");
is(async_scans("SELECT sync_state_delta('utf8')"), 1, '... nor only the server can say so');
sql("ALTER FOREIGN TABLE utf8_shipped OPTIONS (DROP async_capable); ALTER SERVER utf8_fetched OPTIONS (DROP async_capable)");

# So many differences that lists are joined; grouped over there.
$far->safe_psql('utf8', 'CREATE TABLE wide (id int PRIMARY KEY, v int); INSERT INTO wide SELECT i, 0 FROM generate_series(1, 120000) i');
sql(q{
CREATE TABLE wide (id int PRIMARY KEY, v int); INSERT INTO wide SELECT i, i % 10 FROM generate_series(1, 120001) i;
CREATE FOREIGN TABLE far_wide (id int, v int) SERVER utf8_shipped OPTIONS (table_name 'wide');
SELECT sync_source_attach('wide', 'wide', 'far_wide')});
is(sql("SELECT difference, count(*) FROM sync_source_diff('wide') GROUP BY 1 ORDER BY 1"), "different|108000\nlocal_only|1", '108,001 differences');
my $lists = () = slurp_file($far->logfile) =~ /SELECT id, syncstate\.sync_row_hash\(id\), syncstate\.sync_digest\(id, v\) FROM public\.wide GROUP BY 1, 2/g;
is($lists, 1, 'lists are made where the rows are');

# Other types keep the rows from being hashed over there.
sql(q{CREATE FOREIGN TABLE enums (id bigint, lang text, feeling mood) SERVER utf8_shipped OPTIONS (table_name 'article')});
like(says("SELECT sync_source_attach('enums', 'article', 'enums', columns => '{id,lang,feeling}')"),
	qr/NOTICE:  all rows of the foreign table "enums" will be fetched.*\nDETAIL: .*\nHINT: .*enums for instance, as text/, 'an enum in a foreign table');
is(sql("SELECT string_agg(key->>'id', ' ' ORDER BY (key->>'id')::int) FROM sync_source_diff('enums')"), '10 11 12 13 15 3000 3001', '... is compared all the same');

# What was analyzed when it was small is not fetched when it has grown.
$far->safe_psql('utf8', q{CREATE TABLE grows (id int PRIMARY KEY, v text); INSERT INTO grows SELECT i, 'x' FROM generate_series(1, 3) i});
sql(q{CREATE FOREIGN TABLE grows (id int, v text) SERVER utf8_shipped; ANALYZE grows});
is(says("SELECT sync_source_attach('grows', 'grows', 'grows', key_columns => '{id}')"), '', 'a small foreign table');
$far->safe_psql('utf8', q{INSERT INTO grows SELECT i, 'x' FROM generate_series(4, 10000) i});
asked();
is(sql("SELECT right(sync_state_delta('grows')->>'remote_hash', 6)"), ':10000', '... that has grown');
unlike(asked(), qr/SELECT (?!syncstate\.sync_digest)/, '... is not fetched');
sql('ANALYZE grows');

# One transaction sees one state over there, as postgres_fdw keeps its snapshot.
is( sql(q{
BEGIN;
SELECT sync_state_delta('wide')->>'remote_hash' = sync_state_delta('wide')->>'remote_hash';
COMMIT;}), 't', 'twice in a transaction');

# ------------------------------------------------------------------- errors

sub error
{
	my ($sql) = @_;

	return says($sql, 'VERBOSITY=verbose') =~ s/^LOCATION:.*\n?//mgr;
}

$far->safe_psql('utf8', 'ALTER TABLE article RENAME title TO headline');
like(error("SELECT sync_state_delta('utf8')"),
	qr/ERROR:  42703: column "title" does not exist.*CONTEXT:  .*reading the remote source of "utf8"/s,
	'a column that is gone over there: the server\'s error, and the key');
$far->safe_psql('utf8', 'ALTER TABLE article RENAME headline TO title; DROP EXTENSION syncstate');
like(error("SELECT sync_state_delta('utf8')"),
	qr/ERROR:  3F000: schema "syncstate" does not exist.*CONTEXT:  .*reading the remote source of "utf8"/s,
	'no extension over there');
is(sql("SELECT count(*) FROM sync_source_diff('utf8 fetched')"), '11', 'where rows are fetched, none is needed');
sql('ALTER FOREIGN TABLE utf8_fetched DROP COLUMN title');
like(error("SELECT sync_state_delta('utf8 fetched')"),
	qr/ERROR:  55000: the remote source of "utf8 fetched" has no column "title"/, 'a column that the foreign table lost');
sql('CREATE ROLE stranger LOGIN; GRANT USAGE ON SCHEMA syncstate TO stranger; GRANT SELECT ON syncstate.sync_state, article, latin1_shipped TO stranger');
$here->psql('here', "SELECT sync_state_delta('latin1')", extra_params => [ '-U', 'stranger', '-v', 'VERBOSITY=verbose' ], stderr => \my $stranger);
like($stranger, qr/ERROR:  42704: user mapping not found.*reading the remote source of "latin1"/s, 'no user mapping');
$far->stop;
like(error("SELECT sync_state_delta('latin1')"),
	qr/ERROR:  08001: could not connect to server "latin1_shipped".*CONTEXT:  .*reading the remote source of "latin1"/s,
	'the other server cannot be reached');
like(error("SELECT sync_state_observe('latin1')"), qr/ERROR:  08001: .*"latin1"/s, '... for observe');
like(error("SELECT sync_source_diff('latin1 fetched')"), qr/ERROR:  08001: .*"latin1 fetched"/s, '... for diff');
is(sql("SELECT sync_state_delta('latin1', 'l', 'r')->>'local_hash'"), 'l', 'hashes that are given need no server');
is(says("SELECT sync_source_attach('latin1', 'article', 'latin1_shipped')"), '', 'nor does attaching');
is(sql("SELECT sync_source_detach('latin1')"), 't', 'nor detaching');

$here->stop;
done_testing();
