# The Azure CLI: how az is called, what is taken from it, and that one that
# misbehaves harms nobody.

use v5.36;

use File::Temp;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(az az_calls jwt openai TENANT_ID);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(alive now read_file wait_until write_file);

use constant {
    COMMAND      => [qw(account get-access-token --output json --resource
        https://cognitiveservices.azure.com)],
    SUBSCRIPTION => 'My first-sub_1.x',
    SUBREAPER    => 36,
};

my $openai = openai();


subtest '4.1 command' => sub {
    my %env = (AZURE_CLIENT_SECRET => 'secret', LD_LIBRARY_PATH => '/none',
        PERL5LIB => '/none');
    my ($gateway, $bin) = gateway(env => \%env);

    my $answer = request($gateway->port('gateway'), GET => '/');
    is token($answer), 'az-token', 'the token is used';
    like $answer->{header}{'x-expires-in'}, qr/^359\d$/,
        'as long as expires_on says (4.3)';

    my ($call, @more) = az_calls($bin);
    is @more, 0, 'az was called once';
    is_deeply $call->{argv}, COMMAND, 'with these arguments';
    is_deeply $call->{env}, {
        PATH => "$bin:/usr/bin:/bin", HOME => $gateway->dir,
        AZURE_CORE_NO_COLOR => 'true',
    }, 'and nothing of the environment but what it needs';
    is_deeply [sort keys $call->{fds}->%*], [0, 1, 2],
        'no file or socket of nginx is open';
    is $call->{fds}{0}, '/dev/null', 'nobody answers a question';
    is $call->{blocked}, 0, 'no signal is blocked';
    is $call->{ignored}, 0, 'nor ignored';
    is $call->{group}, $call->{pid}, 'it has a group of its own';
    is $call->{cwd}, '/', 'and is in no folder of the web server';

    is_deeply [noise($gateway)], [], 'and nginx takes no notice';
    $gateway->stop;
};


subtest '4.1 environment' => sub {
    my %env = (AZURE_CONFIG_DIR => '%%DIR%%/config',
        HTTPS_PROXY => 'http://me:pass-word@127.0.0.1:1',
        NO_PROXY => 'localhost,127.0.0.1');
    my ($gateway, $bin) = gateway(env => \%env);

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'there is a token';
    my ($call) = az_calls($bin);
    is_deeply $call->{env}, {
        PATH => "$bin:/usr/bin:/bin", HOME => $gateway->dir,
        AZURE_CORE_NO_COLOR => 'true', %env,
        AZURE_CONFIG_DIR => $gateway->dir . '/config',
    }, 'a configuration and proxies are handed over';
    $gateway->stop;

    %env = (https_proxy => 'http://127.0.0.1:1', no_proxy => 'localhost');
    ($gateway, $bin) = gateway(env => \%env);
    request($gateway->port('gateway'), GET => '/');
    ($call) = az_calls($bin);
    is $call->{env}{$_} // $call->{env}{uc $_}, $env{$_},
        "in small letters too: $_" for sort keys %env;
    $gateway->stop;
};


subtest '4.1 command, tenant and subscription' => sub {
    my ($gateway, $bin) = gateway(locations => [
        location('/tenant', "tenant_id=${\TENANT_ID}"),
        location('/domain', 'tenant_id=contoso.onmicrosoft.com'),
        location('/subscription', '"subscription=' . SUBSCRIPTION . '"'),
        location('/scope', '', 'aoai_aad_scope api://x.y-z//.default;'),
    ]);
    my @expected = (
        [COMMAND->@*, '--tenant', TENANT_ID],
        [COMMAND->@*, '--tenant', 'contoso.onmicrosoft.com'],
        [COMMAND->@*, '--subscription', SUBSCRIPTION],
        [COMMAND->@[0 .. 4], 'api://x.y-z/'],
    );

    for my $path (qw(/tenant /domain /subscription /scope)) {
        is request($gateway->port('gateway'), GET => $path)->{status}, 200,
            "there is a token: $path";
    }
    is_deeply [sort map { "@{$_->{argv}}" } az_calls($bin)],
        [sort map { "@$_" } @expected], 'by these calls';
    my @spaces = grep { / / } map { $_->{argv}->@* } az_calls($bin);
    is_deeply \@spaces, [SUBSCRIPTION], 'where a blank separates nothing';
    $gateway->stop;
};


subtest '4.1 launch, path=' => sub {
    my ($gateway, $bin) = gateway(
        locations => [location('/', 'path=%%DIR%%/bin/my-az')],
        az => { name => 'my-az' });
    az($bin, perl => 'die');

    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'there is a token';
    is scalar(az_calls($bin, 'my-az')), 1, 'of the az that is named';
    is scalar(az_calls($bin)), 0, 'not of the one in PATH';
    $gateway->stop;
};


subtest '4.3 expiresOn alone, before version 2.54' => sub {
    my $token = jwt(exp => time + 1234);
    my ($gateway) = gateway(
        az => { does => 'old', token => $token });

    my $answer = request($gateway->port('gateway'), GET => '/');
    is token($answer), $token, 'has a token';
    like $answer->{header}{'x-expires-in'}, qr/^12[23]\d$/,
        'that is valid as long as it says itself';
    $gateway->stop;
};


subtest '4.3 warnings around the JSON' => sub {
    my ($gateway) = gateway(az => { perl => <<'END' });
print "WARNING: A new release is available.\n";
print STDERR "WARNING: az login is old.\n";
print token_json($token, $life, '"expires_on": ' . (time + $life));
print "That was it.\n";
END
    is token(request($gateway->port('gateway'), GET => '/')), 'az-token',
        'has a token nevertheless';
    $gateway->stop;
};


subtest '4.2 validation' => sub {
    for my $wrong ('tenant_id=-x', '"tenant_id=a b.c"', '"tenant_id=a.b;c"',
        'subscription=-x', '"subscription=a;b"', 'subscription=a$(b)',
        "tenant_id=${\TENANT_ID} subscription=x")
    {
        my $check = Test::Gateway->new(http => <<"END")->check;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;
${\location('/', $wrong)}
    }
END
        isnt $check->{status}, 0, "$wrong is refused";
        like $check->{output}, qr/"aoai_aad_credential": .*nginx\.conf:\d+/,
            'with the directive and its line';
    }
    for my $scope ('-x/.default', '"a b/.default"', "'a;b/.default'") {
        my $check = Test::Gateway->new(http => <<"END")->check;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;
${\location('/', '', "aoai_aad_scope $scope;")}
    }
END
        isnt $check->{status}, 0, "scope $scope is refused";
    }
};


