# Managed identity: what each source is asked, which of their answers are
# taken, and what the log says when they refuse. Arc and Service Fabric, which
# want more than a server, have files of their own.

use v5.36;

use JSON::PP 'decode_json';
use MIME::Base64 'decode_base64url';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(app_service azure_ml cloud_shell form imds
    openai);
use Test::Gateway::Client 'request';
use Test::Gateway::Server;

use constant {
    RESOURCE => 'https://cognitiveservices.azure.com',
    GUID     => '0aBcdef1-1234-4234-8234-123456789abc',
    OTHER    => '1aBcdef1-1234-4234-8234-123456789abc',
    ID       => '/subscriptions/12-34/resourcegroups/a_b/providers/'
        . 'Microsoft.ManagedIdentity/userAssignedIdentities/x.y(z)',
    PROXIES  => [qw(http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy
        ALL_PROXY)],
};

my $openai = openai();

# parameters in the configuration => the same in a source's own words
my %CHOICE = (
    system   => ['', {}, {}],
    client   => ['client_id=' . GUID,
        { client_id => GUID }, { client_id => GUID }],
    object   => ['object_id=' . GUID,
        { object_id => GUID }, { principal_id => GUID }],
    resource => ['resource_id=' . ID,
        { msi_res_id => ID }, { mi_res_id => ID }],
);


subtest 'IMDS' => sub {
    my $imds = imds();
    my $proxy = proxy();
    my $gateway = gateway(all_choices(),
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
        map { $_ => $proxy->url } PROXIES->@*);

    for my $name (sort keys %CHOICE) {
        my $answer = request($gateway->port('gateway'), GET => "/$name",
            headers => ['X-Forwarded-For' => '192.0.2.1', Cookie => 'a=b']);
        is $answer->{status}, 200, "$name: the token is used";

        my $request = request_for($answer, $imds);
        is_deeply { form($request->{query}) }, {
            'api-version' => '2018-02-01', resource => RESOURCE,
            $CHOICE{$name}[1]->%*,
        }, 'the identity is chosen by the right name';
        is "$request->{method} $request->{path}",
            'GET /metadata/identity/oauth2/token', 'at the right place';
        is $request->{header}{metadata}, 'true', 'as IMDS wants it';
        is_deeply [sort keys $request->{header}->%*],
            [qw(accept host metadata user-agent)],
            'and no header is of another origin';
    }

    is $imds->count, keys %CHOICE, 'there was one request for each';
    is $proxy->count, 0, 'and no proxy was asked';
    $gateway->stop;
};


subtest 'App Service' => sub {
    my $imds = imds();
    my $proxy = proxy();
    my $app_service = app_service(secret => 'an/identity+header');
    my $gateway = gateway(all_choices(),
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
        endpoint('App Service', $app_service),
        map { $_ => $proxy->url } PROXIES->@*);

    for my $name (sort keys %CHOICE) {
        my $answer = request($gateway->port('gateway'), GET => "/$name");
        is $answer->{status}, 200, "$name: the token is used";

        my $request = request_for($answer, $app_service);
        is_deeply { form($request->{query}) }, {
            'api-version' => '2019-08-01', resource => RESOURCE,
            $CHOICE{$name}[2]->%*,
        }, 'the identity is chosen by the right name';
        is "$request->{method} $request->{path}", 'GET /msi/token',
            'at the endpoint';
        is $request->{header}{'x-identity-header'}, 'an/identity+header',
            'with its header';
        is_deeply [sort keys $request->{header}->%*],
            [qw(accept host user-agent x-identity-header)],
            'and no header is of another origin';
    }

    is $app_service->count, keys %CHOICE, 'there was one request for each';
    is $imds->count, 0, 'none went to IMDS';
    is $proxy->count, 0, 'and no proxy was asked';
    $gateway->stop;
};


