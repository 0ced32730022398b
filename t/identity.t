# Our library beside @azure/identity: both send the same, but for what is
# listed in sdk/identity-flows.mjs. AOAI_AAD_FLOW is a pattern for the names
# of the flows to be tested; all of them.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use TAP::Parser;
use Test::More;

use Test::Gateway::Certificates 'certificate';
use Test::Gateway::System qw(await_exit read_file spawn write_file);

my $root = realpath(dirname(__FILE__) . '/..');
my $tool = $ENV{AOAI_AAD_TOOL} // "$root/.build/aoai-aad";
my $build = $ENV{AOAI_AAD_BUILD} // "$root/.build";
my $only = $ENV{AOAI_AAD_FLOW};
my $password = 'pass word~1';

my $output = `make -s -C $root/src sdk-programs BUILD=$build 2>&1`;
is $?, 0, 'the program that has a caller is built' or BAIL_OUT($output);

my $folder = File::Temp->newdir;
my $server = certificate();
my $app = app();

my $parser = TAP::Parser->new({ exec => ['node', "$root/t/sdk/identity.mjs",
    "--tool=$tool", "--on-behalf-of=$build/on-behalf-of",
    "--folder=$folder/work", "--ca=$server->{ca}",
    "--cert=$server->{certificate}", "--key=$server->{key}",
    "--pem=$app->{pem}", "--encrypted-pem=$app->{encrypted_pem}",
    "--password=$password", $only ? "--only=$only" : ()], merge => 1 });

while (my $result = $parser->next) {
    if ($result->is_test && $result->has_skip) {
        my $name = $result->description =~ s/^- //r;
        SKIP: { skip "$name: " . $result->explanation, 1 }
    }
    elsif ($result->is_test) {
        ok $result->is_ok, $result->description =~ s/^- //r;
    }
    elsif (!$result->is_plan && !$result->is_version) {
        diag $result->as_string;
    }
}
is $parser->exit, 0, 'the program ended well';

done_testing;


# An app's key, its certificate and the one that signed that, in a PEM file,
# and the same with a key that has a password.
sub app () {
    my $ca = "$folder/app-ca";
    my $app = "$folder/app";
    mkdir "$folder/work" or die "$folder/work: $!\n";

    openssl(qw(req -x509 -days 7 -subj /CN=app-ca -newkey rsa:2048 -noenc),
        '-addext', 'keyUsage=critical,keyCertSign', '-keyout', "$ca.key",
        '-out', "$ca.pem");
    openssl(qw(req -subj /CN=app -newkey rsa:2048 -noenc),
        '-keyout', "$app.key", '-out', "$app.csr");
    openssl(qw(x509 -req -days 7), '-in', "$app.csr", '-CA', "$ca.pem",
        '-CAkey', "$ca.key", '-out', "$app.crt");
    openssl(qw(pkcs8 -topk8), '-in', "$app.key", '-out', "$app.encrypted.key",
        '-passout', "pass:$password");

    my $chain = read_file("$app.crt") . read_file("$ca.pem");
    write_file("$app.pem", read_file("$app.key") . $chain, 0600);
    write_file("$app.encrypted.pem",
        read_file("$app.encrypted.key") . $chain, 0600);
    return { pem => "$app.pem", encrypted_pem => "$app.encrypted.pem" };
}


sub openssl (@arguments) {
    my $output = "$folder/openssl.output";
    my $pid = spawn(['/usr/bin/env', 'openssl', @arguments], \%ENV, $output);
    my $status = await_exit($pid, 30);
    die "openssl @arguments: exit $status\n", read_file($output) if $status;
}
