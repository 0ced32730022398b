-- The token from a shared dict, or from IMDS where it is not there: what
-- access_by_lua_file runs for each request.

local tokens = ngx.shared.tokens


local function fetch()
    local host, port = os.getenv("AZURE_POD_IDENTITY_AUTHORITY_HOST")
        :match("^http://([%d.]+):(%d+)$")
    local socket = ngx.socket.tcp()

    socket:settimeout(30000)
    assert(socket:connect(host, tonumber(port)))
    assert(socket:send("GET /metadata/identity/oauth2/token"
        .. "?api-version=2018-02-01"
        .. "&resource=https%3A%2F%2Fcognitiveservices.azure.com HTTP/1.0\r\n"
        .. "Host: " .. host .. "\r\nMetadata: true\r\n\r\n"))

    local answer = assert(socket:receive("*a"))
    socket:close()

    local token = assert(answer:match('"access_token":"([^"]+)"'))
    local life = tonumber(answer:match('"expires_in":"(%d+)"'))
    local bearer = "Bearer " .. token

    assert(tokens:set("bearer", bearer, life - 300))
    return bearer
end


ngx.var.bearer = tokens:get("bearer") or fetch()
