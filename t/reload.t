# Reloads, restarts and the ends of workers: tokens stay, requests that wait
# are answered, and nothing waits for a fetch that nobody needs.

use v5.36;

use File::Temp;
use POSIX ();
use Test::More;
use Time::HiRes 'sleep';

use Test::Gateway;
use Test::Gateway::Azure
    qw(entra form imds openai sent_token
    CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System
    qw(alive await_exit now read_file wait_until write_file);

use constant {
    RELOADS        => 5,
    PROMPT_SECONDS => 4,
};

my $folder = File::Temp->newdir;
my $openai = openai();


subtest 'a reload' => sub {
    my $imds = imds();
    my $gateway = gateway($imds, workers => 2, http => location('/'),
        expect_alerts => qr/"nonsense"/);
    my $token = sent_token(get($gateway, '/'));

    for my $number (1 .. 3) {
        ok $gateway->reload, 'is done';
        my $answer = get($gateway, '/');
        is sent_token($answer), $token, 'the token is still there';
        is $answer->{header}{'x-cache'}, 'HIT', 'without waiting';
    }
    is $imds->count, 1, 'and is not fetched again';

    ok !$gateway->reload(http => http(location('/')) . 'nonsense;'),
        'a wrong configuration is refused';
    is sent_token(get($gateway, '/')), $token, 'the token is still there';
    is $imds->count, 1, 'and is not fetched again';
    $gateway->stop;
};


subtest 'reloads under load' => sub {
    my $imds = imds();
    my $gateway = gateway($imds, workers => 2, http => location('/'));
    get($gateway, '/');
    my @streams = map { in_background($gateway, "stream.$_") } 1 .. 3;

    ok $gateway->reload, 'are done' for 1 .. RELOADS;
    write_file("$folder/stop", '');
    await_exit($_, 10) for @streams;
    my %seen;
    $seen{$_}++ for map { split /\n/, read_file("$folder/stream.$_") } 1 .. 3;
    is_deeply [keys %seen], ['200 HIT'], 'and nobody notices'
        or diag explain \%seen;
    is $imds->count, 1, 'not even the token endpoint';
    $gateway->stop;
};


subtest 'locations that come and go' => sub {
    my $imds = imds();
    my $first = location('/first', 'aoai_aad_scope api://1/.default;');
    my $second = location('/second', 'aoai_aad_scope api://2/.default;');
    my $gateway = gateway($imds, http => $first);
    my $token = sent_token(get($gateway, '/first'));

    ok $gateway->reload(http => http($first . $second)), 'one is added';
    my $other = sent_token(get($gateway, '/second'));
    isnt $other, $token, 'it has a token of its own';
    is sent_token(get($gateway, '/first')), $token, 'the first keeps its own';

    ok $gateway->reload(http => http($second)), 'the first is removed';
    is sent_token(get($gateway, '/second')), $other, 'the second keeps its own';

    ok $gateway->reload(http => http($second . $first)), 'it comes back';
    is sent_token(get($gateway, '/first')), $token, 'to its token';
    is $imds->count, 2, 'each was fetched once';
    $gateway->stop;
};


subtest 'many that come and go' => sub {
    my $imds = imds();
    my $gateway = gateway($imds, http => location('/', scope(0)));
    my %token = (0 => sent_token(get($gateway, '/')));

    for my $number (1 .. 12) {
        $gateway->reload(http => http(location('/', scope($number))))
            or last;
        $token{$number} = sent_token(get($gateway, '/'));
    }
    is keys %token, 13, 'find room in a small cache';
    is keys { reverse %token }->%*, 13, 'and are not mixed up';
    $gateway->stop;
};


subtest 'a credential that changes' => sub {
    my $entra = entra(tls => 0, client_secret => '');
    my $credential = "client_secret tenant_id=${\TENANT_ID}
        client_id=${\CLIENT_ID} secret_file=%%DIR%%/secret";
    my $location = location('/',
        "aoai_aad_authority_host ${\$entra->url};", $credential);
    my $gateway = gateway(undef, http => $location,
        files => { secret => 'old' });
    my $token = sent_token(get($gateway, '/'));

    ok $gateway->reload(files => { secret => 'new' }),
        'is another identity';
    isnt sent_token(get($gateway, '/')), $token, 'with a token of its own';
    is_deeply [map { { form($_->{body}) }->{client_secret} }
        $entra->requests], ['old', 'new'], 'by the new secret';

    ok $gateway->reload(files => { secret => 'old' }), 'as the old one is';
    is sent_token(get($gateway, '/')), $token, 'which has its token still';
    is $entra->count, 2, 'without a fetch';
    $gateway->stop;
};


subtest 'requests that wait over a reload' => sub {
    my $imds = slow_imds();
    my $gateway = gateway($imds, http => location('/'));
    my ($old_worker) = $gateway->workers;
    my @old = map { start_request($gateway->port('gateway'), GET => '/old') }
        1 .. 5;
    ok $gateway->wait_for_requests(5), 'requests wait';

    ok $gateway->reload, 'it is done';
    my @new = map { start_request($gateway->port('gateway'), GET => '/new') }
        1 .. 5;
    ok $gateway->wait_for_requests(10), 'requests wait';
    ok alive($old_worker), 'the old worker stays for its requests';

    release();
    is scalar(grep { $_->finish->{status} == 200 } @old), 5,
        'those before it are answered';
    is scalar(grep { $_->finish->{status} == 200 } @new), 5,
        'and those after it';
    is $imds->count, 1, 'by one fetch';
    ok is_gone($old_worker), 'then the old worker goes';
    $gateway->stop;
};


subtest 'a fetch that nobody waits for' => sub {
    my $imds = slow_imds();
    my $gateway = gateway($imds, http => location('/'));
    my ($old_worker) = $gateway->workers;
    ok $imds->wait_for(1), 'is under way';

    my $start = now();
    ok $gateway->reload, 'while nginx is reloaded';
    ok is_gone($old_worker), 'the old worker goes';
    cmp_ok now() - $start, '<', PROMPT_SECONDS, 'at once';

    ok $imds->wait_for(2, PROMPT_SECONDS), 'the new one fetches at once';
    release();
    is get($gateway, '/')->{status}, 200, 'and has a token';
    is $gateway->log_lines(qr/\[error\]/), 0, 'this is no error';
    $gateway->stop;
};


for my $signal (qw(QUIT TERM)) {
    my $imds = slow_imds();
    my $gateway = gateway($imds, workers => 2, http => location('/'));
    ok $imds->wait_for(1), "SIG$signal: a fetch is under way";

    my $start = now();
    $gateway->stop($signal);
    cmp_ok now() - $start, '<', PROMPT_SECONDS, 'nginx ends at once';
}


subtest 'SIGTERM while requests wait' => sub {
    my $imds = slow_imds();
    my $gateway = gateway($imds, http => location('/'));
    my $waiting = start_request($gateway->port('gateway'), GET => '/');
    ok $gateway->wait_for_requests(1), 'requests wait';

    my $start = now();
    $gateway->stop('TERM');
    cmp_ok now() - $start, '<', PROMPT_SECONDS, 'ends them at once';
    $waiting->abort;
};


subtest 'SIGQUIT while requests wait' => sub {
    my $imds = slow_imds();
    my $gateway = gateway($imds, http => location('/'));
    my $waiting = start_request($gateway->port('gateway'), GET => '/');
    ok $gateway->wait_for_requests(1), 'requests wait';

    my $pid = fork // die "fork: $!\n";
    if ($pid == 0) {
        sleep 1;
        release();
        POSIX::_exit(0);
    }
    $gateway->stop('QUIT');
    is $waiting->finish->{status}, 200, 'lets them have their answers';
    await_exit($pid, 5);
};


subtest 'SIGKILL of the worker that fetches' => sub {
    my $imds = slow_imds();
    my $gateway = gateway($imds, workers => 2,
        expect_alerts => qr/exited on signal 9/,
        http => location('/', 'aoai_aad_timeout 2s;'));
    ok $imds->wait_for(1), 'a fetch is under way';
    my ($victim) = grep { $imds->is_connected($_) } $gateway->workers;
    kill KILL => $victim // die "no worker fetches\n";

    release();
    my $start = now();
    my $answer;
    wait_until {
        $answer = get($gateway, '/');
        return $answer->{status} == 200;
    } 15;
    is $answer->{status}, 200, 'another one takes over';
    cmp_ok now() - $start, '<', 8, 'when the time of the first is over';
    cmp_ok $imds->count, '==', 2, 'with one more request';
    $gateway->stop;
};


subtest 'SIGKILL of a worker when there is a token' => sub {
    my $imds = imds();
    my $gateway = gateway($imds, workers => 2,
        expect_alerts => qr/exited on signal 9/, http => location('/'));
    my $token = sent_token(get($gateway, '/'));

    my @old = $gateway->workers;
    kill KILL => @old;
    wait_until { 2 == grep { !{ map { $_ => 1 } @old }->{$_} }
        $gateway->workers } 5;
    is sent_token(get($gateway, '/')), $token, 'leaves it there for the next';
    is $imds->count, 1, 'which fetches none';
    $gateway->stop;
};


subtest 'a new binary' => sub {
    my $imds = imds();
    my $gateway = gateway($imds, upgradable => 1, http => location('/'));
    my $old = $gateway->master;
    get($gateway, '/');
    my $stream = in_background($gateway, 'upgrade');

    kill USR2 => $old;
    my $oldbin = $gateway->dir . '/nginx.pid.oldbin';
    ok((wait_until { -s $oldbin && -s $gateway->dir . '/nginx.pid' } 10),
        'is started');
    ok((wait_until { $gateway->workers } 10), 'and has workers');
    kill QUIT => $old;
    ok is_gone($old), 'the old one goes';

    is get($gateway, '/')->{status}, 200, 'the new one has a token';
    is $imds->count, 2, 'that it has fetched once';
    write_file("$folder/stop", '');
    await_exit($stream, 10);
    my %seen = map { $_ => 1 } split /\n/, read_file("$folder/upgrade");
    is_deeply [grep { !/^200/ } keys %seen], [], 'and nobody notices';
    $gateway->stop;
};

done_testing;


sub location ($path, $more = '', $credential = 'managed_identity') {
    return <<"END";
        location $path {
            aoai_aad on;
            aoai_aad_credential $credential;
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Cache \$aoai_aad_cache_status always;
            $more
        }
END
}


sub scope ($number) { return "aoai_aad_scope api://$number/.default;" }


sub http ($locations) {
    return <<"END";
    aoai_aad_cache_size 256k;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;
$locations
    }

    server {
        listen 127.0.0.1:%%PORT_status%%;

        location / {
            stub_status;
        }
    }
END
}


