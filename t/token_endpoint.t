# A token endpoint that misbehaves in every way: each is a line in the log, a
# 503 in time and nothing upstream, and it ends as soon as the endpoint does
# better.

use v5.36;

use JSON::PP;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(entra form imds jwt openai TENANT_ID);
use Test::Gateway::Client 'request';
use Test::Gateway::System qw(now wait_until);

use constant {
    WELL            => 'a-token.that-is.well',
    # a back-off of a minute, and a fetch
    RECOVER_SECONDS => 90,
    LOG_SECONDS     => 60,
};

my $JSON = JSON::PP->new->canonical;

# of a request, or of the fetch where that is over before
my $TOO_LATE = qr/within "aoai_aad_timeout"|timed out/;

# what an endpoint answers => words of the log; none where it is accepted
my @CASES = (
    ['too slow', sub ($reply) { sleep 30 }, $TOO_LATE],
    ['half a head, then nothing', sub ($reply) {
        $reply->("HTTP/1.1 200 OK\r\nContent-Le");
        sleep 30;
    }, $TOO_LATE],
    ['a body that never ends', sub ($reply) {
        $reply->("HTTP/1.1 200 OK\r\n\r\n");
        1 while $reply->(' ') && sleep 1;
    }, $TOO_LATE],
    ['the connection closed', sub ($reply) { undef }, 'Empty reply'],
    ['half of the body', sub ($reply) {
        $reply->("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"acc");
        return undef;
    }, 'bytes remaining'],
    ['another protocol', sub ($reply) {
        $reply->("SSH-2.0-OpenSSH_9.2\r\n\r\n");
        return undef;
    }, 'HTTP/0.9'],
    ['10 MB', [200, [], 'x' x 10_000_000], 'more than'],
    ['a redirect', [302, [Location => 'http://127.0.0.1:1/']], 'status 302'],
    ['a page', [200, ['Content-Type' => 'text/html'], '<html></html>'],
        'JSON'],
    ['a page with an error', [502, [], '<html>Bad</html>'],
        'status 502', 'HTML'],
    ['nothing', [200], 'JSON'],
    ['half a JSON', [200, [], '{"access_token":"abc","expires_'], 'JSON'],
    ['a list', [200, [], '[1]'], 'JSON'],
    ['text after the JSON', [200, [], $JSON->encode(
        { access_token => 'abc', expires_in => 3599 }) . 'x'], 'JSON'],
    ['no token', { access_token => undef }, 'no access token'],
    ['an empty token', { access_token => '' }, 'no access token'],
    ['a number for a token', { access_token => 12 }, 'no access token'],
    ['a token of another type', { token_type => 'mac' }, 'bearer'],
    map({ my ($name, $sign) = @$_;
        ["a token with $name", { access_token => "abc${sign}X-Header: d" },
            'characters'] }
        ['CR LF', "\r\n"], ['LF', "\n"], ['a blank', ' '], ['a tab', "\t"],
        ['a NUL', "\0"], ['an umlaut', "\xe4"], ['a comma', ',']),
    ['a token that ends in LF', { access_token => "abc\n" }, 'characters'],
    ['a token of 17 kB', { access_token => 'a' x 17_408 }, '17408 bytes'],
    ['no expiry', { expires_in => undef }, 'expires'],
    ['an expiry of 0', { expires_in => 0 }, 'valid for 0 s'],
    ['an expiry of "0"', { expires_in => '0' }, 'valid for 0 s'],
    ['a negative expiry', { expires_in => -3599 }, 'valid for -3599 s'],
    ['a huge expiry', { expires_in => 999_999_999_999 }, 'more than'],
    ['a huge text as expiry', { expires_in => '9' x 30 }, 'expires'],
    ['a word as expiry', { expires_in => 'soon' }, 'expires'],
    ['a time that is over', { expires_in => undef, expires_on => time - 9 },
        'expired already', 'clock'],
    ['a JWT that is over', { expires_in => undef,
        access_token => jwt(exp => time - 9) }, 'expired already'],
    ['a refusal', [401, [], '{"error":"invalid_client"}'],
        'status 401, invalid_client'],
    ['an error', [500, [], '{"error":"server_error"}'],
        'status 500, server_error'],
    ['an error without words', [503], 'status 503', 'nothing'],
    ['a number', {}],
    ['a string', { expires_in => '3599' }],
    ['a string of a time', { expires_in => undef,
        expires_on => '' . (time + 3599) }],
    ['a JWT that says when it ends', { expires_in => undef,
        access_token => jwt() }],
    ['a token of 16 kB', { access_token => 'a' x 16_384 }],
    ['all signs of a token', { access_token => 'aZ09-._~+/==' }],
    ['another type of small letters', { token_type => 'bearer' }],
    ['a wish that makes no sense', { refresh_in => -1 }],
);

my $openai = openai();
my $imds = imds(sub ($request, $reply, $usual) {
    return misbehave($request->{mode}, $request->{query}, $reply);
});
my $entra = entra(tls => 0, handler => sub ($request, $reply, $usual) {
    return misbehave($request->{mode}, $request->{body}, $reply);
});
my $gateway = gateway({ AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    map { location("/imds/$_", 'managed_identity client_id=' . guid($_)),
        location("/authority/$_", secret($_),
            "aoai_aad_authority_host ${\$entra->url};") } keys @CASES);
my @failing;

for my $source (qw(imds authority)) {
    for my $number (keys @CASES) {
        my ($name, undef, @words) = $CASES[$number]->@*;
        my $path = "/$source/$number";
        my $answer = request($gateway->port('gateway'), GET => $path);

        if (@words) {
            push @failing, $path;
            is_unavailable($answer, "$source, $name");
            is_logged($number, $source, @words);
        } else {
            is $answer->{status}, 200, "$source, $name: a token";
        }
        is request($gateway->port('gateway'), GET => '/plain')->{body},
            'plain', 'nginx goes on';
    }
}

my %upstream = map { $_->{path} => 1 } $openai->requests;
is_deeply [grep { $upstream{$_} } @failing], [],
    'nothing went upstream without a token';

$_->mode('well') for $imds, $entra;
my $deadline = now() + RECOVER_SECONDS;
for my $path (@failing) {
    is token_in_time($gateway, $path, $deadline), WELL,
        "$path has recovered by itself";
}
$gateway->stop;


subtest 'an endpoint that is down' => sub {
    my $gateway = gateway({
        AZURE_POD_IDENTITY_AUTHORITY_HOST => 'http://127.0.0.1:%%PORT_imds%%',
        AZURE_AUTHORITY_HOST => 'http://127.0.0.1:%%PORT_entra%%',
    }, location('/imds', 'managed_identity'), location('/entra', secret(0)));

    for my $name (qw(imds entra)) {
        is_unavailable(request($gateway->port('gateway'), GET => "/$name"),
            $name);
        my $host_port = '127.0.0.1:' . $gateway->port($name);
        my $lines = wait_until {
            $gateway->log_lines(qr/\[error\] .* \Q$host_port\E .* connect/x)
        } LOG_SECONDS;
        is $lines, 1, 'the log names it';
    }

    my $imds = imds(port => $gateway->port('imds'));
    my $entra = entra(port => $gateway->port('entra'), tls => 0,
        client_id => guid(0), client_secret => '');
    my $deadline = now() + RECOVER_SECONDS;
    ok token_in_time($gateway, "/$_", $deadline),
        "$_ has recovered by itself" for qw(imds entra);
    $gateway->stop;
};

done_testing;


sub gateway ($env, @locations) {
    return Test::Gateway->new(env => $env, http => <<"END")->start;
    aoai_aad_cache_size 8m;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location /plain {
            return 200 plain;
        }
@locations
    }
END
}


sub location ($path, $credential, $more = '') {
    return <<"END";
        location = $path {
            aoai_aad on;
            aoai_aad_timeout 1s;
            aoai_aad_credential $credential;
            aoai_aad_allowed_hosts 127.0.0.1;
            $more
            proxy_pass ${\$openai->url};
            proxy_buffer_size 32k;
            proxy_buffers 4 32k;
        }
END
}


sub secret ($number) {
    return "client_secret tenant_id=${\TENANT_ID} client_id="
        . guid($number) . ' secret=none';
}


# The client id that chooses a case, and back.
sub guid ($number) {
    return sprintf '00000000-0000-4000-8000-%012d', $number;
}


# The answer of an endpoint to a query or form.
sub misbehave ($mode, $parameters, $reply) {
    my ($number) = { form($parameters) }->{client_id} =~ /(\d+)$/;
    my $how = $mode eq 'well' ? { access_token => WELL }
        : $CASES[$number][1];

    return $how if ref $how eq 'ARRAY';
    return $how->($reply) && undef if ref $how eq 'CODE';

    my %answer = (access_token => 'opaque', token_type => 'Bearer',
        expires_in => 3599, %$how);
    delete @answer{grep { !defined $answer{$_} } keys %answer};
    return [200, ['Content-Type' => 'application/json'],
        $JSON->utf8->encode(\%answer)];
}


sub is_unavailable ($answer, $name) {
    is $answer->{status}, 503, "$name: there is no token";
    is $answer->{json}{error}{code}, 'token_unavailable', 'JSON says so';
    like $answer->{header}{'retry-after'}, qr/^[1-9]\d*$/, 'and until when';
    cmp_ok $answer->{elapsed}, '<', 5, 'in time';
}


sub is_logged ($number, $source, @words) {
    my $step = $source eq 'imds' ? 'managed_identity' : 'client_secret';
    my $id = guid($number);
    my $whose = qr/chain:\ $step\ .*client_id=$id/x;

    # what passes is asked for again before the fetch gives up and says so;
    # on a busy machine it may have said first that this took too long
    for my $word (@words) {
        my $said = ref $word ? $word : qr/\Q$word/;
        my $found = wait_until {
            grep { $_ =~ $said }
                $gateway->log_lines(qr/\[(?:error|info)\] .* $whose/x)
        } LOG_SECONDS;
        ok $found, "the log says: $word";
    }
    ok scalar($gateway->log_lines(qr/\[error\] .* $whose/x)),
        'as an error at first';
}


# The token that the upstream gets once there is one; '' when the time is up.
sub token_in_time ($gateway, $path, $deadline) {
    return wait_until {
        my $answer = request($gateway->port('gateway'), GET => $path);
        my %headers = map { lc $_->[0] => $_->[1] }
            ($answer->{json}{headers} // [])->@*;
        return ($headers{authorization} // '') =~ s/^Bearer //r;
    } $deadline - now();
}
