# The ways that are an nginx. They differ in what puts the token there and in
# nothing else.

package Bench::Nginx;

use v5.36;

use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';

use Bench::Machine qw(allocator pinned);
use Test::Gateway;

our @EXPORT_OK = qw(
    auth_request auth_request_cached constant_header constant_sidecar lua
    module nginx njs plain
);

my $PEERS = realpath(dirname(__FILE__) . '/../../peers');
my $MODULES = '/usr/lib/nginx/modules';
my $IMDS = 'AZURE_POD_IDENTITY_AUTHORITY_HOST';


sub plain ($services) { return nginx($services, '', is_plain => 1) }


sub constant_header ($services) {
    return nginx($services,
        "proxy_set_header Authorization 'Bearer $services->{token}';");
}


sub module ($services) {
    return nginx($services, <<'END', module => 1);
            aoai_aad on;
            aoai_aad_credential managed_identity;
            aoai_aad_allowed_hosts 127.0.0.1;
END
}


sub lua ($services) {
    return nginx($services, <<"END",
            set \$bearer '';
            access_by_lua_file $PEERS/token.lua;
            proxy_set_header Authorization \$bearer;
END
        http => 'lua_shared_dict tokens 1m;',
        modules => [qw(ndk_http_module ngx_http_lua_module)]);
}


# auth_request to a js_content that keeps the token in a file: js_set, which
# could put it there directly, cannot wait for a fetch.
sub njs ($services) {
    return nginx($services, <<'END',
            auth_request /token;
            auth_request_set $bearer $sent_http_x_token;
            proxy_set_header Authorization $bearer;
END
        main => 'env TOKEN_FILE;',
        env => { TOKEN_FILE => '%%DIR%%/token.json' },
        http => "js_path $PEERS; js_import token from token.js;",
        server => 'location = /token { internal; js_content token.get; }',
        modules => ['ngx_http_js_module']);
}


# auth_request to a sidecar, by its address, that answers with the token in
# X-Token.
sub auth_request ($services, $sidecar) {
    return _auth_request($services, $sidecar, '');
}

sub auth_request_cached ($services, $sidecar) {
    return _auth_request($services, $sidecar, <<'END',
            proxy_cache tokens;
            proxy_cache_key token;
            proxy_cache_lock on;
END
        'proxy_cache_path %%DIR%%/tokens keys_zone=tokens:1m;');
}


sub _auth_request ($services, $sidecar, $cache, $http = '') {
    return nginx($services, <<'END',
            auth_request /token;
            auth_request_set $bearer $upstream_http_x_token;
            proxy_set_header Authorization $bearer;
END
        http => <<"END", server => <<"END");
    $http
    upstream sidecar {
        server $sidecar;
        keepalive 64;
        keepalive_requests 100000000;
        keepalive_timeout 1h;
    }
END
        location = /token {
            internal;
            $cache
            proxy_pass http://sidecar/;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_set_header Content-Length '';
            proxy_pass_request_body off;
        }
END
}


# The least that a sidecar can do: an nginx that was told the token.
sub constant_sidecar ($services) {
    return Test::Gateway->new(module => 0, log_level => 'error',
        wrapper => [pinned('gateway')], env => { allocator() },
        http => <<"END")->start;
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 1h;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            add_header X-Token 'Bearer $services->{token}';
            return 204;
        }
    }
END
}


# An nginx with these lines in its location. Options: is_plain; module; main,
# http and server: more lines there; modules: names of Debian's .so files;
# env: more variables.
sub nginx ($services, $location, %more) {
    my $address = $services->{$more{is_plain} ? 'unchecked' : 'checked'};
    my ($main, $http, $server) = map { $_ // '' } @more{qw(main http server)};
    my @modules = map { "$MODULES/$_.so" } ($more{modules} // [])->@*;

    my $workers = $more{workers} // 1;

    my $gateway = Test::Gateway->new(workers => $workers,
        log_level => $more{log_level} // 'error',
        $more{module} ? () : (module => 0),
        modules => \@modules,
        wrapper => [$workers == 1 ? pinned('gateway') : ()],
        env => { $IMDS => $services->{endpoint}, allocator(),
            ($more{env} // {})->%* },
        main => "env $IMDS;\n$main",
        http => <<"END");
    access_log off;
    keepalive_requests 100000000;
    client_body_buffer_size 64k;
    $http

    upstream upstream {
        server $address;
        keepalive 64;
        keepalive_requests 100000000;
        keepalive_timeout 1h;
    }

    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            $location
            proxy_pass http://upstream;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
            proxy_buffering off;
        }
        $server
    }
END
    return $gateway->start;
}

1;
