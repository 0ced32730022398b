# The answer while there is no token: its form, the connection after it, the
# location's own error page instead, and how much of it is logged.

use v5.36;

use IO::Socket::INET;
use List::Util 'uniq';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai CLIENT_ID TENANT_ID);
use Test::Gateway::Client 'request';

use constant SECRET => 'the-secret-value';

my $openai = openai();
my $other = openai();
my $gateway = gateway();
my $port = $gateway->port('gateway');
my $usual = request($port, GET => '/usual');


subtest 'the form' => sub {
    is $usual->{status}, 503, 'the status says that it may pass';
    is $usual->{header}{'content-type'}, 'application/json', 'it is JSON';
    is_single_retry_after($usual);

    my $error = $usual->{json}{error};
    is_deeply [keys $usual->{json}->%*], ['error'], 'in the form of the API';
    is_deeply [sort keys %$error], [qw(code message type)], 'with its keys';
    is $error->{code}, 'token_unavailable', 'a code';
    is $error->{type}, 'gateway_error', 'a type';
    like $error->{message}, qr/^\w.*token.*\.$/, 'and a sentence';
    is $usual->{header}{'x-cache'}, 'ERROR', 'the variable says so too';
    is $usual->{header}{'x-credential'}, undef, 'and no credential is named';
};


subtest 'what it says to strangers' => sub {
    my $answer = request($port, GET => '/secret');
    my $all = join "\n", map({ "@$_" } $answer->{headers}->@*),
        $answer->{body};

    is $answer->{status}, 503, 'nothing but that there is no token';
    unlike $all, qr/\Q$_/i, "and not $_" for SECRET, TENANT_ID, CLIENT_ID,
        '127.0.0.1', 'localhost', 'client_secret', 'managed_identity';
    is $answer->{body}, $usual->{body}, 'whatever the identity';
};


