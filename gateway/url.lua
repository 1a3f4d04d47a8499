-- Checks of the URL: what the transcoder would pass over, and which call it is.

local contract = require("gateway.contract")
local encoding = require("gateway.encoding")
local refusals = require("gateway.refusals")
local words = require("gateway.words")

local refuse = refusals.refuse

local M = {}

local MAX_URL_BYTES = 8192

-- Answered before this filter, when it is a GET.
local PROBES = {
  {path = "/healthz", methods = "GET"},
  {path = "/readyz", methods = "GET"},
  {path = "/openapi.json", methods = "GET"},
}

-- What a path must look like to be this route's, and the methods that it has here.
local function compiled(route)
  local literal = route.path:gsub("[%-%.%+%*%?%^%$%(%)%[%]%%]", "%%%0")
  return {
    path = route.path,
    pattern = "^" .. literal:gsub("{[%w_]+}", "[^/]+") .. "$",
    allowed = route.methods:gsub("GET", "GET, HEAD"),
  }
end

local ROUTES = {}
for _, route in ipairs(contract.routes) do ROUTES[#ROUTES + 1] = compiled(route) end
for _, route in ipairs(PROBES) do ROUTES[#ROUTES + 1] = compiled(route) end

-- The contract prints the base path and the endpoint path one after the other, so that
-- the base stands twice; /api/v1/assignments/api/v1/assignments/asgn_001 is
-- /api/v1/assignments/asgn_001.
function M.without_doubled_base(url)
  return (url:gsub("^(/api/v1/[%w-]+)%1", "%1"))
end

function M.check_length(url)
  if #url > MAX_URL_BYTES then refuse(414, "the URL is too long") end
end

-- To some servers `..;a=b` climbs as `..` does, to others it is a name.
local function check_dots(path)
  for segment in path:gmatch("[^/]+") do
    if encoding.percent_decoded(segment):find("^%.%.?;") then
      refuse(400, "the path must not have dots with parameters")
    end
  end
end

-- Returns which call of the contract it is; HEAD is a GET.
local function check_route(method, path)
  for _, route in ipairs(ROUTES) do
    if path:find(route.pattern) then
      if (", " .. route.allowed .. ","):find(", " .. method .. ",", 1, true) then
        return contract.calls[(method == "HEAD" and "GET" or method) .. " " .. route.path]
      end
      refuse(405, method .. " is not possible on this path", {allow = route.allowed})
    end
  end
  refuse(404, "no such path")
end

local function check_encoding(url)
  if url:find("%00", 1, true) then refuse(400, "the URL must not contain a NUL") end
  if url:gsub("%%%x%x", ""):find("%", 1, true) then
    refuse(400, "the URL is not correctly percent-encoded")
  end
  if not encoding.is_utf8(encoding.percent_decoded(url)) then refuse(400, "the URL is not UTF-8") end
end

-- Where there is a body, it holds every field, and the query none; the transcoder would
-- take both. It would also pass over a parameter without a name or a value.
local function check_query(call, url)
  for parameter in (url:match("?(.*)") or ""):gmatch("[^&]+") do
    local name = parameter:match("^[^=]*")
    if call.body then
      local violation = {field = name, description = words.NO_SUCH_PARAMETER}
      refuse(400, 'unknown query parameter "' .. name .. '"', {}, {violation})
    end
    if name == "" or name == parameter then
      local violation = {field = name, description = "must be a name and a value"}
      refuse(400, 'query parameter "' .. parameter .. '": must be a name and a value', {}, {violation})
    end
  end
end

-- The plus before an offset from UTC stays one: cutoff_date=2026-03-10T00:00:00+02:00.
local INSTANT = "^(=%d%d%d%d%-.*%d)(%+%d%d[:%%3Aa]+%d%d)$"

local function with_spaces(value)
  local rest, offset = value:match(INSTANT)
  return (rest or value):gsub("%+", "%%20") .. (offset or "")
end

-- Most programs write a space in a query as a plus, as forms of HTML do, and a plus as %2B. To the
-- transcoder a plus is a plus.
function M.without_plus(url)
  local path, query = url:match("^([^?]*)(.*)$")
  return path .. query:gsub("=[^&]*", with_spaces)
end

-- Returns which call of the contract it is.
function M.check(method, url)
  local path = url:match("^[^?]*")
  check_dots(path)
  local call = check_route(method, path)
  check_encoding(url)
  check_query(call, url)
  return call
end

return M
