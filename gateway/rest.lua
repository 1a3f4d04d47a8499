-- The first Lua filter: REST calls before they are transcoded, and their answers afterwards.
-- gRPC and gRPC-Web calls do not come here.

-- Where no memory may become executable (MemoryDenyWriteExecute), compiling would end the
-- gateway; for scripts such as these it gains nothing that can be measured.
jit.off()

local body = require("gateway.body")
local contract = require("gateway.contract")
local etags = require("gateway.etags")
local headers_of = require("gateway.headers")
local nulls = require("gateway.nulls")
local transcoder_errors = require("gateway.transcoder_errors")
local refusals = require("gateway.refusals")
local url_of = require("gateway.url")

local refuse = refusals.refuse

-- What gRPC says in headers stands in the status and the body of a REST answer.
local GRPC_RESPONSE_HEADERS = {
  "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding",
  "grpc-accept-encoding",
}

-- How an error begins that answers an etag which is not the current one.
local ABORTED = '{"code":10,'

local function is_grpc(content_type)
  return content_type == "application/grpc" or (content_type or ""):find("^application/grpc%+")
end

-- Keeps something about this request for local_reply_config and envoy_on_response.
local function note(handle, name, value)
  handle:streamInfo():dynamicMetadata():set("peermentor", name, value)
end

-- The request -----------------------------------------------------------------------------

-- Waits for the whole body. Envoy answers 413 when it does not fit.
local function read_body(handle)
  local buffer = handle:body()
  return buffer and buffer:getBytes(0, buffer:length()) or ""
end

local function check_request(handle)
  local headers = handle:headers()
  local strict = headers_of.prefer_strict(headers)
  if strict then note(handle, "strict", true) end
  local method, content_type = headers:get(":method"), headers:get("content-type")
  local encoding = headers:get("content-encoding")
  -- A gRPC call to what is no method: no other route has taken it.
  if is_grpc(content_type) then refuse(404, "no such path") end
  local url = url_of.without_doubled_base(headers:get(":path") or "")
  url_of.check_length(url)
  if (headers:get(":authority") or ""):find(",", 1, true) then
    refuse(400, "more than one host")
  end
  local call = url_of.check(method, url)
  -- RFC 9110, 9.3.4: the answer to a PUT that stores something else than it was sent has no ETag.
  if contract.tagged[call.answer] and (method == "GET" or method == "HEAD") then
    note(handle, "known", headers:get("if-none-match") or "")
  end
  headers_of.drop_unknown(headers)
  headers_of.tidy_request_id(headers)
  headers:replace(":path", url_of.without_plus(url))
  -- The service does for it what it does for GET; envoy_on_response leaves the body out.
  if method == "HEAD" then
    headers:replace(":method", "GET")
    note(handle, "head", true)
  end
  if contract.nulls[call.answer] then note(handle, "answer", call.answer) end
  -- `headers` is not valid any more once the body has been waited for.
  local json = read_body(handle)
  if json == "" then return end
  body.check_type(method, call, content_type, encoding)
  local tidied, has_request_id = body.check(json, call, strict)
  if tidied ~= json then handle:body():setBytes(tidied) end
  -- For the second Lua filter.
  if has_request_id then handle:headers():replace("x-envoy-keyed", "true") end
end

function envoy_on_request(handle)
  local accepted, refusal = pcall(check_request, handle)
  if accepted then return end
  if type(refusal) ~= "table" then
    -- A fault in these checks must not let the request pass unchecked.
    handle:logErr(refusal)
    refusal = {status = 500, message = "", headers = {}}
  end
  refusal.headers[":status"] = tostring(refusal.status)
  note(handle, "refused", true)
  if refusal.violations then note(handle, "violations", refusal.violations) end
  handle:respond(refusal.headers, refusal.message)
end

-- The answer ------------------------------------------------------------------------------

local function change_body(handle, change)
  local buffer = handle:body()
  if not buffer then return end
  local old = buffer:getBytes(0, buffer:length())
  local new = change(old)
  if new == old then return end
  handle:headers():replace("content-length", tostring(buffer:setBytes(new)))
end

-- To the transcoder ABORTED is 409, as ALREADY_EXISTS is.
local function tell_aborted(handle)
  local buffer = handle:body()
  if buffer and buffer:getBytes(0, math.min(#ABORTED, buffer:length())) == ABORTED then
    handle:headers():replace(":status", "412")
  end
end

-- As RetryInfo has it. The gateway's own refusals get theirs behind this filter: a second.
local function tell_delay(handle)
  local buffer = handle:body()
  local json = buffer and buffer:getBytes(0, buffer:length()) or ""
  handle:headers():replace("retry-after", json:match('"retry_delay":"(%d+)s"') or "1")
end

-- Gives the answer the header ETag, if it is not a file, to which the service has given it; and takes
-- the body away if the caller has it.
local function tag(handle, known)
  local given = handle:headers():get("etag")
  local buffer = handle:body()
  local etag = given or buffer and etags.of(buffer:getBytes(0, buffer:length()))
  if not etag then return end
  -- `headers` from before are not valid any more once the body has been waited for.
  local headers = handle:headers()
  headers:replace("etag", etag)
  if not etags.is_among(etag, known) then return end
  headers:replace(":status", "304")
  headers:remove("content-type")
  headers:remove("content-disposition")
  if buffer then buffer:setBytes("") end
  headers:remove("content-length")
end

-- Keeps its length, as RFC 9110 has it for HEAD.
local function leave_out_body(handle)
  local buffer = handle:body()
  if not buffer then return end
  local length = buffer:length()
  buffer:setBytes("")
  handle:headers():replace("content-length", tostring(length))
end

function envoy_on_response(handle)
  local headers = handle:headers()
  -- A gRPC call that no route takes, and the gateway itself has refused.
  if is_grpc(headers:get("content-type")) then return end
  local notes = handle:streamInfo():dynamicMetadata():get("peermentor") or {}
  for _, name in ipairs(GRPC_RESPONSE_HEADERS) do headers:remove(name) end
  -- RFC 6797: whoever has come by TLS once comes by nothing else for a year.
  if handle:streamInfo():downstreamSslConnection() then
    headers:replace("strict-transport-security", "max-age=31536000")
  end
  -- What is answered is for the caller alone: no cache in between is to keep it.
  headers:replace("cache-control", "no-store")
  if notes.strict then headers:replace("preference-applied", "handling=strict") end
  local status = headers:get(":status")
  local nullable = contract.nulls[notes.answer]
  if status == "200" and nullable then
    change_body(handle, function(json) return nulls.added(json, nullable) end)
  elseif status == "409" then
    tell_aborted(handle)
  elseif status == "400" and not notes.refused then
    change_body(handle, transcoder_errors.in_our_words)
    -- Of a refusal whose body was left out already, the length is another
    -- one than a GET would see.
    if notes.head and not handle:body() then headers:remove("content-length") end
  elseif status == "401" then
    -- RFC 9110, 11.6.1: it says how to come by an answer.
    headers:replace("www-authenticate", 'Bearer realm="peermentor"')
  elseif status == "429" then
    tell_delay(handle)
  end
  if status == "200" and notes.known then tag(handle, notes.known) end
  if notes.head and handle:headers():get(":status") ~= "304" then leave_out_body(handle) end
end
