# A managed identity as an app's client assertion: what either half is asked,
# that both tokens live as long as they do, and which half the log blames.
# The numbers are those of the contract's tables.

use v5.36;

use JSON::PP ();
use MIME::Base64 'decode_base64url';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure
    qw(app_service entra form imds openai CLIENT_ID TENANT_ID);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'wait_until';

use constant {
    IDENTITY => '44444444-dddd-4ddd-8ddd-444444444444',
    TYPE => 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    PATH => '/' . TENANT_ID . '/oauth2/v2.0/token',
};

my $openai = openai();
my $STEP = 'federated_managed_identity tenant_id=' . TENANT_ID
    . ' client_id=' . CLIENT_ID . ' identity_client_id=' . IDENTITY;


subtest '7 both requests' => sub {
    my ($gateway, %part) = gateway(log_level => 'debug');

    is credential($gateway), 'federated_managed_identity',
        'there is a token';

    my ($request) = $part{imds}->requests;
    is "$request->{method} $request->{path}",
        'GET /metadata/identity/oauth2/token', 'the machine is asked';
    is_deeply { form($request->{query}) }, {
        'api-version' => '2018-02-01', client_id => IDENTITY,
        resource => 'api://AzureADTokenExchange',
    }, 'for the identity\'s token for the exchange audience';

    ($request) = $part{entra}->requests;
    is name_of($request), 'token-1', 'the machine\'s token';
    my $assertion = { form($request->{body}) }->{client_assertion};
    is "$request->{method} $request->{target}", 'POST ' . PATH,
        'the tenant is asked';
    is_deeply { form($request->{body}) }, {
        grant_type => 'client_credentials', client_id => CLIENT_ID,
        client_assertion_type => TYPE, client_assertion => $assertion,
        scope => 'https://cognitiveservices.azure.com/.default',
    }, 'is the assertion by which the app\'s is asked for';

    unlike $gateway->log, qr/\Q$assertion/, 'which is not in the log';
    $gateway->stop;
};


# the machine refuses, so that nobody of the cloud is asked
for my $case (
    ['Public', 'login.microsoftonline.com', 'api://AzureADTokenExchange'],
    ['US Government', 'login.microsoftonline.us',
        'api://AzureADTokenExchangeUSGov'],
    ['China (21Vianet)', 'login.chinacloudapi.cn',
        'api://AzureADTokenExchangeChina'],
) {
    my ($cloud, $host, $audience) = @$case;
    my $imds = imds(handler => sub (@) { [403, [], '{}'] });
    my ($gateway, %part) = gateway(imds => $imds,
        authority => "https://$host/",
        # should anybody ask it nevertheless, the way ends here
        more => 'aoai_aad_proxy http://127.0.0.1:%%PORT_nobody%%;');

    is credential($gateway), '', "7 $cloud: no token";
    my ($request) = $imds->requests;
    is { form($request->{query}) }->{resource}, $audience,
        'the audience is that of the cloud';
    $gateway->stop;
}


subtest '7 App Service' => sub {
    my $app_service = app_service();
    my ($gateway, %part) = gateway(env => {
        IDENTITY_ENDPOINT => $app_service->url . '/msi/token',
        IDENTITY_HEADER => 'identity-header' });

    is credential($gateway), 'federated_managed_identity',
        'there is a token';
    is $part{imds}->count, 0, 'for which IMDS was not asked';
    my ($request) = $app_service->requests;
    is_deeply { form($request->{query}) }, {
        'api-version' => '2019-08-01', client_id => IDENTITY,
        resource => 'api://AzureADTokenExchange',
    }, 'but App Service, in its own words';
    $gateway->stop;
};


