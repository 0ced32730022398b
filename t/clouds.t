# Sovereign clouds: nginx -t warns where authority, scope and hosts are not of
# one cloud, once for each place, and lets all go together that does.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(form imds openai);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'read_file';

use constant {
    PUBLIC => 'https://login.microsoftonline.com',
    US     => 'https://login.microsoftonline.us',
    CHINA  => 'https://login.chinacloudapi.cn',
};


# The contract's table 8.1 with 11.2 and 11.3: what goes together.
for my $row (
    ['Public', PUBLIC, 'com'],
    ['Public, an alias', 'https://login.windows.net', 'com'],
    ['US Government', US, 'us'],
    ['US Government, an alias', 'https://login.usgovcloudapi.net', 'us'],
    ['China', CHINA, 'cn'],
    ['China, the newer alias', 'https://login.partner.microsoftonline.cn',
        'cn'],
    ['an authority of one\'s own', 'https://login.example.com', 'us'],
    ['a loopback address', 'http://127.0.0.1:1', 'us'],
) {
    my ($name, $authority, $domain) = @$row;

    is_deeply [warnings(location('/', authority($authority), scope($domain),
        "aoai_aad_allowed_hosts *.openai.azure.$domain;",
        proxy_pass("x.openai.azure.$domain")))], [],
        "8.1 $name: nothing is said of what goes together";
}


# ... and what does not: the lines of a location => the directive that is
# named, its line, and what the warning says.
for my $case (
    ['a .us scope with the public authority', [authority(), scope('us')],
        'aoai_aad_scope', scope('us'),
        'https://cognitiveservices.azure.us/.default', PUBLIC,
        'aoai_aad_authority_host ' . US],
    ['the same, written', [authority(PUBLIC), scope('us')],
        'aoai_aad_scope', scope('us'), 'Azure Government',
        'the public cloud'],
    ['a .us authority with the default scope', [authority(US)],
        'aoai_aad_authority_host', authority(US),
        'https://cognitiveservices.azure.com/.default', US,
        'aoai_aad_scope https://cognitiveservices.azure.us/.default'],
    ['a .cn scope with the .us authority', [authority(US), scope('cn')],
        'aoai_aad_scope', scope('cn'), 'Azure in China', 'Azure Government',
        CHINA],
    ['a sovereign authority with the public scope',
        [authority('https://login.sovcloud-identity.fr')],
        'aoai_aad_authority_host',
        authority('https://login.sovcloud-identity.fr'),
        'a sovereign cloud'],
    ['an allowed host of another cloud', [authority(PUBLIC),
        'aoai_aad_allowed_hosts x.openai.azure.com *.openai.azure.us;'],
        'aoai_aad_allowed_hosts',
        'aoai_aad_allowed_hosts x.openai.azure.com *.openai.azure.us;',
        '"*.openai.azure.us"', PUBLIC, '*.openai.azure.com',
        'aoai_aad_authority_host ' . US],
    ['a proxy_pass to another cloud',
        [authority(PUBLIC), proxy_pass('my.openai.azure.us')], 'upstream',
        'upstream my.openai.azure.us {', 'my.openai.azure.us', PUBLIC,
        'aoai_aad_authority_host ' . US],
) {
    my ($name, $lines, $directive, $line, @words) = @$case;

    subtest $name => sub {
        my ($warning, @more) = warnings(location('/', @$lines));
        is @more, 0, 'there is one warning';
        like $warning->{text}, qr/"$directive": /, 'that names the directive';
        is $warning->{line}, $line, 'and its line';
        like $warning->{text}, qr/\Q$_/, "and says: $_" for @words;
    };
}


subtest 'AZURE_AUTHORITY_HOST' => sub {
    my ($warning, @more) = warnings(location('/', scope('us')),
        env => { AZURE_AUTHORITY_HOST => 'https://127.0.0.1:1' });
    is $warning, undef, 'counts as much as the directive';
};


