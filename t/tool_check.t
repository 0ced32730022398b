# The command aoai-aad check: what it makes of a configuration, which must be
# what nginx makes of it.

use v5.36;

use JSON::PP;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(
    CLIENT_ID CLIENT_SECRET TENANT_ID entra form imds
);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::System qw(read_file write_file);
use Test::Gateway::Tool 'tool';

my $imds = imds();
my %IMDS = (env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url });
my $APP = 'client_secret tenant_id=' . TENANT_ID . ' client_id=' . CLIENT_ID;

# all that was said
my $said = '';


# Writes files into a new folder, nginx.conf among them, and checks that.
# Returns what tool returns, and the folder.
sub check ($files, @args) {
    my %options = ref $args[0] ? shift(@args)->%* : ();
    my $folder = File::Temp->newdir;
    write_file("$folder/$_", $files->{$_}) for keys %$files;

    my $run = tool(\%options, 'check', "$folder/nginx.conf", @args);
    $said .= $run->{out} . $run->{err};
    $_ =~ s/\Q$folder\E/DIR/g for $run->@{qw(out err)};
    return $run;
}


# The same, with JSON: what the only object says, and the status.
sub object ($files, @options) {
    my $run = check($files, @options, '--json');
    like $run->{out}, qr/\A\{[^\n]*\}\n\z/, 'one line of JSON';
    is $run->{err}, '', 'and nothing else';
    my $object = eval { JSON::PP->new->ascii->decode($run->{out}) } // {};
    return ($object, $run->{status});
}


# The identities as names with the lines that use them.
sub used ($object) {
    return map { my $identity = $_; [$identity->{name} => map {
        "$_->{file}:$_->{line}" =~ s{^DIR/}{}r
    } $identity->{places}->@*] } $object->{identities}->@*;
}


sub guid ($number) {
    return sprintf '%08d-0000-4000-8000-000000000000', $number;
}

sub machine ($number) { return 'managed_identity client_id=' . guid($number) }


