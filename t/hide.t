# The client's credentials are hidden while nginx makes a request, or taken
# out of what it has made, as the location needs it: both come to the same.

use v5.36;

use IO::Socket::INET;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure 'imds';
use Test::Gateway::Client 'request';
use Test::Gateway::Server;

my $token = 'a.good-token';
my $imds = imds(access_token => $token);
my $upstream = Test::Gateway::Server->new(
    handler => sub { [200, [], 'fine'] });
my $to = $upstream->url;

my $locations = <<"END";
    location /plain/ { proxy_pass $to; }
    location /safe/ {
        proxy_set_header X-Real-IP \$remote_addr;
        proxy_set_header X-Forwarded-For "\${proxy_add_x_forwarded_for}";
        proxy_set_header api-key "";
        proxy_pass $to;
    }
    location /any/ { proxy_set_header X-Any \$arg_any; proxy_pass $to; }
    location /copied/ {
        proxy_set_header X-Copied \$http_api_key;
        proxy_pass $to;
    }
    location /decoded/ { proxy_set_header X-Uri "u\$uri"; proxy_pass $to; }
    location /decoded-arguments/ {
        set \$args "given=\$uri";
        proxy_pass $to;
    }
    location ~ ^/renamed/(?<http_traceparent>[^/]*) {
        proxy_set_header traceparent \$http_traceparent;
        proxy_pass $to;
    }
    location /set/ { set \$proxy_host "a\$uri"; proxy_pass $to; }
    location /fixed/ { proxy_set_header api-key fixed; proxy_pass $to; }
    location /body/ {
        proxy_set_body "a: b\\r\\napi-key: body\\r\\n\\r\\n";
        proxy_pass $to;
    }
    location /method/ { proxy_method \$arg_method; proxy_pass $to; }
END

# a server that lets odd names in has all of a configuration looked at, and so
# has a capture, or a map, that is the default "Host"
my $capture = <<"END";
server {
    listen 127.0.0.1:%%PORT_captured%%;
    aoai_aad on;
    location ~ ^/captured/(?<proxy_host>[^/]*) { proxy_pass $to; }
}
END
my $map = 'map $uri $proxy_host { default "a$uri"; }';
my ($gateway, $odd, $captured, $mapped) = map { Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    http => <<"END")->start } '', 'ignore_invalid_headers off;', $capture, $map;
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts 127.0.0.1;
log_format sent '\$uri|\$http_authorization|\$http_api_key|\$http_te';
access_log %%DIR%%/sent.log sent;
$_

server {
    listen 127.0.0.1:%%PORT_http%%;
    aoai_aad on;
$locations
}
server {
    listen 127.0.0.1:%%PORT_off%%;
$locations
}
END


my $many = [map { ("X-Filler-$_" => $_) } 1 .. 40];
my @credentials = ('API-KEY' => 'mine-1', Authorization => 'Bearer mine-2',
    'Ocp-Apim-Subscription-Key' => 'mine-3');

