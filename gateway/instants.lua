-- Instants in a request body, as RFC 3339 writes them. The transcoder takes 26-3-26T1:0:60Z and
-- more like it. It knows the calendar, and refuses 30 February itself.

local json_reader = require("gateway.json")
local words = require("gateway.words")

local M = {}

-- An instant as the transcoder wants it, in capitals; nil for any other text. What is taken here
-- is what the server takes for cutoff_date.
function M.of_text(text)
  local date, clock, fraction, zone =
    text:match("^(%d%d%d%d%-%d%d%-%d%d)[Tt ](%d%d:%d%d:[0-5]%d)(%.?%d*)([Zz+-][%d:]*)$")
  if not date or date:find("^0000") then return end
  if fraction ~= "" and (#fraction > 10 or not fraction:find("^%.%d")) then return end
  if not (zone:find("^[Zz]$") or zone:find("^[+-]%d%d:%d%d$")) then return end
  return date .. "T" .. clock .. fraction .. zone:upper()
end

-- Returns the body with its instants as the transcoder wants them, and adds to the violations.
-- `found` says of each instant its field, and where the text between the quotes is. The length
-- stays: behind a text that was longer, for the escapes in it, there may be spaces.
function M.tidied(json, found, violations)
  for _, each in ipairs(found) do
    local instant = M.of_text(json_reader.unescaped(json:sub(each.from, each.to)))
    if instant then
      local spaces = (" "):rep(each.to - each.from + 1 - #instant)
      json = json:sub(1, each.from - 1) .. instant .. '"' .. spaces .. json:sub(each.to + 2)
    else
      violations[#violations + 1] = {field = each.name, description = words.NO_INSTANT}
    end
  end
  return json
end

return M
