# Service Fabric: the node is known by its certificate's thumbprint alone, and
# its secret goes to no other.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(form openai service_fabric);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Client 'request';

use constant {
    RESOURCE => 'https://cognitiveservices.azure.com',
    GUID     => '0abcdef1-1234-4234-8234-123456789abc',
    SECRET   => 'a/secret+of-the.node',
    ENDPOINT => '/metadata/identity/oauth2/token',
};

my $openai = openai();


subtest 'what it is asked' => sub {
    my $node = service_fabric(secret => SECRET);
    my $gateway = gateway($node, thumbprint('good'));

    my $answer = request($gateway->port('gateway'), GET => '/system',
        headers => ['X-Forwarded-For' => '192.0.2.1']);
    is $answer->{status}, 200, 'the token is used';

    my ($request) = $node->requests;
    is "$request->{method} $request->{path}", 'GET ' . ENDPOINT,
        'it is asked at the endpoint';
    is_deeply { form($request->{query}) }, {
        'api-version' => '2019-07-01-preview', resource => RESOURCE },
        'for the resource alone';
    is $request->{header}{secret}, SECRET, 'with the secret';
    is_deeply [sort keys $request->{header}->%*],
        [qw(accept host secret user-agent)],
        'and no header is of another origin';
    is $request->{header}{accept}, 'application/json', 'JSON is asked for';

    my $seconds = $answer->{header}{'x-expires-in'};
    ok $seconds > 3500 && $seconds <= 3599, 'a number says how long it lives';
    $gateway->stop;
};


# whatever else is wrong with a certificate, the thumbprint counts
for my $kind (qw(other_ca wrong_name expired)) {
    my $node = service_fabric(tls => certificate($kind));

    for my $how (
        ['as it is' => sub ($text) { $text }],
        ['in small letters' => sub ($text) { lc $text }],
        ['with colons' => sub ($text) { $text =~ s/(..)(?=.)/$1:/gr }],
    ) {
        my ($name, $write) = @$how;
        my $gateway = gateway($node, $write->(thumbprint($kind)),
            'identity-header');

        is request($gateway->port('gateway'), GET => '/system')->{status},
            200, "$kind, $name: the token is used";
        $gateway->stop;
    }
}


subtest 'another certificate' => sub {
    my $node = service_fabric(secret => SECRET);
    my $gateway = gateway($node, thumbprint('other_ca'));

    is request($gateway->port('gateway'), GET => '/system')->{status}, 503,
        'is refused, though its CA and its name are good';
    ok $gateway->wait_for_log(qr/managed_identity\ failed: [^\n]*
        another\ thumbprint/x), 'the log says so';
    is $node->count, 0, 'and no secret was sent';
    unlike $gateway->log, qr/\Q${\SECRET}/, 'nor logged';
    $gateway->stop;
};


subtest 'without TLS' => sub {
    my $node = service_fabric(secret => SECRET, tls => 0);
    my $gateway = gateway($node, thumbprint('good'));

    is request($gateway->port('gateway'), GET => '/system')->{status}, 503,
        'there is no token';
    ok $gateway->wait_for_log(qr/IDENTITY_ENDPOINT must begin with "https:/),
        'the log says so';
    is $node->count, 0, 'and no secret was sent';
    $gateway->stop;
};


subtest 'a thumbprint that is none' => sub {
    my $node = service_fabric(secret => SECRET);
    my $gateway = gateway($node, 'abc');

    is request($gateway->port('gateway'), GET => '/system')->{status}, 503,
        'there is no token';
    ok $gateway->wait_for_log(qr/IDENTITY_SERVER_THUMBPRINT is not a cert/),
        'the log says so';
    is $node->count, 0, 'and nobody is asked';
    $gateway->stop;
};


subtest 'an identity cannot be chosen' => sub {
    my $node = service_fabric(secret => SECRET);
    my $gateway = gateway($node, thumbprint('good'));

    for my $name (qw(client object)) {
        is request($gateway->port('gateway'), GET => "/$name")->{status},
            503, "$name: there is no token";
        ok $gateway->wait_for_log(qr/Service\ Fabric\ cannot\ choose\ an
            \ identity\ by\ "${name}_id="/x), 'the log says why';
    }
    is scalar(grep { $_->{query} =~ /id=/ } $node->requests), 0,
        'and nothing is asked for these';
    $gateway->stop;
};


# what it answers => the words of the log, and how often it is asked for it
for my $case (
    ['401, a secret that is wrong', [401, [], '{"error":{"code":'
        . '"SecretHeaderNotFound","message":"Not ' . SECRET . '"}}'],
        qr/words that repeat a secret/, 1],
    ['404, no identity', [404, [], '{"error":{"code":'
        . '"ManagedIdentityNotFound","message":"None","correlationId":"i"}}'],
        qr/status 404, ManagedIdentityNotFound: None; has the application/,
        1],
    ['a redirect', [307, [Location => 'https://127.0.0.1:1/']],
        qr/status 307/, 1],
    ['more than anybody reads', [200, [], '{' . ' ' x 70_000],
        qr/more than 65536 bytes/, 1],
    ['503 at first', undef, undef, 2],
) {
    my ($name, $refusal, $words, $times) = @$case;

    subtest $name => sub {
        my $node = service_fabric(secret => SECRET,
            handler => sub ($request, $reply, $usual) {
                return $refusal if $refusal;
                return $request->{number} == 1 ? [503] : $usual->();
            });
        my $gateway = gateway($node, thumbprint('good'));

        my $answer = request($gateway->port('gateway'), GET => '/system');
        if ($refusal) {
            is $answer->{status}, 503, 'there is no token';
            ok $gateway->wait_for_log($words), 'the log says why';
            unlike $gateway->log, qr/\Q${\SECRET}/, 'and no secret';
        } else {
            is $answer->{status}, 200, 'there is a token';
        }
        cmp_ok $node->count, '>=', $times, 'it was asked';
        $gateway->stop;
    };
}

done_testing;


# Starts a gateway on a node.
sub gateway ($node, $thumbprint, $secret = SECRET) {
    my %choice = (system => '', client => 'client_id=' . GUID,
        object => 'object_id=' . GUID);
    my @names = $node->{tls} && $secret eq SECRET ? sort keys %choice
        : ('system');
    my $locations = join '', map { <<"END" } @names;
        location /$_ {
            aoai_aad on;
            aoai_aad_timeout 60s;
            aoai_aad_credential managed_identity $choice{$_};
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Expires-In \$aoai_aad_expires_in;
        }
END

    return Test::Gateway->new(env => {
        IDENTITY_ENDPOINT => $node->url . ENDPOINT,
        IDENTITY_HEADER => $secret,
        IDENTITY_SERVER_THUMBPRINT => $thumbprint,
    }, http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;
$locations
    }
END
}


# A certificate's SHA-1, in capital letters.
sub thumbprint ($kind) {
    my $file = certificate($kind)->{certificate};
    my ($digits) = `openssl x509 -in $file -noout -fingerprint -sha1`
        =~ /=([0-9A-F:]+)$/m;
    return $digits =~ tr/://dr;
}
