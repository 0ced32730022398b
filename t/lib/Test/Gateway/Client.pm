# A raw HTTP/1.1 client: what it is told to send is sent byte for byte.

package Test::Gateway::Client;

use v5.36;

use Exporter 'import';
use IO::Socket::INET;
use JSON::PP ();

use Test::Gateway::System 'now';
use Test::Gateway::Wire;

our @EXPORT = qw(request start_request);


# Sends a request to a loopback port and reads the answer. Options:
# headers => [name => value, ...], sent in this order (Host comes first
# unless it's given); body => bytes, or chunked => [pieces]; raw => exact
# bytes instead of all that; tls => { ca }, for the name localhost;
# timeout => seconds for everything, 60 unless given.
# Returns { status, reason, headers => [[name, value], ...], header =>
# { lower-case name => last value }, body, json (decoded, if it's JSON),
# elapsed (seconds) } and, if it went wrong, error; status is then 0
# unless the head had arrived.
sub request ($port, $method, $target, %opt) {
    return start_request($port, $method, $target, %opt)->finish;
}


# As request, but only sends. Returns an object with the methods below.
sub start_request ($port, $method, $target, %opt) {
    my $self = bless {
        started => now(), method => $method,
        answer => { status => 0, headers => [], header => {}, body => '' },
    }, __PACKAGE__;

    eval {
        $self->{wire} = _connect($port, $opt{tls}, $opt{timeout} // 60);
        $self->send($opt{raw} // _format($port, $method, $target, %opt));
    };
    $self->{answer}{error} = $@ if $@;
    return $self;
}


# Reads the answer to its end, closes the connection (but for status 101)
# and returns what request does.
sub finish ($self) {
    my $answer = $self->head;
    1 while $answer->{status} != 101 && $self->_more;
    $self->abort unless $answer->{status} == 101;

    my $type = $answer->{header}{'content-type'} // '';
    $answer->{json} = eval { JSON::PP::decode_json($answer->{body}) }
        if $type =~ /\bjson\b/i;
    $answer->{elapsed} = now() - $self->{started};
    return $answer;
}


# Reads only the answer's head. Returns what request does, without body,
# json and elapsed.
sub head ($self) {
    my $answer = $self->{answer};

    until ($answer->{status} || $answer->{error}) {
        my $raw = eval { $self->{wire}->head // die "closed early\n" };
        if (!defined $raw) {
            $answer->{error} = $@;
            last;
        }
        my ($line, $headers, $header) = Test::Gateway::Wire::parse_head($raw);
        my ($status, $reason) = $line =~ m{^HTTP/1\.[01] (\d{3}) ?(.*)$};
        if (!$status) {
            $answer->{error} = "not an HTTP answer: $line\n";
        } elsif ($status >= 200 || $status == 101) {
            @$answer{qw(status reason headers header)} =
                ($status, $reason, $headers, $header);
            $self->{next_piece} = $self->_has_no_body ? sub { undef }
                : $self->{wire}->body_reader($header, 1);
        }
    }
    return $answer;
}


sub _has_no_body ($self) {
    my $status = $self->{answer}{status};
    return $self->{method} eq 'HEAD' || $status == 204 || $status == 304;
}


# Sends more bytes. Returns false if the other side has gone.
sub send ($self, $bytes) {
    my $wire = $self->{wire} // return 0;
    return $wire->send($bytes);
}


# Returns the next bytes of the body, or of what follows after status 101,
# up to and including the string $end; undef if that doesn't come.
sub read_until ($self, $end) {
    my $body = \$self->head->{body};
    my $start = $self->{taken} // 0;

    for (;;) {
        my $at = index $$body, $end, $start;
        if ($at >= 0) {
            $self->{taken} = $at + length $end;
            return substr $$body, $start, $self->{taken} - $start;
        }
        $self->_more or return undef;
    }
}


# Adds a piece to the answer's body. False at its end or after an error.
sub _more ($self) {
    my $answer = $self->{answer};
    return 0 if $answer->{error};

    my $piece = eval { $self->{next_piece}->() };
    $answer->{error} = $@ if $@;
    return 0 unless defined $piece;
    $answer->{body} .= $piece;
    return 1;
}


# Closes the connection at once, wherever the request stands.
sub abort ($self) {
    my $wire = delete $self->{wire} // return;
    $wire->close;
}


sub _connect ($port, $tls, $seconds) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => $seconds)
        // die "can't connect: $!\n";
    if ($tls) {
        require IO::Socket::SSL;
        IO::Socket::SSL->start_SSL($socket, SSL_ca_file => $tls->{ca},
            SSL_hostname => 'localhost', SSL_verifycn_name => 'localhost',
            SSL_verifycn_scheme => 'http', Timeout => $seconds)
            // die 'no TLS: ' . IO::Socket::SSL::errstr() . "\n";
    }
    return Test::Gateway::Wire->new($socket, $seconds);
}


sub _format ($port, $method, $target, %opt) {
    my @fields = ($opt{headers} // [])->@*;
    my %given = Test::Gateway::Wire::names(@fields);
    my $body = $opt{body};

    unshift @fields, Host => "127.0.0.1:$port" unless $given{host};
    if ($opt{chunked}) {
        push @fields, 'Transfer-Encoding' => 'chunked'
            unless $given{'transfer-encoding'};
        $body = join '', map { sprintf "%x\r\n%s\r\n", length, $_ }
            grep { length } $opt{chunked}->@*;
        $body .= "0\r\n\r\n";
    } elsif (defined $body) {
        push @fields, 'Content-Length' => length $body
            unless $given{'content-length'};
    }

    return Test::Gateway::Wire::format_head("$method $target HTTP/1.1",
        @fields) . ($body // '');
}

1;