# how az misbehaves => the result, and the words of the log
my $SECRET = jwt(jti => 'not for the log');
my %FAULTS = (
    '4.4 az missing' => [{ name => 'zz' }, 'unavailable',
        'az is not installed'],
    '4.4 not logged in' => [{ does => 'not_logged_in' }, 'unavailable',
        'az login', 'HOME'],
    '4.4 needs interaction' => [{ does => 'aadsts', code => 50076 },
        'failed', 'AADSTS50076: The sign-in was refused'],
    '4.4 bad JSON' => [{ does => 'junk' }, 'failed', 'JSON'],
    '4.4 nothing' => [{ perl => '' }, 'failed', 'code 0'],
    '4.1 a cap on the output' => [{ does => 'huge' }, 'unavailable',
        'more than'],
    '4.4 half a token' => [{ perl => qq(print '{"accessToken": "$SECRET'),
        }, 'failed', 'JSON'],
    '4.4 a token as an error' => [{ perl => qq(die "got $SECRET\\n") },
        'failed', 'code'],
    '4.4 az killed' => [{ perl => 'kill KILL => $$' }, 'failed', 'code -1'],
    '4.3 accessToken that is none' => [{ token => "a\\nb$SECRET" }, 'failed',
        'characters'],
    '4.3 expires_on that is past' => [{ life => -10 }, 'failed', 'expired'],
);

