-- UTF-8 (RFC 3629) and percent-encoding.

local M = {}

-- The sequences of more than one byte.
local UTF8_SEQUENCES = {
  "^[\194-\223][\128-\191]",
  "^\224[\160-\191][\128-\191]",
  "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]",
  "^\240[\144-\191][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]",
  "^\244[\128-\143][\128-\191][\128-\191]",
}

local function end_of_sequence(text, at)
  for _, sequence in ipairs(UTF8_SEQUENCES) do
    local _, stop = text:find(sequence, at)
    if stop then return stop end
  end
end

function M.is_utf8(text)
  local at = text:find("[\128-\255]")
  while at do
    local stop = end_of_sequence(text, at)
    if not stop then return false end
    at = text:find("[\128-\255]", stop + 1)
  end
  return true
end

function M.char_of_hex(hex)
  return string.char(tonumber(hex, 16))
end

-- What is not correctly encoded stays as it is.
function M.percent_decoded(text)
  return (text:gsub("%%(%x%x)", M.char_of_hex))
end

return M
