# The status page for people, in a real browser: what it shows in each state,
# how it renews itself, and that it asks nobody but the gateway.

use v5.36;

use File::Temp;
use List::Util 'uniq';
use Test::More;

use Test::Gateway;
use Test::Gateway::Azure qw(imds openai OBJECT_ID);
use Test::Gateway::Browser;
use Test::Gateway::Client 'request';
use Test::Gateway::System qw(wait_until write_file);

plan skip_all => 'no browser here' if !Test::Gateway::Browser::program();

my $flags = File::Temp->newdir;
my $openai = openai();

# 1 is well; 2 doesn't end its second answer, 3 fails from the second on and
# 4 from the first, with words that are no text of HTML.
my $words = q{<img src=http://127.0.0.1:9/x onerror=alert(1)> & "words"};
my $imds = imds(sub ($request, $, $usual) {
    my ($number) = $request->{query} =~ /client_id=0*(\d+)-/;
    my $is_again = -e "$flags/$number" || !mkdir "$flags/$number";

    sleep 60 if $number == 2 && $is_again;
    if ($number == 4 || $number == 3 && $is_again && !-e "$flags/well") {
        my $text = $words =~ s/"/\\"/gr;
        return [400, [], '{"error":"invalid_request",'
            . "\"error_description\":\"$text\"}"];
    }
    my $answer = $usual->();
    if ($number == 2 || $number == 3) {
        $answer->[2] =~ s/"expires_\w+":"\d+",?//g;
        $answer->[2] =~ s/\{/{"expires_in":"100","refresh_in":1,/;
    }
    return $answer;
});

my $locations = join '', map { <<"END" } 1 .. 4;
    location /$_ {
        aoai_aad_credential workload_identity;
        aoai_aad_credential managed_identity client_id=${\id($_)};
        aoai_aad_credential environment;
        proxy_pass ${\$openai->url};
    }
END

my $gateway = Test::Gateway->new(
    env => { AZURE_POD_IDENTITY_AUTHORITY_HOST => $imds->url },
    http => <<"END")->start;
aoai_aad_allowed_hosts 127.0.0.1;
server {
    listen 127.0.0.1:%%PORT_http%%;
    aoai_aad on;
$locations
    location /status { aoai_aad_status; }
    location /html { aoai_aad_status html; }
}
END

sub id ($number) {
    return sprintf '%08d-0000-4000-8000-000000000000', $number;
}

my $root = 'http://127.0.0.1:' . $gateway->port('http');
my @states = ('valid', 'refreshing', 'stale', 'failed');
request($gateway->port('http'), GET => '/1') for 1 .. 3;
ok wait_until(sub {
    my $json = request($gateway->port('http'), GET => '/status')->{json};
    return "@states" eq join ' ', map { $_->{state} } $json->{tokens}->@*;
}, 60), 'there are all states';

my $browser = Test::Gateway::Browser->new;
$browser->look(1000, 800);
$browser->open_page("$root/status");


# The text of the first element that fits, as people see it.
sub text ($selector) {
    return $browser->evaluate("document.querySelector('$selector')"
        . "?.innerText ?? ''");
}

sub shots ($name) {
    my $folder = $ENV{AOAI_AAD_SCREENSHOTS} // return;
    $browser->screenshot("$folder/$name.png");
}


subtest 'each state has a card' => sub {
    for my $case (
        ['valid', qr/^Valid$/,
            qr/^The token of managed_identity ends in 5\d min \d\d s\.$/],
        ['refreshing', qr/^Refreshing$/, qr/the next one is being fetched/],
        ['stale', qr/^Stale$/, qr/renewal has been failing since \d\d:/],
        ['failed', qr/^Failed$/, qr/answered with 503, since .* Next try in/],
    ) {
        my ($state, $word, $lead) = @$case;
        is $browser->evaluate("document.querySelectorAll('.$state').length"),
            1, "$state: a card";
        like text(".$state .state"), $word, '... says so in a word';
        like text(".$state .lead"), $lead, '... and what it means';
    }
    my @colours = map { $browser->evaluate('getComputedStyle(document'
        . ".querySelector('.$_')).borderLeftColor") } @states;
    is scalar(uniq @colours), 4, 'each has a colour of its own';

    like text('.summary'), qr/^[1-4] of 4 identities (?:is|are) not ready\./,
        'a sentence sums it up';
    like text('.valid .ids'), qr/${\OBJECT_ID}/, 'the identity is there';
    is text('.valid .chain li:nth-child(1) .verdict'), 'unavailable',
        'the chain, with the verdict on each step';
    like text('.valid .chain li:nth-child(1) p'), qr/AZURE_\w+ is not set/,
        '... and the reason';
    is text('.valid .chain li:nth-child(2) .verdict'), 'gave a token',
        '... of the one that was asked';
    is text('.valid .chain li:nth-child(3) .verdict'), 'not asked',
        '... and of the one that was not';
    like text('.valid .numbers'), qr/token was there\n[23]\n/, 'counts';
    like text('.failed .error .hint'), qr/^What to do: .*assign it/,
        'the error says what to do';
    like text('.failed .error'), qr/\Q$words\E/,
        '... and the words are words';
    is $browser->evaluate('document.images.length'), 0, '... and no image';
    my ($used, $mark) = $browser->evaluate('[...document.querySelectorAll('
        . '".valid .bar rect")].map((r) => r.getAttribute("x"))')->@[1, 3];
    ok $used < 50, 'the bar begins';
    cmp_ok $mark, '>', 800, '... and has the point of the refresh';
    shots('light');
};


subtest 'a countdown' => sub {
    # with no answer that could count for it
    $browser->evaluate('window.fetch = () => new Promise(() => {}); 1');
    my $left = '(document.querySelector(".valid .count").innerText)';
    my $first = $browser->evaluate($left);
    ok $browser->wait_for("$left !== '$first'", 10), 'counts';
    my $second = $browser->evaluate($left);
    my ($before, $after) = map { /(\d+) min (\d+) s/ ? $1 * 60 + $2 : -1 }
        $first, $second;
    ok $after < $before, "... down: $first, $second";
    $browser->open_page("$root/status");
};


subtest 'it renews itself' => sub {
    # what would not survive another page
    $browser->evaluate('window.mark = document.querySelector(".stale");'
        . 'getSelection().selectAllChildren('
        . 'document.querySelector(".valid h2")); 1');
    my $fetched = text('.fresh');
    write_file("$flags/well", '');
    ok $browser->wait_for('document.querySelector(".fresh").innerText'
        . " !== '$fetched'", 20), 'by itself';
    ok $browser->evaluate('mark.isConnected'), '... in place';
    like $browser->evaluate('String(getSelection())'),
        qr/^workload_identity, managed_identity/,
        '... and a selection stays';
    is_deeply [uniq $browser->requests], ["$root/status"],
        'it asks for itself and nothing else';
    is_deeply [$browser->complaints], [], 'nothing is on the console';
};


subtest 'without the gateway' => sub {
    # the browser's own word for it is on the console then
    $browser->evaluate('window.fetch = () => Promise.reject(); 1');
    ok $browser->wait_for('document.querySelector(".fresh.lost")', 20),
        'it says that there is no answer';
    like text('.fresh'), qr/No answer from the gateway: .* \d+ s ago\.$/,
        '... since when';
};


subtest 'a script from elsewhere' => sub {
    $browser->open_page("$root/status");
    $browser->evaluate('{ const s = document.createElement("script");'
        . 's.textContent = "window.broken = 1"; document.body.append(s); }');
    ok !$browser->evaluate('window.broken'), 'is not run';
    $browser->evaluate(
        'document.body.setAttribute("style", "color: red"); 1');
    isnt $browser->evaluate('getComputedStyle(document.body).color'),
        'rgb(255, 0, 0)', 'nor is a style taken';
    is $browser->evaluate('fetch("http://127.0.0.1:9/")'
        . '.then(() => "sent", () => "refused")'), 'refused',
        'and nobody else is asked';
    ok scalar(grep { /Content Security Policy/ } $browser->complaints) >= 3,
        'by its policy';
};


subtest 'on a phone, in the dark' => sub {
    $browser->look(390, 800, 'dark');
    $browser->open_page("$root/status");
    cmp_ok $browser->evaluate('document.documentElement.scrollWidth'), '<=',
        390, 'nothing is wider than the phone';
    my ($background) = $browser->evaluate('getComputedStyle(document.body)'
        . '.backgroundColor') =~ /^rgb\((\d+)/;
    cmp_ok $background, '<', 60, 'it is dark';
    cmp_ok contrast($_), '>=', 4.5, "$_ can be read in the dark"
        for '.lead', '.failed .state', '.valid .state', '.chain p', 'dt';
    shots('phone');

    $browser->look(1000, 800, 'light');
    cmp_ok contrast($_), '>=', 4.5, "... and in the light"
        for '.lead', '.failed .state', '.valid .state', '.chain p', 'dt';
};


subtest 'by ear' => sub {
    my $spoken = join "\n", $browser->spoken;
    like $spoken, qr/^heading: Azure OpenAI tokens$/m, 'a title';
    like $spoken, qr/^article: workload_identity, managed_identity /m,
        'an article for each identity';
    like $spoken, qr/^image: \d+ % of the token's life have passed/m,
        'the bar in words';
    like $spoken, qr/^StaticText: Valid$/m, 'the state';
    is $browser->evaluate('document.documentElement.lang'), 'en',
        'in English';
    is $browser->evaluate('document.querySelectorAll("[role=status]")'
        . '.length'), 1, 'what changes is told: the summary, no countdown';
};


subtest 'without JavaScript' => sub {
    $browser->scripts(0);
    $browser->open_page("$root/html");
    $browser->scripts(1);
    like text('noscript'), qr/snapshot/, 'it says that it is a snapshot';
    like text('.valid .lead'), qr/ends in 5\d min \d\d s\./,
        'and is all there';
    is_deeply [$browser->requests], ["$root/html"], 'and asks for nothing';
};

$browser->stop;
$gateway->stop('TERM');
done_testing;


# Of an element's text to the card that it is on, as WCAG 2 reckons it.
sub contrast ($selector) {
    return $browser->evaluate(<<"END");
(() => {
    const light = (colour) => {
        const [r, g, b] = colour.match(/\\d+/g).slice(0, 3).map((n) => {
            const c = n / 255;
            return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const node = document.querySelector('$selector');
    const two = [getComputedStyle(node).color,
        getComputedStyle(node.closest('.card')).backgroundColor]
        .map(light).sort((a, b) => b - a);
    return (two[0] + 0.05) / (two[1] + 0.05);
})()
END
}
