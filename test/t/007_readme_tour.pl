# The README's tour says what it prints.
#
# Its statements are run in their order by one psql, as a reader would paste
# them, and what the README shows must be what comes out: block by block, with
# times and tokens masked, and without what it says that it leaves out (the
# answers of BEGIN, COMMIT and the like, and repetitions).
#
# Nobody waits for the ten seconds of a lease: its end is moved into the past.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', slurp_file($ENV{SYNCSTATE_CONF}))
  if $ENV{SYNCSTATE_CONF};
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE tour');

sub masked
{
	my ($text) = @_;

	$text =~ s/\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[-+]\d\d(:\d\d)?\b/<time>/g;
	$text =~ s/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/<token>/g;
	# Columns are as wide as what is in them.
	$text =~ s/^[-+]+$/<rule>/mg;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/^ | $//mg;
	return $text;
}

my ($tour) = slurp_file('README.md') =~ /^## Five-minute tour\n(.*?)^## /ms
  or die 'the README has no tour';

# A block of SQL, and what is shown to come of it, if anything.
my @steps;
while ($tour =~ /^```(sql|text)\n(.*?)^```/msg)
{
	push @steps, { sql => $2, shown => '' } if $1 eq 'sql';
	$steps[-1]{shown} = $2 if $1 eq 'text';
}

my $script = '';
my $spared = 0;
for my $step (@steps)
{
	my $sql = $step->{sql};

	$spared += $sql =~ s/^SELECT pg_sleep\(10\);$/UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp();/m;
	$script .= "\\echo == step\n$sql";
}
is($spared, 1, 'the tour waits once for the end of a lease');

my ($printed, $stderr);
IPC::Run::run(
	[
		'psql', '--no-psqlrc', '--file=-', '--dbname', $node->connstr('tour'),
		'--set=PROMPT1=', '--quiet'
	],
	'<', \$script, '>', \$printed, '2>&1');
my (undef, @printed) = split /^== step\n/m, $printed;
is(scalar @printed, scalar @steps, 'every block was run');

for my $i (0 .. $#steps)
{
	my ($first) = $steps[$i]{sql} =~ /^(.*)/;
	my $got = masked($printed[$i]);

	# psql says which line an error is in, and the README does not.
	$got =~ s/^psql:\S+ (?=ERROR:)//mg;

	if ($steps[$i]{shown} eq '')
	{
		unlike($got, qr/ERROR/, "$first ...: nothing is shown, and nothing fails");
		next;
	}
	my @shown = split /\n\n+/, masked($steps[$i]{shown});
	my @missing = grep { index($got, $_) < 0 } @shown;
	is_deeply(\@missing, [], "$first ...: the README shows what is printed")
	  or diag("printed:\n$got");
	my $expected_errors = () = masked($steps[$i]{shown}) =~ /^ERROR:/mg;
	is(scalar(() = $got =~ /^ERROR:/mg), $expected_errors, '... and no other error');
}

$node->stop;
done_testing();
