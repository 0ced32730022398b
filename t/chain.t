# The chain: in which order its steps are asked, what goes on to the next and
# what stops, and that the one that won stays the one.

use v5.36;

use IO::Socket::INET;
use JSON::PP;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(app_service az az_calls azd azd_calls entra imds
    jwt openai CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Client 'request';
use Test::Gateway::Server;
use Test::Gateway::System 'wait_until';

my $openai = openai();


# With no aoai_aad_credential there is the default chain. What is there of
# its steps => which one gives the token.
for my $case (
    [['pod', 'imds', 'entra', 'az'], 'workload_identity'],
    [['imds', 'entra', 'az'], 'managed_identity'],
    [['entra', 'az'], 'environment'],
    [['imds', 'az'], 'managed_identity'],
    [['az'], 'azure_cli'],
    [[], undef],
) {
    my ($there, $winner) = @$case;
    my %is_there = map { $_ => 1 } @$there;
    my ($gateway, %part) = gateway(has => \%is_there);
    my $name = join(', ', @$there) || 'nothing';

    my $answer = request($gateway->port('gateway'), GET => '/');
    if ($winner) {
        is $answer->{status}, 200, "$name: there is a token";
        is $answer->{header}{'x-credential'}, $winner, "of $winner";
        is $gateway->log_lines(qr/\[notice\] .* token\ from\ $winner,/x), 1,
            'the log names the winner';
        is_deeply [$gateway->log_lines(qr/\[error\]/)], [], 'and no error';
    } else {
        is $answer->{status}, 503, "$name: there is no token";
        reasons_are($gateway, 'workload_identity is unavailable',
            'managed_identity is unavailable', 'environment is unavailable',
            'azure_cli is unavailable');
    }

    my %place = (workload_identity => 1, managed_identity => 2,
        environment => 3, azure_cli => 4);
    my $steps = $place{$winner // 'azure_cli'};
    is $part{imds}->count, $steps >= 2 && $is_there{imds} ? 1 : 0,
        'managed_identity is second';
    is scalar(grep { $_->{body} =~ /client_secret/ } $part{entra}->requests),
        $steps == 3 ? 1 : 0, 'environment is third';
    is scalar(az_calls($part{bin})), $steps == 4 && $is_there{az} ? 1 : 0,
        'az is fourth';
    $gateway->stop;
}


# managed identity says something else than a token => whether the chain
# goes on
for my $case (
    ['400', 1, 400, { error => 'invalid_request' }],
    ['403, unreachable', 1, 403,
        'connecting to 169.254.169.254:80: Network is unreachable'],
    ['200 with a page', 1, 200, '<html>Please log in</html>'],
    ['200 with nothing', 1, 200, ''],
    ['403', 0, 403, { error => 'forbidden' }],
    ['404', 0, 404, { error => 'not_found' }],
    ['410', 0, 410, {}],
    ['429', 0, 429, {}],
    ['500', 0, 500, { error => 'unknown' }],
    ['502 with a page', 0, 502, '<html>Bad gateway</html>'],
    ['200 without a token', 0, 200, {}],
) {
    my ($name, $goes_on, $status, $body) = @$case;
    my $imds = answers($status, $body);
    my ($gateway, %part) = gateway(has => { entra => 1 },
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url });

    my $answer = request($gateway->port('gateway'), GET => '/');
    if ($goes_on) {
        is $answer->{header}{'x-credential'}, 'environment',
            "IMDS, $name: the next step is asked";
    } else {
        is $answer->{status}, 503, "IMDS, $name: the chain stops";
        is $part{entra}->count, 0, 'nobody else is asked';
        reasons_are($gateway, 'workload_identity is unavailable',
            'managed_identity failed');
    }
    $gateway->stop;
}


subtest 'an address that leads nowhere' => sub {
    # a queue that is full takes no more connections, and refuses none
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        Listen => 1) // die "can't listen: $!\n";
    my @queue = map { IO::Socket::INET->new(Blocking => 0,
        PeerAddr => '127.0.0.1', PeerPort => $listen->sockport) } 1 .. 8;
    my ($gateway, %part) = gateway(has => { entra => 1 },
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST =>
            'http://127.0.0.1:' . $listen->sockport });

    my $answer = request($gateway->port('gateway'), GET => '/');
    is $answer->{header}{'x-credential'}, 'environment',
        'is given up for the next step';
    cmp_ok $answer->{elapsed}, '<', 5, 'soon';
    $gateway->stop;
};


