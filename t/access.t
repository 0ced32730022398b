# The token comes after every check of who asks: who is refused is refused
# as without the module, gets no token and causes none to be fetched.

use v5.36;

use File::Temp;
use MIME::Base64 qw(decode_base64 encode_base64);
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure 'imds';
use Test::Gateway::Client;
use Test::Gateway::Server;
use Test::Gateway::System qw(wait_until write_file);

# longer than all that is asked before the token comes
use constant PATIENCE_SECONDS => 600;

my $imds = imds;
my $flags = File::Temp->newdir;
my $silent = imds(sub ($, $, $usual) {
    wait_until { -e "$flags/speak" } PATIENCE_SECONDS;
    return $usual->();
});
# what it says is not asked again within a fetch
my $broken = imds(sub { [403, [], ''] });
my $up = Test::Gateway::Server->new(handler => sub ($request, $) {
    sleep 1 if $request->{path} =~ /slow/;
    return [200, [], 'fine'];
});

# the auth_request service: the path is its answer
my $judge = Test::Gateway::Server->new(handler => sub ($request, $) {
    return [$request->{path} =~ m{/(\d+)}, ['WWW-Authenticate' => 'Judge']];
});

# every combination of checks, a location each
my @CHECKS = map {
    my @all = @$_;
    map { [@all, $_] } '', 'auth_request /judge/200;',
        'auth_request /judge/401;', 'auth_request /judge/403;';
} map {
    my @all = @$_;
    map { [@all, $_] } '', 'auth_basic closed;';
} map {
    my $satisfy = $_;
    map { [$satisfy, $_] } '', 'allow 127.0.0.1; deny all;',
        'allow 127.0.0.2; deny all;';
} 'satisfy all;', 'satisfy any;';

my $proxy = "proxy_pass ${\$up->url};";
my $locations = join '', map {
    "location /checks/$_/ { @{$CHECKS[$_]} $proxy }\n"
} 0 .. $#CHECKS;

$locations .= <<"END";
    auth_basic_user_file %%DIR%%/passwords;

    location /open/ { $proxy }
    location /judge/ {
        internal;
        aoai_aad off;
        proxy_pass_request_body off;
        proxy_set_header Content-Length "";
        proxy_pass ${\$judge->url};
    }
    location /limited/ {
        limit_req zone=often_%%NAME%%;
        limit_req_status 429;
        $proxy
    }
    location /few/ {
        limit_conn few_%%NAME%% 1;
        limit_conn_status 429;
        $proxy
    }
    location /method/ { limit_except GET { deny all; } $proxy }
    location /method-basic/ {
        limit_except GET { auth_basic closed; }
        $proxy
    }
    location /large/ { client_max_body_size 10; $proxy }
    location /internal/ { internal; $proxy }
    location /rewrite/ { if (\$arg_no) { return 402; } $proxy }
    location /denied/ { error_page 403 =410 /gone; deny all; $proxy }
    location /gone { aoai_aad off; return 410; }
    location /nested/ {
        deny all;
        location /nested/inner/ { $proxy }
    }
    location /if/ {
        deny all;
        if (\$arg_x) { $proxy }
        $proxy
    }
    location /any-inner/ {
        satisfy any;
        deny all;
        auth_basic closed;
        location /any-inner/x/ { $proxy }
    }
END

# A server of its own for each state of the module.
sub server ($name, $text) {
    return "limit_req_zone \$server_port zone=often_$name:64k rate=1r/m;\n"
        . "limit_conn_zone \$server_port zone=few_$name:64k;\n"
        . "server { listen 127.0.0.1:%%PORT_$name%%;\n$text\n"
        . $locations =~ s/%%NAME%%/$name/gr . "}\n";
}

# A gateway whose module has the token, none yet, or none at all, and one
# nginx that has no module.
my %common = (files => { passwords => "me:{PLAIN}you\n" }, workers => 1);
my $on = 'aoai_aad on; aoai_aad_allowed_hosts 127.0.0.1; '
    . 'aoai_aad_credential managed_identity; '
    . "aoai_aad_timeout ${\PATIENCE_SECONDS}s; ";

sub gateway ($imds, $name, %more) {
    return Test::Gateway->new(%common, http => server($name, $on), %more,
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url })->start;
}

