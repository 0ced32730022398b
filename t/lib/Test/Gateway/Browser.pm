# A headless Chromium with one page, driven over a pipe by the DevTools
# protocol. It reaches nothing but loopback.

package Test::Gateway::Browser;

use v5.36;

use Carp 'croak';
use File::Temp;
use IO::Select;
use JSON::PP;
use MIME::Base64 'decode_base64';
use POSIX ();

use Test::Gateway::System qw(alive await_exit end_with_test guard now to_null
    wait_until write_file);

use constant ANSWER_SECONDS => 60;

# Against what the browser would ask for by itself; and without a sandbox of
# its own, which root, and many a container, cannot have.
my @OPTIONS = qw(--headless=new --remote-debugging-pipe --no-first-run
    --disable-gpu --disable-dev-shm-usage --disable-background-networking
    --disable-component-update --disable-sync --disable-extensions
    --disable-default-apps --no-default-browser-check --no-pings
    --hide-scrollbars --disable-crash-reporter --no-sandbox --no-zygote);

my $JSON = JSON::PP->new->utf8->allow_nonref;


# The program, or nothing where there is none.
sub program () {
    my ($found) = grep { -x } map { "$_/chromium" } split /:/, $ENV{PATH};
    return $found;
}


# Starts it, with an empty page. Dies if it doesn't answer.
sub new ($class) {
    my $self = bless { owner => $$, id => 0, events => [], buffer => '',
        folder => File::Temp->newdir }, $class;
    my $program = program() // croak 'no chromium here';

    pipe my $child_in, my $out or die "pipe: $!\n";
    pipe my $in, my $child_out or die "pipe: $!\n";
    $self->{pid} = fork // die "fork: $!\n";
    if (!$self->{pid}) {
        setpgrp;
        my @pipes = map { POSIX::dup(fileno $_) } $child_in, $child_out;
        # out of the way of the numbers that the browser looks at
        @pipes = map { POSIX::dup2($_, $_ + 20) } @pipes;
        POSIX::dup2($pipes[$_], 3 + $_) for 0, 1;
        to_null($_) for 0 .. 2;
        POSIX::close($_) for grep { $_ > 4 } map { m{(\d+)$} }
            glob '/proc/self/fd/*';
        %ENV = (PATH => $ENV{PATH}, HOME => "$self->{folder}");
        exec $program, @OPTIONS,
            '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
            "--user-data-dir=$self->{folder}/profile", 'about:blank'
            or POSIX::_exit(127);
    }
    @$self{qw(in out)} = ($in, $out);
    $out->autoflush;
    $self->{guard} = guard($self->{pid});
    end_with_test($self);

    my $page = wait_until { $self->_page } ANSWER_SECONDS
        or croak 'the browser has no page';
    my $attached = $self->_call('Target.attachToTarget',
        targetId => $page->{targetId}, flatten => JSON::PP::true);
    $self->{session} = $attached->{sessionId};
    $self->_call("$_.enable") for qw(Page Runtime Log Network);
    return $self;
}

sub _page ($self) {
    my ($page) = grep { $_->{type} eq 'page' }
        $self->_call('Target.getTargets')->{targetInfos}->@*;
    return $page;
}


# Opens a page and waits until it's loaded. What was seen so far is
# forgotten.
sub open_page ($self, $url) {
    $self->{events} = [];
    $self->_call('Page.navigate', url => $url);
    $self->wait_for(sub { $self->_seen('Page.loadEventFired') })
        or croak "$url isn't loaded";
}


# The value of an expression of JavaScript.
sub evaluate ($self, $expression) {
    my $answer = $self->_call('Runtime.evaluate', expression => $expression,
        returnByValue => JSON::PP::true, awaitPromise => JSON::PP::true);
    croak "$expression: ", $JSON->encode($answer->{exceptionDetails})
        if $answer->{exceptionDetails};
    return $answer->{result}{value};
}


