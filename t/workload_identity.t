# Workload identity: a pod's token file as the app's assertion, the proxy of
# an AKS identity binding, and that a pod doesn't go on to its node's identity.
# The numbers are those of the contract's tables.

use v5.36;

use File::Temp;
use JSON::PP ();
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure
    qw(entra form imds jwt openai CLIENT_ID OBJECT_ID TENANT_ID);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Client 'request';
use Test::Gateway::Server;
use Test::Gateway::System qw(read_file wait_until write_file);

use constant {
    SCOPE => 'https://cognitiveservices.azure.com/.default',
    TYPE  => 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    PATH  => '/' . TENANT_ID . '/oauth2/v2.0/token',
    NAME  => 'proxy.internal',
};

my $openai = openai();
my $assertion = jwt(aud => 'api://AzureADTokenExchange', jti => 'first');
my $second = jwt(aud => 'api://AzureADTokenExchange', jti => 'second');
my $ca = certificate()->{ca};

# as the webhook of AKS makes a pod
my %POD = (
    AZURE_TENANT_ID            => TENANT_ID,
    AZURE_CLIENT_ID            => CLIENT_ID,
    AZURE_FEDERATED_TOKEN_FILE => '%%DIR%%/token',
);


subtest '2.2 the request' => sub {
    my ($gateway, %part) = gateway({ env => \%POD, log_level => 'debug' });

    my $answer = request($gateway->port('gateway'), GET => '/',
        headers => ['X-Forwarded-For' => '192.0.2.1', Cookie => 'a=b']);
    is $answer->{header}{'x-credential'}, 'workload_identity',
        'a pod has a token, of the first step by default';
    is $part{imds}->count, 0, 'and the node\'s identity is not asked for';

    my ($request) = $part{entra}->requests;
    is "$request->{method} $request->{target}", 'POST ' . PATH,
        'it is a POST to the tenant';
    is_deeply { form($request->{body}) }, {
        grant_type => 'client_credentials', client_id => CLIENT_ID,
        client_assertion_type => TYPE, client_assertion => $assertion,
        scope => SCOPE,
    }, 'the form has what it must';
    is_deeply [sort keys $request->{header}->%*],
        [qw(accept client-request-id content-length content-type host
            user-agent)], 'no header is of another origin';
    unlike read_file($_), qr/\Q$assertion/, 'the assertion is not in the log'
        for glob $gateway->dir . '/*.log';
    $gateway->stop;
};


for my $name (sort keys %POD) {
    for my $value (undef, '') {
        my ($gateway, %part) = gateway(
            { env => { %POD, $name => $value } });

        is credential($gateway), 'managed_identity', "2.1 $name is "
            . (defined $value ? 'empty' : 'not set') . ': the next is asked';
        is $part{entra}->count, 0, 'without a word to the authority';
        $gateway->stop;
    }
}


subtest '2.1 what is not set is in the log' => sub {
    my ($gateway) = gateway({ chain => ['workload_identity'],
        env => { AZURE_CLIENT_ID => CLIENT_ID } });

    is credential($gateway), '', 'there is no token';
    like failure($gateway), qr/workload_identity\ is\ unavailable:
        \ AZURE_TENANT_ID\ is\ not\ set,\ AZURE_FEDERATED_TOKEN_FILE\ is\ not
        \ set/x, 'by name';
    $gateway->stop;
};


