"""What a role of PostgreSQL lacks, in words for whoever can give it."""

from sqlalchemy import Connection, text

from peermentor_server.storage.engine.driver_errors import unusable
from peermentor_server.storage.tables import VERSION_TABLE, metadata

_TABLES = [*metadata.tables, VERSION_TABLE]
_PLACE = text("SELECT current_user, current_setting('search_path'), current_schema()")
_MAY_CREATE = text("SELECT has_schema_privilege(current_schema(), 'CREATE')")
# A table that is not there yet is NULL to to_regclass, and lacks nothing.
_LACKING = text("""
    WITH ours AS (
        SELECT to_regclass(name) AS oid, name = :version AS is_version
        FROM unnest(CAST(:tables AS text[])) AS given (name)
    )
    SELECT oid::text, wanted
    FROM ours, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
    WHERE NOT has_table_privilege(oid, wanted) AND (wanted = 'SELECT' OR NOT is_version)
    UNION ALL
    SELECT seqrelid::regclass::text, 'USAGE'
    FROM ours
    JOIN pg_depend ON refobjid = oid AND refclassid = 'pg_class'::regclass
    JOIN pg_sequence ON seqrelid = objid
    WHERE NOT has_sequence_privilege(seqrelid, 'USAGE')
    ORDER BY 1, 2
""")
_MAY_STAGE = text(
    "SELECT current_user, current_database(), "
    "has_database_privilege(current_database(), 'TEMPORARY')"
)
_SEQUENCES_THAT_STAND = text("""
    SELECT current_user, string_agg(seqrelid::regclass::text, ', ' ORDER BY seqrelid)
    FROM unnest(CAST(:tables AS text[])) AS given (name)
    JOIN pg_depend ON refobjid = to_regclass(name) AND refclassid = 'pg_class'::regclass
    JOIN pg_sequence ON seqrelid = objid
    WHERE NOT has_sequence_privilege(seqrelid, 'UPDATE')
""")
_OF_OTHERS = text("""
    SELECT oid::regclass::text, relowner::regrole::text
    FROM pg_class
    WHERE oid = ANY (
        SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS given (name)
    )
    AND NOT pg_has_role(relowner, 'USAGE')
    ORDER BY 1
""")


def require_use(connection: Connection) -> None:
    """Raise DatabaseUnavailable when the role may not use the tables that there are."""
    role, search_path, schema = connection.execute(_PLACE).one()
    if schema is None:
        raise unusable(
            f"its search_path is {search_path}, and none of that is a schema that exists and that "
            f"role {role} may use (CREATE SCHEMA, or GRANT USAGE ON SCHEMA)"
        )
    lacking = connection.execute(_LACKING, {"tables": _TABLES, "version": VERSION_TABLE}).all()
    if lacking:
        rights = ", ".join(f"{right} on {name}" for name, right in lacking)
        raise unusable(f"role {role} lacks {rights} (GRANT)")


def require_change(connection: Connection) -> None:
    """Raise DatabaseUnavailable when the role may not bring the schema up to date."""
    role, _, schema = connection.execute(_PLACE).one()
    if not connection.execute(_MAY_CREATE).scalar_one():
        raise unusable(
            f"its tables are not up to date, and role {role} may make none: it lacks CREATE on "
            f"schema {schema} (GRANT)"
        )
    of_others = connection.execute(_OF_OTHERS, {"tables": _TABLES}).all()
    if of_others:
        owners = ", ".join(f"{name} of {owner}" for name, owner in of_others)
        raise unusable(
            f"its tables are not up to date, and role {role} may not change those of other roles: "
            f"{owners}"
        )


def require_staging(connection: Connection) -> None:
    """Raise DatabaseUnavailable when the role may make no temporary tables."""
    role, name, may_stage = connection.execute(_MAY_STAGE).one()
    if not may_stage:
        raise unusable(f"role {role} lacks TEMPORARY on database {name} (GRANT)")


def require_setting_keys(connection: Connection) -> None:
    """Raise DatabaseUnavailable when the role may not say from where keys go on."""
    role, lacking = connection.execute(_SEQUENCES_THAT_STAND, {"tables": _TABLES}).one()
    if lacking:
        raise unusable(
            f"role {role} lacks UPDATE on {lacking} (GRANT), to keep ids from being given twice"
        )
