-- What wrk sends, and what it says at the end:
--
--     wrk ... -s load.lua http://127.0.0.1:PORT/PATH -- FILE
--
-- posts the file again and again. The last line is "figures", then requests,
-- microseconds, what failed of them (connections, answers other than 200,
-- timeouts), and the latency's p50 and p99 in microseconds.

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))

    wrk.method = "POST"
    wrk.body = file:read("*a")
    file:close()
end


function done(summary, latency)
    local errors = summary.errors
    local broken = errors.connect + errors.read + errors.write

    io.write(string.format("figures %d %d %d %d %d %d %d\n",
        summary.requests, summary.duration, broken, errors.status,
        errors.timeout, latency:percentile(50), latency:percentile(99)))
end