subtest 'Azure ML' => sub {
    my $imds = imds();
    my $azure_ml = azure_ml(secret => 'an/identity+header');
    my $gateway = gateway(all_choices(),
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
        DEFAULT_IDENTITY_CLIENT_ID => OTHER,
        endpoint('Azure ML', $azure_ml));
    my %id = (system => OTHER, client => GUID);

    for my $name (sort keys %id) {
        my $answer = request($gateway->port('gateway'), GET => "/$name");
        is $answer->{status}, 200, "$name: the token is used";
        my $seconds = $answer->{header}{'x-expires-in'};
        ok $seconds > 3500 && $seconds <= 3599,
            'until the date that the answer names';

        my $request = request_for($answer, $azure_ml);
        is_deeply { form($request->{query}) }, {
            'api-version' => '2017-09-01', resource => RESOURCE,
            clientid => $id{$name},
        }, 'the identity is chosen by the right name, or by default';
        is $request->{header}{secret}, 'an/identity+header',
            'with the secret';
        is_deeply [sort keys $request->{header}->%*],
            [qw(accept host metadata secret user-agent)],
            'and no header is of another origin';
    }

    fails_closed($gateway, 'Azure ML', qw(object resource));
    is $azure_ml->count, 2, 'there was one request for each that can be';
    is $imds->count, 0, 'and none went to IMDS';
    $gateway->stop;
};


subtest 'Cloud Shell' => sub {
    my $imds = imds();
    my $cloud_shell = cloud_shell();
    my $gateway = gateway(all_choices(),
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
        endpoint('Cloud Shell', $cloud_shell));

    my $answer = request($gateway->port('gateway'), GET => '/system');
    is $answer->{status}, 200, 'the token is used';
    my $request = request_for($answer, $cloud_shell);
    is "$request->{method} $request->{target}", 'POST /msi/token',
        'it is asked by a POST';
    is_deeply { form($request->{body}) }, { resource => RESOURCE },
        'whose form has the resource alone';
    is_deeply [sort keys $request->{header}->%*],
        [qw(accept content-length content-type host metadata user-agent)],
        'and no header is of another origin';

    fails_closed($gateway, 'Cloud Shell', qw(client object resource));
    is $cloud_shell->count, 1, 'and nothing is asked for these';
    is $imds->count, 0, 'nor is IMDS';
    $gateway->stop;
};


subtest 'App Service takes both variables' => sub {
    for my $missing (qw(IDENTITY_ENDPOINT IDENTITY_HEADER)) {
        my $imds = imds();
        my $app_service = app_service();
        my $gateway = gateway(location('system', ''),
            AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
            IDENTITY_ENDPOINT => $app_service->url,
            IDENTITY_HEADER => 'identity-header', $missing => '');

        is request($gateway->port('gateway'), GET => '/system')->{status},
            200, "without $missing there is a token";
        is $imds->count, 1, 'from IMDS';
        is $app_service->count, 0, 'alone';
        $gateway->stop;
    }
};


subtest 'a query that the endpoint has already' => sub {
    my $app_service = app_service();
    my $gateway = gateway(location('system', ''),
        IDENTITY_ENDPOINT => $app_service->url . '/token?first=1',
        IDENTITY_HEADER => 'identity-header');

    request($gateway->port('gateway'), GET => '/system');
    my ($request) = $app_service->requests;
    is_deeply { form($request->{query}) }, { first => 1,
        'api-version' => '2019-08-01', resource => RESOURCE }, 'is kept';
    $gateway->stop;
};


subtest 'AZURE_POD_IDENTITY_AUTHORITY_HOST' => sub {
    for my $end ('', '/') {
        my $imds = imds();
        my $gateway = gateway(location('system', ''),
            AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url . $end);

        request($gateway->port('gateway'), GET => '/system');
        my ($request) = $imds->requests;
        is $request->{path}, '/metadata/identity/oauth2/token',
            "ends in '$end' and the path stays the same";
        $gateway->stop;
    }
};


