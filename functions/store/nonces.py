"""The statements about nonces: each is used once, and forgotten when its age alone refuses it."""

from __future__ import annotations

# `nonces` has the pruning watermark of each provider.
USE_NONCE = """
    INSERT INTO used_nonces (provider, nanoseconds) SELECT %(provider)s, %(nonce)s
    WHERE NOT EXISTS (SELECT 1 FROM nonces WHERE provider = %(provider)s AND nanoseconds >= %(nonce)s)
    ON CONFLICT DO NOTHING
    RETURNING provider
"""
NONCE_USED = """
    SELECT provider FROM used_nonces WHERE provider = %(provider)s AND nanoseconds = %(nonce)s
    UNION ALL
    SELECT provider FROM nonces WHERE provider = %(provider)s AND nanoseconds >= %(nonce)s
"""
# Ordered, so that two sweeps lock the rows in the same order.
RAISE_WATERMARKS = """
    INSERT INTO nonces (provider, nonce, nanoseconds)
    SELECT provider, CAST(max(nanoseconds) AS VARCHAR(255)), max(nanoseconds) FROM used_nonces
    WHERE nanoseconds <= %(before)s GROUP BY provider ORDER BY provider
    ON CONFLICT (provider) DO UPDATE SET nonce = excluded.nonce, nanoseconds = excluded.nanoseconds
        WHERE nonces.nanoseconds < excluded.nanoseconds
"""
PRUNE_NONCES = """
    DELETE FROM used_nonces WHERE nanoseconds <= %(before)s AND EXISTS (
        SELECT 1 FROM nonces
        WHERE nonces.provider = used_nonces.provider AND nonces.nanoseconds >= used_nonces.nanoseconds
    )
"""
