# A way that runs: what it is asked, by whom, and what that costs.

package Bench::Way;

use v5.36;

use File::Temp;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes 'sleep';

use Bench::Client 'client_headers';
use Bench::Machine 'pinned';
use Bench::Upstream;
use Test::Gateway::Client 'request';
use Test::Gateway::System qw(children now read_file write_file);

use constant {
    TIMEOUT_SECONDS => 10,
    # of the events' distance, at the least, where none is held back
    LEAST_GAP_SECONDS => 0.025,
};

my $TICKS = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my $PAGE_BYTES = POSIX::sysconf(POSIX::_SC_PAGESIZE());


# Starts a way of Bench::Ways, with the services of Bench::Upstream or others
# in their place. Dies if it does not start.
sub new ($class, $way, $services) {
    return bless { %$way, services => $services,
        parts => [$way->{start}->($services)],
        folder => File::Temp->newdir }, $class;
}


sub port ($self) {
    my $part = $self->{parts}[0];
    return $part->isa('Test::Gateway') ? $part->port('gateway')
        : $part->port;
}


sub stop ($self) { $_->stop for $self->{parts}->@* }


# Asks once for each case, and dies if an answer is not what it should be.
sub check ($self) {
    for my $case (sort keys %Bench::Upstream::BYTES) {
        my ($path, @headers) = $self->_request($case);
        my $answer = request($self->port, POST => $path,
            headers => \@headers, timeout => TIMEOUT_SECONDS,
            body => Bench::Upstream::request_body($case));
        my $content = eval {
            $answer->{json}{choices}[0]{message}{content};
        } // '';
        next if $answer->{status} == 200
            && $content eq Bench::Upstream::content($case);
        die "$case: status $answer->{status}, "
            . substr(($answer->{error} // '') . $answer->{body}, 0, 300)
            . "\n";
    }
}


# Runs wrk, for the callers whose tokens are the lines of a file if one is
# named. Returns { requests, seconds, failed, refused, p50, p99
# (microseconds), cpu (seconds of the gateway's) }. A run in which something
# failed is not to be compared.
sub load ($self, $case, $connections, $seconds, @tokens) {
    my ($path, @headers) = $self->_request($case);
    my $body = "$self->{folder}/$case";
    write_file($body, Bench::Upstream::request_body($case)) if !-e $body;
    my @header_options;
    while (my ($name, $value) = splice @headers, 0, 2) {
        push @header_options, '-H', "$name: $value";
    }

    my $before = $self->cpu_seconds;
    open my $wrk, '-|', pinned('load'), 'wrk', '-t1', "-c$connections",
        "-d${seconds}s", '--timeout', TIMEOUT_SECONDS . 's',
        '-s', _script(), @header_options,
        "http://127.0.0.1:${\$self->port}$path", '--', $body, @tokens
        or die "wrk: $!\n";
    my $output = join '', readline $wrk;
    my $cpu = $self->cpu_seconds - $before;

    my ($requests, $us, $broken, $refused, $late, $p50, $p99) =
        $output =~ /^figures (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$/m
        or die "wrk: $output\n";
    return { requests => $requests, seconds => $us / 1e6, p50 => $p50,
        p99 => $p99, cpu => $cpu,
        refused => $refused + $late,
        failed => $requests ? $broken + $refused + $late : 'all' };
}


# Asks for a stream. Returns the seconds from the request to the first event,
# on a connection that is there. Dies if the event was held back, or did not
# come.
sub first_event_seconds ($self) {
    my $body = Bench::Upstream::request_body('stream');
    my ($path, @headers) = $self->_request('stream');
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->port) // die "no connection: $!\n";
    my $request = Test::Gateway::Wire::format_head("POST $path HTTP/1.1",
        Host => 'gateway.internal', @headers,
        'Content-Length' => length $body, Connection => 'close') . $body;
    sleep 0.001;

    my ($got, @events) = '';
    my $start = now();
    syswrite $socket, $request;
    while ($socket->sysread($got, 65536, length $got)) {
        my $events = () = $got =~ /^data: \{/mg;
        push @events, now() - $start while @events < $events;
        last if $got =~ /^data: \[DONE\]/m;
    }
    die 'stream: ' . substr($got, 0, 300) . "\n" if @events < 2;
    die "stream: the first event comes with the second\n"
        if $events[1] - $events[0] < LEAST_GAP_SECONDS;
    return $events[0];
}


# Starts so many requests at once, each on a connection of its own, and waits
# for the answers. Returns how many were 200.
sub ask_at_once ($self, $count) {
    my $body = Bench::Upstream::request_body('small');
    my ($path, @headers) = $self->_request('small');
    my $request = Test::Gateway::Wire::format_head("POST $path HTTP/1.1",
        Host => 'gateway.internal', @headers,
        'Content-Length' => length $body, Connection => 'close') . $body;

    my @sockets = map {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $self->port) // die "no connection: $!\n"
    } 1 .. $count;
    syswrite $_, $request for @sockets;
    return scalar grep { local $/; (readline($_) // '') =~ /^HTTP\S+ 200/ }
        @sockets;
}


# What the gateway's processes have used of their processor so far.
sub cpu_seconds ($self) {
    my $ticks = 0;
    for my $pid ($self->_processes) {
        # the name, in brackets, may hold blanks
        my @fields = split ' ', read_file("/proc/$pid/stat") =~ s/.*\) //sr;
        $ticks += ($fields[11] // 0) + ($fields[12] // 0);
    }
    return $ticks / $TICKS;
}


# The resident memory of the gateway's processes, added up.
sub rss_mib ($self) {
    my $pages = 0;
    $pages += (split ' ', read_file("/proc/$_/statm"))[1] // 0
        for $self->_processes;
    return $pages * $PAGE_BYTES / 2 ** 20;
}


sub _processes ($self) {
    my @first = map { $_->isa('Test::Gateway') ? $_->master : $_->pid }
        $self->{parts}->@*;
    return map { $_, children($_) } @first;
}


# The path and the headers of a request for a deployment.
sub _request ($self, $deployment) {
    my ($path, @more) = $self->{request}
        ? $self->{request}->($deployment, $self->{services})
        : "/openai/deployments/$deployment/chat/completions"
            . '?api-version=2024-10-21';
    return $path, client_headers(), @more;
}


sub _script () { return __FILE__ =~ s{lib/Bench/Way\.pm$}{load.lua}r }

1;
