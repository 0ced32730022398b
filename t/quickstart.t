# The quickstart, from what a new user has: a clone of the repository.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use JSON::PP;
use Test::More;

use Test::Gateway::Azure
    qw(entra imds jwt openai CLIENT_ID CLIENT_SECRET TENANT_ID);
use Test::Gateway::System qw(read_file write_file);

use constant PROMPT => 'Write a tagline for an ice cream brand:';

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

my @module = module();


subtest '--serve' => sub {
    my ($status, $output) = quickstart('--serve');
    is $status, 0, 'a second run succeeds';
    is_deeply [module()], \@module, 'and builds nothing';

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


# the service itself, with an identity that the default chain finds
for my $case (
    ['managed_identity', 'my-deployment'],
    ['environment', 'my-deployment'],
    ['managed_identity', ''],
) {
    my ($identity, $deployment) = @$case;

    subtest "an endpoint, $identity, deployment '$deployment'" => sub {
        my $token = jwt(jti => $identity);
        my $openai = openai(token => $token, handler => \&answers);
        my $imds = imds(access_token => $token);
        my $entra = entra(access_token => $token, tls => 0);
        local @ENV{qw(AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET)}
            = (TENANT_ID, CLIENT_ID, CLIENT_SECRET);
        local $ENV{AZURE_AUTHORITY_HOST} = $entra->url;
        local $ENV{AZURE_POD_IDENTITY_AUTHORITY_HOST} = $imds->url
            if $identity eq 'managed_identity';
        local $ENV{AZURE_OPENAI_ENDPOINT} = $openai->url;
        local $ENV{AZURE_OPENAI_DEPLOYMENT} = $deployment;
        my ($status, $output) = quickstart();

        is $status, 0, 'the run succeeds' or diag $output;
        unlike $output, qr/stand-ins/, 'without stand-ins';
        like $output, qr/^  A real tagline\.$/m, 'it prints the completion';
        like $output, qr/^Identity: $identity, .* valid for \d+ min$/m,
            'and the identity';
        is is_streamed($output), length $deployment ? 1 : 0,
            'and the chat where there is a deployment for it';

        my ($completion, @chat) = $openai->requests;
        is $completion->{target}, '/openai/deployments/'
            . ($deployment || 'text-davinci-003')
            . '/completions?api-version=2022-12-01', 'the completion is asked';
        is_deeply decode_json($completion->{body}),
            { prompt => PROMPT, max_tokens => 100 }, 'as it should be';
        is_deeply [map { $_->{target} =~ s/\?.*//r } @chat],
            [map { "/openai/deployments/$_/chat/completions" }
                grep { length } $deployment], 'then the chat';
        is_deeply [grep { exists $_->{header}{'api-key'} }
            $completion, @chat], [], 'no key comes by';
        is_deeply [running()], [], 'and nothing is left';
    };
}


subtest 'an nginx of before 1.19.5' => sub {
    mkdir "$folder/bin";
    chomp(my $nginx = `PATH=\$PATH:/usr/sbin command -v nginx`);
    # no shell, which would add variables to an environment that is empty
    write_file("$folder/bin/nginx", <<"END", 0755);
#!$^X
exit !print grep { !/^  -e / } `$nginx -h 2>&1` if "\@ARGV" eq '-h';
die qq(nginx: invalid option: "e"\n) if grep { \$_ eq '-e' } \@ARGV;
exec '$nginx', \@ARGV;
END
    local $ENV{PATH} = "$folder/bin:$ENV{PATH}";
    my ($status, $output) = quickstart();

    is $status, 0, 'has no option -e, which is not needed' or diag $output;
    is_deeply [running()], [], 'and is stopped like any';
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


# The module's inode and time: a module that is built again is a new file.
sub module () {
    return (stat "$folder/clone/.build/ngx_http_aoai_aad_module.so")[1, 9];
}


# Answers as the service does; the chat in small pieces.
sub answers ($request, $reply, $usual) {
    my $usually = $usual->();
    return $usually if $usually->[0] != 200;

    return [200, ['Content-Type' => 'application/json'], encode_json(
        { choices => [{ text => "\n\nA real tagline." }] })]
        if $request->{path} !~ /chat/;
    return [200, ['Content-Type' => 'text/event-stream'], join '',
        map({ 'data: ' . encode_json({ choices => [{ delta =>
            { content => $_ } }] }) . "\n\n" } 'Scoops', ' of', ' words.'),
        "data: [DONE]\n\n"];
}


sub is_streamed ($output) {
    return $output =~ /^  Scoops of words\.$/m ? 1 : 0;
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
