# The ways that are compared, in the order of the tables.

package Bench::Ways;

use v5.36;

use Exporter 'import';

use Bench::Nginx qw(
    auth_request auth_request_cached constant_header constant_sidecar lua
    module njs plain
);
use Bench::Servers qw(
    haproxy node_proxy node_sidecar portkey portkey_request
    portkey_workload_request
);

our @EXPORT_OK = 'ways';


# the packages of the SDKs' tests are enough
my @NODE = (npm => ['t/sdk']);
my @PORTKEY = (start => \&portkey, npm => ['t/bench/peers']);


# Each is a hash of
#   name, label   for the command line, and for people
#   note          what else to know about it
#   start         sub ($services), which returns the running parts, all of
#                 which are the gateway: the first one has the port
#   packages      what it needs of Debian's
#   npm           folders whose packages it needs
#   fetches       the stand-in that gives it its token, imds or entra; none
#                 where it is told the token
#   request       sub ($deployment, $services), which returns the path and a
#                 list of headers, where these are others than usual
sub ways () {
    return (
        { name => 'plain', label => 'plain `proxy_pass`', start => \&plain },
        { name => 'constant', label => 'constant header',
            start => \&constant_header },
        { name => 'module', label => 'this module', start => \&module,
            fetches => 'imds' },
        { name => 'lua', label => 'Lua, shared dict', start => \&lua,
            fetches => 'imds', packages => ['libnginx-mod-http-lua'],
            note => '`access_by_lua_file` with a cosocket to IMDS where the '
                . 'dict has no token, and no lock around that' },
        { name => 'njs', label => 'njs', start => \&njs,
            fetches => 'imds', packages => ['libnginx-mod-http-js'],
            note => '`auth_request` to a `js_content` that keeps the token '
                . 'in a file (njs has a shared dict from 0.8 on) and gets it '
                . 'by `ngx.fetch`' },
        { name => 'auth_request', label => '`auth_request`',
            start => with_sidecar(\&auth_request, \&node_sidecar),
            fetches => 'imds', @NODE,
            note => 'the sidecar is a Node server with `@azure/identity`' },
        { name => 'auth_request_cached',
            label => '`auth_request`, `proxy_cache`',
            start => with_sidecar(\&auth_request_cached, \&node_sidecar),
            fetches => 'imds', @NODE,
            note => 'the same sidecar, asked once in five minutes' },
        { name => 'auth_request_constant',
            label => '`auth_request`, constant',
            start => with_sidecar(\&auth_request, \&constant_sidecar),
            note => 'the sidecar is an nginx that was told the token: the '
                . 'least that a sidecar costs' },
        { name => 'haproxy', label => 'haproxy', start => \&haproxy,
            packages => ['haproxy'],
            note => 'the token in a variable of the process, that something '
                . 'else has to renew; one thread' },
        { name => 'node', label => 'Node, `@azure/identity`',
            start => \&node_proxy, fetches => 'imds', @NODE,
            note => '`node:http` with an agent that keeps connections, and '
                . '`getBearerTokenProvider` of `ManagedIdentityCredential`' },
        { name => 'portkey', label => 'Portkey', @PORTKEY,
            request => \&portkey_request,
            note => 'the client sends the token, with each request; it waits '
                . 'before the first event of a stream by itself, and has '
                . '`@hono/node-server` 1.14.1, as later ones break streams' },
        { name => 'portkey_workload', label => 'Portkey, workload identity',
            @PORTKEY, request => \&portkey_workload_request,
            fetches => 'entra',
            note => 'it asks for a token for each request; its managed '
                . 'identity is left out, whose address is a constant outside '
                . 'of loopback' },
    );
}


# What starts a gateway and its sidecar.
sub with_sidecar ($gateway, $sidecar) {
    return sub ($services) {
        my $part = $sidecar->($services);
        my $port = $part->isa('Test::Gateway') ? $part->port('gateway')
            : $part->port;
        return $gateway->($services, "127.0.0.1:$port"), $part;
    };
}

1;
