-- Compares what was computed elsewhere with what the server says; fails if they differ.
\set QUIET on
\pset footer off
SET client_min_messages = warning;
CREATE EXTENSION syncstate;
CREATE TEMP TABLE document (n int GENERATED ALWAYS AS IDENTITY, kind text, doc text, expected text);
\copy document (kind, doc, expected) FROM pstdin

CREATE FUNCTION pg_temp.hash_or_refusal(doc text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN sync_hash(doc::jsonb);
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN 'refused';
END $$;
CREATE TEMP TABLE result AS
SELECT *, pg_temp.hash_or_refusal(doc) AS hash FROM document;

SELECT kind, count(*) AS documents, count(*) FILTER (WHERE expected = 'refused') AS "to be refused",
       count(*) FILTER (WHERE hash IS DISTINCT FROM expected) AS differences
  FROM result GROUP BY kind ORDER BY min(n);
SELECT kind, n, left(doc, 200) AS doc, expected, hash FROM result
 WHERE hash IS DISTINCT FROM expected ORDER BY n LIMIT 10 \g (format=unaligned tuples_only=on)
DO $$ BEGIN
	IF NOT EXISTS (SELECT FROM result) OR EXISTS (SELECT FROM result WHERE hash IS DISTINCT FROM expected) THEN
		RAISE EXCEPTION 'there are differences';
	END IF;
END $$;
