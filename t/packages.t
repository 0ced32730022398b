# The installer of missing packages, on machines that tools of our own make
# believe: what it installs, as whom, and what it says when it cannot.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use Test::More;

use Test::Gateway::System qw(read_file write_file);

my $root = realpath(dirname(__FILE__) . '/..');
my $folder = File::Temp->newdir;

# "here" is installed; of the others all but "unknown" could be
my %TOOLS = (
    'dpkg-query' => <<'END_TOOL',
case $4 in
    here) echo installed ;;
    removed) echo config-files ;;
    *) exit 1 ;;
esac
END_TOOL
    'apt-cache' => <<'END_TOOL',
case $2 in
    unknown|nginx-dev) echo "  Candidate: (none)" ;;
    *) echo "  Candidate: 1.0" ;;
esac
END_TOOL
    'apt-get' => <<'END_TOOL',
echo "$(id -u) $*" >> "$CALLS"
case $1,$FAULT in
    update,update|install,install) echo "E: no luck" >&2; exit 100 ;;
esac
END_TOOL
    id => 'echo "${USER_ID-0}"' . "\n",
    sudo => 'USER_ID=0 exec "$@"' . "\n",
);


is_deeply [install({}, 'here')], [0, ''],
    'where all are there, nothing is said';
is_deeply [calls()], [], 'or done';

for my $user (0, 1000) {
    my ($status, $output) = install({ USER_ID => $user },
        qw(here missing removed));
    is $status, 0, "what is missing is installed by user $user" or diag $output;
    like $output, qr/^Installing: missing removed$/m, 'which says what';

    my ($update, $install, @more) = calls();
    is_deeply \@more, [], 'in two steps';
    like $update, qr/^0 update/, 'after the lists are new, as root';
    like $install, qr/^0 install .* missing removed$/, 'these and no others';
    like $install, qr/ \Q$_\E /, "with $_"
        for qw(-y --no-remove --no-install-recommends);
}

{
    my ($status, $output) = install({ FAULT => 'update' }, 'missing');
    is $status, 0, 'lists that are old may do';
    like $output, qr/apt-get update complained/, 'which is said';
}

# what is wrong => what is said
for my $case (
    ['no sudo', { USER_ID => 1000, without => 'sudo' }, ['missing'],
        qr/takes root or sudo.*\n  apt-get install .* missing$/m],
    ['an install that fails', { FAULT => 'install' }, ['missing'],
        qr/could not be installed; try, as root:\n  apt-get .* missing$/m],
    ['a package that apt has not', {}, ['missing', 'unknown'],
        qr/^error: apt has no package unknown$/m],
    ['a release without nginx-dev', {}, ['nginx-dev'],
        qr/^error: .* nginx-dev: .* Debian 12 .* NGINX_SRC=DIR$/m],
) {
    my ($name, $env, $packages, $expected) = @$case;
    my ($status, $output) = install($env, @$packages);

    isnt $status, 0, "$name: it stops";
    like $output, $expected, 'with the mend';
    is scalar(grep { / install / } calls()), $env->{FAULT} ? 1 : 0,
        'and installs nothing';
}

{
    my ($status, $output) = install({ without => 'dpkg-query' }, 'missing');
    is $status, 0, 'another system is left alone';
    like $output, qr/neither Debian nor Ubuntu/, 'which is said';
    is_deeply [calls()], [], 'and nothing is done';
}

done_testing;


# Runs src/packages where there is nothing but these tools. Returns its exit
# status and what it printed.
sub install ($env, @packages) {
    my %env = %$env;
    my $without = delete $env{without} // '';
    my $bin = File::Temp->newdir;

    for my $name (grep { $_ ne $without } keys %TOOLS) {
        write_file("$bin/$name", "#!/bin/sh\n$TOOLS{$name}", 0755);
    }
    symlink((grep { -x } "/usr/bin/$_", "/bin/$_")[0], "$bin/$_")
        for qw(env grep);

    unlink "$folder/calls";
    local %ENV = (PATH => "$bin", CALLS => "$folder/calls", %env);
    system '/bin/bash', '-c', 'exec "$@" > "$0" 2>&1', "$folder/output",
        "$root/src/packages", @packages;
    return $?, read_file("$folder/output");
}


# The calls of apt-get: a user's number and the arguments.
sub calls () {
    return split /\n/, read_file("$folder/calls");
}
