# What the module tells about a request in variables.

use v5.36;

use File::Temp;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(
    CLIENT_ID CLIENT_SECRET OBJECT_ID TENANT_ID entra imds jwt openai
);
use Test::Gateway::Client;
use Test::Gateway::System qw(read_file wait_until write_file);

my $GUID = '00000000-0000-4000-8000-000000000000';
my $flags = File::Temp->newdir;

# Each kind of identity is told by its client_id.
my %KIND;
sub kind ($name) {
    $KIND{$name} //= 1 + keys %KIND;
    return sprintf '%08d%s', $KIND{$name}, substr $GUID, 8;
}

my %TOKENS = (
    good => sub { jwt(appid => kind('good'), oid => $GUID) },
    late => sub { jwt },
    v2 => sub { jwt(appid => undef, azp => kind('v2')) },
    opaque => sub { 'opaque-token' },
    bare => sub { jwt(map { $_ => undef } qw(appid oid tid)) },
    odd => sub { jwt(appid => "a\nb", oid => { a => 1 }, tid => 'x' x 100) },
    stale => sub { jwt },
);
my %FOR = map { kind($_) => $_ } sort(keys %TOKENS), 'broken', 'silent';

my $imds = imds(sub ($request, $, $usual) {
    my ($client) = $request->{query} =~ /client_id=([^&]+)/;
    my $kind = $FOR{$client};

    # what is not asked again within a fetch
    return [403, [], ''] if $kind eq 'broken';
    sleep 60 if $kind eq 'silent';
    if ($kind eq 'late') {
        wait_until { -e "$flags/late" } 10;
    }
    return [403, [], ''] if $kind eq 'stale' && -e "$flags/stale";

    my $answer = $usual->();
    my $token = $TOKENS{$kind}->();
    $answer->[2] =~ s/("access_token":)"[^"]*"/$1"$token"/;
    $answer->[2] =~ s/\}$/,"refresh_in":1}/ if $kind eq 'stale';
    $answer->[2] =~ s/"expires_\w+":"\d+",?//g if $kind eq 'stale';
    $answer->[2] =~ s/\{/{"expires_in":"100",/ if $kind eq 'stale';
    return $answer;
});
my $entra = entra(tls => 0);
my $openai = openai(handler => sub ($request, $, $usual) {
    return [404, [], ''] if $request->{path} eq '/fails';
    return [200, ['X-Accel-Redirect' => '/return'], '']
        if $request->{path} eq '/accel';
    return $usual->();
});
my $pass = "proxy_pass ${\$openai->url}";

my @NAMES = map { "aoai_aad_$_" } qw(cache_status credential client_id
    object_id tenant_id expires_in wait_time);
my $add = join "\n", map { "add_header X-$_ \"<\$$_>\" always;" } @NAMES;
my $log = join '|', '$uri', map { "\$$_" } @NAMES;

my $locations = join "\n", map { <<"END" } sort keys %KIND;
    location /$_ {
        aoai_aad_credential managed_identity client_id=${\kind($_)};
        $pass;
    }
END

my $gateway = Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    http => <<"END")->start;
aoai_aad_allowed_hosts 127.0.0.1;
aoai_aad_timeout 30s;
limit_req_zone \$aoai_aad_cache_status zone=by_status:64k rate=1r/m;
proxy_cache_path %%DIR%%/cache keys_zone=cache:64k;
log_format module '$log';

map \$aoai_aad_cache_status \$mapped {
    HIT warm;
    MISS cold;
    ERROR broken;
    '' none;
    default other;
}

