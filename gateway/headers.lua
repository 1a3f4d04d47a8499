-- The headers of a REST request.

local refusals = require("gateway.refusals")

local M = {}

-- The headers of a REST call that the server gets. gRPC takes headers for metadata, and
-- one such as grpc-encoding, grpc-timeout or x-bin would change the call.
local FORWARDED_HEADERS = [[
  authorization content-length content-type idempotency-key if-match te traceparent
  tracestate transfer-encoding user-agent x-forwarded-for x-forwarded-proto
  x-request-id
]]
local FORWARDED = {}
for name in FORWARDED_HEADERS:gmatch("%S+") do FORWARDED[name] = true end

-- Less than the 16 KiB of metadata that the server takes. It refuses more in words that show its
-- inside.
local MAX_FORWARDED_BYTES = 12288
local MAX_REQUEST_ID_BYTES = 64

function M.drop_unknown(headers)
  local dropped, bytes = {}, 0
  for name, value in pairs(headers) do
    if FORWARDED[name] then
      bytes = bytes + #name + #value
    elseif name:sub(1, 1) ~= ":" then
      dropped[#dropped + 1] = name
    end
  end
  if bytes > MAX_FORWARDED_BYTES then refusals.refuse(431, "the request headers are too large") end
  for _, name in ipairs(dropped) do headers:remove(name) end
end

-- Makes of the caller's request id one that can stand in a log line, as the server asks for.
function M.tidy_request_id(headers)
  local id = headers:get("x-request-id") or ""
  headers:replace("x-request-id", (id:gsub("[^\32-\126]", "?"):sub(1, MAX_REQUEST_ID_BYTES)))
end

-- Whether the caller wants mistakes refused that are otherwise passed over (RFC 7240). The
-- first of several preferences of one name counts.
function M.prefer_strict(headers)
  local preferences = (headers:get("prefer") or ""):lower():gsub('\\.', "")
  -- What is quoted may hold commas; only one plain word is of interest.
  preferences = preferences:gsub('"([^"]*)"', function(text) return text:match("^%l+$") or "" end)
  for preference in preferences:gmatch("[^,]+") do
    local handling = preference:match("^%s*handling%s*=%s*([^;%s]*)")
    if handling then return handling == "strict" end
  end
  return false
end

return M
