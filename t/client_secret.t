# The client secret: the POST to the authority, whom it is sent to and through
# whom, and that the secret is nowhere else.

use v5.36;

use File::Temp;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure
    qw(entra form openai CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Client 'request';
use Test::Gateway::Server;
use Test::Gateway::System qw(read_file write_file);

use constant {
    SCOPE => 'https://cognitiveservices.azure.com/.default',
    PATH  => '/' . TENANT_ID . '/oauth2/v2.0/token',
    GUID  => qr/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
};

my $openai = openai();
my $ca = certificate()->{ca};


subtest 'the request' => sub {
    my $entra = entra();
    my $gateway = gateway(location('/', at($entra), trust()),
        { log_level => 'debug' });

    my $answer = request($gateway->port('gateway'), GET => '/',
        headers => ['X-Forwarded-For' => '192.0.2.1', Cookie => 'a=b']);
    is $answer->{status}, 200, 'the token is used';
    is $entra->count, 1, 'after one request';

    my ($request) = $entra->requests;
    is "$request->{method} $request->{target}", 'POST ' . PATH,
        'it is a POST to the tenant';
    is_deeply { form($request->{body}) }, {
        grant_type => 'client_credentials', client_id => CLIENT_ID,
        client_secret => CLIENT_SECRET, scope => SCOPE,
    }, 'the form has what it must, and the secret survives';
    is_deeply [sort keys $request->{header}->%*],
        [qw(accept client-request-id content-length content-type host
            user-agent)], 'no header is of another origin';
    is scalar $request->{headers}->@*, 6, 'and none is there twice';
    is $request->{header}{'content-type'},
        'application/x-www-form-urlencoded', 'the form is announced';
    is $request->{header}{accept}, 'application/json', 'JSON is asked for';
    like $request->{header}{'client-request-id'}, GUID,
        'the request has a name of its own';
    is_deeply [lines_with($gateway, substr CLIENT_SECRET, 0, 12)], [],
        'and the secret is in no log';
    $gateway->stop;
};


subtest 'where the secret is' => sub {
    my $odd = qq(p~a.s-s_w+o/r=d&100% "q" '#\$;{}\\ \xc3\xa4);
    my $entra = entra(tls => 0, client_secret => '');
    my $secret = 'secret=' . CLIENT_SECRET;
    my $gateway = gateway(
        location('/parameter', credential($secret), at($entra)),
        location('/file', credential('secret_file=%%DIR%%/odd'), at($entra)),
        location('/relative', credential('secret_file=plain'), at($entra)),
        { files => { odd => $odd, plain => "\n\tplain \r\n" } });

    request($gateway->port('gateway'), GET => $_)
        for qw(/parameter /file /relative);
    is_deeply [sort map { { form($_->{body}) }->{client_secret} }
        $entra->requests], [sort(CLIENT_SECRET(), $odd, 'plain')],
        'a parameter, a file, a file beside the configuration';
    $gateway->stop;
};


subtest 'the authority' => sub {
    my $directive = entra();
    my $variable = entra();
    my %env = (AZURE_AUTHORITY_HOST => $variable->url . '/');
    my $gateway = gateway(
        location('/variable', trust()),
        location('/directive', at($directive), trust()),
        # another scope is another token
        location('/slash', trust(), "aoai_aad_authority_host
            ${\$directive->url}/;", 'aoai_aad_scope api://x/.default;'),
        { env => \%env });

    for my $path (qw(/variable /directive /slash)) {
        is request($gateway->port('gateway'), GET => $path)->{status}, 200,
            "$path has a token";
    }
    is_deeply [map { $_->{target} } $variable->requests], [PATH],
        'AZURE_AUTHORITY_HOST is asked where nothing else is said';
    is_deeply [map { $_->{target} } $directive->requests], [PATH, PATH],
        'a directive wins, and a slash at the end changes nothing';
    $gateway->stop;
};


subtest 'AZURE_AUTHORITY_HOST without its scheme' => sub {
    my $entra = entra();
    my $gateway = gateway(location('/', trust()),
        { env => { AZURE_AUTHORITY_HOST => $entra->host_port } });

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'is asked by HTTPS';
    $gateway->stop;
};


subtest 'certificates' => sub {
    my %refused = (
        other_ca   => ['signed by another CA',
            qr/aoai_aad_ssl_trusted_certificate/],
        wrong_name => ['for another host', qr/host name '127\.0\.0\.1'/],
        expired    => ['expired', qr/certificate has expired/],
    );
    my %entra = map { $_ => entra(tls => certificate($_)) }
        'good', keys %refused;
    my $gateway = gateway(
        location('/system', at($entra{good})),
        map { location("/$_", at($entra{$_}), trust()) } sort keys %entra);

    is request($gateway->port('gateway'), GET => '/good')->{status}, 200,
        'the right one is accepted';
    is $entra{good}->count, 1, 'and tokens are asked for';

    is request($gateway->port('gateway'), GET => '/system')->{status}, 503,
        'without the directive only the system\'s CAs are trusted';
    like error_for($gateway, $entra{good}),
        qr/aoai_aad_ssl_trusted_certificate/, 'the log names the directive';
    is $entra{good}->count, 1, 'and nothing was sent';

    for my $name (sort keys %refused) {
        my ($what, $words) = $refused{$name}->@*;
        is request($gateway->port('gateway'), GET => "/$name")->{status},
            503, "one that is $what is refused";
        like error_for($gateway, $entra{$name}), $words, 'the log says why';
        is $entra{$name}->count, 0, 'and nothing was sent';
    }
    $gateway->stop;
};


subtest 'a proxy for an authority without TLS' => sub {
    my $entra = entra(tls => 0);
    my $proxy = entra(tls => 0, access_token => 'by-proxy',
        handler => sub ($request, $reply, $usual) {
            $request->{path} =~ s{^http://[^/]*}{};
            return $usual->();
        });
    my $gateway = gateway(
        location('/directive', at($entra),
            "aoai_aad_proxy ${\$proxy->url};"));

    my $answer = request($gateway->port('gateway'), GET => '/directive');
    is token($answer), 'by-proxy', 'is asked';
    is_deeply [map { "$_->{method} $_->{target}" } $proxy->requests],
        ['POST ' . $entra->url . PATH], 'for the whole address';
    is $entra->count, 0, 'and nobody else';
    $gateway->stop;
};


subtest 'a proxy for an authority with TLS' => sub {
    my $entra = entra();
    my $tunnel = tunnel();
    my $gateway = gateway(location('/', at($entra), trust(),
        "aoai_aad_proxy $tunnel->{url}/;"));

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'is a way to a token';
    is $entra->count, 1, 'that comes from the authority';
    my $seen = read_file($tunnel->{record});
    like $seen, qr{^CONNECT ${\$entra->host_port} HTTP/1\.1\r\n},
        'by a tunnel';
    unlike $seen, qr/client_secret/, 'that hides what is sent';
    $gateway->stop;
    kill TERM => $tunnel->{pid};
};


subtest 'the proxy of the environment' => sub {
    my $entra = entra();
    my $proxy = Test::Gateway::Server->new(handler => sub (@) { [502] });
    my @locations = (
        location('/variable', at($entra), trust()),
        location('/off', at($entra), trust(), 'aoai_aad_proxy off;'),
    );
    my $gateway = gateway(@locations,
        { env => { HTTPS_PROXY => $proxy->url } });

    is request($gateway->port('gateway'), GET => '/variable')->{status}, 503,
        'HTTPS_PROXY is asked, and may refuse';
    like [$proxy->requests]->[0]{raw_head}, qr/^CONNECT /, 'to connect';
    like error_for($gateway, $entra), qr/CONNECT.* 502/, 'the log says so';
    my $count = $proxy->count;
    is request($gateway->port('gateway'), GET => '/off')->{status}, 200,
        '"off" goes straight to the authority';
    $gateway->stop;

    $proxy->forget;
    $gateway = gateway(@locations, { env => { HTTPS_PROXY => $proxy->url,
        NO_PROXY => 'localhost,127.0.0.1' } });
    is request($gateway->port('gateway'), GET => '/variable')->{status}, 200,
        'and so does NO_PROXY';
    is $proxy->count, 0, 'without a word to the proxy';
    $gateway->stop;
};


subtest 'the password of a proxy' => sub {
    my $gateway = gateway(location('/', at(entra(tls => 0)),
        'aoai_aad_proxy http://me:pass-word@127.0.0.1:%%PORT_nobody%%;'),
        { log_level => 'debug' });

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'a proxy that is down is no way around it';
    is_deeply [lines_with($gateway, 'pass-word')], [],
        'its password is in no log';
    $gateway->stop;
};


subtest 'a secret that is refused' => sub {
    my $entra = entra(client_secret => 'another');
    my $gateway = gateway(location('/', at($entra), trust()));

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        'there is no token';
    my $line = error_for($gateway, $entra);
    like $line, qr/client_secret failed/, 'the log names the step';
    like $line, qr/\Q$_\E/, "and says $_"
        for 'status 401, invalid_client: AADSTS7000215',
            'Invalid client secret provided';
    $gateway->stop;
};


# what ties a failure to the authority's own logs
for my $case (
    ['repeats it', sub ($id) { { error => 'x', correlation_id => $id } }],
    ['says none', sub ($id) { { error => 'x' } }],
    ['answers no JSON', undef],
) {
    my ($name, $body) = @$case;
    my $entra = entra(tls => 0, handler => sub ($request, $reply, $usual) {
        my $id = $request->{header}{'client-request-id'};
        return [400, [], $body ? encode_json($body->($id)) : '<html>'];
    });
    my $gateway = gateway(location('/', at($entra)));

    request($gateway->port('gateway'), GET => '/');
    my ($request) = $entra->requests;
    my $id = $request->{header}{'client-request-id'};
    like error_for($gateway, $entra), qr/correlation id \Q$id\E/,
        "the log has the request's id where the authority $name";
    $gateway->stop;
}


subtest 'an authority that repeats the secret' => sub {
    my $secret = CLIENT_SECRET;
    my $sent = $secret =~ s/([^\w.~-])/sprintf '%%%02X', ord $1/ger;
    my @answers = (
        { error_description => "AADSTS1: $secret" },
        { error_description => "AADSTS1: $sent" },
        { error_description => 'AADSTS1: ' . lc $sent },
        { error => $secret },
        { correlation_id => $secret },
        # where a text is cut is not known: part of a secret is one too
        map { my $long = 'x' x (8 * $_);
            { error_description => $long . $secret },
            { error_description => $long . $sent } } 36 .. 64,
    );
    my $entra = entra(tls => 0, handler => sub ($request, $reply, $usual) {
        my ($number) = $request->{body} =~ /(\d+)%2F\.default/;
        return [400, [], encode_json(
            { error => 'invalid', $answers[$number]->%* })];
    });
    my $gateway = gateway((map { location("/$_", at($entra),
        "aoai_aad_scope api://$_/.default;") } keys @answers),
        { log_level => 'debug' });

    my @bodies = map { request($gateway->port('gateway'), GET => "/$_")
        ->{body} } keys @answers;
    is scalar $gateway->log_lines(qr/\[error\] .* client_secret\ failed/x),
        @answers, 'all failures are in the log';
    my $start = substr $secret, 0, 12;
    is_deeply [lines_with($gateway, $start)], [], 'the secret is not';
    is_deeply [grep { /\Q$start/i } @bodies], [], 'nor does a client get it';
    $gateway->stop;
};


subtest 'files for root alone' => sub {
    plan skip_all => 'needs root' if $> != 0;

    my $group = getgrgid((getpwnam 'nobody')[3]);
    my $entra = entra();
    my $gateway = gateway(location('/', at($entra),
        'aoai_aad_ssl_trusted_certificate %%DIR%%/ca.pem;'),
        { main => "user nobody $group;", files => { 'ca.pem' => read_file($ca),
            secret => CLIENT_SECRET } });

    # the folder is open, so that it is the files that matter
    chmod 0755, $gateway->dir;
    chmod 0600, map { $gateway->dir . "/$_" } qw(ca.pem secret);

    my ($worker) = $gateway->workers;
    my ($user) = read_file("/proc/$worker/status") =~ /^Uid:\s+(\d+)/m;
    isnt $user, 0, 'the worker is not root';
    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'and has a token';
    $gateway->stop;
};

done_testing;


sub at ($entra) {
    return "aoai_aad_authority_host ${\$entra->url};";
}


sub trust () {
    return "aoai_aad_ssl_trusted_certificate $ca;";
}


sub credential ($secret) {
    return "aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
        client_id=${\CLIENT_ID} $secret;";
}


# A location with these directives; its secret is in the file "secret" unless
# they say otherwise.
sub location ($path, @directives) {
    push @directives, credential('secret_file=%%DIR%%/secret')
        unless grep { /^aoai_aad_credential/ } @directives;
    my $text = join "\n            ", @directives;

    return <<"END";
        location $path {
            aoai_aad on;
            aoai_aad_allowed_hosts 127.0.0.1;
            $text
            proxy_pass ${\$openai->url};
        }
END
}


# Starts a gateway with these locations; a hash at the end has other
# arguments.
sub gateway (@locations) {
    my %args = ref $locations[-1] ? pop(@locations)->%* : ();
    my $gateway = Test::Gateway->new(
        # workers that keep these variables don't use them by themselves
        main => 'env HTTPS_PROXY; env NO_PROXY;',
        files => { secret => CLIENT_SECRET }, %args, http => <<"END");
    aoai_aad_cache_size 8m;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;
@locations
    }
END
    return $gateway->start;
}


# The token that the upstream got.
sub token ($answer) {
    my %headers = map { lc $_->[0] => $_->[1] }
        ($answer->{json}{headers} // [])->@*;
    return ($headers{authorization} // '') =~ s/^Bearer //r;
}


# The newest line of the error log about a failure at this authority.
sub error_for ($gateway, $entra) {
    my $url = $entra->url;
    my @lines = $gateway->log_lines(qr/\[error\] .* client_secret .* \Q$url/x);
    return $lines[-1] // '';
}


# The lines of all logs with a text.
sub lines_with ($gateway, $text) {
    return grep { /\Q$text/i } map { split /\n/, read_file($_) }
        glob $gateway->dir . '/*.log';
}


# A proxy that connects anybody to anybody, and notes what it is told in
# clear text. It ends by itself if the test doesn't end it.
sub tunnel () {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        Listen => 8) // die "can't listen: $!\n";
    my $folder = File::Temp->newdir;
    my $record = "$folder/record";
    my $pid = fork // die "fork: $!\n";
    return { url => 'http://127.0.0.1:' . $listen->sockport, pid => $pid,
        record => $record, folder => $folder } if $pid;

    $SIG{TERM} = 'DEFAULT';
    alarm 60;
    while (my $client = $listen->accept) {
        sysread $client, my $head, 65536;
        write_file($record, $head);
        my ($peer) = $head =~ /^CONNECT (127\.0\.0\.1:\d+) / or next;
        my $server = IO::Socket::INET->new(PeerAddr => $peer) or next;
        syswrite $client, "HTTP/1.1 200 Connected\r\n\r\n";
        relay($client, $server);
    }
    POSIX::_exit(0);
}


# Copies bytes both ways until one side has ended.
sub relay ($client, $server) {
    my %other = ($client => $server, $server => $client);
    my $select = IO::Select->new($client, $server);

    for (;;) {
        for my $from ($select->can_read) {
            sysread $from, my $bytes, 65536 or return;
            syswrite $other{$from}, $bytes;
        }
    }
}
