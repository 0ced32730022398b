# Callers: who is let in by a token of Entra ID, and what the others are told.

use v5.36;

use JSON::PP;
use List::Util 'uniq';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai sent_token CLIENT_ID TENANT_ID);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::Tenant
    qw(caller_token tenant AUDIENCE CALLER_ID PERSON_ID);

use constant OTHER_TENANT => '55555555-eeee-4eee-8eee-555555555555';

my $imds = imds();
my $openai = openai();
my $tenant = tenant();
my $other = tenant(tenant => OTHER_TENANT);

my $RULE = 'aoai_aad_caller audience=' . AUDIENCE . ' tenant=' . TENANT_ID;
my $PASS = "aoai_aad_allowed_hosts 127.0.0.1; proxy_pass ${\$openai->url};";


sub gateway ($locations, %args) {
    my $http = $args{http} // '';
    my $authority = $args{authority} // $tenant->url;
    return Test::Gateway->new(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        workers => $args{workers} // 1,
        log_level => $args{log_level} // 'info',
        http => <<"END");
aoai_aad_credential managed_identity;
aoai_aad_authority_host $authority;
log_format who '\$uri [\$aoai_aad_caller_object_id '
    '\$aoai_aad_caller_client_id \$aoai_aad_caller_name] \$status';
access_log %%DIR%%/who.log who;
$http
server {
    listen 127.0.0.1:%%PORT_gateway%%;
    aoai_aad on;
    $locations
    location /status { aoai_aad_status; }
}
END
}

sub ask ($gateway, $path, $token, @more) {
    return request($gateway->port('gateway'), GET => $path,
        headers => [defined $token ? (Authorization => "Bearer $token") : (),
            @more]);
}