server {
    listen 127.0.0.1:%%PORT_http%%;
    aoai_aad on;
    aoai_aad_credential managed_identity client_id=${\kind('good')};
    access_log %%DIR%%/module.log module;
    $add
    add_header X-Mapped \$mapped always;

$locations
    location /timeout {
        aoai_aad_timeout 200ms;
        aoai_aad_credential managed_identity client_id=${\kind('silent')};
        aoai_aad_scope api://other/.default;
        $pass;
    }
    location /chain {
        aoai_aad_credential managed_identity client_id=${\kind('broken')};
        aoai_aad_credential environment;
        $pass;
    }
    location /second {
        aoai_aad_authority_host ${\$entra->url};
        aoai_aad_credential environment;
        aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
            client_id=${\CLIENT_ID} "secret=${\CLIENT_SECRET}";
        $pass;
    }
    location /early {
        set \$early "<\$aoai_aad_cache_status\$aoai_aad_credential>";
        add_header X-Early \$early;
        $add
        $pass;
    }
    location /off { aoai_aad off; $pass; }
    location /return { return 200; }
    location /not-allowed { aoai_aad_allowed_hosts x.example.com; $pass; }
    location /denied { deny all; $pass; }
    location /cached {
        proxy_cache cache;
        proxy_cache_valid 1m;
        $pass;
    }
    location /error-page {
        aoai_aad_credential managed_identity client_id=${\kind('broken')};
        error_page 503 /off;
        $pass;
    }
    location /accel { $pass; }
    location /fails {
        proxy_intercept_errors on;
        error_page 404 = /v2;
        $pass;
    }
    location /rewritten { rewrite ^ /v2 last; }
    location /tried { try_files /none \@named; }
    location \@named { $pass; }
    location /limited {
        limit_req zone=by_status;
        error_page 503 = \@limited;
        aoai_aad_credential managed_identity client_id=${\kind('broken')};
        $pass;
    }
    location \@limited {
        limit_req zone=by_status;
        limit_req_status 429;
        try_files /none =418;
    }
}
END


my %asked;

sub start ($path) {
    $asked{$path}++;
    return start_request($gateway->port('http'), GET => $path);
}

sub ask ($path) { return values_of(start($path)->finish) }

