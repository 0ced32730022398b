# A figure of the results as bars, in SVG.

package Bench::Plot;

use v5.36;

use Exporter 'import';

our @EXPORT_OK = 'svg';

use constant {
    WIDTH => 760, LEFT => 220, RIGHT => 150, TOP => 70, BOTTOM => 40,
    ROW => 30, BAR => 16,
};

my $STYLE = <<'END';
svg { font: 13px system-ui, sans-serif; background: #fff; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #59636e }
.grid { stroke: #d1d9e0 }
.bar { fill: #6e9bd1 }
.ours { fill: #1a7f37 }
.whisker { stroke: #1f2328; fill: none }
@media (prefers-color-scheme: dark) {
    svg { background: #0d1117; fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .bar { fill: #4a74a8 }
    .ours { fill: #3fb950 }
    .whisker { stroke: #f0f6fc }
}
END


# Horizontal bars. rows: { label, spread => [median, low, high], is_ours }
# each, with failed, a text, in the place of spread where there is none.
sub svg ($title, $subtitle, @rows) {
    my $height = TOP + ROW * @rows + BOTTOM;
    my ($most) = sort { $b <=> $a } 1, map { $_->{spread}[2] }
        grep { $_->{spread} } @rows;
    my $scale = (WIDTH - LEFT - RIGHT) / $most;

    my $bars = join '', map { _row($rows[$_], TOP + ROW * $_, $scale) }
        0 .. $#rows;
    return sprintf(<<'END', (WIDTH, $height) x 2, _xml($title, $subtitle),
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"
     viewBox="0 0 %d %d" role="img">
<title>%s</title>
<desc>%s</desc>
<style>
%s</style>
<text class="title" x="16" y="28">%s</text>
<text class="quiet" x="16" y="50">%s</text>
%s%s</svg>
END
        $STYLE, _xml($title, $subtitle),
        _grid($most, $scale, $height - BOTTOM), $bars);
}


sub _grid ($most, $scale, $bottom) {
    my $step = $most > 2 ? 0.5 : 0.25;
    return join '', map {
        my $x = LEFT + $_ * $step * $scale;
        sprintf qq(<path class="grid" d="M%.1f %d V%d"/>\n)
            . qq(<text class="quiet" x="%.1f" y="%d" text-anchor="middle">)
            . "%s</text>\n", $x, TOP, $bottom, $x, $bottom + 18,
            $_ * $step;
    } 0 .. int($most / $step);
}


sub _row ($row, $top, $scale) {
    my $base = $top + ROW / 2 + 5;
    my $label = sprintf qq(<text x="%d" y="%d" text-anchor="end">%s</text>\n),
        LEFT - 10, $base, _xml($row->{label});
    return $label . sprintf(qq(<text class="quiet" x="%d" y="%d">%s</text>\n),
        LEFT + 6, $base, _xml($row->{failed})) unless $row->{spread};

    my ($median, $low, $high) = map { LEFT + $_ * $scale }
        $row->{spread}->@*;
    my $y = $top + (ROW - BAR) / 2;
    my $middle = $top + ROW / 2;
    return $label . sprintf(
        qq(<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>\n),
        $row->{is_ours} ? 'ours' : 'bar', LEFT, $y, $median - LEFT, BAR)
        . sprintf(qq(<path class="whisker" d="M%.1f %d H%.1f M%.1f %d v8 )
            . qq(M%.1f %d v8"/>\n), $low, $middle, $high, $low, $middle - 4,
            $high, $middle - 4)
        . sprintf(qq(<text class="quiet" x="%.1f" y="%d">%.2f (%.2f–%.2f))
            . "</text>\n", ($high > $median ? $high : $median) + 8, $base,
            $row->{spread}->@*);
}


sub _xml (@texts) {
    return map {
        s/`//gr =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr
    } @texts;
}

1;