# The answer in a word: "200", or status, code, and what is to be read in
# WWW-Authenticate.
sub verdict ($answer) {
    return $answer->{status} if $answer->{status} == 200;
    my ($error) = ($answer->{header}{'www-authenticate'} // '(none)')
        =~ /^Bearer realm="Azure OpenAI"(?:, error="(\w+)")?/;
    return join ' ', $answer->{status}, $answer->{json}{error}{code} // '',
        $answer->{json}{error}{type} // '', $error // '-';
}


my %CONDITION = (
    none    => '',
    roles   => 'roles=Reader',
    groups  => 'groups=88888888-bbbb-4bbb-8bbb-888888888888',
    scp     => 'scp=chat',
    appid   => 'appid=' . CALLER_ID,
    azp     => 'azp=' . CALLER_ID,
    oid     => 'oid=' . PERSON_ID,
    both    => 'roles=Reader scp=chat',
);
my $GROUP = '88888888-bbbb-4bbb-8bbb-888888888888';
my $gateway = gateway(join('', map {
    "location /$_/ { $RULE $CONDITION{$_}; $PASS }\n" } sort keys %CONDITION)
    . <<"END")->start;
location /either/ { $RULE roles=Reader; $RULE oid=${\PERSON_ID}; $PASS }
location /both_tenants/ {
    $RULE;
    aoai_aad_caller audience=${\AUDIENCE} tenant=${\OTHER_TENANT};
    $PASS
}
END

my $INVALID = '401 invalid_token gateway_error invalid_token';
my $MISSING = '401 invalid_token gateway_error -';
my $LACKING = '403 insufficient_role gateway_error insufficient_scope';
my $now = time;

# place, what the token is like => claims, or undef for none, verdict
my @CASES = (
    ['none', 'no token', undef, $MISSING],
    ['none', 'a valid one', {}, 200],
    ['none', 'of v1', { iss => Test::Gateway::Tenant::issuer(TENANT_ID, 1),
        ver => '1.0', azp => undef, appid => CALLER_ID }, 200],
    ['none', 'for several audiences', { aud => ['x', AUDIENCE] }, 200],
    ['none', 'for another', { aud => 'api://other' }, $INVALID],
    ['none', 'for the service itself',
        { aud => 'https://cognitiveservices.azure.com' }, $INVALID],
    ['none', 'of another issuer', { iss => 'http://127.0.0.1/x' }, $INVALID],
    ['none', 'of another tenant', { tid => OTHER_TENANT }, $INVALID],
    ['none', 'expired', { exp => $now - 61 }, $INVALID],
    ['none', 'expired a moment ago', { exp => $now - 30 }, 200],
    ['none', 'without an end', { exp => undef }, $INVALID],
    ['none', 'of the future', { nbf => $now + 120 }, $INVALID],
    ['none', 'of a clock that is fast', { nbf => $now + 30 }, 200],
    ['none', 'not signed', { alg => 'none', signature => '' }, $INVALID],
    ['none', 'of another algorithm', { alg => 'RS384' }, $INVALID],
    ['none', 'signed by a secret', { alg => 'HS256' }, $INVALID],
    ['none', 'with a wrong signature', { signature => 'x' x 256 }, $INVALID],
    ['none', 'signed by a stranger under a known name',
        { key => 'second', header => { kid => 'key-first' } }, $INVALID],
    ['none', 'with extensions', { header => { crit => ['x'], x => 1 } },
        $INVALID],
    ['roles', 'without roles', {}, $LACKING],
    ['roles', 'of another role', { roles => ['Writer'] }, $LACKING],
    ['roles', 'with the role', { roles => ['Writer', 'Reader'] }, 200],
    ['roles', 'with a role in pieces', { roles => 'Reader' }, $LACKING],
    ['groups', 'without groups', {}, $LACKING],
    ['groups', 'with the group', { groups => [$GROUP] }, 200],
    ['scp', 'without scopes', {}, $LACKING],
    ['scp', 'with the scope', { scp => 'read chat' }, 200],
    ['scp', 'with a longer scope', { scp => 'read chats' }, $LACKING],
    ['appid', 'of the app', {}, 200],
    ['azp', 'of the app', {}, 200],
    ['azp', 'of the app, v1', { azp => undef, appid => CALLER_ID }, 200],
    ['appid', 'of another app', { azp => CLIENT_ID }, $LACKING],
    ['oid', 'of the person', {}, 200],
    ['oid', 'of another person', { oid => CLIENT_ID }, $LACKING],
    ['both', 'with one of two', { scp => 'chat' }, $LACKING],
    ['both', 'with both', { scp => 'chat', roles => ['Reader'] }, 200],
    ['either', 'for the second line', {}, 200],
    ['either', 'for the first line', { oid => CLIENT_ID,
        roles => ['Reader'] }, 200],
    ['either', 'for neither', { oid => CLIENT_ID }, $LACKING],
);

for my $case (@CASES) {
    my ($place, $name, $claims, $verdict) = @$case;
    my $token = $claims ? caller_token(%$claims) : undef;
    $openai->forget;

    for my $time ('', ', again') {
        my $answer = ask($gateway, "/$place/", $token);
        is verdict($answer), $verdict, "$place: $name$time";
        next if $verdict ne 200;
        like sent_token($answer), qr/^[\w-]+\.[\w-]+\.[\w-]+$/,
            '... with a token';
        isnt sent_token($answer), $token, '... of the gateway\'s';
    }
    is $openai->count, $verdict eq 200 ? 2 : 0, '... and what goes upstream'
        if $verdict ne 200;
}

# schemes, and what is no token at all
my $good = caller_token();
for my $case (
    ["bearer $good" => 200], ["BEARER   $good" => 200],
    ["Basic $good" => $MISSING], ["Bearer" => $MISSING],
    ["Bearer $good.x" => $INVALID], ["Bearer $good $good" => $INVALID],
    ["Bearer x" => $INVALID], ['Bearer ' . 'x' x 7000 => $INVALID],
    ["Bearer ${good}=" => $INVALID],
) {
    my ($value, $verdict) = @$case;
    is verdict(request($gateway->port('gateway'), GET => '/none/',
        headers => [Authorization => $value])), $verdict,
        substr($value, 0, 20) . '...';
}

is scalar(grep { $_->{path} =~ /keys$/ } $tenant->requests), 1,
    'the keys were fetched once for all of that';

# of each tenant, the keys and the issuers are its own
is verdict(ask($gateway, '/both_tenants/', $good)), 200, 'the first tenant';
like verdict(ask($gateway, '/both_tenants/',
    caller_token(tenant => OTHER_TENANT))), qr/^(?:401|503)/,
    'a tenant whose keys are not to be had here';

# who it was is in the log, and the count of those who were not
is verdict(ask($gateway, '/none/', caller_token(preferred_username => undef))),
    200, 'an app without a name';
my $log = $gateway->file_with('who.log', qr{^/none/ .* -\] 200$}m);
like $log, qr{^/none/ \[${\PERSON_ID} ${\CALLER_ID} a\@b\.test\] 200$}m,
    'the log says who it was';
