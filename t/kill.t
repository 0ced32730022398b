# Workers that are killed at the worst moment: the one that fetches is in
# reload.t; here one in which requests wait, and one that is in the midst of
# writing the token that all the others wait for.

use v5.36;

use File::Temp;
use Test::More;
use Time::HiRes 'sleep';

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai sent_token);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(alive await_exit now read_file spawn wait_until
    write_file);

use constant WORKERS => 4;

my $folder = File::Temp->newdir;
my $openai = openai();
my ($gdb) = grep { -x } map { "$_/gdb" } split /:/, $ENV{PATH};


subtest 'a worker in which requests wait' => sub {
    my $imds = slow_imds();
    my $gateway = gateway($imds, workers => 2);
    my @waiting = map { start_request($gateway->port('gateway'), GET => '/') }
        1 .. 40;
    ok $gateway->wait_for_requests(40), 'requests wait';

    # not the one that fetches: what becomes of its requests is elsewhere
    my ($victim) = grep { !$imds->is_connected($_) } $gateway->workers;
    kill KILL => $victim;
    wait_until { !alive($victim) } 5;
    release();

    my @answers = map { $_->finish } @waiting;
    my @answered = grep { $_->{status} == 200 } @answers;
    my @lost = grep { $_->{status} == 0 } @answers;
    is @answered + @lost, 40, 'takes its own requests with it';
    ok @answered > 0, 'and no others';
    is $imds->count, 1, 'the fetch goes on';
    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'and so does nginx';
    $gateway->stop;
};


# by what it calls last
for my $case (
    ['ngx_cpystrn', 'before the token is in force'],
    ['ngx_explicit_memzero', 'when it is, and the lock is held'],
) {
    my ($function, $when) = @$case;

    subtest "a worker that stores a token, $when" => sub {
        plan skip_all => 'needs gdb' if !$gdb;

        my $imds = slow_imds();
        my $gateway = gateway($imds, workers => WORKERS);
        $imds->wait_for(1) or die "nobody fetches\n";
        my ($victim) = grep { $imds->is_connected($_) } $gateway->workers;
        my $debugger = debug($victim, $function)
            or plan skip_all => 'gdb may not attach to a process here';

        release();
        ok wait_until(sub { !alive($victim) }, 20), 'is killed';
        await_exit($debugger, 10);

        my @answers = map { request($gateway->port('gateway'), GET => '/') }
            1 .. 40;
        is scalar(grep { $_->{status} == 200 } @answers), 40,
            'the others have a token';
        my %tokens = map { sent_token($_) => 1 } @answers;
        is keys %tokens, 1, 'the same one';
        like +(keys %tokens)[0], qr/^ey[\w-]+\.[\w-]+\.[\w-]+$/,
            'which is whole';
        cmp_ok $imds->count, '<=', 2, 'by one more fetch at the most';
        $gateway->stop;
    };
}

done_testing;


sub gateway ($imds, %args) {
    unlink "$folder/go";
    return Test::Gateway->new(%args,
        expect_alerts => qr/exited on signal 9|shared memory zone .* locked/,
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%% reuseport;

        location / {
            aoai_aad on;
            aoai_aad_credential managed_identity;
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
        }
    }

    server {
        listen 127.0.0.1:%%PORT_status%%;

        location / {
            stub_status;
        }
    }
END
}


# Has a debugger kill a process when it stores a token and then calls the
# function. Returns the debugger's process id once it waits for that, or
# nothing.
sub debug ($pid, $function) {
    my $output = "$folder/gdb.$function";
    my $debugger = spawn([$gdb, '-p', $pid, '-nx', '-batch',
        '-ex', 'set confirm off',
        '-ex', 'handle all nostop noprint pass',
        '-ex', 'break ngx_http_aoai_aad_store',
        '-ex', 'echo attached\n',
        '-ex', 'continue',
        '-ex', "tbreak $function",
        '-ex', 'continue',
        '-ex', 'kill'], { PATH => $ENV{PATH}, HOME => "$folder" }, $output);

    my $is_attached = wait_until {
        read_file($output) =~ /^attached$/m || !alive($debugger);
    } 30;
    return $debugger if $is_attached && alive($debugger);
    diag read_file($output);
    await_exit($debugger, 5);
    return;
}


# An endpoint that answers after release().
sub slow_imds () {
    return imds(sub ($request, $reply, $usual) {
        my $deadline = now() + 40;
        sleep 0.005 until -e "$folder/go" || now() > $deadline;
        return $usual->();
    });
}

sub release () {
    write_file("$folder/go", '');
}
