-- What is said of a field in more than one place.

return {
  NO_SUCH_FIELD = "there is no such field",
  NO_SUCH_PARAMETER = "there is no such query parameter",
  NO_INSTANT = "must be a time such as 2026-03-26T09:45:00Z, in the years 1 to 9999, "
    .. "with at most nine digits of a second and no leap second",
}
