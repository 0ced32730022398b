# The matrix of leaks: a location with the token meets everything that nginx
# can do with a request. The token is in what goes to the right upstream, once,
# and nowhere else; what goes elsewhere has what the client sent.

use v5.36;

use File::Find 'find';
use File::Temp;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure 'imds';
use Test::Gateway::Client;
use Test::Gateway::Server;
use Test::Gateway::System qw(await_exit read_file spawn wait_until
    write_file);

# a part of the token is one from so many characters on
use constant PART_CHARACTERS => 12;

my $imds = imds;
my $folder = File::Temp->newdir;

# The upstream that may have the token, one more of its kind that fails, and
# the one that may not have it. The end of the path says how to answer.
my ($up, $failing, $other) = map {
    Test::Gateway::Server->new(handler => $_)
} \&answer, sub { [500, [], 'failed'] }, \&answer;
my ($to, $to_failing, $to_other) = map { $_->url } $up, $failing, $other;


# The table. Each row is a way: its name; how many requests the upstream with
# the token is to get, and how many the other one; what the location says;
# and, where that is not a plain path, one request and status 200:
#   path    what the location and the upstream are asked for
#   times   how often the client asks
#   status  of the answer
#   unbuffered  what differs for such a body: both numbers and the status;
#               undef where nginx itself would need it twice
# A row is gone with few and with many headers, with every kind of body, and
# from clients of HTTP/1.1 and HTTP/2. /token/ and @token are locations with a
# token, /plain/ and @plain those of the other upstream; they pass no body on.
my @WAYS = (
    ['proxy_pass', 1, 0, "proxy_pass $to;"],
    ['proxy_pass with a path', 1, 0, "proxy_pass $to/elsewhere/;"],
    ['proxy_pass with a variable', 1, 0,
        "set \$there ${\$up->host_port}; proxy_pass http://\$there;"],
    ['an upstream that is kept', 1, 0, 'proxy_http_version 1.1; '
        . 'proxy_set_header Connection ""; proxy_pass http://kept;'],
    ['rewrite', 1, 0, "rewrite .* /rewritten break; proxy_pass $to;"],
    ['rewrite out', 0, 1, "rewrite .* /plain/; proxy_pass $to;"],
    ['rewrite in', 1, 0,
        "aoai_aad off; rewrite .* /token/; proxy_pass $to_other;"],
    ['if', 1, 0, "if (\$arg_cell) { break; proxy_pass $to; } return 404;"],
    ['if with its own aoai_aad', 0, 1, "if (\$arg_cell) { aoai_aad off; "
        . "proxy_pass $to_other; } proxy_pass $to;"],
    ['if, beside it', 1, 0, "if (\$arg_no) { aoai_aad off; "
        . "proxy_pass $to_other; } proxy_pass $to;"],
    ['limit_except', 1, 0,
        "limit_except PUT { proxy_pass $to; } proxy_pass $to_other;"],
    ['a nested location', 1, 0, "aoai_aad off; proxy_pass $to_other; "
        . "location %%PATH%%in/ { aoai_aad on; proxy_pass $to; }",
        path => 'in/x'],
    ['a nested location without it', 0, 1, "proxy_pass $to; location "
        . "%%PATH%%in/ { aoai_aad off; proxy_pass $to_other; }",
        path => 'in/x'],
    ['try_files to a named location', 1, 0,
        "aoai_aad off; try_files /missing \@token; proxy_pass $to_other;"],
    ['try_files to a plain named location', 0, 1,
        "try_files /missing \@plain; proxy_pass $to;"],
    ['mirror', 1, 1, "mirror /plain/copy; proxy_pass $to;"],
    ['mirror in', 1, 1,
        "aoai_aad off; mirror /token/copy; proxy_pass $to_other;"],
    ['mirror to both', 2, 2, 'mirror /plain/one; mirror /token/copy; '
        . "mirror /plain/two; proxy_pass $to;"],
    ['error_page', 1, 1, 'proxy_intercept_errors on; '
        . "error_page 500 = /plain/after; proxy_pass $to;", path => 'fails'],
    ['error_page to a named location', 1, 1, 'proxy_intercept_errors on; '
        . "error_page 500 = \@plain; proxy_pass $to;", path => 'breaks'],
    ['error_page in', 1, 1, 'aoai_aad off; proxy_intercept_errors on; '
        . "error_page 500 = /token/after; proxy_pass $to_other;",
        path => 'fails'],
    ['error_page for a connection that fails', 0, 1, 'error_page 502 504 = '
        . '@plain; proxy_pass http://127.0.0.1:%%PORT_nobody%%;'],
    ['X-Accel-Redirect', 1, 1, "proxy_pass $to;", path => 'goes-plain'],
    ['X-Accel-Redirect to a named location', 1, 1, "proxy_pass $to;",
        path => 'leaves'],
    ['X-Accel-Redirect in', 1, 1, "aoai_aad off; proxy_pass $to_other;",
        path => 'goes-token'],
    ['SSI', 1, 1, "ssi on; proxy_pass $to;", path => 'has-plain'],
    ['SSI in', 1, 1, "aoai_aad off; ssi on; proxy_pass $to_other;",
        path => 'has-token'],
    ['addition', 2, 1, 'addition_types *; add_before_body '
        . '/plain/before; add_after_body /token/after; '
        . "proxy_pass $to;"],
    ['auth_request', 1, 1,
        "auth_request /plain/auth; proxy_pass $to;"],
    ['auth_request in', 1, 1, 'aoai_aad off; '
        . "auth_request /token/auth; proxy_pass $to_other;"],
    ['post_action', 1, 1, "post_action /plain/action; proxy_pass $to;"],
    ['post_action in', 1, 1, 'aoai_aad off; post_action /token/action; '
        . "proxy_pass $to_other;"],
    ['slice', 3, 0, 'slice 1k; proxy_http_version 1.1; proxy_cache cache; '
        . 'proxy_cache_valid 206 1m; proxy_set_header Range $slice_range; '
        . "proxy_cache_key \$request_uri\$slice_range; proxy_pass $to;",
        path => 'slice', unbuffered => undef],
    ['cache', 1, 0, "proxy_cache cache; proxy_pass $to;", path => 'cached',
        times => 2],
    ['cache, background update', 2, 0, 'proxy_cache cache; '
        . 'proxy_cache_use_stale updating; proxy_cache_background_update on; '
        . "proxy_pass $to;", path => 'stale', times => 2,
        unbuffered => undef],
    ['cache, revalidated', 2, 0, 'proxy_cache cache; '
        . "proxy_cache_revalidate on; proxy_pass $to;", path => 'stale',
        times => 2],
    ['a stored file', 1, 0, 'proxy_store %%DIR%%/stored/$arg_cell; '
        . "proxy_pass $to;"],
    ['a server that fails, then another', 2, 0, 'proxy_next_upstream '
        . 'http_500 non_idempotent; proxy_pass http://failing_first;',
        unbuffered => [1, 0, 500]],
    ['a server that is closed, then another', 1, 0, 'proxy_next_upstream '
        . 'error non_idempotent; proxy_pass http://closed_first;'],
    ['a further server that is not allowed', 0, 0,
        'proxy_pass http://mixed;', status => 502],
    ['the other upstream', 0, 0, "proxy_pass $to_other;", status => 502],
    ['grpc_pass', 0, 1, 'grpc_pass grpc://127.0.0.1:%%PORT_grpc%%;'],
    ['headers of the location\'s own', 1, 0, 'proxy_set_header Authorization '
        . '$http_authorization; proxy_set_header api-key $http_api_key; '
        . "proxy_set_header Host x; proxy_pass $to;"],
    ['headers that are not passed', 1, 0, 'proxy_pass_request_headers off; '
        . "proxy_set_header X-Cell \$http_x_cell; proxy_pass $to;"],
);


