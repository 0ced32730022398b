# examples/iam: who is given the role and loses it, and what az is asked for,
# by a stand-in that keeps assignments in a file and notes how it was called.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use Test::More;

use Test::Gateway::AzureCli qw(az az_calls);
use Test::Gateway::System qw(await_exit read_file spawn write_file);

use constant RUN_SECONDS => 30;

my $examples = realpath(dirname(__FILE__) . '/../examples/iam');
my $role = 'Cognitive Services OpenAI User';
my $subscription = '/subscriptions/55555555-eeee-4eee-8eee-555555555555';
my $group = "$subscription/resourceGroups/rg-1";
my $resource = "$group/providers/Microsoft.CognitiveServices/accounts/my-ai";
my $identity = "$group/providers/Microsoft.ManagedIdentity"
    . '/userAssignedIdentities/gate';

my %ID = (
    user => '11111111-0000-4000-8000-000000000001',
    group => '11111111-0000-4000-8000-000000000002',
    app => '11111111-0000-4000-8000-000000000003',
    identity => '11111111-0000-4000-8000-000000000004',
);
my $CLIENT = '22222222-bbbb-4bbb-8bbb-222222222222';

# What az knows, by the words before its options; an option that a command
# has not, and a value that it does not know, are errors as they are there.
my $AZ = <<'END';
my $state = "$0.state";
my (@words, %option);
push @words, shift @ARGV while @ARGV && $ARGV[0] !~ /^-/;
my @flags = qw(--include-inherited --include-groups);
my @ids;

while (@ARGV) {
    my $name = shift @ARGV;
    if (grep { $_ eq $name } @flags) { $option{$name} = 1; next }
    if ($name eq '--ids') {
        push @ids, shift @ARGV while @ARGV && $ARGV[0] !~ /^--/;
        $option{$name} = $ids[0];
        next;
    }
    fail("unrecognized arguments: $name") unless @ARGV;
    $option{$name} = shift @ARGV;
}

sub fail { print STDERR "WARNING: a warning\nERROR: $_[0]\nmore\n"; exit 1 }

sub takes {
    my %takes = map { $_ => 1 } @_, '--output';
    $takes{$_} or fail("unrecognized arguments: $_") for keys %option;
}

sub rows { return map { chomp; [split /\t/] } split /^/, content($state) }

my %known = (KNOWN);
my $command = "@words";

fail($known{fails}) if $known{fails} && $command =~ /$known{fails_at}/;

if ($known{$command}) {
    takes(qw(--id --group --ids --name --resource-group --query));
    my ($given) = grep { defined }
        @option{qw(--id --group --ids --name)};
    fail("Resource '$given' does not exist.")
        unless defined $known{$command}{$given};
    print "$known{$command}{$given}\n";
}
elsif ($command eq 'role assignment list') {
    takes(qw(--scope --role --query --assignee), @flags);
    my ($who) = $option{'--query'} =~ /principalId=='([^']+)'/;
    $who = $option{'--assignee'} unless defined $who;

    for my $row (rows()) {
        my ($id, $scope, $principal, $name, $for) = @$row;
        next unless $for eq $option{'--role'};
        next unless $scope eq $option{'--scope'}
            || $option{'--include-inherited'}
            && index($option{'--scope'}, "$scope/") == 0;
        next unless $principal eq $who || $option{'--include-groups'}
            && $known{member}{$who} && $known{member}{$who} eq $principal;
        print $option{'--query'} =~ /principalName/
            ? "$id\t$scope\t$name\n" : "$id\n";
    }
}
elsif ($command eq 'role assignment create') {
    takes(qw(--assignee-object-id --assignee-principal-type --role --scope));
    open my $file, '>>', $state or die;
    print {$file} join("\t", "$option{'--scope'}/providers/a/$$",
        @option{qw(--scope --assignee-object-id)}, 'somebody',
        $option{'--role'}), "\n";
}
elsif ($command eq 'role assignment delete') {
    takes('--ids');
    my @left = grep { my $id = $_->[0]; !grep { $_ eq $id } @ids } rows();
    open my $file, '>', $state or die;
    print {$file} map { join("\t", @$_) . "\n" } @left;
}
else { fail("'$command' is misspelled or not recognized by the system.") }
END

my $folder;


# A new folder with an az that knows these, beside all that it has to.
sub machine (%more) {
    $folder = File::Temp->newdir;
    my %known = (
        'ad user show' => { 'user@example.com' => $ID{user} },
        'ad group show' => { 'AI users' => $ID{group} },
        'ad sp show' => { $CLIENT => $ID{app} },
        'identity show' => { $identity => $ID{identity} },
        'cognitiveservices account show' => { 'my-ai' => $resource },
        %more,
    );
    my $text = join ', ', map { _quoted($_) } %known;
    az($folder, perl => $AZ =~ s/KNOWN/$text/r);
    return;
}

