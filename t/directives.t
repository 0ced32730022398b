# What a configuration may say, what it's told when it's wrong, and which
# level's word counts.

use v5.36;

use JSON::PP 'decode_json';
use MIME::Base64 'decode_base64url';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(
    CLIENT_ID CLIENT_SECRET TENANT_ID entra form imds openai
);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Client;
use Test::Gateway::System 'read_file';

my $TENANT = 'tenant_id=' . TENANT_ID;
my $CLIENT = 'client_id=' . CLIENT_ID;
my $SECRET = 'top-secret';

# all that nginx said, to look for secrets in it
my $said = '';


# Puts lines into a location that has a token.
sub location ($text) {
    return "server { listen 127.0.0.1:%%PORT_http%%; location / {\n$text\n"
        . "proxy_pass http://127.0.0.1:%%PORT_nobody%%; } }";
}


# One test: nginx -t refuses the text with a message that matches, and that
# names the directive, the file and the line of its last occurrence.
sub refused ($name, $http, $directive, $expected, %more) {
    my $gateway = Test::Gateway->new(http => $http, %more);
    my $check = $gateway->check;
    my $file = $gateway->dir . '/check.nginx.conf';
    my $before = read_file($file) =~ s/.*\K\b$directive\b.*//sr;
    my $place = $file . ':' . (1 + $before =~ tr/\n//);
    my ($emerg) = $check->{output} =~ /\[emerg\] (.*)/;
    $emerg //= '';
    $said .= $check->{output};

    my @wrong;
    push @wrong, 'it is accepted' if $check->{status} == 0;
    push @wrong, "not at $place" if $emerg !~ / in \Q$place\E$/;
    push @wrong, "$directive isn't named" if $emerg !~ /"$directive"/;
    push @wrong, "not $expected" if $emerg !~ $expected;

    ok !@wrong, $name
        or diag join "\n", @wrong, $check->{output};
}


sub accepted ($name, $http, %more) {
    my $check = Test::Gateway->new(http => $http, %more)->check;
    $said .= $check->{output};

    is $check->{status}, 0, $name
        or diag $check->{output};
}


sub guid ($number) {
    return sprintf '%08d-0000-4000-8000-000000000000', $number;
}


# value of the directive => what the message says besides
my @WRONG = (
    aoai_aad => [
        'maybe' => qr/"?maybe"?.*\bon\b.*\boff\b/,
        '' => qr/number of arguments/,
        'on off' => qr/number of arguments/,
    ],
    aoai_aad_credential => [
        '' => qr/number of arguments/,
        'password' => qr/"password".*one of:(?=.* managed_identity\b)/,
        'Client_Secret' => qr/"Client_Secret".*one of:.* client_secret\b/,
        'cli' => qr/"cli".*one of:(?=.* azure_cli\b)(?=.* environment\b)/,
        '""' => qr/"".*one of:/,
        'managed_identity clientid=1'
            => qr/"clientid".*client_id, object_id, resource_id/,
        'managed_identity client_id' => qr/"client_id".*"name=value"/,
        'managed_identity client_id=' => qr/"client_id" is empty/,
        'managed_identity client_id=me' => qr/"client_id=me".*a GUID/,
        'managed_identity client_id=' . guid(1) . '0' => qr/a GUID/,
        'managed_identity object_id=' . substr(guid(1), 1) => qr/a GUID/,
        'managed_identity "client_id={' . guid(1) . '}"' => qr/a GUID/,
        'managed_identity resource_id=' . guid(1)
            => qr{a resource id.*/subscriptions/},
        "managed_identity $CLIENT object_id=" . guid(1)
            => qr/one of "client_id=", "object_id=" and "resource_id="/,
        "managed_identity $CLIENT resource_id=/subscriptions/1/x"
            => qr/one of "client_id=", "object_id=" and "resource_id="/,
        "managed_identity $CLIENT $CLIENT" => qr/"client_id" is given twice/,
        "managed_identity $TENANT" => qr/no parameter "tenant_id"/,
        "environment $CLIENT" => qr/no parameter "client_id"/,
        "client_secret $CLIENT secret=$SECRET" => qr/needs "tenant_id="/,
        "client_secret $TENANT secret=$SECRET" => qr/needs "client_id="/,
        "client_secret $TENANT $CLIENT" => qr/needs "secret_file="/,
        "client_secret $TENANT $CLIENT secret=" => qr/"secret" is empty/,
        "client_secret $TENANT $CLIENT secret=$SECRET secret_file=secret"
            => qr/"secret_file" is given twice, or beside another/,
        "client_secret $TENANT $CLIENT secret=$SECRET key=$SECRET"
            => qr/no parameter "key".*secret_file/,
        "client_secret tenant_id=common $CLIENT secret=$SECRET"
            => qr/"tenant_id=common".*a tenant's GUID or domain name/,
        "client_secret tenant_id=organizations $CLIENT secret=$SECRET"
            => qr/a tenant's GUID or domain name/,
        "client_secret tenant_id=consumers $CLIENT secret=$SECRET"
            => qr/a tenant's GUID or domain name/,
        "client_secret tenant_id=contoso $CLIENT secret=$SECRET"
            => qr/a tenant's GUID or domain name/,
        "client_secret tenant_id=a.b/c $CLIENT secret=$SECRET"
            => qr/a tenant's GUID or domain name/,
        "client_secret $TENANT $CLIENT secret_file=%%DIR%%/missing"
            => qr{"/.*/missing".*No such file},
        "client_secret $TENANT $CLIENT secret_file=missing"
            => qr{"/.*/missing".*No such file},
        "client_secret $TENANT $CLIENT secret_file=%%DIR%%"
            => qr/cannot read the file/,
        "client_secret $TENANT $CLIENT secret_file=empty"
            => qr{"/.*/empty" is empty},
        "client_secret $TENANT $CLIENT secret_file=blank"
            => qr{"/.*/blank" is empty},
        "client_secret $TENANT $CLIENT secret_file=binary"
            => qr{"/.*/binary" is no text},
        "client_secret $TENANT $CLIENT secret_file=large"
            => qr{"/.*/large" is larger than \d+ bytes},
        'workload_identity client_id=me' => qr/"client_id=me".*a GUID/,
        'workload_identity tenant_id=common'
            => qr/a tenant's GUID or domain name/,
        'workload_identity token_file=' => qr/"token_file" is empty/,
        'workload_identity secret=x'
            => qr/no parameter "secret".*tenant_id, client_id, token_file/,
        "federated_managed_identity $CLIENT identity_client_id=" . guid(1)
            => qr/needs "tenant_id="/,
        "federated_managed_identity $TENANT identity_client_id=" . guid(1)
            => qr/needs "client_id="/,
        "federated_managed_identity $TENANT $CLIENT"
            => qr/needs "identity_client_id="/,
        "federated_managed_identity $TENANT $CLIENT identity_client_id=me"
            => qr/"identity_client_id=me".*a GUID/,
        'azure_cli path=az' => qr/"path=az".*absolute/,
        'azure_cli tenant_id=common' => qr/a tenant's GUID or domain name/,
        'azure_cli subscription=--help' => qr/a subscription's GUID or name/,
        'azure_cli "subscription=a;b"' => qr/a subscription's GUID or name/,
        'environment' . ";\naoai_aad_credential environment" x 16
            => qr/16 steps/,
    ],
    aoai_aad_scope => [
        'https://cognitiveservices.azure.com' => qr{"/\.default"},
        'https://cognitiveservices.azure.com/.default/x' => qr{"/\.default"},
        '/.default' => qr/"aoai_aad_scope": ".*such as "https:/,
        '"a/.default b/.default"' => qr/one scope/,
        '-x/.default' => qr/one scope/,
        '"a\"b/.default"' => qr/one scope/,
        'a%20b/.default' => qr/one scope/,
        'a/.default b/.default' => qr/number of arguments/,
        '""' => qr/one scope/,
    ],
    aoai_aad_authority_host => [
        'http://login.microsoftonline.com' => qr{must begin with "https://"},
        'http://localhost' => qr{must begin with "https://"},
        'http://127.example.com' => qr{must begin with "https://"},
        'http://127.0.0.1.example.com' => qr{must begin with "https://"},
        'https://login.microsoftonline.com/tenant' => qr/scheme and host/,
        'https://login.microsoftonline.com?x' => qr/scheme and host/,
        'https://login.microsoftonline.com:x' => qr/scheme and host/,
        "https://me:$SECRET\@login.microsoftonline.com"
            => qr/scheme and host/,
        'ftp://login.microsoftonline.com' => qr/scheme and host/,
        'https://' => qr/scheme and host/,
        '"a b"' => qr/scheme and host/,
        '""' => qr/scheme and host/,
    ],
    aoai_aad_ssl_trusted_certificate => [
        'missing.pem' => qr{"/.*/missing\.pem".*No such file},
        '%%DIR%%/missing.pem' => qr{"/.*/missing\.pem".*No such file},
        '%%DIR%%' => qr/cannot read the file/,
        'empty' => qr{"/.*/empty" has no certificate in PEM form},
        'key.pem' => qr{"/.*/key\.pem" has no certificate in PEM form},
        'broken.pem' => qr{"/.*/broken\.pem" .*certificate},
    ],
    aoai_aad_proxy => [
        'proxy.example.com:3128' => qr{such as "http://},
        "http://me:$SECRET\@proxy.example.com:3128/x" => qr{such as "http://},
        "me:$SECRET\@proxy.example.com" => qr{such as "http://},
        'http://' => qr{such as "http://},
        'http://proxy.example.com:x' => qr{such as "http://},
        '"http://proxy example.com"' => qr{such as "http://},
        '""' => qr{such as "http://},
    ],
    aoai_aad_allowed_hosts => [
        '' => qr/number of arguments/,
        map { ("good.example.com $_" => qr/"\Q$_\E" is no host, write/) }
            'https://x.openai.azure.com', 'x.openai.azure.com/path',
            '*', '*x.example.com', 'x.*.example.com', 'x@example.com',
            'x.example.com:0', 'x.example.com:65536', 'x.example.com:',
            'x.example.com:https', 'x.example.com:443:443', '::1', '[::1',
            '[::g]', '*.', 'x%2eexample.com', 'unix:/run/socket', '.',
    ],
    aoai_aad_timeout => [
        '0' => qr/must be a time above zero/,
        '0s' => qr/must be a time above zero/,
        '-1' => qr/must be a time above zero/,
        'soon' => qr/must be a time above zero/,
        '1 s' => qr/number of arguments/,
    ],
);

my %FILES = (
    empty => '', blank => " \n\t\n", binary => "a\0b", large => 'x' x 8193,
    secret => " $SECRET\n", 'key.pem' => read_file(certificate()->{key}),
    'ca.pem' => read_file(certificate()->{ca}),
    'broken.pem' => "-----BEGIN CERTIFICATE-----\nMIIB\n"
        . "-----END CERTIFICATE-----\n",
);

while (my ($directive, $values) = splice @WRONG, 0, 2) {
    while (my ($value, $expected) = splice @$values, 0, 2) {
        my ($name) = "$directive $value" =~ /(.*)/;
        $name .= ', too often' if $value =~ /\n/;

        refused("refused: $name", location("$directive $value;"), $directive,
            $expected, files => \%FILES);
    }
}

for my $size ('4k', '0', '127k') {
    refused("refused: aoai_aad_cache_size $size",
        "aoai_aad_cache_size $size;", 'aoai_aad_cache_size',
        qr/must be a size of 128k at least/);
}
refused('refused: aoai_aad_cache_size plenty',
    'aoai_aad_cache_size plenty;', 'aoai_aad_cache_size',
    qr/must be a size of 128k at least/);


# a right value of each, and what else is right
my %RIGHT = (
    aoai_aad => ['on', 'off'],
    aoai_aad_credential => [
        'managed_identity', "managed_identity $CLIENT",
        'managed_identity object_id=' . uc TENANT_ID,
        'managed_identity resource_id=/subscriptions/1/resourceGroups/a_b'
            . '/providers/Microsoft.ManagedIdentity'
            . '/userAssignedIdentities/x-(1)',
        'workload_identity', "workload_identity $TENANT $CLIENT",
        "workload_identity $TENANT $CLIENT token_file=/is/read/later",
        'workload_identity token_file=relative',
        "federated_managed_identity $TENANT $CLIENT identity_client_id="
            . guid(1),
        'environment', 'azure_cli', "azure_cli $TENANT path=/opt/az",
        'azure_cli "subscription=Our own (not_)test"' =~ s/[()]//gr,
        "client_secret $TENANT $CLIENT secret=$SECRET",
        "client_secret $TENANT $CLIENT secret=a=b&c",
        "client_secret $TENANT $CLIENT secret_file=secret",
        "client_secret $TENANT $CLIENT secret_file=%%DIR%%/secret",
        "client_secret tenant_id=contoso.onmicrosoft.com $CLIENT secret=x",
        'environment' . ";\naoai_aad_credential environment" x 15,
    ],
    aoai_aad_scope => [
        'https://cognitiveservices.azure.com/.default',
        'api://' . guid(1) . '/.default',
        'https://example.com//.default',
    ],
    aoai_aad_authority_host => [
        'https://login.microsoftonline.us',
        'https://login.microsoftonline.us/', 'login.microsoftonline.us',
        'https://localhost:8443', 'http://127.0.0.1:8080',
        'http://[::1]:8080',
    ],
    aoai_aad_ssl_trusted_certificate => ['ca.pem', '%%DIR%%/ca.pem'],
    aoai_aad_proxy => [
        'off', 'http://proxy.example.com:3128',
        "http://me:$SECRET\@proxy.example.com:3128/", 'https://127.0.0.1',
    ],
    aoai_aad_allowed_hosts => [
        'x.openai.azure.com', '*.openai.azure.com X.Example.com:443',
        '127.0.0.1 127.0.0.1:8080 [::1] [::1]:8080 localhost a_b',
        'x.example.com.',
        "a.example.com;\naoai_aad_allowed_hosts b.example.com",
    ],
    aoai_aad_timeout => ['500ms', '10s', '1m'],
);

for my $directive (sort keys %RIGHT) {
    my $text = join '', map { location("aoai_aad on; $directive $_;")
        =~ s/aoai_aad on; (?=aoai_aad o)//r } $RIGHT{$directive}->@*;
    accepted("accepted: right values of $directive", $text,
        files => \%FILES);
}
accepted("accepted: aoai_aad_cache_size $_",
    "aoai_aad_cache_size $_;" . location('aoai_aad on;'))
    for '128k', '2m';


# where each one may stand
my %VALUE = map { $_ => $RIGHT{$_}[0] } keys %RIGHT;
$VALUE{aoai_aad_cache_size} = '1m';

my %PLACE = (
    'upstream' => ['upstream u { server 127.0.0.1; ', '}'],
    'location and if' => [location('if ($http_x) { ') =~ /(.*?)\n(proxy.*)/s],
    'server' => ['server { listen 127.0.0.1:%%PORT_http%%; ', '}'],
    'location' => [location('') =~ /(.*?)\n(proxy.*)/s],
);
$PLACE{'location and if'}[1] = '}' . $PLACE{'location and if'}[1];

for my $directive (sort keys %VALUE) {
    my $line = "$directive $VALUE{$directive};\n";
    my @places = $directive eq 'aoai_aad_cache_size' ? sort keys %PLACE
        : $directive eq 'aoai_aad' ? 'upstream'
        : ('upstream', 'location and if');

    refused("refused: $directive in main", '', $directive,
        qr/not allowed here/, main => $line);
    for my $place (@places) {
        refused("refused: $directive in $place",
            join($line, $PLACE{$place}->@*), $directive,
            qr/not allowed here/, files => \%FILES);
    }

    next if $directive =~ /_(?:credential|allowed_hosts)$/;
    refused("refused: $directive twice", $line x 2, $directive,
        qr/is duplicate/, files => \%FILES);
}

accepted('accepted: each directive in http, server and location', join('',
    (map { "$_ $VALUE{$_};\n" } sort keys %VALUE),
    'server { listen 127.0.0.1:%%PORT_http%%;',
    (map { "$_ $VALUE{$_};\n" } sort keys %RIGHT), 'location / {',
    (map { "$_ $VALUE{$_};\n" } sort keys %RIGHT), '} }'),
    files => \%FILES);


# the environment has no line: the message names the variable
for my $case (
    [AZURE_AUTHORITY_HOST => 'http://localhost', qr{"https://"}],
    [AZURE_AUTHORITY_HOST => 'https://127.0.0.1/tenant', qr/scheme and host/],
    [HTTPS_PROXY => '127.0.0.1:x', qr{such as "http://}],
    [HTTPS_PROXY => "http://me:$SECRET\@127.0.0.1:1/x", qr{such as "http://}],
    [https_proxy => "ftp://me:$SECRET\@127.0.0.1:1", qr{such as "http://}],
) {
    my ($name, $value, $expected) = @$case;
    my %env = (env => { $name => $value });
    my $check = Test::Gateway->new(http => location('aoai_aad on;'), %env)
        ->check;
    $said .= $check->{output};

    isnt $check->{status}, 0, "refused: $name=$value in the environment";
    like $check->{output}, qr/\[emerg\] .*\Q$name\E.*$expected/i,
        '... with a message that names the variable and the mend';
    accepted("accepted: $name=$value where no location needs it",
        location('aoai_aad off;'), %env);
}


# shared memory
{
    my $http = join '', map {
        my $credential = 'managed_identity client_id=' . guid($_);
        location("aoai_aad on; aoai_aad_credential $credential;")
    } 1 .. 40;

    my $check = Test::Gateway->new(
        http => "aoai_aad_cache_size 128k; $http")->check;
    isnt $check->{status}, 0, 'refused: a cache too small for 40 identities';
    like $check->{output},
        qr/"aoai_aad_cache_size" .* 40 identities, .* at least \d+k/,
        '... with a message that says how large it must be';

    my ($size) = $check->{output} =~ /at least (\d+k)/;
    accepted("accepted: that size",
        'aoai_aad_cache_size ' . ($size // '0') . "; $http");
}

is join("\n", grep { /\Q$SECRET\E/ } split /\n/, $said), '',
    'no secret is in any message';


# Which level's word counts: each location below is asked, and the token
# that arrives upstream tells whose it is.
my $imds = imds;
my %entra = map { $_ => entra } qw(one two);
# a proxy gets the whole URL of what is asked for over plain HTTP
my $proxy = entra(tls => 0, handler => sub ($request, $, $usual) {
    return [502] if $request->{path} !~ s{^http://[^/]+}{};
    return $usual->();
});
my $openai = openai;
my $other_ca = certificate('other_ca')->{ca};
my $up = $openai->url;

my $gateway = Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    files => {
        'folder/secret' => CLIENT_SECRET . "\n",
        'ca.pem' => read_file(certificate()->{ca}),
        'other.pem' => read_file($other_ca),
    },
    http => <<"END");
aoai_aad on;
aoai_aad_allowed_hosts 127.0.0.1;
aoai_aad_credential managed_identity client_id=${\guid(1)};

server {
    listen 127.0.0.1:%%PORT_http%%;

    location /of-http { proxy_pass $up; }

    location /credential {
        aoai_aad_credential managed_identity client_id=${\guid(2)};
        proxy_pass $up;

        location /credential/nested { proxy_pass $up; }

        location /credential/replaced {
            aoai_aad_credential managed_identity client_id=${\guid(3)};
            proxy_pass $up;
        }

        location /credential/if {
            if (\$http_x) { proxy_pass $up; }
            if (\$http_y) { set \$y 1; }
            proxy_pass $up;
        }
    }

    location /off {
        aoai_aad off;
        proxy_pass $up;

        location /off/nested { proxy_pass $up; }

        location /off/on {
            aoai_aad on;
            proxy_pass $up;
        }

        location /off/if-on {
            if (\$http_x) { aoai_aad on; }
            proxy_pass $up;
        }

        location /off/if-on-with-proxy {
            if (\$http_x) { aoai_aad on; proxy_pass $up; }
            proxy_pass $up;
        }

        location /off/limit {
            limit_except GET { proxy_pass $up; }
            proxy_pass $up;
        }
    }

    location /if-off {
        if (\$http_x) { aoai_aad off; }
        proxy_pass $up;
    }

    location /if-off-with-proxy {
        if (\$http_x) { aoai_aad off; proxy_pass $up; }
        proxy_pass $up;
    }

    location /limit {
        limit_except GET { proxy_pass $up; }
        proxy_pass $up;
    }

    location /limit-inherits {
        limit_except GET { allow all; }
        proxy_pass $up;
    }

    location /hosts {
        aoai_aad_allowed_hosts localhost;
        proxy_pass $up;

        location /hosts/nested { proxy_pass $up; }

        location /hosts/replaced {
            aoai_aad_allowed_hosts x.example.com;
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass $up;
        }
    }

    location /scope {
        aoai_aad_scope api://one/.default;
        proxy_pass $up;

        location /scope/nested { proxy_pass $up; }

        location /scope/replaced {
            aoai_aad_scope api://two/.default;
            proxy_pass $up;
        }
    }
}

server {
    listen 127.0.0.1:%%PORT_server%%;
    aoai_aad_credential managed_identity client_id=${\guid(4)};

    location / { proxy_pass $up; }
    location /replaced {
        aoai_aad_credential managed_identity client_id=${\guid(5)};
        proxy_pass $up;
    }
}

server {
    listen 127.0.0.1:%%PORT_authority%%;
    aoai_aad_credential client_secret $TENANT $CLIENT
        secret_file=folder/secret;
    aoai_aad_authority_host ${\$entra{one}->url};
    aoai_aad_ssl_trusted_certificate ca.pem;
    aoai_aad_timeout 2s;

    location / { proxy_pass $up; }

    location /authority {
        aoai_aad_authority_host ${\$entra{two}->url};
        proxy_pass $up;

        location /authority/nested { proxy_pass $up; }
    }

    location /ca {
        aoai_aad_ssl_trusted_certificate other.pem;
        proxy_pass $up;

        location /ca/nested { proxy_pass $up; }

        location /ca/replaced {
            aoai_aad_ssl_trusted_certificate ca.pem;
            proxy_pass $up;
        }
    }

    location /proxy {
        aoai_aad_authority_host http://127.0.0.1:%%PORT_nobody%%;
        aoai_aad_proxy ${\$proxy->url};
        proxy_pass $up;

        location /proxy/nested { proxy_pass $up; }

        location /proxy/off {
            aoai_aad_proxy off;
            proxy_pass $up;
        }
    }
}
END
$gateway->start;


# Asks a location. Returns the claims of the token that arrived upstream,
# or { status }, or { client => 1 } if it was the client's own.
sub claims ($port, $path, @headers) {
    my $answer = request($gateway->port($port), @headers ? 'POST' : 'GET',
        $path, headers => [Authorization => 'Bearer mine', @headers]);
    return { status => $answer->{status} } if $answer->{status} != 200;

    my ($sent) = map { $_->[1] } grep { lc $_->[0] eq 'authorization' }
        $answer->{json}{headers}->@*;
    return { client => 1 } if $sent eq 'Bearer mine';
    return decode_json(decode_base64url((split /\./, $sent)[1]));
}

my @IDENTITY = (
    ['of http', http => '/of-http', guid(1)],
    ['of the location', http => '/credential', guid(2)],
    ['of the outer location', http => '/credential/nested', guid(2)],
    ['of the inner location', http => '/credential/replaced', guid(3)],
    ['in an "if"', http => '/credential/if', guid(2), X => 1],
    ['in an "if" with no proxy_pass', http => '/credential/if', guid(2),
        Y => 1],
    ['of the server', server => '/', guid(4)],
    ['of the location below a server', server => '/replaced', guid(5)],
    ['none: off', http => '/off', undef],
    ['none: off around it', http => '/off/nested', undef],
    ['on in a location that is off', http => '/off/on', guid(1)],
    ['none: off, and on in an "if" not taken', http => '/off/if-on', undef],
    ['on in an "if"', http => '/off/if-on', guid(1), X => 1],
    ['on in an "if" with a proxy_pass', http => '/off/if-on-with-proxy',
        guid(1), X => 1],
    ['none: beside that "if"', http => '/off/if-on-with-proxy', undef],
    ['none: off, in a limit_except', http => '/off/limit', undef, X => 1],
    ['on beside an "if" not taken', http => '/if-off', guid(1)],
    ['none: off in an "if"', http => '/if-off', undef, X => 1],
    ['on beside an "if" with a proxy_pass', http => '/if-off-with-proxy',
        guid(1)],
    ['none: off in an "if" with a proxy_pass', http => '/if-off-with-proxy',
        undef, X => 1],
    ['on beside a limit_except', http => '/limit', guid(1)],
    ['on in a limit_except with a proxy_pass', http => '/limit', guid(1),
        X => 1],
    ['on in a limit_except', http => '/limit-inherits', guid(1), X => 1],
);

for my $case (@IDENTITY) {
    my ($name, $port, $path, $identity, @headers) = @$case;
    my $claims = claims($port, $path, @headers);

    is $claims->{appid} // ($claims->{client} && 'the client'),
        $identity // 'the client', "identity $name";
}

for my $case (
    ['inherited', '/of-http', undef], ['replaced', '/hosts', 502],
    ['replaced in the outer location', '/hosts/nested', 502],
    ['two lines of a level', '/hosts/replaced', undef],
) {
    my ($name, $path, $status) = @$case;
    is claims(http => $path)->{status}, $status, "allowed hosts: $name";
}

for my $case (
    ['the default', '/of-http', 'https://cognitiveservices.azure.com'],
    ['of the location', '/scope', 'api://one'],
    ['of the outer location', '/scope/nested', 'api://one'],
    ['of the inner location', '/scope/replaced', 'api://two'],
) {
    my ($name, $path, $audience) = @$case;
    is claims(http => $path)->{aud}, $audience, "scope: $name";
}

is claims(authority => '/')->{appid}, CLIENT_ID,
    'secret_file is relative to the folder of the configuration';
is claims(authority => $_)->{appid}, CLIENT_ID, "authority: $_"
    for '/authority', '/authority/nested';
is $entra{two}->count, 1,
    'equal settings of two locations are one identity';
is +(form(($entra{$_}->requests)[0]{body}))[1] // '', CLIENT_ID,
    "the authority $_ was asked" for qw(one two);

is claims(authority => '/ca')->{status}, 503, 'CA file: of the location';
is claims(authority => '/ca/nested')->{status}, 503,
    'CA file: of the outer location';
is claims(authority => '/ca/replaced')->{appid}, CLIENT_ID,
    'CA file: of the inner location';

is claims(authority => $_)->{appid}, CLIENT_ID, "proxy: $_"
    for '/proxy', '/proxy/nested';
is claims(authority => '/proxy/off')->{status}, 503, 'proxy: off';

$gateway->stop;

done_testing;
