# What a gateway's nginx is told: its folder, configuration, environment
# and ports, all of it kept to loopback.

package Test::Gateway::Config;

use v5.36;

use Carp 'croak';
use Cwd 'realpath';
use Exporter 'import';
use File::Basename 'dirname';
use File::Temp;

use Test::Gateway::System qw(reserve_port write_file);

our @EXPORT_OK = 'safe_environment';

my $MODULE = 'ngx_http_aoai_aad_module.so';
my @SANITIZER = qw(ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS LD_PRELOAD);
my @SAFE = qw(AZURE_POD_IDENTITY_AUTHORITY_HOST AZURE_AUTHORITY_HOST);


# Takes the arguments that Test::Gateway->new describes. Dies if one is
# unknown or something could leave loopback.
sub new ($class, %args) {
    my $self = bless {
        http => undef, main => '', env => {}, files => {}, workers => 1,
        connections => 1024,
        log_level => 'info', modules => [], modules_after => [],
        module => _default_module(), nginx => _default_nginx(),
        upgradable => 0, wrapper => [],
    }, $class;
    $self->change(%args);
    croak 'http is needed' unless defined $self->{http};

    $self->{module} = 0 if $ENV{AOAI_AAD_STATIC};
    croak "no module at $self->{module}: build it first"
        if $self->{module} && !-e $self->{module};

    $self->{ports} = {};
    $self->{folder} = File::Temp->newdir(CLEANUP => !$ENV{AOAI_AAD_KEEP});
    $self->environment;
    $self->write;
    return $self;
}


# Replaces arguments. They are used by the next call of write.
sub change ($self, %args) {
    for my $name (keys %args) {
        croak "unknown argument: $name" unless exists $self->{$name};
        $self->{$name} = $args{$name};
    }
}


# The folder, and a loopback port that stays the same for a name.
sub dir ($self) { return "$self->{folder}" }
sub port ($self, $name) {
    return ($self->{ports}{$name} //= reserve_port())->sockport;
}


# The ports that nginx has to listen on.
sub listening ($self) {
    my $text = "$self->{main}$self->{http}";
    return map { $self->port($_) }
        $text =~ /\blisten\s+127\.0\.0\.1:%%PORT_(\w+)%%/g;
}


# Whether there are worker processes.
sub has_workers ($self) {
    return $self->{main} !~ /\bmaster_process\s+off/;
}


# Writes the files and PREFIXnginx.conf. The log and pid file that this
# names have the same prefix.
sub write ($self, $prefix = '') {
    my $text = $self->_fill($self->_text($prefix));
    while ($text =~ /(?:^|[;{}])\s*listen\s+([^\s;]+)/mg) {
        croak "listen $1: not loopback"
            if $1 !~ /^(?:127\.0\.0\.1|localhost|\[::1\]|unix):/;
    }

    write_file($self->dir . "/${prefix}nginx.conf", $text);
    while (my ($name, $content) = each $self->{files}->%*) {
        write_file($self->dir . "/$name", $self->_fill($content));
    }
}


# The command that runs nginx with PREFIXnginx.conf, as a list.
sub command ($self, $prefix = '') {
    my $dir = $self->dir;
    my @wrapper = map { $self->_fill($_) } $self->{wrapper}->@*;
    return (@wrapper, $self->{nginx}, '-p', "$dir/", '-c',
        "$dir/${prefix}nginx.conf", '-e', "$dir/${prefix}error.log");
}


# The whole environment of nginx, as a hash.
sub environment ($self) {
    my %env = map { $_ => defined $self->{env}{$_}
        ? $self->_fill($self->{env}{$_}) : undef } keys $self->{env}->%*;
    return safe_environment($self->dir, $self->port('nobody'), %env);
}


# A whole environment, as a hash, for a program that asks for tokens: with
# the given variables (undef takes one away). Where these say nothing else,
# tokens are asked for at a port where nobody listens, never at the real
# addresses. Dies if something could leave loopback.
sub safe_environment ($home, $nobody, %changes) {
    my %env = (
        PATH => '/usr/bin:/bin', HOME => $home,
        $SAFE[0] => "http://127.0.0.1:$nobody",
        $SAFE[1] => "https://127.0.0.1:$nobody",
        map { $_ => $ENV{$_} } grep { defined $ENV{$_} } @SANITIZER,
    );

    for my $name (keys %changes) {
        $env{$name} = $changes{$name};
        _check_address($name, $env{$name} // '');
    }
    delete @env{grep { !defined $env{$_} } keys %env};
    return %env;
}


# Dies if a variable that holds an address names a host that isn't
# loopback, or if a safe default would be taken away.
sub _check_address ($name, $value) {
    return if $name !~ /(?:_HOST|_ENDPOINT|PROXY)$/i || $name =~ /^no_proxy$/i;
    return if $value eq '' && !grep { $_ eq $name } @SAFE;

    my ($host) = $value =~ m{^ (?: [a-z]+:// )? (?: [^/?\#]*@ )?
        ( \[ [^\]]* \] | [^/:?\#]* ) }xi;
    croak "$name: '$value' isn't a loopback address"
        if $host !~ /^(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])$/i;
}


sub _default_module () {
    my $root = realpath(dirname(__FILE__) . '/../../../..');
    return $ENV{AOAI_AAD_MODULE} // "$root/.build/$MODULE";
}


sub _default_nginx () {
    return $ENV{AOAI_AAD_NGINX} if $ENV{AOAI_AAD_NGINX};
    my ($found) = grep { -x } map { "$_/nginx" } split /:/, $ENV{PATH} // '';
    return $found // '/usr/sbin/nginx';
}


# What the binary was built with, by nginx -V.
sub _build_options ($self) {
    state %options;
    return $options{$self->{nginx}} //= `$self->{nginx} -V 2>&1`;
}


sub _fill ($self, $text) {
    $text =~ s/%%DIR%%/$self->{folder}/g;
    $text =~ s/%%PORT_(\w+)%%/$self->port($1)/ge;
    return $text;
}


# The names of nginx's features that keep temporary files.
sub _temporary ($self) {
    my $built = $self->_build_options;
    return 'client_body', grep { $built !~ /--without-http_${_}_module/ }
        qw(proxy fastcgi uwsgi scgi);
}


sub _text ($self, $prefix) {
    my $user = $> == 0 && $self->{main} !~ /^\s*user\s/m ? 'user root;' : '';
    # a new binary gets only these variables, and must be as safe
    my $daemon = $self->{upgradable}
        ? join ' ', 'daemon on;', map { "env $_;" } @SAFE
        : 'daemon off;';
    my $modules = join "\n", map { "load_module $_;" }
        $self->{modules}->@*, $self->{module} || (),
        $self->{modules_after}->@*;
    my $temporary = join "\n    ",
        map { "${_}_temp_path %%DIR%%/temp_$_;" } $self->_temporary;

    return <<"END";
$daemon
$user
worker_processes $self->{workers};
error_log %%DIR%%/${prefix}error.log $self->{log_level};
pid %%DIR%%/${prefix}nginx.pid;
$modules
$self->{main}
events {
    worker_connections $self->{connections};
}

http {
    access_log %%DIR%%/access.log;
    $temporary
$self->{http}
}
END
}

1;
