# Stand-ins for the services that the module talks to.

package Test::Gateway::Azure;

use v5.36;

use Exporter 'import';
use JSON::PP;
use MIME::Base64 'encode_base64url';
use POSIX 'strftime';

use Test::Gateway::AzureCli qw(az az_calls azd azd_calls);
use Test::Gateway::Certificates 'certificate';
use Test::Gateway::Server;

our @EXPORT_OK = qw(
    app_service arc az az_calls azd azd_calls azure_ml cloud_shell entra form
    imds jwt openai sent_token service_fabric
    CLIENT_ID CLIENT_SECRET OBJECT_ID TENANT_ID
);

use constant {
    TENANT_ID     => '11111111-aaaa-4aaa-8aaa-111111111111',
    CLIENT_ID     => '22222222-bbbb-4bbb-8bbb-222222222222',
    OBJECT_ID     => '33333333-cccc-4ccc-8ccc-333333333333',
    CLIENT_SECRET => 'a~secret.with-signs_+/=&%',
    LIFE_SECONDS  => 3599,
    AUDIENCE      => 'https://cognitiveservices.azure.com',
};

my $JSON = JSON::PP->new->ascii->canonical;


# Each stand-in returns a running Test::Gateway::Server. All of them take
#   handler  sub ($request, $reply, $usual) instead of the usual answer,
#            which $usual->() returns; a lone sub as the only argument too
#   tls      a certificate; port: a certain port
# The token services take also
#   life     how many seconds the tokens are said to live; 3599
#   others   fields of the answer: value, sub ($request), or undef for none
# Tokens are JWTs that differ from each other by jti: "token-NUMBER".
# A mode of three digits makes the answer that status with an error.


