# An upstream that refuses: the token, which is then renewed once, or the
# identity behind it, which no new token helps.

use v5.36;

use IO::Compress::Gzip 'gzip';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai OBJECT_ID);
use Test::Gateway::Client 'request';

# how the upstream says it, by the first part of the path
my %BODY = (
    token => '{"statusCode":401,"message":"Unauthorized. Access token is '
        . 'missing, invalid, audience is incorrect, or have expired."}',
    denied => '{"error":{"code":"PermissionDenied","message":"The principal '
        . "`${\OBJECT_ID}` lacks the required data action "
        . '`Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/'
        . 'completions/action` to perform `POST /openai/deployments/x` '
        . 'operation."}}',
    page => '<html>401</html>',
);

my $openai = openai(handler => sub ($request, $reply, $usual) {
    my (undef, $what, $status, $how) = split m{/}, $request->{path};
    my $body = $BODY{$what // ''} // return $usual->();

    return [$status, ['Content-Type' => 'application/json',
        'x-ms-request-id' => 'other', 'apim-request-id' => "an-id\x01"],
        $body] if $how eq 'plain';
    if ($how eq 'zipped') {
        gzip(\$body, \my $zipped);
        return [$status, ['Content-Encoding' => 'gzip'], $zipped];
    }

    if ($how eq 'slowly') {
        $reply->("HTTP/1.1 $status No\r\nCache-Control: max-age=60\r\n"
            . "Content-Length: 60000\r\n\r\n");
        for (1 .. 3) {
            $reply->('x' x 20_000);
            select undef, undef, undef, 0.3;
        }
        return undef;
    }

    # in small pieces, the head in one of its own
    $reply->("HTTP/1.1 $status No\r\nTransfer-Encoding: chunked\r\n\r\n");
    for my $piece ($body =~ /.{1,40}/gs) {
        select undef, undef, undef, 0.01;
        $reply->(sprintf "%x\r\n%s\r\n", length $piece, $piece);
    }
    $reply->("0\r\n\r\n");
    return undef;
});


for my $location (qw(buffered unbuffered)) {
    for my $how (qw(plain pieces)) {
        subtest "a token that is refused: $location, $how" => sub {
            my ($gateway, $imds) = gateway();
            my $answer = get($gateway, "/$location/token/401/$how");
            is $answer->{status}, 401, 'the client is told so';
            is $answer->{body}, $BODY{token}, 'in the words of the upstream';

            ok $imds->wait_for(2), 'and another one is fetched';
            ok $gateway->wait_for_log(
                qr/\[notice\].*does not take the token.*another/),
                'as the log says';
            get($gateway, "/$location/token/401/$how") for 1 .. 5;
            is get($gateway, '/buffered')->{status}, 200,
                'requests go on meanwhile';
            ok !$imds->wait_for(3, 1), 'but not more than one in a minute';
            is $gateway->log_lines(qr/does not take/), 1, 'and one line';
            like +($gateway->log_lines(qr/does not take/))[0],
                qr/of managed_identity \(status 401, request id "an-id\?"\)/,
                'with the step, and the id of the request'
                if $how eq 'plain';
            $gateway->stop;
        };

        subtest "an identity that is denied: $location, $how" => sub {
            my ($gateway, $imds) = gateway();
            for my $status (401, 403, 401) {
                my $answer = get($gateway, "/$location/denied/$status/$how");
                is $answer->{status}, $status, 'the client is told so';
                is $answer->{body}, $BODY{denied},
                    'in the words of the upstream';
            }
            ok !$imds->wait_for(2, 1), 'no token is fetched for it';

            my @lines = $gateway->log_lines(qr/PermissionDenied/);
            is @lines, 1, 'the log says it once';
            like $lines[0], qr/\[error\].*"Cognitive Services OpenAI User"/,
                'with the role to grant';
            like $lines[0], qr/object id "${\OBJECT_ID}"/, 'and who needs it';
            like $lines[0], qr/of managed_identity .* request id "an-id\?"/,
                'and the step, and the id of the request' if $how eq 'plain';
            $gateway->stop;
        };
    }
}


subtest 'other refusals' => sub {
    my ($gateway, $imds) = gateway();

    get($gateway, '/buffered/token/403/plain');
    get($gateway, '/buffered/page/403/plain');
    get($gateway, '/buffered/token/400/plain');
    get($gateway, '/off/token/401/plain');
    ok !$imds->wait_for(2, 1), 'say nothing about the token';

    is request($gateway->port('gateway'), HEAD =>
        '/buffered/token/401/plain')->{status}, 401, 'one without a body';
    ok $imds->wait_for(2), 'may be about the token';
    $gateway->stop;
};


subtest 'a body that cannot be read' => sub {
    my ($gateway, $imds) = gateway();
    get($gateway, '/unbuffered/denied/401/zipped') for 1 .. 5;
    ok $imds->wait_for(2), 'may be about the token';
    ok !$imds->wait_for(3, 1), 'and costs one fetch in a minute';
    $gateway->stop;
};


subtest 'with an error_page for it' => sub {
    my ($gateway, $imds) = gateway();
    my $answer = get($gateway, '/page/token/401/plain');
    is $answer->{body}, 'a page of our own', 'that is shown';
    ok $imds->wait_for(2), 'and another token is fetched all the same';
    $gateway->stop;
};


subtest 'while the endpoint is down' => sub {
    my ($gateway, $imds) = gateway();
    get($gateway, '/buffered');
    $imds->mode(500);
    get($gateway, '/buffered/token/401/plain');
    ok $gateway->wait_for_log(qr/\[error\].*no new token/),
        'the renewal fails';
    is get($gateway, '/buffered')->{header}{'x-cache'}, 'STALE',
        'the token that is there is used';
    $gateway->stop;
};


# A filter may end the answer while nginx reads on, for its cache. One of
# images does so with what is none.
my $filter = '/usr/lib/nginx/modules/ngx_http_image_filter_module.so';
my $with_filter = sub ($imds, $start) {
    return Test::Gateway->new(modules => [$filter],
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => <<"END")->$start;
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts 127.0.0.1;
proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
server {
    listen 127.0.0.1:%%PORT_gateway%%;
    location / {
        aoai_aad on;
        image_filter test;
        proxy_cache cache;
        proxy_pass ${\$openai->url};
    }
}
END
};

SKIP: {
    my $imds = imds();
    skip 'no filter of images that can be loaded here', 1
        if !-e $filter || $with_filter->($imds, 'check')->{status};

    my $gateway = $with_filter->($imds, 'start');
    is get($gateway, '/page/401/slowly')->{status}, 415,
        'an answer that a filter has ended';
    is get($gateway, '/')->{status}, 415, '... and the worker is still there';
    $gateway->stop;
}


done_testing;


sub gateway (%imds) {
    my $imds = imds(%imds);
    my $gateway = Test::Gateway->new(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        files => { 'html/page.html' => 'a page of our own' },
        http => <<"END")->start;
    aoai_aad on;
    aoai_aad_credential managed_identity;
    aoai_aad_allowed_hosts 127.0.0.1;
    add_header X-Cache \$aoai_aad_cache_status always;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;
        root %%DIR%%/html;
        proxy_http_version 1.1;

        location /buffered/ {
            proxy_pass ${\$openai->url}/;
        }

        location /unbuffered/ {
            proxy_pass ${\$openai->url}/;
            proxy_buffering off;
        }

        location /off/ {
            aoai_aad off;
            proxy_pass ${\$openai->url}/;
        }

        location /page/ {
            proxy_pass ${\$openai->url}/;
            proxy_intercept_errors on;
            error_page 401 /page.html;
        }

        location = /page.html {
        }
    }
END
    $gateway->wait_for_log(qr/token from/) or die "no token\n";
    return $gateway, $imds;
}


sub get ($gateway, $path) {
    return request($gateway->port('gateway'), GET => $path =~ s{^/(\w+)$}
        {/$1/}r);
}
