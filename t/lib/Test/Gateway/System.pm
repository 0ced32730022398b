# Files, ports and processes, with every wait bounded in time.

package Test::Gateway::System;

use v5.36;

use Exporter 'import';
use File::Basename 'dirname';
use File::Path 'make_path';
use IO::Socket::INET;
use POSIX ();
use Scalar::Util qw(refaddr weaken);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC sleep);

our @EXPORT_OK = qw(
    alive await_exit children descendants end_with_test guard now read_file
    reserve_port spawn to_null wait_until write_file
);

my %ENDING;


# Seconds, with fractions, of a clock that is never set back.
sub now () { return clock_gettime(CLOCK_MONOTONIC) }


# Calls the block until it returns something true, for so many seconds at
# the most. Returns the last value: false means that the time is up.
sub wait_until :prototype(&$) ($condition, $seconds) {
    my $deadline = now() + $seconds;

    for (;;) {
        my $value = $condition->();
        return $value if $value || now() > $deadline;
        sleep 0.01;
    }
}


# The whole content of a file as bytes; '' if it isn't there.
sub read_file ($path) {
    open my $file, '<:raw', $path or return '';
    local $/;
    return readline($file) // '';
}


# Replaces a file at once, so that no reader ever sees half of it. Makes
# the folders that are missing. Dies on failure.
sub write_file ($path, $bytes, $mode = 0644) {
    make_path(dirname($path));
    open my $file, '>:raw', "$path.$$" or die "$path.$$: $!\n";
    print {$file} $bytes;
    close $file or die "$path: $!\n";
    chmod $mode, "$path.$$";
    rename "$path.$$", $path or die "$path: $!\n";
}


# Takes a free loopback port. Returns a socket that is bound and doesn't
# listen: connections are refused and nobody else is given the port, while
# a server that sets SO_REUSEADDR, as nginx does, may listen on it.
sub reserve_port () {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
        Proto => 'tcp', ReuseAddr => 1) // die "no free port: $!\n";
}


# Starts a program in a process group of its own, with exactly the given
# environment and no open files but the standard ones; what it prints is
# appended to a file, or to two: output and errors. Returns the process id.
# A program that can't be run exits with 127.
sub spawn ($argv, $environment, $output, $errors = $output) {
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    setpgrp;
    to_null(0);
    for ([1, $output], [2, $errors]) {
        my ($fd, $file) = @$_;
        POSIX::dup2(POSIX::open($file,
            POSIX::O_WRONLY | POSIX::O_CREAT | POSIX::O_APPEND, 0644), $fd);
    }
    _close_others();

    $SIG{$_} = 'DEFAULT' for qw(CHLD HUP INT PIPE TERM);
    %ENV = %$environment;
    exec { $argv->[0] } @$argv or POSIX::_exit(127);
}


# Starts a process that ends $pid by SIGTERM if this process vanishes, be
# it by SIGKILL. Returns its process id; it may be killed at any time.
sub guard ($pid) {
    my $owner = $$;
    my $guard = fork // die "fork: $!\n";
    return $guard if $guard;

    setpgrp;
    to_null($_) for 0 .. 2;
    _close_others();
    sleep 0.3 while getppid == $owner && alive($pid);
    kill TERM => $pid if alive($pid);
    POSIX::_exit(0);
}


# Makes a file descriptor of this process lead to nowhere.
sub to_null ($fd) {
    my $null = POSIX::open('/dev/null', POSIX::O_RDWR) // return;
    POSIX::dup2($null, $fd);
    POSIX::close($null) if $null != $fd;
}


# Closes all files but the standard ones.
sub _close_others () {
    my @open = map { m{(\d+)$} } glob '/proc/self/fd/*';
    POSIX::close($_) for grep { $_ > 2 } @open;
}


# Waits for a child of ours. Returns its exit status, or 128 + N if signal
# N ended it. When the time is up the child is killed, which gives 137.
sub await_exit ($pid, $seconds) {
    if (!wait_until { waitpid($pid, POSIX::WNOHANG) } $seconds) {
        kill KILL => $pid;
        waitpid $pid, 0;
    }
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}


# The state, parent and group of a process; nothing if there is none.
sub _stat ($pid) {
    return read_file("/proc/$pid/stat") =~ /.*\) (\S) (\d+) (\d+)/s;
}


# Whether a process is there and not a mere zombie.
sub alive ($pid) {
    my ($state) = _stat($pid);
    return defined $state && $state !~ /[ZX]/;
}


# The living processes that $pid itself has started, sorted by id.
sub children ($pid) {
    my $list = "/proc/$pid/task/$pid/children";
    return sort { $a <=> $b } grep { alive($_) } split ' ', read_file($list)
        if -e $list;

    # a kernel that has no such list
    return grep { (_stat($_))[1] == $pid } descendants($pid);
}


# The living processes below $pid or in its process group, sorted by id.
sub descendants ($pid) {
    my %family = ($pid => 1);
    my %stat = map { $_ => [_stat($_)] }
        map { m{(\d+)$} } glob '/proc/[0-9]*';

    for my $round (1 .. 10) {
        for my $id (keys %stat) {
            my ($state, $parent, $group) = $stat{$id}->@*;
            next if !defined $state || $state =~ /[ZX]/;
            $family{$id} = 1 if $family{$parent} || $group == $pid;
        }
    }

    delete $family{$pid};
    return sort { $a <=> $b } keys %family;
}


# Promises that the object's DESTROY is called before this process exits,
# also when a signal ends it. DESTROY must look itself whether it runs in
# the process that owns the object.
sub end_with_test ($object) {
    weaken($ENDING{refaddr $object} = $object);
    for my $signal (qw(HUP INT TERM)) {
        $SIG{$signal} ||= sub { exit 1 };
    }
}


END {
    $_ && $_->DESTROY for values %ENDING;
}

1;
