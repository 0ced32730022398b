# On behalf of callers: whose token goes upstream, how often it is exchanged,
# how long it is kept, and what callers are told when there is none.

use v5.36;

use File::Temp;
use IO::Select;
use IO::Socket::INET;
use List::Util 'uniq';
use MIME::Base64 qw(decode_base64 decode_base64url encode_base64url);
use JSON::PP;
use POSIX ();
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure
    qw(form openai sent_token CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(wait_until write_file);
use Test::Gateway::Tenant
    qw(caller_token tenant AUDIENCE CALLER_ID PERSON_ID);

use constant OTHER_PERSON => '88888888-cccc-4ccc-8ccc-888888888888';

# exchanges that a worker has and keeps waiting, at the most
use constant MANY => 1024;

my $openai = openai();


sub gateway ($tenant, %args) {
    my $more = $args{more} // '';
    my $location = $args{location} // '';
    return Test::Gateway->new(workers => $args{workers} // 1,
        %{ $args{new} // {} }, http => <<"END")->start;
aoai_aad_authority_host ${\$tenant->url};
aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
    client_id=${\CLIENT_ID} secret=${\CLIENT_SECRET};
aoai_aad_allowed_hosts 127.0.0.1;
log_format who '\$uri [\$aoai_aad_credential \$aoai_aad_object_id '
    '\$aoai_aad_cache_status] \$status';
access_log %%DIR%%/who.log who;
$more
server {
    listen 127.0.0.1:%%PORT_gateway%%;
    location / {
        aoai_aad on_behalf_of;
        $location
        proxy_pass ${\$openai->url};
    }
    location /short/ {
        aoai_aad on_behalf_of;
        aoai_aad_on_behalf_of_max_age 1s;
        proxy_pass ${\$openai->url};
    }
    location /mirrored/ {
        aoai_aad on_behalf_of;
        aoai_aad_on_behalf_of_max_age 1s;
        mirror /copy;
        proxy_pass ${\$openai->url};
    }
    location /copy { internal; return 204; }
    location /checked/ {
        aoai_aad on_behalf_of;
        aoai_aad_caller audience=${\AUDIENCE} tenant=${\TENANT_ID};
        proxy_pass ${\$openai->url};
    }
    location /status { aoai_aad_status; }
}
END
}

sub ask ($gateway, $token, $path = '/') {
    return request($gateway->port('gateway'), GET => $path,
        headers => [defined $token ? (Authorization => "Bearer $token") : ()]);
}

# What the upstream was told: "jti of oid".
sub sent ($answer) {
    my (undef, $payload) = split /\./, sent_token($answer);
    my $claims = eval { decode_json(decode_base64url($payload // '')) }
        // return "$answer->{status} " . ($answer->{json}{error}{code} // '');
    return "$claims->{jti} of $claims->{oid}";
}

sub exchanges ($tenant) {
    return scalar grep { $_->{method} eq 'POST' } $tenant->requests;
}

sub counts ($gateway) {
    return request($gateway->port('gateway'), GET => '/status')
        ->{json}{on_behalf_of};
}


my $tenant = tenant();
my $gateway = gateway($tenant, workers => 2);
my $token = caller_token();

is exchanges($tenant), 0, 'nothing is asked for before a caller comes';
my $first = sent(ask($gateway, $token));
like $first, qr/^behalf-\d+ of ${\PERSON_ID}$/,
    'the upstream sees the person';
is sent(ask($gateway, $token)), $first, 'and the same token again'
    for 1 .. 4;
is exchanges($tenant), 1, 'which was exchanged once, for all workers';

my ($exchange) = grep { $_->{method} eq 'POST' } $tenant->requests;
is_deeply { form($exchange->{body}) }, {
    grant_type => 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    requested_token_use => 'on_behalf_of', assertion => $token,
    client_id => CLIENT_ID, client_secret => CLIENT_SECRET,
    scope => 'https://cognitiveservices.azure.com/.default',
}, 'as Entra ID wants it';

my $second = sent(ask($gateway, caller_token(oid => OTHER_PERSON)));
like $second, qr/of ${\OTHER_PERSON}$/, 'another person gets another token';
isnt $second =~ s/ .*//r, $first =~ s/ .*//r, '... of their own';
is sent(ask($gateway, $token)), $first, 'and the first one keeps theirs';

my $counts = counts($gateway);
is_deeply [@$counts{qw(entries exchanges evictions)}], [2, 2, 0],
    'the status counts them';
is $counts->{hits}, 5, '... and the requests that had one';
cmp_ok $counts->{capacity}, '>', 100, '... and says how many there is room for';

my $log = $gateway->file_with('who.log', qr/ HIT\] 200$/m);
like $log, qr{^/ \[client_secret ${\PERSON_ID} MISS\] 200$}m,
    'the log has who it was';
like $log, qr{^/ \[client_secret ${\PERSON_ID} HIT\] 200$}m, '... again';
unlike $gateway->log, qr/eyJ|secret\.with/, 'no part of a token is in it';

# what was kept outlives the workers
ok $gateway->reload, 'a reload';
is sent(ask($gateway, $token)), $first, '... keeps what was exchanged';
is exchanges($tenant), 2, '... and exchanges nothing';

is sent(ask($gateway, undef)), '401 invalid_token', 'nobody to act for';
is sent(ask($gateway, 'x')), '401 invalid_token', 'no token at all';
is sent(ask($gateway, caller_token(exp => time - 1))), '401 invalid_token',
    'one that has expired';
is exchanges($tenant), 2, '... for which nobody is asked';
$gateway->stop;


subtest 'many at once' => sub {
    my $tenant = tenant(exchange => sub ($request, $form, $usual) {
        select undef, undef, undef, 0.3;
        return $usual->();
    });
    my $gateway = gateway($tenant, workers => 4);
    my @tokens = map { caller_token(oid => $_) } PERSON_ID, OTHER_PERSON;

    my @requests = map { start_request($gateway->port('gateway'), GET => '/',
        headers => [Authorization => "Bearer $tokens[$_ % 2]"]) } 0 .. 79;
    my @sent = map { sent($_->finish) } @requests;
    is exchanges($tenant), 2, 'an exchange for each of two callers';
    is scalar(uniq @sent), 2, 'and a token for each';
    for my $i (0, 1) {
        my $oid = (PERSON_ID, OTHER_PERSON)[$i];
        is_deeply [uniq map { / of (.*)/ ? $1 : $_ }
            @sent[grep { $_ % 2 == $i } 0 .. $#sent]], [$oid],
            '... that nobody else got';
    }

    # more than are exchanged at a time
    my @many = map { caller_token(jti => $_, signature => 'x') } 1 .. 40;
    @requests = map { start_request($gateway->port('gateway'), GET => '/',
        headers => [Authorization => "Bearer $_"]) } @many;
    is_deeply [uniq map { $_->finish->{status} } @requests], [200],
        'forty callers';
    is exchanges($tenant), 42, '... an exchange for each';

    # one that goes away leaves its exchange to the others
    my $gone = caller_token(jti => 'gone');
    my $request = start_request($gateway->port('gateway'), GET => '/',
        headers => [Authorization => "Bearer $gone"]);
    wait_until { exchanges($tenant) == 43 } 5;
    $request->abort;
    is ask($gateway, $gone)->{status}, 200, 'one who came later';
    is exchanges($tenant), 43, '... has the exchange of one who went';
    $gateway->stop;
};


subtest 'a worker that is killed while it exchanges' => sub {
    my $folder = File::Temp->newdir;
    my $killed = "$folder/killed";
    my $tenant = tenant(exchange => sub ($request, $form, $usual) {
        wait_until { -e $killed } 5;
        return $usual->();
    });
    my $gateway = gateway($tenant, workers => 2,
        new => { expect_alerts => qr/exited on signal 9/ });
    my @requests = map { start_request($gateway->port('gateway'), GET => '/',
        headers => [Authorization => "Bearer $token"]) } 1 .. 20;
    ok((wait_until { exchanges($tenant) } 5), 'an exchange');
    my ($worker) = grep { $tenant->is_connected($_) } $gateway->workers;
    die "no worker is connected\n" unless $worker;
    kill KILL => $worker;
    write_file($killed, '');
    my @status = map { eval { $_->finish->{status} } // 0 } @requests;
    ok !(grep { $_ && $_ != 200 } @status),
        'those who wait in another one get their token';
    is ask($gateway, $token)->{status}, 200, 'and so do those who come';
    cmp_ok exchanges($tenant), '<=', 2, '... by one exchange more';
    $gateway->stop;
};


# how long it is kept
subtest 'the end' => sub {
    my $tenant = tenant(life => 4);
    my $gateway = gateway($tenant);
    ask($gateway, $token);
    ask($gateway, $token);
    is exchanges($tenant), 1, 'a token of some seconds';
    sleep 4;
    is ask($gateway, $token)->{status}, 200, 'is exchanged again at its end';
    is exchanges($tenant), 2, '... once';
    $gateway->stop;

    $tenant = tenant();
    $gateway = gateway($tenant);
    my $short = caller_token(exp => time + 3);
    is ask($gateway, $short)->{status}, 200, 'a caller\'s token of 3 s';
    sleep 4;
    is sent(ask($gateway, $short)), '401 invalid_token',
        'is not acted for after its end, whatever it was exchanged for';
    is exchanges($tenant), 1, '... nor exchanged';

    is ask($gateway, $token, '/short/')->{status}, 200, 'a location of 1 s';
    sleep 2;
    is ask($gateway, $token)->{status}, 200, 'another one keeps it';
    is exchanges($tenant), 2, '... for as long as it lasts';
    is ask($gateway, $token, '/short/')->{status}, 200, 'the first asks again';
    is exchanges($tenant), 3, '... after its second';
    $gateway->stop;
};


# what callers are told
sub failing ($code, $error, $status = 400, %more) {
    return sub ($request, $form, $usual) {
        return [$status, ['Content-Type' => 'application/json', 'Retry-After'
            => 7], encode_json({ error => $error, error_codes => [$code],
            error_description => "AADSTS$code: no <\"> $form->{assertion}",
            %more })];
    };
}

my $claims = '{"access_token":{"acrs":{"essential":true,"value":"c1"}}}';
for my $case (
    ['malformed' => failing(50027, 'invalid_request'), '401 invalid_token',
        'invalid_token'],
    ['of another audience' => failing(50013, 'invalid_grant'),
        '401 invalid_token', 'invalid_token'],
    ['expired over there' => failing(500133, 'invalid_grant'),
        '401 invalid_token', 'invalid_token'],
    ['without a second factor' => failing(50076, 'interaction_required', 400,
        claims => $claims), '401 insufficient_claims', 'insufficient_claims'],
    ['without consent' => failing(65001, 'invalid_grant'),
        '401 insufficient_claims', 'insufficient_claims'],
    ['of an app alone' => failing(7000114, 'invalid_grant'),
        '403 on_behalf_of_refused', 'insufficient_scope'],
    ['of a person not assigned' => failing(50105, 'invalid_grant'),
        '403 on_behalf_of_refused', 'insufficient_scope'],
    ['while we are throttled' => failing(90033, 'temporarily_unavailable',
        503), '503 token_unavailable', undef],
    ['under a wrong secret' => failing(7000215, 'invalid_client', 401),
        '503 token_unavailable', undef],
) {
    my ($name, $exchange, $verdict, $error) = @$case;
    my $tenant = tenant(exchange => $exchange);
    my $gateway = gateway($tenant, location => 'aoai_aad_timeout 3s;');
    $openai->forget;

    my $answer = ask($gateway, $token);
    is sent($answer), $verdict, "a token $name";
    my $asked = exchanges($tenant);
    is sent(ask($gateway, $token)), $verdict, '... and again';
    is exchanges($tenant), $asked, '... for which nobody is asked';
    is $openai->count, 0, '... and nothing goes upstream';

    my $challenge = $answer->{header}{'www-authenticate'};
    if (defined $error) {
        like $challenge, qr/^Bearer realm="Azure OpenAI", error="$error", /,
            'WWW-Authenticate says it';
    } else {
        is $challenge, undef, 'nothing is asked of the caller';
        like $answer->{header}{'retry-after'}, qr/^\d+$/, '... but to wait';
        is $gateway->log_lines(qr/\[error\].*no token on behalf of a caller/),
            1, '... and the log says why, once';
    }
    if ($name =~ /factor/) {
        my ($sent) = $challenge =~ /claims="([^"]+)"/;
        is decode_base64($sent // ''), $claims, 'the claims are passed on';
    }
    unlike join(' ', $gateway->log, values $answer->{header}->%*,
        $answer->{body}), qr/\Q$token/,
        'the token that was repeated is nowhere';
    $gateway->stop;
}


subtest 'failures and successes by turns' => sub {
    my $refused = failing(7000215, 'invalid_client', 401);
    my $tenant = tenant(exchange => sub ($request, $form, $usual) {
        my (undef, $payload) = split /\./, $form->{assertion};
        return decode_json(decode_base64url($payload))->{oid} eq OTHER_PERSON
            ? $refused->($request, $form, $usual) : $usual->();
    });
    my $gateway = gateway($tenant);
    for my $n (1 .. 4) {
        is sent(ask($gateway, caller_token(oid => OTHER_PERSON, n => $n))),
            '503 token_unavailable', 'a failure';
        is ask($gateway, caller_token(n => $n))->{status}, 200, 'a success';
    }
    is $gateway->log_lines(qr/\[error\].*no token on behalf of a caller/), 1,
        'no caller can fill the log with errors';
    is $gateway->log_lines(qr/\[info\].*no token on behalf of a caller/), 3,
        '... but each failure can be seen';
    $gateway->stop;
};


subtest 'checked before' => sub {
    my $tenant = tenant();
    my $gateway = gateway($tenant);
    my $path = '/checked/';
    is sent(ask($gateway, caller_token(aud => 'x'), $path)),
        '401 invalid_token', 'a token that does not pass';
    is sent(ask($gateway, caller_token(idtyp => 'app', oid => CALLER_ID),
        $path)), '403 on_behalf_of_refused', 'one of an app alone';
    is exchanges($tenant), 0, '... are not exchanged';
    like sent(ask($gateway, $token, $path)), qr/ of ${\PERSON_ID}$/,
        'one that passes is';
    $gateway->stop;
};


subtest 'full' => sub {
    my $tenant = tenant();
    my $gateway = gateway($tenant, more => 'aoai_aad_cache_size 128k;');
    my $capacity = counts($gateway)->{capacity};
    cmp_ok $capacity, '<', 60, "a zone for $capacity callers";
    my @tokens = map { caller_token(jti => $_, signature => 'x') } 0 .. 149;

    ask($gateway, $tokens[0]);
    for my $other (@tokens[1 .. $#tokens]) {
        my $status = ask($gateway, $other)->{status};
        is $status, 200, 'a caller more' if $status != 200;
        ask($gateway, $tokens[0]);
    }
    is exchanges($tenant), @tokens, 'each was exchanged once';
    my $counts = counts($gateway);
    is $counts->{entries} + $counts->{evictions}, @tokens,
        "$counts->{evictions} had to go, $counts->{entries} stay";

    ask($gateway, $_) for @tokens[0, -1];
    is exchanges($tenant), @tokens, 'those used last are there';
    ask($gateway, $tokens[1]);
    is exchanges($tenant), @tokens + 1, 'the one used first is not';
    $gateway->stop;
};


subtest 'a token that the upstream does not take' => sub {
    my $tenant = tenant();
    $openai->mode('401');
    my $gateway = gateway($tenant);
    is ask($gateway, $token)->{status}, 401, 'its answer is passed on';
    ask($gateway, $token);
    is exchanges($tenant), 1, 'and it is not exchanged again within a minute';
    $openai->mode('');
    $gateway->stop;
};


# what looks like a token costs an exchange, and whoever sends many of them
# must not have all of the gateway's memory
SKIP: {
    skip 'too few files may be open', 1
        if POSIX::sysconf(POSIX::_SC_OPEN_MAX()) < 4 * MANY;

    subtest 'more callers than may wait' => sub {
        my $hangs = File::Temp->new;
        my $tenant = tenant(exchange => sub ($request, $form, $usual) {
            sleep 2 if -s $hangs->filename;
            return $usual->();
        });
        write_file($hangs->filename, 'yes');
        my $gateway = gateway($tenant, new => { connections => 3 * MANY },
            more => 'aoai_aad_cache_size 16m;');

        my ($head, $claims) = split /\./, $token;
        my @clients = map {
            my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                PeerPort => $gateway->port('gateway'));
            syswrite $socket, "GET / HTTP/1.1\r\nHost: a\r\n"
                . "Authorization: Bearer $head.$claims."
                . encode_base64url("s$_") . "\r\n\r\n";
            $socket;
        } 1 .. MANY + 100;
        my $select = IO::Select->new(@clients);
        my $refused = 0;
        for (1 .. 40) {
            for my $socket ($select->can_read(0.25)) {
                $select->remove($socket);
                sysread $socket, my $answer, 65536;
                $refused++ if $answer =~ /^HTTP\S+ 503 /;
            }
            last if $refused >= 50;
        }
        cmp_ok $refused, '>=', 50, 'the last ones are refused at once';
        cmp_ok $refused, '<=', 100, '... and no others';

        close $_ for @clients;
        write_file($hangs->filename, '');
        is ask($gateway, $token)->{status}, 200,
            'when they have gone there is room again';
        $gateway->stop;
    };
}


# another module may change who asks when it was looked already
my @lua = grep { -e } map { "/usr/lib/nginx/modules/$_" }
    qw(ndk_http_module.so ngx_http_lua_module.so);
my $with_lua = sub ($tenant, $start) {
    return Test::Gateway->new(modules => \@lua, http => <<"END")->$start;
aoai_aad_authority_host ${\$tenant->url};
aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
    client_id=${\CLIENT_ID} secret=${\CLIENT_SECRET};
aoai_aad_allowed_hosts 127.0.0.1;
server {
    listen 127.0.0.1:%%PORT_gateway%%;
    location / {
        aoai_aad on_behalf_of;
        aoai_aad_caller audience=${\AUDIENCE} tenant=${\TENANT_ID};
        set \$who \$aoai_aad_caller_object_id;
        rewrite_by_lua_block {
            ngx.req.set_header("Authorization",
                "Bearer " .. ngx.var.http_x_token)
        }
        proxy_pass ${\$openai->url};
    }
    location /late/ {
        aoai_aad on_behalf_of;
        access_by_lua_block {
            ngx.req.set_header("Authorization",
                "Bearer " .. ngx.var.http_x_token)
        }
        proxy_pass ${\$openai->url};
    }
}
END
};

SKIP: {
    my $tenant = tenant();
    skip 'no Lua module that can be loaded here', 1
        if @lua < 2 || $with_lua->($tenant, 'check')->{status};

    my $gateway = $with_lua->($tenant, 'start');
    for my $person (PERSON_ID, CALLER_ID) {
        my $own = caller_token(oid => $person);
        for (1, 2) {
            my $answer = request($gateway->port('gateway'), GET => '/',
                headers => [Authorization => "Bearer $token",
                    'X-Token' => $own]);
            like sent($answer), qr/ of \Q$person\E$/,
                'who asks is who asks in the end';
        }
        my $answer = request($gateway->port('gateway'), GET => '/late/',
            headers => [Authorization => "Bearer $token",
                'X-Token' => caller_token(oid => $person, n => 'late')]);
        like sent($answer), qr/ of \Q$person\E$/,
            '... also after the access phase, and is waited for';
    }
    $gateway->stop;
}


subtest 'a token that ends while a mirror reads the body' => sub {
    my $tenant = tenant();
    my $gateway = gateway($tenant);
    my $body = start_request($gateway->port('gateway'), POST => '/',
        raw => "POST /mirrored/ HTTP/1.1\r\nHost: gateway.test\r\n"
            . "Authorization: Bearer $token\r\nContent-Length: 4\r\n"
            . "Connection: close\r\n\r\nab");
    sleep 3;
    $body->send('cd');
    like sent($body->finish), qr/^behalf-/, 'is exchanged once more';
    is exchanges($tenant), 2, '... when it has ended';
    $gateway->stop;
};


# the gateway must be able to prove who it is
my $check = Test::Gateway->new(http => <<'END')->check;
aoai_aad_credential managed_identity;
server {
    listen 127.0.0.1:%%PORT_gateway%%;
    location / {
        aoai_aad on_behalf_of;
        aoai_aad_allowed_hosts 127.0.0.1;
        proxy_pass https://127.0.0.1:%%PORT_nobody%%;
    }
}
END
isnt $check->{status}, 0, 'a managed identity alone cannot';
like $check->{output}, qr/\[emerg\] "aoai_aad":.*aoai_aad_credential.*:\d+\n/,
    '... says nginx -t, and where';

done_testing;
