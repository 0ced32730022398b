# Requests that come before the token: how they wait, how many of them, and
# what happens to those that don't stay.

use v5.36;

use File::Temp;
use IO::Socket::INET;
use List::Util 'uniq';
use POSIX ();
use Test::More;
use Time::HiRes 'sleep';

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(await_exit now read_file spawn wait_until
    write_file);

use constant {
    TOKEN            => 'the-token',
    REQUESTS         => 200,
    # nothing takes so long, even where the machine has other work
    PATIENCE_SECONDS => 60,
};

my $folder = File::Temp->newdir;
my $openai = openai(token => TOKEN, handler => sub ($request, $, $usual) {
    return length $request->{body} > 100_000 ? [200] : $usual->();
});

# an endpoint that answers when it is told to
my $imds = imds(access_token => TOKEN, handler => sub ($, $, $usual) {
    my $deadline = now() + PATIENCE_SECONDS;
    sleep 0.005 until -e "$folder/go" || now() > $deadline;
    return $usual->();
});

my $curl = (grep { -x } map { "$_/curl" } split /:/, $ENV{PATH})[0];
my $has_http2 = $curl && `$curl --version` =~ /\bHTTP2\b/;


subtest 'many at once, in four workers' => sub {
    my $gateway = gateway(workers => 4, listen => 'reuseport',
        http => location('/'));

    my @waiting = map { start_request($gateway->port('gateway'),
        GET => "/$_") } 1 .. REQUESTS;
    ok $gateway->wait_for_requests(REQUESTS), 'requests wait';
    release();
    my @answers = map { $_->finish } @waiting;

    is scalar(grep { $_->{status} == 200 } @answers), REQUESTS,
        'all have got the token';
    is $imds->count, 1, 'that was asked for once';
    my @workers = uniq map { $_->{header}{'x-worker'} // () } @answers;
    is @workers, 4, 'they were in every worker';
    is scalar(grep { $_->{header}{'x-cache'} eq 'MISS' } @answers),
        REQUESTS, 'and all of them waited';
    my $wait = $answers[0]{header}{'x-wait'};
    ok $wait > 0 && $wait < PATIENCE_SECONDS, 'as long as they say';

    my $next = request($gateway->port('gateway'), GET => '/');
    is $next->{header}{'x-cache'}, 'HIT', 'the next one has it at once';
    is $next->{header}{'x-wait'}, '0.000', 'without waiting';
    $gateway->stop;
};


subtest 'clients that go away' => sub {
    my $gateway = gateway(http => location('/'));
    my @leaving = map { start_request($gateway->port('gateway'),
        GET => "/leaving/$_") } 1 .. 20;
    my @staying = map { start_request($gateway->port('gateway'),
        GET => "/staying/$_") } 1 .. 20;
    ok $gateway->wait_for_requests(40), 'requests wait';
    $_->abort for @leaving;
    is wait_for_499($gateway, 20), 20, 'are seen to be gone';

    release();
    is scalar(grep { $_->finish->{status} == 200 } @staying), 20,
        'the others get their answers';
    is scalar(grep { $_->{path} =~ /leaving/ } $openai->requests), 0,
        'nothing is sent for those that went';
    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'and the worker goes on';
    $gateway->stop;
};


subtest 'all clients go away' => sub {
    my $gateway = gateway(http => location('/'));
    my @leaving = map { start_request($gateway->port('gateway'),
        GET => '/') } 1 .. 5;
    ok $gateway->wait_for_requests(5), 'requests wait';
    $_->abort for @leaving;
    is wait_for_499($gateway, 5), 5, 'and are seen to be gone';

    my $worker = join ' ', $gateway->workers;
    release();
    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'the next one has a token';
    is join(' ', $gateway->workers), $worker, 'of the same worker';
    $gateway->stop;
};


subtest 'HTTP/2' => sub {
    plan skip_all => 'needs a curl with HTTP/2' unless $has_http2;

    my $gateway = gateway(listen => 'http2', http => location('/'));
    my $url = 'http://127.0.0.1:' . $gateway->port('gateway');
    my $curl = sub (@arguments) {
        return spawn([$curl, qw(-s --http2-prior-knowledge -m 10 -w),
            '%{http_code}', '-o', '/dev/null', @arguments], {},
            "$folder/output");
    };
    my @leaving = map { $curl->("$url/leaving") } 1 .. 3;
    my @staying = map { $curl->("$url/staying", '--data', 'body') } 1 .. 3;
    ok $gateway->wait_for_requests(6), 'requests wait';
    kill KILL => @leaving;
    await_exit($_, 5) for @leaving;
    is wait_for_499($gateway, 3), 3, 'clients are seen to be gone';

    release();
    is_deeply [map { await_exit($_, PATIENCE_SECONDS) } @staying], [0, 0, 0],
        'the others get their answers';
    is read_file("$folder/output"), '200' x 3, 'with the token';
    is_deeply [map { "$_->{path} $_->{body}" } $openai->requests],
        [('/staying body') x 3], 'nothing is sent for those that went';
    $gateway->stop;
};


subtest 'an HTTP/2 stream that is given up' => sub {
    my $gateway = gateway(listen => 'http2', http => location('/'));
    my $connection = h2_connect($gateway->port('gateway'));
    h2_get($connection, 1, '/leaving');
    h2_get($connection, 3, '/staying');
    ok $gateway->wait_for_requests(2), 'requests wait';
    # RST_STREAM, because it is of no interest any more
    h2_send($connection, 3, 0, 1, pack 'N', 8);
    is wait_for_499($gateway, 1), 1, 'is seen to be gone';

    release();
    is h2_status($connection, 3), 200,
        'the other one of the connection gets its answer';
    is_deeply [map { $_->{path} } $openai->requests], ['/staying'],
        'and nothing is sent for the first';
    close $connection;
    $gateway->stop;
};


subtest 'bodies' => sub {
    my $gateway = gateway(http => location('/')
        . location('/unbuffered', 'proxy_request_buffering off;'
            . 'proxy_http_version 1.1;'));
    # made in one piece: a list of so many numbers is slow to copy in a fork
    my $large = substr join('', map { chr } 0 .. 250) x 12_534, 0,
        3 * 1024 * 1024;
    my @pieces = map { $_ x (1 + ord) } 'a' .. 'z';
    my @bodies = ([body => 'small'], [body => $large], [chunked => \@pieces],
        [chunked => [$large]], [body => '']);

    my @children;
    for my $path ('/buffered', '/unbuffered') {
        for my $number (keys @bodies) {
            push @children, in_background(sub {
                return request($gateway->port('gateway'),
                    POST => "$path/$number", $bodies[$number]->@*)->{status};
            });
        }
    }
    ok $gateway->wait_for_requests(scalar @children), 'requests wait';
    is $openai->count, 0, 'nothing is sent before the token';
    release();
    is_deeply [map { await_exit($_, PATIENCE_SECONDS) + 100 } @children],
        [(200) x @children], 'all requests are answered';

    my %got = map { $_->{path} => $_->{body} } $openai->requests;
    for my $number (keys @bodies) {
        my ($how, $body) = $bodies[$number]->@*;
        my $expected = ref $body ? join '', @$body : $body;
        for my $path ('/buffered', '/unbuffered') {
            ok +($got{"$path/$number"} // 'none') eq $expected,
                "$path, $how, " . length($expected) . ' bytes: as it was';
        }
    }
    $gateway->stop;
};


subtest 'requests that follow on the connection' => sub {
    my $gateway = gateway(http => location('/'));
    my $socket = IO::Socket::INET->new(Timeout => 10,
        PeerAddr => '127.0.0.1', PeerPort => $gateway->port('gateway'));
    syswrite $socket, join '',
        "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
        "GET /second HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /third HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    ok $gateway->wait_for_requests(1), 'requests wait';
    release();

    my $answers = do { local $/; readline $socket };
    close $socket;
    is scalar(() = $answers =~ m{HTTP/1\.1 200 OK}g), 3, 'are answered';
    is_deeply [map { $_->{path} } $openai->requests],
        ['/first', '/second', '/third'], 'in their order';
    is [$openai->requests]->[0]{body}, 'body', 'and are not mixed up';
    $gateway->stop;
};


subtest 'aoai_aad_timeout' => sub {
    my $gateway = gateway(http => location('/short',
        'aoai_aad_timeout 300ms;') . location('/long'));
    my $long = start_request($gateway->port('gateway'), GET => '/long');

    my $short = request($gateway->port('gateway'), GET => '/short');
    is $short->{status}, 503, 'who may wait for a short time gets an answer';
    is $short->{json}{error}{code}, 'token_unavailable', 'that says why';
    is $short->{header}{'x-cache'}, 'ERROR', 'and is no hit';
    cmp_ok $short->{elapsed}, '>=', 0.29, 'after this time';
    cmp_ok $short->{elapsed}, '<', 5, 'and not much later';
    like $short->{header}{'x-wait'}, qr/^[0-4]\.\d{3}$/, 'as it says';
    is $gateway->log_lines(qr/\[error\].*, the fetch goes on/), 1,
        'and as the log does, once';

    release();
    is $long->finish->{status}, 200,
        'who may wait longer for the same token gets it';
    is request($gateway->port('gateway'), GET => '/short')->{status}, 200,
        'and it serves both';
    is $imds->count, 1, 'after one request';
    $gateway->stop;
};


subtest 'mirror' => sub {
    my $gateway = gateway(http => location('/copy', 'internal;') . <<'END');
        location /page {
            mirror /copy;
            root %%DIR%%/html;
        }
END
    my $answer = request($gateway->port('gateway'), GET => '/page');
    is $answer->{body}, 'page', 'a request doesn\'t wait for its mirror';
    is $openai->count, 0, 'which waits';
    release();
    ok $openai->wait_for(1), 'until there is a token';
    $gateway->stop;
};


subtest 'auth_request' => sub {
    my $gateway = gateway(http => location('/auth', 'internal;'
        . 'proxy_pass_request_body off; proxy_set_header Content-Length "";')
        . <<'END');
        location /page {
            auth_request /auth;
            root %%DIR%%/html;
        }
END
    my $waiting = start_request($gateway->port('gateway'), GET => '/page');
    my $leaving = start_request($gateway->port('gateway'), GET => '/page');
    ok $gateway->wait_for_requests(2), 'requests wait';
    $leaving->abort;
    release();
    is $waiting->finish->{body}, 'page', 'waits for the token';
    ok $openai->wait_for(1), 'and has it';
    $gateway->stop;
};


subtest 'SSI' => sub {
    my $gateway = gateway(http => location('/part') . <<'END');
        location /ssi {
            ssi on;
            ssi_types *;
            root %%DIR%%/html;
        }
END
    my $waiting = start_request($gateway->port('gateway'), GET => '/ssi');
    my $leaving = start_request($gateway->port('gateway'), GET => '/ssi');
    ok $gateway->wait_for_requests(2), 'requests wait';
    $leaving->abort;
    release();
    like $waiting->finish->{body},
        qr{^<\{.*/part/one.*\}\|\{.*/part/two.*\}>$},
        'several parts of a page wait for the token';
    $gateway->stop;
};

done_testing;


sub location ($path, $more = '') {
    return <<"END";
        location $path {
            aoai_aad on;
            aoai_aad_credential managed_identity;
            aoai_aad_allowed_hosts 127.0.0.1;
            $more
            proxy_pass ${\$openai->url};
            add_header X-Worker \$pid always;
            add_header X-Cache \$aoai_aad_cache_status always;
            add_header X-Wait \$aoai_aad_wait_time always;
        }
END
}


# Starts a gateway with these locations whose token isn't there before
# release().
sub gateway (%args) {
    my $listen = delete $args{listen} // '';
    my $locations = delete $args{http};
    unlink "$folder/go";
    $_->forget for $imds, $openai;

    return Test::Gateway->new(%args,
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        files => { 'html/page' => 'page', 'html/ssi' =>
            '<<!--# include virtual="/part/one" -->|'
            . '<!--# include virtual="/part/two" -->>' },
        http => <<"END")->start;
    client_max_body_size 10m;
    aoai_aad_timeout ${\PATIENCE_SECONDS}s;

    server {
        listen 127.0.0.1:%%PORT_gateway%% $listen;
$locations
    }

    server {
        listen 127.0.0.1:%%PORT_status%%;
        access_log off;

        location / {
            stub_status;
        }
    }
END
}


# Lets the endpoint answer.
sub release () {
    write_file("$folder/go", '');
}


# Runs a sub in a process of its own. Returns the process id; the exit status
# is what the sub returns less 100, which is a byte for an HTTP status.
sub in_background ($run) {
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    POSIX::_exit(eval { $run->() - 100 } // 255);
}


# The least of HTTP/2: a connection, a request, the status of its answer.
sub h2_connect ($port) {
    my $connection = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port) // die "can't connect: $!\n";
    syswrite $connection, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    h2_send($connection, 4, 0, 0, '');
    return $connection;
}

sub h2_get ($connection, $stream, $path) {
    # GET and http are in HPACK's table, so are the names of these values
    my $head = "\x82\x86" . pack 'C C/a C C/a', 4, $path, 1, 'localhost';
    h2_send($connection, 1, 5, $stream, $head);
}

sub h2_send ($connection, $type, $flags, $stream, $payload) {
    my $length = substr pack('N', length $payload), 1;
    syswrite $connection, $length . pack('C C N', $type, $flags, $stream)
        . $payload;
}

sub h2_status ($connection, $stream) {
    local $SIG{ALRM} = sub { die "timed out\n" };
    alarm PATIENCE_SECONDS;
    while (9 == read $connection, my $frame, 9) {
        my ($type, $flags, $of) = unpack 'x3 C C N', $frame;
        read $connection, my $payload, unpack 'N', "\0$frame";
        next if $type != 1 || $of != $stream;
        alarm 0;
        return $payload =~ /^\x20?\x88/ ? 200 : 0;
    }
    return 0;
}


# Waits until so many clients were seen to be gone. Returns how many were.
sub wait_for_499 ($gateway, $count) {
    my $gone;
    wait_until {
        $gone = () = $gateway->access_log =~ /" 499 /g;
        return $gone >= $count;
    } 5;
    return $gone;
}
