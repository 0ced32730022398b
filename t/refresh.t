# A token's life: the next one is fetched before the end, in the background
# and by one worker, and where that fails the old one serves to its end.

use v5.36;

use File::Temp;
use JSON::PP;
use List::Util 'uniq';
use MIME::Base64 'decode_base64url';
use POSIX ();
use Test::More;
use Time::HiRes 'sleep';

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai sent_token);
use Test::Gateway::Client 'request';
use Test::Gateway::System qw(await_exit now read_file wait_until);

use constant {
    LIFE           => 6,
    STREAM_SECONDS => 12,
    STREAMS        => 4,
    REQUESTS       => 30,
};

my $folder = File::Temp->newdir;

# takes no token that has ended
my $openai = openai(token => sub ($token) {
    my (undef, $claims) = split /\./, $token;
    return decode_json(decode_base64url($claims))->{exp} > time;
});

# The stream and the failures don't meet: they take place side by side.
my $imds = imds(life => LIFE, handler => sub ($request, $reply, $usual) {
    my $is_alone = mkdir "$folder/busy";
    mkdir "$folder/overlap" unless $is_alone;
    sleep 0.1;
    rmdir "$folder/busy" if $is_alone;
    return $usual->();
});
my $start = now();
my $gateway = gateway($imds, workers => 4);
$gateway->wait_for_log(qr/token from/) or die "no token\n";
my @streams = map { in_background("stream.$_") } 1 .. STREAMS;


subtest 'a refresh that fails' => sub {
    my $imds = imds(life => 8, refresh_in => '1');
    my $gateway = gateway($imds);
    my $first = request($gateway->port('gateway'), GET => '/');
    is $first->{status}, 200, 'before it there is a token';
    $imds->mode(500);
    ok $gateway->wait_for_log(qr/\[error\]/), 'then a refresh fails';

    my $stale = request($gateway->port('gateway'), GET => '/');
    is sent_token($stale), sent_token($first), 'the old token is still used';
    is $stale->{header}{'x-cache'}, 'STALE', 'and called so';
    like [$gateway->log_lines(qr/\[error\]/)]->[0],
        qr/no new token: managed_identity failed: .*status 500/,
        'the log says that there is no new one';

    my @answers;
    wait_until {
        push @answers, request($gateway->port('gateway'), GET => '/');
        sleep 0.05;
        return $answers[-1]{status} != 200;
    } 12;
    my $end = pop @answers;
    is_deeply [uniq map { $_->{header}{'x-cache'} } @answers], ['STALE'],
        'it is used as long as it may be';
    is_deeply [uniq map { sent_token($_) } @answers], [sent_token($first)],
        'and no other';
    is $end->{status}, 503, 'then there is none';
    is $end->{header}{'x-cache'}, 'ERROR', 'which is said';

    my $refused = request($gateway->port('gateway'), GET => '/');
    is $refused->{status}, 503, 'and goes on';
    cmp_ok $refused->{elapsed}, '<', 2, 'at once';

    $imds->mode('');
    my $next;
    wait_until {
        $next = request($gateway->port('gateway'), GET => '/');
        return $next->{status} == 200;
    } 10;
    is $next->{status}, 200, 'it ends when the endpoint is well again';
    isnt sent_token($next), sent_token($first), 'with a new token';
    is $gateway->log_lines(qr/\[error\].*no new token:/), 1,
        'and the log has one line for the refresh that failed';
    is $gateway->log_lines(qr/\[error\].*no token:/), 1,
        'and one for the token that is gone';
    is $gateway->log_lines(qr/\[error\]/), 2, 'and no more';
    $gateway->stop;
};


subtest 'a steady stream of requests' => sub {
    await_exit($_, STREAM_SECONDS + 60) for @streams;
    my @requests = map { split /\n/, read_file("$folder/stream.$_") }
        1 .. STREAMS;
    my %seen;
    $seen{$_}++ for @requests;

    cmp_ok scalar @requests, '>', 100, 'is answered';
    is_deeply [sort keys %seen], ['200 HIT'],
        'always, with a token that was there' or diag explain \%seen;
    is scalar($openai->requests) - grep({ $_->{path} eq '/' }
        $openai->requests), @requests, 'by the upstream';

    # the next one is fetched after two thirds of a token's life or more
    my $count = $imds->count;
    my $least = int(STREAM_SECONDS / LIFE);
    my $most = 1 + int((now() - $start) / (LIFE * 0.6));
    ok $count >= $least && $count <= $most,
        "there were $count requests for tokens, of $least to $most";
    ok !-e "$folder/overlap", 'one at a time';
    is $gateway->log_lines(qr/token from managed_identity/), $count,
        'and one line in the log for each';
    is_deeply [$gateway->log_lines(qr/\[error\]/)], [], 'without an error';
    $gateway->stop;
};

done_testing;


sub gateway ($imds, %args) {
    my $listen = ($args{workers} // 1) > 1 ? 'reuseport' : '';
    return Test::Gateway->new(%args,
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%% $listen;

        location / {
            aoai_aad on;
            aoai_aad_credential managed_identity;
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
            add_header X-Cache \$aoai_aad_cache_status always;
        }
    }
END
}


# Sends requests for a while, and REQUESTS at least, in a process of its own,
# and writes what became of each but the first to a file. Returns the process
# id.
sub in_background ($name) {
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    my $port = $gateway->port('gateway');
    my $end = now() + STREAM_SECONDS;
    open my $file, '>', "$folder/$name" or POSIX::_exit(1);
    request($port, GET => '/');
    for (my $sent = 0; now() < $end || $sent < REQUESTS; $sent++) {
        my $answer = request($port, GET => "/$name");
        print {$file} join ' ', $answer->{status},
            ($answer->{header}{'x-cache'} // '') . "\n";
        sleep 0.02;
    }
    close $file;
    POSIX::_exit(0);
}