# in a pod, what is wrong is no reason to take the node's identity
for my $case (
    ['2.1 AZURE_CLIENT_ID is a placeholder', { AZURE_CLIENT_ID => '<id>' },
        $assertion, 'AZURE_CLIENT_ID is not a GUID'],
    ['2.1 AZURE_TENANT_ID is a placeholder', { AZURE_TENANT_ID => 'common' },
        $assertion, "AZURE_TENANT_ID is not a tenant's GUID or domain name"],
    ['2.1 AZURE_FEDERATED_TOKEN_FILE is relative',
        { AZURE_FEDERATED_TOKEN_FILE => 'token' }, $assertion,
        'AZURE_FEDERATED_TOKEN_FILE is not an absolute file name'],
    ['2.2 empty file', {}, "\n", '/token" is empty, it must have the service '
        . 'account\'s token'],
    ['2.2 file unreadable', { AZURE_FEDERATED_TOKEN_FILE => '/no/such/file' },
        $assertion, '/no/such/file": No such file or directory; has the pod '
        . 'the label "azure.workload.identity/use"'],
    ['2.2 file without a token', {}, "secret-word\n",
        '/token" has something else than one token'],
    ['2.2 file with two tokens', {}, "$assertion\n$second\n",
        '/token" has something else than one token'],
    ['2.2 file too large', {}, "a.b.$assertion" x 500,
        '/token" is larger than 65536 bytes'],
) {
    my ($name, $env, $content, $words) = @$case;
    my ($gateway, %part) = gateway({ env => { %POD, %$env },
        files => { token => $content }, log_level => 'debug' });

    is credential($gateway), '', "$name: no token";
    my $line = failure($gateway);
    like $line, qr/workload_identity failed: .*\Q$words/, 'the log says why';
    is $part{imds}->count + $part{entra}->count, 0, 'and nobody was asked';
    unlike $gateway->log, qr/secret-word|\Q$assertion/,
        'nor is the file in the log';
    $gateway->stop;
}


subtest '2.2 token endpoint said no' => sub {
    my ($gateway, %part) = gateway({ env => \%POD });
    $part{entra}->mode(401);
    $gateway->stop;
    $gateway->start;

    is credential($gateway), '', 'there is no token';
    like failure($gateway), qr/workload_identity failed: .* status 401/,
        'the log says so';
    is $part{imds}->count, 0, 'and the node\'s identity is not asked for';
    $gateway->stop;
};


subtest '2.2 white space is trimmed' => sub {
    my ($gateway, %part) = gateway({ env => \%POD,
        files => { token => "\r\n $assertion\t\n\n" } });

    is credential($gateway), 'workload_identity', 'there is a token';
    is assertion($part{entra}), $assertion, 'for the assertion alone';
    $gateway->stop;
};


subtest '2.2 re-read file' => sub {
    my ($gateway, %part) = gateway({ env => \%POD,
        token => { life => 6, refresh_in => 2 } });

    is credential($gateway), 'workload_identity', 'there is a token';
    write_file($gateway->dir . '/token', "$second\n");
    ok wait_until { assertion($part{entra}) eq $second } 15;
    is scalar(grep { /\[error\]/ } split /\n/, $gateway->log), 0,
        'the next request has what is in the file then';
    $gateway->stop;
};


subtest '2.2 file that the workers may not read' => sub {
    plan skip_all => 'needs root' if $> != 0;

    my $group = getgrgid((getpwnam 'nobody')[3]);
    my $folder = File::Temp->newdir;
    chmod 0755, $folder;
    write_file("$folder/token", $assertion, 0600);
    my ($gateway, %part) = gateway({ main => "user nobody $group;",
        env => { %POD, AZURE_FEDERATED_TOKEN_FILE => "$folder/token" } });

    is credential($gateway), '', 'there is no token';
    like failure($gateway), qr/workload_identity\ failed:
        .*\ Permission\ denied;.*\ may\ the\ user\ of\ nginx's\ workers
        \ read\ the\ file/x, 'the log has the mend';
    is $part{imds}->count, 0, 'the node\'s identity is not asked for';
    $gateway->stop;
};


subtest 'values by parameter are before those by variable' => sub {
    my ($gateway, %part) = gateway({
        env => { AZURE_TENANT_ID => '<tenant>', AZURE_CLIENT_ID => OBJECT_ID,
            AZURE_FEDERATED_TOKEN_FILE => '/no/such/file' },
        chain => ['workload_identity tenant_id=' . TENANT_ID . ' client_id='
            . CLIENT_ID . ' token_file=token'] });

    is credential($gateway), 'workload_identity', 'there is a token';
    my ($request) = $part{entra}->requests;
    is $request->{path}, PATH, 'of the tenant';
    is { form($request->{body}) }->{client_id}, CLIENT_ID, 'for the client';
    is assertion($part{entra}), $assertion,
        'with the file beside the configuration';
    $gateway->stop;
};


