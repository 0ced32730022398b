# Runs the command aoai-aad, kept to loopback.

package Test::Gateway::Tool;

use v5.36;

use Carp 'croak';
use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';
use File::Temp;

use Test::Gateway::Config 'safe_environment';
use Test::Gateway::System qw(await_exit read_file reserve_port spawn);

our @EXPORT_OK = 'tool';

use constant RUN_SECONDS => 60;


# Runs aoai-aad with the arguments and waits for its end, a minute at the
# most. A hash before them has options:
#   env   { name => value } of its environment; undef takes one away
#   dir   its current directory
#   out   a file for its standard output
# Where env says nothing else, tokens are asked for at a port where nobody
# listens. Returns { status => exit code, out => text, err => text }. Dies
# if the tool isn't built or something could leave loopback.
sub tool (@args) {
    my %options = ref $args[0] ? shift(@args)->%* : ();
    my $folder = File::Temp->newdir;
    my $nobody = reserve_port();
    my $tool = $ENV{AOAI_AAD_TOOL}
        // realpath(dirname(__FILE__) . '/../../../..') . '/.build/aoai-aad';
    croak "no tool at $tool: build it first" unless -x $tool;

    my %env = safe_environment("$folder", $nobody->sockport,
        ($options{env} // {})->%*);
    my ($out, $err) = ($options{out} // "$folder/.out", "$folder/.err");
    my @command = ($tool, @args);
    @command = ('/bin/sh', '-c', 'cd "$0" && exec "$@"', $options{dir},
        @command) if defined $options{dir};

    my $pid = spawn(\@command, \%env, $out, $err);
    return { status => await_exit($pid, RUN_SECONDS),
        out => read_file("$folder/.out"), err => read_file($err) };
}

1;
