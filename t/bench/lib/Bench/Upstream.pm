# What the gateways talk to: an nginx in Azure OpenAI's place that refuses
# what does not carry the right token, and a token endpoint.

package Bench::Upstream;

use v5.36;

use Bench::Events;
use Bench::Machine qw(allocator pinned);

use Test::Gateway;
use Test::Gateway::Azure qw(jwt TENANT_ID);

# a parameter of nginx's has its limit, some 4 KB
use constant { TOKEN_BYTES => 1800, PIECE_BYTES => 2048, LIFE => 86400 };

# case => the bytes of its request's body and of the answer's
our %BYTES = (small => 200, big => 16384);


# Starts it. The object has
#   token       what it accepts
#   checked     its address, where a request needs the token
#   unchecked   the same where it may have no Authorization at all
#   endpoint    the URL of an IMDS and of an authority that give the token
#               without delay
sub new ($class) {
    my $token = jwt(exp => time + LIFE);
    $token .= 'x' x (TOKEN_BYTES - length $token);
    my $events = Bench::Events->new;
    my $nginx = Test::Gateway->new(module => 0, log_level => 'error',
        wrapper => [pinned('upstream')], env => { allocator() },
        http => _configuration($token, $events->port));
    $nginx->start;

    my %address = map { $_ => '127.0.0.1:' . $nginx->port($_) }
        qw(checked unchecked endpoint);
    return bless { nginx => $nginx, events => $events, token => $token,
        %address, endpoint => "http://$address{endpoint}" }, $class;
}


sub stop ($self) {
    $self->{nginx}->stop;
    $self->{events}->stop;
}


# The body of a request, for the case small, big or stream, as the clients of
# OpenAI send it.
sub request_body ($case) {
    my $stream = $case eq 'stream' ? '"stream":true,' : '';
    return _padded($BYTES{$case} // $BYTES{small},
        qq({"model":"gpt-4o-mini",$stream"messages":[{"role":"user",)
        . '"content":"', '"}]}', 'y');
}


sub answer_body ($case) {
    return _padded($BYTES{$case},
        '{"id":"chatcmpl-1","object":"chat.completion","created":1,'
        . '"model":"gpt-4o-mini","choices":[{"index":0,"finish_reason":'
        . '"stop","message":{"role":"assistant","content":"', '"}}]}', 'z');
}


# What the assistant says in it.
sub content ($case) {
    my ($content) = answer_body($case) =~ /"content":"(z+)"/;
    return $content;
}


sub _padded ($bytes, $start, $end, $letter) {
    return $start . $letter x ($bytes - length "$start$end") . $end;
}


sub _configuration ($token, $events) {
    my $refused = '{"error":{"code":"401","message":"wrong token"}}';
    my %expected = (checked => "Bearer $token", unchecked => '');
    my $servers = join '', map { <<"END" } sort keys %expected;
    server {
        listen 127.0.0.1:%%PORT_$_%%;
        if (\$http_authorization != '$expected{$_}') {
            return 401 '$refused';
        }

        ${\_answering('small')}
        ${\_answering('big')}
        location /openai/deployments/stream/ {
            proxy_pass http://127.0.0.1:$events;
            proxy_buffering off;
        }
    }
END

    my ($tenant, $life, $expires) = (TENANT_ID, LIFE, time + LIFE);
    my $answer = qq({"access_token":"$token","token_type":"Bearer",);
    return <<"END";
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    client_header_buffer_size 8k;
    client_body_buffer_size 64k;
    default_type application/json;
$servers
    server {
        listen 127.0.0.1:%%PORT_endpoint%%;
        set \$expires '"expires_in":"$life","expires_on":"$expires"';

        location /metadata/identity/oauth2/token {
            return 200 '$answer\$expires,"resource":"r"}';
        }

        location = /$tenant/oauth2/v2.0/token {
            return 200 '$answer"expires_in":$life}';
        }
    }
END
}


# A location for a deployment, whose answer is put together from pieces.
sub _answering ($case) {
    my @pieces = unpack '(a' . PIECE_BYTES . ')*', answer_body($case);
    my $set = join "\n            ",
        map { "set \$piece_$_ '$pieces[$_]';" } 0 .. $#pieces;
    my $all = join '', map { "\${piece_$_}" } 0 .. $#pieces;

    return <<"END";
location /openai/deployments/$case/ {
            $set
            return 200 $all;
        }
END
}

1;
