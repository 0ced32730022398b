# The command aoai-aad token: what it says of each step and of the token, to
# people and to scripts, and that nothing of it is secret.

use v5.36;

use File::Temp;
use JSON::PP;
use Test::More;

use Test::Gateway::Azure qw(
    CLIENT_ID CLIENT_SECRET OBJECT_ID TENANT_ID az az_calls entra form imds
    jwt
);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::System 'write_file';
use Test::Gateway::Tool 'tool';

use constant {
    APP   => 'client_secret tenant_id=' . TENANT_ID . ' client_id=' . CLIENT_ID,
    SCOPE => 'https://cognitiveservices.azure.com/.default',
};

my $ca = certificate()->{ca};
my $imds = imds();
my $entra = entra();
my %IMDS = (AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url);

# all that was said but where the token itself was asked for
my $said = '';

my $folder = File::Temp->newdir;
write_file("$folder/secret", CLIENT_SECRET . "\n");
my $app = APP . " secret_file=$folder/secret";
my @AT = ('--authority-host=' . $entra->url,
    "--ssl-trusted-certificate=$ca");


sub said (@args) {
    my $run = tool(@args);
    $said .= $run->{out} . $run->{err};
    return $run;
}


# The only object of the output; JSON::PP accepts nothing after it.
sub object ($run) {
    like $run->{out}, qr/\A\{[^\n]*\}\n\z/, 'one line of JSON';
    return eval { JSON::PP->new->ascii->decode($run->{out}) } // {};
}


subtest 'a token' => sub {
    my $run = said({ env => \%IMDS }, 'token',
        '--credential=managed_identity');

    is $run->{status}, 0, 'is success';
    is $run->{err}, '', 'with nothing on standard error';
    like $run->{out}, qr/\A
        Token\ of:\ +managed_identity\n
        Client\ id:\ +${\CLIENT_ID}\n
        Object\ id:\ +${\OBJECT_ID}\n
        Tenant\ id:\ +${\TENANT_ID}\n
        Audience:\ +https:\/\/cognitiveservices\.azure\.com\n
        Expires:\ +20\d\d-\d\d-\d\d\ \d\d:\d\d:\d\d\ UTC,\ in\ 59\ min\n
        \z/x, 'and says whose it is, for what and until when';
};


subtest 'each verdict' => sub {
    my $run = said({ env => \%IMDS }, 'token', '--explain',
        '--credential=environment', '--credential=managed_identity',
        "--credential=$app", '--credential', 'azure_cli');

    is $run->{status}, 0, 'a token of the second step';
    like $run->{out}, qr/^
        Chain:\ +environment,\ managed_identity,\ client_secret\ tenant_id=
            ${\TENANT_ID}\ client_id=${\CLIENT_ID},\ azure_cli\n
        Scope:\ +\Q${\SCOPE}\E\n
        Authority:\ +https:\/\/127\.0\.0\.1:\d+\n
        Its\ CAs:\ +the\ system's\n
        \n
        1\.\ environment:\ unavailable\n
        \ +AZURE_TENANT_ID\ is\ not\ set\n
        2\.\ managed_identity:\ token\n
        3\.\ client_secret:\ not\ asked\n
        4\.\ azure_cli:\ not\ asked\n
        \n
        Token\ of:\ +managed_identity\n/x, 'all steps are there, in order';

    my $wrong = entra(client_secret => 'other');
    $run = said('token', "--credential=$app", '--credential=environment',
        '--authority-host=' . $wrong->url, $AT[1]);

    is $run->{status}, 1, 'a refusal is no success';
    like $run->{out}, qr/\A
        1\.\ client_secret:\ failed\n
        \ +https:.*\ status\ 401,\ invalid_client:\ AADSTS7000215:.*\n
        \ +code:\ AADSTS7000215\n
        \ +correlation\ id:\ 44444444-dddd-4ddd-8ddd-\d{12}\n
        \ +which\ means:\ the\ client\ secret\ is\ wrong;.*\n
        2\.\ environment:\ not\ asked\n
        \n
        No\ token:\ client_secret\ failed\n
        \z/x, 'explained without being asked to, with code, id and hint';

    $run = said('token', '--credential=environment');
    is $run->{status}, 1, 'no step that applies is no success';
    like $run->{out}, qr/^No token: no step of the chain is available here$/m,
        'and is said';
};