# AKS identity bindings. The proxy has a certificate for a name of its own.
for my $case (
    ['AZURE_KUBERNETES_CA_FILE', '', {
        AZURE_KUBERNETES_CA_FILE => '%%DIR%%/ca.pem' }],
    ['AZURE_KUBERNETES_CA_DATA', '/', {
        AZURE_KUBERNETES_CA_DATA => read_file($ca) }],
    ['AZURE_KUBERNETES_TOKEN_PROXY with a path', '/a/path/', {
        AZURE_KUBERNETES_CA_FILE => '%%DIR%%/ca.pem' }],
) {
    my ($name, $path, $env) = @$case;

    subtest "2.3 $name" => sub {
        my $egress = Test::Gateway::Server->new(handler => sub (@) { [502] });
        my $proxy = proxy('other_name', $path);
        my ($gateway, %part) = gateway({ env => { %POD, %$env,
            AZURE_KUBERNETES_TOKEN_PROXY => $proxy->url . $path,
            AZURE_KUBERNETES_SNI_NAME => NAME },
            more => "aoai_aad_proxy ${\$egress->url};" });

        is credential($gateway), 'workload_identity', 'there is a token';
        is $part{entra}->count, 0, 'for which the authority is not asked';
        is $egress->count, 0, 'nor is the egress proxy';

        my ($request) = $proxy->requests;
        is $request->{server_name}, NAME, 'the server is asked for by name';
        is $request->{header}{host}, $proxy->host_port,
            'the host is that of the URL';
        is "$request->{method} $request->{target}",
            'POST ' . $path =~ s{/$}{}r . PATH, 'the path is kept';
        is assertion($proxy), $assertion, 'the assertion is sent';
        is_deeply [sort keys $request->{header}->%*],
            [qw(accept client-request-id content-length content-type host
                user-agent)], 'and no header is of another origin';
        $gateway->stop;
    };
}


subtest '2.3 no AZURE_KUBERNETES_SNI_NAME' => sub {
    my $proxy = proxy('good');
    my ($gateway, %part) = gateway({ env => binding($proxy,
        AZURE_KUBERNETES_SNI_NAME => '') });

    is credential($gateway), 'workload_identity',
        'the certificate is for the host of the URL';
    my ($request) = $proxy->requests;
    is $request->{server_name}, undef, 'which has no name here';
    $gateway->stop;
};


# who is not the proxy gets nothing
for my $case (
    ['its certificate is of another CA', 'other_ca', {
        AZURE_KUBERNETES_SNI_NAME => '' }, 'certificate'],
    ['its certificate has another name', 'good', {}, NAME],
    ['no CA is given, the system\'s are taken', 'other_name', {
        AZURE_KUBERNETES_CA_FILE => '' }, 'certificate'],
    ['it is not there', undef, {}, 'onnect'],
) {
    my ($name, $kind, $env, $words) = @$case;

    subtest "2.3 $name" => sub {
        my $proxy = $kind && proxy($kind);
        my ($gateway, %part) = gateway({
            env => binding($proxy, %$env),
            # by which the authority is trusted, not the proxy
            more => "aoai_aad_ssl_trusted_certificate $ca;" });

        is credential($gateway), '', 'there is no token';
        my $line = failure($gateway);
        like $line, qr{workload_identity\ failed:
            \ AZURE_KUBERNETES_TOKEN_PROXY:\ https://127\.0\.0\.1:
            .*\Q$words}x, 'the log says why';
        unlike $line, qr/aoai_aad_ssl_trusted_certificate/,
            'and names no directive that does not help';
        is $part{entra}->count + $part{imds}->count
            + ($proxy ? $proxy->count : 0), 0, 'nothing was sent to anybody';
        $gateway->stop;
    };
}