subtest 'App Service that does not work' => sub {
    my $down = 'http://127.0.0.1:%%PORT_nobody%%';
    for my $endpoint (app_service(secret => 'another')->url, $down) {
        my ($gateway, %part) = gateway(has => { imds => 1, entra => 1 },
            env => { IDENTITY_ENDPOINT => $endpoint, IDENTITY_HEADER => 'x' });

        is request($gateway->port('gateway'), GET => '/')->{status}, 503,
            'stops the chain';
        is $part{imds}->count + $part{entra}->count, 0,
            'nobody else is asked';
        reasons_are($gateway, 'workload_identity is unavailable',
            'managed_identity failed');
        $gateway->stop;
    }
};


subtest 'a secret that is refused' => sub {
    my ($gateway, %part) = gateway(has => { entra => 1, az => 1 },
        env => { AZURE_CLIENT_SECRET => 'another' });

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'stops the chain';
    is scalar(az_calls($part{bin})), 0, 'az is not asked';
    reasons_are($gateway, 'workload_identity is unavailable',
        'managed_identity is unavailable', 'environment failed');
    $gateway->stop;
};


subtest 'an authority that is down' => sub {
    my ($gateway, %part) = gateway(has => { az => 1 }, env => {
        AZURE_TENANT_ID => TENANT_ID, AZURE_CLIENT_ID => CLIENT_ID,
        AZURE_CLIENT_SECRET => CLIENT_SECRET });

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'stops the chain';
    is scalar(az_calls($part{bin})), 0, 'az is not asked';
    reasons_are($gateway, 'workload_identity is unavailable',
        'managed_identity is unavailable', 'environment failed');
    $gateway->stop;
};


# how az in front of another step behaves => whether the chain goes on
for my $case (
    ['not_logged_in', 1], ['huge', 1], ['aadsts', 0], ['junk', 0],
) {
    my ($does, $goes_on) = @$case;
    my ($gateway, %part) = gateway(has => { imds => 1, az => 1 },
        az => { does => $does }, chain => ['azure_cli', 'managed_identity']);

    my $answer = request($gateway->port('gateway'), GET => '/');
    if ($goes_on) {
        is $answer->{header}{'x-credential'}, 'managed_identity',
            "az, $does: the next step is asked";
    } else {
        is $answer->{status}, 503, "az, $does: the chain stops";
        is $part{imds}->count, 0, 'nobody else is asked';
        reasons_are($gateway, 'azure_cli failed');
    }
    $gateway->stop;
}


subtest 'a chain of one\'s own' => sub {
    my ($gateway, %part) = gateway(has => { imds => 1, az => 1 },
        chain => ['environment', 'azure_cli', 'managed_identity']);

    my $answer = request($gateway->port('gateway'), GET => '/');
    is $answer->{header}{'x-credential'}, 'azure_cli', 'has its own order';
    is $part{imds}->count, 0, 'which ends at the winner';
    $gateway->stop;
};


subtest 'the reasons' => sub {
    my ($gateway, %part) = gateway(chain => ['environment',
        'managed_identity client_id=' . CLIENT_ID, 'azure_cli']);

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'there is no token';
    my $line = reasons_are($gateway, 'environment is unavailable',
        'managed_identity is unavailable', 'azure_cli is unavailable');
    like $line, qr/environment .* AZURE_TENANT_ID .*; \ managed_identity
        .* connect .*; \ azure_cli .* not\ installed/ix,
        'the log has all of them in their order';
    my $chain = 'environment, managed_identity client_id=' . CLIENT_ID
        . ', azure_cli';
    like $line, qr/\Q$chain/, 'and says whose they are';
    $gateway->stop;
};


