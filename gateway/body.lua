-- Checks of the request body: its type, its fields, and what their JSON values may be.

local contract = require("gateway.contract")
local instants = require("gateway.instants")
local json_reader = require("gateway.json")
local refusals = require("gateway.refusals")
local words = require("gateway.words")

local refuse, refuse_field = refusals.refuse, refusals.refuse_field

local M = {}

-- As the transcoder takes names: peer_mentor_id or peerMentorId, and no mixture.
local SPELLINGS = {}
-- A field that another call has, and this one has not, is to be of its kind, too.
local KIND_ELSEWHERE = {}
for _, call in pairs(contract.calls) do
  local spellings = {}
  for name, kind in pairs(call.body or {}) do
    spellings[name] = true
    spellings[name:gsub("_(%l)", string.upper)] = true
    KIND_ELSEWHERE[name] = kind
  end
  SPELLINGS[call] = spellings
end

function M.check_type(method, call, content_type, encoding)
  if not call.body then refuse(400, method .. " takes no request body") end
  local media_type = (content_type or ""):lower():match("^%s*([^;%s]*)%s*;?")
  if media_type ~= "application/json" or (content_type or ""):find(",", 1, true) then
    refuse(415, "the content type must be application/json")
  end
  if encoding and encoding:lower() ~= "identity" then refuse(415, "the body must not be compressed") end
end

-- The transcoder alone takes "yes" for true, one text for a list, and {} for a time in 1970; and
-- where it refuses a list or an object, it does not name the field.
local function check_kind(name, expected, kind)
  if not expected or kind == "null" or kind == expected then return end
  if expected == "boolean" then refuse_field(name, "must be true or false") end
  if expected == "list of texts" then refuse_field(name, "must be a list of texts") end
  if kind:find("^list") then refuse_field(name, "must not be a list") end
  if kind == "object" then refuse_field(name, "must not be an object") end
end

local function unknown_fields(call, spelt_fields)
  local violations = {}
  for _, spelt in ipairs(spelt_fields) do
    if not SPELLINGS[call][json_reader.unescaped(spelt)] then
      violations[#violations + 1] = {field = spelt, description = words.NO_SUCH_FIELD}
    end
  end
  return violations
end

-- Returns the body as the transcoder is to get it, and whether it carries the id by which a
-- repetition is known.
function M.check(json, call, strict)
  local spelt_fields, instants_found, has_request_id = {}, {}, false
  json_reader.read_object(json, function(name, spelt, kind, from, to)
    local expected = call.body[name] or KIND_ELSEWHERE[name]
    check_kind(name, expected, kind)
    spelt_fields[#spelt_fields + 1] = spelt
    if expected == "instant" and kind == "string" then
      instants_found[#instants_found + 1] = {name = name, from = from + 1, to = to - 1}
    end
    if name == "request_id" and kind ~= "null" then has_request_id = true end
  end)
  local violations = strict and unknown_fields(call, spelt_fields) or {}
  local tidied = instants.tidied(json, instants_found, violations)
  refusals.refuse_fields(violations)
  return tidied, has_request_id
end

return M
