# The library's own tests: each program of t/unit, its tests as a subtest.

use v5.36;

use Cwd 'realpath';
use File::Basename qw(basename dirname);
use TAP::Parser;
use Test::More;

my $root = realpath(dirname(__FILE__) . '/..');
my $build = $ENV{AOAI_AAD_BUILD} // "$root/.build";

my $output = `make -s -j4 -C $root/src unit-programs BUILD=$build 2>&1`;
is $?, 0, 'the programs are built' or BAIL_OUT($output);

local $ENV{CMOCKA_MESSAGE_OUTPUT} = 'TAP';

for my $source (sort glob "$root/t/unit/*_test.c") {
    my $name = basename($source, '.c');
    my $parser = TAP::Parser->new({ exec => ["$build/unit/$name"],
        merge => 1 });

    subtest $name => sub {
        while (my $result = $parser->next) {
            if ($result->is_test) {
                ok $result->is_ok, $result->description =~ s/^- //r;
            }
            elsif (!$result->is_plan && !$result->is_version) {
                diag $result->as_string;
            }
        }
        is $parser->exit, 0, 'the program ended well';
    };
}

done_testing;
