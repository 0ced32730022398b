# The house rules that a machine can check.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use Test::More;

use constant COLUMNS => 80;

my $root = realpath(dirname(__FILE__) . '/..');


sub lines ($file) {
    open my $handle, '<:raw', "$root/$file" or return;
    return readline $handle;
}


# The files of the checkout, those that aren't committed yet among them.
sub sources () {
    open my $git, '-|', 'git', '-C', $root, 'ls-files', '-co',
        '--exclude-standard', '--', 'src', 't', 'config'
        or return;
    chomp(my @files = readline $git);
    return grep { -f "$root/$_" } @files;
}


# The numbers of the lines that match, for the message of a test.
sub found ($file, $regex) {
    my $number = 0;
    return map { "$file:$_->[0]" } grep { $_->[1] =~ $regex }
        map { [++$number, $_] } lines($file);
}


# The lines with a comment that begins with two slashes, which are harmless
# in a string or in another comment.
sub comments_of_cpp ($file) {
    my $text = join '', lines($file);
    $text =~ s{ (//[^\n]*) | "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'
        | /\*.*?\*/ }{ $1 // $& =~ tr/\n//cdr }gsex;

    my $number = 0;
    return map { "$file:$_->[0]" } grep { $_->[1] =~ m{//} }
        map { [++$number, $_] } split /\n/, $text;
}


my @sources = -e "$root/.git" ? sources() : ();
plan skip_all => 'not in a git checkout' unless @sources;

my @c = grep { /\.[ch]$/ } @sources;
my @perl = grep { /\.(?:pm|pl|t)$/ } @sources;
my @page = grep { m{^src/.*\.(?:css|js)$} } @sources;
my @text = (@c, @perl, @page,
    grep { m{(?:^|/)(?:config|Makefile|[^./]+\.map)$} } @sources);

cmp_ok scalar @c, '>=', 20, 'the sources in C are found';
cmp_ok scalar @perl, '>=', 9, 'the sources in Perl are found';

is_deeply [map { found($_, qr/^[^\n]{${\(COLUMNS + 1)}}/) }
    @c, @perl, @page], [],
    'no line has more than ' . COLUMNS . ' columns';
is_deeply [map { found($_, qr/\t/) } grep { !/Makefile$/ } @text], [],
    'no tabs outside of Makefiles';
is_deeply [map { found($_, qr/[ \t\r]$/) } @text], [],
    'no blanks at the end of a line';
is_deeply [grep { ((lines($_))[-1] // '') !~ /\n\z/ } @text], [],
    'every file ends with a newline';
is_deeply [grep { ((lines($_))[-1] // '') =~ /^\s*$/ } @text], [],
    'no file ends with an empty line';

is_deeply [map { comments_of_cpp($_) } @c], [], 'no // comments in C';

my @library = grep { m{^src/aad/} } @c;
is_deeply [map { found($_, qr/^\s*#\s*include\s*[<"][^>"]*\bngx_/) }
    @library], [], 'the library includes no header of nginx';
is_deeply [map { found($_, qr/\bngx_\w+\s*\(/) } @library], [],
    'the library calls nothing of nginx';

my @tool = grep { m{^src/tool/} } @c;
cmp_ok scalar @tool, '>=', 2, 'the sources of the tool are found';
is_deeply [map { found($_, qr/^\s*\#\s*include\s*[<"](?:[^>"]*\bngx_
    |internal\.h)/x) } @tool], [],
    'the tool has the interface of the library, and nothing of nginx';
is_deeply [map { s/:.*//r } map { found($_, qr/<cjson\//) } @tool],
    ['src/tool/json.c'], 'and one file that knows cJSON';


# config and the sources
{
    my $config = join '', lines('config');
    my @listed = map { "src/$_" } $config
        =~ m{\$ngx_aoai_aad_src/(\w+/\w+\.c)\b}g;

    is_deeply \@listed, [sort grep { m{^src/(?:aad|nginx)/[^/]+\.c$} } @c],
        'config lists the .c files of the module, sorted, and no others';
}


# the module's symbols
SKIP: {
    my $module = $ENV{AOAI_AAD_MODULE}
        // "$root/.build/ngx_http_aoai_aad_module.so";
    skip 'no module that is loaded is built', 1
        if $ENV{AOAI_AAD_STATIC} || !-e $module;
    chomp(my @symbols = `nm -D --defined-only '$module' 2>&1`);
    skip 'no nm here', 1 if $?;

    is_deeply [sort map { s/@.*//r } map { (split)[-1] } @symbols],
        [qw(ngx_module_names ngx_module_order ngx_modules)],
        'the module exports what nginx looks for and nothing else';
}

done_testing;
