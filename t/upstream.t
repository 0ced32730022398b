# What the upstream of a location with a token receives: the token, once,
# nothing that the client had to prove itself with, and all else unchanged.

use v5.36;

use File::Temp;
use IO::Socket::INET;
use List::Util 'first';
use MIME::Base64 qw(decode_base64url);
use POSIX ();
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure 'imds';
use Test::Gateway::Client;
use Test::Gateway::Server;
use Test::Gateway::System
    qw(end_with_test read_file reserve_port spawn await_exit write_file);

my $flags = File::Temp->newdir;
my $imds = imds;


# The upstream that may have the token, and one that may not. The paths say
# how to answer.
sub answer ($request, $reply) {
    my ($how) = $request->{path} =~ m{/(\w+)(?:-\d+)?$};
    $how //= '';

    return [500, [], 'failed'] if $how eq 'fails';
    return [200, ['X-Accel-Redirect' => '/plain/accel'], '']
        if $how eq 'accel';
    return [200, ['Content-Type' => 'text/html', 'X-Accel-Expires' => 0],
        '[<!--# include virtual="/plain/included" -->]'] if $how eq 'ssi';
    return [200, ['X-Accel-Expires' => '@1000'], 'old'] if $how eq 'stale';
    return [200, ['X-Accel-Expires' => 60], 'cached'] if $how eq 'cached';

    if ($how eq 'slow') {
        select undef, undef, undef, 0.3;
        return [200, ['X-Accel-Expires' => 60], 'slow'];
    }
    if ($how eq 'slice') {
        my ($from, $to) = ($request->{header}{range} // '') =~ /(\d+)-(\d+)/;
        $to = 2499 if $to > 2499;
        return [206, [ETag => '"1"', 'Content-Type' => 'text/plain',
            'Content-Range' => "bytes $from-$to/2500"],
            'x' x ($to - $from + 1)];
    }
    if ($how eq 'sse') {
        $reply->("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            . "X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n");
        for my $event ('one', 'two', 'three') {
            $reply->(sprintf "%x\r\n%s\r\n", 8 + length $event,
                "data: $event\n\n");
            for (1 .. 500) {
                last if -e "$flags/$event";
                select undef, undef, undef, 0.01;
            }
        }
        $reply->("0\r\n\r\n");
        return;
    }
    return [200, ['X-Pid' => $$], 'fine'];
}

my ($up, $other, $failing) = map { Test::Gateway::Server->new(handler => $_) }
    \&answer,
    sub ($request, $) { [$request->{path} =~ /back/ ? 500 : 200, [], 'fine'] },
    sub { [500, [], 'failed'] };
my ($to, $to_other) = ($up->url, $other->url);


# A server that agrees to an upgrade, tells in a header what it was sent,
# and then answers each line in capitals.
package Upgrading {
    sub new ($class) {
        my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            Listen => 64) // die "can't listen: $!\n";
        my $self = bless { owner => $$, port => $listen->sockport }, $class;
        main::end_with_test($self);
        $self->{pid} = fork // die "fork: $!\n";
        return $self if $self->{pid};

        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        while (getppid == $self->{owner}) {
            next unless IO::Select->new($listen)->can_read(0.5);
            _serve($listen->accept // next);
        }
        POSIX::_exit(0);
    }

    sub _serve ($socket) {
        my $head = do { local $/ = "\r\n\r\n"; readline $socket } // return;
        print {$socket} "HTTP/1.1 101 Switching Protocols\r\n"
            . "Upgrade: websocket\r\nConnection: upgrade\r\nX-Head: "
            . unpack('H*', $head) . "\r\n\r\n";
        while (my $line = readline $socket) {
            print {$socket} uc $line;
        }
    }

    sub DESTROY ($self) {
        return if $self->{owner} != $$ || !$self->{pid};
        local ($?, $!);
        kill KILL => $self->{pid};
        waitpid delete $self->{pid}, 0;
    }
}

my $upgrading = Upgrading->new;
my $closed = reserve_port;

# The same locations for a server with a token and one without: what they
# send is compared.
my $locations = <<"END";
    client_max_body_size 700k;
    client_body_buffer_size 1k;
    large_client_header_buffers 4 16k;

    location / { proxy_pass $to; }
    location /v11/ { proxy_http_version 1.1; proxy_pass $to; }
    location /unbuffered/ {
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_pass $to;
    }
    location /unbuffered10/ { proxy_request_buffering off; proxy_pass $to; }
    location /single/ {
        client_body_in_single_buffer on;
        client_body_in_file_only clean;
        proxy_pass $to;
    }
    location /aio/ { aio threads; directio 512; proxy_pass $to; }
    location /uri/ { proxy_pass $to/other/path/; }
    location /rewrite/ {
        rewrite ^/rewrite/(.*) /rewritten/\$1?added=1 break;
        proxy_pass $to;
    }
    location /last/ { rewrite ^/last/(.*) /v11/\$1 last; }
    location /variable/ {
        set \$there 127.0.0.1:${\$up->port};
        proxy_pass http://\$there;
    }
    location /variable-uri/ {
        set \$there 127.0.0.1:${\$up->port};
        proxy_pass http://\$there/there?\$args&more=1;
    }
    location /try/ { try_files /missing \@named; }
    location \@named { proxy_pass $to; }
    location /nested/ { location /nested/inner/ { proxy_pass $to; } }
    location /limit/ {
        limit_except GET { proxy_pass $to; }
        proxy_pass $to;
    }
    location /if/ {
        if (\$arg_x) { break; proxy_pass $to; }
        return 404;
    }
    location /set-body/ {
        proxy_set_body "set, not \$request_method\\r\\n\\r\\n";
        proxy_pass $to;
    }
    location /no-body/ {
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_pass $to;
    }
    location /no-headers/ {
        proxy_pass_request_headers off;
        proxy_pass $to;
    }
    location /method/ { proxy_method PUT; proxy_pass $to; }
    location /own/ { proxy_set_header Authorization x; proxy_pass $to; }
    location /own-empty/ {
        proxy_set_header Authorization "";
        proxy_pass $to;
    }
    location /own-same/ {
        proxy_set_header Authorization \$http_authorization;
        proxy_pass $to;
    }
    location /copy/ {
        proxy_set_header X-Copy \$http_authorization;
        proxy_pass $to;
    }
    location /kept/ {
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass http://kept;
    }
    location /socket/ {
        proxy_http_version 1.1;
        proxy_set_header Upgrade \$http_upgrade;
        proxy_set_header Connection upgrade;
        proxy_pass http://127.0.0.1:$upgrading->{port};
    }
END

my $gateway = Test::Gateway->new(
    log_level => 'debug',
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    files => { 'root/static/page.html' =>
        '[<!--# include virtual="/v11/included" -->]' },
    http => <<"END")->start;
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts 127.0.0.1;

log_format all '\$request|\$http_authorization|\$http_api_key|\$remote_user|'
    '\$upstream_addr|\$sent_http_authorization|\$aoai_aad_cache_status';
access_log %%DIR%%/all.log all;
proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
root %%DIR%%/root;

upstream kept { server 127.0.0.1:${\$up->port}; keepalive 1; }
upstream closed_first {
    server 127.0.0.1:${\$closed->sockport} max_fails=0;
    server 127.0.0.1:${\$up->port} backup;
}
upstream failing_first {
    server 127.0.0.1:${\$failing->port} max_fails=0;
    server 127.0.0.1:${\$up->port} backup;
}

server {
    listen 127.0.0.1:%%PORT_off%%;
    listen 127.0.0.1:%%PORT_off2%% http2;
$locations
}

server {
    listen 127.0.0.1:%%PORT_on%%;
    listen 127.0.0.1:%%PORT_on2%% http2;
    aoai_aad on;
$locations
    location /plain/ { aoai_aad off; proxy_pass $to_other; }
    location \@plain { aoai_aad off; proxy_pass $to_other; }
    location /static/ { ssi on; }

    location /ssi/ { ssi on; proxy_pass $to; }
    location /addition/ {
        addition_types *;
        add_before_body /plain/before;
        add_after_body /v11/after;
        proxy_pass $to;
    }
    location /auth-out/ { auth_request /plain/auth; proxy_pass $to; }
    location /auth-in/ {
        aoai_aad off;
        auth_request /v11/auth;
        proxy_pass $to_other;
    }
    location /mirror/ {
        mirror /plain/copy;
        mirror /v11/copy;
        proxy_pass $to;
    }
    location /error-page/ {
        proxy_intercept_errors on;
        error_page 500 = /plain/after;
        proxy_pass $to;
    }
    location /error-named/ {
        proxy_intercept_errors on;
        error_page 500 = \@plain;
        proxy_pass $to;
    }
    location /error-back/ {
        aoai_aad off;
        proxy_intercept_errors on;
        error_page 500 = /v11/after;
        proxy_pass $to_other;
    }
    location /try-plain/ { try_files /missing \@plain; proxy_pass $to; }
    location /post-action/ { post_action /plain/action; proxy_pass $to; }
    location /slice/ {
        slice 1k;
        proxy_http_version 1.1;
        proxy_cache cache;
        proxy_cache_valid 206 1m;
        proxy_cache_key \$uri\$slice_range;
        proxy_set_header Range \$slice_range;
        proxy_pass $to;
    }
    location /cache/ {
        proxy_cache cache;
        proxy_cache_lock on;
        proxy_cache_use_stale updating;
        proxy_cache_background_update on;
        add_header X-Cache \$upstream_cache_status;
        proxy_pass $to;
    }
    location /impatient/ {
        proxy_cache cache;
        proxy_cache_lock on;
        proxy_cache_lock_timeout 50ms;
        proxy_pass $to;
    }
    location /closed-first/ {
        proxy_next_upstream error http_500 non_idempotent;
        proxy_pass http://closed_first;
    }
    location /failing-first/ {
        proxy_next_upstream error http_500 non_idempotent;
        proxy_pass http://failing_first;
    }
}
END


sub ask ($port, $method, $target, %more) {
    my @headers = ($more{headers} // [])->@*;
    unshift @headers, Host => 'gateway.test'
        unless first { lc eq 'host' } @headers;
    return request($gateway->port($port), $method, $target, %more,
        headers => \@headers);
}

# What a server was sent since the last call.
sub received ($server, $count = 1) {
    $server->wait_for($count);
    my @received = $server->requests;
    $server->forget;
    return @received;
}

sub authorizations ($request) {
    return map { $_->[1] } grep { lc $_->[0] eq 'authorization' }
        $request->{headers}->@*;
}


# the token, and the client's own
is ask(on => GET => '/first')->{status}, 200, 'a request is answered';
my ($sent) = received($up);
my ($token) = map { s/^Bearer //r } authorizations($sent);
my @parts = split /\./, $token;
like decode_base64url($parts[1]), qr/"jti":"token-1"/,
    'the token that the upstream got is what IMDS gave';

my @mine = (Authorization => 'Bearer mine', 'api-key' => 'my-key');


# One test of where a token is: every request that arrived at the upstreams
# has it once, and none of the client's keys; at the other one it's the
# other way round.
sub routed ($name, $path, $count, $other_count, %more) {
    my $answer = ask(on => $more{method} // 'GET', $path, %more,
        headers => [@mine, ($more{headers} // [])->@*]);
    my @here = received($up, $count);
    my @there = received($other, $other_count);

    is_deeply {
        status => $answer->{status},
        here => [map { [authorizations($_), $_->{header}{'api-key'}] } @here],
        there => [map { [authorizations($_), $_->{header}{'api-key'}] }
            @there],
    }, {
        status => 200,
        here => [(["Bearer $token", undef]) x $count],
        there => [(['Bearer mine', 'my-key']) x $other_count],
    }, $name;
    return $answer;
}


# One test: with a token the upstream gets what it gets without, but for
# the client's keys. target is what is left of a request's target.
my @via = (\&ask, '');

sub same ($name, $method, $path, %more) {
    my $target = delete $more{target};
    my ($send, $suffix) = @via;
    my %got;

    for my $port ('on', 'off') {
        my $answer = $send->("$port$suffix", $method, $path, %more);
        my ($request) = received($up, $answer->{status} == 200 ? 1 : 0);
        $got{$port} = "$answer->{status}\n";
        next unless $request;
        $got{$port} .= "$request->{raw_head}$request->{body}";
    }

    $got{on} =~ s/^Authorization: Bearer \Q$token\E\r\n//m
        || $got{on} =~ s/^/no token: / if $got{on} =~ /^200/;
    $got{off} =~ s/^(?:authorization|api-key
        |ocp-apim-subscription-key):.*\n//xmgi;
    $got{off} =~ s{^(200\n\S+ )\S+}{$1$target} if defined $target;

    # bodies are long, and tell little
    return is $got{on}, $got{off}, $name if length "@got{qw(on off)}" < 9999;
    return ok $got{on} eq $got{off}, $name;
}


# headers
my $medium = join '', map { chr(32 + $_ % 90) } 1 .. 20_000;
my $large = $medium x 15;
my @many = map { ("X-Number-$_" => $_) } 1 .. 60;
my %HEADERS = (
    'none' => [],
    'Bearer' => [Authorization => 'Bearer mine'],
    'Basic' => [Authorization => 'Basic bWU6eW91'],
    'empty' => [Authorization => ''],
    'in lower case' => [authorization => 'Bearer mine'],
    'in capitals' => [AUTHORIZATION => 'Bearer mine'],
    'twice' => [Authorization => 'Bearer mine', authorization => 'Basic x'],
    'api-key' => ['api-key' => 'k'],
    'Api-Key' => ['Api-Key' => 'k'],
    'api-key, empty' => ['api-key' => ''],
    'api-key, twice' => ['api-key' => 'k', A => 1, 'API-KEY' => 'l'],
    'subscription key' => ['Ocp-Apim-Subscription-Key' => 'k'],
    'SUBSCRIPTION KEY' => ['OCP-APIM-SUBSCRIPTION-KEY' => 'k'],
    'all of them' => [A => 1, @mine, B => 2, 'Api-Key' => 'k', C => 3,
        'ocp-apim-subscription-key' => 'k', D => 4],
    'what looks alike' => ['X-Api-Key' => 1, 'Api-Keys' => 2, apikey => 3,
        'api' => 4, Authorizatio => 5, 'Authorization-X' => 6,
        'X-Authorization' => 7, 'Ocp-Apim-Subscription-Key-2' => 8,
        'Ocp-Apim-Trace' => 9, 'Sec-WebSocket-Protocols' => 10, S => 11,
        o => 12],
    'others' => ['Proxy-Authorization' => 'Basic x', Cookie => 'a=b; c=d',
        Cookie => 'e', Accept => '*/*', 'X-Forwarded-For' => '10.0.0.1',
        'x-ODD-case' => '  inner  blanks  ', 'X-Empty' => '',
        'X-Twice' => 1, 'X-Twice' => 2, 'OpenAI-Organization' => 'o',
        'User-Agent' => 'test', Range => 'bytes=0-1'],
    'many' => [@many],
    'many, with keys' => [@many[0 .. 49], @mine, @many[50 .. 119]],
    'long' => [@mine, 'X-Long' => 'y' x 15_000, 'X-More' => 'z' x 15_000],
);
for my $name (sort keys %HEADERS) {
    for my $path ('/x', '/v11/x', '/variable/x') {
        same("headers: $name, $path", GET => $path,
            headers => $HEADERS{$name});
    }
}


# arguments: target of the request => target that arrives
my %ARGUMENTS = (
    (map { ("/v11/x$_" => '/v11/x') } '', '?api-key=k', '?api-key',
        '?api-key=', '?api-key=1&api-key=2', '?API-KEY=k', '?Api-Key=k',
        '?%61pi-key=k', '?api%2Dkey=k', '?api%2dkey', '?api-ke%59=k',
        '?%61%70%69%2d%6b%65%79=k', '?api-key=a%26b', '?api-key=a=b?c'),
    '/v11/x?api-key=k&a=b' => '/v11/x?a=b',
    '/v11/x?a=b&api-key=k' => '/v11/x?a=b',
    '/v11/x?a=b&api-key=k&c=d' => '/v11/x?a=b&c=d',
    '/v11/x?api-key=1&a&api-key=2' => '/v11/x?a',
    '/v11/x?a=b&&api-key=k&c' => '/v11/x?a=b&&c',
    '/v11/x?&api-key=k' => '/v11/x?',
    '/v11/x?api-key=k&' => '/v11/x?',
    '/v11/x?api-key=k&&a' => '/v11/x?&a',
    '/v11/x?q=%20%2B+%&api-key=k&z=%7e~' => '/v11/x?q=%20%2B+%&z=%7e~',
    (map { ("/v11/x$_" => "/v11/x$_") } '?', '?&', '?a=b&&c', '?a&', '?&a',
        '?apikey=k', '?x-api-key=k', '?api-keys=k', '?api-key-2=k',
        '?api-ke=k', '?api-key%3Dk', '?api%252Dkey=k', '?a=api-key=k',
        '?a=b?api-key=k', '?api%2=k', '?api%zzkey=k', '?api-key.x=k',
        '?=api-key', '?a=api-key&b=api-key', '?api-version=2024-06-01',
        '/api-key=k', ';api-key=k', '/%61pi-key?a=%61pi-key'),
    '/uri/x?a&api-key=k&b' => '/other/path/x?a&b',
    '/uri/x?api-key=k' => '/other/path/x',
    '/rewrite/x?api-key=k' => '/rewritten/x?added=1',
    '/rewrite/x?a&api-key=k' => '/rewritten/x?added=1&a',
    '/last/x?api-key=k&a' => '/v11/x?a',
    '/variable/x?api-key=k&a' => '/variable/x?a',
    '/variable-uri/?api-key=k' => '/there?more=1',
    '/unbuffered/x?api-key=k&a' => '/unbuffered/x?a',
    'http://gateway.test/v11/x?api-key=k&a' => '/v11/x?a',
);
for my $from (sort keys %ARGUMENTS) {
    same("arguments: $from", GET => $from, target => $ARGUMENTS{$from});
}
same('arguments: of a POST', POST => '/v11/x?a&api-key=k', body => 'api-key=k',
    target => '/v11/x?a');


# ways to the upstream, and the configuration's own headers
for my $path (qw(/x /v11/x /unbuffered/x /unbuffered10/x /uri/a%20b//c
    /rewrite/a /last/a /variable/a /variable-uri/ /try/a /nested/inner/a
    /limit/a /if/a?x=1 /set-body/ /no-body/ /no-headers/ /method/ /own/
    /own-empty/ /own-same/ /copy/ /single/x /aio/x))
{
    for my $case (['GET'], ['HEAD'], ['POST', body => 'some'],
        ['PUT', body => $medium], ['DELETE'])
    {
        my ($method, @body) = @$case;
        same("$path: $method" . (@body && ', ' . length $body[1]), $method,
            $path, headers => [@mine, A => 1], @body);
    }
}

ask(on => GET => '/copy/', headers => [@mine]);
is +(received($up))[0]{header}{'x-copy'}, 'Bearer mine',
    'proxy_set_header with $http_authorization copies what the client sent';


# bodies
for my $path (qw(/x /v11/x /unbuffered/x /unbuffered10/x /variable/x
    /limit/x /try/x /single/x /set-body/))
{
    my @all = (POST => $path, headers => [@mine]);

    same("$path: an empty body", @all, body => '');
    same("$path: chunks", @all, chunked => ['a', 'bc', 'def']);
    same("$path: a large body", @all, body => $large);
    same("$path: large chunks", @all, chunked => [($medium) x 3]);
    same("$path: no chunk", @all, chunked => []);
    same("$path: too much", @all, chunked => [('x' x 400_000) x 2]);
    same("$path: 100-continue", POST => $path, body => 'continued',
        headers => [@mine, Expect => '100-continue']);

    my $raw = "POST $path HTTP/1.1\r\nHost: gateway.test\r\n"
        . "api-key: k\r\nConnection: close\r\n";
    same("$path: chunks that are none", @all,
        raw => "${raw}Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n");
    same("$path: HTTP/1.0", @all, raw => "POST $path HTTP/1.0\r\n"
        . "Content-Length: 2\r\nAuthorization: x\r\n\r\nab");
}

# in pieces, with pauses between them
@via = (sub ($port, $method, $path, %more) {
    my $request = start_request($gateway->port($port), $method, $path,
        raw => "$method $path HTTP/1.1\r\nHost: gateway.test\r\n"
        . "api-key: k\r\nContent-Length: 9\r\n\r\n");
    for my $piece (qw(abc def ghi)) {
        select undef, undef, undef, 0.02;
        $request->send($piece);
    }
    return $request->finish;
}, '');
same("$_: a slow body", POST => $_) for qw(/x /v11/x /unbuffered/x
    /variable/x /limit/x /single/x /aio/x);

# a client that leaves in the midst of its body
for my $path (qw(/x /unbuffered/x)) {
    start_request($gateway->port('on'), POST => $path, raw => "POST $path "
        . "HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")->abort;
}


# HTTP/2, where there is a client for it
SKIP: {
    skip 'no curl with HTTP/2 here', 1
        if `curl --version 2>&1` !~ /^Features:.*\bHTTP2\b/m;

    @via = (sub ($port, $method, $path, %more) {
        my $output = File::Temp->new;
        my @arguments = map { ('-H', $_ =~ s/: $/;/r) }
            map { join ': ', $more{headers}->@[2 * $_, 2 * $_ + 1] }
            0 .. $#{$more{headers}} / 2;
        if (defined $more{body}) {
            write_file("$flags/body", $more{body});
            push @arguments, '--data-binary', "\@$flags/body";
        }
        if ($more{piped}) {
            write_file("$flags/body", $more{piped});
            push @arguments, '-T', '-';
        }
        push @arguments, $method eq 'HEAD' ? '-I' : ('-X', $method);
        my $pid = spawn(['/bin/sh', '-c',
            'exec "$@" < "$0"', -e "$flags/body" ? "$flags/body" : '/dev/null',
            'curl', qw(-sS --max-time 15 --http2-prior-knowledge -o /dev/null),
            '-w', '%{http_code} %{http_version}', @arguments,
            'http://127.0.0.1:' . $gateway->port($port) . $path],
            { PATH => $ENV{PATH} }, $output->filename);
        await_exit($pid, 20);
        unlink "$flags/body";
        my ($status) = read_file($output->filename) =~ /^(\d+) 2$/;
        return { status => $status // 0 };
    }, '2');

    my @two = (Host => 'gateway.test', @mine, A => 1);
    for my $path (qw(/v11/x?a&api-key=k&b /x /variable/x /unbuffered/x)) {
        my ($target) = $path =~ /api/ ? '/v11/x?a&b' : $path;
        my @more = (headers => \@two, target => $target);
        same("HTTP/2 $path: GET", GET => $path, @more);
        same("HTTP/2 $path: a body", POST => $path, @more, body => 'some');
        same("HTTP/2 $path: a large body", POST => $path, @more,
            body => $large);
        same("HTTP/2 $path: a body of no known length", PUT => $path, @more,
            piped => $medium);
    }
    same('HTTP/2: HEAD', HEAD => '/v11/x', headers => \@two);
    same('HTTP/2: many headers', GET => '/v11/x',
        headers => [@two, @many]);
}
@via = (\&ask, '');


# WebSocket: what is offered => what arrives
my $key = 'openai-insecure-api-key.';
my %PROTOCOLS = (
    'realtime' => ['realtime'],
    "realtime, ${key}k, openai-beta.realtime-v1"
        => ['realtime', 'openai-beta.realtime-v1'],
    "${key}k" => undef,
    "${key}k, realtime" => ['realtime'],
    "realtime,${key}k" => ['realtime'],
    "realtime , OpenAI-Insecure-API-Key.k ,b" => ['realtime', 'b'],
    "${key}k, ${key}l" => undef,
    $key => undef,
    "x$key, openai-insecure-api-key" =>
        ["x$key", 'openai-insecure-api-key'],
    'a,b , c' => ['a', 'b', 'c'],
);
for my $offered (sort keys %PROTOCOLS) {
    my $request = start_request($gateway->port('on'), GET => '/socket/',
        headers => [Upgrade => 'websocket', Connection => 'Upgrade', @mine,
        'Sec-WebSocket-Version' => 13, 'Sec-WebSocket-Protocol' => $offered,
        'Sec-WebSocket-Key' => 'a2V5']);
    my $answer = $request->head;
    my $head = pack 'H*', $answer->{header}{'x-head'} // '';
    my ($protocols) = $head =~ /^sec-websocket-protocol: (.*)\r$/mi;

    is_deeply $protocols && [split /\s*,\s*/, $protocols],
        $PROTOCOLS{$offered}, "WebSocket protocols: $offered";
    is_deeply [$head =~ /^authorization: (.*)\r$/mgi], ["Bearer $token"],
        '... and the token';
    unlike $head, qr/my-key|mine/, '... and no key';

    $request->send("hello\n");
    is $request->read_until("\n"), "HELLO\n", '... and bytes go to and fro';
    $request->send("bye\n");
    is $request->read_until("\n"), "BYE\n", '... again';
    $request->abort;
}

# a browser may send the list in several lines
{
    my $head = pack 'H*', start_request($gateway->port('on'),
        GET => '/socket/', headers => [Upgrade => 'websocket',
        'Sec-WebSocket-Protocol' => 'realtime', A => 1,
        'Sec-WebSocket-Protocol' => "${key}k", B => 2])->head
        ->{header}{'x-head'} // '';
    is_deeply [$head =~ /^sec-websocket-protocol: (.*)\r$/mgi], ['realtime'],
        'WebSocket protocols: a key in a line of its own';
}
same('protocols without a key stay byte for byte', GET => '/v11/x',
    headers => ['sec-websocket-PROTOCOL' => 'a,b ,  c', A => 1]);
same('protocols that look like a key stay byte for byte', GET => '/v11/x',
    headers => ['Sec-WebSocket-Protocol' => "a,x${key}k ,  c"]);


# events
{
    my $request = start_request($gateway->port('on'), POST => '/v11/sse',
        headers => [@mine], body => '{"stream":true}');
    for my $event ('one', 'two', 'three') {
        is $request->read_until("\n\n"), "data: $event\n\n",
            "event $event arrives before the next one is sent";
        write_file("$flags/$event", '');
    }
    my $answer = $request->finish;
    is $answer->{status} . ($answer->{error} // ''), 200, 'and the end';
    $up->forget;
}


# other ways than the straight one: to the upstream, to the other one
routed('error_page to another location', '/error-page/fails', 1, 1);
routed('error_page to a named location', '/error-named/fails', 1, 1);
routed('error_page into the location', '/error-back/fails', 1, 1);
routed('X-Accel-Redirect', '/v11/accel', 1, 1);
routed('try_files to a named location', '/try-plain/x', 0, 1);
routed('post_action', '/post-action/x', 1, 1);
routed('auth_request to a plain location', '/auth-out/x', 1, 1);
routed('auth_request to the location', '/auth-in/x', 1, 1);
routed('addition', '/addition/x', 2, 1);
is routed('SSI out of the location', '/ssi/ssi', 1, 1)->{body}, '[fine]',
    '... whole';
is routed('SSI into the location', '/static/page.html', 1, 0)->{body},
    '[fine]', '... whole';

for my $case (
    ['', ''], [', a body', '', method => 'POST', body => 'some'],
    [', a large body', '', method => 'POST', body => $large],
    [', many headers', '', headers => [@many]],
) {
    my ($name, undef, %more) = @$case;
    routed("mirror$name", '/mirror/x', 2, 1, %more);
}
is routed('slice', '/slice/slice', 3, 0)->{body}, 'x' x 2500, '... whole';
routed('slice, again', '/slice/slice', 0, 0);


# cache
routed('cache: a miss', '/cache/cached', 1, 0);
is routed('cache: a hit', '/cache/cached', 0, 0)->{header}{'x-cache'}, 'HIT',
    '... which it is';
routed('cache: what is old at once', '/cache/stale', 1, 0);
is routed('cache: a background update', '/cache/stale', 1, 0)
    ->{header}{'x-cache'}, 'STALE', '... which it is';

for my $case (['one waits for the other', '/cache/slow', 1],
    ['one waits not long enough', '/impatient/slow', 2])
{
    my ($name, $path, $count) = @$case;
    my @requests = map { start_request($gateway->port('on'), GET => $path,
        headers => [@mine]) } 1, 2;
    is_deeply [map { $_->finish->{body} } @requests], ['slow', 'slow'],
        "cache lock: $name";
    is_deeply [map { authorizations($_) } received($up, $count)],
        [("Bearer $token") x $count], '... and the token is there once';
}


# several servers, several requests
for my $case (['GET'], ['POST', body => 'some'], ['POST', body => $large],
    ['POST', chunked => ['ab', 'c']])
{
    my ($method, @body) = @$case;
    my @all = ("a server that is closed, then another, $method",
        '/closed-first/x', 1, 0, method => $method, @body);
    routed(@all);

    is ask(on => $method => '/failing-first/x', headers => [@mine], @body)
        ->{status}, 200, "a server that fails, then another, $method";
    my @sent = (received($failing), received($up));
    is_deeply [map { authorizations($_) } @sent], [("Bearer $token") x 2],
        '... both get the token once';
    ok "$sent[0]{raw_head}$sent[0]{body}" eq "$sent[1]{raw_head}$sent[1]{body}",
        '... and the same request';
}

{
    my %pids;
    for my $case ([on => 1], [off => 0], [on => 1], [on => 1]) {
        my ($port, $has_token) = @$case;
        my $answer = ask($port => POST => '/kept/x', headers => [@mine],
            body => 'some');
        $pids{$answer->{header}{'x-pid'}}++;
        is_deeply [map { authorizations($_) } received($up)],
            [$has_token ? "Bearer $token" : 'Bearer mine'],
            "a connection that is kept, $port";
    }
    is keys %pids, 1, 'they had the same connection';
}


# where the token mustn't be
my %text = (
    'the debug log' => $gateway->log,
    'the access log' => read_file($gateway->dir . '/all.log'),
    'the cache' => join('', map { read_file($_) }
        glob $gateway->dir . '/cache/*'),
);
is $imds->count, 1, 'all of it took one token';
like $text{'the access log'}, qr{GET /v11/x .*\|Bearer mine\|my-key\|},
    'the access log has what the client sent';
cmp_ok length $text{'the cache'}, '>', 3000, 'the cache has something';
SKIP: {
    skip 'nginx was built without debug', 1
        if $text{'the debug log'} !~ /\[debug\]/;
    ok $text{'the debug log'} =~ m{http proxy header:\s+"?GET /first},
        'the debug log has the requests';
}
for my $where (sort keys %text) {
    is_deeply [grep { index($text{$where}, $_) >= 0 } @parts], [],
        "no part of the token is in $where";
}

$gateway->stop;

done_testing;
