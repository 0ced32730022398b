# The build: what is missing is named in one line, what is there is built for
# the nginx at hand, for any source tree, into it or beside it.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai);
use Test::Gateway::Client 'request';
use Test::Gateway::System 'write_file';
use Test::Gateway::Tool 'tool';

use constant DEBIAN => '/usr/share/nginx/src';

# Most of the time is the compiler's.
use constant QUICKLY => 'CFLAGS=-O0';

my $root = realpath(dirname(__FILE__) . '/..');
my $folder = File::Temp->newdir;
my $source = `$root/t/lib/nginx-source`
    or BAIL_OUT('the source of nginx cannot be fetched');
chomp $source;


# A compiler that does not have a header is one on a machine without it.
my $compiler = "$folder/cc";
write_file($compiler, <<'END', 0755);
#!/bin/sh
for argument; do
    case $argument in
        *.c) [ -z "$MISSING" ] || ! grep -q "$MISSING" "$argument" || exit 1
    esac
done
exec gcc "$@"
END

for my $case (
    ['curl/curl.h', '', 'libcurl 7.77 or later', 'libcurl4-openssl-dev'],
    ['cjson/cJSON.h', '', 'cJSON 1.7.13 or later', 'libcjson-dev'],
    ['EVP_MD_CTX_new', '', 'OpenSSL 1.1.1 or later', 'libssl-dev'],
    ['', '--without-http_proxy_module', 'the http proxy module', 'nginx-dev'],
) {
    my ($header, $argument, $what, $package) = @$case;
    local $ENV{MISSING} = $header;
    my $output = configure("--with-cc=$compiler --with-threads $argument");

    isnt $?, 0, "configure stops without $what";
    is_named($output, $what, $package);
}

my $output = configure('');
isnt $?, 0, 'configure stops without threads';
is_named($output, 'threads', 'nginx-dev');


$output = `make -s -C $root/src module BUILD=$folder/none NGINX_SRC=/none 2>&1`;
isnt $?, 0, 'make stops without an nginx';
like $output, qr/^error: .*install Debian's package nginx-dev/m,
    'and names the package';


# the same version from elsewhere: --with-compat makes it fit
make('module', "NGINX_SRC=$source", "BUILD=$folder/tree", QUICKLY);

make('install', "DESTDIR=$folder/root");
my ($modules) = `nginx -V 2>&1` =~ /--modules-path=(\S+)/;
my $installed = "$folder/root$modules/ngx_http_aoai_aad_module.so";
ok -s $installed, 'make install puts the module where nginx looks for it';
is_tool("$folder/root/usr/bin/aoai-aad");

make('install', "DESTDIR=$folder/other", 'BINDIR=/usr/sbin');
is_tool("$folder/other/usr/sbin/aoai-aad");

make('tool', 'NGINX_SRC=/none', "BUILD=$folder/tool", QUICKLY);
is_tool("$folder/tool/aoai-aad");

for my $module ("$folder/tree/ngx_http_aoai_aad_module.so", $installed) {
    serves(module => $module);
}


# and into an nginx that has little else
make('nginx', "NGINX_SRC=$source", "BUILD=$folder/static", QUICKLY,
    "'CONFIGURE=--with-threads --without-pcre --without-http_rewrite_module"
    . " --without-http_gzip_module'");
{
    local $ENV{AOAI_AAD_STATIC} = 1;
    serves(nginx => "$folder/static/nginx");
}

done_testing;


# Runs nginx's configure over our config. Returns what it printed.
sub configure ($arguments) {
    my $objects = File::Temp->newdir;
    my $command = './configure --builddir=' . $objects . '/o'
        . " --add-dynamic-module=$root $arguments";
    return `cd ${\DEBIAN} && $command 2>&1`;
}


sub is_named ($output, $what, $package) {
    my @lines = $output =~ /^(.*: error: .*)$/mg;

    is @lines, 1, 'in one line';
    like $lines[0] // '', qr/ngx_http_aoai_aad_module\ needs\ .*\Q$what\E
        .*Debian(?:'s)?\ package.*\Q$package\E/x, "that names it and $package";
}


sub make (@arguments) {
    my $output = `make -s -C $root/src @arguments 2>&1`;
    is $?, 0, "make @arguments" =~ s/\Q$folder\E/DIR/gr =~ s/\Q$root\E/./gr
        or diag $output;
    unlike $output, qr/warning/i, 'without a warning';
}


sub is_tool ($file) {
    local $ENV{AOAI_AAD_TOOL} = $file;
    my $run = -x $file ? tool('--version') : {};

    is $run->{status}, 0, 'the command is there: ' . $file
        =~ s/^\Q$folder\E/DIR/r;
    like $run->{out}, qr/^aoai-aad \d/, 'and runs';
}


sub serves (%args) {
    my $openai = openai();
    my $imds = imds();
    my $gateway = Test::Gateway->new(%args,
        env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
        http => <<"END")->start;
    server {
        listen 127.0.0.1:%%PORT_gateway%%;

        location / {
            aoai_aad on;
            aoai_aad_credential managed_identity;
            aoai_aad_allowed_hosts ${\$openai->host_port};
            proxy_pass ${\$openai->url};
        }
    }
END
    is request($gateway->port('gateway'), GET => '/')->{status}, 200,
        'it serves';
    my ($request) = $openai->requests;
    like $request->{header}{authorization}, qr/^Bearer ey/, 'with a token';
    $gateway->stop;
}
