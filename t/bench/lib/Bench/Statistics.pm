# Medians and spread.

package Bench::Statistics;

use v5.36;

use Exporter 'import';

our @EXPORT_OK = qw(median quantile);


# The value below which that share of the values lies, between two of them in
# proportion; undef of none.
sub quantile ($share, @values) {
    return undef unless @values;
    my @sorted = sort { $a <=> $b } @values;
    my $place = $share * $#sorted;
    my $left = int $place;
    my $right = $left < $#sorted ? $left + 1 : $left;
    return $sorted[$left]
        + ($place - $left) * ($sorted[$right] - $sorted[$left]);
}


sub median (@values) { return quantile(0.5, @values) }

1;
