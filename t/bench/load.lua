-- What wrk sends, and what it says at the end:
--
--     wrk ... -s load.lua http://127.0.0.1:PORT/PATH -- FILE [FILE]
--
-- posts the first file again and again; each line of the second is a caller's
-- token, which they have in turn. The last line of the output is "figures",
-- then requests, microseconds, what failed of them (connections, answers other
-- than 200, timeouts), and the latency's p50 and p99 in microseconds.

local function read(name)
    local file = assert(io.open(name, "rb"))
    local content = file:read("*a")

    file:close()

    return content
end


function init(arguments)
    wrk.method = "POST"
    wrk.body = read(arguments[1])

    if not arguments[2] then
        return
    end

    local requests = {}
    local last = 0

    for token in read(arguments[2]):gmatch("[^\n]+") do
        wrk.headers["Authorization"] = "Bearer " .. token
        requests[#requests + 1] = wrk.format()
    end

    function request()
        last = last % #requests + 1

        return requests[last]
    end
end


function done(summary, latency)
    local errors = summary.errors
    local broken = errors.connect + errors.read + errors.write

    io.write(string.format("figures %d %d %d %d %d %d %d\n",
        summary.requests, summary.duration, broken, errors.status,
        errors.timeout, latency:percentile(50), latency:percentile(99)))
end
