# What an app sends to Azure OpenAI.

package Bench::Client;

use v5.36;

use Exporter 'import';

our @EXPORT_OK = 'client_headers';


# The headers of a request of the openai client of Node.js, names and values in
# its order, with the key that it wants to be given; but for Host, Connection
# and Content-Length, which are those of who sends them.
sub client_headers () {
    return (
        'Accept' => 'application/json',
        'User-Agent' => 'AzureOpenAI/JS 7.57.0',
        'X-Stainless-Retry-Count' => 0,
        'X-Stainless-Lang' => 'js',
        'X-Stainless-Package-Version' => '7.57.0',
        'X-Stainless-OS' => 'Linux',
        'X-Stainless-Arch' => 'x64',
        'X-Stainless-Runtime' => 'node',
        'X-Stainless-Runtime-Version' => 'v20.20.2',
        'api-key' => 'placeholder',
        'Content-Type' => 'application/json',
        'Accept-Language' => '*',
        'Sec-Fetch-Mode' => 'cors',
        'Accept-Encoding' => 'gzip, deflate',
    );
}

1;
