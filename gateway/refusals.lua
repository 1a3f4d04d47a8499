-- How the checks of a REST request end it: with an error that envoy_on_request catches and
-- answers. The error's shape is that of the server (local_reply_config in envoy.yaml).

local M = {}

local MAX_VIOLATIONS_IN_MESSAGE = 5

-- `violations` are those of a google.rpc.BadRequest.
function M.refuse(status, message, headers, violations)
  error({status = status, message = message, headers = headers or {}, violations = violations}, 0)
end

-- Refuses fields, if there are any to refuse, in the shape that the server has for it.
function M.refuse_fields(violations)
  local message = {}
  for index, violation in ipairs(violations) do
    if index > MAX_VIOLATIONS_IN_MESSAGE then
      message[index] = "and " .. #violations - index + 1 .. " more"
      break
    end
    message[index] = violation.field .. ": " .. violation.description
  end
  if #violations > 0 then M.refuse(400, table.concat(message, "; "), {}, violations) end
end

function M.refuse_field(name, description)
  M.refuse_fields({{field = name, description = description}})
end

return M
