# What aoai_aad_status shows, in its forms for programs, and readiness below
# it. The page is in status_page.t.

use v5.36;

use Encode ();
use File::Temp;
use IPC::Open3 'open3';
use JSON::PP ();
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(
    CLIENT_ID OBJECT_ID TENANT_ID entra form imds jwt openai sent_token
);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(read_file wait_until write_file);

use constant {
    JSON_TYPE  => 'application/json',
    HTML       => 'text/html',
    PROMETHEUS => 'text/plain;version=0.0.4',
};

my $flags = File::Temp->newdir;
my $openai = openai();


# What the client_ids of identities are told by: 1 is well, 2 doesn't end
# its second answer, 3 fails from the second on, 4 fails, 5 never answers.
sub id ($number) {
    return sprintf '%08d-0000-4000-8000-000000000000', $number;
}

my $imds = imds(sub ($request, $, $usual) {
    my ($number) = $request->{query} =~ /client_id=0*(\d+)-/ or
        return $usual->();
    my $is_again = -e "$flags/$number" || !mkdir "$flags/$number";

    sleep 60 if $number == 5 || $number == 2 && $is_again;
    return [400, [], '{"error":"invalid_request",'
        . '"error_description":"Identity not found"}']
        if $number == 4 || $number == 3 && $is_again && !-e "$flags/well";
    my $answer = $usual->();
    $answer->[2] =~ s/\}$/,"refresh_in":1}/ if $number =~ /[23]/;
    # short, so that it is renewed soon
    $answer->[2] =~ s/"expires_\w+":"\d+",?//g if $number =~ /[23]/;
    $answer->[2] =~ s/\{/{"expires_in":"100",/ if $number =~ /[23]/;
    return $answer;
});


