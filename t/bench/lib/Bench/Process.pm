# A program other than nginx that listens on a port of loopback.

package Bench::Process;

use v5.36;

use File::Temp;
use IO::Socket::INET;

use Bench::Machine 'allocator';
use Test::Gateway::System qw(
    alive await_exit end_with_test guard read_file reserve_port spawn
    wait_until write_file
);

use constant { START_SECONDS => 30, STOP_SECONDS => 5 };


# Starts a command, a list, and waits until it accepts connections. files =>
# { name => content } are written into a folder of its own first; env => its
# environment. In all of them %%DIR%% stands for the folder and %%PORT%% for
# the port. Dies with what it printed if it does not start.
sub new ($class, $command, %args) {
    my $self = bless { owner => $$, folder => File::Temp->newdir,
        reserved => reserve_port() }, $class;
    end_with_test($self);

    my ($files, $env) = map { $_ // {} } @args{qw(files env)};
    write_file("$self->{folder}/$_", $self->_fill($files->{$_}))
        for keys %$files;
    my $output = "$self->{folder}/output";
    my %environment = (PATH => $ENV{PATH}, HOME => "$self->{folder}",
        allocator(), map { $_ => $self->_fill($env->{$_}) } keys %$env);
    $self->{pid} = spawn([map { $self->_fill($_) } @$command],
        \%environment, $output);
    $self->{guard} = guard($self->{pid});

    wait_until { !alive($self->{pid}) || $self->_is_up } START_SECONDS;
    if (!$self->_is_up) {
        $self->stop;
        die "$command->[0] does not start\n" . read_file($output);
    }
    return $self;
}


sub port ($self) { return $self->{reserved}->sockport }
sub pid ($self) { return $self->{pid} }


# Ends the program. May be called twice.
sub stop ($self) {
    my $pid = delete $self->{pid} // return;
    kill TERM => $pid;
    await_exit($pid, STOP_SECONDS);
    await_exit(delete $self->{guard}, 1);
}


sub DESTROY ($self) {
    return if $self->{owner} != $$;
    local ($?, $!, $@);
    $self->stop;
}


sub _fill ($self, $text) {
    my $port = $self->port;
    return $text =~ s/%%DIR%%/$self->{folder}/gr =~ s/%%PORT%%/$port/gr;
}


sub _is_up ($self) {
    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $self->port, Timeout => 1);
}

1;
