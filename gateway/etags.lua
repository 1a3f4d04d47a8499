-- The header ETag, and whether a caller has the answer already (RFC 9110, 13.1.2).

local M = {}

-- Returns the etag of a resource, or nil. As in nulls.lua: the quote in `,"etag":` opens a key.
function M.of(json)
  local text = json:match(',"etag":"\\"([^"\\]*)\\""')
  return text and '"' .. text .. '"'
end

-- Tells whether an etag is in the text of If-None-Match, be it there as a weak one.
function M.is_among(etag, known)
  if known == "*" then return true end
  for each in known:gmatch('"[^"]*"') do
    if each == etag then return true end
  end
  return false
end

return M