subtest 'once for each place' => sub {
    my $authority = authority(PUBLIC);
    my @locations = map { location("/$_") } 1 .. 3;
    my ($warning, @more) = warnings(join "\n", $authority, scope('us'),
        @locations);
    is @more, 0, 'three locations that inherit a scope warn once';
    is $warning->{line}, scope('us'), 'of the line that it is in';

    my @warnings = warnings(join "\n", $authority,
        map { location("/$_", scope('us')) } 1 .. 3);
    is @warnings, 3, 'three that write it themselves warn each';

    @warnings = warnings(location('/', $authority, scope('us'),
        'if ($arg_x) {', 'set $x 1;', '}'));
    is @warnings, 1, 'what is nested in one warns with it';
};


subtest 'a list for several clouds' => sub {
    my $list = 'aoai_aad_allowed_hosts *.openai.azure.com *.openai.azure.us;';
    my $us = location('/us', authority(US), scope('us'),
        proxy_pass('x.openai.azure.us'));
    my $public = location('/public', authority(PUBLIC),
        proxy_pass('x.openai.azure.com'));

    is_deeply [warnings("$list\n$us\n$public")], [],
        'is right where each of its hosts is for a location';
    my ($warning, @more) = warnings("$list\n$public");
    is @more, 0, 'and else there is a warning';
    is $warning->{line}, $list, 'of its line';
};


subtest 'what is no name of a cloud' => sub {
    is_deeply [warnings(location('/', authority(PUBLIC),
        'aoai_aad_scope api://my-app/.default;',
        'aoai_aad_allowed_hosts 127.0.0.1 [::1] gateway.example.com:443;',
        proxy_pass('models')))], [], 'is left alone';
};


subtest 'what is off' => sub {
    is_deeply [warnings(join "\n", authority(PUBLIC), scope('us'),
        'location / {', proxy_pass('x.openai.azure.us'), '}')], [],
        'is not looked at';
};


subtest 'a warning' => sub {
    my $openai = openai();
    my $imds = imds();
    my $gateway = Test::Gateway->new(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => server(location('/', authority(US),
            'aoai_aad_credential managed_identity;',
            'aoai_aad_allowed_hosts 127.0.0.1;',
            'proxy_pass ' . $openai->url . ';')));
    $gateway->start;

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'keeps nobody from being served';
    $gateway->stop;
    my %query = form(($imds->requests)[0]{query});
    is $query{resource}, 'https://cognitiveservices.azure.com',
        'with the scope that was asked for';
};

done_testing;


sub authority ($host = PUBLIC) { return "aoai_aad_authority_host $host;" }

sub scope ($domain) {
    return "aoai_aad_scope https://cognitiveservices.azure.$domain/.default;";
}


# The names of Azure are never looked up: server() adds an upstream of the
# name.
sub proxy_pass ($name) { return "proxy_pass https://$name;" }


sub location ($path, @lines) {
    push @lines, 'proxy_pass http://127.0.0.1:1;'
        unless grep { /^proxy_pass/ } @lines;
    return join "\n", "location $path {", 'aoai_aad on;', @lines, '}';
}


sub server ($text) {
    my %names = map { $_ => 1 } $text =~ m{^proxy_pass https://(.+);}mg;
    my @upstreams = map { "upstream $_ {\nserver 127.0.0.1:1;\n}\n" }
        sort keys %names;
    return "@upstreams server {\nlisten 127.0.0.1:%%PORT_gateway%%;\n"
        . "$text\n}\n";
}


# The warnings of nginx -t about the text of a server: { text, line => the
# line of the configuration that it names }.
sub warnings ($text, %args) {
    my $gateway = Test::Gateway->new(%args, http => server($text));
    my $check = $gateway->check;
    is $check->{status}, 0, 'the configuration is right'
        or diag $check->{output};
    my @lines = split /\n/, read_file($gateway->dir . '/check.nginx.conf');

    return map { { text => $_, line => /:(\d+)$/
        ? $lines[$1 - 1] =~ s/^\s+//r : '' } }
        grep { /\[warn\]/ } split /\n/, $check->{output};
}
