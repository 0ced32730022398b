# What a worker keeps in its memory: the token in force and none that was
# replaced, neither in the module's nor in its libraries'; and the part that
# all workers share is in no core dump.

use v5.36;
no warnings 'portable';

use Fcntl 'SEEK_SET';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure
    qw(entra form imds openai CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Certificates qw(app_certificate certificate);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'read_file';
use Test::Gateway::Tenant qw(caller_token tenant);

# Each token is a word of its own, many times: a part of it is soon found. Each
# is longer than the last, so that it does not take its place in memory.
use constant WORDS => 60;

plan skip_all => 'a sanitizer has a memory of its own'
    if $ENV{AOAI_AAD_STATIC};

my %answer = (refresh_in => '1', life => 600,
    access_token => sub ($request) {
        return word($request->{number}) x (WORDS * $request->{number});
    });
my $app = app_certificate();

# name => the token service, and how it is asked
my @ways = (
    ['in the clear' => imds(%answer),
        sub ($service) { 'managed_identity;' }],
    ['over TLS' => entra(%answer, client_secret => ''), sub ($service) {
        'client_certificate tenant_id=' . TENANT_ID . ' client_id='
            . CLIENT_ID . " certificate=$app->{certificate} key=$app->{key};"
            . 'aoai_aad_authority_host ' . $service->url . ';'
            . 'aoai_aad_ssl_trusted_certificate '
            . certificate()->{ca} . ';' }],
);

for my $way (@ways) {
    my ($name, $service, $ask) = @$way;
    subtest $name => sub { look($service, $ask->($service)) };
}

subtest 'on behalf of callers' => \&look_at_callers;

done_testing;


# What had to make room for others is wiped.
sub look_at_callers () {
    my $tenant = tenant(exchange => sub ($request, $form, $usual) {
        return Test::Gateway::Tenant::json(200, { token_type => 'Bearer',
            expires_in => 3599,
            access_token => word($request->{number}) x WORDS });
    });
    my $openai = openai();
    my $gateway = Test::Gateway->new(http => <<"END")->start;
aoai_aad_cache_size 128k;
aoai_aad_authority_host ${\$tenant->url};
aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
    client_id=${\CLIENT_ID} secret=${\CLIENT_SECRET};
server {
    listen 127.0.0.1:%%PORT_gateway%%;
    location / {
        aoai_aad on_behalf_of;
        aoai_aad_allowed_hosts 127.0.0.1;
        proxy_pass ${\$openai->url};
    }
}
END
    my @tokens = map { caller_token(jti => $_, signature => 'x') } 1 .. 100;
    for my $token (@tokens) {
        my $status = request($gateway->port('gateway'), GET => '/',
            headers => [Authorization => "Bearer $token"])->{status};
        is $status, 200, 'a caller' if $status != 200;
    }

    my @shared = grep { $_->{is_shared} } memory($gateway->workers);
    SKIP: {
        skip 'the memory of a process cannot be read here', 1 unless @shared;
        my @there = grep { with_token($_, @shared) } 1 .. @tokens;
        is $there[-1], @tokens, 'the last token is there';
        is_deeply \@there, [$there[0] .. @tokens], '... and some before it';
        cmp_ok $there[0], '>', 1, '... of the first nothing is';
        my @areas = with_token(scalar @tokens, @shared);
        ok !(grep { $_->{is_dumped} } @areas), '... that none is dumped of';
    }
    $gateway->stop;
}


sub look ($service, $credential) {
    my $gateway = Test::Gateway->new(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $service->url },
        http => <<"END")->start;
aoai_aad_credential $credential

server {
    listen 127.0.0.1:%%PORT_gateway%%;
    location / {
        aoai_aad on;
        aoai_aad_allowed_hosts 127.0.0.1;
        proxy_pass http://127.0.0.1:%%PORT_nobody%%;
    }
}
END

    ok $service->wait_for(2, 30), 'a token is replaced by another';
    $service->mode(500);
    ok $gateway->wait_for_log(qr/no new token/, 30), 'and then by no other';

    my @memory = memory($gateway->workers);
    SKIP: {
        skip 'the memory of a process cannot be read here', 1 unless @memory;
        my ($last) = grep { with_token($_, @memory) }
            reverse 1 .. $service->count;

        cmp_ok $last, '>', 1, 'the last token is there';
        is scalar with_token($_, @memory), 0,
            "token $_, the one before, is not" for 1 .. $last - 1;

        my @shared = grep { $_->{is_shared} } with_token($last, @memory);
        is scalar @shared, 1, 'the last one is in shared memory';
        ok !$shared[0]{is_dumped}, '... that is kept out of core dumps';

        for my $request ($service->requests) {
            my %form = form($request->{body});
            my $signature = (split /\./, $form{client_assertion} // '')[2]
                // next;
            is scalar(grep { index($_->{bytes}, $signature) >= 0 } @memory),
                0, "assertion $request->{number} is not there";
        }
    }
    $gateway->stop;
}

sub word ($number) { return sprintf 'token.%04d-', $number }


# The writable memory of a process, in areas: { is_shared, is_dumped, bytes }.
sub memory ($pid) {
    open my $memory, '<:raw', "/proc/$pid/mem" or return;
    my @areas;

    for my $area (split /^(?=[0-9a-f]+-[0-9a-f]+ )/m,
        read_file("/proc/$pid/smaps"))
    {
        my ($from, $to, $shared) = $area =~ /^(\w+)-(\w+) rw.(.)/ or next;
        my ($flags) = $area =~ /^VmFlags:(.*)/m or next;
        my ($length, $bytes) = (hex($to) - hex $from, '');
        sysseek $memory, hex $from, SEEK_SET or next;
        while (length $bytes < $length) {
            sysread $memory, $bytes, $length - length $bytes, length $bytes
                or last;
        }
        push @areas, { bytes => $bytes, is_shared => $shared eq 's',
            is_dumped => $flags !~ /\bdd\b/ };
    }
    return @areas;
}

# The areas that have a part of a token.
sub with_token ($number, @areas) {
    my $part = quotemeta word($number) x 3;
    return grep { $_->{bytes} =~ /$part/ } @areas;
}
