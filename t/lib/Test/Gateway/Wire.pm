# One end of an HTTP/1.1 connection: whole messages out of a byte stream.
# Everything that reads dies with a line of text when the time is up or
# when the other side ends the connection too early.

package Test::Gateway::Wire;

use v5.36;

use IO::Select;
use List::Util 'pairkeys';

use Test::Gateway::System 'now';


# Takes a connected socket, plain or TLS, and a time limit in seconds.
sub new ($class, $socket, $seconds) {
    $socket->blocking(0);
    my $self = bless { socket => $socket, buffer => '' }, $class;
    return $self->limit($seconds);
}


# Sets a new time limit, counted from now. Returns the object.
sub limit ($self, $seconds) {
    $self->{deadline} = now() + $seconds;
    return $self;
}


# Sends all the bytes. Returns false if the other side is gone or doesn't
# read until the time is up.
sub send ($self, $bytes) {
    local $SIG{PIPE} = 'IGNORE';

    for (my $sent = 0; $sent < length $bytes;) {
        my $count = $self->{socket}->syswrite($bytes, 65536, $sent);
        $sent += $count // 0;
        return 0 if !defined $count && !$self->_wait('can_write');
    }
    return 1;
}


# Ends the connection in both directions, also where a process that was
# forked in between still has the socket open.
sub close ($self) {
    $self->{socket}->stop_SSL(SSL_fast_shutdown => 1)
        if $self->{socket}->isa('IO::Socket::SSL');
    shutdown $self->{socket}, 2;
    $self->{socket}->close;
}


# Waits after a call that would have blocked. False if it failed otherwise
# or the time is up.
sub _wait ($self, $direction) {
    return 0 unless $!{EAGAIN} || $!{EINTR};
    my $left = $self->{deadline} - now();
    return $left > 0 && IO::Select->new($self->{socket})->$direction($left);
}


# Adds to the buffer what has arrived. Returns 0 at the end of the stream.
sub _fill ($self) {
    for (;;) {
        my $count = $self->{socket}->sysread($self->{buffer}, 65536,
            length $self->{buffer});
        return $count if defined $count;
        next if $self->_wait('can_read');
        die $!{EAGAIN} ? "timed out\n" : "connection failed: $!\n";
    }
}


# Returns the bytes up to and including the string $end.
sub until ($self, $end) {
    for (;;) {
        my $at = index $self->{buffer}, $end;
        return substr $self->{buffer}, 0, $at + length $end, '' if $at >= 0;
        $self->_fill or die "closed early\n";
    }
}


# Reads a message's head: the raw text with its empty line, or undef if
# the other side has ended the connection before it.
sub head ($self) {
    return if $self->{buffer} eq '' && !$self->_fill;
    return $self->until("\r\n\r\n");
}


# Returns a sub that gives the next piece of a message's body each time it
# is called, as soon as there is one, and undef after the last. A body that
# has no length ends with the connection if $until_close, else it's empty.
sub body_reader ($self, $header, $until_close = 0) {
    return $self->_chunk_reader
        if ($header->{'transfer-encoding'} // '') =~ /\bchunked\b/i;

    my $left = $header->{'content-length'};
    return sub {
        return $until_close ? $self->_piece : undef unless defined $left;
        return undef if $left == 0;
        my $piece = $self->_piece($left) // die "closed early\n";
        $left -= length $piece;
        return $piece;
    };
}


sub _chunk_reader ($self) {
    my ($left, $ended) = (0, 0);

    return sub {
        return undef if $ended;
        if ($left == 0) {
            $self->until("\r\n") =~ /^([0-9a-f]+)\s*(?:;.*)?\r\n$/i
                or die "bad chunk size\n";
            $left = hex $1;
        }
        if ($left == 0) {
            1 while $self->until("\r\n") ne "\r\n";
            $ended = 1;
            return undef;
        }
        my $piece = $self->_piece($left) // die "closed early\n";
        $left -= length $piece;
        $self->until("\r\n") if $left == 0;
        return $piece;
    };
}


# Takes what has arrived, but not more than $limit bytes; waits if that is
# nothing. Returns undef at the end of the stream.
sub _piece ($self, $limit = undef) {
    return undef if $self->{buffer} eq '' && !$self->_fill;
    return substr $self->{buffer}, 0, $limit // length $self->{buffer}, '';
}


# The names in a list of name => value pairs, as a hash of lower-case name
# => 1.
sub names (@fields) {
    return map { lc($_) => 1 } pairkeys @fields;
}


# Puts a head together out of its first line and name => value pairs.
sub format_head ($first, @fields) {
    my $head = "$first\r\n";
    while (my ($name, $value) = splice @fields, 0, 2) {
        $head .= "$name: $value\r\n";
    }
    return "$head\r\n";
}


# Splits a head: the first line, the headers as a list of [name, value] in
# their order, and a hash of lower-case name => last value.
sub parse_head ($raw) {
    my ($first, @lines) = split /\r\n/, $raw;
    my @headers = map { [/^([^:]*):[ \t]*(.*?)[ \t]*$/] } @lines;
    my %header = map { lc($_->[0] // '') => $_->[1] } @headers;
    return ($first, \@headers, \%header);
}

1;