subtest 'the default chain' => sub {
    my $run = said('token', '--json');

    is $run->{status}, 1, 'has no token here';
    my %at = map { $_->{credential} => $_ } object($run)->{attempts}->@*;
    like $at{managed_identity}{reason}, qr/no managed identity endpoint here/,
        'managed_identity is asked';
    like $at{environment}{reason}, qr/AZURE_TENANT_ID is not set/,
        'environment is asked';
    like $at{azure_cli}{reason}, qr/az is not installed/,
        'azure_cli is asked';
};


subtest 'the environment' => sub {
    my $run = said({ env => { AZURE_AUTHORITY_HOST => $entra->url,
        AZURE_TENANT_ID => TENANT_ID, AZURE_CLIENT_ID => CLIENT_ID,
        AZURE_CLIENT_SECRET => CLIENT_SECRET } }, 'token', $AT[1],
        '--credential=environment');

    is $run->{status}, 0, 'has authority and service principal';
    like $run->{out}, qr/^Token of: +environment$/m, 'as it has for nginx';
    my ($request) = reverse $entra->requests;
    is { form($request->{body}) }->{client_secret}, CLIENT_SECRET,
        'whose secret was sent';

    for my $name (qw(AZURE_AUTHORITY_HOST HTTPS_PROXY)) {
        my $value = $name =~ /PROXY/ ? 'http://me:top-secret@127.0.0.1/x'
            : 'https://127.0.0.1/path';
        $run = said({ env => { $name => $value } }, 'token');
        is $run->{status}, 1, "a wrong $name is no success";
        like $run->{err}, qr/^aoai-aad: $name in the environment: .*wrong/,
            'and is named';

        $run = said({ env => { $name => $value } }, 'token', '--json');
        is $run->{status}, 1, 'nor for scripts';
        my $object = object($run);
        like $object->{error}{message}, qr/^$name in the environment: /,
            'who are told in JSON';
        is_deeply $object->{attempts}, [], 'that nobody was asked';
    }
};


