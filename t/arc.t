# Azure Arc: the agent's challenge, in a system where its folders are there,
# and which of its keys are sent.

use v5.36;

use File::Temp;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(arc form openai);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'write_file';

use constant {
    RESOURCE => 'https://cognitiveservices.azure.com',
    GUID     => '0abcdef1-1234-4234-8234-123456789abc',
    ID       => '/subscriptions/12-34/resourcegroups/a_b/providers/'
        . 'Microsoft.ManagedIdentity/userAssignedIdentities/x.y(z)',
    KEYS     => '/var/opt/azcmagent/tokens',
    KEY      => 'A~key.of/the+agent==',
};

my $openai = openai();
my $folder = File::Temp->newdir;
my %CHOICE = (
    system   => ['', {}],
    client   => ['client_id=' . GUID, { client_id => GUID }],
    object   => ['object_id=' . GUID, { object_id => GUID }],
    resource => ['resource_id=' . ID, { msi_res_id => ID }],
);


# a file that is no key is never sent, wherever the tests run
for my $case (
    ['a file of the system' => '/etc/passwd'],
    ['a file beside the keys' => KEYS . '/../secret.key'],
    ['a file below the keys' => KEYS . '/sub/a.key'],
    ['a file of another kind' => KEYS . '/a.txt'],
    ['a file that is not there' => KEYS . '/none-of-this-name.key'],
    ['no file' => ''],
) {
    my ($name, $realm) = @$case;

    subtest $name => sub {
        my $arc = arc(realm => $realm, key => KEY);
        my $gateway = gateway($arc, ['system']);

        is request($gateway->port('gateway'), GET => '/system')->{status},
            503, 'there is no token';
        ok $gateway->wait_for_log(qr/managed_identity\ failed:\ Azure\ Arc:
            .* (?: challenge | No\ such\ file )/x), 'the log says why';
        is scalar(grep { $_->{header}{authorization} } $arc->requests), 0,
            'and nothing of it is sent';
        $gateway->stop;
    };
}


