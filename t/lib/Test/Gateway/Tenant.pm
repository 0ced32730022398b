# A tenant of Entra ID: its keys, what it publishes of them, callers' tokens
# that it has signed, and their exchange.

package Test::Gateway::Tenant;

use v5.36;

use Exporter 'import';
use File::Temp;
use JSON::PP;
use MIME::Base64 'encode_base64url';

use Test::Gateway::Azure
    qw(form jwt CLIENT_ID CLIENT_SECRET OBJECT_ID TENANT_ID);
use Test::Gateway::Certificates 'openssl';
use Test::Gateway::Server;
use Test::Gateway::System qw(read_file write_file);

our @EXPORT_OK = qw(caller_token tenant AUDIENCE CALLER_ID PERSON_ID);

use constant {
    AUDIENCE  => 'api://gateway',
    CALLER_ID => '66666666-ffff-4fff-8fff-666666666666',
    PERSON_ID => '77777777-aaaa-4aaa-8aaa-777777777777',
};

my $JSON = JSON::PP->new->ascii->canonical;


# Starts one. tenant, its GUID; port; published => the names of the keys that
# it publishes, ['first']. life, of exchanged tokens in seconds; exchange =>
# sub ($request, \%form, $usual), which may answer otherwise. In the mode
# "keys NAME ..." it publishes those instead, in "slow keys NAME ..." after a
# second, in one of three digits everything has that status.
# Returns a running Test::Gateway::Server.
sub tenant (%args) {
    my $id = $args{tenant} // TENANT_ID;
    my $life = $args{life} // 3599;

    key($_) for qw(first second);

    my $handler = sub ($request, $) {
        my $mode = $request->{mode};
        my $base = 'http://' . $request->{header}{host};
        return json($mode, { error => 'temporarily_unavailable' })
            if $mode =~ /^\d{3}$/;

        if ($request->{path} =~
            m{^/\Q$id\E(/v2\.0)?/\.well-known/openid-configuration$})
        {
            return json(200, { jwks_uri => "$base/$id/discovery/keys",
                issuer => issuer($id, $1 ? 2 : 1) });
        }
        if ($request->{path} eq "/$id/discovery/keys") {
            sleep 1 if $mode =~ /^slow/;
            my @names = $mode =~ /^(?:slow )?keys (.*)/ ? split / /, $1
                : @{ $args{published} // ['first'] };
            return json(200, { keys => [map { public($_) } @names] });
        }
        return json(404, { error => 'not_found' })
            if "$request->{method} $request->{path}"
            ne "POST /$id/oauth2/v2.0/token";

        my %form = form($request->{body});
        my $usual = sub { exchange($request, $id, $life, %form) };
        return $args{exchange}
            ? $args{exchange}->($request, \%form, $usual) : $usual->();
    };
    return Test::Gateway::Server->new(handler => $handler,
        port => $args{port});
}


# The answer to an exchange: a token whose jti is "behalf-NUMBER", of the
# person in the assertion.
sub exchange ($request, $id, $life, %form) {
    my $wrong = sub ($code, $text, $error = 'invalid_grant') {
        return json(400, { error => $error, error_codes => [$code],
            error_description => "AADSTS$code: $text" });
    };
    return $wrong->(70003, 'Wrong grant', 'unsupported_grant_type')
        if ($form{grant_type} // '')
        ne 'urn:ietf:params:oauth:grant-type:jwt-bearer'
        || ($form{requested_token_use} // '') ne 'on_behalf_of';
    return $wrong->(7000215, 'Invalid client secret', 'invalid_client')
        if ($form{client_secret} // '') ne CLIENT_SECRET;

    my $claims = claims($form{assertion} // '')
        // return $wrong->(50027, 'Malformed', 'invalid_request');
    return $wrong->(7000114, 'An app alone')
        if ($claims->{idtyp} // '') eq 'app';
    return json(200, { token_type => 'Bearer', expires_in => $life,
        access_token => jwt(jti => "behalf-$request->{number}",
            oid => $claims->{oid}, tid => $id, exp => time + $life) });
}


sub claims ($token) {
    my (undef, $payload) = split /\./, $token;
    my $text = MIME::Base64::decode_base64url($payload // '');
    return eval { $JSON->decode($text) };
}


sub issuer ($id, $version) {
    return $version == 2 ? "http://127.0.0.1/$id/v2.0"
        : "http://127.0.0.1/$id/";
}


# A token of a person that an app has asked for, signed with the key "first".
# The claims are added; undef takes one away. header => \%more, key => a
# name, alg and signature => what is there instead.
sub caller_token (%claims) {
    my %how = map { $_ => delete $claims{$_} }
        grep { exists $claims{$_} } qw(header key alg signature tenant);
    my $id = $how{tenant} // TENANT_ID;
    my $now = time;
    %claims = (iss => issuer($id, 2), aud => AUDIENCE, tid => $id,
        oid => PERSON_ID, azp => CALLER_ID, preferred_username => 'a@b.test',
        scp => 'access', iat => $now, nbf => $now, exp => $now + 3599,
        ver => '2.0', %claims);
    delete @claims{grep { !defined $claims{$_} } keys %claims};

    my $key = $how{key} // 'first';
    my %header = (alg => $how{alg} // 'RS256', typ => 'JWT',
        kid => key_id($key), %{ $how{header} // {} });
    my $signed = join '.', map { encode_base64url($JSON->encode($_)) }
        \%header, \%claims;
    return "$signed." . encode_base64url($how{signature}
        // signature($signed, $key));
}


sub signature ($text, $name) {
    my $file = folder() . '/text';
    write_file($file, $text);
    openssl(qw(dgst -sha256 -sign), key($name), '-out', "$file.signature",
        $file);
    return read_file("$file.signature");
}


# The file of a key, which is made when it is needed first.
sub key ($name) {
    my $file = folder() . "/$name.pem";
    openssl(qw(genrsa -out), $file, 2048) unless -e $file;
    return $file;
}

sub key_id ($name) { return "key-$name" }


# As a key set has it.
sub public ($name) {
    my $key = key($name);
    my ($modulus) = `openssl rsa -noout -modulus -in $key`
        =~ /Modulus=([0-9A-F]+)/;
    return { kty => 'RSA', use => 'sig', kid => key_id($name), e => 'AQAB',
        n => encode_base64url(pack 'H*', $modulus) };
}


sub json ($status, $content) {
    return [$status, ['Content-Type' => 'application/json'],
        $JSON->encode($content)];
}


sub folder () {
    state $folder = File::Temp->newdir;
    return $folder;
}

1;
