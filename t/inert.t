# A gateway whose module has nothing to do behaves like an nginx without it.

use v5.36;

use IO::Socket::INET;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai);
use Test::Gateway::Client;
use Test::Gateway::Server;
use Test::Gateway::System qw(now read_file);

my $imds = imds;
my $openai = openai;
my %env = (AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url);

# an upstream with something of everything in its answers
my $server = Test::Gateway::Server->new(handler => sub ($request, $reply) {
    my $path = $request->{path};

    if ($path =~ /chunked/) {
        $reply->("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            . "Transfer-Encoding: chunked\r\n\r\n");
        $reply->("6\r\ndata: \r\n7\r\none\ntwo\r\n0\r\n\r\n");
        return;
    }
    return [401, ['WWW-Authenticate' => 'Bearer', 'X-Empty' => ''], 'no']
        if $path =~ /refused/;
    return [302, [Location => 'http://' . $request->{header}{host} . '/x']]
        if $path =~ /redirect/;
    return [200, ['Content-Type' => 'text/plain', 'Set-Cookie' => 'a=1',
        'Set-Cookie' => 'b=2', 'x-Odd-Case' => 'kept', 'X-Twice' => '1',
        'X-Twice' => '2'], "body of $request->{method}"];
});
my $up = $server->url;

# what all of them are configured with
my $locations = <<"END";
    listen 127.0.0.1:%%PORT_http%%;
    root %%DIR%%/html;
    client_body_buffer_size 1k;

    location /plain/ { proxy_pass $up; }
    location /uri/ { proxy_pass $up/other/; }
    location /variable/ {
        set \$there 127.0.0.1:${\$server->port};
        proxy_pass http://\$there;
    }
    location /unbuffered/ {
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_pass $up;
    }
    location /headers/ {
        proxy_set_header Authorization "Basic eDp5";
        proxy_set_header api-key "";
        proxy_set_header X-Mine \$http_authorization;
        proxy_pass $up;
    }
    location /body/ {
        proxy_set_body "set";
        proxy_pass $up;
    }
    location /down/ { proxy_pass http://127.0.0.1:%%PORT_nobody%%; }
    location /own-page/ {
        error_page 502 /own.html;
        proxy_pass http://127.0.0.1:%%PORT_nobody%%;
    }
    location /static/ { }
    location /return/ { return 200 "returned\\n"; }
    location /moved/ { return 301 /elsewhere; }
    location /denied/ { deny all; proxy_pass $up; }
    location /any/ {
        satisfy any;
        allow 127.0.0.1;
        auth_basic closed;
        auth_basic_user_file passwords;
        proxy_pass $up;
    }
    location /basic/ {
        auth_basic closed;
        auth_basic_user_file passwords;
        proxy_pass $up;
    }
    location /if/ {
        if (\$arg_x) { proxy_pass $up; }
        return 404;
    }
    location /try/ { try_files \$uri \@named; }
    location \@named { proxy_pass $up; }
END

my %files = (
    'html/static/file.txt' => "a file\n", 'html/static/index.html' => 'index',
    'html/own.html' => 'my own page', 'html/try/file.txt' => 'tried',
    passwords => 'me:{PLAIN}you',
);

my $without = Test::Gateway->new(module => 0, files => \%files,
    http => "server {\n$locations}");

my %gateway = (
    'not mentioned' => Test::Gateway->new(env => \%env, files => \%files,
        http => "server {\n$locations}"),

    'off' => Test::Gateway->new(env => \%env, files => \%files,
        http => <<"END"),
aoai_aad off;
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts x.example.com;
aoai_aad_timeout 1ms;
server {
$locations
}
END

    'on elsewhere' => Test::Gateway->new(env => \%env, files => \%files,
        http => <<"END"),
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts 127.0.0.1;
server {
$locations
    location /token/ {
        aoai_aad on;
        proxy_pass ${\$openai->url};
    }
}
server {
    listen 127.0.0.1:%%PORT_token%%;
    aoai_aad on;
    location / { proxy_pass ${\$openai->url}; }
}
END
);

my @gateways = ($without, map { $gateway{$_} } sort keys %gateway);
for my $gateway (@gateways) {
    $gateway->start;
    utime 1e9, 1e9, glob $gateway->dir . '/html/*{,/*}';
}


# Sends bytes. Returns all that comes back, without the date and with a
# name in the place of the port.
sub answer ($gateway, $bytes) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $gateway->port('http'), Timeout => 5) or return $@;
    print {$socket} $bytes;
    local $/;
    my $answer = readline $socket;
    return $answer =~ s/^Date: .*\r\n//mr
        =~ s/:${\$gateway->port('http')}\b/:PORT/gr
        =~ s/:${\$gateway->port('nobody')}\b/:PORT/gr;
}


# The same for what the upstream received, head and body.
sub received () {
    my @received = map { $_->{raw_head} . $_->{body} } $server->requests;
    $server->forget;
    return @received;
}


my $keys = "Authorization: Bearer mine\r\napi-key: one\r\nAPI-KEY: two\r\n"
    . "Ocp-Apim-Subscription-Key: three\r\nX-Empty:\r\n"
    . "Sec-WebSocket-Protocol: a, openai-insecure-api-key.k ,b\r\n";
my $large = join '', map { chr(32 + $_ % 90) } 1 .. 20_000;
my $basic = "Authorization: Basic bWU6eW91\r\n";

