# A small HTTP/1.1 server on loopback that records every request before
# its handler answers. It runs in a process group of its own, with a
# process for each connection, and ends with the test that started it.

package Test::Gateway::Server;

use v5.36;

use Fcntl qw(:flock SEEK_SET);
use File::Temp;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();

use Test::Gateway::System
    qw(end_with_test read_file to_null wait_until write_file);
use Test::Gateway::Wire;

use constant IDLE_SECONDS => 60;

my $JSON = JSON::PP->new->ascii->canonical;

my %REASON = (
    200 => 'OK', 204 => 'No Content', 302 => 'Found', 400 => 'Bad Request',
    401 => 'Unauthorized', 403 => 'Forbidden', 404 => 'Not Found',
    410 => 'Gone', 429 => 'Too Many Requests', 503 => 'Service Unavailable',
    500 => 'Internal Server Error', 502 => 'Bad Gateway',
);


# Starts a server. handler => sub ($request, $reply) returns
# [status, [name => value, ...], body], or writes raw bytes with
# $reply->($bytes) (false: the client has gone) and returns undef, which
# ends the connection. tls => { certificate, key } files; port => a
# certain port. Dies on failure.
sub new ($class, %args) {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $args{port} // 0, Listen => 511, ReuseAddr => 1)
        // die "can't listen: $!\n";

    my $self = bless {
        owner => $$, port => $listen->sockport, tls => $args{tls},
        handler => $args{handler}, folder => File::Temp->newdir,
    }, $class;
    write_file($self->_file($_), '') for qw(number requests mode);
    end_with_test($self);

    $self->{pid} = fork // die "fork: $!\n";
    if ($self->{pid} == 0) {
        eval { $self->_accept($listen) };
        print STDERR "# server: $@" if $@;
        POSIX::_exit(1);
    }
    POSIX::setpgid($self->{pid}, $self->{pid});
    return $self;
}


# The port, and what a configuration needs to name this server.
sub port ($self) { return $self->{port} }
sub host_port ($self) { return "127.0.0.1:$self->{port}" }
sub url ($self) {
    return ($self->{tls} ? 'https://' : 'http://') . $self->host_port;
}


# The requests so far, oldest first, each as the handler gets it: method,
# target, path, query, raw_head, headers ([name, value], ...), header
# (lower-case name => last value), body (bytes), server_name (of TLS; undef
# if the client named none) and number.
sub requests ($self) {
    my @requests = map { $JSON->decode($_) }
        split /\n/, read_file($self->_file('requests'));
    $_->{body} = read_file($self->_file("body.$_->{number}")) for @requests;
    return @requests;
}


# How many requests were recorded.
sub count ($self) {
    return read_file($self->_file('requests')) =~ tr/\n//;
}