subtest 'the options' => sub {
    my $proxy = entra(tls => 0, handler => sub ($request, $, $usual) {
        return [502] if $request->{path} !~ s{^http://[^/]+}{};
        return $usual->();
    });
    my $plain = entra(tls => 0);
    my $relative = APP . ' secret_file=secret';
    my @run = ('token', "--credential=$relative",
        '--authority-host=' . $plain->url);

    my $run = said({ dir => "$folder" }, @run, '--scope=api://x/.default');
    is $run->{status}, 0, 'secret_file is relative to the current directory';
    like $run->{out}, qr{^Audience: +api://x$}m, 'the scope is asked for';

    $run = said({ dir => "$folder" }, @run, '--explain', '--proxy='
        . $proxy->url =~ s{//}{//me:top-secret@}r);
    is $run->{status}, 0, 'the proxy serves';
    is $proxy->count, 1, 'and was asked';
    like $run->{out}, qr{^Proxy: +http://\.\.\.\@127\.0\.0\.1:\d+/?$}m,
        'its password is not shown';

    $run = said({ dir => "$folder", env => { HTTPS_PROXY => $proxy->url } },
        'token', "--credential=$relative", @AT, '--proxy=off');
    is $run->{status}, 0, 'without the proxy of the environment: off';
    is $proxy->count, 1, 'it was not asked';

    my $bin = az("$folder/bin", token => jwt());
    $run = said('token', qq(--credential=azure_cli path=$bin/az )
        . q('subscription=My own'));
    is $run->{status}, 0, 'a value with blanks has quotes of its own';
    my ($call) = az_calls($bin);
    is $call->{argv}[-1], 'My own', 'and arrives whole';

    my $silent = entra(handler => sub ($, $, $) { sleep 30; return undef });
    $run = said('token', "--credential=$app", $AT[1], '--timeout=300ms',
        '--authority-host=' . $silent->url);
    is $run->{status}, 1, 'a service that is silent';
    like $run->{out}, qr/timed out/i, 'is given up';
};


subtest '--print-token' => sub {
    my $run = tool({ env => \%IMDS }, 'token', '--print-token',
        '--credential=managed_identity');
    is $run->{status}, 0, 'a token';
    like $run->{out}, qr/\Aey[\w-]+\.[\w-]+\.[\w-]+\n\z/,
        'is all of standard output';
    like $run->{err}, qr/^Token of: +managed_identity$/m,
        'the rest is on standard error';
    unlike $run->{err}, qr/ey[\w-]+\./, 'where the token is not';

    my $object = object(tool({ env => \%IMDS }, 'token', '--print-token',
        '--json', '--credential=managed_identity'));
    like $object->{access_token}, qr/^ey[\w-]+\.[\w-]+\.[\w-]+$/,
        'in JSON it is a field';

    $run = tool('token', '--print-token', '--credential=environment');
    is $run->{status}, 1, 'no token';
    is $run->{out}, '', 'leaves standard output empty';
};


subtest '--json' => sub {
    my $before = time;
    my $run = said({ env => \%IMDS }, 'token', '--json',
        '--credential=environment', '--credential=managed_identity',
        '--credential=azure_cli');
    is $run->{status}, 0, 'with a token';

    my $object = object($run);
    my $on = delete $object->{expires_on};
    my ($in, $refresh) = delete $object->@{qw(expires_in refresh_in)};
    my $authority = delete $object->{authority_host};

    cmp_ok $on, '>=', $before + 3599, 'expires_on is in Unix seconds';
    cmp_ok $in, '<=', 3599, 'expires_in is in seconds';
    cmp_ok $refresh, '<', $in, 'refresh_in comes before';
    like $authority, qr{^https://127\.0\.0\.1:\d+$}, 'the authority';
    is_deeply $object, {
        name => 'environment, managed_identity, azure_cli', scope => SCOPE,
        credential => 'managed_identity', client_id => CLIENT_ID,
        object_id => OBJECT_ID, tenant_id => TENANT_ID,
        audience => 'https://cognitiveservices.azure.com', error => undef,
        attempts => [
            attempt(environment => 'unavailable',
                'AZURE_TENANT_ID is not set'),
            attempt(managed_identity => 'ok', undef),
            attempt(azure_cli => 'skipped', 'not asked'),
        ],
    }, 'and all else';

    my $wrong = entra(client_secret => 'other');
    $run = said('token', '--json', "--credential=$app", $AT[1],
        '--authority-host=' . $wrong->url);
    is $run->{status}, 1, 'without a token';
    $object = object($run);
    is $object->{$_}, undef, "$_ is null" for qw(credential client_id
        object_id tenant_id audience expires_on expires_in refresh_in);

    my $error = $object->{error};
    is $error->{credential}, 'client_secret', 'the error has the step';
    is $error->{code}, 'AADSTS7000215', 'the code';
    like $error->{correlation_id}, qr/^44444444-/, 'the correlation id';
    like $error->{message}, qr/AADSTS7000215/, 'the words';
    like $error->{hint}, qr/secret is wrong/, 'and what to do';
    is $object->{attempts}[0]{reason}, $error->{message},
        'as the attempt has it';

    $error = object(said('token', '--json', '--credential=environment'))
        ->{error};
    is $error->{credential}, undef, 'no step is to blame';
    like $error->{message}, qr/no step/, 'where none is available';
};


# words that are another's, and what is to be left of them
for my $case (
    ["a \e[31mred\x07 \x{9b} word" => qr/a \?\[31mred\? \?+ word/,
        'control characters'],
    ['the secret ' . CLIENT_SECRET, qr/repeat a secret/, 'the secret'],
    ["\xff\xfe not UTF-8" => qr/\?\? not UTF-8/, 'no UTF-8'],
) {
    my ($words, $expected, $name) = @$case;
    my $answer = '{"error":"invalid_client","error_description":"'
        . $words =~ s/[\x00-\x1f]/sprintf '\u%04x', ord $&/ger . '"}';
    utf8::encode($answer) if $answer =~ /\x9b/;
    my $rude = entra(handler => sub ($, $, $) {
        [401, ['Content-Type' => 'application/json'], $answer]
    });

    for my $form (['--explain'], ['--json']) {
        my $run = said('token', @$form, "--credential=$app", $AT[1],
            '--authority-host=' . $rude->url);
        like $run->{out}, $expected, "$name in the service's words, @$form";
        unlike $run->{out}, qr/[^ -~\n]/, 'nothing but text is shown';
        object($run) if $form->[0] eq '--json';
    }
}


# arguments => the message; each is wrong usage
my @WRONG = (
    [] => qr/^Usage: aoai-aad COMMAND/,
    ['tokens'] => qr/must be one of: token check --version --help$/,
    ['token', '--expain'] => qr/"--expain",\ it\ must\ be\ one\ of:
        .*--explain.*--print-token.*--json.*--credential.*--scope
        .*--authority-host.*--ssl-trusted-certificate.*--proxy.*--timeout
        .*--help/x,
    ['token', '--secret=top-secret'] => qr/unknown option "--secret",/,
    ['token', '-e'] => qr/unknown option "-e"/,
    ['token', 'secret=top-secret'] => qr/must be quoted, such as --credential/,
    ['token', '--', '--json'] => qr/an argument that is no option/,
    ['token', '--json=1'] => qr/"--json" takes no value/,
    ['token', '--scope'] => qr/"--scope" needs a value.*"--scope=SCOPE"/,
    ['token', '--scope='] => qr/"--scope": "" is wrong/,
    ['token', '--scope=x'] => qr{"--scope": "x" is wrong.*"/\.default"},
    ['token', '--authority-host=http://x'] => qr{must begin with "https://"},
    ['token', '--authority-host=https://me:top-secret@x']
        => qr/scheme and host/,
    ['token', '--ssl-trusted-certificate=missing']
        => qr/"missing": No such file/,
    ['token', '--proxy=me:top-secret@x'] => qr/"--proxy": the proxy is wrong/,
    ['token', '--timeout=0'] => qr/"--timeout": "0" is wrong.*a time above/,
    ['token', '--timeout=soon'] => qr/"soon" is wrong/,
    map { (['token', "--credential=$_->[0]"] => $_->[1]) }
        ['' => qr/must be one type and its parameters/],
        [' ' => qr/must be one type and its parameters/],
        ['environment; environment' => qr/must be one type/],
        ['environment {}' => qr/must be one type/],
        ['environment }' => qr/must be one type/],
        ["managed_identity 'client_id=" => qr/must be one type/],
        [APP . ' secret=top-secret;' => qr/must be one type/],
        ['Environment' => qr/unknown\ credential\ type\ "Environment",\ it\ must
            \ be\ one\ of:.*\benvironment\b/x],
        ['secret=top-secret x' => qr/unknown credential type "secret",/],
        ['managed_identity clientid=1' => qr/"clientid", it has: client_id,/],
        ['managed_identity client_id=me' => qr/"client_id=me".*a GUID/],
        [APP, qr/needs "secret_file="/],
        [APP . ' top-secret' => qr/"\.\.\." is no parameter/],
        [APP . ' secret_file=missing' => qr/No such file/],
        ["managed_identity \e[1m=1" => qr/parameter "\?\[1m"/],
);

while (my ($arguments, $expected) = splice @WRONG, 0, 2) {
    my $run = said(@$arguments);
    my $name = "@$arguments" =~ s/[^ -~]/?/gr;

    is $run->{status}, 2, "wrong usage: aoai-aad $name";
    is $run->{out}, '', 'standard output is empty';
    like $run->{err}, $expected, 'standard error says what is right';
}

for my $step (1, 2) {
    my $run = said('token', ('--credential=environment') x (15 + $step));
    is $run->{status}, $step, 15 + $step . ' steps';
    like $run->{err}, qr/16 steps at most/, 'are too many' if $step == 2;
}


for my $case (
    [['--version'], qr/\Aaoai-aad \d+\.\d+\.\d+\n\z/],
    [['--help'], qr/^Usage: aoai-aad COMMAND.*^  check FILE/ms],
    [['token', '--help'], qr/^Usage: aoai-aad token.*^  --credential=/ms],
    [['token', '--json', '-h'], qr/^Usage: aoai-aad token/],
    [['check', '--help'], qr/^Usage: aoai-aad check FILE.*^  --prefix=/ms],
) {
    my ($arguments, $expected) = @$case;
    my $run = said(@$arguments);
    is $run->{status}, 0, "aoai-aad @$arguments";
    like $run->{out}, $expected, 'tells';
    is $run->{err}, '', 'on standard output';
    is_deeply [grep { length > 80 } split /\n/, $run->{out}], [],
        'within 80 columns';
}


is tool({ out => '/dev/full' }, '--version')->{status}, 1,
    'a report that could not be written is no success';

is join("\n", grep { /top-secret|\Q${\CLIENT_SECRET}\E/ } split /\n/, $said),
    '', 'no secret is in anything that was said';
is join("\n", grep { /\bey[\w-]{8,}|token-\d/ } split /\n/, $said), '',
    'nor a part of a token';

done_testing;


sub attempt ($credential, $result, $reason) {
    return { credential => $credential, result => $result,
        reason => $reason, code => undef, correlation_id => undef,
        hint => undef };
}
