# An nginx with the module, in a temporary folder of its own.

package Test::Gateway;

use v5.36;

use Carp 'croak';
use IO::Socket::INET;
use List::Util 'uniq';
use Test::More ();

use Test::Gateway::Client 'request';
use Test::Gateway::Config;
use Test::Gateway::System qw(
    alive await_exit children descendants end_with_test guard read_file spawn
    wait_until
);

use constant {
    START_SECONDS => 10,
    STOP_SECONDS  => 10,
    CHECK_SECONDS => 60,
};

my $ALERT = qr/ \[ (?: alert | emerg ) \] | Sanitizer | runtime\ error:
    | exited\ (?: on\ signal | with\ code\ [1-9] ) /x;


# Makes a gateway and doesn't start it. Arguments:
#   http, main     text inside http {} (needed) and at the main level
#   files          { name => content }, written into the folder
#   env            { name => value } for nginx; undef takes one away
#   workers        how many worker processes; 1
#   connections    worker_connections; 1024
#   log_level      of the error log; info
#   module         our .so, or 0 for none
#   modules        other .so files to load before ours; modules_after: after
#   nginx          the binary; wrapper: a command before it, as a list
#   upgradable     1: SIGUSR2 works, which nginx ignores in a test's child
#   expect_alerts  a pattern for problems that stop doesn't complain about
# In the texts and values %%DIR%% stands for the folder and %%PORT_name%%
# for the port of that name. Dies if something could leave loopback.
sub new ($class, %args) {
    my $self = bless {
        owner => $$,
        expect_alerts => delete $args{expect_alerts},
        config => Test::Gateway::Config->new(%args),
    }, $class;
    end_with_test($self);
    return $self;
}


# The folder, and a loopback port that stays the same for a name. Nobody
# listens on the port "nobody", where tokens are asked for by default.
sub dir ($self) { return $self->{config}->dir }
sub port ($self, $name) { return $self->{config}->port($name) }


# Starts nginx and waits until its ports accept connections. Returns the
# object. Dies with the error log if that takes more than 10 s.
sub start ($self) {
    croak 'nginx is running already' if $self->{pid};
    my $config = $self->{config};
    my $is_child = !$config->{upgradable};
    $config->write;
    unlink $self->dir . '/nginx.pid';

    my $pid = $self->{pid} = spawn([$config->command],
        { $config->environment }, $self->dir . '/output');
    my $state = wait_until {
        return $self->_is_up ? 'up' : $is_child && !alive($pid) && 'ended';
    } START_SECONDS;

    if ($state ne 'up') {
        $self->_end('KILL');
        croak "nginx doesn't start:\n", $self->log || $self->_output;
    }
    await_exit($pid, START_SECONDS) unless $is_child;
    $self->{pid} = $self->master;
    $self->{guard} = guard($self->{pid});
    return $self;
}


# Ends nginx by a signal and runs one Test::More check: that it ended in
# 10 s, left no process behind, and wrote no alert and no sanitizer report
# since the object was made.
sub stop ($self, $signal = 'QUIT') {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @problems = $self->_problems($signal);

    return Test::More::ok(!@problems, 'nginx ended well')
        || Test::More::diag(join "\n", @problems);
}


# Reloads the configuration, after changing arguments of new if any are
# given (http, main, files, workers). Returns true as soon as new workers
# have taken over, while old ones may linger, and false if nginx kept the
# old configuration.
sub reload ($self, %changes) {
    $self->{config}->change(%changes);
    $self->{config}->write;

    my %old = map { $_ => 1 } $self->workers;
    my $mark = length $self->log;
    my $is_refused;
    kill HUP => $self->master;

    my $is_over = wait_until {
        $is_refused = substr($self->log, $mark) =~ /\[emerg\]/;
        my @workers = $self->workers;
        return $is_refused || @workers >= $self->{config}{workers}
            && !grep { $old{$_} } @workers;
    } START_SECONDS;
    return $is_over && !$is_refused;
}