my @CASES = map { [split / /, $_, 2] } (
    'GET /plain/', 'GET /plain/a%20b//c/../d?x=1&api-key=k&&y', 'HEAD /plain/',
    'GET /plain/chunked', 'GET /plain/redirect', 'GET /plain/refused',
    'DELETE /plain/?api-key', 'OPTIONS /plain/', 'GET /uri/a/b?api-key=k',
    'GET /variable/a?b', 'GET /unbuffered/chunked', 'GET /headers/',
    'POST /plain/', 'POST /unbuffered/', 'PUT /body/', 'POST /headers/',
    'GET /down/', 'GET /own-page/', 'GET /static/file.txt', 'GET /static/',
    'GET /static', 'GET /static/missing', 'POST /static/file.txt',
    'HEAD /static/file.txt', 'GET /return/', 'GET /moved/', 'GET /denied/',
    'POST /denied/', 'GET /any/', 'GET /basic/', 'GET /if/', 'GET /if/?x=1',
    'GET /try/file.txt', 'GET /try/missing', 'GET /../', 'NONSENSE',
);

for my $case (@CASES) {
    my ($method, $target) = (@$case, '/');
    my $start = "$method $target HTTP/1.1\r\nHost: inert.test\r\n"
        . "Connection: close\r\n";

    my %bytes = (
        '' => "$start\r\n",
        ', with credentials' => "$start$keys\r\n",
    );
    $bytes{', with a password'} = "$start$basic\r\n" if $target eq '/basic/';
    if ($method =~ /^P/) {
        $bytes{', with a body'} = "${start}Content-Length: 4\r\n\r\nbody";
        $bytes{', with a large body'} = "$start${keys}Content-Length: "
            . length($large) . "\r\n\r\n$large";
        $bytes{', with a chunked body'} = "$start${keys}Transfer-Encoding: "
            . "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    }

    for my $what (sort keys %bytes) {
        my @expected = (answer($without, $bytes{$what}), received());

        for my $state (sort keys %gateway) {
            my @got = (answer($gateway{$state}, $bytes{$what}), received());
            is_deeply \@got, \@expected, "$state: @$case$what";
        }
    }
}


# what the processes have
sub threads ($gateway) {
    my ($worker) = $gateway->workers;
    return scalar(my @tasks = glob "/proc/$worker/task/*");
}

sub shared_memory ($gateway) {
    my ($worker) = $gateway->workers;
    my $maps = read_file("/proc/$worker/maps");
    return scalar(my @zones = $maps =~ m{ /dev/zero \(deleted\)$}mg);
}

is $imds->count, 1, 'only the gateway with a token has asked for one';
is request($gateway{'on elsewhere'}->port('token'), GET => '/')->{status},
    200, 'and it has a token';
for my $state ('not mentioned', 'off') {
    is threads($gateway{$state}), threads($without), "$state: no threads";
    is shared_memory($gateway{$state}), shared_memory($without),
        "$state: no shared memory";
}
cmp_ok threads($gateway{'on elsewhere'}), '>', threads($without),
    'that has threads';
cmp_ok shared_memory($gateway{'on elsewhere'}), '>', shared_memory($without),
    'that has shared memory';

is_deeply [$gateway{$_}->log_lines(qr/aoai_aad/)], [],
    "$_: nothing is in the log" for 'not mentioned', 'off';
is_deeply [map { /valid until/ ? 'a token' : $_ }
    $gateway{'on elsewhere'}->log_lines(qr/aoai_aad/)], ['a token'],
    'nothing but of that token is in the log';

$_->stop for @gateways;


# Where a token is for the whole server and can't be had, what isn't
# proxied doesn't wait for it.
my $silent = imds(sub { sleep 60; return [500] });
my $has_stub_status = !Test::Gateway->new(http => 'server { listen '
    . '127.0.0.1:%%PORT_http%%; stub_status; }')->check->{status};
my $status = $has_stub_status ? 'stub_status;' : 'return 200;';

my $gateway = Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $silent->url },
    files => { %files, 'html/index.html' => 'front' },
    http => <<"END")->start;
aoai_aad on;
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts 127.0.0.1;
aoai_aad_timeout 30s;

server {
    listen 127.0.0.1:%%PORT_http%%;
    root %%DIR%%/html;
    error_page 403 /own.html;

    location /token { proxy_pass $up; }
    location /return { return 200 returned; }
    location /static/ { }
    location /status { $status }
    location /fastcgi { fastcgi_pass 127.0.0.1:%%PORT_nobody%%; }
    location /denied { deny all; proxy_pass $up; }
    location /rewritten {
        if (\$arg_x) { return 204; }
        proxy_pass $up;
    }
    location /off { aoai_aad off; proxy_pass $up; }
    location /try { try_files /static/file.txt =404; }
}
END

my $waiting = start_request($gateway->port('http'), GET => '/token');
ok $silent->wait_for(1), 'a token is asked for';

for my $case (
    ['/return', 200], ['/', 200], ['/static/file.txt', 200],
    ['/missing', 404], ['/status', 200], ['/fastcgi', 502],
    ['/denied', 403], ['/rewritten?x=1', 204], ['/off', 200], ['/try', 200],
    ['/own.html', 200], ['/return', 200, 'POST'],
) {
    my ($path, $expected, $method) = (@$case, 'GET');
    my $answer = request($gateway->port('http'), $method, $path,
        timeout => 5);
    is $answer->{status}, $expected, "no token is needed for $method $path";
}
is $silent->count, 1, 'nobody else asks for a token';
is $gateway->log_lines(qr/no token/), 0, 'the first request still waits';
$waiting->abort;
$gateway->stop;

done_testing;
