-- wrk: one JSON-RPC call over and over. With PERF_CLOSE set, each on a connection of its own. With PERF_LOOK set, a look at each answer, which takes wrk half as long again.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x00000000000000000000000000000000000000aa","latest"]}'

if os.getenv("PERF_CLOSE") then
  wrk.headers["Connection"] = "close"
end

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  wrong = 0
  first = ""
end

-- Counted here, because a proxy that answers fast with an error would look good.
local function look(status, _, body)
  if status ~= 200 or not string.find(body, '"result":"0x', 1, true) then
    wrong = wrong + 1
    if first == "" then
      first = status .. " " .. string.sub(body, 1, 200)
    end
  end
end

-- wrk reads bodies only where this name is known.
if os.getenv("PERF_LOOK") then
  response = look
end

function done(summary)
  io.write("bytes: ", summary.bytes, "\n")
  for _, thread in ipairs(threads) do
    if thread:get("wrong") > 0 then
      io.write("wrong bodies: ", thread:get("wrong"), ", first: ", thread:get("first"), "\n")
    end
  end
end
