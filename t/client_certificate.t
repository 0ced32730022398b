# The client certificate: what nginx -t says of its files, the assertion that
# the authority gets, and when another token is asked for.

use v5.36;

use Digest::SHA 'sha256';
use File::Temp;
use JSON::PP 'decode_json';
use MIME::Base64 qw(decode_base64 decode_base64url);
use POSIX 'strftime';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(entra form openai CLIENT_ID TENANT_ID);
use Test::Gateway::Certificates qw(app_certificate openssl);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'read_file';

use constant {
    PASSWORD       => 'p~a.s-s_w+o/r=d&100%',
    ASSERTION_TYPE => 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    GUID           => qr/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
};

my $openai = openai();
my $folder = File::Temp->newdir;
my $app = app_certificate();
my $other = app_certificate();
my ($certificate, $key) = map { read_file($app->{$_}) } qw(certificate key);
my ($certificate2, $key2) =
    map { read_file($other->{$_}) } qw(certificate key);
my $elliptic = app_certificate(key => 'ec -pkeyopt ec_paramgen_curve:P-256');

my %FILES = (
    'app.pem'       => "$certificate$key",
    'alone.pem'     => $certificate,
    'app.key'       => $key,
    'other.key'     => $key2,
    'keys.pem'      => "$certificate$key$key2",
    'ec.pem'        => read_file($elliptic->{certificate})
                           . read_file($elliptic->{key}),
    'encrypted.pem' => $certificate . encrypted($app->{key}),
    'app.der'       => der($app->{certificate}),
    'app.p12'       => pkcs12(),
    'half.pem'      => substr("$certificate$key", 0, -300),
    'empty.pem'     => '',
    'password'      => PASSWORD . "\n",
    'wrong'         => 'wrong',
);


