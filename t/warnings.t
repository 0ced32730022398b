# What nginx -t says of a location with a token that could not do what its
# lines say, or not safely: once for each, and nothing of what is right.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Certificates 'certificate';

# addresses for documentation, of RFC 5737: nothing is looked up for them
use constant {
    FAR   => '192.0.2.1',
    OTHER => '192.0.2.2',
};

my $verified = 'proxy_ssl_verify on; '
    . 'proxy_ssl_trusted_certificate ' . certificate()->{ca} . ';';
my $named = 'proxy_ssl_server_name on;';
my $there = 'https://' . FAR;
my $variable = 'set $there x.openai.azure.com; proxy_pass https://$there;';


# TLS: lines of a server => what the warnings say, each a list of words
for my $case (
    ['verified and named', location('/', $verified, $named,
        "proxy_pass $there;")],
    ['by the server\'s lines', "$verified $named\n"
        . location('/', "proxy_pass $there;")],
    ['neither', location('/a', "proxy_pass $there;"),
        ['"/a"', FAR, 'proxy_ssl_verify on', 'proxy_ssl_trusted_certificate',
            'proxy_ssl_server_name on']],
    ['not verified', location('/a', $named, "proxy_pass $there;"),
        ['"/a"', FAR, '"proxy_ssl_verify on"']],
    ['not named', location('/a', $verified, "proxy_pass $there;"),
        ['"/a"', FAR, 'write "proxy_ssl_server_name on"']],
    ['off below what is on', "$verified $named\n"
        . location('/a', 'proxy_ssl_verify off;', "proxy_pass $there;"),
        ['"/a"', '"proxy_ssl_verify on"']],
    ['loopback', location('/', 'proxy_pass https://127.0.0.1:1;')],
    ['loopback, without TLS', location('/', 'proxy_pass http://127.0.0.1:1;')],
    ['loopback by name', location('/', 'proxy_pass https://localhost:1;')],
    ['IPv6 loopback', location('/', 'proxy_pass https://[::1]:1;')],
    ['a block of this machine', location('/', 'proxy_pass https://near;')],
    ['a block with another', location('/a', 'proxy_pass https://far;'),
        ['"/a"', FAR, '"proxy_ssl_verify on"']],
    ['three locations', join("\n", map { location("/$_",
        "proxy_pass $there;") } 1 .. 3), ['"/1"']],
    ['two upstreams', location('/a', "proxy_pass $there;")
        . location('/b', 'proxy_pass https://' . OTHER . ';'),
        ['"/a"', FAR], ['"/b"', OTHER]],
    ['a variable', location('/a', $variable),
        ['"/a"', '.openai.azure.com', '"proxy_ssl_verify on"']],
    ['a variable, verified and named', location('/', $verified, $named,
        $variable)],
    ['a variable for this machine', location('/',
        'aoai_aad_allowed_hosts 127.0.0.1 localhost;', $variable)],
    ['an "if"', location('/a', 'proxy_pass https://near;',
        "if (\$arg_x) { proxy_pass $there; }"), ['"/a"', FAR]],
    ['aoai_aad off', location('/', "proxy_pass $there;") =~ s/on;/off;/r],

    # headers
    ['no header', location('/', 'proxy_set_header X-Authorization x;',
        'proxy_set_header Host x;', 'proxy_set_header api-keys x;')],
    ['empty headers', location('/', 'proxy_set_header Authorization "";',
        'proxy_set_header api-key "";')],
    (map { ["a header, $_", location('/a', "proxy_set_header $_ x;"),
        ["\"proxy_set_header $_\"", '"/a"', 'remove it']] }
        'Authorization', 'authorization', 'API-Key',
        'Ocp-Apim-Subscription-Key'),
    ['a header by a variable', location('/a',
        'proxy_set_header Authorization $http_authorization;'),
        ['"proxy_set_header Authorization"', '"/a"']],
    ['two headers', location('/a', 'proxy_set_header Authorization x;',
        'proxy_set_header api-key x;'),
        ['"proxy_set_header Authorization"'], ['"proxy_set_header api-key"']],
    ['a header of the server', "proxy_set_header Authorization x;\n"
        . location('/a') . location('/b'),
        ['"proxy_set_header Authorization"', '"/a"']],
    ['a header of the server, not inherited',
        "proxy_set_header Authorization x;\n"
        . location('/a', 'proxy_set_header Host x;')],
    ['a header, aoai_aad off',
        location('/', 'proxy_set_header Authorization x;') =~ s/on;/off;/r],

    # what cannot have a token
    ['grpc_pass', 'location /a { aoai_aad on; grpc_pass 127.0.0.1:1; }',
        ['"aoai_aad"', 'without a token', '"proxy_pass"', 'check.nginx.conf']],
    ['fastcgi_pass', 'location / { aoai_aad on; fastcgi_pass 127.0.0.1:1; }',
        ['"aoai_aad"', 'without a token']],
    ['grpc_pass below what is on',
        'aoai_aad on; location /a { grpc_pass 127.0.0.1:1; }'],
    ['files', 'location /a { aoai_aad on; }'],
) {
    my ($name, $text, @expected) = @$case;
    my @warnings = warnings($text);

    is @warnings, @expected, "$name: " . @expected . ' warnings'
        or diag join "\n", @warnings;
    for my $i (0 .. $#expected) {
        like $warnings[$i] // '', qr/\Q$_/, "... that says $_"
            for $expected[$i]->@*;
    }
}

unlike +(warnings(location('/a', $named, "proxy_pass $there;")))[0],
    qr/proxy_ssl_server_name/, 'what is right already is not asked for';

done_testing;


sub location ($path, @lines) {
    push @lines, 'proxy_pass http://127.0.0.1:1;'
        unless grep { /^(?:set|proxy_pass) / } @lines;
    return join "\n", "location $path {", 'aoai_aad on;', @lines, "}\n";
}


# The warnings of nginx -t about the text of a server.
sub warnings ($text) {
    my $gateway = Test::Gateway->new(
        http => "upstream near { server 127.0.0.1:1; server localhost:1; }\n"
        . 'upstream far { server 127.0.0.1:1; server ' . FAR . ":443; }\n"
        . "server {\nlisten 127.0.0.1:%%PORT_gateway%%;\n$text\n}\n");
    my $check = $gateway->check;
    is $check->{status}, 0, 'the configuration is right'
        or diag $check->{output};
    return grep { /\[warn\]/ } split /\n/, $check->{output};
}