# Waits until the block, or an expression, is true. Returns its value.
sub wait_for ($self, $condition, $seconds = ANSWER_SECONDS) {
    return wait_until {
        $self->_listen(0.05);
        ref $condition ? $condition->() : $self->evaluate($condition);
    } $seconds;
}


# What the page has asked for: URLs, in order.
sub requests ($self) {
    $self->_listen(0);
    return map { $_->{request}{url} }
        $self->_seen('Network.requestWillBeSent');
}


# What the console shows: errors, warnings, and what the policy refused.
sub complaints ($self) {
    $self->_listen(0);
    return map({ $_->{entry}{text} } $self->_seen('Log.entryAdded')),
        map({ $JSON->encode($_->{exceptionDetails}) }
            $self->_seen('Runtime.exceptionThrown')),
        map({ $JSON->encode($_->{args}) } grep {
            $_->{type} =~ /^(?:error|warning|assert)$/
        } $self->_seen('Runtime.consoleAPICalled'));
}


# Width and height of the window in pixels, and whether it's dark.
sub look ($self, $width, $height, $scheme = 'light') {
    $self->_call('Emulation.setDeviceMetricsOverride', width => $width,
        height => $height, deviceScaleFactor => 1,
        mobile => $width < 600 ? JSON::PP::true : JSON::PP::false);
    $self->_call('Emulation.setEmulatedMedia', features =>
        [{ name => 'prefers-color-scheme', value => $scheme }]);
}


# Whether scripts run in the pages that are opened from now on.
sub scripts ($self, $are_on) {
    $self->_call('Emulation.setScriptExecutionDisabled',
        value => $are_on ? JSON::PP::false : JSON::PP::true);
}


# What a screen reader gets: "role: name" of each node that has both.
sub spoken ($self) {
    $self->_call('Accessibility.enable');
    my $tree = $self->_call('Accessibility.getFullAXTree')->{nodes};
    return map { "$_->{role}{value}: $_->{name}{value}" }
        grep { length($_->{name}{value} // '') && !$_->{ignored} } @$tree;
}


# Writes the whole page as a PNG.
sub screenshot ($self, $file) {
    my $answer = $self->_call('Page.captureScreenshot', format => 'png',
        captureBeyondViewport => JSON::PP::true);
    write_file($file, decode_base64($answer->{data}));
}


# Ends it.
sub stop ($self) {
    my $pid = delete $self->{pid} // return;
    kill TERM => -$pid;
    wait_until { !alive($pid) } 5 or kill KILL => -$pid;
    await_exit($pid, 5);
    await_exit(delete $self->{guard}, 0) if $self->{guard};
}

sub DESTROY ($self) {
    return if $self->{owner} != $$;
    local ($?, $!, $@);
    $self->stop;
}


sub _seen ($self, $method) {
    return map { $_->{params} } grep { $_->{method} eq $method }
        $self->{events}->@*;
}


sub _call ($self, $method, %params) {
    my $id = ++$self->{id};
    my %call = (id => $id, method => $method, params => \%params);
    $call{sessionId} = $self->{session} if $self->{session};
    print { $self->{out} } $JSON->encode(\%call), "\0";

    my $deadline = now() + ANSWER_SECONDS;
    until (exists $self->{answers}{$id}) {
        croak "$method: no answer" if now() > $deadline;
        $self->_listen(1);
    }
    my $answer = delete $self->{answers}{$id};
    croak "$method: $answer->{error}{message}" if $answer->{error};
    return $answer->{result};
}


# Takes in what has come, waiting for so many seconds at the most.
sub _listen ($self, $seconds) {
    while (IO::Select->new($self->{in})->can_read($seconds)) {
        sysread $self->{in}, $self->{buffer}, 65536, length $self->{buffer}
            or croak 'the browser has ended';
        while ($self->{buffer} =~ s/^([^\0]*)\0//) {
            my $message = $JSON->decode($1);
            if ($message->{id}) {
                $self->{answers}{$message->{id}} = $message;
            } else {
                push $self->{events}->@*, $message;
            }
        }
        $seconds = 0;
    }
}

1;