subtest '7 both tokens are cached' => sub {
    my ($gateway, %part) = gateway(token => { life => 6, refresh_in => 1 });

    is credential($gateway), 'federated_managed_identity',
        'there is a token';
    ok $part{entra}->wait_for(4, 30), 'the app\'s token is renewed';
    is $part{imds}->count, 1, 'with the machine\'s, which lives longer';
    is_deeply [grep { $_ ne 'token-1' } map { name_of($_) }
        $part{entra}->requests], [], 'and is sent each time';
    $gateway->stop;
};


subtest '7 the machine\'s token near its end' => sub {
    my ($gateway, %part) = gateway(imds => imds(life => 200),
        token => { life => 6, refresh_in => 1 });

    is credential($gateway), 'federated_managed_identity',
        'there is a token';
    ok $part{entra}->wait_for(3, 30), 'the app\'s token is renewed';
    cmp_ok $part{imds}->count, '>=', 3, 'and so is the machine\'s';
    is_deeply [(map { name_of($_) } $part{entra}->requests)[0 .. 2]],
        [qw(token-1 token-2 token-3)], 'each is used once';
    $gateway->stop;
};


# Entra ID refuses the assertion that is kept => it gets a new one, once
for my $case (
    [700211 => 'has this issuer'], [700212 => 'has this audience'],
    [700213 => 'has this subject'], [700229 => 'no app\'s token'],
    [700024 => 'clock'],
) {
    my ($code, $hint) = @$case;

    subtest "7 AADSTS$code" => sub {
        my $entra = refusing($code);
        my ($gateway, %part) = gateway(entra => $entra);

        is credential($gateway), 'federated_managed_identity',
            'there is a token';

        $entra->mode('first');
        ok $part{imds}->wait_for(2, 30), 'the machine gives another';
        ok wait_until { last_assertion($entra) eq 'token-2' } 5;
        is credential($gateway), 'federated_managed_identity',
            'which is sent in its place';
        is_deeply [$gateway->log_lines(qr/\[error\]/)], [],
            'and the log has no failure';

        $entra->mode('no');
        ok $gateway->wait_for_log(qr/\[error\]/, 30), 'two of them are one';
        my ($line) = $gateway->log_lines(qr/\[error\]/);
        my $url = $entra->url . PATH;
        like $line, qr/federated_managed_identity\ failed:\ \Q$url\E:
            .*AADSTS$code:.*\Q$hint/x,
            'the log has the half, the code, and what to do';
        $gateway->stop;
    };
}


for my $case (
    [700016 => 'no app with this client id is in the tenant'],
    [7000229 => 'create it there'],
) {
    my ($code, $hint) = @$case;

    subtest "7 AADSTS$code" => sub {
        my $entra = refusing($code);
        my ($gateway, %part) = gateway(entra => $entra);
        $entra->mode('no');
        $gateway->stop;
        $gateway->start;

        is credential($gateway), '', 'there is no token';
        my ($line) = $gateway->log_lines(qr/\[error\]/);
        like $line, qr/AADSTS$code:.*\Q$hint/, 'the log has what to do';
        $gateway->stop;
    };
}


# what the machine says => whether the next step is asked
for my $case (
    ['nobody is there', 1, undef, 'no managed identity endpoint here'],
    ['it has no such identity', 1, [400, [], '{"error":"invalid_request"}'],
        'has no such identity; assign it to the machine'],
    ['it refuses', 0, [403, [], '{"error":"forbidden"}'],
        'IMDS: status 403, forbidden'],
    ['its answer has no token', 0, [200, [], '{}'],
        'IMDS: the answer has no access token'],
) {
    my ($name, $goes_on, $answer, $words) = @$case;

    subtest "7 the machine: $name" => sub {
        my ($gateway, %part) = gateway(
            env => { !$answer ? (AZURE_POD_IDENTITY_AUTHORITY_HOST =>
                'http://127.0.0.1:%%PORT_nobody%%') : () },
            imds => imds(handler => sub (@) { $answer }),
            chain => [$STEP, 'azure_cli path=/no/such/az']);

        is credential($gateway), '', 'there is no token';
        my ($line) = $gateway->log_lines(qr/\[error\]/);
        my $verdict = $goes_on ? 'is unavailable' : 'failed';
        like $line, qr/federated_managed_identity\ \Q$verdict\E:
            \ managed_identity:\ .*\Q$words/x, 'the log says which half';
        is $line =~ /; azure_cli/ ? 1 : 0, $goes_on,
            $goes_on ? 'the next step is asked' : 'the chain stops';
        is $part{entra}->count, 0, 'nobody asks for the app\'s token';
        $gateway->stop;
    };
}


