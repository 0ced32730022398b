# Where a token may go, and that nothing goes anywhere else.

use v5.36;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Client;
use Test::Gateway::System qw(end_with_test read_file);


# A name server for any name: 127.0.0.1. It notes what it was asked.
package Names {
    use File::Temp;
    use IO::Socket::INET;
    use POSIX ();

    sub new ($class) {
        my $socket = IO::Socket::INET->new(Proto => 'udp',
            LocalAddr => '127.0.0.1') // die "no DNS: $!\n";
        my $self = bless { owner => $$, port => $socket->sockport,
            notes => File::Temp->new }, $class;
        main::end_with_test($self);
        $self->{pid} = fork // die "fork: $!\n";
        return $self if $self->{pid};

        $SIG{$_} = 'DEFAULT' for qw(HUP INT TERM);
        while (getppid == $self->{owner}) {
            next unless IO::Select->new($socket)->can_read(0.5);
            next unless $socket->recv(my $query, 512);
            $self->_answer($socket, $query);
        }
        POSIX::_exit(0);
    }

    # RFC 1035: the question again, and an address for type A
    sub _answer ($self, $socket, $query) {
        my ($id, undef, undef, undef, undef, undef, $question)
            = unpack 'n6 a*', $query;
        my @labels;
        while ((my $length = ord $question) && length $question) {
            push @labels, substr $question, 1, $length;
            $question = substr $question, 1 + $length;
        }
        my ($type) = unpack 'x n', $question;
        syswrite $self->{notes}, join('.', @labels) . "\n" if $type == 1;

        my @answer = $type == 1
            ? pack 'n n n N n C4', 0xc00c, 1, 1, 60, 4, 127, 0, 0, 1 : ();
        $socket->send(pack('n6', $id, 0x8180, 1, scalar @answer, 0, 0)
            . substr($query, 12, 4 + index($query, "\0", 12) - 11)
            . join '', @answer);
    }

    sub asked ($self) {
        return split /\n/, main::read_file($self->{notes}->filename);
    }

    sub DESTROY ($self) {
        return if $self->{owner} != $$ || !$self->{pid};
        local ($?, $!);
        kill KILL => $self->{pid};
        waitpid delete $self->{pid}, 0;
    }
}


my $imds = imds;
my $plain = openai;
my $tls = openai(tls => certificate);
my $names = Names->new;
my ($port, $tls_port) = ($plain->port, $tls->port);

# These listen and accept nothing: a connection that was tried waits there.
my %nobody = (
    4 => IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64),
    6 => scalar IO::Socket::IP->new(LocalHost => '::1', Listen => 64),
);
my $nobody = $nobody{4}->sockport;
my $nobody6 = $nobody{6} ? $nobody{6}->sockport : 1;

sub was_called ($version = 4) {
    my $was_called = 0;
    while (IO::Select->new($nobody{$version})->can_read(0)) {
        $nobody{$version}->accept;
        $was_called = 1;
    }
    return $was_called;
}


