package Tally;

# What prove prints, and in the file $TALLY the number of assertions that
# passed and failed.  A test file that broke off, or whose plan does not hold,
# counts as one more failure.

use strict;
use warnings;
use parent 'TAP::Formatter::File';

sub summary
{
	my ($self, $aggregate, @rest) = @_;
	my ($passed, $failed) = (0, 0);

	$self->SUPER::summary($aggregate, @rest);
	for my $parser ($aggregate->parsers)
	{
		my $failures = $parser->failed;

		$passed += $parser->passed;
		$failed += $failures;
		$failed++ if !$failures && $parser->has_problems;
	}
	open my $tally, '>', $ENV{TALLY} or die "$ENV{TALLY}: $!\n";
	print $tally "$passed $failed\n";
	close $tally or die "$ENV{TALLY}: $!\n";
	return;
}

1;