subtest 'JSON, metrics and counters, over workers and a reload' => sub {
    my $gateway = gateway(workers => 4, http => <<"END");
location / { proxy_pass ${\$openai->url}; }
location /elsewhere {
    aoai_aad_allowed_hosts x.example.com;
    proxy_pass ${\$openai->url};
}
location /other {
    aoai_aad_scope api://other/.default;
    proxy_pass ${\$openai->url};
}
END
    ask($gateway, '/') for 1 .. 40;
    is ask($gateway, '/elsewhere')->{status}, 502, 'a host is denied';
    my $status = status($gateway);
    my ($token, $other) = $status->{tokens}->@*;

    is_deeply [sort keys %$status],
        [qw(at callers module on_behalf_of ready tokens)], 'its parts';
    like $status->{module}{version}, qr/^\d+\.\d+\.\d+$/, 'the version';
    is_deeply [map { $_->{name} } $status->{tokens}->@*],
        ['managed_identity, environment',
            'managed_identity, environment #2'],
        'two identities of one chain have two names';
    is_deeply $other->{scope}, 'api://other/.default', '... and scopes';

    is_deeply { map { $_ => $token->{$_} } qw(scope chain credential
            client_id object_id tenant_id state ready last_error) }, {
        scope => 'https://cognitiveservices.azure.com/.default',
        chain => ['managed_identity', 'environment'],
        credential => 'managed_identity', client_id => CLIENT_ID,
        object_id => OBJECT_ID, tenant_id => TENANT_ID, state => 'valid',
        ready => JSON::PP::true, last_error => undef,
    }, 'what is known of the token';
    cmp_ok $token->{expires_in}, '>', 3500, 'seconds to its end';
    cmp_ok $token->{expires_in}, '<=', 3599, '... no more than it was given';
    cmp_ok $token->{refresh_in}, '>', 2500, 'seconds to its refresh';
    cmp_ok $token->{refresh_in}, '<', $token->{expires_in}, '... before it';
    is_deeply [map { [@$_{qw(credential result)}] }
        $token->{attempts}->@*], [['managed_identity', 'ok'],
        ['environment', 'skipped']], 'the verdicts on the steps';

    my $requests = $token->{requests};
    is_deeply [sort keys %$requests], [qw(error hit miss stale)],
        'counters by result';
    is $requests->{hit} + $requests->{miss}, 40,
        'each request is counted once';
    is $requests->{error}, 1, '... the one to a denied host as an error';
    is $token->{denied_hosts}, 1, '... and as that';
    is $token->{waits}{count}, $requests->{miss},
        'those that missed it have waited';
    is_deeply [@$token{qw(refreshes failures)}], [1, 0], 'fetches';
    is_deeply $other->{requests}, { hit => 0, miss => 0, stale => 0,
        error => 0 }, 'and those of another identity are its own';
    is_deeply $status->{on_behalf_of}, { map { $_ => 0 } qw(entries capacity
        exchanges failures hits evictions) }, 'on behalf of nobody';

    # every worker says the same
    my %seen = map { $_->{requests}{hit} => 1 }
        map { status($gateway)->{tokens}[0] } 1 .. 20;
    is_deeply [keys %seen], [$requests->{hit}], 'whichever worker is asked';

    my %metric = metrics($gateway);
    my $name = 'identity="managed_identity, environment"';
    is $metric{"aoai_aad_requests_total{$name,result=\"hit\"}"},
        $requests->{hit}, 'the metrics are of the same data';
    is $metric{"aoai_aad_hosts_denied_total{$name}"}, 1, '... denied hosts';
    is $metric{"aoai_aad_token_state{$name,state=\"valid\"}"}, 1,
        '... the state';
    is $metric{"aoai_aad_token_state{$name,state=\"failed\"}"}, 0,
        '... and not another';
    my $left = $metric{"aoai_aad_token_expiry_timestamp_seconds{$name}"}
        - time;
    ok $left > 3500 && $left < 3600, '... when the token ends';
    my $histogram = 'aoai_aad_fetch_duration_seconds';
    my $step = 'credential="managed_identity"';
    is $metric{"${histogram}_count{$step}"}, 2, '... how long fetches took';
    is $metric{"${histogram}_bucket{$step,le=\"+Inf\"}"}, 2, '... in buckets';
    ok $metric{"${histogram}_sum{$step}"} > 0, '... and in all';
    like join("\n", keys %metric), qr/^aoai_aad_build_info\{version="/m,
        '... and the version';

    ok $gateway->reload, 'a reload';
    ask($gateway, '/') for 1 .. 7;
    my $after = status($gateway)->{tokens}[0]{requests};
    is $after->{hit}, $requests->{hit} + 7, '... forgets nothing';

    kill KILL => ($gateway->workers)[0];
    wait_until { $gateway->workers == 4 } 5;
    ask($gateway, '/') for 1 .. 3;
    is status($gateway)->{tokens}[0]{requests}{hit}, $after->{hit} + 3,
        '... nor does the end of a worker';
    $gateway->stop;
};


subtest 'states' => sub {
    my $gateway = gateway(http => join '', map { location("/$_",
        "aoai_aad_credential managed_identity client_id=${\id($_)};"
        . ($_ == 5 ? 'aoai_aad_timeout 500ms;' : '')) } 1 .. 5);
    my $port = $gateway->port('http');
    my $ready = request($port, GET => '/status/ready');
    is $ready->{status}, 503, 'not ready while one has no token';
    my %state;
    ok wait_until(sub {
        %state = map { $_->{name} =~ /=0*(\d+)-/ ? ($1 => $_) : () }
            status($gateway)->{tokens}->@*;
        join(' ', map { $state{$_}{state} } 1 .. 5)
            eq 'valid refreshing stale failed empty';
    }, 60), 'valid, refreshing, stale, failed and empty'
        or diag explain { map { $_ => $state{$_}{state} } keys %state };

    is $state{1}{last_error}, undef, 'valid: no error';
    is $state{2}{fetching}, JSON::PP::true, 'refreshing: there is a fetch';
    ok $state{2}{ready}, '... and a token';

    is $state{3}{failures} > 0, 1, 'stale: the refresh has failed';
    is $state{3}{refreshes}, 1, '... after a success';
    is $state{3}{credential}, 'managed_identity', '... whose token serves';
    my $error = $state{3}{last_error};
    is $error->{credential}, 'managed_identity', '... its error: who';
    is $error->{code}, 'invalid_request', '... the code';
    like $error->{message}, qr/Identity not found/, '... the message';
    like $error->{hint}, qr/assign it/, '... and what to do';
    like $error->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, '... when';
    is $state{3}{attempts}[0]{result}, 'unavailable', '... and the verdict';
    is ask($gateway, '/3')->{status}, 200, '... and requests are served';

    is $state{4}{expires_in}, undef, 'failed: no token';
    is $state{4}{credential}, undef, '... of nobody';
    is $state{4}{attempts}[0]{result}, 'unavailable', '... and the verdict';

    is_deeply $state{5}{attempts}, [], 'empty: nobody has answered';
    is $state{5}{refreshes} + $state{5}{failures}, 0, '... nor failed';

    my %metric = metrics($gateway);
    is $metric{'aoai_aad_token_state{identity="managed_identity client_id='
        . id(3) . '",state="stale"}'}, 1, 'the metrics say so too';
    ok !grep({ /expiry.*${\id(5)}/ } keys %metric),
        'and no end of a token that there is not';

    my $count = $imds->count;
    my @answers = map { request($port, GET => '/status/ready') } 1 .. 50;
    is scalar(grep { $_->{status} == 503 } @answers), 50,
        'readiness is answered while a fetch hangs';
    ok((sort { $a <=> $b } map { $_->{elapsed} } @answers)[25] < 0.1,
        '... at once');
    cmp_ok $imds->count - $count, '<', 10, '... and fetches nothing';
    is_deeply [sort map { $_->{state} }
        $answers[0]{json}{not_ready}->@*], ['empty', 'failed'],
        '... and says why';
    is $answers[0]{json}{ready}, JSON::PP::false, '... that it is not';

    # what is over stays there to be read
    write_file("$flags/well", '');
    request($port, GET => '/3');
    ok wait_until(sub {
        ($state{3}) = grep { $_->{name} =~ /=0*3-/ }
            status($gateway)->{tokens}->@*;
        $state{3}{state} eq 'valid' || $state{3}{state} eq 'refreshing';
    }, 60), 'it recovers';
    is $state{3}{failing_since}, undef, '... and isn\'t failing any more';
    is $state{3}{last_error}{code}, 'invalid_request',
        '... and the last error can still be read';
    is $state{3}{attempts}[0]{result}, 'ok', '... which is over';

    # who waits in vain, who goes away, and who is refused at once
    start_request($port, GET => '/5')->abort for 1 .. 3;
    is request($port, GET => '/5/wait')->{status}, 503, 'a wait in vain';
    is ask($gateway, '/4')->{status}, 503, 'a refusal at once';
    my $requests;
    ok wait_until(sub {
        ($requests) = map { $_->{requests} } grep { $_->{name} =~ /=0*5-/ }
            status($gateway)->{tokens}->@*;
        $requests->{miss} == 3;
    }, 10), 'those who go away have waited';
    is $requests->{error}, 1, '... and the one in vain is an error, once';
    my ($refused) = grep { $_->{name} =~ /=0*4-/ }
        status($gateway)->{tokens}->@*;
    is $refused->{requests}{error}, 1, 'so is a refusal';
    is $refused->{waits}{count}, 0, '... that waited for nothing';
    $gateway->stop('TERM');
};


subtest 'readiness' => sub {
    my $life = imds(life => 90);
    my $gateway = gateway(env => {
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $life->url },
        http => location('/', 'aoai_aad_credential managed_identity;'));
    my $port = $gateway->port('http');
    ok wait_until(sub {
        request($port, GET => '/status/ready')->{status} == 200;
    }, 30), 'a token that is valid for a minute more';
    my $head = request($port, HEAD => '/status/ready');
    is $head->{status}, 200, 'HEAD';
    is $head->{header}{'cache-control'}, 'no-store', 'is never cached';
    is_deeply request($port, GET => '/status/ready')->{json},
        { ready => JSON::PP::true, not_ready => [] }, 'a small answer';
    $gateway->stop;

    my $short = imds(life => 50);
    $gateway = gateway(env => {
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $short->url },
        http => location('/', 'aoai_aad_credential managed_identity;'));
    is ask($gateway, '/')->{status}, 200, 'a token for 50 seconds is used';
    my $answer = request($gateway->port('http'), GET => '/status/ready');
    is $answer->{status}, 503, '... but makes nobody ready';
    is $answer->{json}{not_ready}[0]{state}, 'valid', '... valid as it is';
    $gateway->stop;
};


subtest 'which form, where, and for whom' => sub {
    my $gateway = gateway(http => <<"END");
location / { proxy_pass ${\$openai->url}; }
location = /exact { aoai_aad_status; }
location /slash/ { aoai_aad_status; }
location ~ ^/regex { aoai_aad_status; }
location /json { aoai_aad_status json; }
location /html { aoai_aad_status html; }
location /prometheus { aoai_aad_status prometheus; }
END
    my $port = $gateway->port('http');
    my $count = $openai->count;

    for my $case (
        [undef, 'json'], ['*/*', 'json'], ['application/json', 'json'],
        ['text/html', 'html'], ['image/png', 'json'], ['', 'json'],
        ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
            'html'],
        ['text/html;q=0.5, application/json', 'json'],
        ['text/html;q=0.5,application/json;q=0.4', 'html'],
        ['text/html;q=0, */*', 'json'],
        ['text/*', 'html'], ['TEXT/HTML', 'html'], [';;q=,,/;', 'json'],
        ['text/plain; version=0.0.4', 'plain'],
        ['application/openmetrics-text;version=1.0.0,application/'
            . 'openmetrics-text;version=0.0.1;q=0.75,text/plain;'
            . 'version=0.0.4;q=0.5,*/*;q=0.1', 'plain'],
    ) {
        my ($accept, $form) = @$case;
        my $answer = request($port, GET => '/status',
            headers => [defined $accept ? (Accept => $accept) : ()]);
        like $answer->{header}{'content-type'}, qr{/$form\b},
            ($accept // 'without Accept') . ": $form";
        is $answer->{header}{vary}, 'Accept', '... and says that it depends';
    }

    for my $case (['/json', HTML, 'json'], ['/html', JSON_TYPE, 'html'],
        ['/prometheus', HTML, 'plain'])
    {
        my ($path, $accept, $form) = @$case;
        my $answer = request($port, GET => $path,
            headers => [Accept => $accept]);
        like $answer->{header}{'content-type'}, qr{/$form\b},
            "$path is that for everybody";
        is $answer->{header}{vary}, undef, '... and doesn\'t depend';
    }
    is request($port, GET => '/prometheus')->{header}{'content-type'},
        'text/plain; version=0.0.4; charset=utf-8', 'the type of metrics';

    for my $case (
        ['/status/', 200], ['/status/ready', 200], ['/status/ready/', 404],
        ['/status/other', 404], ['/statusready', 404], ['/exact', 200],
        ['/slash/', 200], ['/slash/ready', 200], ['/regex', 200],
        ['/regex/ready', 200], ['/html/ready', 200],
    ) {
        my ($path, $status) = @$case;
        my $answer = request($port, GET => $path);
        is $answer->{status}, $status, "$path: $status";
        is exists $answer->{json}{not_ready}, !!1, '... about readiness'
            if $status == 200 && $path =~ /ready/;
    }

    is request($port, POST => '/status', body => 'x')->{status}, 405,
        'POST is refused';
    my $head = request($port, HEAD => '/status');
    is $head->{status}, 200, 'HEAD';
    is $head->{body}, '', '... without a body';
    is $head->{header}{'cache-control'}, 'no-store', '... never cached';
    is $openai->count, $count, 'nothing of it went upstream';
    $gateway->stop;
};


subtest 'of a gateway without identities' => sub {
    my $gateway = Test::Gateway->new(http => <<'END')->start;
server {
    listen 127.0.0.1:%%PORT_http%%;
    location /status { aoai_aad_status; }
}
END
    is_deeply status($gateway)->{tokens}, [], 'JSON';
    my %metric = metrics($gateway);
    ok keys %metric > 5, 'metrics';
    is request($gateway->port('http'), GET => '/status/ready')->{status},
        200, 'it is ready';
    $gateway->stop;
};


subtest 'wrong configurations' => sub {
    my $proxy = 'proxy_pass http://127.0.0.1:%%PORT_nobody%%;';
    for my $case (
        ['aoai_aad_status xml;', qr/"xml" is wrong, it must be "json"/],
        ['aoai_aad_status json html;', qr/invalid number of arguments/],
        ['aoai_aad_status; aoai_aad_status;', qr/is duplicate/],
        ["aoai_aad_status; $proxy", qr/"proxy_pass" or another handler/],
        ["$proxy aoai_aad_status;", qr/"proxy_pass" or another handler/],
        ['aoai_aad_status; stub_status;', qr/a location of its own, in /],
    ) {
        my ($lines, $message) = @$case;
        my $check = Test::Gateway->new(http => 'server { listen '
            . "127.0.0.1:%%PORT_http%%; location /s { $lines } }")->check;
        isnt $check->{status}, 0, $lines;
        like $check->{output}, $message, '... says why';
        like $check->{output}, qr/nginx\.conf:\d+/, '... and where';
    }
    my $check = Test::Gateway->new(http => 'server { listen '
        . '127.0.0.1:%%PORT_http%%; aoai_aad_status; }')->check;
    like $check->{output}, qr/"aoai_aad_status" directive is not allowed/,
        'it is for locations alone';
};


# Words of others: whatever they are, the forms stay what they are, and
# nothing of a secret is in them.
subtest 'hostile words, and secrets' => sub {
    my $words = qq{<script>alert(1)</script> "quoted" 'single' back\\slash }
        . "{label=\"x\"} 1\nnext{} 2\r\t\x01\x7f \xff\xfe\xc3( \xed\xa0\x80 "
        . "\xe2\x80\xae & &amp; %s %n";
    my $marked = 'MARKED-' . 'token' x 10;
    my $secret = 'MARKED~secret';
    # an authority that repeats what it was sent
    my $bad = entra(tls => 0, handler => sub ($request, @) {
        my %form = form($request->{body});
        my $text = JSON::PP->new->latin1->allow_nonref->encode($words
            . join ' ', map { $_ // '' } @form{qw(client_secret
                client_assertion)});
        $text =~ s/^"|"$//g;
        return [401, ['Content-Type' => 'application/json'],
            "{\"error\":\"$text\",\"error_description\":"
            . "\"AADSTS7000215: $text\",\"error_codes\":[7000215],"
            . "\"correlation_id\":\"$text\",\"trace_id\":\"$text\"}"];
    });
    my $good = imds(access_token => sub ($request) {
        return "$marked.opaque" if $request->{query} =~ /client_id=/;
        return jwt(appid => $words, oid => '<b>"\\', tid => "a\nb{}\"");
    });
    my $path = $words =~ s/[\0"\\]/\\$&/gr;

    my $gateway = gateway(env => {
        AZURE_POD_IDENTITY_AUTHORITY_HOST => $good->url },
        files => { assertion => 'MARKED.assertion.of-a-pod' },
        http => location('/good', 'aoai_aad_credential managed_identity;')
            . location('/opaque', <<"END") . location('/pod', <<"END")
aoai_aad_credential managed_identity client_id=${\id(9)};
END
aoai_aad_authority_host ${\$bad->url};
aoai_aad_credential workload_identity tenant_id=${\TENANT_ID}
    client_id=${\CLIENT_ID} token_file=%%DIR%%/assertion;
END
            . location('/bad', <<"END"));
aoai_aad_authority_host ${\$bad->url};
aoai_aad_credential azure_cli "path=/$path";
aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
    client_id=${\CLIENT_ID} secret=$secret;
END
    my $token = sent_token(ask($gateway, '/good'));
    is sent_token(ask($gateway, '/opaque')), "$marked.opaque",
        'there is a marked token';
    ask($gateway, $_) for '/bad', '/pod';
    ok $token, 'and one that can be read';
    my %sent = map { form($_->{body}) } $bad->requests;
    like $sent{$_}, qr/MARKED/, "$_ was sent"
        for qw(client_secret client_assertion);
    my ($status) = grep { $_->{name} =~ /^azure_cli/ }
        status($gateway)->{tokens}->@*;
    is $status->{state}, 'failed', 'and an error';
    like $status->{name}, qr/<script>alert\(1\)<\/script> "quoted"/,
        'JSON has the words as they are';
    like $status->{name}, qr/\x{fffd}/, '... but for broken ones';
    is $status->{last_error}{code}, 'AADSTS7000215', '... and the code';

    my %metric = metrics($gateway);
    is scalar(grep { /^next/ } keys %metric), 0, 'no words make a metric';

    my $port = $gateway->port('http');
    my %body = map { $_ => request($port, GET => '/status',
        headers => [Accept => $_])->{body} } JSON_TYPE, HTML, PROMETHEUS;
    $body{ready} = request($port, GET => '/status/ready')->{body};
    $body{'error log'} = $gateway->log;
    $body{'access log'} = $gateway->access_log;

    unlike $body{+HTML}, qr/<script>alert|<b>/, 'no words make an element';
    is scalar(() = $body{+HTML} =~ /<script/g), 1, '... nor a script';
    like $body{+HTML}, qr/&lt;script&gt;/, '... they can be read there';
    for my $form (sort keys %body) {
        unlike $body{$form}, qr/MARKED/, "nothing secret in $form";
        unlike $body{$form}, qr/\Q$_\E/, '... and no part of a token'
            for grep { length > 40 } split /\./, $token;
        next if $form =~ /log$/;
        my $text = eval { Encode::decode('UTF-8', $body{$form},
            Encode::FB_CROAK | Encode::LEAVE_SRC) };
        ok defined $text, '... and it is UTF-8';
        unlike $text // '', qr/[\x{0}-\x{9}\x{b}-\x{1f}\x{7f}-\x{9f}]/,
            '... without control characters';
    }
    $gateway->stop;
};

done_testing;


sub location ($path, $lines) {
    return "location $path { $lines\nproxy_pass ${\$openai->url}; }\n";
}


# A gateway whose server has a token for everything but /status.
sub gateway (%args) {
    my $locations = delete $args{http};
    return Test::Gateway->new(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        expect_alerts => qr/exited on signal 9/, %args,
        http => <<"END")->start;
aoai_aad_allowed_hosts 127.0.0.1;
server {
    listen 127.0.0.1:%%PORT_http%% reuseport;
    aoai_aad on;
    aoai_aad_credential managed_identity;
    aoai_aad_credential environment;
$locations
    location /status { aoai_aad_status; }
}
END
}


sub ask ($gateway, $path) {
    return request($gateway->port('http'), GET => $path);
}


# The status as JSON, by a parser that takes nothing else.
sub status ($gateway) {
    my $answer = ask($gateway, '/status');
    my $json = eval { JSON::PP->new->utf8->decode($answer->{body}) };
    $json // BAIL_OUT("no JSON: $@\n$answer->{body}");
    return $json;
}


# The metrics: { sample with its labels => value }. promtool and a few rules
# of its format are asked what they think of them.
sub metrics ($gateway) {
    my $body = request($gateway->port('http'), GET => '/status',
        headers => [Accept => PROMETHEUS])->{body};

    subtest 'the metrics' => sub {
        my $label = qr/[a-z_]\w*="(?:[^"\\\n]|\\[\\"n])*"/;
        my @wrong = grep { !/^(?:\#\ (?:HELP|TYPE)\ \w+\ \S.*
            |\w+(?:\{$label(?:,$label)*\})?\ [-+.\de]+)$/x } split /\n/,
            $body;
        is_deeply \@wrong, [], 'each line is one of the format';
        is_deeply [repeated(map { s/ \S+$//r } grep { !/^#/ } split /\n/,
            $body)], [], 'no sample is there twice';
        my ($status, $output) = promtool($body);
        SKIP: {
            skip 'no promtool here', 1 if !defined $status;
            is $output, '', 'promtool has no complaint';
            is $status, 0, '... and says so';
        }
    };
    return map { /^(.*) (\S+)$/ ? ($1 => $2) : () } grep { !/^#/ }
        split /\n/, $body;
}


sub repeated (@texts) {
    my %seen;
    return grep { $seen{$_}++ } @texts;
}


# The exit status and the words of promtool; nothing where there is none.
sub promtool ($metrics) {
    my ($program) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};
    return if !$program;
    my $pid = open3(my $in, my $out, undef, $program, 'check', 'metrics');
    print {$in} $metrics;
    close $in;
    my $output = do { local $/; readline $out };
    waitpid $pid, 0;
    return ($? >> 8, $output);
}
