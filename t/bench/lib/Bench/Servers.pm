# The gateways, and sidecars, that are no nginx.

package Bench::Servers;

use v5.36;

use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';

use Bench::Machine 'pinned';
use Bench::Process;

use Test::Gateway::Azure qw(CLIENT_ID TENANT_ID);

our @EXPORT_OK = qw(
    haproxy node_proxy node_sidecar portkey portkey_request
    portkey_workload_request
);

my $PEERS = realpath(dirname(__FILE__) . '/../../peers');


# The token is put in once, as an agent beside it would do by "set var" over
# its socket.
sub haproxy ($services) {
    my $configuration = <<"END";
global
    nbthread 1
    # room for the token beside a body that fills the buffer
    tune.maxrewrite 4096
    set-var proc.bearer str("Bearer $services->{token}")

defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
    # as a stream of events needs it
    option http-no-delay

frontend gateway
    bind 127.0.0.1:%%PORT%%
    http-request set-header Authorization %[var(proc.bearer)]
    default_backend upstream

backend upstream
    server upstream $services->{checked}
END
    return Bench::Process->new(
        [pinned('gateway'), 'haproxy', '-db', '-f', '%%DIR%%/haproxy.cfg'],
        files => { 'haproxy.cfg' => $configuration });
}


# The file with its assertion is in a file because it takes a variable that
# begins with a slash for a file that has the value.
sub portkey ($services) {
    return Bench::Process->new([pinned('gateway'), 'node',
        '--import', "$PEERS/loopback.mjs",
        "$PEERS/node_modules/\@portkey-ai/gateway/build/start-server.js",
        '--port=%%PORT%%', '--headless'],
        files => { assertion => 'assertion', path => '%%DIR%%/assertion' },
        env => { NODE_ENV => 'production',
            AZURE_AUTHORITY_HOST => $services->{endpoint},
            AZURE_TENANT_ID => TENANT_ID, AZURE_CLIENT_ID => CLIENT_ID,
            AZURE_FEDERATED_TOKEN_FILE => '%%DIR%%/path' });
}


# What it is told with each request: it has no configuration of its own.
sub portkey_request ($deployment, $services) {
    return _portkey_request($deployment, $services,
        'x-portkey-azure-ad-token' => $services->{token});
}

sub portkey_workload_request ($deployment, $services) {
    return _portkey_request($deployment, $services,
        'x-portkey-azure-auth-mode' => 'workload');
}


sub _portkey_request ($deployment, $services, @headers) {
    return '/v1/chat/completions',
        'x-portkey-provider' => 'azure-openai',
        'x-portkey-custom-host' => "http://$services->{checked}/openai",
        'x-portkey-azure-resource-name' => 'resource',
        'x-portkey-azure-deployment-id' => $deployment,
        'x-portkey-azure-api-version' => '2024-10-21', @headers;
}


sub node_proxy ($services) {
    return _node($services, 'proxy.mjs', "--upstream=$services->{checked}");
}


sub node_sidecar ($services) { return _node($services, 'sidecar.mjs') }


sub _node ($services, $script, @arguments) {
    return Bench::Process->new([pinned('gateway'), 'node',
        "$PEERS/$script", '--port=%%PORT%%', @arguments],
        env => { NODE_ENV => 'production',
            AZURE_POD_IDENTITY_AUTHORITY_HOST => $services->{endpoint} });
}

1;
