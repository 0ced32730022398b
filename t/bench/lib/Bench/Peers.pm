# Installs what a way needs.

package Bench::Peers;

use v5.36;

use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';
use File::Compare 'compare';
use File::Copy 'copy';

our @EXPORT_OK = qw(build missing);

my $ROOT = realpath(dirname(__FILE__) . '/../../../..');


# Installs what the benchmark itself needs and builds the module. Dies if
# that fails.
sub build () {
    my $why = _packages(qw(nginx nginx-dev gcc make libc6-dev
        libcurl4-openssl-dev libcjson-dev libssl-dev wrk util-linux))
        // _run('make', '-s', '-C', "$ROOT/src", 'module');
    die "$why\n" if defined $why;
}


# Installs what a way of Bench::Ways needs. Returns why that cannot be, in
# one line, or undef.
sub missing ($way) {
    my $why = _packages(($way->{packages} // [])->@*);
    for my $folder (($way->{npm} // [])->@*) {
        $why //= _npm("$ROOT/$folder");
    }
    return $why;
}


sub _packages (@names) {
    return @names ? _run("$ROOT/src/packages", @names) : undef;
}


# Once, and again when the lock file has changed, as t/run does.
sub _npm ($folder) {
    my $lock = "$folder/package-lock.json";
    my $installed = "$folder/node_modules/.installed-lock.json";
    return undef if -e $installed && compare($lock, $installed) == 0;

    my $why = _run('sh', '-c', 'cd "$1" && exec npm ci --no-audit --no-fund '
        . '--loglevel=error', 'sh', $folder);
    copy($lock, $installed) unless defined $why;
    return $why;
}


# Runs a command. Returns undef, or what it says where it fails: the line
# with "error", else the last one.
sub _run (@command) {
    open my $output, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @command
        or die "$command[0]: $!\n";
    my @lines = grep { /\S/ } readline $output;
    return undef if close $output;
    chomp(@lines);
    return (grep { /\berr(?:or)?\b/i } @lines)[0] // $lines[-1]
        // "$command[0] failed";
}

1;