for my $server ($gateway, $odd) {
    my $name = $server == $odd ? 'odd names' : 'usual';
    for my $path (map { "/$_/" } qw(plain safe any)) {
        for my $case (
            ['none', []],
            ['one', ['api-key' => 'mine-1']],
            ['all', \@credentials],
            ['more than anyone sends', [map { ('api-key' => "mine-$_") }
                1 .. 9]],
            ['behind many others', [@$many, @credentials]],
            ['before many others', [@credentials, @$many]],
            ['with a subprotocol', [@credentials,
                'Sec-WebSocket-Protocol' => 'openai-insecure-api-key.mine-4']],
            ['as an argument', \@credentials, '?%61pi-key=mine-5&b=c'],
        ) {
            my ($what, $headers, $query) = @$case;
            my $sent = sent($server, $path . 'x' . ($query // ''), $headers);

            is_deeply credentials($sent), ["authorization: Bearer $token"],
                "$name, $path, credentials: $what";
            unlike "$sent->{raw_head}", qr/mine-/, '... none of them is sent';
            is scalar(grep { $_->[0] =~ /^x-filler/i } $sent->{headers}->@*),
                grep({ $_ eq 'X-Filler-1' } @$headers) * 40,
                '... and all else is';
            is scalar(grep { lc $_->[0] eq 'te' } $sent->{headers}->@*), 0,
                '... and no other';
        }
    }
}

# they are there again when the request was made
like $gateway->file_with('sent.log', qr{^/safe/}m),
    qr{^/plain/x\|Bearer mine-2\|mine-1\|-$}m, 'the log has the client\'s';
is sent($gateway, '/copied/x', \@credentials)->{header}{'x-copied'}, 'mine-1',
    'what the configuration wants of them is sent';

# a line that a decoded URI begins
my $line = '%0D%0Aapi-key:%20mine-6%0D%0AX:';
is request($gateway->port('http'), GET => "/decoded-arguments/$line")
    ->{status}, 500, 'one that ends the request line is not sent';
for my $case ((map { [$gateway, "/$_/"] } qw(decoded set renamed plain safe)),
    [$captured, '/captured/', 'captured'], [$mapped, '/plain/'])
{
    my ($server, $path, $port) = @$case;
    my $sent = sent($server, $path . $line, [], $port // 'http');
    is_deeply credentials($sent), ["authorization: Bearer $token"],
        "$path: no line of a URI is a credential";
}

# one URI that was clean says nothing of another one as long
for my $query (qw(api-kez=mine api-key=mine api-kez=mine)) {
    my $sent = sent($gateway, "/plain/x?$query", []);
    is $sent->{target}, '/plain/x' . ($query =~ /key/ ? '' : "?$query"),
        "$query, by turns";
}

is_deeply credentials(sent($gateway, "/$_/x?method=PUT", \@credentials)),
    ["authorization: Bearer $token"], "$_: the token alone"
    for qw(fixed body method);

# headers that nginx is known to send on are given to it as one: what the
# upstream gets is to the byte what it would get without the module
my ($twin) = grep { end_of_hash($_) == end_of_hash('te') }
    map { "X-Twin-$_" } 1 .. 1000;
my @names = map { "X-Filler-$_: $_" } 1 .. 100;
for my $case (
    ['as usual', 'Accept: */*', 'X-A: b', 'X-C: d', 'X-E: f'],
    ['no space', 'X-A:b', 'X-C:d', 'X-E: f', 'X-G:h'],
    ['spaces', 'X-A:  b', 'X-C: d ', 'X-E:   f  ', 'X-G: h'],
    ['tabs', "X-A:\tb", "X-C: \td", "X-E: f\t", 'X-G: h'],
    ['nothing', 'X-A:', 'X-C: ', 'X-E:  ', 'X-G: h', 'X-I:'],
    ['no colon', 'X-A', 'X-C: d', 'X-E', 'X-G: h'],
    ['names', 'X_A: b', 'X-C: d', 'x_e: f', 'X-G: h', 'X-I: j'],
    ['the same again', 'X-A: b', 'X-A: b', 'X-A: c', 'X-C: d', 'X-A: b'],
    ['own ones', 'X-A: b', 'Connection: close', 'X-C: d',
        'Proxy-Connection: close', 'X-E: f', 'Keep-Alive: 300', 'TE: trailers',
        'X-G: h', 'Expect: nothing', 'X-I: j', 'Upgrade: some', 'X-K: l'],
    ['conditions', 'X-A: b', 'If-Match: "a"', 'If-None-Match: "b"', 'X-C: d',
        'Range: bytes=1-2', 'If-Range: "c"', 'X-E: f'],
    ['those set by the configuration', 'X-A: b', 'X-Real-IP: 10.0.0.1',
        'X-C: d', 'x-forwarded-for: 10.0.0.2', 'X-E: f', 'X-Any: g'],
    ['keys between them', 'X-A: b', 'api-key: mine', 'X-C: d', 'X-E: f',
        'Authorization: mine', 'Ocp-Apim-Subscription-Key: mine', 'X-G: h'],
    ['keys at both ends', 'api-key: mine', 'X-A: b', 'X-C: d', 'api-key:mine'],
    ['keys alone', 'api-key: mine', 'api-key:', 'Authorization: mine'],
    ['names like keys', 'api_key: b', 'api-kez: c', 'X-C: d',
        'authorizatiom: e', 'bpi-key: f', 'Authorizatioo: g',
        'ocp-apim-subscription-kex: h', 'ocp-apim-subscriptioN-kez: i'],
    ['one that may be of those', 'X-A: b', "$twin: c", 'X-C: d', "$twin: e",
        'X-E: f'],
    ['many of them', map { ("X-A: $_", "$twin: $_") } 1 .. 40],
    ['very many', @names],
    ['very many, each with two spaces', map { s/ /  /r } @names],
    ['a key among very many', @names, 'api-key: mine', @names],
    ['a long one', 'X-A: b', 'X-C: ' . 'd' x 1500, 'X-E: f', 'X-G: h'],
    ['two too long for one', 'X-A: b', 'X-C: ' . 'd' x 5000,
        'X-E: ' . 'f' x 5000, 'X-G: h', 'X-I: j'],
    ['one that just fits', 'X-A: b', 'X-C: ' . 'd' x 8177, 'X-E: f'],
    ['one that just does not', 'X-A: b', 'X-C: ' . 'd' x 8178, 'X-E: f'],
    ['bytes of all kinds', 'X-A: b', "X-C: \xff\xfe\x01", 'X-E: f'],
) {
    my ($what, @lines) = @$case;
    for my $end ("\r\n", "\n") {
        for my $path (qw(plain safe any)) {
            is head_with($gateway, 'http', $path, $end, @lines),
                clean(head_with($gateway, 'off', $path, $end, @lines)),
                "/$path/, $what" . ($end eq "\n" ? ', ends of LF alone' : '');
        }
    }
}
is clean("GET / HTTP/1.1\r\nApi-Key:a\r\nB: c\r\n\r\n"),
    "GET / HTTP/1.1\r\nB: c\r\nAuthorization: Bearer $token\r\n\r\n",
    'what was compared with';

# the second of two requests in one buffer is as the client has sent it
my $pair = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
    PeerPort => $gateway->port('http')) // die "no connection: $!\n";
$pair->print(map { "GET /plain/$_ HTTP/1.1\r\nHost: gateway.test\r\n"
    . "X-A: b\r\nX-C: d\r\nX-E: f\r\n\r\n" } 1, 2);
$pair->flush;
$upstream->wait_for(2);
is_deeply [map { [$_->{header}->@{qw(x-a x-c x-e)}] } $upstream->requests],
    [(['b', 'd', 'f']) x 2], 'requests that come together';
close $pair;
$upstream->forget;

like $gateway->file_with('sent.log', qr{^/any/}m), qr{^/any/x\|-\|mine\|-$}m,
    'and the client\'s headers are as they were';

$_->stop for $gateway, $odd, $captured, $mapped;

done_testing;


sub head_with ($server, $port, $path, $end, @lines) {
    my $answer = request($server->port($port), GET => '/', raw => join $end,
        "GET /$path/x HTTP/1.1", 'Host: gateway.test', @lines,
        'Connection: close', '', '');
    is $answer->{status}, 200, 'an answer' or diag $answer->{error} // '';
    $upstream->wait_for(1);
    my ($sent) = $upstream->requests;
    $upstream->forget;
    return $sent->{raw_head};
}


# what nginx's hash of a header's name ends with
sub end_of_hash ($name) {
    my $hash = 0;
    $hash = ($hash * 31 + ord) & 0xff for split //, lc $name;
    return $hash;
}


# the head that nginx makes by itself, with the token and no other credential
sub clean ($head) {
    return $head
        =~ s/^(?:api-key|authorization|ocp-apim-subscription-key):.*\n//gmir
        =~ s/\r\n\z/Authorization: Bearer $token\r\n\r\n/r;
}


sub sent ($server, $target, $headers, $port = 'http') {
    my $answer = request($server->port($port), GET => $target,
        headers => [Host => 'gateway.test', @$headers]);
    is $answer->{status}, 200, 'an answer' or diag $answer->{error} // '';
    $upstream->wait_for(1);
    my ($sent) = $upstream->requests;
    $upstream->forget;
    return $sent;
}


sub credentials ($sent) {
    return [map { lc($_->[0]) . ": $_->[1]" }
        grep { $_->[0] =~ /^(?:api-key|authorization|ocp-apim-.*)$/i
            || $_->[1] =~ /api-key/ } $sent->{headers}->@*];
}