SKIP: {
    my $nginx = nginx_with_folders() or skip 'no namespaces here', 6;

    write_file("$folder/keys/a.key", KEY);
    write_file("$folder/keys/large.key", 'k' x 4097);
    symlink "$folder/keys/a.key", "$folder/keys/link.key"
        or die "symlink: $!\n";

    subtest 'what it is asked' => sub {
        for my $name (sort keys %CHOICE) {
            my $arc = arc(realm => KEYS . '/a.key', key => KEY);
            my $gateway = gateway($arc, [$name], nginx => $nginx);

            is request($gateway->port('gateway'), GET => "/$name")->{status},
                200, "$name: the token is used";
            my @requests = $arc->requests;
            is @requests, 2, 'after one challenge';
            is $requests[0]{target}, $requests[1]{target},
                'to the same question';
            is_deeply { form($requests[0]{query}) }, {
                'api-version' => '2020-06-01', resource => RESOURCE,
                $CHOICE{$name}[1]->%*,
            }, 'which chooses the identity by the right name';
            is_deeply [sort keys $requests[0]{header}->%*],
                [qw(accept host metadata user-agent)],
                'at first without a key';
            is_deeply [sort keys $requests[1]{header}->%*],
                [qw(accept authorization host metadata user-agent)],
                'then with it';
            is $requests[1]{header}{authorization}, 'Basic ' . KEY,
                'as it is in the file';
            unlike $gateway->log, qr/\Q${\KEY}/, 'which is not logged';
            $gateway->stop;
        }
    };

    subtest 'an agent that does not know the id' => sub {
        my $arc = arc(realm => KEYS . '/a.key', key => KEY, is_old => 1);

        for my $name (sort keys %CHOICE) {
            my $gateway = gateway($arc, [$name], nginx => $nginx);
            my $status = request($gateway->port('gateway'),
                GET => "/$name")->{status};

            if ($name eq 'system') {
                is $status, 200, 'is asked for the machine\'s own';
            } else {
                is $status, 503, "$name: its token is not used";
                ok $gateway->wait_for_log(qr/does not say that it is for/),
                    'and the log says why';
            }
            $gateway->stop;
        }
    };

    # a challenge that names it => the words of the log
    for my $case (
        ['large', qr/larger than 4096 bytes/],
        ['link', qr/symbolic link/],
    ) {
        my ($name, $words) = @$case;
        subtest "a key that is $name" => sub {
            my $arc = arc(realm => KEYS . "/$name.key", key => KEY);
            my $gateway = gateway($arc, ['system'], nginx => $nginx);

            is request($gateway->port('gateway'), GET => '/system')->{status},
                503, 'there is no token';
            ok $gateway->wait_for_log($words), 'the log says why';
            is scalar(grep { $_->{header}{authorization} } $arc->requests),
                0, 'and nothing is sent';
            $gateway->stop;
        };
    }

    subtest 'a key that is refused' => sub {
        my $arc = arc(realm => KEYS . '/a.key', key => 'another',
            handler => sub ($request, $reply, $usual) {
                my $key = $request->{header}{authorization};
                return $key ? [401, ['WWW-Authenticate' => 'Basic realm='
                    . KEYS . '/a.key'], "Not $key"] : $usual->();
            });
        my $gateway = gateway($arc, ['system'], nginx => $nginx);

        is request($gateway->port('gateway'), GET => '/system')->{status},
            503, 'there is no token';
        ok $gateway->wait_for_log(qr/Azure Arc: status 401/), 'the log says it';
        my $first = ($arc->requests)[0]{number};
        is scalar(grep { $_->{number} < $first + 2 } $arc->requests), 2,
            'after one round';
        is $gateway->log_lines(qr/\[error\]/), 1, 'of which there is no more';
        unlike $gateway->log, qr/\Q${\KEY}/, 'and no key is logged';
        $gateway->stop;
    };

    # the address is the agent's own, where nobody listens here
    subtest 'the agent alone, without variables' => sub {
        write_file("$folder/bin/himds", '');
        my $gateway = gateway(undef, ['system'], nginx => $nginx);

        is request($gateway->port('gateway'), GET => '/system')->{status},
            503, 'there is no token';
        ok $gateway->wait_for_log(qr{Azure\ Arc's\ agent:
            \ http://127\.0\.0\.1:40342/metadata/identity/oauth2/token:}x),
            'but it was Arc that was asked';
        $gateway->stop;
        unlink "$folder/bin/himds";
    };
}

done_testing;


# Starts a gateway with these locations on a machine with an agent.
sub gateway ($arc, $names, %args) {
    my $locations = join '', map { <<"END" } @$names;
        location /$_ {
            aoai_aad on;
            aoai_aad_timeout 60s;
            aoai_aad_credential managed_identity $CHOICE{$_}[0];
            aoai_aad_allowed_hosts 127.0.0.1;
            proxy_pass ${\$openai->url};
        }
END

    return Test::Gateway->new(%args, env => { !$arc ? () : (
        IDENTITY_ENDPOINT => 'http://localhost:' . $arc->port
            . '/metadata/identity/oauth2/token',
        IMDS_ENDPOINT => $arc->url,
    ) }, http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;
$locations
    }
END
}


# An nginx that has the agent's folders, and they are ours, in a view of the
# file system of its own. Returns its file, or undef where that can't be.
sub nginx_with_folders () {
    return undef if $> != 0 || system('unshare -m true 2> /dev/null') != 0;

    my $nginx = $ENV{AOAI_AAD_NGINX} // '/usr/sbin/nginx';
    write_file("$folder/keys/.keep", '');
    write_file("$folder/bin/.keep", '');
    write_file("$folder/nginx", <<"END", 0755);
#!/bin/sh
exec unshare -m sh -e -c '
    mount -t tmpfs none /var/opt
    mount -t tmpfs none /opt
    mkdir -p ${\KEYS} /opt/azcmagent/bin
    mount --bind $folder/keys ${\KEYS}
    mount --bind $folder/bin /opt/azcmagent/bin
    exec $nginx "\$@"' nginx "\$@"
END
    return "$folder/nginx";
}