# parameters => what nginx -t says
my @refused = (
    '' => qr/needs "certificate="/,
    'certificate=missing.pem' => qr{"/.*/missing\.pem": No such file},
    'certificate=app.pem key=missing' => qr{"/.*/missing": No such file},
    'certificate=%%DIR%%' => qr/cannot read the file/,
    'certificate=empty.pem' => qr{/empty\.pem" is neither PEM nor PKCS#12},
    'certificate=app.der' => qr{/app\.der" is .* DER .* "openssl x509},
    'certificate=half.pem' => qr{/half\.pem" has a PEM block that is damaged},
    'certificate=alone.pem' => qr{/alone\.pem" has no private key: .*"key="},
    'certificate=app.key' => qr{/app\.key" has no certificate},
    'certificate=alone.pem key=alone.pem'
        => qr{/alone\.pem" has no private key},
    'certificate=keys.pem' => qr{/keys\.pem" has 2 private keys},
    'certificate=app.pem key=app.key'
        => qr{/app\.pem" and "/.*/app\.key" have 2 private keys},
    'certificate=alone.pem key=other.key'
        => qr{/other\.key" does not belong to the certificate in "/.*/alone},
    'certificate=ec.pem' => qr{/ec\.pem" is no RSA key},
    'certificate=encrypted.pem'
        => qr{/encrypted\.pem" is encrypted: .*"password_file="},
    'certificate=app.p12' => qr{/app\.p12" is encrypted: .*"password_file="},
    'certificate=encrypted.pem password_file=wrong'
        => qr{/encrypted\.pem" cannot be decrypted: the password is wrong},
    'certificate=app.p12 password_file=wrong'
        => qr{/app\.p12" cannot be decrypted: the password is wrong},
    'certificate=app.pem password_file=missing'
        => qr{"/.*/missing": No such file},
    'certificate=app.pem password_file=empty.pem'
        => qr{"/.*/empty\.pem" is empty},
    'certificate=app.pem send_chain=yes'
        => qr/"send_chain=yes" is wrong, it must be "on" or "off"/,
    'certificate=app.pem secret=x' => qr/no parameter "secret"/,
);

while (my ($parameters, $expected) = splice @refused, 0, 2) {
    refused("certificate: '$parameters'", $expected, $parameters);
}


subtest 'an outdated PKCS#12 file' => sub {
    my $old = eval { pkcs12(qw(-legacy)) }
        or plan skip_all => 'this openssl makes none';
    my $check = check('certificate=old.p12 password_file=password',
        'old.p12' => $old);

    plan skip_all => 'this libcrypto reads it' if $check->{status} == 0;
    like $check->{output}, qr{\[emerg\].* "/.*/old\.p12"\ is\ encrypted\ in
        \ an\ outdated\ way .* "openssl\ pkcs12\ -legacy\ -in\ /.*/old\.p12
        \ -out\ NEW\.pem"}x, 'is refused with the command that mends it';

    my $new = "$folder/new.pem";
    openssl(qw(pkcs12 -legacy), '-in', file('old.p12', $old), '-out', $new,
        '-passin', 'pass:' . PASSWORD, '-passout', 'pass:' . PASSWORD);
    is check('certificate=new.pem password_file=password',
        'new.pem' => read_file($new))->{status}, 0, 'which it does';
};


for my $parameters (
    'certificate=app.pem',
    'certificate=%%DIR%%/app.pem send_chain=on',
    'certificate=alone.pem key=app.key send_chain=off',
    'certificate=encrypted.pem password_file=password',
    'certificate=app.p12 password_file=%%DIR%%/password',
) {
    my $check = check($parameters);
    is $check->{status}, 0, "accepted: $parameters" or diag $check->{output};
    unlike $check->{output}, qr/\[warn\]/, 'without a warning';
}


for my $case ([20 => 'expires on'], [29 => 'expires on'],
    [-1 => 'has expired on'])
{
    my ($days, $words) = @$case;
    my $then = sub { strftime '%Y-%m-%d', gmtime(time + 86400 * $days) };
    my $date = $then->();
    my $old = app_certificate(days => $days);
    # midnight may be in between
    $date = "(?:$date|" . $then->() . ')';
    my %file = ('old.pem' => join '', map { read_file($old->{$_}) }
        qw(certificate key));
    my $check = check('certificate=old.pem', %file);
    my $warning = qr{"/.*/old\.pem" $words $date};

    is $check->{status}, 0, "a certificate with $days days is accepted";
    like $check->{output}, qr{\[warn\] .*"aoai_aad_credential": .*$warning
        .*\ in\ /.*/check\.nginx\.conf:\d+$}mx, 'with a warning';

    $check = Test::Gateway->new(http => http(entra(tls => 0), ''),
        files => { %file }, env => environment('%%DIR%%/old.pem'))->check;
    like $check->{output}, qr/\[warn\] .*$warning/,
        'also where the environment names it';
}


subtest 'the assertion' => sub {
    my $entra = entra(tls => 0, client_secret => '');
    my $gateway = gateway($entra,
        'certificate=alone.pem key=app.key send_chain=on',
        { log_level => 'debug' });

    is status($gateway), 200, 'is worth a token';
    my ($request) = $entra->requests;
    my %form = form($request->{body});
    my $assertion = delete $form{client_assertion};
    is_deeply \%form, { client_id => CLIENT_ID,
        grant_type => 'client_credentials',
        client_assertion_type => ASSERTION_TYPE,
        scope => 'https://cognitiveservices.azure.com/.default',
    }, 'comes in a form with what it must';

    my ($header, $claims) = map { decode_json(decode_base64url($_)) }
        (split /\./, $assertion)[0, 1];
    my $der = der($app->{certificate});
    is decode_base64url($header->{'x5t#S256'}), sha256($der),
        'names the certificate';
    is_deeply [map { decode_base64($_) } $header->{x5c}->@*], [$der],
        'and brings it along';
    is $claims->{aud}, $entra->url . '/' . TENANT_ID . '/oauth2/v2.0/token',
        'is for the token endpoint alone';
    like $claims->{jti}, GUID, 'has a name of its own';
    cmp_ok abs($claims->{exp} - time - 600), '<', 60, 'ends in ten minutes';

    like $gateway->log, qr/token from client_certificate\b/,
        'the log names the step';
    for my $part ($assertion, split /\./, $assertion) {
        is index($gateway->log, substr $part, 0, 60), -1,
            'and nothing of the assertion';
    }
    $gateway->stop;
};


subtest 'a reload' => sub {
    my $entra = entra(tls => 0, client_secret => '');
    my $gateway = gateway($entra, 'certificate=app.pem',
        { expect_alerts => qr/has no private key/ });
    is status($gateway), 200, 'before it there is a token';

    ok $gateway->reload(
        files => { %FILES, 'app.pem' => $FILES{'encrypted.pem'} },
        http => http($entra,
            credential('certificate=app.pem password_file=password'))),
        'with the key encrypted is done';
    is status($gateway), 200, 'and there is one';
    is $entra->count, 1, 'still the same: the certificate has not changed';

    ok $gateway->reload(files => { %FILES,
        'app.pem' => "$certificate2$key2" },
        http => http($entra, credential('certificate=app.pem'))),
        'with another certificate is done';
    is status($gateway), 200, 'and there is a token';
    is $entra->count, 2, 'another one';
    is thumbprint(($entra->requests)[1]), sha256(der($other->{certificate})),
        'for the new certificate';

    ok !$gateway->reload(files => { %FILES, 'app.pem' => $certificate2 }),
        'with half of it is refused';
    is status($gateway), 200, 'and nothing has changed';
    $gateway->stop;
};


subtest 'the environment' => sub {
    my $entra = entra(tls => 0, client_secret => '');
    my $gateway = Test::Gateway->new(http => http($entra, ''),
        files => { %FILES }, env => { environment('%%DIR%%/app.p12')->%*,
            AZURE_CLIENT_CERTIFICATE_PASSWORD => PASSWORD,
            AZURE_CLIENT_SEND_CERTIFICATE_CHAIN => 'True' })->start;

    is status($gateway), 200, 'is part of the chain that holds by default';
    my ($request) = $entra->requests;
    is thumbprint($request), sha256(der($app->{certificate})),
        'its certificate is used';
    like header($request)->{x5c}[0], qr/^MII/, 'and sent as it says';
    unlike $gateway->log, qr/\Q${\PASSWORD}/, 'the password is in no log';
    $gateway->stop;
};


subtest 'a bad file in the environment' => sub {
    my $entra = entra(tls => 0, client_secret => '');
    my $gateway = Test::Gateway->new(http => http($entra, ''),
        files => { %FILES }, env => environment('%%DIR%%/alone.pem'))->start;

    is status($gateway), 503, 'does not keep nginx from starting';
    ok $gateway->wait_for_log(qr{environment\ failed:
        \ AZURE_CLIENT_CERTIFICATE_PATH:\ "/.*/alone\.pem"\ has\ no
        \ private\ key}x), 'the log says what is wrong';
    unlike $gateway->log, qr/azure_cli (?:is|failed)/,
        'and the chain stops there';
    is $entra->count, 0, 'and nobody was asked';
    $gateway->stop;
};


subtest 'a certificate that the authority does not know' => sub {
    my $entra = entra(tls => 0, client_secret => '',
        handler => sub ($request, @) {
            my $echo = { form($request->{body}) }->{client_assertion};
            return [401, ['Content-Type' => 'application/json'],
                qq({"error":"invalid_client","error_codes":[700027],)
                . qq("error_description":"AADSTS700027: unknown $echo"})];
        });
    my $gateway = gateway($entra, 'certificate=app.pem');

    is status($gateway), 503, 'is worth no token';
    ok $gateway->wait_for_log(qr/client_certificate failed: .*status 401/),
        'the log says so';
    unlike $gateway->log, qr/eyJ/, 'without the assertion that was repeated';
    $gateway->stop;
};


subtest 'files for root alone' => sub {
    plan skip_all => 'needs root' if $> != 0;

    my $group = getgrgid((getpwnam 'nobody')[3]);
    my $entra = entra(tls => 0, client_secret => '');
    my $gateway = gateway($entra,
        'certificate=encrypted.pem password_file=password',
        { main => "user nobody $group;" });

    chmod 0755, $gateway->dir;
    chmod 0600, map { $gateway->dir . "/$_" } qw(encrypted.pem password);
    is status($gateway), 200, 'are read by the master';
    $gateway->stop;
};

done_testing;


sub credential ($parameters) {
    return "aoai_aad_credential client_certificate tenant_id=${\TENANT_ID}
        client_id=${\CLIENT_ID} $parameters;";
}


sub http ($entra, $credential) {
    return <<"END";
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            $credential
            aoai_aad_authority_host ${\$entra->url};
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
        }
    }
END
}


sub gateway ($entra, $parameters, $args = {}) {
    return Test::Gateway->new(http => http($entra, credential($parameters)),
        files => { %FILES }, %$args)->start;
}


sub environment ($path) {
    return { AZURE_TENANT_ID => TENANT_ID, AZURE_CLIENT_ID => CLIENT_ID,
        AZURE_CLIENT_CERTIFICATE_PATH => $path };
}


sub status ($gateway) {
    return request($gateway->port('gateway'), GET => '/')->{status};
}


# What nginx -t says of these parameters.
sub check ($parameters, %files) {
    state $entra = entra(tls => 0);
    return Test::Gateway->new(http => http($entra, credential($parameters)),
        files => { %FILES, %files })->check;
}


sub refused ($name, $expected, $parameters) {
    my $check = check($parameters);
    my ($emerg) = $check->{output} =~ /\[emerg\] (.*)/;
    $emerg //= '';

    ok $check->{status} != 0 && $emerg =~ $expected
        && $emerg =~ /"aoai_aad_credential": /
        && $emerg =~ m{ in /.*/check\.nginx\.conf:\d+$}
        && $check->{output} !~ /\Q${\PASSWORD}/, $name
        or diag $check->{output};
}


sub header ($request) {
    my %form = form($request->{body});
    return decode_json(decode_base64url(
        (split /\./, $form{client_assertion})[0]));
}


sub thumbprint ($request) {
    return decode_base64url(header($request)->{'x5t#S256'});
}


sub file ($name, $content) {
    open my $handle, '>:raw', "$folder/$name" or die "$name: $!\n";
    print {$handle} $content;
    close $handle;
    return "$folder/$name";
}


sub der ($pem) {
    openssl(qw(x509 -outform der), '-in', $pem, '-out', "$folder/der");
    return read_file("$folder/der");
}


sub encrypted ($key) {
    openssl(qw(pkcs8 -topk8), '-in', $key, '-passout', 'pass:' . PASSWORD,
        '-out', "$folder/encrypted");
    return read_file("$folder/encrypted");
}


sub pkcs12 (@options) {
    openssl(qw(pkcs12 -export), @options, '-in', $app->{certificate},
        '-inkey', $app->{key}, '-passout', 'pass:' . PASSWORD,
        '-out', "$folder/p12");
    return read_file("$folder/p12");
}
