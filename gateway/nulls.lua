-- The transcoder leaves unset fields out; the contract prints some of them as null.

local M = {}

-- Adds `"field":null` for each missing field of `nullable.fields`, in front of the key
-- `nullable.before`, which every such object has: contract.lua says what the generator sees to.
-- The plain search finds keys only and never text: a quote inside a JSON string has a backslash
-- in front of it and not a comma, and behind the closing quote of a string stands no letter. So
-- the quote in `,"status":` opens a string, which is a key.
function M.added(json, nullable)
  local anchor = ',"' .. nullable.before .. '":'
  local pieces, copied = {}, 1
  local at = json:find(anchor, 1, true)
  while at do
    local following = json:find(anchor, at + 1, true)
    local rest_of_object = json:sub(at, (following or 0) - 1)
    pieces[#pieces + 1] = json:sub(copied, at - 1)
    for _, field in ipairs(nullable.fields) do
      local key = ',"' .. field .. '":'
      if not rest_of_object:find(key, 1, true) then pieces[#pieces + 1] = key .. "null" end
    end
    copied, at = at, following
  end
  pieces[#pieces + 1] = json:sub(copied)
  return table.concat(pieces)
end

return M