like $log, qr{^/none/ \[${\PERSON_ID} ${\CALLER_ID} -\] 200$}m,
    '... as far as it is known';
like $log, qr{^/none/ \[- - -\] 401$}m, '... and nobody where it was refused';
unlike $gateway->log, qr/eyJ/, 'no part of a token is in the error log';

my $metrics = request($gateway->port('gateway'), GET => '/status',
    headers => [Accept => 'text/plain; version=0.0.4'])->{body};
my %refused = $metrics =~ /^(\w*callers?_refused\w*\{.*?\}) ([1-9]\d*)$/mg;
is scalar(keys %refused), 2, 'refused callers are counted by code';
$gateway->stop;


subtest 'keys that rotate' => sub {
    my $tenant = tenant();
    my $gateway = gateway("location / { $RULE; $PASS }",
        authority => $tenant->url, workers => 4)->start;
    my $fetched = sub { scalar grep { $_->{path} =~ /keys$/ }
        $tenant->requests };
    my $old = caller_token();
    my $new = caller_token(key => 'second');

    is verdict(ask($gateway, '/', $old)), 200, 'a token of the first key';
    $tenant->mode('keys first second');
    my @waiting = map { start_request($gateway->port('gateway'), GET => '/',
        headers => [Authorization => "Bearer $new"]) } 1 .. 20;
    is_deeply [uniq map { $_->finish->{status} } @waiting], [200],
        'those of a new key wait for it';
    is $fetched->(), 2, '... which is fetched once, by all workers';

    is verdict(ask($gateway, '/', caller_token(key => 'third'))), $INVALID,
        'a key that nobody has';
    is $fetched->(), 2, '... is not asked for within the minute';
    is verdict(ask($gateway, '/', $old)), 200, 'the first key is still good';

    $tenant->mode('500');
    is verdict(ask($gateway, '/', $_)), 200, 'and with the authority down'
        for $old, $new, caller_token(roles => ['x']);
    ok $gateway->reload, 'a reload';
    is verdict(ask($gateway, '/', caller_token(roles => ['y']))), 200,
        '... keeps the keys';
    is $fetched->(), 2, '... and fetches none';
    $gateway->stop;
};


subtest 'keys that are long in coming' => sub {
    my $tenant = tenant();
    my $gateway = gateway("location / { $RULE; $PASS }",
        authority => $tenant->url, log_level => 'debug')->start;

    is verdict(ask($gateway, '/', $good)), 200, 'a token of the first key';
    $tenant->mode('slow keys first second');
    is verdict(ask($gateway, '/', caller_token(key => 'second'))), 200,
        'one of a new key waits for it';

    # all in a second: a crowd of them must leave the worker its time
    cmp_ok scalar($gateway->log_lines(qr/ access phase: /)), '<', 200,
        '... and is not woken for nothing all the time';
    $gateway->stop;
};


subtest 'a key that was taken back' => sub {
    my $tenant = tenant(published => [qw(first second)]);
    my $gateway = gateway("location / { $RULE; $PASS }",
        authority => $tenant->url)->start;
    my $token = caller_token(key => 'second');

    is verdict(ask($gateway, '/', $token)), 200, 'it is good at first';
    $tenant->mode('keys first');
    is verdict(ask($gateway, '/', caller_token(key => 'third'))), $INVALID,
        'keys are fetched again for another one';
    is verdict(ask($gateway, '/', $token)), $INVALID,
        'and what it had signed is good no more, remembered or not';
    $gateway->stop;
};


subtest 'no keys' => sub {
    my $tenant = tenant();
    $tenant->mode('500');
    my $gateway = gateway("aoai_aad_timeout 2s; location / { $RULE; $PASS }"
        . "location /open/ { $PASS }", authority => $tenant->url)->start;
    ok $gateway->wait_for_log(qr/no keys of callers: .*500/, 15),
        'the log says so';

    my $answer = ask($gateway, '/', $good);
    is "$answer->{status} $answer->{json}{error}{code}",
        '503 keys_unavailable', 'nobody can be let in';
    like $answer->{header}{'retry-after'}, qr/^\d+$/, '... for a while';
    is verdict(ask($gateway, '/', undef)), $MISSING,
        'and who shows nothing is told so all the same';
    is ask($gateway, '/open/', undef)->{status}, 200,
        'a location that asks nobody is not held up';

    $tenant->mode('');
    my $is_open;
    for (1 .. 40) {
        $is_open = ask($gateway, '/', $good)->{status} == 200 and last;
        select undef, undef, undef, 0.5;
    }
    ok $is_open, 'it mends itself';
    $gateway->stop;
};


