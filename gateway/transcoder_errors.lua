-- What the transcoder refuses, in our words: without the names of types and without the refused
-- value. Texts are JSON-escaped here, and what is made of them is.

local contract = require("gateway.contract")
local words = require("gateway.words")

local M = {}

-- What a value must look like, by the type that the transcoder names when it refuses it.
local EXPECTED = {
  TYPE_INT32 = "must be a whole number of at most 32 bits",
  TYPE_STRING = "must be a text",
  TYPE_BOOL = "must be true or false",
  ["type.googleapis.com/google.protobuf.Timestamp"] = words.NO_INSTANT,
  ["type.googleapis.com/google.protobuf.FieldMask"] =
    "must be names of fields, separated by commas",
}
for name, values in pairs(contract.enums) do
  EXPECTED["type.googleapis.com/" .. name] = "is not a known value; must be one of " .. values
end

-- A field that the transcoder refuses, and why; the message, where it says more than these.
local function refused_field(text)
  local name, kind = text:match("^([%w_.%[%]]+): invalid value .* for type (.-)%s*$")
  if name then return name, EXPECTED[kind] or "is not a known value" end
  name = text:match("oneof field '_([%w_]+)' is already set")
  if name then return name, "given more than once" end
  name = text:match("^The binding value .* of the field ([%w_.]+) is conflicting")
  if name then return name, "the body contradicts the path" end
  name = text:match('^Could not find field \\"(.-)\\" in the type')
      or text:match('^Encountered a non%-leaf field \\"(.-)\\"')
  if name then
    return name, words.NO_SUCH_PARAMETER, 'unknown query parameter \\"' .. name .. '\\"'
  end
end

-- As local_reply_config prints an error of status 400, and what it says there itself.
local MALFORMED = '{"code":3,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",'
  .. '"domain":"peermentor","metadata":{},"reason":"MALFORMED_REQUEST"}],"message":"'
local REFUSED_FIELD = '{"code":3,"message":"%s","details":[{"@type":'
  .. '"type.googleapis.com/google.rpc.ErrorInfo","reason":"INVALID_FIELD","domain":"peermentor",'
  .. '"metadata":{}},{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":'
  .. '[{"field":"%s","description":"%s"}]}]}'
local OWN_WORDS = {["header names must not have underscores"] = true}

-- Changes what the gateway refused, and leaves what the server refused.
function M.in_our_words(json)
  if json:sub(1, #MALFORMED) ~= MALFORMED then return json end
  local text = json:sub(#MALFORMED + 1):match('^(.*)"}%s*$')
  local field, description, message = refused_field(text)
  if field then
    message = message or field .. ": " .. description
    return REFUSED_FIELD:format(message, field, description)
  end
  return OWN_WORDS[text] and json or MALFORMED .. 'malformed request"}'
end

return M
