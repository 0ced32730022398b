# The examples for monitoring: the access log is JSON whatever is in it, the
# rules are right and fire when they should, and rules and dashboard ask for
# nothing that the gateway doesn't tell.

use v5.36;

use Cwd 'realpath';
use File::Basename 'dirname';
use File::Temp;
use JSON::PP;
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai CLIENT_ID);
use Test::Gateway::Client 'request';
use Test::Gateway::System qw(await_exit read_file spawn wait_until write_file);

my $examples = realpath(dirname(__FILE__) . '/../examples/monitoring');
my $folder = File::Temp->newdir;
my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};

my $openai = openai();
my $imds = imds();

my $gateway = Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    files => {
        'access-log.conf' => read_file("$examples/access-log.conf"),
        'status.conf' => read_file("$examples/status.conf")
            =~ s/listen 127\.0\.0\.1:9145/listen 127.0.0.1:%%PORT_status%%/r,
    },
    http => <<"END")->start;
include access-log.conf;
include status.conf;
access_log %%DIR%%/gateway.json aoai_aad;
aoai_aad_allowed_hosts 127.0.0.1;
server {
    listen 127.0.0.1:%%PORT_http%%;
    location / {
        aoai_aad on;
        aoai_aad_credential managed_identity;
        proxy_pass ${\$openai->url};
    }
    location /off { return 204; }
}
END
my $port = $gateway->port('http');


subtest 'nginx' => sub {
    request($port, GET => '/some?api-key=MARKED');
    request($port, GET => '/off/%22%5C%0A%01%3Cb%3E');
    my @lines;
    wait_until {
        @lines = split /\n/, read_file($gateway->dir . '/gateway.json');
        @lines == 2;
    } 5;
    my ($some, $off) = map { eval { decode_json($_) } } @lines;
    is $some->{status}, 200, 'a line of the access log is JSON';
    is $some->{path}, '/some', '... with the path';
    is $some->{token}{client_id}, CLIENT_ID, '... and the identity';
    like $some->{token}{status}, qr/^(?:HIT|MISS)$/, '... and the cache';
    unlike $lines[0], qr/MARKED/, '... and no key of an argument';
    is $off->{path}, qq{/off/"\\\n\x01<b>}, 'whatever a client sends';
    is_deeply [values $off->{token}->%*], [('') x 7],
        '... and empty where there is no token';

    my $status = $gateway->port('status');
    is request($status, GET => '/status')->{json}{tokens}[0]{state}, 'valid',
        'JSON for programs';
    is request($status, GET => '/status/ready')->{status}, 200, 'a probe';
};


# The names of the metrics, with those that Prometheus derives.
my %told = map { /^(\w+)/ ? ($1 => 1) : () } split /\n/,
    request($gateway->port('status'), GET => '/metrics')->{body};
$told{up} = 1;

my $dashboard = decode_json(read_file("$examples/grafana-dashboard.json"));
my @asked = map { $_->{expr} } map { $_->{targets}->@* }
    $dashboard->{panels}->@*;
my $rules = read_file("$examples/alerts.yml");
my @rules = $rules =~ /^ +expr: (.*)$/mg;

cmp_ok scalar @asked, '>=', 10, 'the dashboard asks';
cmp_ok scalar @rules, '>=', 5, 'so do the rules';
is_deeply [grep { !$told{$_} } map { /\b(aoai_aad_\w+|up)\b/g } @asked,
    @rules], [], 'for nothing that is not told';
is_deeply [grep { ($_->{datasource}{uid} // '') ne '${datasource}' }
    $dashboard->{panels}->@*], [], 'of the data source that one chooses';

SKIP: {
    skip 'no promtool here', 4 if !$promtool;

    promtool('the rules', check => 'rules', "$examples/alerts.yml");
    promtool('the configuration', check => 'config',
        "$examples/prometheus.yml");

    # by a rule file, as there is no other check of an expression
    my $number = 0;
    write_file("$folder/asked.yml", "groups:\n- name: asked\n  rules:\n"
        . join '', map {
            "  - record: asked:${\++$number}\n    expr: "
                . encode_json([$_]) =~ s/^\[|\]$//gr . "\n"
        } map { s/\$__rate_interval/5m/gr =~ s/\$instance/.*/gr } @asked);
    promtool('what the dashboard asks', check => 'rules',
        "$folder/asked.yml");

    write_file("$folder/test.yml", tests());
    promtool('the alerts', test => 'rules', "$folder/test.yml");
}

$gateway->stop;
done_testing;


sub promtool ($name, @arguments) {
    my $output = "$folder/output";
    unlink $output;
    my $pid = spawn([$promtool, @arguments], {}, $output);
    is await_exit($pid, 30), 0, "promtool is content with $name"
        or diag read_file($output);
}


# What is to be seen when, and which alerts are there then: of each rule one
# moment at which it is silent, and one at which it speaks.
sub tests () {
    my $who = 'instance="g", identity="a"';
    my @cases = (
        # the token ends after 20 minutes, and is not renewed
        ['AoaiAadTokenExpiresSoon', 'aoai_aad_token_expiry_timestamp_seconds'
            . "{$who}", '1200x40', 14, 17],
        ['AoaiAadNoToken', "aoai_aad_token_state{$who, state=\"failed\"}",
            '0 0 1x20', 2, 4],
        ['AoaiAadRefreshFailing', "aoai_aad_token_state{$who, "
            . 'state="stale"}', '0 0 1x20', 5, 9],
        ['AoaiAadCallersRefused', 'aoai_aad_callers_refused_total{'
            . 'instance="g", code="invalid_token"}', '0 1 2+4x20', 2, 10],
        ['AoaiAadHostsDenied', "aoai_aad_hosts_denied_total{$who}",
            '0 0 0 0 1x20', 3, 6],
        ['AoaiAadGatewayDown', 'up{job="aoai_aad", instance="g"}',
            '1 1 0x20', 3, 6],
    );
    is_deeply [sort map { $_->[0] } @cases],
        [sort $rules =~ /- alert: (\w+)/g], 'each rule is tried';

    return join '', "rule_files: [$examples/alerts.yml]\ntests:\n", map {
        my ($alert, $series, $values, $silent, $speaks) = @$_;
        my ($severity, $summary, $description) = $rules =~ /alert:\ $alert\n
            .*? severity:\ (\w+)\n .*? summary:\ ([^\n]*)\n
            .*? description:\ ([^\n]*)\n/xs;
        my %label = ((map { /(\w+)="([^"]*)"/g } $series =~ /\{(.*)\}/),
            severity => $severity);
        s/\{\{ \$labels\.(\w+) \}\}/$label{$1}/g for $summary, $description;
        my $labels = join ', ', map { "$_: $label{$_}" } sort keys %label;
        <<"END";
- interval: 1m
  input_series: [{ series: '$series', values: '$values' }]
  alert_rule_test:
  - { alertname: $alert, eval_time: ${silent}m, exp_alerts: [] }
  - alertname: $alert
    eval_time: ${speaks}m
    exp_alerts:
    - exp_labels: { $labels }
      exp_annotations:
        summary: $summary
        description: $description
END
    } @cases;
}
