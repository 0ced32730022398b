# Throwaway certificates, made by the openssl command: for TLS on loopback,
# and for apps that sign with them.

package Test::Gateway::Certificates;

use v5.36;

use Exporter 'import';
use File::Temp;

use Test::Gateway::System qw(await_exit read_file spawn write_file);

our @EXPORT_OK = qw(app_certificate certificate openssl);

my $LOOPBACK = 'DNS:localhost,IP:127.0.0.1,IP:::1';
my %KIND = (
    good       => { ca => 'ca', names => $LOOPBACK, days => 7 },
    other_ca   => { ca => 'other-ca', names => $LOOPBACK, days => 7 },
    wrong_name => { ca => 'ca', names => 'DNS:wrong.invalid', days => 7 },
    other_name => { ca => 'ca', names => 'DNS:proxy.internal', days => 7 },
    expired    => { ca => 'ca', names => $LOOPBACK, days => -1 },
);


# Makes a server certificate: 'good' (for localhost, 127.0.0.1 and ::1),
# 'other_ca' (signed by a CA that the rest doesn't share), 'wrong_name',
# 'other_name' (proxy.internal) or 'expired' (since yesterday). Returns
# { ca, certificate, key }: PEM files that live as long as the process; ca is
# the one that signed. Dies if openssl fails.
sub certificate ($kind = 'good') {
    state %made;
    return $made{$kind} //= _make($kind, $KIND{$kind}
        // die "no such certificate: $kind\n");
}


# Makes a certificate of an app, which no CA has signed. Options: key => how
# openssl is told to make it, rsa:2048 unless given; days, 365 unless given
# and below 0 for one that has expired.
# Returns { certificate, key }: PEM files that live as long as the process.
sub app_certificate (%options) {
    state $number = 0;
    my $file = _folder() . '/app-' . ++$number;
    my @key = split / /, $options{key} // 'rsa:2048';

    openssl(qw(req -subj /CN=app -noenc -newkey), @key, '-keyout',
        "$file.key", '-out', "$file.csr");
    openssl(qw(x509 -req -days), $options{days} // 365, '-in', "$file.csr",
        '-signkey', "$file.key", '-out', "$file.pem");

    return { certificate => "$file.pem", key => "$file.key" };
}


sub _make ($name, $how) {
    my $folder = _folder();
    my $ca = "$folder/$how->{ca}";
    my $file = "$folder/$name";

    openssl(qw(req -x509 -days 7 -subj), "/CN=$how->{ca}", _new_key($ca),
        '-addext', 'keyUsage=critical,keyCertSign', '-out', "$ca.pem")
        unless -e "$ca.pem";

    write_file("$file.ext", "basicConstraints=CA:FALSE\n"
        . "extendedKeyUsage=serverAuth\nsubjectAltName=$how->{names}\n");
    openssl(qw(req -subj), "/CN=$name", _new_key($file),
        '-out', "$file.csr");
    openssl(qw(x509 -req -days), $how->{days}, '-in', "$file.csr",
        '-CA', "$ca.pem", '-CAkey', "$ca.key", '-extfile', "$file.ext",
        '-out', "$file.pem");

    return { ca => "$ca.pem", certificate => "$file.pem",
        key => "$file.key" };
}


sub _new_key ($file) {
    return (qw(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc),
        '-keyout', "$file.key");
}


sub _folder () {
    state $folder = File::Temp->newdir;
    return $folder;
}


# Runs the openssl command. Dies if it fails.
sub openssl (@arguments) {
    my $output = _folder() . '/output';
    my $pid = spawn(['/usr/bin/env', 'openssl', @arguments], \%ENV, $output);
    my $status = await_exit($pid, 30);
    die "openssl @arguments: exit $status\n", read_file($output) if $status;
}

1;
