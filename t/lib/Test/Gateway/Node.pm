# The scripts of t/sdk: servers that run beside a test, and clients.

package Test::Gateway::Node;

use v5.36;

use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';
use File::Temp;
use IPC::Open2 'open2';
use JSON::PP 'decode_json';

use Test::Gateway::Certificates 'certificate';
use Test::Gateway::System qw(await_exit read_file spawn);

our @EXPORT_OK = qw(end_node_servers node node_server);

use constant {
    CLIENT_SECONDS => 120,
    END_SECONDS    => 10,
};

my $FOLDER = realpath(dirname(__FILE__) . '/../../../sdk');
my @servers;


# Starts a server, which trusts our certificates and ends with its standard
# input. Returns what it announces. Dies if that is nothing.
sub node_server ($script, @arguments) {
    local $ENV{NODE_EXTRA_CA_CERTS} = certificate()->{ca};
    local $ENV{NODE_NO_WARNINGS} = 1;
    my $errors = File::Temp->new;
    my $pid = open2(my $output, my $input, 'sh', '-c',
        'log=$1; shift; exec node "$@" 2>"$log"', 'sh', $errors,
        "$FOLDER/$script", @arguments);

    my $line = readline $output;
    die "$script doesn't start: ", read_file($errors) if !$line;
    push @servers, { pid => $pid, input => $input, output => $output };
    return decode_json($line);
}


sub end_node_servers () {
    close $_->{input} for @servers;
    await_exit($_->{pid}, END_SECONDS) for @servers;
    @servers = ();
}


# Runs a client that trusts our certificates, with nothing else in its
# environment but what is given. Returns its exit status and what it printed.
sub node ($environment, $script, @arguments) {
    my $output = File::Temp->new;
    my $pid = spawn(['/usr/bin/env', 'node', "$FOLDER/$script", @arguments],
        { PATH => $ENV{PATH}, NODE_EXTRA_CA_CERTS => certificate()->{ca},
        %$environment }, "$output");

    return await_exit($pid, CLIENT_SECONDS), read_file("$output");
}

1;
