-- wrk: the bodies of a file in turn, at a rate if there is one, and a look at every answer.
--
-- An id tells all that an answer must hold: "lt-SIZE-INDEX", so that a batch of SIZE is whole when it has SIZE ids and as
-- many results. Counts are kept per tenth of a second on the monotonic clock, so that loads can be laid over each other.
-- What leaves a thread is a string or a number: wrk's own copying of nested tables is not sound.

local ffi = require("ffi")
ffi.cdef[[
  typedef struct { long seconds; long nanoseconds; } loadtest_time;
  int clock_gettime(int clock, loadtest_time *time);
]]

local MONOTONIC = 1
local BUCKETS_PER_SECOND = 10
local threads = {}
local time = ffi.new("loadtest_time")

local function now()
  ffi.C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init()
  wrong, calls, first, series = 0, 0, "", ""
  bucket, good, bad, by_provider = 0, 0, 0, {}
  requests, turn = {}, 0
  wrk.method = "POST"
  for line in io.lines(os.getenv("LOADTEST_HEADERS")) do
    local name, value = string.match(line, "^([^:]+):%s*(.*)$")
    if name then wrk.headers[name] = value end
  end
  for line in io.lines(os.getenv("LOADTEST_BODIES")) do
    table.insert(requests, wrk.format(nil, nil, nil, line))
  end
  local rate = tonumber(os.getenv("LOADTEST_RATE_PER_THREAD"))
  if rate > 0 then
    pace(rate)
  end
end

-- Calls are due at even times; one that is late does not move those after it. wrk counts whole milliseconds.
function pace(rate)
  local start, sent = now(), 0
  function delay()
    sent = sent + 1
    return math.max(0, math.floor((start + sent / rate - now()) * 1000))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

-- How many calls the body answers; nil when it is not the whole right answer.
local function answered(body)
  local size = string.match(body, '"id":%s*"lt%-(%d+)%-')
  if not size then return nil end
  if size == "1" then
    return string.find(body, '"result":', 1, true) and string.find(body, "}%s*$", -8) and 1 or nil
  end
  local ids, results = 0, 0
  for _ in string.gmatch(body, '"id":%s*"lt%-' .. size .. '%-%d+"') do ids = ids + 1 end
  for _ in string.gmatch(body, '"result":') do results = results + 1 end
  size = tonumber(size)
  return ids == size and results == size and size or nil
end

local function close_bucket()
  if good + bad == 0 then return end
  local providers = ""
  for name, count in pairs(by_provider) do
    providers = providers .. "\t" .. name .. "=" .. count
  end
  series = series .. bucket / BUCKETS_PER_SECOND .. "\t" .. good .. "\t" .. bad .. providers .. "\n"
  good, bad, by_provider = 0, 0, {}
end

function response(status, headers, body)
  local current = math.floor(now() * BUCKETS_PER_SECOND)
  if current ~= bucket then
    close_bucket()
    bucket = current
  end
  local count = status == 200 and answered(body)
  if count then
    good, calls = good + 1, calls + count
    local provider = headers["X-Livechain-Provider"] or headers["x-livechain-provider"]
    if provider then
      by_provider[provider] = (by_provider[provider] or 0) + 1
    end
  else
    bad, wrong = bad + 1, wrong + 1
    if first == "" then first = status .. " " .. string.sub(body, 1, 200) end
  end
end

-- Lines of "name<TAB>value", for load.py.
function done(summary, latency)
  local out = io.open(os.getenv("LOADTEST_OUT"), "w")
  local function say(name, value) out:write(name, "\t", value, "\n") end
  say("requests", summary.requests)
  say("seconds", summary.duration / 1e6)
  say("bytes", summary.bytes)
  for name, count in pairs(summary.errors) do
    say("error " .. name, count)
  end
  say("max", latency.max)
  for _, percentile in ipairs({ 50, 75, 90, 95, 99, 99.9, 99.99 }) do
    say("p" .. percentile, latency:percentile(percentile))
  end
  for _, thread in ipairs(threads) do
    say("wrong", thread:get("wrong"))
    say("calls", thread:get("calls"))
    if thread:get("first") ~= "" then
      say("first", (string.gsub(thread:get("first"), "[\r\n\t]", " ")))
    end
    for line in string.gmatch(thread:get("series"), "[^\n]+") do
      say("bucket", line)
    end
    -- The last one has nothing after it that would have closed it.
    say("bucket", thread:get("bucket") / BUCKETS_PER_SECOND .. "\t" .. thread:get("good") .. "\t" .. thread:get("bad"))
  end
  out:close()
end