subtest 'nginx -t' => sub {
    my %wrong = (
        '' => qr/needs "tenant_id="/,
        "tenant_id=${\TENANT_ID}" => qr/needs "client_id="/,
        "tenant_id=${\TENANT_ID} client_id=${\CLIENT_ID}" =>
            qr/needs "identity_client_id="/,
        'identity_client_id=me' => qr/"identity_client_id=me".*a GUID/,
        'secret=x' => qr/no parameter "secret".*identity_client_id/,
    );
    for my $parameters (sort keys %wrong) {
        my $check = Test::Gateway->new(http => http(
            chain => ["federated_managed_identity $parameters"]))->check;
        isnt $check->{status}, 0, "refused: '$parameters'";
        like $check->{output}, $wrong{$parameters}, 'and it says why';
    }
};

done_testing;


# An authority that refuses by a code: in mode "first" the machine's first
# token, in mode "no" all.
sub refusing ($code) {
    my $body = JSON::PP->new->encode({ error => 'invalid_client',
        error_codes => [$code], error_description =>
            "AADSTS$code: No matching federated identity record found." });

    return entra(tls => 0, client_secret => '', life => 6, refresh_in => 2,
        handler => sub ($request, $reply, $usual) {
            my $refuses = $request->{mode} eq 'no'
                || $request->{mode} eq 'first'
                && name_of($request) eq 'token-1';
            return $refuses ? [401, ['Content-Type' => 'application/json'],
                $body] : $usual->();
        });
}


# The name of the assertion in a request, as the machine gave it.
sub name_of ($request) {
    my %form = form($request->{body});
    my (undef, $payload) = split /\./, $form{client_assertion} // '';
    my $claims = eval { JSON::PP::decode_json(decode_base64url($payload)) };
    return $claims->{jti} // '';
}


sub last_assertion ($entra) {
    my $request = ($entra->requests)[-1] // return '';
    return name_of($request);
}


# Starts a gateway whose only location has a chain: this step, unless chain
# says otherwise. imds and entra: the two halves; token: what the app's tokens
# are like; authority: its host, if it's not entra; more: directives; the rest
# is for Test::Gateway. Returns it with the halves.
sub gateway (%args) {
    my %part = (imds => delete $args{imds} // imds(),
        entra => delete $args{entra} // entra(tls => 0, client_secret => '',
            (delete $args{token} // {})->%*));
    my %env = (AZURE_POD_IDENTITY_AUTHORITY_HOST => $part{imds}->url,
        (delete $args{env} // {})->%*);
    my $http = http(authority => delete $args{authority}
        // $part{entra}->url, chain => delete $args{chain} // [$STEP],
        more => delete $args{more});

    return Test::Gateway->new(%args, env => \%env, http => $http)->start,
        %part;
}


sub http (%args) {
    my $chain = join "\n            ",
        map { "aoai_aad_credential $_;" } $args{chain}->@*;
    my $authority = $args{authority}
        ? "aoai_aad_authority_host $args{authority};" : '';
    my $more = $args{more} // '';

    return <<"END";
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            $chain
            $authority
            $more
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Credential \$aoai_aad_credential;
        }
    }
END
}


# Which credential gave the token, '' if there is none.
sub credential ($gateway) {
    my $answer = request($gateway->port('gateway'), GET => '/');
    return $answer->{status} == 200 ? $answer->{header}{'x-credential'} : '';
}
