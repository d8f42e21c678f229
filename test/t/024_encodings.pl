# Documents and rows have the same hashes in databases of every encoding that
# has their characters: strings are hashed as UTF-8, and the order of an object's
# keys is that of UTF-8, too (of UTF-16 in the canonical form).

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

# The locale C goes with all of them.
my @encodings = qw(UTF8 LATIN1 WIN1252 EUC_JP SQL_ASCII);
for my $encoding (@encodings)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE \"$encoding\" ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($encoding, 'CREATE EXTENSION syncstate');
}

sub answers
{
	my ($encoding, $sql) = @_;

	return $node->safe_psql($encoding, "SET client_encoding = 'UTF8'; $sql");
}

# SQL_ASCII has whatever bytes it is given.  In EUC_JP, LATIN1 and WIN1252, the order of bytes is not that of UTF-8.
my %documents = (
	latin => [ [ qw(UTF8 LATIN1 WIN1252) ],
		q({"zz": 1, "ÿ": [null, "größer", {"é": "ü", "e": ["ß"], "ée": {}}], "ä": "\\\\t\\u00e9"}) ],
	'a string' => [ [ qw(UTF8 LATIN1 WIN1252) ], '"größer"' ],
	'a number' => [ [@encodings], '1.50' ],
	'an empty array' => [ [@encodings], '[]' ],
	'an array of strings' => [ [ qw(UTF8 LATIN1 WIN1252 SQL_ASCII) ], '["é", ["ü"], []]' ],
	'the euro, which Latin-1 has not' => [ [ qw(UTF8 WIN1252 SQL_ASCII) ], '{"€": "é", "ÿ": "€"}' ],
	japanese => [ [ qw(UTF8 EUC_JP SQL_ASCII) ], '{"日本": ["語", "｡"], "ｱ": "亜", "a": "ア"}' ]);

for my $name (sort keys %documents)
{
	my ($has, $document) = @{ $documents{$name} };

	for my $function ('sync_hash', 'sync_row_hash', 'sync_digest')
	{
		my $sql = "SELECT $function('$document'::jsonb)";
		my $of_utf8 = answers('UTF8', $sql);

		for my $encoding (grep { $_ ne 'UTF8' } @$has)
		{
			is(answers($encoding, $sql), $of_utf8, "$function of $name: $encoding as UTF8");
		}
	}
}

# Texts, and what a session's own encoding is, which has no say in it.
my $texts = "SELECT sync_row_hash('größer'::text, 'é'::varchar(3), 'ü'::char(5), ARRAY['ß', NULL], '\"é\"'::json)";
my $of_utf8 = answers('UTF8', $texts);
is(answers($_, $texts), $of_utf8, "texts: $_ as UTF8") for qw(LATIN1 WIN1252 SQL_ASCII);
is($node->safe_psql('LATIN1', "SET client_encoding = 'LATIN1'; SELECT sync_row_hash(U&'\\00e9')"),
	answers('UTF8', "SELECT sync_row_hash('é')"),
	'a session that speaks Latin-1');
is($node->safe_psql('SQL_ASCII', q{SELECT sync_row_hash(E'\xff'::text) <> sync_row_hash(E'\xfe'::text)}), 't',
	'bytes that are no text in UTF-8 can be hashed where there is no encoding');

$node->stop;
done_testing();
