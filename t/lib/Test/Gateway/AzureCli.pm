# Stand-ins for the az and azd commands that note how they were called.

package Test::Gateway::AzureCli;

use v5.36;

use Exporter 'import';
use File::Glob ':bsd_glob';

use Test::Gateway::System qw(read_file write_file);

our @EXPORT_OK = qw(az az_calls azd azd_calls);

# The script: it notes the call under the next free number, then behaves.
my $NOTE = <<'END';
use strict;
use warnings;

my $calls = "$0.calls";
my $note = "$calls/new.$$";
mkdir $calls;
mkdir $note or die "$note: $!\n";

sub note {
    my ($name, $text) = @_;
    open my $file, '>', "$note/$name" or die "$note/$name: $!\n";
    print {$file} $text;
    close $file;
}

sub content {
    my ($path) = @_;
    open my $file, '<', $path or return '';
    local $/;
    return readline $file;
}

my @fds = map { [m{(\d+)$}, readlink($_) // 'gone'] } glob '/proc/self/fd/*';
note(fds => join '', map { "$_->[0] $_->[1]\n" }
    grep { $_->[1] ne 'gone' && $_->[1] ne $0 } @fds);
note(argv => join '', map { "$_\0" } @ARGV);
note(environ => content('/proc/self/environ'));
note(status => content('/proc/self/status'));
note(stat => content('/proc/self/stat'));
note(cwd => readlink '/proc/self/cwd');

for my $number (1 .. 10000) {
    last if rename $note, "$calls/$number" and $note = "$calls/$number";
}

sub token_json {
    my ($token, $life, @more) = @_;
    my @local = localtime(time + $life);
    my $local = sprintf '%04d-%02d-%02d %02d:%02d:%02d.000000',
        $local[5] + 1900, $local[4] + 1, @local[3, 2, 1, 0];
    return join ",\n  ", qq({\n  "accessToken": "$token"),
        qq("expiresOn": "$local"), @more,
        '"subscription": "55555555-eeee-4eee-8eee-555555555555"',
        '"tenant": "11111111-aaaa-4aaa-8aaa-111111111111"',
        qq("tokenType": "Bearer"\n}\n);
}

sub azd_json {
    my ($token, $life) = @_;
    my @utc = gmtime(time + $life);
    return sprintf qq({"token":"%s","expiresOn":"%04d-%02d-%02dT%02d:%02d)
        . qq(:%02dZ"}\n), $token, $utc[5] + 1900, $utc[4] + 1,
        @utc[3, 2, 1, 0];
}

sub console_message {
    my ($text) = @_;
    print STDERR qq({"type":"consoleMessage","timestamp":")
        . qq(2024-01-01T00:00:00Z","data":{"message":"\\nERROR: $text\\n"}}\n);
}
END

my %DOES = (
    ok => <<'END',
print token_json($token, $life, '"expires_on": ' . (time + $life));
END
    old => <<'END',
print token_json($token, $life);
END
    not_logged_in => <<'END',
print STDERR "ERROR: Please run 'az login' to setup account.\n";
exit 1;
END
    aadsts => <<'END',
print STDERR "ERROR: AADSTS$code: The sign-in was refused. Trace ID: 0\n",
    "Interactive authentication is needed. Please run:\naz login\n";
exit 1;
END
    hanging => <<'END',
defined(my $child = fork) or die "fork: $!\n";
note(child => $child) if $child;
sleep 60;
END
    junk => <<'END',
print "<html>\0\xff { \"accessToken\": 12, \n";
END
    huge => <<'END',
print '{"accessToken": "';
for (1 .. 1024) {
    print 'x' x 16384 or exit 1;
}
print "\"}\n";
END
);

my %AZD_DOES = (
    %DOES,
    ok => <<'END',
print azd_json($token, $life);
END
    not_logged_in => <<'END',
console_message('not logged in, run `azd auth login` to login');
exit 1;
END
    aadsts => <<'END',
console_message("fetching token: AADSTS$code: The sign-in was refused. "
    . 'Trace ID: 66666666-ffff-4fff-8fff-666666666666 '
    . 'Correlation ID: 77777777-aaaa-4aaa-8aaa-777777777777');
console_message('reauthentication required, run `azd auth login` to login');
exit 1;
END
    aadsts_new => <<'END',
print STDERR qq({"error":"AuthenticationFailed","message":"AADSTS$code: )
    . 'The sign-in was refused. '
    . 'Trace ID: 66666666-ffff-4fff-8fff-666666666666 '
    . 'Correlation ID: 77777777-aaaa-4aaa-8aaa-777777777777",'
    . qq("suggestion":"Run azd auth login"}\n);
exit 1;
END
);


# Writes an executable az into a folder, which is made if need be; written
# again it behaves differently. Options: does => ok (the default), old (no
# expires_on), not_logged_in, aadsts, hanging (60 s, with a child process),
# junk or huge (16 MB); token, life (seconds) and code (of aadsts); perl =>
# text of a script of one's own; name => another command's name.
# Returns the folder, for PATH.
sub az ($folder, %behaviour) {
    return _tool($folder, \%DOES, name => 'az', token => 'az-token',
        %behaviour);
}


# The same for azd, whose errors are lines of JSON; it has no old, and also
# aadsts_new (the form since 1.23.7).
sub azd ($folder, %behaviour) {
    return _tool($folder, \%AZD_DOES, name => 'azd', token => 'azd-token',
        %behaviour);
}


sub _tool ($folder, $does, %behaviour) {
    my $doing = $behaviour{does} // 'ok';
    my $perl = $behaviour{perl} // $does->{$doing}
        // die "$behaviour{name}: no $doing\n";
    my $settings = sprintf "my (\$token, \$life, \$code) = ('%s', %d, %d);\n",
        $behaviour{token}, $behaviour{life} // 3599,
        $behaviour{code} // 70043;

    write_file("$folder/$behaviour{name}", "#!$^X\n$NOTE\n$settings$perl",
        0755);
    return $folder;
}


# Returns the calls of the az in a folder, oldest first: { argv => [...],
# env => { ... }, fds => { number => where it leads }, pid, group, cwd,
# blocked and ignored => signal masks as numbers, child => pid that hanging
# started }. SIGFPE is left out of ignored, for perl itself ignores it.
sub az_calls ($folder, $name = 'az') {
    return map { _call($_) }
        sort { ($a =~ /(\d+)$/)[0] <=> ($b =~ /(\d+)$/)[0] }
        glob "$folder/$name.calls/[0-9]*";
}

sub azd_calls ($folder) { return az_calls($folder, 'azd') }


sub _call ($note) {
    no warnings 'portable';
    my %text = map { $_ => read_file("$note/$_") }
        qw(argv environ fds status stat cwd child);
    my %status = $text{status} =~ /^(\w+):\s*(.*)$/mg;
    my ($pid, $group) = $text{stat} =~ /^(\d+) .*\) \S \d+ (\d+)/s;

    return {
        argv => [split /\0/, $text{argv}],
        env => { map { split /=/, $_, 2 } split /\0/, $text{environ} },
        fds => { map { split / /, $_, 2 } split /\n/, $text{fds} },
        blocked => hex $status{SigBlk},
        ignored => hex($status{SigIgn}) & ~0x80,
        pid => $pid, group => $group, cwd => $text{cwd},
        child => $text{child},
    };
}

1;
