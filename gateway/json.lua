-- A strict reader of JSON (RFC 8259), which checks and keeps nothing. The transcoder's own
-- takes 'single quotes', trailing commas and the last of two values of a field. Each read_
-- function takes the position where its piece begins, and returns the position behind it.

local encoding = require("gateway.encoding")
local refusals = require("gateway.refusals")

local refuse, refuse_field = refusals.refuse, refusals.refuse_field

local M = {}

local MAX_DEPTH = 32
-- The largest request has about 120. Bounds what a hostile body costs.
local MAX_VALUES = 1000

-- Of the body that is being read, and a body is read in one go: how many values there were so
-- far, the field of the outermost object whose value is being read, and who is told of these.
local values_read, field_read, on_field

local read_value

local function refuse_json(at)
  refuse(400, "malformed JSON at byte " .. at)
end

local function skip_space(json, at)
  return json:match("^[ \t\r\n]*()", at)
end

-- One half of a surrogate pair without the other is no character.
local function read_unicode_escape(json, at)
  if json:find("^\\u[Dd][89AaBb]%x%x\\u[Dd][C-Fc-f]%x%x", at) then return at + 12 end
  if json:find("^\\u[Dd][89A-Fa-f]", at) then refuse_json(at) end
  if not json:find("^\\u%x%x%x%x", at) then refuse_json(at) end
  return at + 6
end

local function read_string(json, at)
  local position = at + 1
  while true do
    local stop = json:find('["\\%z\1-\31]', position)
    if not stop then refuse_json(at) end
    local char = json:sub(stop, stop)
    if char == '"' then return stop + 1 end
    if char ~= "\\" then refuse_json(stop) end
    if json:find('^["\\/bfnrt]', stop + 1) then
      position = stop + 2
    else
      position = read_unicode_escape(json, stop)
    end
  end
end

local function read_number(json, at)
  local stop = json:match("^-?0()", at) or json:match("^-?[1-9]%d*()", at)
  if not stop then refuse_json(at) end
  stop = json:match("^%.%d+()", stop) or stop
  stop = json:match("^[eE][+-]?%d+()", stop) or stop
  if math.abs(tonumber(json:sub(at, stop - 1))) == math.huge then
    refuse_field(field_read, "the number is too large")
  end
  return stop
end

local function read_word(json, at)
  local word, stop = json:match("^(%l+)()", at)
  if word == "null" then return stop, "null" end
  if word == "true" or word == "false" then return stop, "boolean" end
  refuse_json(at)
end

-- Without the escapes of what could stand there as it is.
function M.unescaped(text)
  return (text:gsub("\\u00(%x%x)", encoding.char_of_hex))
end

-- The name of a field as the transcoder understands it: peerMentorId, peer_mentor_id and
-- peer\u005fmentor_id are one field.
local function field_name(spelt)
  return (M.unescaped(spelt):gsub("%u", function(letter) return "_" .. letter:lower() end))
end

local function read_member(json, at, depth, seen)
  if json:sub(at, at) ~= '"' then refuse_json(at) end
  local colon = read_string(json, at)
  local spelt = json:sub(at + 1, colon - 2)
  local name = field_name(spelt)
  if name == "" then refuse(400, "a field has no name") end
  if seen[name] then refuse_field(name, "given more than once") end
  seen[name] = true
  colon = skip_space(json, colon)
  if json:sub(colon, colon) ~= ":" then refuse_json(colon) end
  if depth == 1 then field_read = name end
  local from = skip_space(json, colon + 1)
  local stop, kind = read_value(json, from, depth)
  if depth == 1 then on_field(name, spelt, kind, from, stop - 1) end
  return stop
end

-- An object or a list: members between brackets, with commas in between. Also returns
-- whether the members are nothing but texts.
local function read_members(json, at, depth, closing, read_one)
  if depth > MAX_DEPTH then refuse(400, "the JSON is nested too deeply") end
  local seen, only_texts, kind = {}, true, nil
  at = skip_space(json, at + 1)
  if json:sub(at, at) == closing then return at + 1, only_texts end
  while true do
    at, kind = read_one(json, at, depth, seen)
    only_texts = only_texts and kind == "string"
    at = skip_space(json, at)
    local char = json:sub(at, at)
    if char == closing then return at + 1, only_texts end
    if char ~= "," then refuse_json(at) end
    at = skip_space(json, at + 1)
  end
end

-- Also returns the kind of value: object, list, list of texts, string, number, boolean, null.
function read_value(json, at, depth)
  values_read = values_read + 1
  if values_read > MAX_VALUES then refuse(400, "the JSON has too many values") end
  local char = json:sub(at, at)
  if char == "{" then
    return (read_members(json, at, depth + 1, "}", read_member)), "object"
  elseif char == "[" then
    local stop, only_texts = read_members(json, at, depth + 1, "]", read_value)
    return stop, only_texts and "list of texts" or "list"
  elseif char == '"' then
    return read_string(json, at), "string"
  elseif char:find("%l") then
    return read_word(json, at)
  end
  return read_number(json, at), "number"
end

-- Reads an object, and calls `each(name, spelt, kind, from, to)` for each of its fields, but not
-- for those of objects in it: the name as in the protos, as it is spelt between the quotes, and
-- the kind and the place of its value.
function M.read_object(json, each)
  if not encoding.is_utf8(json) then refuse(400, "the body is not UTF-8") end
  local at = skip_space(json, 1)
  if json:sub(at, at) ~= "{" then refuse(400, "the body must be a JSON object") end
  values_read, field_read, on_field = 0, nil, each
  local stop = read_value(json, at, 0)
  stop = skip_space(json, stop)
  if stop <= #json then refuse_json(stop) end
end

return M
