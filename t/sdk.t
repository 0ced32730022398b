# The whole path with real parts: the openai client, the gateway, a token
# server that is certified for it, and an upstream that verifies the token.
# Apps with a secret and with a certificate.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Certificates qw(app_certificate certificate);
use Test::Gateway::Client 'request';
use Test::Gateway::Node qw(end_node_servers node node_server);

my $certificate = certificate();

my $tenant = '11111111-1111-4111-8111-111111111111';
my $client = '22222222-2222-4222-8222-222222222222';
my $secret = 'p~a.s-s_w+o/r=d&100%';
my $app = '33333333-3333-4333-8333-333333333333';
my $app_certificate = app_certificate();


my $entra = node_server('entra.mjs', "--cert=$certificate->{certificate}",
    "--key=$certificate->{key}", "--tenant=$tenant", "--client-id=$client",
    "--client-secret=$secret", "--app-id=$app",
    "--app-certificate=$app_certificate->{certificate}");
my $openai = node_server('azure-openai.mjs', "--issuer=$entra->{issuer}",
    "--jwks=$entra->{jwks_uri}", "--cert=$certificate->{certificate}",
    "--key=$certificate->{key}");

my $http = <<"END";
    aoai_aad_authority_host https://localhost:$entra->{port};
    aoai_aad_ssl_trusted_certificate $certificate->{ca};
    aoai_aad_allowed_hosts localhost:$openai->{port};

    map \$http_upgrade \$connection_upgrade {
        default upgrade;
        ''      '';
    }

    server {
        listen 127.0.0.1:%%PORT_gateway%%;
        client_max_body_size 100m;

        location / {
            aoai_aad on;
            aoai_aad_credential client_secret tenant_id=$tenant
                client_id=$client secret_file=%%DIR%%/secret;

            proxy_pass https://localhost:$openai->{port};
            proxy_ssl_server_name on;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate $certificate->{ca};
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection \$connection_upgrade;
            proxy_buffering off;
            proxy_request_buffering off;
        }
    }
END

my $gateway = Test::Gateway->new(http => $http, workers => 2,
    files => { secret => "$secret\n" })->start;

for my $mode ('', 'realtime') {
    my ($status, $output) = client($gateway, $mode);
    is $status, 0, 'the client is content' . ($mode && ": $mode")
        or diag $output;
    note $output;
}

my @record = record();
my %tokens = map { ($_->{token_sha256} // 'none') => 1 } @record;
cmp_ok scalar @record, '>', 16, 'the requests went to the upstream';
is scalar keys %tokens, 1, 'all of them with the same token';
is requests_for_a_token(), 1, 'and the token was fetched once';

unlike $gateway->log, qr/\Q$secret\E/, 'no secret in the log';
$gateway->stop;


subtest 'a secret that is refused' => sub {
    my $gateway = Test::Gateway->new(http => $http,
        files => { secret => 'wrong' })->start;
    my ($status, $output) = client($gateway, 'unavailable');

    is $status, 0, 'the client is told what is missing' or diag $output;
    is record(), @record, 'nothing went upstream';
    like $gateway->log, qr/client_secret failed: .*invalid_client/,
        'the log says why';
    $gateway->stop;
};

subtest 'an app with a certificate' => sub {
    my $before = requests_for_a_token();
    my $locations = '';
    for my $chain (qw(off on)) {
        $locations .= <<"END";
        location /$chain/ {
            aoai_aad on;
            aoai_aad_credential client_certificate tenant_id=$tenant
                client_id=$app certificate=$app_certificate->{certificate}
                key=$app_certificate->{key} send_chain=$chain;
            proxy_pass https://localhost:$openai->{port}/openai/v1/;
        }
END
    }
    my $server = $http
        =~ s/(client_max_body_size.*?;\n).*/$1$locations    }\n/sr;
    my $gateway = Test::Gateway->new(http => $server)->start;

    for my $chain (qw(off on)) {
        is request($gateway->port('gateway'), GET => "/$chain/models")
            ->{status}, 200, "the upstream takes its token: send_chain=$chain";
    }
    is requests_for_a_token(), $before + 2, 'both of its own';

    my ($status, $output) = node({}, 'assertions.mjs',
        "--server=https://localhost:$entra->{port}",
        "--token-endpoint=$entra->{token_endpoint}", "--client-id=$app",
        "--certificate=$app_certificate->{certificate}");
    is $status, 0, 'jose is content with the assertions' or diag $output;
    note $output;
    $gateway->stop;
};

end_node_servers();
done_testing;


# Runs the client. Returns its exit status and what it printed.
sub client ($gateway, $mode) {
    return node({ GATEWAY => 'http://127.0.0.1:' . $gateway->port('gateway') },
        'client.mjs', $mode || ());
}


sub record () {
    return request($openai->{record_port}, GET => '/__record')->{json}->@*;
}


sub requests_for_a_token () {
    return request($entra->{port}, GET => '/requests',
        tls => $certificate)->{json}{token_requests};
}
