# How often a gateway that was just started asks for its token.

package Bench::Cold;

use v5.36;

use Exporter 'import';
use Time::HiRes 'sleep';

use Bench::Way;
use Test::Gateway::Azure qw(entra imds);

our @EXPORT_OK = 'cold';

use constant { CALLERS => 100, DELAY_SECONDS => 0.3 };


# Starts the way with a token endpoint that takes its time, and asks it at
# once. Returns { calls, lost }: the calls of the endpoint, and the requests
# that were not answered well; or { fault }.
sub cold ($way, $services) {
    my $endpoint = _endpoint($way->{fetches}, $services->{token});
    my $gateway = Bench::Way->new($way,
        { %$services, endpoint => $endpoint->url });
    my $answered = $gateway->ask_at_once(CALLERS);
    my $calls = $endpoint->count;

    $gateway->stop;
    $endpoint->stop;
    return { calls => $calls, lost => CALLERS - $answered };
}


sub _endpoint ($kind, $token) {
    my @arguments = (access_token => $token,
        handler => sub ($request, $reply, $usual) {
            sleep DELAY_SECONDS;
            # @azure/identity asks so where IMDS was moved
            $request->{path} =~ s{/\z}{};
            return $usual->();
        });
    return $kind eq 'imds' ? imds(@arguments)
        : entra(@arguments, tls => 0, client_secret => '');
}

1;
