# examples/app-per-identity: its configuration as it is, with this machine in
# the place of Azure.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use MIME::Base64 'decode_base64url';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(entra form imds openai sent_token);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'read_file';

my $file = realpath(dirname(__FILE__)
    . '/../examples/app-per-identity/nginx.conf');

my %CLIENT = (
    chat => '11111111-1111-4111-8111-111111111111',
    search => '22222222-2222-4222-8222-222222222222',
    reports => '44444444-4444-4444-8444-444444444444',
);
my $TENANT = '33333333-3333-4333-8333-333333333333';
my $TRUSTED = '55555555-5555-4555-8555-555555555555';

my $imds = imds();
my $entra = entra(tls => 0, tenant => $TENANT, client_id => $CLIENT{reports},
    client_secret => '');
my $openai = openai();

my ($http) = read_file($file) =~ /^http \{\n(.*)^\}\n\z/ms;
ok $http, 'there is an http block';

# what is the reader's own: each has to be there
for my $change (
    [qr{https://my-resource\.openai\.azure\.com/}, $openai->url . '/'],
    [qr{127\.0\.0\.1:8080}, '127.0.0.1:%%PORT_gateway%%'],
    [qr{access_log \S+}, 'access_log apps.log'],
    [qr{(?=    server \{)}, "    aoai_aad_allowed_hosts 127.0.0.1;\n"
        . '    aoai_aad_authority_host ' . $entra->url . ";\n"],
) {
    my ($from, $to) = @$change;
    ok $http =~ s/$from/$to/g, "it has $from";
}

my $gateway = Test::Gateway->new(http => $http,
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url })->start;

my %token;

for my $app (sort keys %CLIENT) {
    my $answer = request($gateway->port('gateway'),
        GET => "/$app/openai/v1/models",
        headers => [Authorization => 'Bearer unused']);

    is $answer->{status}, 200, "$app is answered";
    is $answer->{json}{target}, '/openai/v1/models', 'under its own path';

    my $token = sent_token($answer);
    like decode_base64url((split /\./, $token)[1] // ''),
        qr/"appid":"\Q$CLIENT{$app}\E"/, 'as itself';
    $token{$token} = 1;
}

is keys %token, 3, 'and no two as the same';
is request($gateway->port('gateway'), GET => '/other')->{status}, 404,
    'nobody else is';

my ($exchange) = $entra->requests;
like $exchange->{body}, qr/client_assertion=/, 'the reports show no secret';
is_deeply [sort map { { form($_->{query}) }->{client_id} } $imds->requests],
    [sort @CLIENT{qw(chat search)}, $TRUSTED],
    'and the machine was asked for each identity once';

$gateway->stop;
done_testing;
