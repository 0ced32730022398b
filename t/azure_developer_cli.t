# The Azure Developer CLI, by the rows of the contract's table 5: how azd is
# called, what is taken from it, and what its failures come to.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(azd azd_calls jwt openai TENANT_ID);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(alive wait_until);

use constant {
    COMMAND     => [qw(auth token -o json --no-prompt --scope
        https://cognitiveservices.azure.com/.default)],
    TRACE       => '66666666-ffff-4fff-8fff-666666666666',
    CORRELATION => '77777777-aaaa-4aaa-8aaa-777777777777',
};

my $openai = openai();


subtest '5 command' => sub {
    my %env = (AZURE_CLIENT_SECRET => 'secret', LD_LIBRARY_PATH => '/none',
        PERL5LIB => '/none');
    my ($gateway, $bin) = gateway(env => \%env);

    my $answer = request($gateway->port('gateway'), GET => '/');
    is token($answer), 'azd-token', 'the token is used';
    is $answer->{header}{'x-credential'}, 'azure_developer_cli',
        'and whose it is can be told';
    like $answer->{header}{'x-expires-in'}, qr/^359\d$/,
        'it is valid as long as expiresOn says, in UTC';

    my ($call, @more) = azd_calls($bin);
    is @more, 0, 'azd was called once';
    is_deeply $call->{argv}, COMMAND, 'with these arguments';
    is_deeply $call->{env}, {
        PATH => "$bin:/usr/bin:/bin", HOME => $gateway->dir,
        AZD_SKIP_UPDATE_CHECK => 'true', NO_COLOR => 1,
        AZURE_DEV_COLLECT_TELEMETRY => 'no',
    }, 'and nothing of the environment but what it needs';
    is_deeply [sort keys $call->{fds}->%*], [0, 1, 2],
        'no file or socket of nginx is open';
    is $call->{fds}{0}, '/dev/null', 'nobody answers a question';
    is $call->{group}, $call->{pid}, 'it has a group of its own';
    is $call->{cwd}, '/', 'and is in no folder of the web server';
    is_deeply [noise($gateway)], [], 'and nginx takes no notice';
    $gateway->stop;
};


subtest '5 command, its environment' => sub {
    my %env = (AZD_CONFIG_DIR => '%%DIR%%/azd', NO_PROXY => 'localhost',
        HTTPS_PROXY => 'http://me:pass-word@127.0.0.1:1',
        SSL_CERT_FILE => '/etc/none.pem');
    my ($gateway, $bin) = gateway(env => \%env);

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'there is a token';
    my ($call) = azd_calls($bin);
    is_deeply $call->{env}, {
        PATH => "$bin:/usr/bin:/bin", HOME => $gateway->dir,
        AZD_SKIP_UPDATE_CHECK => 'true', NO_COLOR => 1,
        AZURE_DEV_COLLECT_TELEMETRY => 'no', %env,
        AZD_CONFIG_DIR => $gateway->dir . '/azd',
    }, 'has its login, its proxies and its CAs';
    $gateway->stop;
};


subtest '5 command, tenant' => sub {
    my ($gateway, $bin) = gateway(locations => [
        location('/tenant', "tenant_id=${\TENANT_ID}"),
        location('/domain', 'tenant_id=contoso.onmicrosoft.com'),
        location('/scope', '', 'aoai_aad_scope api://x.y-z//.default;'),
    ]);
    my @expected = (
        [COMMAND->@*, '--tenant-id', TENANT_ID],
        [COMMAND->@*, '--tenant-id', 'contoso.onmicrosoft.com'],
        [COMMAND->@[0 .. 5], 'api://x.y-z//.default'],
    );

    for my $path (qw(/tenant /domain /scope)) {
        is request($gateway->port('gateway'), GET => $path)->{status}, 200,
            "there is a token: $path";
    }
    is_deeply [sort map { "@{$_->{argv}}" } azd_calls($bin)],
        [sort map { "@$_" } @expected], 'by these calls';
    $gateway->stop;
};


subtest '5 command, path=' => sub {
    my ($gateway, $bin) = gateway(
        locations => [location('/', 'path=%%DIR%%/bin/my-azd')],
        azd => { name => 'my-azd' });
    azd($bin, perl => 'die');

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'there is a token';
    is scalar(azd_calls($bin)), 0, 'not of the azd in PATH';
    $gateway->stop;
};


subtest '4.2 validation' => sub {
    for my $wrong ('tenant_id=-x', 'tenant_id=common', '"tenant_id=a.b;c"',
        'path=azd', 'subscription=x', 'path=/bin/a path=/bin/b')
    {
        my $gateway = Test::Gateway->new(
            http => http(location('/', $wrong)));
        my $check = $gateway->check;
        isnt $check->{status}, 0, "$wrong is refused";
        like $check->{output}, qr/"aoai_aad_credential": .*nginx\.conf:\d+/,
            'with the directive and its line';
    }
};


# how azd misbehaves => the result, and the words of the log
my $SECRET = jwt(jti => 'not for the log');
my %FAULTS = (
    '5 not installed' => [{ name => 'zz' }, 'unavailable',
        'azd is not installed'],
    '5 not installed, 127' => [{ perl => 'exit 127' }, 'unavailable',
        'azd cannot be run'],
    '5 not logged in' => [{ does => 'not_logged_in' }, 'unavailable',
        'azd auth login', 'HOME (or AZD_CONFIG_DIR)'],
    '5 error format, older' => [{ does => 'aadsts', code => 50076 }, 'failed',
        'AADSTS50076: The sign-in was refused', 'correlation id '
        . CORRELATION, 'trace id ' . TRACE, 'which means: a person'],
    '5 error format, since 1.23.7' => [{ does => 'aadsts_new',
        code => 700082 }, 'failed', 'AADSTS700082: The sign-in was refused',
        'correlation id ' . CORRELATION, 'trace id ' . TRACE,
        'which means: the sign-in has ended'],
    '4.4 bad JSON' => [{ does => 'junk' }, 'failed', 'JSON'],
    '4.4 nothing' => [{ perl => '' }, 'failed', 'code 0'],
    '4.4 too much' => [{ does => 'huge' }, 'unavailable', 'more than'],
    '4.4 half a token' => [{ perl => qq(print '{"token": "$SECRET') },
        'failed', 'JSON'],
    '4.4 a token as an error' => [{ perl =>
        qq(console_message("got $SECRET"); exit 1) }, 'failed', 'code 1'],
    '5 an old token' => [{ life => -10 }, 'failed', 'expired'],
    '5 no date' => [{ perl =>
        q(print '{"token":"x","expiresOn":"tomorrow"}') }, 'failed',
        'does not say when'],
);

for my $name (sort keys %FAULTS) {
    my ($behaviour, $result, @words) = $FAULTS{$name}->@*;

    subtest $name => sub {
        my ($gateway) = gateway(azd => $behaviour, log_level => 'debug');

        is request($gateway->port('gateway'), GET => '/')->{status}, 503,
            'there is no token';
        my ($line) = $gateway->log_lines(qr/\[error\]/);
        like $line, qr/azure_developer_cli (?:is )?$result: /,
            'the log names the step';
        like $line, qr/\Q$_/, "and says: $_" for @words;
        is_deeply [$gateway->log_lines(
            qr/\Q${\substr $SECRET, 0, 20}\E|<html|accessToken|xxxx/)], [],
            'nothing that azd printed is in the log';
        is_deeply [noise($gateway)], [], 'and nginx takes no notice';
        $gateway->stop;
    };
}


subtest '5 timeout' => sub {
    my ($gateway, $bin) = gateway(
        locations => [location('/', '', 'aoai_aad_timeout 1s;')],
        azd => { does => 'hanging' });
    my $waiting = start_request($gateway->port('gateway'), GET => '/');
    my $call;
    wait_until { ($call) = azd_calls($bin); $call && $call->{child} } 5;
    ok $call->{child}, 'azd is called';

    is $waiting->finish->{status}, 503,
        'who waits is told that there is no token';
    ok $gateway->wait_for_log(
        qr/azure_developer_cli is unavailable: .* did not end in time/, 15),
        'the log says why';
    wait_until { !alive($call->{pid}) && !alive($call->{child}) } 15;
    ok !alive($call->{pid}), 'azd is gone';
    ok !alive($call->{child}), 'and what it had started';
    $gateway->stop;
};

done_testing;


sub location ($path, $parameters = '', $more = '') {
    return <<"END";
        location $path {
            aoai_aad on;
            aoai_aad_credential azure_developer_cli $parameters;
            aoai_aad_allowed_hosts 127.0.0.1;
            $more
            proxy_pass ${\$openai->url};
            add_header X-Credential \$aoai_aad_credential;
            add_header X-Expires-In \$aoai_aad_expires_in;
        }
END
}


sub http (@locations) {
    return <<"END";
    server {
        listen 127.0.0.1:%%PORT_gateway%%;
@locations
    }
END
}


# Starts a gateway with an azd in its PATH. Takes arguments of Test::Gateway,
# and locations => [...]; azd => { how it behaves }. Returns the gateway and
# the folder of azd.
sub gateway (%args) {
    my $locations = delete $args{locations} // [location('/')];
    my $azd = delete $args{azd} // {};
    my %env = (PATH => '%%DIR%%/bin:/usr/bin:/bin',
        (delete $args{env} // {})->%*);

    my $gateway = Test::Gateway->new(%args, env => \%env,
        http => http(@$locations));
    my $bin = azd($gateway->dir . '/bin', %$azd);
    return $gateway->start, $bin;
}


# What nginx has to say of processes.
sub noise ($gateway) {
    return $gateway->log_lines(qr/\[alert\]|unknown process/);
}


# The token that the upstream got.
sub token ($answer) {
    my %headers = map { lc $_->[0] => $_->[1] }
        ($answer->{json}{headers} // [])->@*;
    return ($headers{authorization} // '') =~ s/^Bearer //r;
}
