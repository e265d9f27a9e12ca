"""What is said to PostgreSQL: the one table, and the statements that use it.

All times are the server's own. A row that has expired, but was not swept yet, counts as missing.
"""

from __future__ import annotations

from job_progress.stores.contract import Query

TABLE = "job_progress_states"

# Texts are compared byte by byte, so that ties are listed in the same order whatever the database's language.
# Few changes touch an index, as PostgreSQL can then put them beside the old row and leave all indexes alone:
# hence an index on the minute, and not on the moment, of expiry, and room for another version of each row.
DDL = f"""\
CREATE TABLE IF NOT EXISTS {TABLE} (
    prefix text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    value bytea NOT NULL,
    written timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    expires_minute timestamptz NOT NULL,
    job text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    created bigint NOT NULL,
    PRIMARY KEY (prefix, key)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS {TABLE}_newest ON {TABLE} (prefix, created DESC);
CREATE INDEX IF NOT EXISTS {TABLE}_job ON {TABLE} (prefix, job, created DESC);
CREATE INDEX IF NOT EXISTS {TABLE}_status ON {TABLE} (prefix, status, created DESC);
CREATE INDEX IF NOT EXISTS {TABLE}_job_status ON {TABLE} (prefix, job, status, created DESC);
CREATE INDEX IF NOT EXISTS {TABLE}_expires ON {TABLE} (expires_minute);
"""
"""The table, for those who have to make it for others; makes nothing that is there already."""

CREATE = f"SELECT pg_advisory_xact_lock(7164730651862418); {DDL}"
"""Makes the table. `IF NOT EXISTS` alone fails for the later of two who make it at the same moment."""

_AGE = "greatest(extract(epoch FROM clock_timestamp() - written), 0)::float8"
_RECORD = f"version, value, {_AGE}"

LOAD = f"""
SELECT key, {_RECORD} FROM {TABLE}
WHERE prefix = %(prefix)s AND key = ANY(%(keys)s::text[]) AND expires > clock_timestamp()
"""  # noqa: S608 - only names that stand in this module

# A lifetime of 0 has ended whatever the clock says later.
_WISHES = """
wish AS MATERIALIZED (
    SELECT *, CASE WHEN lifetime > 0 THEN clock_timestamp() + make_interval(secs => lifetime) ELSE '-infinity' END
        AS expires
    FROM unnest(
        %(keys)s::text[], %(expected)s::bigint[], %(versions)s::bigint[], %(values)b::bytea[],
        %(lifetimes)s::float8[], %(jobs)s::text[], %(statuses)s::text[], %(created)s::bigint[]
    ) AS wish (key, expected, version, value, lifetime, job, status, created)
)"""

# What is told with a notification may have at most 8000 bytes; an empty one tells that anything may have changed.
_TOLD = "pg_notify(%(channel)s, CASE WHEN octet_length(made.key) < 2000 THEN made.key ELSE '' END)"

# Each of the two below locks rows in the order of their keys, and in no other, so that two who change the same
# ones never wait for each other. Both answer with a row for each change that was made, which has no version,
# and with the record that stands in its way for each that was not.

UPDATE = f"""
WITH {_WISHES}, held AS MATERIALIZED (
    SELECT held.key, held.version, held.value, held.written, held.expires
    FROM {TABLE} AS held JOIN wish ON held.key = wish.key
    WHERE held.prefix = %(prefix)s ORDER BY held.key FOR NO KEY UPDATE OF held
), made AS (
    UPDATE {TABLE} AS made
    SET version = wish.version, value = wish.value, written = clock_timestamp(), expires = wish.expires,
        expires_minute = date_trunc('minute', wish.expires), job = wish.job, status = wish.status,
        created = wish.created
    FROM wish JOIN held ON held.key = wish.key AND held.version = wish.expected AND held.expires > clock_timestamp()
    WHERE made.prefix = %(prefix)s AND made.key = wish.key
    RETURNING made.key, {{told}}
)
SELECT key, NULL, NULL, NULL FROM made
UNION ALL
SELECT key, {_RECORD} FROM held WHERE expires > clock_timestamp() AND key NOT IN (SELECT key FROM made)
"""  # noqa: S608 - only names that stand in this module
"""Makes changes that expect a version."""

INSERT = f"""
WITH {_WISHES}, held AS MATERIALIZED (
    SELECT key, {_RECORD} FROM {TABLE}
    WHERE prefix = %(prefix)s AND key = ANY(%(keys)s::text[]) AND expires > clock_timestamp()
), made AS (
    INSERT INTO {TABLE} AS made
        (prefix, key, version, value, written, expires, expires_minute, job, status, created)
    SELECT %(prefix)s, key, version, value, clock_timestamp(), expires, date_trunc('minute', expires), job, status,
        created
    FROM wish WHERE key NOT IN (SELECT key FROM held) ORDER BY key COLLATE "C"
    ON CONFLICT (prefix, key) DO UPDATE
    SET version = excluded.version, value = excluded.value, written = excluded.written, expires = excluded.expires,
        expires_minute = excluded.expires_minute, job = excluded.job, status = excluded.status,
        created = excluded.created
    WHERE made.expires <= clock_timestamp()
    RETURNING made.key, {{told}}
)
SELECT key, NULL, NULL, NULL FROM made UNION ALL SELECT * FROM held
"""  # noqa: S608 - only names that stand in this module
"""Makes changes that expect nothing. Of what others put there meanwhile it cannot see the record, and says nothing."""

SWEEP = f"""
WITH swept AS (
    DELETE FROM {TABLE} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {TABLE} WHERE expires_minute <= now() AND expires <= now()
        LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*) FROM swept
"""  # noqa: S608 - only names that stand in this module
"""Deletes some of what has expired, below all prefixes. It waits for nobody; what is locked is left to the next."""

EXAMINE = f"""
SELECT current_setting('server_version'), pg_size_pretty(pg_total_relation_size(found.oid)),
    found.reltuples::bigint, has_schema_privilege(current_schema(), 'CREATE')
FROM (SELECT to_regclass('{TABLE}') AS oid) AS named LEFT JOIN pg_class AS found USING (oid)
"""  # noqa: S608 - only names that stand in this module
"""What a doctor asks for; the size is missing where the table is."""


def telling(statement: str) -> str:
    """*statement*, which makes changes, in the form that also tells of them, once they are made."""
    return statement.format(told=_TOLD)


def silent(statement: str) -> str:
    """*statement*, which makes changes, in the form that tells nobody."""
    return statement.format(told="NULL")


def listing(query: Query) -> str:
    """The statement that lists what *query* asks for.

    Each status is looked up by itself, in an index that has its rows in the order of the listing, and only
    the first rows of each are merged.
    """
    conditions = ["prefix = %(prefix)s", "expires > clock_timestamp()"]
    if query.job is not None:
        conditions.append("job = %(job)s")
    if query.after is not None:
        conditions.append("created <= %(created)s AND (created < %(created)s OR key > %(key)s)")
    if query.statuses is not None:
        conditions.append("status = wanted.status")
    newest_first = "ORDER BY created DESC, key LIMIT %(limit)s"
    one = f"SELECT {_RECORD} AS age, created, key FROM {TABLE} WHERE {' AND '.join(conditions)} {newest_first}"  # noqa: S608
    if query.statuses is None:
        return f"SELECT version, value, age FROM ({one}) AS found"  # noqa: S608
    each = f"unnest(%(statuses)s::text[]) AS wanted (status) CROSS JOIN LATERAL ({one}) AS found"
    return f"SELECT version, value, age FROM {each} {newest_first}"  # noqa: S608
