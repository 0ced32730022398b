# The quickstart, from what a new user has: a clone of the repository.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use Test::More;

use Test::Gateway::System 'read_file';

my $root = realpath(dirname(__FILE__) . '/..');
my $folder = File::Temp->newdir;
my $run = "$folder/clone/examples/quickstart/run";

delete @ENV{grep { /^(?:AZURE|IDENTITY|MSI)_/ } keys %ENV};
$ENV{AZURE_POD_IDENTITY_AUTHORITY_HOST} = 'http://127.0.0.1:1';
$ENV{AZURE_AUTHORITY_HOST} = 'http://127.0.0.1:1';

# what is in the folder, as it would be committed
system "cd $root && mkdir $folder/clone && git ls-files -co --exclude-standard"
    . " config src examples | tar c -T - | tar x -C $folder/clone";


my ($status, $output) = quickstart();
is $status, 0, 'a first run builds and succeeds' or diag $output;

like $output, qr/Write a tagline for an ice cream brand:\n  \w/,
    'it prints the completion';
like $output, qr/streamed:\n.*\n  (?:\w+ ){5}/, 'and the streamed chat';
like $output, qr/managed_identity, its token valid for \d+ min/,
    'and says which identity was used, and for how long';
is_deeply [running()], [], 'it stops everything';


subtest '--serve' => sub {
    my ($status, $output) = quickstart('--serve');
    is $status, 0, 'a second run succeeds';

    my ($gateway) = $output =~ m{gateway is (http://127\.0\.0\.1:\d+)};
    my ($openai) = $output =~ m{Azure OpenAI  (http://127\.0\.0\.1:\d+)};
    my $path = '/openai/deployments/text-davinci-003/completions'
        . '?api-version=2022-12-01';

    like curl($gateway . $path, '-d', '{}'), qr/ice|scoop/i,
        'the gateway goes on answering';
    like curl($openai . $path, '-d', '{}'), qr/"statusCode": ?401/,
        'its upstream refuses who comes without a token';
    like curl($openai . $path, '-d', '{}', '-H',
        'Authorization: Bearer wrong'), qr/"statusCode": ?401/,
        'or with a wrong one';

    ($status) = quickstart('--stop');
    is $status, 0, '--stop stops it';
    is_deeply [running()], [], 'and leaves nothing';
};


for my $case (
    ['http://example.invalid', qr{https:// alone}],
    ['https://a.openai.azure.com/openai', qr/without a path/],
) {
    local $ENV{AZURE_OPENAI_ENDPOINT} = $case->[0];
    my ($status, $output) = quickstart();

    isnt $status, 0, "$case->[0] is refused";
    like $output, $case->[1], 'with the mend';
}

($status, $output) = quickstart('--nonsense');
isnt $status, 0, 'a wrong option is refused';
like $output, qr/--help|usage/, 'with the right ones';

done_testing;


sub quickstart (@arguments) {
    my $output = "$folder/output";
    system "$run @arguments > $output 2>&1 < /dev/null";
    return $?, read_file($output);
}


sub curl (@arguments) {
    open my $curl, '-|', 'curl', '-s', '--noproxy', '*', '--max-time', 10,
        @arguments or die "curl: $!\n";
    local $/;
    return readline($curl) // '';
}


# The nginxes that were started from the clone.
sub running () {
    return grep { read_file($_) =~ /\Q$folder\E/ } glob '/proc/[0-9]*/cmdline';
}