subtest 'HEAD' => sub {
    my @answers = conversation("HEAD /usual HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

    like $answers[0], qr/^HTTP\/1\.1 503 .*\r\n\r\n$/s, 'has no body';
    like $answers[0], qr/^Content-Length: ${\length $usual->{body}}\r$/m,
        'but its length';
    like $answers[0], qr/^Retry-After: \d+\r$/m, 'and the time';
    like $answers[1], qr/ 200 OK.*plain$/s, 'the connection goes on';
};


subtest 'HTTP/1.0' => sub {
    my ($answer) = conversation("GET /usual HTTP/1.0\r\n\r\n");

    like $answer, qr/^HTTP\/1\.1 503 .*\{"error":.*\}$/s,
        'gets the same answer';
    like $answer, qr/^Connection: close\r$/m, 'and the connection ends';
};


for my $body (
    ['small', 'Content-Length: 4', 'body'],
    ['of 100 kB', 'Content-Length: 102400', 'x' x 102_400],
    ['of 3 MB', 'Content-Length: 3145728', 'x' x 3_145_728],
    ['in pieces', 'Transfer-Encoding: chunked',
        "5\r\nhello\r\n3000\r\n" . 'x' x 0x3000 . "\r\n0\r\n\r\n"],
) {
    my ($name, $header, $bytes) = @$body;

    for my $path ('/usual', '/unbuffered') {
        my @answers = conversation(
            "POST $path HTTP/1.1\r\nHost: a\r\n$header\r\n\r\n$bytes",
            "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

        like $answers[0], qr/^HTTP\/1\.1 503 .*\{"error":.*\}$/s,
            "POST $path, a body $name: the answer";
        like $answers[1] // '', qr/ 200 OK.*plain$/s,
            'the connection goes on';
    }
}


# an error_page => the status, the body and who else is asked
for my $case (
    ['a URI' => '/uri', 503, qr/^page$/, ''],
    ['a URI with another status' => '/uri-418', 418, qr/^page$/, ''],
    ['a named location' => '/named', 503, qr/^named$/, ''],
    ['another upstream' => '/upstream', 200, qr/"path":"\/upstream"/,
        '/upstream'],
    ['a redirect' => '/redirect', 302, qr/302/, ''],
    ['the server\'s' => '/inherited', 503, qr/^page$/, ''],
    ['for another status' => '/other-status', 503, qr/token_unava/, ''],
    ['one that has no token either' => '/again', 503, qr/token_unava/, ''],
    ['and one of its own' => '/recursive', 503, qr/^page$/, ''],
    ['one that isn\'t there' => '/missing', 404, qr/404/, ''],
) {
    my ($name, $path, $status, $body, $upstream) = @$case;
    $other->forget;
    my $answer = request($port, GET => $path);

    is $answer->{status}, $status, "error_page, $name: the status";
    like $answer->{body}, $body, 'the body';
    is_single_retry_after($answer) if $status == 503 || $status == 418;
    is_deeply [map { $_->{path} } $other->requests], [$upstream || ()],
        'and nobody else is asked';
    is request($port, GET => '/plain')->{body}, 'plain', 'nginx goes on';
}

is $openai->count, 0, 'nothing went upstream without a token';


subtest 'Retry-After of the endpoint' => sub {
    my $imds = imds(sub (@) { return [429, ['Retry-After' => 17]] });
    my $gateway = gateway($imds);

    my $answer = request($gateway->port('gateway'), GET => '/usual');
    my $seconds = $answer->{header}{'retry-after'};
    ok $seconds > 10 && $seconds <= 17 * 1.2 + 1,
        'is handed on, up to a fifth later';
    $gateway->stop;
};


subtest 'the log' => sub {
    my $gateway = gateway();
    request($gateway->port('gateway'), GET => '/usual') for 1 .. 20;
    ok $gateway->wait_for_log(qr/\[info\] [^\n]* no\ token:/x),
        'until the next failure';
    request($gateway->port('gateway'), GET => '/usual') for 1 .. 20;

    my @errors = $gateway->log_lines(qr/\[(?:warn|error|crit|alert)\]/);
    my @usual = grep { /chain: managed_identity\)/ } @errors;
    is @usual, 1, 'there is one line, not one for each request';
    like $usual[0], qr/\[error\] .* managed_identity\ is\ unavailable:
        .* connect/x, 'it says what is wrong';
    my @secret = grep { /chain: client_secret / } @errors;
    is @secret, 1, 'and one for the other identity';
    is @errors, 2, 'and that is all';
    unlike $gateway->log, qr/${\SECRET}/, 'without a secret';
    my @infos = $gateway->log_lines(
        qr/\[info\] .* no\ token\ .* GET\ \/usual/x);
    is @infos, 40, 'each request is there for who wants to know';
    $gateway->stop;
};

$gateway->stop;
done_testing;


sub location ($path, $more, $credential = 'managed_identity') {
    return <<"END";
        location $path {
            aoai_aad on;
            aoai_aad_credential $credential;
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Cache \$aoai_aad_cache_status always;
            add_header X-Credential \$aoai_aad_credential always;
            $more
        }
END
}


# A gateway whose token endpoints are down, or the given IMDS.
sub gateway ($imds = undef) {
    my $locations = join '', location('/usual', ''),
        location('/unbuffered', 'proxy_request_buffering off;'),
        location('/secret', '', "client_secret tenant_id=${\TENANT_ID}
            client_id=${\CLIENT_ID} secret=${\SECRET}"),
        location('/uri', 'error_page 503 /page;
            recursive_error_pages on;'),
        location('/uri-418', 'error_page 503 =418 /page;'),
        location('/named', 'error_page 503 @named;'),
        location('/upstream', 'error_page 503 = @upstream;'),
        location('/redirect', 'error_page 503 http://127.0.0.1/;'),
        location('/other-status', 'error_page 502 500 /page;'),
        location('/again', 'error_page 503 /again/more;'),
        location('/recursive', 'error_page 503 /uri;
            recursive_error_pages on;'),
        location('/missing', 'error_page 503 /none;');

    return Test::Gateway->new(env => !$imds ? {}
        : { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        files => { 'html/page' => 'page' }, http => <<"END")->start;
    client_max_body_size 10m;
    root %%DIR%%/html;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;
$locations
        location /plain {
            return 200 plain;
        }

        location \@named {
            return 503 named;
        }

        location \@upstream {
            proxy_pass ${\$other->url};
        }

        location /inherited {
            proxy_pass http://127.0.0.1:%%PORT_inherited%%;
        }
    }

    server {
        listen 127.0.0.1:%%PORT_inherited%%;
        error_page 503 /page;
${\location('/inherited', '')}
    }
END
}


sub is_single_retry_after ($answer) {
    my @values = map { $_->[1] } grep { lc $_->[0] eq 'retry-after' }
        $answer->{headers}->@*;
    is @values, 1, 'Retry-After is there once';
    like $values[0], qr/^[1-9]\d*$/, 'in whole seconds';
}


# Sends bytes over one connection, and returns the answers to them.
sub conversation (@requests) {
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => 10) // die "can't connect: $!\n";
    local $SIG{ALRM} = sub { die "timed out\n" };
    alarm 15;
    print {$socket} @requests;
    $socket->flush;
    my $answers = do { local $/; readline $socket };
    alarm 0;
    close $socket;
    return split m{(?=HTTP/1\.1 \d{3} )}, $answers;
}