my %gateway = (
    without => Test::Gateway->new(%common, module => 0,
        http => server(without => '') =~ s/aoai_aad \w+;//gr)->start,
    token => gateway($imds, 'token'),
    waiting => gateway($silent, 'waiting'),
    failed => gateway($broken, 'failed'),
);
ok $silent->wait_for(1), 'one gateway waits for its token';
ok $gateway{failed}->wait_for_log(qr/no token/), 'one has been refused it';


# Returns the answer, and what it is in short: the status, and how the
# client may prove who it is.
sub ask ($name, $method, $path, %more) {
    my $answer = request($gateway{$name}->port($name), $method, $path,
        timeout => 5, %more);
    return $answer, join ' ', $answer->{status},
        $answer->{header}{'www-authenticate'} // ();
}

# What the upstream got as Authorization, a list for each request.
sub received () {
    my @received = $up->requests;
    $up->forget;
    return map {
        [map { $_->[1] } grep { lc $_->[0] eq 'authorization' }
            $_->{headers}->@*]
    } @received;
}

ask(token => GET => '/open/');
my ($token) = map { @$_ } received();
like $token, qr/^Bearer \w+\.\w+\.\w+/a, 'one has its token';


# One test: the module changes nothing about who gets in. Who does gets the
# token, or an error at once, or has to wait.
my @let_in;

sub same ($name, $method, $path, %more) {
    my (undef, $expected) = ask(without => $method, $path, %more);
    my $is_in = $expected =~ /^200/;
    push @let_in, [$name, $method, $path, %more]
        if $is_in && $path =~ /checks|any/;
    received();

    my (undef, $with) = ask(token => $method, $path, %more);
    my @got = received();
    my (undef, $failed) = ask(failed => $method, $path, %more);
    my ($waiting) = $is_in ? () : (ask(waiting => $method, $path, %more))[1];

    return is_deeply {
        status => $with, got => \@got, failed => $failed,
        waiting => $waiting, sent => [received()],
    }, {
        status => $expected, got => $is_in ? [[$token]] : [],
        failed => $is_in ? '503' : $expected,
        waiting => $is_in ? undef : $expected, sent => [],
    }, "$name ($expected)";
}

my %CREDENTIALS = (
    'no password' => [],
    'the right password' => [Authorization => 'Basic '
        . encode_base64('me:you', '')],
    'a wrong password' => [Authorization => 'Basic '
        . encode_base64('me:them', '')],
    'a token of its own' => [Authorization => 'Bearer mine'],
);

for my $i (0 .. $#CHECKS) {
    my $checks = join ' ', grep { $_ } $CHECKS[$i]->@*;
    my @credentials = $checks =~ /basic/ ? sort keys %CREDENTIALS
        : 'a token of its own';

    for my $credential (@credentials) {
        same("$checks $credential", GET => "/checks/$i/",
            headers => $CREDENTIALS{$credential});
    }
}

for my $case (
    ['another method', POST => '/method/'], ['that method', GET => '/method/'],
    ['another method, with no password', POST => '/method-basic/'],
    ['another method, with the password', POST => '/method-basic/',
        headers => $CREDENTIALS{'the right password'}],
    ['a body too large', POST => '/large/', body => 'x' x 11],
    ['a body small enough', POST => '/large/', body => 'x' x 10],
    ['an internal location', GET => '/internal/'],
    ['a return', GET => '/rewrite/?no=1'], ['no return', GET => '/rewrite/'],
    ['an error page', GET => '/denied/'],
    ['a nested location', GET => '/nested/inner/'],
    ['a location with an "if"', GET => '/if/'],
    ['an "if"', GET => '/if/?x=1'],
    ['"satisfy any" of the outer location', GET => '/any-inner/x/'],
    ['the same with the password', GET => '/any-inner/x/',
        headers => $CREDENTIALS{'the right password'}],
    ['a body that is refused', POST => '/nested/inner/', body => 'x' x 99999],
    ['a bad request', GET => '/open/', raw => "GET / HTTP/1.1\r\n\r\n"],
) {
    my ($name, @request) = @$case;
    same($name, @request);
}

same('the first request of a minute', GET => '/limited/');
ask(waiting => GET => '/limited/', timeout => 0.1);
same('the second request of a minute', GET => '/limited/');

{
    my @names = qw(without token waiting);
    my @first = map { start_request($gateway{$_}->port($_),
        GET => '/few/slow') } @names;
    $up->wait_for(2);

    is((ask($_ => GET => '/few/'))[1], 429, "one connection too many, $_")
        for @names;
    is scalar(received()), 2, '... and nothing is sent';
    $_->abort for @first;
}


# what auth_request and the upstream learn of the client
my ($asked) = grep { $CHECKS[$_][0] =~ /all/ && !$CHECKS[$_][1]
    && $CHECKS[$_][2] && $CHECKS[$_][3] =~ /200/ } 0 .. $#CHECKS;
$judge->forget;
ask(token => GET => "/checks/$asked/",
    headers => $CREDENTIALS{'the right password'});
is_deeply [map { $_->{header}{authorization} } $judge->requests],
    [$CREDENTIALS{'the right password'}[1]],
    'auth_request passes on what the client sent';
is_deeply [received()], [[$token]], '... and the upstream gets the token';


# what it cost
is $imds->count, 1, 'one token was fetched';
is $silent->count, 1, 'one token was asked for where none comes';
is $gateway{waiting}->log_lines(qr/no token/), 0,
    'nobody who was refused waited for it';

# who is let in waits for the token, whichever check it was
{
    my @waiting = map {
        my ($name, @request) = @$_;
        start_request($gateway{waiting}->port('waiting'), @request);
    } @let_in;
    select undef, undef, undef, 0.1;
    is_deeply [received()], [], 'nothing is sent before the token is there';
    write_file("$flags/speak", '');

    is $waiting[$_]->finish->{status}, 200, "$let_in[$_][0] (late)"
        for 0 .. $#waiting;
    is_deeply [grep { "@$_" !~ /^Bearer \w+\.\w+\.\w+/ } received()], [],
        '... and all of them have it';
}
$_->stop for @gateway{sort keys %gateway};


# The order in which modules are loaded doesn't matter. All those are taken
# that are installed and can be loaded by themselves.
my @others = grep {
    !Test::Gateway->new(module => 0, modules => [$_],
        http => 'server { listen 127.0.0.1:%%PORT_any%%; }')->check->{status}
} grep { !/aoai_aad/ } glob '/usr/lib/nginx/modules/ngx_http_*_module.so';

for my $order (['modules'], ['modules_after']) {
    my $gateway = gateway($imds, 'ordered', map { $_ => \@others } @$order);
    my ($denied, $basic) = map {
        my $checks = $_;
        grep { join('', $CHECKS[$_]->@*) eq $checks } 0 .. $#CHECKS;
    } 'satisfy all;allow 127.0.0.2; deny all;', 'satisfy any;'
        . 'allow 127.0.0.2; deny all;auth_basic closed;';
    my $name = @others . " other modules, $order->[0]";

    my @got = map {
        my ($path, $credential) = @$_;
        request($gateway->port('ordered'), GET => $path,
            headers => $CREDENTIALS{$credential})->{status};
    } ['/open/', 'no password'], ["/checks/$denied/", 'no password'],
        ["/checks/$basic/", 'a wrong password'],
        ["/checks/$basic/", 'the right password'];
    is_deeply \@got, [200, 403, 401, 200], "$name: who gets in";
    is scalar(grep { "@$_" =~ /^Bearer \S+$/ } received()), 2,
        '... and has a token';
    $gateway->stop;
    last unless @others;
}


# Lua looks at requests when all else has been done, and sees no token.
my @lua = grep { -e } map { "/usr/lib/nginx/modules/$_" }
    qw(ndk_http_module.so ngx_http_lua_module.so);

sub with_lua (%more) {
    return Test::Gateway->new(%common, %more,
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => <<"END");
server {
    listen 127.0.0.1:%%PORT_lua%%;
    $on
    location / {
        access_by_lua_block {
            local all = ngx.req.raw_header() .. (ngx.var.http_authorization
                or "") .. table.concat(ngx.req.get_headers(), "")
            ngx.header["X-Seen"] = ngx.encode_base64(all)
            ngx.header["X-Authorization"] = ngx.req.get_headers()
                ["Authorization"]
            if ngx.var.arg_no then ngx.exit(403) end
        }
        $proxy
    }
    location /content/ {
        content_by_lua_block {
            ngx.print(ngx.var.http_authorization)
        }
    }
}
END
}

SKIP: {
    skip 'no Lua module that can be loaded here', 1
        if @lua < 2 || with_lua(modules => \@lua)->check->{status};

    subtest "Lua, a request that is made anew" => sub {
        $up->forget;
        my $gateway = Test::Gateway->new(%common, modules => \@lua,
            env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
            http => <<"END")->start;
upstream anew {
    server ${\$up->host_port};
    balancer_by_lua_block {
        local balancer = require "ngx.balancer"
        balancer.set_current_peer("127.0.0.1", ${\$up->port})
        assert(balancer.recreate_request())
    }
}
server {
    listen 127.0.0.1:%%PORT_lua%%;
    $on
    location / { proxy_pass http://anew; }
}
END
        for my $case ([GET => undef], [POST => '{"a":"body"}']) {
            my ($method, $body) = @$case;
            my $answer = request($gateway->port('lua'), $method => '/',
                body => $body);
            is $answer->{status}, 200, "$method: an answer";
            $up->wait_for(1);
            my ($sent) = $up->requests;
            $up->forget;
            is scalar(grep { lc $_->[0] eq 'authorization' }
                $sent->{headers}->@*), 1, '... one token';
            is $sent->{body}, $body // '', '... and the body as it was';
        }
        $gateway->stop;
    };

    for my $order (['modules'], ['modules_after']) {
        my $gateway = with_lua(map { $_ => \@lua } @$order)->start;
        my $ask = sub ($path) {
            return request($gateway->port('lua'), GET => $path,
                headers => $CREDENTIALS{'a token of its own'});
        };
        received();
        my $answer = $ask->('/');
        my ($sent) = map { @$_ } received();

        is "$answer->{status} " . ($answer->{header}{'x-authorization'} // ''),
            '200 Bearer mine', "Lua, $order->[0]: sees what the client sent";
        like $sent, qr/^Bearer \S+\.\S+\.\S+$/, '... and the token is sent';
        my ($part) = $sent =~ /\.(\S+)\./;
        unlike decode_base64($answer->{header}{'x-seen'} // ''),
            qr/\Q$part/, '... which it does not see';
        is $ask->('/?no=1')->{status}, 403, '... and it can refuse';
        is $ask->('/content/')->{body}, 'Bearer mine',
            '... and answer by itself';
        is_deeply [received()], [], '... with nothing sent';
        $gateway->stop;
    }
}

done_testing;
