# The results in Markdown.

package Bench::Table;

use v5.36;

use Exporter 'import';

use Bench::Machine 'description';
use Bench::Upstream;

our @EXPORT_OK = 'markdown';

my $MAIN = 'small 32';


# The whole text. cases: [name, connections] each; rounds, seconds: how long
# it was measured; ways: of Bench::Ways; left_out: [label, reason] each.
sub markdown ($results, %run) {
    return join "\n", "# Ways to put a token on a request\n",
        _introduction(%run), _summary($results, $run{ways}->@*),
        _left_out($run{left_out}->@*), _notes($run{ways}->@*),
        (map { _case($results, $_, $run{ways}->@*) } $run{cases}->@*),
        _machine();
}


sub _introduction (%run) {
    my ($small, $big) = @Bench::Upstream::BYTES{qw(small big)};
    return <<"END";
Chat completions through each gateway, over loopback without TLS, to an
upstream that refuses what does not carry the right token; what comes by plain
`proxy_pass` has to carry none. A small body has $small bytes, a big one $big,
the request's and the answer's alike; the token has
${\Bench::Upstream::TOKEN_BYTES()} bytes.

$run{rounds} rounds of $run{seconds} s for each way and case, in random order.
Figures are medians of the rounds; ratios are taken within a round, and
followed by their quartiles.
END
}


sub _summary ($results, @ways) {
    my @rows = map { [$_->{label}, _summary_row($results, $_)] } @ways;
    return "## Small bodies, 32 connections\n\n" . _table([
        'way', 'requests/s, of plain', 'p50, of plain', 'p99, of plain',
        'first event of a stream, ms', 'added to plain, ms',
        'CPU a request, of constant header', 'RSS, MiB',
        'token calls, 100 cold callers'], @rows);
}


sub _summary_row ($results, $way) {
    my $name = $way->{name};
    my $failed = $results->failed($name, $MAIN);
    my @load = $failed ? ("failed: $failed") x 3
        : map { _ratio($results->relative($name, 'plain', $MAIN, $_)) }
            qw(rate p50 p99);
    my $cpu = $failed ? "failed: $failed"
        : _ratio($results->relative($name, 'constant', $MAIN, 'cpu'));

    my $fault = $results->get('faults', $name);
    my @stream = $fault ? ("failed: $fault") x 2
        : (_number('%.2f', $results->stream_ms($name)),
            _number('%+.2f', $results->stream_added_ms($name, 'plain')));
    return @load, @stream, $cpu,
        _number('%.0f', $results->get('rss', $name)),
        _cold($results->get('cold', $name));
}


sub _cold ($cold) {
    return 'none' unless $cold;
    return $cold->{fault} if $cold->{fault};
    return $cold->{calls}
        . ($cold->{lost} ? " ($cold->{lost} requests failed)" : '');
}


sub _case ($results, $case, @ways) {
    my ($size, $connections) = @$case;
    my $bytes = $Bench::Upstream::BYTES{$size};
    my @rows = map { [$_->{label},
        _case_row($results, $_->{name}, "@$case")] } @ways;
    my $plural = $connections == 1 ? '' : 's';
    return "## Bodies of $bytes bytes, $connections connection$plural\n\n"
        . _table(['way', 'requests/s', 'of plain', 'p50, ms', 'of plain',
            'p99, ms', 'of plain', 'CPU a request, µs', 'gateway busy'],
            @rows);
}


sub _case_row ($results, $name, $case) {
    my $failed = $results->failed($name, $case);
    return ("failed: $failed") x 8 if $failed;

    my ($rate, $p50, $p99, $cpu, $busy) =
        map { $results->middle($name, $case, $_) } qw(rate p50 p99 cpu busy);
    my ($of_rate, $of_p50, $of_p99) =
        map { _ratio($results->relative($name, 'plain', $case, $_)) }
        qw(rate p50 p99);
    return sprintf('%.0f', $rate), $of_rate,
        sprintf('%.3f', $p50 / 1000), $of_p50,
        sprintf('%.3f', $p99 / 1000), $of_p99,
        sprintf('%.1f', $cpu), sprintf('%.0f %%', 100 * $busy);
}


sub _left_out (@left_out) {
    return map { "Left out: $_->[0]: $_->[1]\n" } @left_out;
}


sub _notes (@ways) {
    my @notes = map { "* $_->{label}: $_->{note}." }
        grep { $_->{note} } @ways;
    return join("\n", @notes, <<'END');
* CPU a request: of all processes of the gateway, sidecars among them. Where
  the gateway is not busy to some 100 %, the upstream and wrk were the limit,
  and requests/s say less than this.
* RSS: of the same processes after the load, added up, shared pages as often
  as they are mapped.
* Token calls: what a gateway that was just started asks of a token endpoint
  that takes 300 ms, for 100 requests at once; none where it is told the
  token.
END
}


sub _machine () {
    return "## What it ran on\n\n" . _table(['', ''], description());
}


sub _table (@rows) {
    splice @rows, 1, 0, [('---') x $rows[0]->@*];
    return join '', map { '| ' . join(' | ', @$_) . " |\n" } @rows;
}


sub _ratio (@spread) {
    return '–' unless @spread;
    return sprintf '%.2f (%.2f–%.2f)', @spread;
}


sub _number ($format, @values) {
    return defined $values[0] ? sprintf $format, $values[0] : '–';
}

1;