# Whether the process has a connection to the server.
sub is_connected ($self, $pid) {
    my $port = sprintf '0100007F:%04X', $self->port;
    my %inodes = map { (split)[9] => 1 } grep { (split)[2] eq $port }
        split /\n/, read_file('/proc/net/tcp');
    return scalar grep { /^socket:\[(\d+)\]$/ && $inodes{$1} }
        map { readlink // () } glob "/proc/$pid/fd/*";
}


# Waits until $n requests were recorded. Returns whether they were.
sub wait_for ($self, $n, $seconds = 5) {
    return wait_until { $self->count >= $n } $seconds;
}


# Empties the record. The requests' numbers go on.
sub forget ($self) {
    my $lock = $self->_lock;
    write_file($self->_file('requests'), '');
}


# Sets a word that the handler finds in $request->{mode} from now on: the
# way to make a running server answer differently. It starts as ''.
sub mode ($self, $word) {
    write_file($self->_file('mode'), $word);
}


# Ends the server and all its connections. May be called twice.
sub stop ($self) {
    my $pid = delete $self->{pid} // return;
    kill KILL => -$pid;
    waitpid $pid, 0;
}


sub DESTROY ($self) {
    return if $self->{owner} != $$;
    local ($?, $!, $@);
    $self->stop;
}


sub _file ($self, $name) { return "$self->{folder}/$name" }


# Returns the open counter file; it's locked while the handle lives.
sub _lock ($self) {
    open my $number, '+<', $self->_file('number') or die "number: $!\n";
    flock $number, LOCK_EX or die "flock: $!\n";
    return $number;
}


# The server process: accepts until the test has gone.
sub _accept ($self, $listen) {
    setpgrp;
    to_null(1);
    $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
    $SIG{CHLD} = 'IGNORE';
    my $select = IO::Select->new($listen);

    while (getppid == $self->{owner}) {
        next unless $select->can_read(0.5);
        my $socket = $listen->accept or next;
        my $pid = fork // next;
        if ($pid == 0) {
            close $listen;
            $SIG{CHLD} = 'DEFAULT';
            eval { $self->_converse($socket) };
            POSIX::_exit(0);
        }
    }
    kill KILL => -$$;
}


# A connection's process: answers one request after the other.
sub _converse ($self, $socket) {
    my $stream = $self->_encrypt($socket);
    my $server_name = $self->{tls} ? $stream->get_servername : undef;
    my $wire = Test::Gateway::Wire->new($stream, IDLE_SECONDS);

    while (my $request = _receive($wire)) {
        $request->{server_name} = $server_name;
        $self->_record($request);
        my $reply = sub ($bytes) { $wire->limit(IDLE_SECONDS)->send($bytes) };
        my $answer = eval { $self->{handler}->($request, $reply) };
        if ($@) {
            print STDERR "# handler: $@";
            $answer = [500, [], $@];
        }
        last unless $answer;
        last unless $reply->(_format($request, @$answer));
        last if _is_last($request);
    }
    $wire->close;
}


sub _encrypt ($self, $socket) {
    my $tls = $self->{tls} or return $socket;
    require IO::Socket::SSL;
    return IO::Socket::SSL->start_SSL($socket, SSL_server => 1,
        SSL_cert_file => $tls->{certificate}, SSL_key_file => $tls->{key},
        Timeout => IDLE_SECONDS) // die "no TLS\n";
}


# Reads the next request; undef if the client has ended the connection.
sub _receive ($wire) {
    my $raw = $wire->limit(IDLE_SECONDS)->head // return;
    my ($line, $headers, $header) = Test::Gateway::Wire::parse_head($raw);
    my ($method, $target, $version) = split / /, $line;
    my ($path, $query) = split /\?/, $target, 2;

    $wire->send("HTTP/1.1 100 Continue\r\n\r\n")
        if lc($header->{expect} // '') eq '100-continue';
    my $next_piece = $wire->body_reader($header);
    my $body = '';
    while (defined(my $piece = $next_piece->())) {
        $body .= $piece;
    }

    return {
        method => $method, target => $target, path => $path,
        query => $query // '', version => $version, raw_head => $raw,
        headers => $headers, header => $header, body => $body,
    };
}


# Numbers the request and writes it down; the body has a file of its own.
sub _record ($self, $request) {
    my $lock = $self->_lock;
    my $number = $request->{number} = 1 + (readline($lock) || 0);
    my $body = delete $request->{body};

    write_file($self->_file("body.$number"), $body);
    open my $record, '>>', $self->_file('requests') or die "record: $!\n";
    print {$record} $JSON->encode($request), "\n";
    close $record or die "record: $!\n";

    seek $lock, 0, SEEK_SET;
    print {$lock} $number;
    close $lock or die "number: $!\n";
    $request->{body} = $body;
    $request->{mode} = read_file($self->_file('mode'));
}


sub _format ($request, $status, $headers = [], $body = '') {
    my @fields = @$headers;
    my %given = Test::Gateway::Wire::names(@fields);
    push @fields, 'Content-Length', length $body
        unless $given{'content-length'} || $given{'transfer-encoding'};
    push @fields, 'Connection', 'close' if _is_last($request);

    my $reason = $REASON{$status} // 'Status';
    return Test::Gateway::Wire::format_head("HTTP/1.1 $status $reason",
        @fields) . ($request->{method} eq 'HEAD' ? '' : $body);
}


sub _is_last ($request) {
    my $connection = lc($request->{header}{connection} // '');
    return $connection =~ /close/
        || $request->{version} eq 'HTTP/1.0' && $connection ne 'keep-alive';
}

1;
