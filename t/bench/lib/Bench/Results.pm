# What was measured, round by round, and what it comes to.

package Bench::Results;

use v5.36;

use List::Util 'sum0';

use Bench::Statistics qw(median quantile);


sub new ($class) {
    return bless { runs => {}, streams => {}, rss => {}, cold => {},
        faults => {} }, $class;
}


# Adds what Bench::Way's load returned, in the order of the rounds.
sub add_run ($self, $way, $case, $run) {
    push $self->{runs}{$way}{$case}->@*, $run;
}


# Adds the seconds to the first event, of one round.
sub add_stream ($self, $way, @seconds) {
    push $self->{streams}{$way}->@*, median(@seconds);
}


# What else is known of a way: fault, why its streams are not to be compared;
# rss in MiB; cold, { calls, lost }.
sub set ($self, $what, $way, $value) { $self->{$what}{$way} = $value }
sub get ($self, $what, $way) { return $self->{$what}{$way} }


# How many requests failed, as text; '' if none did. What failed is not to be
# compared.
sub failed ($self, $way, $case) {
    my @runs = ($self->{runs}{$way}{$case} // [])->@*;
    return 'no run' unless @runs;
    return 'no answer' if grep { !$_->{requests} } @runs;
    my $failed = sum0(map { $_->{failed} } @runs) || return '';
    return "$failed of " . sum0(map { $_->{requests} } @runs);
}


# The median of a figure: rate (requests a second), p50 and p99
# (microseconds), cpu (microseconds of processor time for a request), busy
# (the share of one processor).
sub middle ($self, $way, $case, $figure) {
    return median($self->_values($way, $case, $figure));
}


# The median and the quartiles of what a figure is beside another way's in
# the same round; nothing where one of the two was not measured, or failed.
sub relative ($self, $way, $other, $case, $figure) {
    return if grep { length $self->failed($_, $case) } $way, $other;
    my @own = $self->_values($way, $case, $figure);
    my @others = $self->_values($other, $case, $figure);
    return _spread(map { $own[$_] / $others[$_] }
        grep { $others[$_] } 0 .. ($#own < $#others ? $#own : $#others));
}


# The median and the quartiles of the milliseconds to a stream's first event;
# and of how many more these are than another way's in the same round.
sub stream_ms ($self, $way) {
    return _spread(map { 1000 * $_ } ($self->{streams}{$way} // [])->@*);
}

sub stream_added_ms ($self, $way, $other) {
    my ($own, $others) = map { $_ // [] } $self->{streams}->@{$way, $other};
    return _spread(map { 1000 * ($own->[$_] - $others->[$_]) }
        grep { defined $others->[$_] } 0 .. $#$own);
}


sub _values ($self, $way, $case, $figure) {
    my @runs = grep { $_->{requests} }
        ($self->{runs}{$way}{$case} // [])->@*;
    return map {
        $figure eq 'rate' ? $_->{requests} / $_->{seconds}
            : $figure eq 'busy' ? $_->{cpu} / $_->{seconds}
            : $figure eq 'cpu' ? 1e6 * $_->{cpu} / $_->{requests}
            : $_->{$figure}
    } @runs;
}


sub _spread (@values) {
    return map { quantile($_, @values) } @values ? (0.5, 0.25, 0.75) : ();
}

1;