subtest 'the resource is the scope without its end' => sub {
    my %resource = (
        'https://ai.azure.com/.default' => 'https://ai.azure.com',
        # an audience with a slash at its end has two in the scope
        'https://example.com//.default' => 'https://example.com/',
        'api://a.b~c/.default' => 'api://a.b~c',
    );

    for my $scope (sort keys %resource) {
        my $imds = imds();
        my $gateway = gateway(location('scope', '', "aoai_aad_scope $scope;"),
            AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url);

        request($gateway->port('gateway'), GET => '/scope');
        my ($request) = $imds->requests;
        is { form($request->{query}) }->{resource}, $resource{$scope}, $scope;
        $gateway->stop;
    }
};


# a token that says nothing by itself: the answer's own words count
for my $case (
    ['strings', expires_in => '1800', expires_on => '' . (time + 1800)],
    ['numbers', expires_in => 1800, expires_on => time + 1800],
    ['one string, from now', expires_in => '1800', expires_on => undef],
    ['one number, from now', expires_in => 1800, expires_on => undef],
    ['one string, a time', expires_in => undef,
        expires_on => '' . (time + 1800)],
    ['one number, a time', expires_in => undef, expires_on => time + 1800],
    ['a clock that differs', expires_in => 1800, expires_on => time - 1800],
    ['no token type', expires_in => 1800, token_type => undef],
) {
    my ($name, %answer) = @$case;
    my $imds = imds(access_token => 'opaque', %answer);
    my $gateway = gateway(location('system', ''),
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url);

    my $answer = request($gateway->port('gateway'), GET => '/system');
    is $answer->{status}, 200, "expiry in $name: accepted";
    is token($answer), 'opaque', 'and the token is used';
    my $seconds = $answer->{header}{'x-expires-in'};
    ok $seconds > 1740 && $seconds <= 1800, 'as long as it says';
    $gateway->stop;
}


subtest 'redirects' => sub {
    my $elsewhere = imds();

    for my $source ('IMDS', 'App Service', 'Azure ML', 'Cloud Shell') {
        my $server = Test::Gateway::Server->new(handler => sub (@) {
            return [302, [Location => $elsewhere->url
                . '/metadata/identity/oauth2/token']];
        });
        my $gateway = gateway(location('system', ''),
            endpoint($source, $server));

        is request($gateway->port('gateway'), GET => '/system')->{status},
            503, "$source: a redirect is no token";
        ok $gateway->wait_for_log(qr/managed_identity failed: .*status 302/),
            'the log says so';
        is $elsewhere->count, 0, 'and it is not followed';
        $gateway->stop;
    }
};


# what a source answers => the words that the log has for it
my %unknown = (error => 'invalid_request', error_description =>
    "Identity not found\r\nTrace: 1");