subtest 'the steps behind one that is refused' => sub {
    my ($gateway, %part) = gateway(has => { entra => 1, az => 1 },
        env => { AZURE_CLIENT_SECRET => 'another' },
        chain => ['environment', 'azure_cli', 'azure_developer_cli']);

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'there is no token';
    my $line = reasons_are($gateway, 'environment failed');
    like $line, qr/; not asked: azure_cli, azure_developer_cli \(chain: /,
        'are named too';
    my ($asked) = $part{entra}->requests;
    my $id = $asked->{header}{'client-request-id'};
    like $line, qr/AADSTS7000215: .* \(correlation id \S+, trace id \S+\),/,
        'behind the code and the ids';
    like $line, qr/\), which means: the client secret is wrong; .*; not/,
        'and what to do';
    like $id, qr/^[0-9a-f-]{36}$/, 'the request had an id';
    $gateway->stop;
};


# Eight steps, each with more to say than an eighth of a line has room for.
subtest 'many long reasons' => sub {
    my $long = 'x' x 400;
    my $error = { error => 'invalid_client', error_codes => [700016],
        error_description => "AADSTS700016: $long",
        correlation_id => '77777777-aaaa-4aaa-8aaa-777777777777',
        trace_id => '66666666-ffff-4fff-8fff-666666666666' };
    my $imds = answers(400, { error => 'invalid_request',
        error_description => $long });
    my $entra = answers(401, $error);
    my $tool = '/none/' . 'y' x 200;
    my ($gateway, %part) = gateway(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
            AZURE_AUTHORITY_HOST => $entra->url },
        chain => ['environment', 'managed_identity',
            "managed_identity client_id=${\CLIENT_ID}",
            "azure_cli path=$tool", "azure_cli path=${tool}1",
            "azure_developer_cli path=$tool",
            "azure_developer_cli path=${tool}2",
            "client_secret tenant_id=${\TENANT_ID} client_id=${\CLIENT_ID}"
            . ' secret=wrong-secret']);

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'there is no token';
    my $line = reasons_are($gateway, 'environment is unavailable',
        ('managed_identity is unavailable') x 2,
        ('azure_cli is unavailable') x 2,
        ('azure_developer_cli is unavailable') x 2, 'client_secret failed');
    my @reasons = $line =~ /(?:failed|unavailable): (.*?)(?=; \w+ (?:failed
        |is\ unavailable):|\ \(chain)/gx;
    cmp_ok length, '>=', 30, 'a reason can be understood' for @reasons;
    like $line, qr/AADSTS700016: x+\.\.\. \(/, 'the code is there';
    my $end = '(correlation id 77777777-aaaa-4aaa-8aaa-777777777777, trace id '
        . '66666666-ffff-4fff-8fff-666666666666), which means: no app with '
        . 'this client id is in the tenant; is the tenant right, and the app '
        . 'installed in it? (chain: ';
    like $line, qr/\Q$end/, 'the ids and what to do are whole';
    like $line, qr/\(chain: environment, managed_identity, .*\.\.\.\)$/,
        'and so is the line';
    cmp_ok length $line, '<', 2048, 'which nginx did not cut';
    $gateway->stop;
};


subtest 'a developer\'s machine' => sub {
    my ($gateway, %part) = gateway(has => { az => 1 },
        az => { does => 'not_logged_in' },
        chain => ['azure_cli', 'azure_developer_cli']);
    my $bin = $part{bin};
    $gateway->stop;
    azd($bin);
    $gateway->start;

    my $answer = request($gateway->port('gateway'), GET => '/');
    is $answer->{header}{'x-credential'}, 'azure_developer_cli',
        'has a token of azd where az has none';
    is scalar(azd_calls($bin)), 1, 'which is asked once';
    $gateway->stop;
};


subtest 'the winner' => sub {
    my ($gateway, %part) = gateway(has => { imds => 1, entra => 1 },
        token => { life => 6, refresh_in => 2 });
    $part{imds}->mode(400);
    $gateway->stop;
    $part{imds}->forget;
    $gateway->start;

    my $answer = request($gateway->port('gateway'), GET => '/');
    is $answer->{header}{'x-credential'}, 'environment',
        'is the first that has a token';
    my $asked = $part{imds}->count;
    cmp_ok $asked, '>', 0, 'and those before it were asked';

    $part{imds}->mode('');
    ok $part{entra}->wait_for($part{entra}->count + 1, 15), 'it is asked again';
    is $part{imds}->count, $asked, 'alone';
    is credential($gateway), 'environment', 'and goes on to win';

    $part{entra}->mode(500);
    ok is_credential($gateway, 'managed_identity'),
        'when its token has ended, the chain starts afresh';
    $gateway->stop;
};

done_testing;


# Starts a gateway whose only location has a chain. has => { part => 1 }:
# what works of pod, imds, entra and az; chain => [...]: the steps; token and az
# => { ... }: what they are like; env => { ... }. Returns the gateway and the
# parts, which live as long as the caller keeps them.
sub gateway (%args) {
    my %has = ($args{has} // {})->%*;
    my @token = ($args{token} // {})->%*;
    my %part = (imds => imds(@token), entra => entra(tls => 0,
        client_secret => $has{pod} ? '' : CLIENT_SECRET, @token));
    my %env = (PATH => '%%DIR%%/bin:/usr/bin:/bin');
    my $chain = join "\n            ",
        map { "aoai_aad_credential $_;" } ($args{chain} // [])->@*;

    $env{AZURE_POD_IDENTITY_AUTHORITY_HOST} = $part{imds}->url
        if $has{imds};
    @env{qw(AZURE_AUTHORITY_HOST AZURE_TENANT_ID AZURE_CLIENT_ID
        AZURE_CLIENT_SECRET)} = ($part{entra}->url, TENANT_ID, CLIENT_ID,
        CLIENT_SECRET) if $has{entra};
    $env{AZURE_FEDERATED_TOKEN_FILE} = '%%DIR%%/token' if $has{pod};

    my $gateway = Test::Gateway->new(
        env => { %env, ($args{env} // {})->%* }, files => { token => jwt() },
        http => <<"END");
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            $chain
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Credential \$aoai_aad_credential;
        }
    }
END
    $part{bin} = $gateway->dir . '/bin';
    az($part{bin}, ($args{az} // {})->%*) if $has{az};
    return $gateway->start, %part;
}


# A server that has one answer: bytes, or JSON.
sub answers ($status, $body) {
    my ($type, $bytes) = ref $body ? ('application/json', encode_json($body))
        : ('text/html', $body);
    return Test::Gateway::Server->new(handler => sub (@) {
        return [$status, ['Content-Type' => $type], $bytes];
    });
}


# Which credential gave the token, '' if there is none.
sub credential ($gateway) {
    my $answer = request($gateway->port('gateway'), GET => '/');
    return $answer->{header}{'x-credential'} // '';
}


# Whether a credential comes to be the one that gives tokens.
sub is_credential ($gateway, $name) {
    return wait_until { credential($gateway) eq $name } 15;
}


# Checks that one line of the log has these verdicts in this order, and no
# others. Returns the line.
sub reasons_are ($gateway, @verdicts) {
    my @lines = $gateway->log_lines(qr/\[error\]/);
    my @found = ($lines[0] // '') =~ /(?:token:|;)\ (\w+\ (?:failed
        |is\ unavailable)):/gx;
    is @lines, 1, 'there is one line in the log';
    is_deeply \@found, \@verdicts, 'with the reason of each step';
    return $lines[0];
}