# The instance metadata service. Its fields are all strings.
sub imds (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;

    return _serve(\%args, \&_imds_error, sub ($request) {
        my $error = sub { _imds_error($request, @_) };
        my %query = form($request->{query});

        return $error->(404, 'not_found', 'No such path')
            if "$request->{method} $request->{path}"
            ne 'GET /metadata/identity/oauth2/token';
        return $error->(400, 'bad_request_102', 'No Metadata header')
            if ($request->{header}{metadata} // '') ne 'true';
        return $error->(403, 'forbidden', 'The request was forwarded')
            if exists $request->{header}{'x-forwarded-for'};
        return $error->(400, 'invalid_request', 'Bad api-version')
            if ($query{'api-version'} // '') ne '2018-02-01';
        return $error->(400, 'invalid_resource', 'No resource')
            unless $query{resource};

        return _answer($request, \%args,
            access_token => _identity_token($request, $life, %query),
            expires_in => "$life", expires_on => '' . (time + $life),
            resource => $query{resource}, token_type => 'Bearer');
    });
}

sub _imds_error ($request, $status, $error = 'unknown', $text = 'Failed') {
    return _json($status, { error => $error, error_description => $text });
}


# The identity endpoint of App Service, under any path. secret is what
# X-IDENTITY-HEADER must hold; 'identity-header' unless given.
sub app_service (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;
    my $secret = delete $args{secret} // 'identity-header';

    return _serve(\%args, \&_app_service_error, sub ($request) {
        my $error = sub { _app_service_error($request, @_) };
        my %query = form($request->{query});

        return $error->(401, 'Wrong X-IDENTITY-HEADER')
            if ($request->{header}{'x-identity-header'} // '') ne $secret;
        return $error->(400, 'Bad api-version')
            if ($query{'api-version'} // '') ne '2019-08-01';
        return $error->(400, 'No resource') unless $query{resource};

        return _answer($request, \%args,
            access_token => _identity_token($request, $life, %query),
            client_id => $query{client_id} // CLIENT_ID,
            expires_on => '' . (time + $life),
            resource => $query{resource}, token_type => 'Bearer');
    });
}

sub _app_service_error ($request, $status, $text = 'Failed') {
    return _json($status, { statusCode => $status + 0, message => $text,
        correlationId => _id($request) });
}


# Azure Machine Learning, under any path. secret as above.
sub azure_ml (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;
    my $secret = delete $args{secret} // 'identity-header';

    return _serve(\%args, \&_app_service_error, sub ($request) {
        my $error = sub { _app_service_error($request, @_) };
        my %query = form($request->{query});

        return $error->(401, 'Wrong secret')
            if ($request->{header}{secret} // '') ne $secret;
        return $error->(400, 'Bad api-version')
            if ($query{'api-version'} // '') ne '2017-09-01';
        return $error->(400, 'No resource') unless $query{resource};

        return _answer($request, \%args,
            access_token => _identity_token($request, $life,
                resource => $query{resource}, client_id => $query{clientid}),
            expires_on => strftime('%m/%d/%Y %H:%M:%S +00:00',
                gmtime time + $life),
            resource => $query{resource}, token_type => 'Bearer');
    });
}


# Cloud Shell, under any path.
sub cloud_shell (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;

    return _serve(\%args, \&_coded_error, sub ($request) {
        my $error = sub { _coded_error($request, @_) };
        my %form = form($request->{body});

        return $error->(404, 'NotFound')
            if $request->{method} ne 'POST' || length $request->{query};
        return $error->(400, 'MissingMetadataHeader')
            if ($request->{header}{metadata} // '') ne 'true';
        return $error->(400, 'AudienceNotSupported') unless $form{resource};

        return _answer($request, \%args,
            access_token => _identity_token($request, $life, %form),
            expires_in => "$life", expires_on => '' . (time + $life),
            refresh_token => '', resource => $form{resource},
            token_type => 'Bearer');
    });
}


# Service Fabric, under any path, over TLS with the good certificate unless
# tls says otherwise. secret as above.
sub service_fabric (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;
    my $secret = delete $args{secret} // 'identity-header';
    $args{tls} //= certificate('good');

    return _serve(\%args, \&_coded_error, sub ($request) {
        my $error = sub { _coded_error($request, @_) };
        my %query = form($request->{query});

        return $error->(401, 'SecretHeaderNotFound')
            if ($request->{header}{secret} // '') ne $secret;
        return $error->(400, 'InvalidApiVersion')
            if ($query{'api-version'} // '') ne '2019-07-01-preview';
        return $error->(400, 'ArgumentNullOrEmpty') unless $query{resource};

        return _answer($request, \%args,
            access_token => _identity_token($request, $life, %query),
            expires_on => time + $life, resource => $query{resource},
            token_type => 'Bearer');
    });
}

sub _coded_error ($request, $status, $code = 'InternalError') {
    return _json($status, { error => { code => $code, message => 'Failed',
        correlationId => _id($request) } });
}


# Arc's agent. realm is the file that it names in its challenge; key is what
# stands in it. It repeats the id that was chosen unless is_old.
sub arc (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;
    my ($realm, $key, $is_old) = delete @args{qw(realm key is_old)};

    return _serve(\%args, \&_imds_error, sub ($request) {
        my $error = sub { _imds_error($request, @_) };
        my %query = form($request->{query});

        return $error->(400, 'bad_request_102', 'No Metadata header')
            if ($request->{header}{metadata} // '') ne 'true';
        return $error->(400, 'invalid_request', 'Bad api-version')
            if ($query{'api-version'} // '') ne '2020-06-01';
        return $error->(400, 'invalid_resource', 'No resource')
            unless $query{resource};
        return [401, ['WWW-Authenticate' => "Basic realm=$realm"]]
            if ($request->{header}{authorization} // '') ne "Basic $key";

        my @ids = $is_old ? () : grep { exists $query{$_} }
            qw(client_id object_id msi_res_id);
        return _answer($request, \%args,
            access_token => _identity_token($request, $life,
                $is_old ? (resource => $query{resource}) : %query),
            expires_in => "$life", expires_on => '' . (time + $life),
            resource => $query{resource}, token_type => 'Bearer',
            map { $_ => uc $query{$_} } @ids);
    });
}


# The authority's token endpoint, over TLS with the good certificate unless
# tls says otherwise (0: without). tenant, client_id and client_secret are
# what it accepts: the constants above unless given, and no secret is asked
# for if client_secret is ''.
sub entra (@args) {
    my %args = _arguments(@args);
    my $life = delete $args{life} // LIFE_SECONDS;
    my $tenant = delete $args{tenant} // TENANT_ID;
    $args{tls} //= certificate('good');
    my $client = delete $args{client_id} // CLIENT_ID;
    my $secret = delete $args{client_secret} // CLIENT_SECRET;

    return _serve(\%args, \&_entra_error, sub ($request) {
        my $error = sub { _entra_error($request, @_) };
        my %form = form($request->{body});
        my ($asked) = "$request->{method} $request->{path}"
            =~ m{^POST /([^/]+)/oauth2/v2\.0/token$}
            or return $error->(404, 'not_found', 900144, 'No such path');

        return $error->(400, 'invalid_request', 90002, "No tenant '$asked'")
            if $asked ne $tenant;
        for my $name (qw(grant_type client_id scope)) {
            return $error->(400, 'invalid_request', 900144, "No '$name'")
                unless length($form{$name} // '');
        }
        return $error->(400, 'unauthorized_client', 700016,
            "No application '$form{client_id}'")
            if $form{client_id} ne $client;
        return $error->(401, 'invalid_client', 7000215,
            'Invalid client secret provided')
            if length $secret && ($form{client_secret} // '') ne $secret;

        return _answer($request, \%args,
            token_type => 'Bearer', expires_in => $life,
            access_token => _token($request, $life, tid => $tenant,
                appid => $client, aud => $form{scope} =~ s{/\.default$}{}r));
    });
}

sub _entra_error ($request, $status, $error = 'temporarily_unavailable',
    $code = 90033, $text = 'A transient error has occurred')
{
    my $time = strftime('%Y-%m-%d %H:%M:%SZ', gmtime);
    my $id = _id($request);

    return _json($status, {
        error => $error, error_codes => [$code], timestamp => $time,
        error_description => "AADSTS$code: $text. Trace ID: $id "
            . "Correlation ID: $id Timestamp: $time",
        trace_id => $id, correlation_id => $id,
    });
}


# An upstream in Azure OpenAI's place. Answers with a JSON listing of what
# it received: method, target, path, query, headers, body, number. token
# is the one that it accepts, or sub ($token); any, unless given.
sub openai (@args) {
    my %args = _arguments(@args);
    my $expected = delete $args{token};

    return _serve(\%args, \&_openai_error, sub ($request) {
        my ($token) = ($request->{header}{authorization} // '')
            =~ /^Bearer (.+)$/;
        my $is_right = !defined $expected ? 1 : !defined $token ? 0
            : ref $expected ? $expected->($token) : $token eq $expected;

        return _json(401, { statusCode => 401, message => 'Unauthorized. '
            . 'Access token is missing, invalid, audience is incorrect ('
            . AUDIENCE . '), or have expired.' })
            unless $is_right;

        my @listed = qw(method target path query headers body number);
        return _json(200, { map { $_ => $request->{$_} } @listed });
    });
}

# The token that such an upstream got, by its answer; '' if it got none.
sub sent_token ($answer) {
    my %headers = map { lc $_->[0] => $_->[1] }
        ($answer->{json}{headers} // [])->@*;
    return ($headers{authorization} // '') =~ s/^Bearer //r;
}


sub _openai_error ($request, $status) {
    return _json($status, { error => { code => "$status",
        message => 'The service failed.' } });
}


# A well-formed JWT whose signature means nothing. The claims are added to
# aud, oid, appid, tid, iat and exp (in an hour); undef takes one away.
sub jwt (%claims) {
    my $now = time;
    %claims = (aud => AUDIENCE, oid => OBJECT_ID, appid => CLIENT_ID,
        tid => TENANT_ID, iat => $now, exp => $now + LIFE_SECONDS, %claims);
    delete @claims{grep { !defined $claims{$_} } keys %claims};

    my %header = (alg => 'RS256', typ => 'JWT', kid => 'test');
    return join '.', map { encode_base64url($_) }
        $JSON->encode(\%header), $JSON->encode(\%claims), "\xff\xee" x 128;
}


# Decodes a query string or form. Returns a list of names and values.
sub form ($text) {
    return map { tr/+/ /r =~ s/%([0-9a-f]{2})/chr hex $1/gier }
        map { /^([^=]*)=?(.*)$/s } split /&/, $text;
}


sub _arguments (@args) {
    return @args == 1 ? (handler => @args) : @args;
}


sub _serve ($args, $error, $usual) {
    my $handler = delete $args->{handler} // sub { $_[2]->() };
    my %server = map { $_ => delete $args->{$_} } qw(tls port);

    return Test::Gateway::Server->new(%server,
        handler => sub ($request, $reply) {
            return $error->($request, $request->{mode})
                if $request->{mode} =~ /^\d{3}$/;
            return $handler->($request, $reply, sub { $usual->($request) });
        });
}


sub _answer ($request, $changes, %answer) {
    while (my ($name, $value) = each %$changes) {
        $answer{$name} = ref $value eq 'CODE' ? $value->($request) : $value;
    }
    delete @answer{grep { !defined $answer{$_} } keys %answer};
    return _json(200, \%answer);
}


sub _json ($status, $content) {
    return [$status, ['Content-Type' => 'application/json; charset=utf-8'],
        $JSON->encode($content)];
}


sub _token ($request, $life, %claims) {
    return jwt(jti => "token-$request->{number}", exp => time + $life,
        %claims);
}


sub _identity_token ($request, $life, %query) {
    return _token($request, $life, aud => $query{resource},
        appid => $query{client_id} // CLIENT_ID);
}


# A GUID that tells which request was answered.
sub _id ($request) {
    return sprintf '44444444-dddd-4ddd-8ddd-%012d', $request->{number};
}

1;