for my $name (sort keys %FAULTS) {
    my ($behaviour, $result, @words) = $FAULTS{$name}->@*;

    subtest $name => sub {
        my ($gateway) = gateway(az => $behaviour,
            log_level => 'debug');

        is request($gateway->port('gateway'), GET => '/')->{status}, 503,
            'there is no token';
        my ($line) = $gateway->log_lines(qr/\[error\]/);
        like $line, qr/azure_cli (?:is )?$result: /, 'the log names the step';
        like $line, qr/\Q$_/, "and says: $_" for @words;
        is_deeply [$gateway->log_lines(
            qr/\Q${\substr $SECRET, 0, 20}\E|<html|accessToken|xxxx/)], [],
            'nothing that az printed is in the log';
        is_deeply [noise($gateway)], [], 'and nginx takes no notice';
        $gateway->stop;
    };
}


for my $path ('%%DIR%%/none/az', '%%DIR%%/plain', '%%DIR%%') {
    my ($gateway) = gateway(locations => [location('/', "path=$path")],
        files => { plain => 'no program' });

    is request($gateway->port('gateway'), GET => '/')->{status}, 503,
        "path=$path is no az";
    my ($line) = $gateway->log_lines(qr/\[error\]/);
    like $line, qr/azure_cli is unavailable: cannot execute /,
        'the log says so';
    $gateway->stop;
}


subtest '4.4 timeout' => sub {
    my ($gateway, $bin) = gateway(
        locations => [location('/', '', 'aoai_aad_timeout 1s;')],
        az => { does => 'hanging' });
    my $waiting = start_request($gateway->port('gateway'), GET => '/');
    ok hangs($bin), 'is called';

    my $plain = request($gateway->port('gateway'), GET => '/plain');
    is $plain->{status}, 200, 'the worker serves others meanwhile';
    cmp_ok $plain->{elapsed}, '<', 0.8, 'at once';

    my $answer = $waiting->finish;
    is $answer->{status}, 503, 'who waits is told that there is no token';
    cmp_ok $answer->{elapsed}, '>', 0.7, 'after the time that it may take';
    cmp_ok $answer->{elapsed}, '<', 5, 'and not much later';

    ok $gateway->wait_for_log(qr/azure_cli .* did not end in time/,
        15),
        'the log says why';
    my ($call) = az_calls($bin);
    ok gone($call->{pid}), 'az is gone';
    ok gone($call->{child}), 'and what it had started';
    is_deeply [noise($gateway)], [], 'nginx takes no notice';
    $gateway->stop;
};


for my $signal (qw(QUIT TERM)) {
    my ($gateway, $bin) = gateway(
        az => { does => 'hanging' });
    ok hangs($bin), 'az hangs';

    my $start = now();
    # this looks for processes that are left
    $gateway->stop($signal);
    cmp_ok now() - $start, '<', 5, "SIG$signal doesn't wait for it";
    my ($call) = az_calls($bin);
    ok !alive($call->{pid}) && !alive($call->{child}), 'and ends it';
}


subtest 'an az whose worker is killed' => sub {
    my ($gateway, $bin) = gateway(
        locations => [location('/', '', 'aoai_aad_timeout 1s;')],
        az => { does => 'hanging' }, expect_alerts => qr/exited on signal 9/);
    ok hangs($bin), 'hangs';

    # what az runs below looks like a worker, but isn't the master's child
    my $master = $gateway->master;
    my ($worker) = grep { read_file("/proc/$_/stat") =~ /\) \S $master / }
        $gateway->workers;
    kill KILL => $worker;
    my ($call) = az_calls($bin);
    ok gone($call->{pid}), 'and ends all the same';
    ok gone($call->{child}), 'with what it had started';
    $gateway->stop;
    kill KILL => grep { alive($_) } map { @$_{qw(pid child)} } az_calls($bin);
};


subtest 'an az that leaves a process behind' => sub {
    my ($gateway, $bin) = gateway(
        locations => [location('/', '', 'aoai_aad_timeout 3s;')],
        az => { perl => <<'END' });
$| = 1;
print token_json($token, $life, '"expires_on": ' . (time + $life));
defined(my $child = fork) or die "fork: $!\n";
$child ? note(child => $child) : sleep 60;
END
    is token(request($gateway->port('gateway'), GET => '/')), 'az-token',
        'has a token, which is not kept waiting by the process';

    my ($call) = az_calls($bin);
    ok gone($call->{child}), 'which is ended';
    is_deeply [noise($gateway)], [], 'nginx takes no notice';
    kill KILL => $call->{child};
    $gateway->stop;
};


