-- Sends each claim once: thread 1 the odd ones, thread 2 the even ones.
local threads = {}

function setup(thread)
    thread:set("first", #threads)
    table.insert(threads, thread)
end

function init(args)
    directory, count, next_claim = args[1], tonumber(args[2]), first
    refused = 0
    headers = { ["Content-Type"] = "application/vnd.meshd.receipts" }
end

function request()
    -- With none left, old ones are sent again: the report says how many requests there were.
    local number = next_claim % count
    next_claim = next_claim + 2
    local file = assert(io.open(directory .. "/" .. number, "rb"))
    local claim = file:read("*a")
    file:close()
    return wrk.format("POST", nil, headers, claim)
end

function response(status)
    if status ~= 200 then
        refused = refused + 1
    end
end

function done(summary, latency)
    local refused = 0
    for _, thread in ipairs(threads) do
        refused = refused + thread:get("refused")
    end
    local errors = summary.errors
    print(string.format(
        '{"claims": %d, "claims_per_second": %.0f, "p50_ms": %.1f, "p99_ms": %.1f, "refused": %d, "unanswered": %d}',
        summary.requests, summary.requests / (summary.duration / 1e6),
        latency:percentile(50) / 1000, latency:percentile(99) / 1000,
        refused, errors.connect + errors.read + errors.write + errors.timeout))
end