# How the upstreams answer.
sub answer ($request, $) {
    my ($how) = $request->{path} =~ m{([^/]*)$};

    return [500, [], 'failed'] if $how eq 'fails'
        || $how eq 'breaks' && $request->{header}{authorization} !~ /mine/;
    return [200, ['X-Accel-Redirect' => "/$1/accel"], '']
        if $how =~ /^goes-(\w+)/;
    return [200, ['X-Accel-Redirect' => '@plain'], '']
        if $how eq 'leaves' && $request->{header}{authorization} !~ /mine/;
    return [200, ['Content-Type' => 'text/html'], "[<!--# include virtual="
        . "\"/$1/included\" -->]"] if $how =~ /^has-(\w+)/;
    return [200, ['X-Accel-Expires' => '@1000', ETag => '"1"',
        'Last-Modified' => 'Thu, 01 Jan 1970 00:00:01 GMT'], 'old']
        if $how eq 'stale';
    return [200, ['X-Accel-Expires' => 60], 'cached'] if $how eq 'cached';

    if ($how eq 'slice') {
        my ($from, $to) = ($request->{header}{range} // '') =~ /(\d+)-(\d+)/;
        $to = 2499 if $to > 2499;
        return [206, [ETag => '"1"', 'Content-Type' => 'text/plain',
            'Content-Range' => "bytes $from-$to/2500"],
            'x' x ($to - $from + 1)];
    }
    return [200, ['X-Credential' => 'of the upstream'], 'fine'];
}


# headers that nginx keeps in one piece, and more than that
my %HEADERS = (
    few => [],
    many => [map { ("X-Number-$_" => $_) } 1 .. 30],
);
my @mine = (Authorization => 'Bearer mine-alone', 'api-key' => 'my-key');

# name => [server, method, body]
my %BODIES = (
    'none' => ['buffered', 'GET'],
    'small' => ['buffered', 'POST', 'some'],
    'in a file' => ['kept', 'POST', 'x' x 20_000],
    'unbuffered' => ['unbuffered', 'POST', 'y' x 20_000],
);

# the servers that differ in how they treat a body
my %SERVERS = (
    buffered => '',
    kept => 'client_body_buffer_size 1k; client_body_in_file_only on;',
    unbuffered => 'proxy_http_version 1.1; proxy_request_buffering off;',
);

# every variable that could have it
my $variables = join '|', map { "\$$_" } qw(request request_uri args
    http_authorization http_api_key http_ocp_apim_subscription_key remote_user
    request_body upstream_addr upstream_http_authorization
    upstream_http_x_credential upstream_trailer_authorization
    sent_http_authorization proxy_add_x_forwarded_for aoai_aad_cache_status
    aoai_aad_credential aoai_aad_client_id aoai_aad_object_id
    aoai_aad_tenant_id aoai_aad_expires_in aoai_aad_wait_time);

my $nginx = $ENV{AOAI_AAD_NGINX} // 'PATH=$PATH:/usr/sbin nginx';
my $has_grpc = `$nginx -V 2>&1` !~ /--without-http_grpc_module/;
@WAYS = grep { $has_grpc || $_->[3] !~ /grpc_pass/ } @WAYS;

my $locations = '';
for my $i (0 .. $#WAYS) {
    my $text = $WAYS[$i][3] =~ s{%%PATH%%}{/$i/}gr;
    $locations .= "    location /$i/ { $text }\n";
}
for my $case (['token', "proxy_pass $to;"],
    ['plain', "aoai_aad off; proxy_pass $to_other;"])
{
    my ($name, $text) = @$case;
    $text = 'proxy_pass_request_body off; '
        . "proxy_set_header Content-Length ''; $text";
    $locations .= <<"END";
    location /$name/ { $text }
    location \@$name { $text }
END
}

sub server ($name) {
    return <<"END";
server {
    listen 127.0.0.1:%%PORT_$name%%;
    listen 127.0.0.1:%%PORT_${name}2%% http2;
    aoai_aad on;
    add_header X-All "$variables" always;
    $SERVERS{$name}
$locations
}
END
}

my $gateway = Test::Gateway->new(
    log_level => 'debug',
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    http => join '', <<"END", map { server($_) } sort keys %SERVERS)->start;
aoai_aad_credential managed_identity;
aoai_aad_allowed_hosts ${\$up->host_port} ${\$failing->host_port}
    127.0.0.1:%%PORT_nobody%% 127.0.0.1:%%PORT_grpc%%;

log_format all '$variables';
access_log %%DIR%%/all.log all;
log_format status '\$http_x_cell \$status';
access_log %%DIR%%/status.log status;
log_subrequest on;
root %%DIR%%/root;
proxy_cache_path %%DIR%%/cache keys_zone=cache:1m;
proxy_cache_methods GET HEAD POST;

upstream kept { server ${\$up->host_port}; keepalive 1; }
upstream failing_first {
    server ${\$failing->host_port} max_fails=0;
    server ${\$up->host_port} backup;
}
upstream closed_first {
    server 127.0.0.1:%%PORT_nobody%% max_fails=0;
    server ${\$up->host_port} backup;
}
upstream mixed {
    server ${\$up->host_port};
    server ${\$other->host_port} backup;
}

server {
    listen 127.0.0.1:%%PORT_grpc%% http2;
    location / { proxy_pass $to_other; }
}
END


# The cells: every row with every body, few and many headers, and both
# versions. A request and its subrequests are known by a header.
my @cells;
for my $way (0 .. $#WAYS) {
    for my $body (sort keys %BODIES) {
        for my $headers (sort keys %HEADERS) {
            push @cells, map { {
                way => $way, body => $body, headers => $headers,
                version => $_, id => 'c' . (@cells + ($_ == 2)),
            } } 1, 2;
        }
    }
}

sub target ($cell) {
    my (undef, undef, undef, undef, %more) = $WAYS[$cell->{way}]->@*;
    return "/$cell->{way}/" . ($more{path} // 'x') . "?cell=$cell->{id}";
}

sub headers ($cell) {
    return (@mine, 'X-Cell' => $cell->{id}, $HEADERS{$cell->{headers}}->@*);
}

sub rounds ($cell) {
    my (undef, undef, undef, undef, %more) = $WAYS[$cell->{way}]->@*;
    return $more{times} // 1;
}

# how many requests each upstream is to get, and the answer's status
sub expected ($cell) {
    my (undef, $count, $other_count, undef, %more)
        = $WAYS[$cell->{way}]->@*;
    return ($more{$cell->{body}} // [])->@* if exists $more{$cell->{body}};
    return $count, $other_count, $more{status} // 200;
}


# Asks over HTTP/1.1. Returns all that came back.
sub ask ($cell) {
    my ($server, $method, $body) = $BODIES{$cell->{body}}->@*;
    my $received = '';

    for (1 .. rounds($cell)) {
        my $answer = request($gateway->port($server), $method, target($cell),
            timeout => 10, body => $body,
            headers => [Host => 'gateway.test', headers($cell)]);
        $cell->{status} = $answer->{status};
        $received .= join "\n", map({ "@$_" } $answer->{headers}->@*),
            $answer->{body}, $answer->{error} // '';
    }
    return $received;
}

# Asks over HTTP/2 for many cells, with one curl. It has a connection for
# each, by a name of its own: some cannot use one again that began with HTTP/2.
sub ask_all (@cells) {
    my @configuration;
    for my $cell (map { ($_) x rounds($_) } @cells) {
        my $host = 'r' . @configuration . '.localhost';
        my ($server, $method, $body) = $BODIES{$cell->{body}}->@*;
        my $port = $gateway->port("${server}2");
        my @headers = headers($cell);
        push @configuration, "url = \"http://$host:$port" . target($cell) . '"',
            qw(http2-prior-knowledge ipv4 silent include max-time=10),
            "write-out = \"\\n$cell->{id} %{http_code} %{http_version}\\n\"",
            map({ "header = \"$headers[2 * $_]: $headers[2 * $_ + 1]\"" }
                0 .. $#headers / 2);
        if (defined $body) {
            write_file("$folder/$cell->{body}", $body);
            push @configuration,
                "data-binary = \"\@$folder/$cell->{body}\"";
        }
        push @configuration, 'next';
    }
    write_file("$folder/curl", join "\n", @configuration[0 .. $#configuration
        - 1]);
    await_exit(spawn(['/bin/sh', '-c', 'exec curl -K "$0"', "$folder/curl"],
        { PATH => $ENV{PATH} }, "$folder/output"), 120);

    my $received = read_file("$folder/output");
    my %status = $received =~ /^(c\d+) (\d+) 2$/mg;
    $_->{status} = $status{$_->{id}} || logged_status($_) for @cells;
    return $received;
}


# Curl may lose an answer that comes before it has sent all of the body; nginx
# has logged what it was, after those of subrequests.
sub logged_status ($cell) {
    my $line = qr/^$cell->{id} (\d+)$/m;
    my @statuses = $gateway->file_with('status.log', $line) =~ /$line/g;
    return $statuses[-1] // 0;
}


my $has_http2 = `curl --version 2>&1` =~ /^Features:.*\bHTTP2\b/m;
@cells = grep { ($has_http2 || $_->{version} == 1) && expected($_) } @cells;

# what clients received
my $received = join "\n", map({ ask($_) } grep { $_->{version} == 1 } @cells),
    $has_http2 ? ask_all(grep { $_->{version} == 2 } @cells) : ();

my ($count, $other_count) = (0, 0);
for my $cell (@cells) {
    my ($here, $there) = expected($cell);
    $count += $here;
    $other_count += $there;
}
wait_until { $up->count + $failing->count >= $count } 10;
$other->wait_for($other_count, 10);


# Who got what, by cell.
my @here = ($up->requests, $failing->requests);
my @there = $other->requests;
my ($token) = ($here[0]{header}{authorization} // '') =~ /^Bearer (.*)/;
my (undef, @secret_parts) = split /\./, $token;

sub by_cell (@requests) {
    my %requests;
    push $requests{$_->{header}{'x-cell'} // 'none'}->@*, $_ for @requests;
    return \%requests;
}

# one word for a request: what it has of the token and the client's own keys
sub has ($request) {
    my $text = "$request->{raw_head}$request->{body}";
    my @tokens = $text =~ /\Q$token\E/g;
    my @lines = $text =~ /^Authorization: (.*)\r$/mgi;
    my @keys = $text =~ /mine-alone|my-key/g;
    return 'the token' if @tokens == 1 && "@lines" eq "Bearer $token"
        && !@keys;
    return 'the client\'s' if !@tokens && "@lines" eq $mine[1]
        && @keys == 2;
    return @tokens . ' tokens, ' . @lines . ' lines, ' . @keys . ' keys';
}

my ($here, $there) = (by_cell(@here), by_cell(@there));
is_deeply [$here->{none}, $there->{none}], [undef, undef],
    'every request is known';

for my $cell (@cells) {
    my ($name) = $WAYS[$cell->{way}]->@*;
    my ($count, $other_count, $status) = expected($cell);
    is_deeply {
        status => $cell->{status},
        here => [map { has($_) } ($here->{$cell->{id}} // [])->@*],
        there => [map { has($_) } ($there->{$cell->{id}} // [])->@*],
    }, {
        status => $status,
        here => [('the token') x $count],
        there => [('the client\'s') x $other_count],
    }, "$name: body $cell->{body}, $cell->{headers} headers, "
        . "HTTP/$cell->{version}";
}


# Where no part of it is.
my %parts;
for my $part (@secret_parts) {
    $parts{substr $part, $_ * PART_CHARACTERS, PART_CHARACTERS} = 1
        for 0 .. length($part) / PART_CHARACTERS - 1;
}
my $part = join '|', map { quotemeta } sort keys %parts;

sub found ($text) {
    return scalar(my @found = $text =~ /$part/g);
}

cmp_ok scalar keys %parts, '>', 10, 'the token has parts to look for';
cmp_ok found(join '', map { $_->{raw_head} } @here), '>', 10 * @here,
    'and they are found where they should be';
is found(join '', map { "$_->{raw_head}$_->{body}" } @there), 0,
    'no part of the token went to the other upstream';
is found($received), 0, '... nor to a client';

my %size;
find({ no_chdir => 1, wanted => sub {
    return unless -f;
    my $file = substr $_, 1 + length $gateway->dir;
    my $text = read_file($_);
    my ($kind) = $file =~ m{^([^/]+)};
    $size{$kind} += length $text;
    is found($text), 0, "no part of it is in $file"
        if $kind =~ /\.log$/ || found($text);
} }, $gateway->dir);
cmp_ok $size{$_} // 0, '>', 0, "looked at: $_"
    for qw(all.log access.log error.log cache stored temp_client_body);

is $imds->count, 1, 'all of it took one token';

$gateway->stop;

done_testing;
