# The service principal of the environment: its variables are read with the
# configuration, and the log names the one that is missing or wrong.

use v5.36;

use Test::More;

use Test::Gateway;
use Test::Gateway::Azure
    qw(entra form openai CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Client 'request';

my $openai = openai();
my %SET = (
    AZURE_TENANT_ID     => TENANT_ID,
    AZURE_CLIENT_ID     => CLIENT_ID,
    AZURE_CLIENT_SECRET => CLIENT_SECRET,
);


subtest 'all variables' => sub {
    my $entra = entra(tls => 0);
    my $gateway = gateway($entra, %SET);

    is status($gateway), 200, 'are enough for a token';
    my ($request) = $entra->requests;
    is $request->{path}, "/${\TENANT_ID}/oauth2/v2.0/token",
        'which is asked for in the tenant';
    my %form = form($request->{body});
    is $form{client_id}, CLIENT_ID, 'for the client';
    is $form{client_secret}, CLIENT_SECRET, 'with the secret';

    unlike $gateway->log, qr/\Q${\CLIENT_SECRET}/, 'which is not in the log';
    $gateway->stop;
};


subtest 'a tenant that is a domain' => sub {
    my $entra = entra(tls => 0, tenant => 'contoso.onmicrosoft.com');
    my $gateway = gateway($entra, %SET,
        AZURE_TENANT_ID => 'contoso.onmicrosoft.com');

    is status($gateway), 200, 'is one';
    $gateway->stop;
};


for my $name (sort keys %SET) {
    for my $value (undef, '') {
        my $entra = entra(tls => 0);
        my $gateway = gateway($entra, %SET, $name => $value);

        is status($gateway), 503, "no token: $name "
            . (defined $value ? 'is empty' : 'is missing');
        like failure($gateway), qr/environment is unavailable: $name is not/,
            'the log names it';
        is $entra->count, 0, 'and nobody was asked';
        $gateway->stop;
    }
}


for my $case (
    [AZURE_TENANT_ID => 'common', 'tenant'],
    [AZURE_TENANT_ID => 'my tenant', 'tenant'],
    [AZURE_TENANT_ID => '../other', 'tenant'],
    [AZURE_TENANT_ID => "a.b/\r\nX-Header: c", 'tenant'],
    [AZURE_CLIENT_ID => '<your-client-id>', 'GUID'],
    [AZURE_CLIENT_ID => CLIENT_ID . '&scope=other', 'GUID'],
    [AZURE_CLIENT_SECRET => 's' x 10_000, 'long'],
) {
    my ($name, $value, $word) = @$case;
    my $entra = entra(tls => 0);
    my $gateway = gateway($entra, %SET, $name => $value);
    my $shown = (substr $value, 0, 24) =~ s/[^ -~]/?/gr;

    is status($gateway), 503, "no token: $name is '$shown'";
    like failure($gateway), qr/environment is unavailable: $name .*\b$word/,
        'the log names it';
    is $entra->count, 0, 'and nobody was asked';
    $gateway->stop;
}


subtest 'a reload' => sub {
    my $entra = entra(tls => 0);
    my $gateway = gateway($entra, %SET);
    my $second = entra(tls => 0);

    is status($gateway), 200, 'before it there is a token';
    ok $gateway->reload(http => http($second)), 'it is done';
    is status($gateway), 200, 'after it there is one of another authority';
    my ($request) = $second->requests;
    is { form($request->{body}) }->{client_secret}, CLIENT_SECRET,
        'for which the variables were read again';
    $gateway->stop;
};

done_testing;


sub gateway ($entra, %env) {
    return Test::Gateway->new(http => http($entra), env => \%env)->start;
}


sub http ($entra) {
    return <<"END";
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            aoai_aad_credential environment;
            aoai_aad_authority_host ${\$entra->url};
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
        }
    }
END
}


sub status ($gateway) {
    return request($gateway->port('gateway'), GET => '/')->{status};
}


sub failure ($gateway) {
    my ($line) = $gateway->log_lines(qr/\[error\]/);
    return $line;
}
