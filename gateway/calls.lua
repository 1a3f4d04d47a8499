-- The second Lua filter, for calls of every kind: what a worker gets of a gRPC call's headers,
-- which calls may be repeated when their worker is lost, and how gRPC calls are refused.

-- As in rest.lua.
jit.off()

local contract = require("gateway.contract")

-- What goes on to a worker. All callers share the connection to it, whose table of headers
-- remembers what it could not parse and fails those who name it afterwards. So nothing
-- goes on that gRPC itself reads, but for what is checked here.
local FORWARDED_HEADERS = [[
  authorization content-type grpc-encoding grpc-timeout idempotency-key if-match te
  traceparent tracestate user-agent x-forwarded-for x-forwarded-proto x-request-id
]]
local FORWARDED = {}
for name in FORWARDED_HEADERS:gmatch("%S+") do FORWARDED[name] = true end

local ENCODINGS = {identity = true, deflate = true, gzip = true}

local function is_timeout(text)
  return #text <= 9 and text:find("^%d+[HMSmun]$") ~= nil
end

local function drop_headers(headers)
  local dropped = {}
  for name in pairs(headers) do
    if name:sub(1, 1) ~= ":" and not FORWARDED[name] then dropped[#dropped + 1] = name end
  end
  for _, name in ipairs(dropped) do headers:remove(name) end
end

local function refuse(handle, name)
  handle:respond({[":status"] = "400", ["x-refusal"] = name}, "")
end

-- A message has a prefix: a byte that says whether it is compressed, and four with its length.
-- The request is there as a whole, but for streams, of which it is none of our methods.
local function has_message(handle)
  local body = handle:body()
  if not body or body:length() < 5 then return false end
  local _, first, second, third, fourth = body:getBytes(0, 5):byte(1, 5)
  return ((first * 256 + second) * 256 + third) * 256 + fourth == body:length() - 5
end

-- Tells whether the headers of a gRPC call can go on, and makes them fit for that.
local function check_headers(handle, headers)
  local timeout, encoding = headers:get("grpc-timeout"), headers:get("grpc-encoding")
  if timeout and not is_timeout(timeout) then return refuse(handle, "bad-timeout") end
  if encoding and not ENCODINGS[encoding] then return refuse(handle, "bad-encoding") end
  drop_headers(headers)
  headers:replace("te", "trailers")
  return true
end

function envoy_on_request(handle)
  local headers = handle:headers()
  -- REST calls have been through the other Lua filter, and have a message of the transcoder's.
  local is_grpc = not headers:get("x-envoy-original-method")
  if is_grpc and not check_headers(handle, headers) then return end
  local repeatable = contract.repeatable[headers:get(":path")]
  local keyed = headers:get("idempotency-key") or headers:get("x-envoy-keyed")
  if repeatable == "always" or (repeatable == "with key" and keyed) then
    headers:replace("x-envoy-retry-on", "reset")
    headers:replace("x-envoy-retry-grpc-on", "cancelled")
    -- No call takes a worker more than 4 seconds, unless that hangs: then
    -- there is time to ask another one.
    headers:replace("x-envoy-upstream-rq-per-try-timeout-ms", "4500")
  end
  -- A worker would wait for a message, and other calls for its place. This comes last: `headers`
  -- are of no use any more once a body was waited for.
  if is_grpc and repeatable and not has_message(handle) then refuse(handle, "no-message") end
end

-- Says in gRPC what the gateway refuses. Of a gRPC-Web call, Envoy itself takes that for
-- an answer in HTTP.
function envoy_on_response(handle)
  local headers = handle:headers()
  local refusal = contract.refusals[headers:get("x-refusal")]
  if not refusal then return end
  headers:remove("x-refusal")
  headers:replace(":status", "200")
  headers:replace("content-type", "application/grpc")
  for name, value in pairs(refusal) do headers:replace(name, value) end
  local body = handle:body()
  if body then body:setBytes("") end
end