# Starts a gateway with these locations as http.
sub gateway ($imds, %args) {
    unlink "$folder/go", "$folder/stop";
    return Test::Gateway->new(%args, http => http($args{http}),
        env => $imds ? { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url }
            : {})->start;
}


# An endpoint that answers after release().
sub slow_imds () {
    return imds(sub ($request, $reply, $usual) {
        my $deadline = now() + 20;
        sleep 0.005 until -e "$folder/go" || now() > $deadline;
        return $usual->();
    });
}

sub release () {
    write_file("$folder/go", '');
}


sub get ($gateway, $path) {
    return request($gateway->port('gateway'), GET => $path);
}


# Sends requests in a process of its own until the file "stop" is there, and
# writes what became of them to a file. Returns the process id.
sub in_background ($gateway, $name) {
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    my $end = now() + 30;
    open my $file, '>', "$folder/$name" or POSIX::_exit(1);
    until (-e "$folder/stop" || now() > $end) {
        my $answer = get($gateway, '/');
        print {$file} join ' ', $answer->{status},
            ($answer->{header}{'x-cache'} // $answer->{error} // '') . "\n";
        sleep 0.01;
    }
    close $file;
    POSIX::_exit(0);
}


# Whether a process ends.
sub is_gone ($pid) {
    return wait_until { !alive($pid) } 10;
}