sub _quoted ($value) {
    return '{' . join(', ', map { _quoted($_) } %$value) . '}' if ref $value;
    return "'" . $value =~ s/(['\\])/\\$1/gr . "'";
}


# Runs a script. Returns the status and all that it printed, in one line.
sub run ($script, @arguments) {
    my $output = "$folder/output";
    unlink $output;
    my $pid = spawn(["$examples/$script", @arguments],
        { PATH => "$folder:/usr/bin:/bin", HOME => "$folder" }, $output);
    my $status = await_exit($pid, RUN_SECONDS);
    return ($status, read_file($output) =~ s/\s+/ /gr);
}


# The calls of az since the last time that change something.
sub writes () {
    state %seen;
    my @calls = az_calls($folder);
    my $from = $seen{$folder} // 0;
    $seen{$folder} = @calls;
    return map { join ' ', $_->{argv}->@* }
        grep { $_->{argv}[2] =~ /^(?:create|delete)$/ }
        @calls[$from .. $#calls];
}


# An assignment that is there.
sub assign ($id, $scope, $principal, $name = 'somebody', $for = $role) {
    write_file("$folder/az.state", read_file("$folder/az.state")
        . join("\t", $id, $scope, $principal, $name, $for) . "\n");
    return;
}

sub assignments () { return scalar split /\n/, read_file("$folder/az.state") }


for my $case (
    ['user', 'User', 'user@example.com', qr/^The user user\@example\.com /],
    ['group', 'Group', 'AI users', qr/^The group AI users /],
    ['app', 'ServicePrincipal', $CLIENT, qr/^The app \Q$CLIENT\E /],
    ['identity', 'ServicePrincipal', $identity,
        qr/^The managed identity gate /],
) {
    my ($kind, $type, $name, $says) = @$case;
    my @who = ('--resource', $resource, "--$kind", $name);

    subtest "a $kind" => sub {
        machine();
        my ($status, $output) = run('onboard', '--dry-run', @who);
        is $status, 0, 'dry: ends well';
        is_deeply [writes()], [], 'and writes nothing';
        like $output, qr/^would run: az role assignment create .*$ID{$kind}/,
            'but says what it would';

        ($status, $output) = run('onboard', @who);
        is $status, 0, 'onboarded';
        is_deeply [writes()], ['role assignment create '
            . "--assignee-object-id $ID{$kind} --assignee-principal-type "
            . "$type --role $role --scope $resource --output none"],
            'with the role on the resource';
        like $output, $says, 'which it says';
        like $output, qr/now\. It takes effect within some 5 minutes/,
            'and how long it takes';
        is $output =~ /Members/ ? 'group' : '', $kind eq 'group' ? $kind : '',
            'of a group, for its members';

        ($status, $output) = run('onboard', @who);
        is $status, 0, 'once more';
        like $output, qr/ already: nothing to do\. $/, 'is no harm';
        is_deeply [writes()], [], 'and writes nothing';

        ($status, $output) = run('offboard', '--dry-run', @who);
        is $status, 0, 'dry: offboarded';
        is assignments(), 1, 'and nothing is gone';
        like $output, qr/^would run: az role assignment delete --ids /,
            'but it says what would be';
        writes();

        ($status, $output) = run('offboard', @who);
        is $status, 0, 'offboarded';
        is scalar(writes()), 1, 'by one call';
        is assignments(), 0, 'of what was given';
        like $output, qr/$says.*lost.*within some 5 minutes.*up to 90 minutes/,
            'and it says how long it takes';

        ($status, $output) = run('offboard', @who);
        is $status, 0, 'once more';
        like $output, qr/ has not the role /, 'is no harm';
        is_deeply [writes()], [], 'and writes nothing';
    };
}


subtest 'a resource by its name' => sub {
    machine();
    my ($status) = run('onboard', '--resource=my-ai', '--resource-group=rg-1',
        "--app=$CLIENT", '--role=Some Role');
    is $status, 0, 'is found';
    like join('', writes()), qr/--role Some Role --scope \Q$resource\E /,
        'and another role is given';
};


subtest "an identity by its client id" => sub {
    machine();
    my ($status) = run('onboard', "--resource=$resource",
        "--identity=$CLIENT");
    is $status, 0, 'is found';
    like join('', writes()), qr/--assignee-object-id $ID{app} /, 'and meant';
};


subtest "others' assignments" => sub {
    machine();
    my @who = ('--resource', $resource, '--user', 'user@example.com');
    assign("$resource/other", $resource, $ID{app});
    assign("$resource/role", $resource, $ID{user}, 'u', 'Reader');
    assign("$resource/1", $resource, $ID{user});
    assign("$resource/2", $resource, $ID{user});

    my ($status) = run('offboard', @who);
    is $status, 0, 'two of one person';
    is assignments(), 2, 'go at once, and nobody else\'s';
};


subtest 'other ways in' => sub {
    machine(member => { $ID{user} => $ID{group} });
    my @who = ('--resource', $resource, '--user', 'user@example.com');
    assign("$resource/1", $resource, $ID{user});
    assign("$group/2", $group, $ID{user}, 'user@example.com');
    assign("$resource/3", $resource, $ID{group}, 'AI users');

    for my $dry (['--dry-run'], [], []) {
        my ($status, $output) = run('offboard', @$dry, @who);
        is $status, 3, 'are a status of their own';
        is $output =~ s/.*(?=warning:)//r, 'warning: The user '
            . "user\@example.com still has the role \"$role\": "
            . "by user\@example.com on $group by AI users on $resource ",
            'and each is told';
    }
    is assignments(), 2, 'and left alone';
};


subtest 'errors' => sub {
    my @on = ('--resource', $resource);
    my @user = ('--user', 'user@example.com');

    for my $case (
        [[], qr/--resource is missing, see --help/],
        [[@on], qr/who is missing, see --help/],
        [[@on, @user, '--group', 'x'], qr/--user and --group: one at a time/],
        [[@on, '--user'], qr/--user needs a value/],
        [[@on, '--user', '--dry-run'], qr/--user needs a value/],
        [[@on, '--user', '-x'], qr/--user needs a value/],
        [[@on, '--person=x'], qr/there is no option "--person"/],
        [[@on, 'user@example.com'], qr/there is no option "user/],
        [['--resource', 'my-ai', @user], qr/needs --resource-group/],
        [['--resource', '/subscriptions/x', @user], qr/is no id of an Azure/],
        [['--resource', 'none', '--resource-group', 'rg-1', @user],
            qr/az cognitiveservices account show: Resource 'none' does not /],
        [[@on, '--user', 'nobody'],
            qr/error: az ad user show: Resource 'nobody' does not exist\. $/],
        [[@on, '--group', q(x'] | [0)], qr/does not exist/],
    ) {
        my ($arguments, $says) = @$case;

        machine();
        for my $script (qw(onboard offboard)) {
            my ($status, $output) = run($script, @$arguments);
            is $status, 1, "$script @$arguments";
            like $output, $says, 'says why';
            is_deeply [writes()], [], 'and does nothing';
        }
    }

    machine('ad user show' => { 'user@example.com' => "x' || 'x" });
    my ($status, $output) = run('offboard', @on, @user);
    is $status, 1, 'an answer that is no id';
    like $output, qr/names no object id/, 'gets into no query';

    machine(fails => '(AuthorizationFailed) The client does not have '
        . 'authorization', fails_at => 'assignment create');
    ($status, $output) = run('onboard', @on, @user);
    is $status, 1, 'who may not assign roles';
    like $output, qr/AuthorizationFailed.*You need the role Owner/,
        'is told what it takes';
    unlike $output, qr/now/, 'and not that it is done';

    for my $at ('assignment list', 'assignment delete') {
        machine(fails => 'The network is down.', fails_at => $at);
        assign("$resource/1", $resource, $ID{user});
        ($status, $output) = run('offboard', @on, @user);
        is $status, 1, "offboard without $at";
        unlike $output, qr/lost/, 'does not say that it is done';
    }

    machine();
    unlink "$folder/az";
    ($status, $output) = run('onboard', @on, @user);
    is $status, 1, 'without az';
    like $output, qr/az is not installed/, 'it says so';
};


subtest 'an end that cannot be read' => sub {
    machine();
    assign("$resource/1", $resource, $ID{user});

    # the last list alone is refused: the one with --include-groups

    my $perl = $AZ =~ s/KNOWN/'ad user show' => { 'u' => '$ID{user}' }/r;
    $perl =~ s/^(my \$command.*)$/$1
        fail('No Graph.') if \$option{'--include-groups'};/m;
    az($folder, perl => $perl);

    my ($status, $output) = run('offboard', '--resource', $resource,
        '--user', 'u');
    is $status, 1, 'is an error';
    like $output, qr/lost.*error: az role assignment list: No Graph\./,
        'after what was done';
};


for my $script (qw(onboard offboard)) {
    machine();
    my ($status, $output) = run($script, '--help');
    is $status, 0, "$script --help";
    like $output, qr{^usage: examples/iam/$script .*--dry-run}, 'explains';
}

done_testing;