# Fixed destinations: name, allowed hosts, where, upstream that gets it.
my @FIXED = (
    ['loopback, by default', undef, "http://127.0.0.1:$nobody"],
    ['loopback over TLS, by default', undef, "https://127.0.0.1:$nobody"],
    ['localhost, by default', undef, "http://localhost:$nobody"],
    ['a listed address', '127.0.0.1', "http://127.0.0.1:$port", $plain],
    ['a listed address over TLS', '127.0.0.1',
        "https://127.0.0.1:$tls_port", $tls],
    ['another address', '127.0.0.2', "http://127.0.0.1:$nobody"],
    ['a listed name', 'localhost', "http://localhost:$port", $plain],
    ['a listed name in capitals', 'LocalHost', "http://localhost:$port",
        $plain],
    ['a name in capitals', 'localhost', "http://LOCALHOST:$port", $plain],
    ['a listed name with a final dot', 'localhost.',
        "http://localhost:$port", $plain],
    ['another name for it', '127.0.0.1', "http://localhost:$nobody"],
    ['another address of it', 'localhost', "http://127.0.0.1:$nobody"],
    ['a listed port', "127.0.0.1:$port", "http://127.0.0.1:$port", $plain],
    ['another port', "127.0.0.1:$port", "http://127.0.0.1:$nobody"],
    ['the scheme\'s port', '127.0.0.1:80', "http://127.0.0.1:$nobody"],
    ['one of several', "x.example.test 127.0.0.1:$nobody 127.0.0.1:$port",
        "http://127.0.0.1:$port", $plain],
    ['a wildcard for addresses', '*.0.0.1', "http://127.0.0.1:$nobody"],
    ['the address for all', '0.0.0.0', "http://0.0.0.0:$nobody"],
    ['a listed IPv6 address', '[::1]', "http://[::1]:$nobody6", 6],
    ['a listed IPv6 address and port', "[::1]:$nobody6",
        "http://[::1]:$nobody6", 6],
    ['an IPv6 address with another port', '[::1]:1', "http://[::1]:$nobody6"],
    ['IPv6 loopback, by default', undef, "http://[::1]:$nobody6"],
    ['an IPv4 address beside IPv6', '127.0.0.1', "http://[::1]:$nobody6"],
    ['a unix socket', 'unix', 'http://unix:%%DIR%%/nobody'],
    ['a block', '127.0.0.1', 'http://one', $plain],
    ['a block over TLS', '127.0.0.1', 'https://one_tls', $tls],
    ['a block, by its own name', 'one', 'http://one'],
    ['a block that is called as an allowed host', undef,
        'https://x.openai.azure.com'],
    ['a block that is called so, and its server', '127.0.0.1',
        'https://x.openai.azure.com', $tls],
    ['a block with a server that is not listed', '127.0.0.1',
        'http://mixed'],
    ['a block whose servers are listed all', '127.0.0.1 localhost',
        'http://mixed', $plain],
    ['a block with a spare that is not listed', '127.0.0.1',
        'http://spare'],
    ['a block with a server that is down', '127.0.0.1', 'http://down'],
    ['a block with a unix socket', 'unix 127.0.0.1', 'http://unix_socket'],
    ['a block with another port', "127.0.0.1:$port", 'http://other_port'],
    ['a block with a server without a port', '127.0.0.1:443',
        'https://no_port'],
);
@FIXED = grep { $_->[2] !~ /::1/ } @FIXED unless $nobody{6};

my $fixed = '';
for my $i (0 .. $#FIXED) {
    my ($name, $hosts, $url) = $FIXED[$i]->@*;
    $hosts = $hosts ? "aoai_aad_allowed_hosts $hosts;" : '';
    $fixed .= "location /fixed/$i/ { $hosts proxy_pass $url; }\n";
}

my $gateway = Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    files => { 'root/own.html' => 'my own page' },
    http => <<"END")->start;
aoai_aad on;
aoai_aad_credential managed_identity;
resolver 127.0.0.1:$names->{port} ipv6=off;
proxy_connect_timeout 2s;
proxy_read_timeout 2s;
proxy_send_timeout 2s;

upstream one { server 127.0.0.1:$port; }
upstream one_tls { server 127.0.0.1:$tls_port; }
upstream x.openai.azure.com { server 127.0.0.1:$tls_port; }
upstream mixed { server 127.0.0.1:$port; server localhost:$port; }
upstream spare { server 127.0.0.1:$port; server localhost:$nobody backup; }
upstream down { server 127.0.0.1:$port; server localhost:$nobody down; }
upstream unix_socket { server 127.0.0.1:$port; server unix:%%DIR%%/nobody; }
upstream other_port { server 127.0.0.1:$port; server 127.0.0.1:$nobody; }
upstream no_port { server 127.0.0.1; }