# Runs nginx -t, which may be done at any time. Returns { status => exit
# code, output => text }.
sub check ($self) {
    my $config = $self->{config};
    my $output = $self->dir . '/check.output';
    $config->write('check.');
    unlink $output;
    my $pid = spawn([$config->command('check.'), '-t'],
        { $config->environment }, $output);

    return { status => await_exit($pid, CHECK_SECONDS),
        output => read_file($output) };
}


# The process id of the master, by nginx's own pid file.
sub master ($self) {
    return read_file($self->dir . '/nginx.pid') =~ /^(\d+)/ ? $1
        : $self->{pid};
}


# The process ids of the workers that take new connections.
sub workers ($self) {
    return grep {
        read_file("/proc/$_/cmdline") =~ /^nginx: worker process\s*\0*$/
    } children($self->master // return);
}


# The whole error log and access log.
sub log ($self) { return read_file($self->dir . '/error.log') }
sub access_log ($self) { return read_file($self->dir . '/access.log') }


# The lines of the error log that match.
sub log_lines ($self, $regex) {
    return grep { $_ =~ $regex } split /\n/, $self->log;
}


# Waits until the error log matches. Returns whether it did.
sub wait_for_log ($self, $regex, $seconds = 5) {
    return wait_until { $self->log =~ $regex } $seconds;
}


# The content of a file in the gateway's folder, once it matches: a line of
# an access log may be written after its answer was read.
sub file_with ($self, $name, $regex, $seconds = 5) {
    my $content;
    wait_until {
        $content = read_file($self->dir . "/$name");
        $content =~ $regex;
    } $seconds;
    return $content;
}


# Waits until so many requests are being answered, or wait for something: a
# server that listens on %%PORT_status%% must have stub_status. Returns
# whether there were as many.
sub wait_for_requests ($self, $count, $seconds = 60) {
    return wait_until {
        my $answer = request($self->port('status'), GET => '/');
        # this one is answered too
        return $answer->{body} =~ /Writing: (\d+)/ && $1 > $count;
    } $seconds;
}


# The lines by which nginx or a sanitizer says that something is broken.
sub alerts ($self) {
    return grep { $_ =~ $ALERT } split /\n/, $self->log . $self->_output;
}


# A gateway that nobody stopped is ended by SIGTERM, and fails the test if
# there was a problem.
sub DESTROY ($self) {
    return if $self->{owner} != $$ || !$self->{pid};
    local ($?, $!, $@);
    my @problems = $self->_problems('TERM') or return;
    Test::More::fail('nginx ended well');
    Test::More::diag(join "\n", @problems);
}


sub _problems ($self, $signal) {
    my @problems = ($self->_end($signal), $self->alerts);
    my $expected = $self->{expect_alerts} // return @problems;
    return grep { $_ !~ $expected } @problems;
}


# Ends nginx and all that belongs to it. Returns what went wrong.
sub _end ($self, $signal) {
    my $pid = delete $self->{pid} // return;
    my @masters = uniq $pid, map { read_file($self->dir . $_) =~ /^(\d+)/ }
        '/nginx.pid', '/nginx.pid.oldbin';
    my @family = (@masters, map { descendants($_) } @masters);
    my @problems;

    push @problems, "nginx $pid wasn't running any more"
        unless grep { alive($_) } @masters;
    kill $signal => @masters;
    wait_until { !grep { alive($_) } @masters } STOP_SECONDS;
    wait_until { !grep { alive($_) } @family } 1;

    for my $left (uniq grep { alive($_) } @family, descendants($pid)) {
        my $name = read_file("/proc/$left/cmdline") =~ tr/\0/ /r;
        push @problems, "process $left left after SIG$signal: $name";
        kill KILL => $left;
    }
    await_exit($pid, 5);
    await_exit(delete $self->{guard}, 0) if $self->{guard};
    return @problems;
}


sub _is_up ($self) {
    my $config = $self->{config};
    return 0 unless -s $self->dir . '/nginx.pid';
    return 0 if $config->has_workers && $self->workers < $config->{workers};

    for my $port ($config->listening) {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port,
            Timeout => 1) or return 0;
    }
    return 1;
}


# What nginx printed before its error log took over.
sub _output ($self) { return read_file($self->dir . '/output') }

1;
