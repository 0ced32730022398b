# The machine: which processors are for whom, and what it is.

package Bench::Machine;

use v5.36;

use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';
use JSON::PP 'decode_json';

use Test::Gateway::System 'read_file';

our @EXPORT_OK = qw(allocator description pinned);

my $ROOT = realpath(dirname(__FILE__) . '/../../../..');


# The processors that this process may use, of which the last is for the
# gateways, the first for the upstream, and wrk has the others, if any.
sub _processors () {
    state @all = map { /^(\d+)-(\d+)$/ ? $1 .. $2 : $_ } split /,/,
        read_file('/proc/self/status') =~ /^Cpus_allowed_list:\s*(\S+)/m
            ? $1 : 0;
    return @all;
}


sub _processors_of ($role) {
    my @all = _processors();
    return if @all < 2;
    return $all[-1] if $role eq 'gateway';
    return $all[0] if $role eq 'upstream' || @all == 2;
    return join ',', @all[1 .. $#all - 1];
}


# The beginning of a command that runs on the processors of a role: gateway,
# upstream or load. Empty where there is only one.
sub pinned ($role) {
    my $processors = _processors_of($role) // return;
    return '/usr/bin/taskset', '-c', $processors;
}


# The environment that keeps glibc from giving memory back and asking for it
# again between two requests. It does or does not by how the heap happens to
# lie, and the page faults cost more than the ways differ.
sub allocator () { return MALLOC_TRIM_THRESHOLD_ => 64 * 2 ** 20 }


sub _pinning () {
    return 'none, there is one processor' if _processors() < 2;
    return join '; ', map { $_->[1] . ' on ' . _processors_of($_->[0]) }
        ['gateway', 'the gateway, with its sidecar,'],
        ['upstream', 'the upstream'], ['load', 'wrk'];
}


# What the benchmark ran on, as pairs of a name and a value.
sub description () {
    my ($model) = read_file('/proc/cpuinfo') =~ /^model name\s*:\s*(.+)/m;
    my ($kib) = read_file('/proc/meminfo') =~ /^MemTotal:\s*(\d+)/m;
    my ($system) = read_file('/etc/os-release') =~ /^PRETTY_NAME="?([^"\n]+)/m;
    my @kernel = map { read_file("/proc/sys/kernel/$_") =~ s/\s+\z//r }
        qw(ostype osrelease);

    return ['processor', ($model // 'unknown') . ', '
            . _processors() . ' cores for this'],
        ['memory', sprintf '%.0f GiB', ($kib // 0) / 2 ** 20],
        ['system', join ', ', grep { defined } $system, "@kernel"],
        ['pinning', _pinning()],
        ['allocator', join '=', allocator()],
        grep { defined $_->[1] } _versions();
}


sub _versions () {
    return ['nginx', _says(qr{nginx/(\S+)}, 'nginx', '-v')],
        ['this module', _says(qr/(\S+)/, 'git', '-C', $ROOT, 'describe',
            '--always', '--dirty')],
        ['wrk', _says(qr/^wrk (?:debian\/)?(\S+)/, 'wrk', '-v')],
        ['Lua module', _package('libnginx-mod-http-lua')],
        ['njs', _package('libnginx-mod-http-js')],
        ['haproxy', _says(qr/version (\S+)/, 'haproxy', '-v')],
        ['Node', _says(qr/^v(\S+)/, 'node', '--version')],
        map { [$_->[1], _npm("$_->[0]/node_modules/$_->[1]")] }
            ['t/sdk', '@azure/identity'],
            ['t/bench/peers', '@portkey-ai/gateway'];
}


# What a command prints of its version; undef where there is no such command.
sub _says ($regex, @command) {
    my $pid = open(my $output, '-|') // die "fork: $!\n";
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        no warnings 'exec';
        exec { $command[0] } @command or exit 127;
    }
    my $text = join '', readline $output;
    return $text =~ $regex ? $1 : undef;
}


sub _package ($name) {
    return _says(qr/^installed (\S+)/, 'dpkg-query', '-W', '-f',
        '${db:Status-Status} ${Version}', $name);
}


sub _npm ($folder) {
    my $text = read_file("$ROOT/$folder/package.json") || return undef;
    return decode_json($text)->{version};
}

1;