server {
    listen 127.0.0.1:%%PORT_http%%;
    root %%DIR%%/root;
    client_max_body_size 10m;
    client_body_buffer_size 1k;

    $fixed
    location /default { proxy_pass \$http_to; }
    location /listed {
        aoai_aad_allowed_hosts 127.0.0.1 x.example.test y.example.test:1
            y.example.test:$tls_port *.wild.test *.port.test:$tls_port
            localhost:1 0.0.0.0;
        proxy_pass \$http_to;
    }
    location /localhost {
        aoai_aad_allowed_hosts localhost;
        proxy_pass \$http_to;
    }
    location /if {
        aoai_aad_allowed_hosts 127.0.0.1;
        if (\$http_x) { proxy_pass http://localhost:$nobody; }
        proxy_pass http://127.0.0.1:$port;
    }
    location /limit {
        aoai_aad_allowed_hosts 127.0.0.1;
        limit_except GET { proxy_pass http://localhost:$nobody; }
        proxy_pass http://127.0.0.1:$port;
    }

    location /body/ {
        proxy_pass http://127.0.0.1:$nobody;

        location /body/unbuffered {
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_pass http://127.0.0.1:$nobody;
        }
        location /body/variable { proxy_pass http://127.0.0.1:\$http_to; }
    }
    location /off { aoai_aad off; proxy_pass http://127.0.0.1:$nobody; }
    location /alive { return 200 alive; }

    location /own-page {
        error_page 502 /own.html;
        proxy_pass http://127.0.0.1:$nobody;
    }
    location /named {
        error_page 502 = \@plain;
        proxy_pass http://127.0.0.1:$nobody;
    }
    location \@plain { aoai_aad off; proxy_pass http://127.0.0.1:$port; }
    location /other-page {
        error_page 500 503 /own.html;
        proxy_pass http://127.0.0.1:$nobody;
    }
}
END

sub ask ($method, $path, @more) {
    return request($gateway->port('http'), $method, $path, @more);
}


# What tells a refusal from all else, in one word.
sub verdict ($answer) {
    my $error = $answer->{json}{error} // {};
    return 'sent' if $answer->{status} == 200;
    return $answer->{status} unless %$error;
    return "$answer->{status} $error->{code}";
}

use constant REFUSED => '502 host_not_allowed';


# the refusal itself
{
    my $answer = ask(GET => '/fixed/0/');
    is $answer->{status}, 502, 'a refusal has status 502';
    is $answer->{header}{'content-type'}, 'application/json', '... in JSON';
    is_deeply [sort keys $answer->{json}{error}->%*],
        [qw(code message type)], '... with the fields of an error';
    is $answer->{json}{error}{code}, 'host_not_allowed', '... its code';
    is $answer->{json}{error}{type}, 'gateway_error', '... its type';
    unlike $answer->{body}, qr/127\.0|\d{3}/, '... and no address';
    is scalar($gateway->log_lines(
        qr/\[error\].*"127\.0\.0\.1(?::$nobody)?" port $nobody\b/)), 1,
        'one error line names host and port';
    is ask(HEAD => '/fixed/0/')->{status}, 502, 'HEAD is refused too';
    ask(GET => '/fixed/0/') for 1 .. 5;
    my @lines = $gateway->log_lines(qr/no token may go .*GET \/fixed\/0\//);
    is scalar(grep { /\[error\]/ } @lines), 1, '... for all of them';
    is scalar(grep { /\[info\]/ } @lines), 5,
        '... the others are there for who wants to know';
    like $lines[0], qr/host_not_allowed, chain: \w+/,
        '... with code and identity';
    is was_called, 0, 'nobody was connected to';

    start_request($gateway->port('http'), GET => '/off')->abort;
    $gateway->wait_for_log(qr/client prematurely closed/);
    is was_called, 1, 'which is seen where the module is off';
}


for my $i (0 .. $#FIXED) {
    my ($name, $hosts, $url, $to) = $FIXED[$i]->@*;
    my $is_ipv6 = ($to // '') eq '6';
    my $request = start_request($gateway->port('http'), GET => "/fixed/$i/");

    if ($is_ipv6) {
        my $is_called = IO::Select->new($nobody{6})->can_read(5);
        ok $is_called, "sent: $name";
        $request->abort;
        was_called(6);
        next;
    }

    my $answer = $request->finish;
    is verdict($answer), $to ? 'sent' : REFUSED,
        ($to ? 'sent' : 'refused') . ": $name"
        or diag $answer->{body};
    next unless $to;
    is scalar(grep { /^authorization: Bearer \S+\.\S+\.\S+$/i }
        map { join ': ', @$_ } $answer->{json}{headers}->@*), 1,
        '... with the token';
}
is was_called, 0, 'none of the refused was connected to';
is was_called(6), 0, 'nor over IPv6' if $nobody{6};
is_deeply [$names->asked], [], 'no name was looked up';

for my $round (1 .. 4) {
    my ($mixed) = grep { $FIXED[$_][2] =~ /mixed/ } 0 .. $#FIXED;
    is verdict(ask(GET => "/fixed/$mixed/")), REFUSED,
        "a block with a server that isn't listed, request $round";
}


# Destinations of variables: URL => verdict, and the name that is looked up
# if there is one.
sub variable ($location, $url, $expected, $name = undef) {
    $_->forget for $plain, $tls;
    my $asked = () = $names->asked;
    my $answer = ask(GET => $location, headers => [To => $url]);

    is verdict($answer), $expected, "$location, $url: $expected"
        or diag $answer->{body};
    is_deeply [($names->asked)[$asked .. $#{[$names->asked]}]], [$name // ()],
        '... looked up: ' . ($name // 'nothing');
    return if $expected eq 'sent';
    is $plain->count + $tls->count, 0, '... and nothing arrived';
}

for my $domain (map { ("azure.$_") } qw(com us cn)) {
    for my $suffix ("openai.$domain", "cognitiveservices.$domain",
        "services.ai.$domain")
    {
        variable('/default', "https://my-res.$suffix:$tls_port", 'sent',
            "my-res.$suffix");
    }
}

my @ALLOWED = (
    ["https://A.OpenAI.Azure.COM:$tls_port/x?y=1", 'a.openai.azure.com'],
    ["https://b.c.openai.azure.com:$tls_port", 'b.c.openai.azure.com'],
    ["https://d.openai.azure.com.:$tls_port", 'd.openai.azure.com'],
);
variable('/default', $_->[0], 'sent', lc $_->[1]) for @ALLOWED;

my $azure = "x.openai.azure.com:$tls_port";
for my $case (
    ["http://$azure"], ["https://openai.azure.com:$tls_port"],
    ["https://.openai.azure.com:$tls_port"],
    ["https://xopenai.azure.com:$tls_port"],
    ["https://x.openai.azure.com.evil.test:$tls_port"],
    ["https://x.openai.azure.comx:$tls_port"],
    ["https://evil.test:$tls_port/x.openai.azure.com"],
    ["https://evil.test:$tls_port?x.openai.azure.com"],
    ["https://evil.test#.openai.azure.com:$tls_port"],
    ["https://evil.test\\.openai.azure.com:$tls_port"],
    ["https://evil.test%2f.openai.azure.com:$tls_port"],
    ["https://evil.test%00.openai.azure.com:$tls_port"],
    ["https://evil.test%20.openai.azure.com:$tls_port"],
    ["https://evil.test .openai.azure.com:$tls_port"],
    ["https://me\@$azure"], ["https://me:you\@$azure", 500],
    ["https://x.openai.azure.com\@evil.test:$tls_port"],
    ["https://x.openai.azure.com:$tls_port\@evil.test", 500],
    ["https://127.0.0.1:$tls_port"], ["http://127.0.0.1:$port"],
    ["https://x.openai.azure.com"], ["https://X.openai.azure.com"],
    ["https://one_tls"], ["http://one"], ["http://ONE"], ["http://mixed"],
    ["https://unix:%2frun:/"], ["https://unix:/run/nobody:/"],
    ["https://unix:y.openai.azure.com:/"],
    ["https://[::1]:$tls_port"], ["https://[x.openai.azure.com]:1", 500],
    ["https://x.openai.azure.com:0", 500],
    ["https://x.openai.azure.com:x", 500],
    ["ftp://x.openai.azure.com", 500], ['', 500],
) {
    my ($url, $status) = @$case;
    variable('/default', $url, $status // REFUSED);
}

for my $case (
    ["http://127.0.0.1:$port", 'sent'],
    ["https://127.0.0.1:$tls_port", 'sent'],
    ["http://one", 'sent'], ["http://ONE", 'sent'],
    ["https://x.openai.azure.com", 'sent'],
    ["http://mixed"], ["http://127.0.0.2:$port"], ["http://0.0.0.0:$port"],
    ["http://127.1:$port"], ["http://2130706433:$port"],
    ["http://127.0.0.1.:$port"], ["https://127.0.0.1.:$tls_port"],
    ["http://127.0.0.1.evil.test:$port"],
    ["http://[::ffff:127.0.0.1]:$port"],
    ["http://localhost:$port"],
    ["https://my-res.openai.azure.com:$tls_port"],
    ["https://x.example.test:$tls_port", 'sent', 'x.example.test'],
    # known by now
    ["https://X.Example.Test.:$tls_port", 'sent'],
    ["http://x.example.test:$port"],
    ["https://y.example.test:$tls_port", 'sent', 'y.example.test'],
    ["https://y.example.test:$port"], ["https://y.example.test"],
    ["https://z.wild.test:$tls_port", 'sent', 'z.wild.test'],
    ["http://z.wild.test:$port"], ["https://wild.test:$tls_port"],
    ["https://z.port.test:$tls_port", 'sent', 'z.port.test'],
    ["https://z.port.test"], ["https://z.port.test:$port"],
    ["https://unix:127.0.0.1:/"], ["http://unix:127.0.0.1:/"],
) {
    my ($url, $verdict, $name) = @$case;
    variable('/listed', $url, $verdict // REFUSED, $name);
}

# a name that the resolver is asked for may be anywhere
variable('/localhost', "http://localhost:$tls_port", REFUSED);
variable('/localhost', "https://localhost:$tls_port", 'sent', 'localhost');

my ($evil) = grep { /evil\.test#/ } $gateway->log_lines(qr/\[error\]/);
like $evil, qr/no token may go to "evil\.test#\.openai\.azure\.com/,
    'the log names the host as it was written';
like join("\n", $gateway->log_lines(qr/\[error\]/)),
    qr/"x\.example\.test" port $port over plain HTTP: write "https/,
    'and says when it was the scheme';

is verdict(ask(GET => '/if')), 'sent', 'beside an "if" with a proxy_pass';
is verdict(ask(GET => '/if', headers => [X => 1])), REFUSED,
    'an "if" with a proxy_pass to another host';
is verdict(ask(GET => '/if')), 'sent', 'beside that again';
is verdict(ask(GET => '/limit')), 'sent', 'beside a limit_except';
is verdict(ask(POST => '/limit')), REFUSED,
    'a limit_except with a proxy_pass to another host';


# a page of the location's own
{
    my $answer = ask(GET => '/own-page');
    is "$answer->{status} $answer->{body}", '502 my own page',
        'an error_page for 502 stands in for the JSON';

    my $mine = 'Bearer mine';
    $answer = ask(GET => '/named', headers => [Authorization => $mine]);
    my %sent = map { lc $_->[0] => $_->[1] } $answer->{json}{headers}->@*;
    is $sent{authorization}, $mine,
        'an error_page that is another upstream gets no token';

    is verdict(ask(GET => '/other-page')), REFUSED,
        'an error_page for another status does not';
}


# bodies
my $large = 'x' x 3_000_000;
for my $location ('/body/', '/body/unbuffered', '/body/variable') {
    my @to = (headers => [To => $nobody]);

    for my $case (
        ['none', POST => []], ['small', POST => [body => 'small']],
        ['large', PUT => [body => $large]],
        ['chunked', POST => [chunked => ['a', 'bc', 'def']]],
        ['large, chunked', POST => [chunked => [($large) x 2]]],
    ) {
        my ($name, $method, $body) = @$case;
        is verdict(ask($method, $location, @to, @$body)), REFUSED,
            "body $name, $location";
    }

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $gateway->port('http'), Timeout => 5);
    my $close = "Host: x\r\nConnection: close\r\n\r\n";
    print {$socket} "POST $location HTTP/1.1\r\nHost: x\r\nTo: $nobody\r\n"
        . "Content-Length: 5000\r\n\r\n", 'x' x 5000,
        "GET /alive HTTP/1.1\r\n$close";
    my $answers = do { local $/; readline $socket };
    like $answers, qr{^HTTP/1\.1 502 .*host_not_allowed}s,
        "a connection that goes on, $location";
    like $answers, qr/alive$/, '... is in step' if $location eq '/body/';
}
is was_called, 0, 'nobody was connected to for any of them';

$gateway->stop;

done_testing;
