# Callers with real parts: the openai client with a token from @azure/identity,
# a tenant that is an OpenID provider, whose keys rotate, and an upstream that
# verifies the token which the gateway sends.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Node qw(end_node_servers node node_server);

my $certificate = certificate();
my @tls = ("--cert=$certificate->{certificate}", "--key=$certificate->{key}");

my $tenant = node_server('callers-tenant.mjs', @tls);
my $openai = node_server('azure-openai.mjs', @tls,
    "--issuer=$tenant->{service_issuer}", "--jwks=$tenant->{jwks_uri}");

my $rule = "aoai_aad_caller tenant=$tenant->{tenant}";
my $http = <<"END";
    aoai_aad_authority_host https://localhost:$tenant->{port};
    aoai_aad_ssl_trusted_certificate $certificate->{ca};
    aoai_aad_allowed_hosts localhost:$openai->{port};
    aoai_aad_credential client_secret tenant_id=$tenant->{tenant}
        client_id=$tenant->{client_id} secret_file=%%DIR%%/secret;

    proxy_ssl_server_name on;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate $certificate->{ca};
    proxy_http_version 1.1;
    proxy_buffering off;

    log_format who '\$uri [\$aoai_aad_caller_object_id '
        '\$aoai_aad_caller_client_id \$aoai_aad_caller_name] \$status';
    access_log %%DIR%%/who.log who;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location /own/ {
            aoai_aad on;
            $rule audience=$tenant->{audience} roles=$tenant->{role};
            $rule audience=$tenant->{older_audience} roles=$tenant->{role};
            proxy_pass https://localhost:$openai->{port}/;
        }

        location /behalf/ {
            aoai_aad on_behalf_of;
            $rule audience=$tenant->{audience};
            proxy_pass https://localhost:$openai->{port}/;
        }

        location /unchecked/ {
            aoai_aad on_behalf_of;
            proxy_pass https://localhost:$openai->{port}/;
        }

        location /moment/ {
            aoai_aad on_behalf_of;
            aoai_aad_on_behalf_of_max_age 500ms;
            proxy_pass https://localhost:$openai->{port}/;
        }
    }
END

my @gateways = map { Test::Gateway->new(http => $http, workers => 2,
    files => { secret => "$tenant->{client_secret}\n" })->start } 1 .. 2;
my ($first, $second)
    = map { 'http://127.0.0.1:' . $_->port('gateway') } @gateways;

my ($status, $output) = node({}, 'callers.mjs', "--gateway=$first",
    "--second=$second", "--tenant=https://localhost:$tenant->{port}",
    "--record=http://127.0.0.1:$openai->{record_port}");
is $status, 0, 'the callers are content' or diag $output;
note $output;

my $id = qr/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;
my $who = $gateways[0]->file_with('who.log', qr/\[- - -\] 403$/m);
like $who, qr{^/own/\S+ \[$id $id -\] 200$}m, 'the log has the app';
like $who, qr{^/behalf/\S+ \[$id $id alice\@tenant\.test\] 200$}m,
    'the log has the person';
like $who, qr{^/own/\S+ \[- - -\] 403$}m, 'and nobody who was refused';

for my $gateway (@gateways) {
    unlike $gateway->log, qr/eyJ|\Q$tenant->{client_secret}\E/,
        'no token and no secret is in the error log';
    $gateway->stop;
}

end_node_servers();
done_testing;
