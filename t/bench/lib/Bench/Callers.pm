# Callers with a token each, whose exchange fills the gateway's memory, and the
# authority that exchanges them at once.

package Bench::Callers;

use v5.36;

use IO::Select;
use IO::Socket::INET;
use MIME::Base64 'encode_base64url';

use Bench::Machine qw(allocator pinned);
use Bench::Upstream;
use Test::Gateway;
use Test::Gateway::Azure 'TENANT_ID';
use Test::Gateway::System 'write_file';
use Test::Gateway::Tenant qw(caller_token tenant);

use constant { AT_ONCE => 32, STALLED_SECONDS => 30 };


# services is a Bench::Upstream, which says what an exchanged token is.
sub new ($class, $services) {
    my $tenant = tenant();
    my $id = TENANT_ID;
    my $authority = Test::Gateway->new(module => 0, log_level => 'error',
        wrapper => [pinned('upstream')], env => { allocator() },
        http => <<"END");
    access_log off;
    keepalive_requests 100000000;

    server {
        listen 127.0.0.1:%%PORT_authority%%;

        location = /$id/oauth2/v2.0/token {
            proxy_pass $services->{endpoint};
        }

        location / {
            proxy_pass ${\$tenant->url};
            proxy_set_header Host \$http_host;
        }
    }
END
    $authority->start;
    my ($head, $claims) = split /\./, caller_token();
    return bless { tenant => $tenant, authority => $authority,
        signed => "$head.$claims" }, $class;
}


sub url ($self) {
    return 'http://127.0.0.1:' . $self->{authority}->port('authority');
}


sub stop ($self) { $self->{authority}->stop }


# The token of a caller: as the gateway only exchanges it, no more of it than
# its signature has to be the caller's own.
sub token ($self, $number) {
    return "$self->{signed}." . encode_base64url(
        pack('N', $number) . 's' x 252);
}


# Has each of these callers ask once, some at a time. Dies if one of them is
# refused.
sub ask ($self, $port, $first, $last) {
    my $body = Bench::Upstream::request_body('small');
    my $head = 'POST /openai/deployments/small/chat/completions'
        . "?api-version=2024-10-21 HTTP/1.1\r\nHost: gateway.internal\r\n"
        . 'Content-Length: ' . length($body) . "\r\nAuthorization: Bearer ";
    my $select = IO::Select->new;
    my %got;
    my $next = $first;
    my $send = sub ($socket) {
        $got{$socket} = '';
        syswrite $socket, $head . $self->token($next++) . "\r\n\r\n$body";
    };

    for (1 .. AT_ONCE) {
        last if $next > $last;
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $port) // die "no connection: $!\n";
        $select->add($socket);
        $send->($socket);
    }

    while ($select->count) {
        my @ready = $select->can_read(STALLED_SECONDS)
            or die "the gateway does not answer\n";
        for my $socket (@ready) {
            sysread $socket, $got{$socket}, 65536, length $got{$socket};
            my ($status, $length, $rest) = $got{$socket} =~
                /^HTTP\S+ (\d+).*?^Content-Length: (\d+)\r\n.*?\r\n\r\n(.*)/ims;
            next if !defined $rest || length $rest < $length;
            die "status $status: $rest\n" if $status != 200;

            if ($next <= $last) {
                $send->($socket);
            } else {
                $select->remove($socket);
            }
        }
    }
}


# Writes the tokens of so many of the first callers, spread evenly, as lines.
sub sample ($self, $file, $count, $callers) {
    $count = $callers if $count > $callers;
    write_file($file, join '', map { $self->token(
        1 + int $_ * $callers / $count) . "\n" } 0 .. $count - 1);
}

1;
