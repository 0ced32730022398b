# Several identities: none waits for another one, and they share what a worker
# needs to fetch.

use v5.36;

use Test::More;
use Time::HiRes 'sleep';

use Test::Gateway;
use Test::Gateway::Azure qw(entra imds openai sent_token
    CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::Client qw(request start_request);
use Test::Gateway::System qw(now wait_until);

use constant {
    IDENTITIES => 10,
    LIFE       => 12,
};

my $openai = openai();


subtest 'one whose authority hangs' => sub {
    my $imds = imds(life => LIFE);
    my $silent = entra(tls => 0, handler => sub ($request, $, $) {
        sleep 30;
        return undef;
    });
    my $gateway = gateway($imds, locations(IDENTITIES) . <<"END");
        location /silent {
            aoai_aad_authority_host ${\$silent->url};
            aoai_aad_credential client_secret tenant_id=${\TENANT_ID}
                client_id=${\CLIENT_ID} secret=${\CLIENT_SECRET};
            proxy_pass ${\$openai->url};
        }
END
    my $silence = start_request($gateway->port('gateway'), GET => '/silent');
    ok $silent->wait_for(1), 'is asked';

    my %token;
    for my $number (1 .. IDENTITIES) {
        my $answer = request($gateway->port('gateway'), GET => "/$number");
        is $answer->{status}, 200, "identity $number has a token";
        $token{sent_token($answer)} = 1;
    }
    is keys %token, IDENTITIES, 'of its own';

    # over more than a life of theirs
    my $end = now() + LIFE + 1;
    my %seen;
    while (now() < $end) {
        my $number = 1 + int rand IDENTITIES;
        my $answer = request($gateway->port('gateway'), GET => "/$number");
        $seen{"$answer->{status} $answer->{header}{'x-cache'}"}++;
        sleep 0.01;
    }
    is_deeply [keys %seen], ['200 HIT'], 'and goes on to have one'
        or diag explain \%seen;
    cmp_ok $imds->count, '>=', 2 * IDENTITIES, 'by refreshes of their own';
    $silence->abort;
    $gateway->stop('TERM');
};


subtest 'threads' => sub {
    my %threads;

    for my $count (1, IDENTITIES) {
        my $imds = imds();
        my $gateway = gateway($imds, locations($count));
        request($gateway->port('gateway'), GET => "/$_") for 1 .. $count;
        my ($worker) = $gateway->workers;
        $threads{$count} = () = glob "/proc/$worker/task/*";
        $gateway->stop;
    }
    is $threads{+IDENTITIES}, $threads{1},
        "a worker has $threads{1} of them, however many identities there are";
};


subtest 'a failure of one' => sub {
    my $imds = imds(sub ($request, $reply, $usual) {
        return $request->{query} =~ /api%3A%2F%2F1\b/
            ? [500, [], '{"error":"unknown"}'] : $usual->();
    });
    my $gateway = gateway($imds, locations(3));

    my @status = map { request($gateway->port('gateway'),
        GET => "/$_")->{status} } 1 .. 3;
    is_deeply \@status, [503, 200, 200], 'is not one of the others';
    is $gateway->log_lines(qr/\[error\].*no token:/), 1,
        'and is said once';
    $gateway->stop;
};

done_testing;


sub locations ($count) {
    return join '', map { <<"END" } 1 .. $count;
        location /$_ {
            aoai_aad_scope api://$_/.default;
            proxy_pass ${\$openai->url};
        }
END
}


sub gateway ($imds, $locations) {
    return Test::Gateway->new(
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => <<"END")->start;
    aoai_aad on;
    aoai_aad_credential managed_identity;
    aoai_aad_allowed_hosts 127.0.0.1;
    add_header X-Cache \$aoai_aad_cache_status always;

    server {
        listen 127.0.0.1:%%PORT_gateway%%;
$locations
    }
END
}