subtest '2.3 CA file re-read' => sub {
    my $proxy = proxy('other_name', '', life => 6, refresh_in => 1);
    my ($gateway, %part) = gateway({ env => binding($proxy) });
    my $file = $gateway->dir . '/ca.pem';

    is credential($gateway), 'workload_identity', 'there is a token';

    write_file($file, '');
    my $count = $proxy->count;
    ok $proxy->wait_for($count + 1, 15), 'an empty file keeps the last CA';

    write_file($file, 'no certificate');
    ok $gateway->wait_for_log(qr/ca\.pem" has no certificate in PEM form/, 15),
        'a wrong one is an error';
    write_file($file, '');
    $count = $proxy->count;
    ok $proxy->wait_for($count + 1, 60), 'and has not taken its place';

    write_file($file, read_file(certificate('other_ca')->{ca}));
    ok $gateway->wait_for_log(qr/AZURE_KUBERNETES_TOKEN_PROXY: https:/, 60),
        'another CA is taken at once';
    $gateway->stop;
};


subtest '2.3 empty CA file before any other' => sub {
    my ($gateway, %part) = gateway({ env => binding(undef),
        files => { 'ca.pem' => '' } });

    is credential($gateway), '', 'there is no token';
    like failure($gateway), qr{failed:\ AZURE_KUBERNETES_CA_FILE:\ .*
        /ca\.pem"\ is\ empty}x, 'the log says why';
    $gateway->stop;
};


# settings that are wrong stop the chain, but not nginx
my $somewhere = 'https://127.0.0.1:%%PORT_nobody%%';

for my $case (
    ['TOKEN_PROXY without TLS', { TOKEN_PROXY => 'http://127.0.0.1:1' },
        'AZURE_KUBERNETES_TOKEN_PROXY is wrong, it must be an https:// URL'],
    ['TOKEN_PROXY with a user',
        { TOKEN_PROXY => 'https://me:pass-word@127.0.0.1:1' },
        'without user, query and fragment'],
    ['TOKEN_PROXY with a query', { TOKEN_PROXY => "$somewhere/?a=b" },
        'without user, query and fragment'],
    ['TOKEN_PROXY with a fragment', { TOKEN_PROXY => "$somewhere/#a" },
        'without user, query and fragment'],
    ['CA_FILE and CA_DATA', { TOKEN_PROXY => $somewhere,
        CA_FILE => '/ca.pem', CA_DATA => 'pem' },
        'AZURE_KUBERNETES_CA_FILE and AZURE_KUBERNETES_CA_DATA are both set'],
    ['CA_DATA that is no PEM', { TOKEN_PROXY => $somewhere, CA_DATA => 'x' },
        '"AZURE_KUBERNETES_CA_DATA" has no certificate in PEM form'],
    ['CA_FILE that is not there', { TOKEN_PROXY => $somewhere,
        CA_FILE => '/no/such/ca' }, '"/no/such/ca": No such file'],
    ['SNI_NAME that is no name', { TOKEN_PROXY => $somewhere,
        SNI_NAME => 'a/b' }, 'AZURE_KUBERNETES_SNI_NAME is not a host name'],
    (map { ["$_ without TOKEN_PROXY", { $_ => 'a' },
        "AZURE_KUBERNETES_$_ is set, but AZURE_KUBERNETES_TOKEN_PROXY is not"
    ] } qw(SNI_NAME CA_DATA)),
    ['CA_FILE without TOKEN_PROXY', { CA_FILE => '/a' },
        'AZURE_KUBERNETES_CA_FILE is set, but AZURE_KUBERNETES_TOKEN_PROXY '
        . 'is not'],
) {
    my ($name, $settings, $words) = @$case;
    my %env = map { ("AZURE_KUBERNETES_$_" => $settings->{$_}) }
        keys %$settings;
    my ($gateway, %part) = gateway({ env => { %POD, %env } });

    is credential($gateway), '', "2.3 $name: no token";
    like failure($gateway), qr/workload_identity failed: .*\Q$words/,
        'the log says why';
    is $part{imds}->count + $part{entra}->count, 0, 'and nobody was asked';
    unlike $gateway->log, qr/pass-word/, 'nor is a password told';
    $gateway->stop;
}


# the log has the code, its words and what to do
for my $case (
    [70021 => 'No matching federated identity record found',
        'compare issuer, subject and audience'],
    [700213 => 'No matching federated identity record found for presented '
        . 'assertion subject', 'has this subject'],
    [700211 => 'No matching federated identity record found for presented '
        . 'assertion issuer', 'has this issuer'],
    [700212 => 'No matching federated identity record found for presented '
        . 'assertion audience', 'has this audience'],
    [700024 => 'Client assertion is not within its valid time range',
        'clock'],
    [90061 => 'Request to External OIDC endpoint failed', 'issuer\'s keys'],
    [700016 => 'Application was not found in the directory', 'client id'],
) {
    my ($code, $words, $hint) = @$case;
    my $body = JSON::PP->new->encode({ error => 'invalid_client',
        error_description => "AADSTS$code: $words. Trace ID: x",
        error_codes => [$code] });
    my ($gateway, %part) = gateway({ env => \%POD, token => {
        handler => sub (@) { [401, ['Content-Type' => 'application/json'],
            $body] } } });

    is credential($gateway), '', "2.4 AADSTS$code: no token";
    like failure($gateway), qr/workload_identity\ failed:
        .*AADSTS$code:\ \Q$words\E.*\Q$hint/x,
        'the log has the words and what to do';
    is $part{imds}->count, 0, 'the node\'s identity is not asked for';
    $gateway->stop;
}

done_testing;


# An authority for AKS: with a certificate, and this path in front of its own.
sub proxy ($kind, $path = '', %token) {
    my $prefix = $path =~ s{/$}{}r;
    return entra(client_secret => '', tls => certificate($kind), %token,
        handler => sub ($request, $reply, $usual) {
            $request->{path} =~ s{^\Q$prefix}{};
            return $usual->();
        });
}


# The variables of a pod with an identity binding.
sub binding ($proxy, %env) {
    return { %POD, AZURE_KUBERNETES_TOKEN_PROXY => $proxy ? $proxy->url
        : 'https://127.0.0.1:%%PORT_nobody%%', AZURE_KUBERNETES_SNI_NAME =>
        NAME, AZURE_KUBERNETES_CA_FILE => '%%DIR%%/ca.pem', %env };
}


# Starts a gateway whose only location has a chain, the default one unless
# chain says otherwise; token: what the authority is like; more: directives;
# the rest is for Test::Gateway. Returns it with the parts, entra and imds.
sub gateway ($args) {
    my %args = %$args;
    my %part = (imds => imds(),
        entra => entra(tls => 0, client_secret => '',
            (delete $args{token} // {})->%*));
    my %http = map { $_ => delete $args{$_} } qw(chain more);
    my %env = (AZURE_POD_IDENTITY_AUTHORITY_HOST => $part{imds}->url,
        AZURE_AUTHORITY_HOST => $part{entra}->url . '/',
        (delete $args{env})->%*);
    my %files = (token => "$assertion\n", 'ca.pem' => read_file($ca),
        (delete $args{files} // {})->%*);

    return Test::Gateway->new(%args, env => \%env, files => \%files,
        http => http(\%part, %http))->start, %part;
}


sub http ($part, %http) {
    my $chain = join "\n            ",
        map { "aoai_aad_credential $_;" } ($http{chain} // [])->@*;
    my $more = $http{more} // '';

    return <<"END";
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            $chain
            aoai_aad_allowed_hosts 127.0.0.1;
            $more
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


# The first line of the log about a failure.
sub failure ($gateway) {
    my ($line) = $gateway->log_lines(qr/\[error\]/);
    return $line // '';
}


# The assertion of the last request.
sub assertion ($server) {
    my $request = ($server->requests)[-1] // return '';
    return { form($request->{body}) }->{client_assertion} // '';
}