subtest 'a configuration' => sub {
    my $run = check({ 'nginx.conf' => <<"END" }, \%IMDS);
events { }
http {
    server {
        location / {
            aoai_aad on;
            proxy_pass https://x.openai.azure.com;
        }
        location /other {
            aoai_aad on;
            aoai_aad_credential ${\machine(1)};
            proxy_pass https://x.openai.azure.com;
        }
    }
}
END
    is $run->{status}, 0, 'has a token for each identity';
    is $run->{err}, '', 'with nothing on standard error';
    like $run->{out}, qr{\A
        Identity\ 1\ of\ 2,\ of\n
        \ +DIR/nginx\.conf:4\ location\ /\n
        \n
        Chain:\ +workload_identity,\ managed_identity,.*\n
        (?s:.*?)
        1\.\ workload_identity:\ unavailable\n
        .*\n
        2\.\ managed_identity:\ token\n
        (?:\d\.\ \w+:\ not\ asked\n)+
        \n
        Token\ of:\ +managed_identity\n
        (?s:.*?)
        Identity\ 2\ of\ 2,\ of\n
        \ +DIR/nginx\.conf:8\ location\ /other\n
        (?s:.*)
        ^Client\ id:\ +${\guid(1)}\n
        (?s:.*)
        ^2\ of\ 2\ with\ a\ token\n
        \z}mx, 'and says so of each, with its place';

    my ($object, $status) = object({ 'nginx.conf' => http(<<"END") }, \%IMDS);
aoai_aad on;
server {
    location /a { proxy_pass http://x; }
    location /b { aoai_aad_credential environment; proxy_pass http://x; }
}
END
    is $status, 1, 'one identity without a token is no success';
    is $object->{identities}[0]{credential}, 'managed_identity',
        'the one has a token';
    like $object->{identities}[1]{error}{message}, qr/no step/,
        'the other has an error';
    is_deeply $object->{errors}, [], 'which is none of the configuration';
};


subtest 'levels' => sub {
    my ($object) = object({ 'nginx.conf' => http(<<"END") }, \%IMDS);
aoai_aad on;
aoai_aad_credential ${\machine(1)};
server {
    location /1 { proxy_pass http://x; }
    location /2 { aoai_aad_credential ${\machine(2)}; proxy_pass http://x;
        location /2/1 { proxy_pass http://x; }
        location /2/2 {
            proxy_pass http://x;
            aoai_aad_credential ${\machine(3)};
            aoai_aad_credential environment;
        }
        if (\$x = "top-secret") { proxy_pass http://y; }
        if (\$y) { set \$y 1; }
        limit_except GET { proxy_pass http://y; }
    }
    location /3 { aoai_aad off; proxy_pass http://x;
        location /3/1 { proxy_pass http://x; }
        location /3/2 { aoai_aad on; proxy_pass http://x; }
        if (\$x) { aoai_aad on; }
    }
    location /4 { }
    location /5 { return 200; }
    location /6 { proxy_pass http://x; fastcgi_pass y; }
    location /7 { proxy_pass http://x; if (\$z) { grpc_pass y; } }
    location \@named { proxy_pass http://x; aoai_aad_timeout 1m; }
    location /8 { proxy_pass http://x; aoai_aad_scope api://x/.default; }
}
server {
    aoai_aad_credential ${\machine(4)};
    location / { proxy_pass http://x; }
}
END
    is_deeply [used($object)], [
        [machine(1) => map { "nginx.conf:$_" } 5, 19, 20, 25, 26],
        [machine(2) => map { "nginx.conf:$_" } 6, 7, 13, 14, 15],
        [machine(3) . ', environment' => 'nginx.conf:8'],
        [machine(1) => 'nginx.conf:27'],
        [machine(4) => 'nginx.conf:31'],
    ], 'each location has the identity that nginx gives it';
    is_deeply [map { $_->{block} } $object->{identities}[1]{places}->@*],
        ['location /2', 'location /2/1', 'if', 'if', 'limit_except GET'],
        'what stands in a condition is not shown';
};


subtest 'all settings' => sub {
    my $entra = entra();
    my %files = (
        'conf.d/secret' => CLIENT_SECRET . "\n",
        'ca.pem' => read_file(certificate()->{ca}),
        'nginx.conf' => http(<<"END"),
aoai_aad_credential $APP secret_file=conf.d/secret;
aoai_aad_authority_host ${\$entra->url};
aoai_aad_ssl_trusted_certificate ca.pem;
aoai_aad_scope api://x/.default;
aoai_aad_allowed_hosts y;
aoai_aad_cache_size 1m;
server { location / { aoai_aad on; proxy_pass http://x; } }
server { aoai_aad on; location /status { aoai_aad_status json; } }
END
    );
    my ($object, $status) = object(\%files);
    is $status, 0, 'are used, names relative to the configuration';
    is $object->{identities}[0]{audience}, 'api://x', 'the scope';
    my ($request) = $entra->requests;
    is { form($request->{body}) }->{client_secret}, CLIENT_SECRET,
        'the secret';

    ($object, $status) = object({ %files,
        'ca.pem' => read_file(certificate('other_ca')->{ca}) });
    is $status, 1, 'the CAs are used';
    like $object->{identities}[0]{error}{message}, qr/certificate/,
        'and what they do not know is refused';
};


subtest 'callers' => sub {
    my $entra = entra();
    my $ca = read_file(certificate()->{ca});
    my ($object, $status) = object({ 'ca.pem' => $ca,
        'nginx.conf' => http(<<"END") });
aoai_aad_credential $APP secret=${\CLIENT_SECRET};
aoai_aad_authority_host ${\$entra->url};
aoai_aad_ssl_trusted_certificate ca.pem;
aoai_aad_caller audience=api://x tenant=${\TENANT_ID} roles=x;
aoai_aad_on_behalf_of_max_age 5m;
server { location / { aoai_aad on_behalf_of; proxy_pass http://x; } }
END
    is $status, 0, 'what acts on their behalf is known';
    is_deeply [used($object)], [[$APP => 'nginx.conf:7']],
        'and its own token is asked for, for want of a caller';
};


subtest 'includes' => sub {
    my %files = (
        'nginx.conf' => 'events { } http { include sites/*.conf; '
            . 'include "one.conf"; include none/*; }',
        'one.conf' => "server { include locations.inc; }\n",
        'sites/1.conf' => "aoai_aad on;\n",
        'sites/2.conf' => "\n\nserver { location /2 { proxy_pass http://x; } }",
        'sites/other' => 'nothing }',
        'locations.inc' => "location /3 {\n proxy_pass http://x; }\n",
    );
    my ($object, $status) = object(\%files, \%IMDS);
    is $status, 0, 'are read';
    is_deeply [map { @$_[1 .. $#$_] } used($object)],
        ['sites/2.conf:3', 'locations.inc:1'], 'and are the places';

    ($object) = object({ %files, 'locations.inc' => "\naoai_aad maybe;" });
    is "$object->{errors}[0]{file}:$object->{errors}[0]{line}",
        'DIR/locations.inc:2', 'also of what is wrong';

    my $folder = File::Temp->newdir;
    write_file("$folder/conf/$_", $files{$_}) for keys %files;
    for my $run (
        tool(\%IMDS, 'check', '-p', "$folder/", 'conf/nginx.conf'),
        tool(\%IMDS, 'check', "--prefix=$folder/conf", 'nginx.conf'),
        tool({ %IMDS, dir => "$folder/conf" }, 'check', 'nginx.conf'),
        tool({ %IMDS, dir => "$folder" }, 'check', 'conf/nginx.conf'),
        tool(\%IMDS, 'check', "$folder/conf/nginx.conf", '-p', '/none'),
    ) {
        is $run->{status}, 0, 'found from anywhere' or diag $run->{err};
    }

    for my $case (
        ['include nginx.conf;' => qr/nested too deep/],
        ['include nginx.conf; ' x 2 => qr/nested too deep|too large/],
        ['include missing;' => qr{"DIR/missing": No such file}],
        ['include ".";' => qr{cannot read the file "DIR/\."}],
        ['include a b;' => qr/number of arguments in "include"/],
        ['include;' => qr/number of arguments in "include"/],
        ['include a { }' => qr/"include" is not terminated by ";"/],
        ['include ' . 'a/' x 2040 . ';' => qr/too long/],
    ) {
        my ($text, $expected) = @$case;
        my $run = check({ 'nginx.conf' => $text });
        is $run->{status}, 1, 'wrong: ' . substr $text, 0, 30;
        like $run->{err},
            qr{\Aaoai-aad: .*$expected.* in DIR/nginx\.conf:1\n\z},
            'is said with its place';
    }
};


subtest 'blocks of other languages' => sub {
    my ($object, $status) = object({ 'nginx.conf' => http(<<'END') }, \%IMDS);
init_by_lua_block {
    local t = { a = "}", b = '\'}', c = [[ } ]], d = [==[ ]] } ]==] }
    -- } a comment's
    --[[ } { {
    ]] --[=[ ]] } ]=]
    function f() return { { } } end
}
map $a $b {
    default "{";
    aoai_aad x;
    "~^\w{2}$" "}";
}
types { aoai_aad_x y; }
server {
    set_by_lua_block $x { return "}" }
    location /${a}b {
        content_by_lua_block { ngx.say("}") }
        proxy_pass http://${x}/$1;
        aoai_aad on; # } aoai_aad off;
    }
}
END
    is_deeply $object->{errors}, [], 'are passed over';
    is $status, 0, 'the rest is read';
    is_deeply [map { @$_[1 .. $#$_] } used($object)], ['nginx.conf:17'],
        'with its lines counted';
};


subtest 'nothing to do' => sub {
    for my $text ('', 'events { }', http('server { location / { } }'),
        http('aoai_aad on; server { location / { return 200; } }'))
    {
        my ($object, $status) = object({ 'nginx.conf' => $text });
        is $status, 1, 'is no success';
        like $object->{errors}[0]{message}, qr/nothing to check/, 'and said';
    }
};


subtest 'wrong usage' => sub {
    for my $case (
        [[] => qr/FILE is needed/],
        [['a', 'b'] => qr/one FILE/],
        [['--jsn', 'a'] => qr/"--jsn", it must be one of: --json --prefix -p/],
        [['x' x 5000] => qr/too long/],
    ) {
        my ($arguments, $expected) = @$case;
        my $run = tool('check', @$arguments);
        is $run->{status}, 2, 'is told apart';
        like $run->{err}, $expected, 'and explained';
    }
    my $run = tool('check', '/none/nginx.conf');
    is $run->{status}, 1, 'a file that is missing is none';
    like $run->{err}, qr{^aoai-aad: .*"/none/nginx.conf": No such file},
        'and is named';
};


# Every error of a configuration, and all of them.
subtest 'wrong values' => sub {
    my $wrong = http(<<"END");
aoai_aad_scope x;
server {
    aoai_aad maybe;
    location / {
        aoai_aad_credential $APP
            secret=top-secret
            key=top-secret;
        aoai_aad_timeout soon;
        aoai_aad_credental environment;
    }
}
END
    my $run = check({ 'nginx.conf' => $wrong });
    is $run->{status}, 1, 'are no success';
    is $run->{out}, '', 'nobody is asked';
    my @errors = split /\n/, $run->{err};

    for my $expected (
        qr{"aoai_aad_scope": "x" is wrong,.* in DIR/nginx\.conf:2$},
        qr{"aoai_aad": "maybe" is wrong,.* in DIR/nginx\.conf:4$},
        qr{"aoai_aad_credential": .*no parameter "key".*DIR/nginx\.conf:8$},
        qr{"aoai_aad_timeout": "soon" is wrong.* in DIR/nginx\.conf:9$},
        qr{unknown directive "aoai_aad_credental" in DIR/nginx\.conf:10$},
    ) {
        like shift @errors, qr/^aoai-aad: $expected/, 'each has its place';
    }
    is @errors, 0, 'and there are no more';

    my ($object) = object({ 'nginx.conf' => $wrong });
    is_deeply [map { $_->{line} } $object->{errors}->@*], [2, 4, 8, 9, 10],
        'in JSON too';

    $run = check({ 'nginx.conf' => http('aoai_aad on; server { location / {'
        . ' proxy_pass http://x; } }') },
        { env => { AZURE_AUTHORITY_HOST => 'http://localhost' } });
    is $run->{status}, 1, 'so is one of the environment';
    like $run->{err}, qr/^aoai-aad: AZURE_AUTHORITY_HOST in the environment/,
        'which has no place';
};


# Whether nginx -t and we accept the same, and name the same place.
my $in = "server { listen 127.0.0.1:%%PORT_http%%; location / {\n";
my $up = "proxy_pass http://127.0.0.1:%%PORT_nobody%%;";

for my $case (
    ['quotes', qq(${in}aoai_aad "on"; "aoai_aad_scope"\n'api://x/.default';
        set \$x "a;b}"; set \$y 'it\\'s'; set \$z a\\;b\\{c; $up }})],
    ['escapes', qq($in aoai_aad_timeout "1\\0s"; $up }})],
    ['comments', qq($in# } ; {\naoai_aad#on\non; $up#}\n}})],
    ['a comment in a word', qq(${in}aoai_aad on; set \$x a#b; $up }})],
    ['variables', qq(${in}set \$x "\${uri}b"; return 200 \${x}b; }})],
    ['a quote in a word', qq(${in}set \$x a"b'c; return 200; }})],
    ['lines of another system', "${in}aoai_aad on;\r\n$up\r\n}}\r\n"],
    ['a parenthesis', qq(${in}if (\$uri = "x") { return 403; } $up }})],
    ['parts of a time', qq(${in}aoai_aad_timeout "1h 30m 5s 10ms"; $up }})],
    ['a time of no unit', qq(${in}aoai_aad_timeout "1m30"; $up }})],
    ['units in no order', qq(${in}aoai_aad_timeout 1s1m; $up }})],
    ['a unit twice', qq(${in}aoai_aad_timeout 1s1s; $up }})],
    ['a year', qq(${in}aoai_aad_timeout 1y; $up }})],
    ['a minute of a word', qq(${in}aoai_aad_timeout 1min; $up }})],
    ['no end of a block', qq($in $up }\n\n)],
    ['an end too much', qq($in $up }}\n } #)],
    ['no end of a quote', qq($in set \$x "a; $up }})],
    ['text after a quote', qq($in set \$x "a"b; $up }})],
    ['an empty directive', qq($in ; $up }})],
    ['an empty block', qq($in { } $up }})],
    ['an end in a directive', qq($in aoai_aad\n } $up }})],
    ['a word too long', qq($in\nset \$x ) . 'x' x 4096 . "; $up }}"],
    ['a word as long as may be', qq($in\nset \$x ) . 'x' x 4000 . "; $up }}"],
    ['the wrong place: main', '', main => "aoai_aad on;\n"],
    ['the wrong place: events', 'aoai_aad on; } events { aoai_aad on;'],
    ['the wrong place: upstream', 'upstream u { aoai_aad on; }'],
    ['the wrong place: if of a server',
        "server { if (\$uri) {\naoai_aad on; } }"],
    ['the wrong place: if', "$in if (\$uri) {\naoai_aad_proxy off; } $up }}"],
    ['the wrong place: limit_except',
        "$in limit_except GET {\naoai_aad on; } $up }}"],
    ['twice', "${in}aoai_aad on;\naoai_aad on;\n$up }}"],
    ['no argument', "${in}aoai_aad\n; $up }}"],
    ['two arguments', "${in}aoai_aad on on; $up }}"],
    ['a block', "${in}aoai_aad on { } $up }}"],
    ['a wrong value', "${in}aoai_aad_proxy\nx; $up }}"],
    ['an included mistake', "${in}include more; $up }}",
        files => { more => "\n\naoai_aad maybe;\n" }],
    ['an include that is missing', "$in\ninclude missing; $up }}"],
    ['a pattern of nothing', "$in\ninclude missing*; $up }}"],
) {
    my ($name, $http, %more) = @$case;
    my $gateway = Test::Gateway->new(http => $http, %more);
    my $check = $gateway->check;
    my $run = tool('check', '--json', $gateway->dir . '/check.nginx.conf');
    my ($error) = grep { defined $_->{line} }
        eval { JSON::PP->new->decode($run->{out})->{errors}->@* };
    my ($place) = $check->{output} =~ /\[emerg\] .* in (\S+:\d+)$/m;

    is defined $error ? 'refused' : 'accepted',
        $check->{status} ? 'refused' : 'accepted', "as nginx does: $name"
        or diag $check->{output}, $run->{out}, $run->{err};
    is defined $error ? "$error->{file}:$error->{line}" : undef, $place,
        'at the same place' if $check->{status};
}


is join("\n", grep { /top-secret|\Q${\CLIENT_SECRET}\E/ } split /\n/, $said),
    '', 'no secret is in anything that was said';
is join("\n", grep { /\bey[\w-]{8,}|token-\d/ } split /\n/, $said), '',
    'nor a part of a token';

done_testing;


# The text in an http block, from its second line on.
sub http ($text) { return "events { } http {\n$text}\n" }
