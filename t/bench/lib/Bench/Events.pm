# A server of server-sent events on loopback: an event at once, another one
# after a while, then the end. One request at a time, so that nothing but the
# answer is between its arrival and the first event.

package Bench::Events;

use v5.36;

use IO::Socket::INET;
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes 'sleep';

use Test::Gateway::System qw(end_with_test guard);

use constant { PAUSE_SECONDS => 0.1, EVENTS => 2 };

my $HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    . "Cache-Control: no-cache\r\nConnection: close\r\n\r\n";


sub new ($class) {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64)
        // die "can't listen: $!\n";
    my $self = bless { owner => $$, port => $listen->sockport }, $class;
    end_with_test($self);

    $self->{pid} = fork // die "fork: $!\n";
    if ($self->{pid} == 0) {
        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        $SIG{PIPE} = 'IGNORE';
        while (my $socket = $listen->accept) {
            _answer($socket);
        }
        POSIX::_exit(1);
    }
    $self->{guard} = guard($self->{pid});
    return $self;
}


sub port ($self) { return $self->{port} }


sub stop ($self) {
    my $pid = delete $self->{pid} // return;
    kill TERM => $pid;
    waitpid $_, 0 for $pid, delete $self->{guard};
}


sub DESTROY ($self) {
    return if $self->{owner} != $$;
    local ($?, $!, $@);
    $self->stop;
}


sub _answer ($socket) {
    $socket->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
    my $request = '';
    until (_is_whole($request)) {
        $socket->sysread($request, 65536, length $request) or return;
    }

    for my $number (1 .. EVENTS) {
        sleep PAUSE_SECONDS if $number > 1;
        syswrite $socket, ($number == 1 ? $HEAD : '') . _event($number);
    }
    syswrite $socket, "data: [DONE]\n\n";
    close $socket;
}


sub _is_whole ($request) {
    my ($head, $body) = $request =~ /\A(.*?\r\n)\r\n(.*)\z/s or return 0;
    return $head !~ /^Content-Length: *(\d+)/mi || length $body >= $1;
}


sub _event ($number) {
    return 'data: {"id":"1","object":"chat.completion.chunk","created":1,'
        . '"model":"gpt-4o-mini","choices":[{"index":0,"delta":'
        . qq({"content":"piece $number"},"finish_reason":null}]}\n\n);
}

1;
