# A machine's clock that is set, forward and back: no token is used past its
# end, none is missing for long, and the time that passes goes on.

use v5.36;

use Test::More;
use Time::HiRes 'sleep';

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai);
use Test::Gateway::Client 'request';
use Test::Gateway::System qw(now wait_until write_file);

my ($faketime) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1'
    or plan skip_all => 'needs libfaketime (Debian package libfaketime)';

plan skip_all => 'a sanitizer wants to be loaded first'
    if $ENV{AOAI_AAD_STATIC};

my $openai = openai();


for my $case (['+3600', 'forward'], ['-3600', 'back']) {
    my ($shift, $direction) = @$case;

    subtest "an hour $direction" => sub {
        my $imds = imds(life => 1800, expires_on => undef);
        my $gateway = gateway($imds);
        my $first = get($gateway);
        is $first->{status}, 200, 'before it there is a token';
        set_clock($gateway, $shift);

        my @answers = map { sleep 0.02; get($gateway) } 1 .. 20;
        is scalar(grep { $_->{status} == 200 } @answers), 20,
            'nobody goes without after it';

        my $expected = $shift > 0 ? 2 : 1;
        is $imds->count, $expected, $shift > 0
            ? 'the token may have ended, so there is another'
            : 'the token has its time still';

        my $left = $answers[-1]{header}{'x-expires'};
        ok $left > 1700, 'which lives long enough by the new time';
        set_clock($gateway, '+0');
        is get($gateway)->{status}, 200, 'and when it is set right again';
        $gateway->stop;
    };
}


subtest 'back, while a token ends' => sub {
    my $imds = imds(life => 5, expires_on => undef);
    my $gateway = gateway($imds);
    is get($gateway)->{status}, 200, 'there is a token';
    set_clock($gateway, '-3600');

    my $end = now() + 8;
    my %status;
    while (now() < $end) {
        $status{get($gateway)->{status}}++;
        sleep 0.05;
    }
    is_deeply [keys %status], [200], 'there is always one';
    cmp_ok $imds->count, '>=', 2, 'and it is refreshed as ever';
    $gateway->stop;
};


for my $shift ('+3600', '-3600') {
    subtest "$shift s, while a token is fetched" => sub {
        my $dir = File::Temp->newdir;
        my $imds = imds(expires_on => undef,
            handler => sub ($request, $reply, $usual) {
                my $deadline = now() + 10;
                sleep 0.01 until $request->{number} > 1 || -e "$dir/go"
                    || now() > $deadline;
                return $usual->();
            });
        my $gateway = gateway($imds);
        $imds->wait_for(1);
        set_clock($gateway, $shift);
        write_file("$dir/go", '');

        is get($gateway)->{status}, 200, 'there is one in the end';
        ok $gateway->log_lines(qr/clock was set while/), 'the log says so';
        is $imds->count, 2, 'it was fetched again, for nobody can say when'
            . ' the first one ends';
        ok get($gateway)->{header}{'x-expires'} <= 3600,
            'its life is right';
        $gateway->stop;
    };
}

done_testing;


sub gateway ($imds) {
    return Test::Gateway->new(
        workers => 2,
        main => join('', map { "env FAKETIME_$_;" }
            qw(TIMESTAMP_FILE NO_CACHE DONT_FAKE_MONOTONIC)),
        files => { clock => '+0' },
        env => {
            AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url,
            LD_PRELOAD => $faketime,
            FAKETIME_TIMESTAMP_FILE => '%%DIR%%/clock',
            FAKETIME_NO_CACHE => 1,
            FAKETIME_DONT_FAKE_MONOTONIC => 1,
        },
        http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            aoai_aad_credential managed_identity;
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Expires \$aoai_aad_expires_in always;
        }
    }
END
}


# Sets the clock of nginx's processes so many seconds off, and waits until
# they have seen it.
sub set_clock ($gateway, $seconds) {
    write_file($gateway->dir . '/clock', $seconds);
    sleep 0.2;
}


sub get ($gateway) {
    return request($gateway->port('gateway'), GET => '/');
}