for my $refusal (
    ['IMDS', 'system', 400, \%unknown, 'unavailable',
        'no system-assigned identity', 'enable it', 'client_id=',
        'IMDS: status 400, invalid_request: Identity not found'],
    ['IMDS', 'object', 400, \%unknown, 'unavailable',
        'no such identity', 'assign it', 'Identity not found'],
    ['IMDS', 'system', 403, { error => 'forbidden' }, 'failed',
        'IMDS: status 403, forbidden'],
    ['IMDS', 'system', 404, {}, 'failed', 'IMDS: status 404'],
    ['IMDS', 'system', 410, {}, 'failed', 'IMDS: status 410'],
    ['IMDS', 'system', 429, { error => 'too_many' }, 'failed',
        'IMDS: status 429, too_many'],
    ['IMDS', 'system', 500, { error => 'unknown' }, 'failed',
        'IMDS: status 500, unknown'],
    ['App Service', 'system', 500, { statusCode => 500, message => 'None',
        correlationId => 'an-id' }, 'failed', 'App Service: status 500: None',
        'has the app a system-assigned identity?', 'correlation id an-id'],
    ['App Service', 'client', 400, { statusCode => 400, message => 'Bad' },
        'failed', 'App Service: status 400: Bad',
        'has the app this user-assigned identity?'],
    # a service that repeats the secret that it was sent
    ['App Service', 'system', 401, { message => 'Not an/identity+header' },
        'failed', 'secret'],
) {
    my ($source, $choice, $status, $answer, @words) = @$refusal;

    subtest "$source: $status for $choice" => sub {
        my $json = JSON::PP->new->encode($answer);
        my $server = Test::Gateway::Server->new(handler => sub (@) {
            return [$status, ['Content-Type' => 'application/json'], $json];
        });
        my $gateway = gateway(location($choice, $CHOICE{$choice}[0]),
            endpoint($source, $server));

        is request($gateway->port('gateway'), GET => "/$choice")->{status},
            503, 'there is no token';
        my @lines = $gateway->log_lines(qr/\[error\]/);
        is @lines, 1, 'the log has one line';
        like $lines[0], qr/\Q$_\E/, "it says: $_" for @words;
        unlike $gateway->log, qr/identity\+header/, 'and no secret';
        $gateway->stop;
    };
}

done_testing;


# A location for an identity. Its answer tells how long the token lives.
sub location ($name, $parameters, $more = '') {
    return <<"END";
        location /$name {
            aoai_aad on;
            aoai_aad_credential managed_identity $parameters;
            aoai_aad_allowed_hosts 127.0.0.1;
            $more
            proxy_pass ${\$openai->url};
            add_header X-Expires-In \$aoai_aad_expires_in;
        }
END
}


sub all_choices () {
    return join '', map { location($_, $CHOICE{$_}[0]) } sort keys %CHOICE;
}


# The variables that make a server the source of tokens.
sub endpoint ($source, $server) {
    return (AZURE_POD_IDENTITY_AUTHORITY_HOST => $server->url)
        if $source eq 'IMDS';
    return (MSI_ENDPOINT => $server->url . '/msi/token',
        $source eq 'Azure ML' ? (MSI_SECRET => 'an/identity+header') : ())
        if $source =~ /^(?:Azure ML|Cloud Shell)$/;
    return (IDENTITY_ENDPOINT => $server->url . '/msi/token',
        IDENTITY_HEADER => 'an/identity+header');
}


# Starts a gateway with these variables, some of which its workers keep.
sub gateway ($locations, %env) {
    my $main = join "\n", map { "env $_;" } PROXIES->@*;
    return Test::Gateway->new(env => \%env, main => $main,
        http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;
$locations
    }
END
}


# Checks that these locations get no token, as the source cannot choose.
sub fails_closed ($gateway, $source, @names) {
    for my $name (@names) {
        is request($gateway->port('gateway'), GET => "/$name")->{status},
            503, "$name: it is not asked for another identity";
        ok $gateway->wait_for_log(qr/\Q$source\E\ cannot\ choose\ an\ identity
            \ by\ \"${name}_id=/x), 'and the log says why';
    }
}


# Somebody who would see a request that takes the wrong way.
sub proxy () {
    return Test::Gateway::Server->new(handler => sub (@) { [502] });
}


# The token that the upstream got.
sub token ($answer) {
    my %headers = map { lc $_->[0] => $_->[1] }
        ($answer->{json}{headers} // [])->@*;
    return ($headers{authorization} // '') =~ s/^Bearer //r;
}


# The request that this token was the answer to.
sub request_for ($answer, $server) {
    my (undef, $payload) = split /\./, token($answer);
    my $claims = decode_json(decode_base64url($payload // 'e30'));
    my ($number) = ($claims->{jti} // '') =~ /^token-(\d+)$/;
    my ($request) = grep { $_->{number} == ($number // 0) }
        $server->requests;
    return $request // {};
}
