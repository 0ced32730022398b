# What the module adds to a request, in instructions, is not above the ceiling
# that t/bench/instructions.ceiling keeps.

use v5.36;

use Config;
use Cwd 'realpath';
use File::Basename 'dirname';
use Test::More;

my $count = realpath(dirname(__FILE__) . '/bench/instructions');

plan skip_all => 'the ceilings are those of x86-64'
    unless $Config{archname} =~ /^x86_64/;

my $output = `$count --check 2>&1`;
is $?, 0, 'no way to a token takes more instructions than its ceiling'
    or diag $output;
my %added = $output =~ /^(\w+ +\w+) +\d+ +([+-]\d+)$/mg;
is scalar(keys %added), 15, 'each way was counted, for each request'
    or diag $output;
cmp_ok $added{$_} // 0, '>', 100, "$_: it is what it was made for"
    for grep { !/ (?:plain|module)$/ } sort keys %added;

done_testing;