subtest 'where else a request comes from' => sub {
    my $gateway = gateway(<<"END")->start;
location / { $RULE; $PASS }
location /any/ { satisfy any; allow all; $RULE; $PASS }
location /judged/ { auth_request /judge; $RULE; $PASS }
location = /judge { internal; $RULE; $PASS }
location /page/ { $RULE; error_page 401 =418 /teapot; $PASS }
location /teapot { return 200 "teapot"; }
location /off/ { aoai_aad off; $RULE; proxy_pass ${\$openai->url}; }
location /static { $RULE; return 200 "static"; }
location /mirror/ { mirror /copy; $RULE; $PASS }
location = /copy { internal; $RULE; $PASS }
location /redirect/ { rewrite ^ /again/ last; }
location /again/ { $RULE; $PASS }
END
    for my $path (qw(/ /any/ /judged/ /mirror/ /redirect/)) {
        $openai->forget;
        is verdict(ask($gateway, $path, $good)), 200, "$path: let in";

        # a mirrored one may come after the answer
        $openai->wait_for($path =~ /mirror|judged/ ? 2 : 1);
        $openai->forget;
        is ask($gateway, $path, undef)->{status}, 401, "$path: kept out";
        is $openai->count, 0, '... and nothing is sent';
    }
    my $answer = ask($gateway, '/page/', undef);
    is "$answer->{status} $answer->{body}", '418 teapot', 'an error_page';
    is ask($gateway, '/static', undef)->{status}, 200,
        'what is not proxied is as without the module';
    my @warnings = $gateway->check->{output} =~ /\[warn\].*aoai_aad_caller/g;
    is scalar(@warnings), 2, '... and nginx -t warns of it';
    $gateway->stop;
};


subtest 'limits' => sub {
    my $gateway = gateway(<<"END", http => <<'END2')->start;
location / { limit_req zone=callers; limit_req_status 429; $RULE; $PASS }
location /open/ { limit_req zone=callers; limit_req_status 429; $PASS }
END
limit_req_zone $aoai_aad_caller_object_id zone=callers:64k rate=1r/m;
END2
    # until the keys are there nobody is known
    is ask($gateway, '/', caller_token(oid => CLIENT_ID))->{status}, 200,
        'the keys have come';

    my $other = caller_token(oid => CALLER_ID);
    my $again = caller_token(jti => 'another token of the same person');
    is_deeply [map { ask($gateway, '/', $_)->{status} }
        $good, $good, $again, $other, $other], [200, 429, 429, 200, 429],
        'a limit for each caller';
    is_deeply [map { ask($gateway, '/', $_)->{status} } (undef, 'x') x 2],
        [(401) x 4], '... that is of nobody where nobody is known';
    is_deeply [map { ask($gateway, '/open/', $good)->{status} } 1, 2],
        [200, 200], '... nor where nobody is asked';
    my $status = request($gateway->port('gateway'), GET => '/status',
        headers => [Accept => 'text/plain; version=0.0.4'])->{body};
    my ($refused) = $status =~ /_refused\w*\{.*invalid_token.*\} (\d+)$/m;
    is $refused, 4, '... and refusals are counted once';
    my $limited = qr{^/ \[${\PERSON_ID} .*\] 429$}m;
    like $gateway->file_with('who.log', $limited), $limited,
        'the log says who had too much';
    $gateway->stop;
};


# what nginx -t says
for my $case (
    ['' => qr/audience=/], ['audience=x' => qr/tenant=/],
    ['audience=x tenant=y' => qr/tenant=y.*GUID/],
    ["audience=x tenant=${\TENANT_ID} color=red" => qr/color/],
    ["audience=x audience=y tenant=${\TENANT_ID}" => qr/audience/],
    ["audience= tenant=${\TENANT_ID}" => qr/audience/],
    ["audience=x tenant=${\TENANT_ID} oid=me" => qr/oid=me.*GUID/],
) {
    my ($parameters, $words) = @$case;
    my $check = gateway("location / { aoai_aad_caller $parameters; $PASS }")
        ->check;
    isnt $check->{status}, 0, "nginx -t refuses: $parameters";
    like $check->{output}, qr/\[emerg\].*aoai_aad_caller.*$words.*:\d+\n|
        invalid\ number\ of\ arguments/x, '... and says why and where';
}

done_testing;