# The values in an answer's headers, by what follows aoai_aad_.
sub values_of ($answer) {
    my %value = (status => $answer->{status},
        mapped => $answer->{header}{'x-mapped'},
        early => $answer->{header}{'x-early'});
    for my $name (@NAMES) {
        my ($value) = ($answer->{header}{"x-$name"} // 'none') =~ /^<(.*)>$/;
        $value{$name =~ s/aoai_aad_//r} = $value;
    }
    return \%value;
}

# The access log's line for the last request of a path, the values joined by
# blanks. It's written after the answer.
sub logged ($path) {
    my $line = wait_until {
        (read_file($gateway->dir . '/module.log')
            =~ m{^\Q$path\E\|(.*)\n}mg)[$asked{$path} - 1];
    } 5;
    return $line ? $line =~ tr/|/ /r : 'no line';
}


# a token that comes late, then is there
{
    my $request = start('/late');
    $gateway->wait_for_log(qr/valid until/);
    select undef, undef, undef, 0.2;
    write_file("$flags/late", '');
    my $miss = values_of($request->finish);

    is $miss->{status}, 200, 'a request waits for the first token';
    is $miss->{cache_status}, 'MISS', '... cache_status is MISS';
    like $miss->{wait_time}, qr/^\d\.\d{3}$/, '... wait_time is in seconds';
    cmp_ok $miss->{wait_time}, '>=', 0.15, '... as long as it took';
    cmp_ok $miss->{wait_time}, '<', 3, '... and no longer';
    is $miss->{mapped}, 'cold', '... a map knows it';
    is $miss->{credential}, 'managed_identity', '... credential';
    is $miss->{client_id}, CLIENT_ID, '... client_id';
    is $miss->{object_id}, OBJECT_ID, '... object_id';
    is $miss->{tenant_id}, TENANT_ID, '... tenant_id';
    is logged('/late'), join(' ', 'MISS managed_identity', CLIENT_ID,
        OBJECT_ID, TENANT_ID, @$miss{qw(expires_in wait_time)}),
        '... and so the access log';

    my $hit = ask('/late');
    is $hit->{cache_status}, 'HIT', 'cache_status of the next one is HIT';
    is $hit->{wait_time}, '0.000', '... wait_time';
    is $hit->{mapped}, 'warm', '... a map knows it';
    is $hit->{client_id}, CLIENT_ID, '... client_id';
    like $hit->{expires_in}, qr/^\d+$/, '... expires_in is in whole seconds';
    cmp_ok $hit->{expires_in}, '<=', 3599, '... not more than it was';
    cmp_ok $hit->{expires_in}, '>', 3500, '... and hardly less';
    like logged('/late'), qr/^HIT .* 0\.000$/, '... and so the access log';
}


# what tokens say of themselves
for my $case (
    ['a v1 token', 'good', [kind('good'), $GUID, TENANT_ID]],
    ['a v2 token', 'v2', [kind('v2'), OBJECT_ID, TENANT_ID]],
    ['a token without claims', 'bare', ['', '', '']],
    ['a token that is no JWT', 'opaque', ['', '', '']],
) {
    my ($name, $path, $expected) = @$case;
    my $value = ask("/$path");
    is_deeply [@$value{qw(status client_id object_id tenant_id)}],
        [200, @$expected], "identity: $name";
}
{
    my $value = ask('/odd');
    is $value->{status}, 200, 'a token with odd claims is used';
    unlike join('', @$value{qw(client_id object_id tenant_id)}),
        qr/[^ -~]/, '... and they cannot end a line';
    like logged('/odd'), qr/^HIT managed_identity /, '... nor one of the log';
}
is ask('/second')->{credential}, 'client_secret',
    'credential is the step that gave the token';
is ask('/second')->{cache_status}, 'HIT', '... cache_status';


# no token
for my $case (
    ['which is refused', '/broken', '0.0'], ['in a chain', '/chain', '0.0'],
    ['in time', '/timeout', '0.2'],
) {
    my ($name, $path, $wait_time) = @$case;
    my $value = ask($path);
    is $value->{status}, 503, "no token $name: 503";
    is $value->{cache_status}, 'ERROR', '... cache_status';
    is $value->{mapped}, 'broken', '... a map knows it';
    is_deeply [map { $_ // 'none' }
        @$value{qw(credential client_id object_id tenant_id expires_in)}],
        [('') x 5], '... nothing of a token';
    like $value->{wait_time}, qr/^\Q$wait_time\E\d\d$/, '... wait_time'
        if $path ne '/chain';
    like logged($path), qr/^ERROR - - - - - \d\.\d{3}$/,
        '... and so the access log';
}


# a token that can't be renewed
{
    is ask('/stale')->{cache_status}, 'HIT', 'a token that is short-lived';
    write_file("$flags/stale", '');
    ok $gateway->wait_for_log(qr/no new token/), '... and not renewed';
    my $value = ask('/stale');
    is $value->{status}, 200, '... is used';
    is $value->{cache_status}, 'STALE', '... cache_status';
    is $value->{mapped}, 'other', '... a map knows it';
    cmp_ok $value->{expires_in}, '<=', 100, '... expires_in';
}


# where nothing is done
for my $path ('/off', '/return', '/denied') {
    my $value = ask($path);
    is_deeply [@$value{map { s/aoai_aad_//r } @NAMES}], [('') x @NAMES],
        "all of them are empty: $path";
    is $value->{mapped}, 'none', '... a map knows it';
    is logged($path), join(' ', ('-') x @NAMES), '... and so the access log';
}

# and where something goes otherwise
is ask('/not-allowed')->{cache_status}, 'ERROR',
    'cache_status where a host is not allowed';
is ask('/cached')->{cache_status}, 'HIT', 'cache_status: the cache misses';
is ask('/cached')->{cache_status}, 'HIT', 'cache_status: the cache hits';
{
    my $value = ask('/early');
    is $value->{early}, '<>', 'empty before the token is looked for';
    is $value->{cache_status}, 'HIT', '... and not kept so';
}

# through internal redirects: of the location with a token that came last
{
    my $value = ask('/error-page');
    is $value->{status}, 503, 'an error_page stands in for ERROR';
    is $value->{cache_status}, 'ERROR', '... which can be seen there';
    is $value->{credential}, '', '... and no token';
    my $line = qr{^/off\|ERROR\|-\|}m;
    like $gateway->file_with('module.log', $line), $line,
        '... and in the access log';

    for my $case (
        ['/accel', 'X-Accel-Redirect to one without', kind('good')],
        ['/fails', 'error_page to another with one', kind('v2')],
        ['/rewritten', 'a rewrite to one with it', kind('v2')],
        ['/tried', 'try_files to a named one', kind('good')],
    ) {
        my ($path, $name, $client_id) = @$case;
        my $value = ask($path);
        is $value->{status}, 200, "$name: an answer";
        is $value->{cache_status}, 'HIT', '... cache_status';
        is $value->{mapped}, 'warm', '... a map knows it';
        is $value->{client_id}, $client_id, '... client_id';
        like $value->{expires_in}, qr/^\d+$/, '... expires_in';
        is $value->{wait_time}, '0.000', '... wait_time';
    }

    # before its token is looked for, the key of a limit is empty
    is_deeply [map { ask('/limited')->{status} } 1 .. 3], [418, 429, 429],
        'a limit by cache_status, where it is known';
}

{
    my $check = Test::Gateway->new(http => 'server { listen '
        . '127.0.0.1:%%PORT_http%%; return 200 $aoai_aad_token; }')->check;
    like $check->{output}, qr/unknown "aoai_aad_token" variable/,
        'no variable holds the token';
}

$gateway->stop;

done_testing;