# A container's first process is given all processes whose parents end. The
# nearest thing here is a subreaper, which an nginx stays when it's executed.
subtest 'nginx as the first process' => sub {
    plan skip_all => 'needs syscall.ph'
        unless eval { require 'syscall.ph' };

    my $folder = File::Temp->newdir;
    my $nginx = $ENV{AOAI_AAD_NGINX} // 'nginx';
    write_file("$folder/nginx", <<"END", 0755);
#!$^X
syscall(${\SYS_prctl()}, ${\SUBREAPER}, 1, 0, 0, 0) == 0 or die "\$!\\n";
\$ENV{PATH} .= ':/usr/sbin:/usr/local/sbin';
exec '$nginx', \@ARGV;
END

    for my $does (qw(ok not_logged_in hanging)) {
        my ($gateway, $bin) = gateway(nginx => "$folder/nginx",
            az => { does => $does });

        ok $does eq 'hanging' ? hangs($bin)
            : request($gateway->port('gateway'), GET => '/')->{status},
            "az is called: $does";
        $gateway->stop;
        my ($call) = az_calls($bin);
        ok gone($call->{pid}), 'nothing is left of it';
        is_deeply [noise($gateway)], [], 'and nginx takes no notice';
    }
};


subtest 'an unprivileged user' => sub {
    plan skip_all => 'needs root' if $> != 0;

    my $group = getgrgid((getpwnam 'nobody')[3]);
    my ($gateway, $bin) = gateway(
        main => "user nobody $group;", open => 1);

    is token(request($gateway->port('gateway'), GET => '/')), 'az-token',
        'has a token';
    my ($call) = az_calls($bin);
    my $owner = (stat "$bin/az.calls")[4];
    is $owner, (getpwnam 'nobody')[2], 'az is run by it';
    is $call->{group}, $call->{pid}, 'in a group of its own';
    $gateway->stop;
};

done_testing;


sub location ($path, $parameters = '', $more = '') {
    return <<"END";
        location $path {
            aoai_aad on;
            aoai_aad_credential azure_cli $parameters;
            aoai_aad_allowed_hosts 127.0.0.1;
            $more
            proxy_pass ${\$openai->url};
            add_header X-Expires-In \$aoai_aad_expires_in;
        }
END
}


# Starts a gateway with an az in its PATH. Takes arguments of Test::Gateway,
# and locations => [...]; az => { how it behaves }; open => 1: anybody may
# run az. Returns the gateway and the folder of az.
sub gateway (%args) {
    my $locations = delete $args{locations} // [location('/')];
    my $az = delete $args{az} // {};
    my $is_open = delete $args{open};
    my %env = (PATH => '%%DIR%%/bin:/usr/bin:/bin',
        (delete $args{env} // {})->%*);

    my $gateway = Test::Gateway->new(%args, env => \%env, http => <<"END");
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location /plain {
            return 200 plain;
        }
@$locations
    }
END
    my $bin = az($gateway->dir . '/bin', %$az);
    chmod 0755, $gateway->dir if $is_open;
    chmod 0777, $bin if $is_open;
    return $gateway->start, $bin;
}


# Whether the first call of an az gets to the point where it hangs.
sub hangs ($bin) {
    return wait_until {
        my ($call) = az_calls($bin);
        return $call && $call->{child};
    } 5;
}


# Whether a process ends.
sub gone ($pid) {
    return wait_until { !alive($pid) } 15;
}


# What nginx has to say of processes.
sub noise ($gateway) {
    return $gateway->log_lines(qr/\[alert\]|unknown process/);
}


# The token that the upstream got.
sub token ($answer) {
    my %headers = map { lc $_->[0] => $_->[1] }
        ($answer->{json}{headers} // [])->@*;
    return ($headers{authorization} // '') =~ s/^Bearer //r;
}
